/* A disk that fails on demand, for tests: loaded before the C library (LD_PRELOAD), it counts
 * the operations on files below one folder and lets the n-th fail.
 *
 *   FAULT_FOLDER     files below it count
 *   FAULT_OPERATION  "any": each operation that writes or syncs; "fdatasync": that alone
 *   FAULT_AT         the number of the first that fails, counted from 1
 *   FAULT_ERRNO      what it fails with
 *   FAULT_LASTS      "once", or "on": those after it fail as well
 *   FAULT_HIT        a file that is made when the first one fails
 *   FAULT_OVER       once this file is there, nothing fails any more
 *
 * Every second fault that lasts and meets a write lets half of it through first, as a disk does
 * that becomes full within it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long operations;

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

/* Whether the descriptor is of a file in question. */
static int counts(int fd) {
    const char *folder = getenv("FAULT_FOLDER");
    if (!folder)
        return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    size_t prefix = strlen(folder);
    return strncmp(path, folder, prefix) == 0 && (path[prefix] == '/' || path[prefix] == 0);
}

enum fate { WELL, FAILS, FAILS_HALFWAY };

/* What becomes of the next operation; sets errno if it fails. */
static enum fate fate(int fd, int is_fdatasync) {
    int before = errno;
    if (!counts(fd) || (!is_fdatasync && strcmp(setting("FAULT_OPERATION"), "fdatasync") == 0)) {
        errno = before;
        return WELL;
    }
    long number = atomic_fetch_add(&operations, 1) + 1;
    long at = atol(setting("FAULT_AT"));
    int lasts = strcmp(setting("FAULT_LASTS"), "on") == 0;
    if (at == 0 || number < at || (number > at && !lasts) || access(setting("FAULT_OVER"), F_OK) == 0) {
        errno = before;
        return WELL;
    }
    /* A disk that fails takes its time: whoever waits for it is already waiting. */
    usleep(20 * 1000);
    int hit = open(setting("FAULT_HIT"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (hit >= 0)
        close(hit);
    errno = atoi(setting("FAULT_ERRNO"));
    return lasts && number == at && at % 2 == 0 ? FAILS_HALFWAY : FAILS;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t count) {
    enum fate f = fate(fd, 0);
    if (f == WELL)
        return REAL(write)(fd, bytes, count);
    return f == FAILS_HALFWAY && count > 1 ? REAL(write)(fd, bytes, count / 2) : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    enum fate f = fate(fd, 0);
    if (f == WELL)
        return REAL(pwrite)(fd, bytes, count, offset);
    return f == FAILS_HALFWAY && count > 1 ? REAL(pwrite)(fd, bytes, count / 2, offset) : -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    enum fate f = fate(fd, 0);
    if (f == WELL)
        return REAL(pwrite64)(fd, bytes, count, offset);
    return f == FAILS_HALFWAY && count > 1 ? REAL(pwrite64)(fd, bytes, count / 2, offset) : -1;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fate(fd, 0) == WELL ? REAL(writev)(fd, parts, count) : -1;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return fate(fd, 0) == WELL ? REAL(pwritev)(fd, parts, count, offset) : -1;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return fate(fd, 0) == WELL ? REAL(pwritev64)(fd, parts, count, offset) : -1;
}

int ftruncate(int fd, off_t length) {
    return fate(fd, 0) == WELL ? REAL(ftruncate)(fd, length) : -1;
}

int ftruncate64(int fd, off64_t length) {
    return fate(fd, 0) == WELL ? REAL(ftruncate64)(fd, length) : -1;
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    return fate(fd, 0) == WELL ? REAL(fallocate)(fd, mode, offset, length) : -1;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    return fate(fd, 0) == WELL ? REAL(fallocate64)(fd, mode, offset, length) : -1;
}

int sync_file_range(int fd, off64_t offset, off64_t count, unsigned int flags) {
    return fate(fd, 0) == WELL ? REAL(sync_file_range)(fd, offset, count, flags) : -1;
}

int fdatasync(int fd) {
    return fate(fd, 1) == WELL ? REAL(fdatasync)(fd) : -1;
}

int fsync(int fd) {
    return fate(fd, 0) == WELL ? REAL(fsync)(fd) : -1;
}
