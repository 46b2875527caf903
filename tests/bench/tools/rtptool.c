/* rtptool: independent RTP sink, RTP source and packet-rate floor for the bench.
 *
 *   rtptool sink  PORT            one UDP socket on 0.0.0.0:PORT (0: a free one; the first line
 *                                 printed is "ready PORT"), driven by lines on stdin
 *   rtptool floor MODE N SECS [TICK]  how many 172-byte RTP packets a bare program can send
 *        MODE = sendto | sendmmsg     one socket for all calls, one call a packet or a batch
 *             | sockets               a connected socket per call, send() each
 *             | paced-...             the same, a packet per call per 20 ms in ticks of TICK ms
 *             | relay                 N calls of two legs passed on: what waits is read and sent
 *                                     every TICK ms, a socket per leg, the header changed
 *
 * The sink keeps the kernel's receive time stamp (SO_TIMESTAMPNS) of every packet of
 * every stream, so its own scheduling does not enter the figures.  A stream is the
 * triple (local address, peer port, SSRC).  All of 127.0.0.0/8 is local on Linux, so
 * each simulated caller gets an address 127.x.y.z of its own while one socket (and one
 * recvmmsg per wake-up) serves them all.
 *
 * Commands on stdin of `sink` (one per line, an answer line "ok ..." each):
 *   reset                         forget every stream
 *   reflect 0|1                   answer every received packet by one of the same size,
 *                                 so that calls carry speech in both directions
 *   tx SRC DST DPORT PT BYTES     start a 20 ms stream from SRC to DST:DPORT
 *   txstop                        stop every stream started by tx
 *   phases N                      spread the tx streams over N 1-ms phases (1..20)
 *   pulse 0|1                     tx payload alternates quiet and loud (see below)
 *   dump FILE                     write the figures as JSON
 *   first FILE                    write "ADDR first-arrival-ns" per stream
 *   quit
 *
 * Latency.  Every tx packet carries the send time in its payload behind a magic word;
 * a relay that forwards the payload untouched gives latency per packet ("ts_ms").  For
 * transcoding relays `pulse` makes the µ-law payload loud for 100 ms in every second;
 * the receiver detects the first loud packet of each second on each stream from
 * the payload alone ("pulse_ms") and subtracts the time at which the loud frame was
 * sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 512
#define PKT 1500
#define MAGIC 0x42454e43u

typedef struct { uint32_t ts; uint16_t seq; uint16_t fl; uint64_t ns; } Arr;
typedef struct Stream {
    uint32_t local, ssrc; uint16_t pport; uint8_t pt;
    uint32_t n, cap; Arr *a;
    uint32_t rseq, rssrc;         /* reflect state */
    int nb;                       /* G.722 scale factor */
    uint8_t loud; uint64_t quiet_since;
} Stream;

typedef struct { struct sockaddr_in dst; struct in_addr src; uint8_t pt; uint16_t len; uint16_t seq; uint32_t ts, ssrc; int phase; } Tx;

static Stream *tab; static uint32_t tabn, tabcap; static uint32_t *hidx; static uint32_t hcap;
static Tx *txs; static int ntx, txcap;
static int reflect_on, pulse_on, phases = 20;
static uint64_t rx_total, drop_total, tx_total, tx_err, max_batch, tx_late;
static double *lat; static size_t nlat, latcap;      /* ms, from the payload time stamp */
static double *plat; static size_t nplat, platcap;   /* ms, from pulses */
static uint64_t pulse_at[20];                        /* last loud onset sent, per phase */

static uint64_t rt(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static uint64_t mono(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static void die(const char *s) { perror(s); exit(1); }
static void push(double **v, size_t *n, size_t *c, double x) {
    if (*n == *c) { *c = *c ? *c * 2 : 4096; *v = realloc(*v, *c * sizeof **v); if (!*v) die("realloc"); }
    (*v)[(*n)++] = x;
}
static uint32_t hash(uint32_t a, uint16_t p, uint32_t s) { uint64_t x = ((uint64_t)a << 32 | s) ^ ((uint64_t)p << 20); x *= 0x9E3779B97F4A7C15ull; return x >> 32; }
static void rehash(uint32_t nc) {
    free(hidx); hcap = nc; hidx = calloc(hcap, 4);
    for (uint32_t i = 0; i < tabn; i++) { uint32_t h = hash(tab[i].local, tab[i].pport, tab[i].ssrc) & (hcap - 1); while (hidx[h]) h = (h + 1) & (hcap - 1); hidx[h] = i + 1; }
}
static Stream *find(uint32_t local, uint16_t pport, uint32_t ssrc) {
    if (!hcap) rehash(16384);
    uint32_t h = hash(local, pport, ssrc) & (hcap - 1);
    for (; hidx[h]; h = (h + 1) & (hcap - 1)) { Stream *s = &tab[hidx[h] - 1]; if (s->local == local && s->pport == pport && s->ssrc == ssrc) return s; }
    if (tabn == tabcap) { tabcap = tabcap ? tabcap * 2 : 4096; tab = realloc(tab, tabcap * sizeof *tab); }
    Stream *s = &tab[tabn++]; memset(s, 0, sizeof *s); s->local = local; s->pport = pport; s->ssrc = ssrc; s->rssrc = ssrc ^ 0x5a5a5a5a; s->quiet_since = 0; s->loud = 1;
    hidx[h] = tabn; if (tabn * 2 > hcap) { rehash(hcap * 2); }
    return s;
}
static void reset(void) { for (uint32_t i = 0; i < tabn; i++) free(tab[i].a); tabn = 0; rehash(16384); nlat = nplat = 0; rx_total = drop_total = max_batch = tx_total = tx_err = tx_late = 0; }

static int cmpd(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }
static double pct(double *v, size_t n, double p) { if (!n) return 0; size_t i = (size_t)(p * (n - 1) + 0.5); return v[i]; }

/* Is this payload loud?  By codec.  G.722 adapts its step to the signal: follow the lower
   band's log scale factor (ITU-T G.722, 3.5.2), which is all of the decoder that is needed. */
static int loud(Stream *s, const uint8_t *p, int n) {
    if (s->pt == 0 || s->pt == 8) { int c = 0; for (int i = 0; i < n; i++) { int m = s->pt == 0 ? (~p[i] & 0x70) >> 4 : ((p[i] ^ 0x55) & 0x70) >> 4; c += m >= 5; } return c > n / 4; }
    if (s->pt == 9) {
        static const int il4[16] = {0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0}, w[8] = {-60, -30, 58, 172, 334, 538, 1198, 3042};
        int top = 0;
        for (int i = 0; i < n; i++) { s->nb = (s->nb * 127 >> 7) + w[il4[(p[i] & 0x3f) >> 2]]; if (s->nb < 0) s->nb = 0; if (s->nb > 18432) s->nb = 18432; if (s->nb > top) top = s->nb; }
        return top > 10000;
    }
    return n > 60;   /* Opus and the like, VBR: loud frames are long */
}

static void dump(const char *fn) {
    FILE *f = fopen(fn, "w"); if (!f) { printf("err open\n"); return; }
    double *tr = 0, *ia = 0; size_t ntr = 0, ctr = 0, nia = 0, cia = 0;
    uint64_t pk = 0, exp = 0, lost = 0, dup = 0, ooo = 0, bad = 0, l20 = 0  , l60 = 0, gap60 = 0; double jsum = 0, jmax = 0; uint32_t ns = 0; uint64_t octets_pt[3] = {0};
    for (uint32_t i = 0; i < tabn; i++) {
        Stream *s = &tab[i]; if (s->n < 2) continue; ns++;
        pk += s->n;
        /* extended sequence numbers and loss */
        int64_t base = s->a[0].seq, mx = base, mn = base; int64_t prev = base; uint64_t o = 0;
        for (uint32_t k = 1; k < s->n; k++) { int16_t d = (int16_t)(s->a[k].seq - (uint16_t)prev); int64_t e = prev + d; if (d < 0) o++; if (d == 0) dup++; prev = e; if (e > mx) mx = e; if (e < mn) mn = e; }
        uint64_t ex = mx - mn + 1; uint64_t lo = ex > s->n ? ex - s->n : 0; exp += ex; lost += lo; ooo += o;
        /* relative transit, jitter (RFC 3550, in ms), inter-arrival */
        double rate = s->pt == 0 || s->pt == 8 || s->pt == 9 ? 8000.0 : 48000.0;
        double tmin = 1e18, j = 0, b20 = 0, b60 = 0; uint64_t worst = 0; double base_ns = s->a[0].ns;
        double *t = malloc(s->n * sizeof *t);
        for (uint32_t k = 0; k < s->n; k++) { t[k] = (s->a[k].ns - base_ns) / 1e6 - (int32_t)(s->a[k].ts - s->a[0].ts) * 1000.0 / rate; if (t[k] < tmin) tmin = t[k]; }
        for (uint32_t k = 0; k < s->n; k++) {
            double r = t[k] - tmin; push(&tr, &ntr, &ctr, r);
            /* a jitter buffer of 60 (20) ms that starts afresh after each packet that came too late for it */
            if (k == 0 || t[k] > b20 + 20) { l20 += k > 0; b20 = t[k]; }
            if (k == 0 || t[k] > b60 + 60) { if (k) { l60++; worst = 1; } b60 = t[k]; }
            if (k) { double d = fabs(t[k] - t[k - 1]); j += (d - j) / 16; if (j > jmax) jmax = j; double g = (s->a[k].ns - s->a[k - 1].ns) / 1e6; push(&ia, &nia, &cia, g); if (g > 60) { gap60++; worst = 1; } }
        }
        jsum += j; free(t); if (worst || lo) bad++;
        if (s->pt == 0) octets_pt[0]++; else if (s->pt == 9) octets_pt[1]++; else octets_pt[2]++;
    }
    qsort(tr, ntr, sizeof *tr, cmpd); qsort(ia, nia, sizeof *ia, cmpd); qsort(lat, nlat, sizeof *lat, cmpd); qsort(plat, nplat, sizeof *plat, cmpd);
    fprintf(f, "{\"streams\":%u,\"pt0\":%llu,\"pt9\":%llu,\"ptother\":%llu,\"packets\":%llu,\"expected\":%llu,\"lost\":%llu,\"dup\":%llu,\"reordered\":%llu,\"bad_streams\":%llu,\n", ns, (unsigned long long)octets_pt[0], (unsigned long long)octets_pt[1], (unsigned long long)octets_pt[2], (unsigned long long)pk, (unsigned long long)exp, (unsigned long long)lost, (unsigned long long)dup, (unsigned long long)ooo, (unsigned long long)bad);
    fprintf(f, "\"late20\":%llu,\"late60\":%llu,\"gap60\":%llu,\"jitter_mean_ms\":%.3f,\"jitter_max_ms\":%.3f,\n", (unsigned long long)l20, (unsigned long long)l60, (unsigned long long)gap60, ns ? jsum / ns : 0, jmax);
    fprintf(f, "\"transit_ms\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f},\n", pct(tr, ntr, .5), pct(tr, ntr, .9), pct(tr, ntr, .99), pct(tr, ntr, .999), ntr ? tr[ntr - 1] : 0);
    fprintf(f, "\"interarrival_ms\":{\"p01\":%.3f,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f},\n", pct(ia, nia, .01), pct(ia, nia, .5), pct(ia, nia, .99), pct(ia, nia, .999), nia ? ia[nia - 1] : 0);
    fprintf(f, "\"ts_ms\":{\"n\":%zu,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f},\n", nlat, pct(lat, nlat, .5), pct(lat, nlat, .99), pct(lat, nlat, .999), nlat ? lat[nlat - 1] : 0);
    fprintf(f, "\"pulse_ms\":{\"n\":%zu,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f},\n", nplat, pct(plat, nplat, .5), pct(plat, nplat, .99), nplat ? plat[nplat - 1] : 0);
    fprintf(f, "\"rx_total\":%llu,\"sink_drops\":%llu,\"max_batch\":%llu,\"tx_total\":%llu,\"tx_err\":%llu,\"tx_late_ms\":%.2f}\n", (unsigned long long)rx_total, (unsigned long long)drop_total, (unsigned long long)max_batch, (unsigned long long)tx_total, (unsigned long long)tx_err, tx_late / 1e6);
    fclose(f); free(tr); free(ia);
}
static void first(const char *fn) {
    FILE *f = fopen(fn, "w"); if (!f) return;
    for (uint32_t i = 0; i < tabn; i++) if (tab[i].n) { struct in_addr a = { tab[i].local }; fprintf(f, "%s %llu\n", inet_ntoa(a), (unsigned long long)tab[i].a[0].ns); }
    fclose(f);
}

static uint8_t ulaw_loud[160];
static void command(char *l, int *run) {
    char a[300], b[64]; int p, q, n;
    if (!strncmp(l, "reset", 5)) { reset(); printf("ok\n"); }
    else if (sscanf(l, "reflect %d", &n) == 1) { reflect_on = n; printf("ok\n"); }
    else if (sscanf(l, "pulse %d", &n) == 1) { pulse_on = n; printf("ok\n"); }
    else if (sscanf(l, "phases %d", &n) == 1) { phases = n < 1 ? 1 : n > 20 ? 20 : n; printf("ok\n"); }
    else if (!strncmp(l, "txstop", 6)) { ntx = 0; printf("ok\n"); }
    else if (sscanf(l, "tx %63s %299s %d %d %d", b, a, &p, &q, &n) == 5) {
        if (ntx == txcap) { txcap = txcap ? txcap * 2 : 256; txs = realloc(txs, txcap * sizeof *txs); }
        Tx *t = &txs[ntx]; memset(t, 0, sizeof *t); t->dst.sin_family = AF_INET; t->dst.sin_port = htons(p); t->dst.sin_addr.s_addr = inet_addr(a); t->src.s_addr = inet_addr(b); t->pt = q; t->len = n > 1400 ? 1400 : n; t->ssrc = 0x10000000u + ntx * 7919u; t->phase = ntx % phases; ntx++;
        printf("ok\n");
    }
    else if (sscanf(l, "dump %299s", a) == 1) { dump(a); printf("ok\n"); }
    else if (sscanf(l, "first %299s", a) == 1) { first(a); printf("ok\n"); }
    else if (!strncmp(l, "quit", 4)) { *run = 0; printf("ok\n"); }
    else printf("err\n");
    fflush(stdout);
}

static int mksock(int port, int rcv) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); if (fd < 0) die("socket");
    int one = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcv, sizeof rcv)) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcv, sizeof rcv);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one); setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one); setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
    struct sockaddr_in s = { .sin_family = AF_INET, .sin_port = htons(port) }; if (bind(fd, (void *)&s, sizeof s)) die("bind");
    return fd;
}

static int bound(int fd) { struct sockaddr_in s; socklen_t n = sizeof s; if (getsockname(fd, (void *)&s, &n)) die("getsockname"); return ntohs(s.sin_port); }

static uint8_t rb[BATCH][PKT], sb[BATCH][PKT]; static struct mmsghdr rm[BATCH], sm[BATCH]; static struct iovec riov[BATCH], siov[BATCH]; static struct sockaddr_in ra[BATCH], sa[BATCH]; static char rc[BATCH][256], sc[BATCH][64];
static void setsrc(struct msghdr *m, char *c, uint32_t src) {
    m->msg_control = c; m->msg_controllen = CMSG_SPACE(sizeof(struct in_pktinfo)); struct cmsghdr *h = CMSG_FIRSTHDR(m); h->cmsg_level = IPPROTO_IP; h->cmsg_type = IP_PKTINFO; h->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    struct in_pktinfo *pi = (void *)CMSG_DATA(h); memset(pi, 0, sizeof *pi); pi->ipi_spec_dst.s_addr = src;
}
static int flush(int fd, int n) { int done = 0; while (done < n) { int r = sendmmsg(fd, sm + done, n - done, 0); if (r <= 0) { if (errno == EINTR) continue; tx_err++; done++; continue; } done += r; tx_total += r; } return n; }

static void rxbatch(int fd) {
    for (;;) {
        for (int i = 0; i < BATCH; i++) { rm[i].msg_hdr.msg_controllen = sizeof rc[i]; rm[i].msg_hdr.msg_namelen = sizeof ra[i]; }
        int n = recvmmsg(fd, rm, BATCH, MSG_DONTWAIT, 0); if (n <= 0) return;
        if ((uint64_t)n > max_batch) max_batch = n;
        int k = 0;
        for (int i = 0; i < n; i++) {
            uint8_t *p = rb[i]; int len = rm[i].msg_len; uint64_t ns = 0; uint32_t local = 0;
            for (struct cmsghdr *h = CMSG_FIRSTHDR(&rm[i].msg_hdr); h; h = CMSG_NXTHDR(&rm[i].msg_hdr, h)) {
                if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_TIMESTAMPNS) { struct timespec t; memcpy(&t, CMSG_DATA(h), sizeof t); ns = t.tv_sec * 1000000000ull + t.tv_nsec; }
                else if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_RXQ_OVFL) { uint32_t d; memcpy(&d, CMSG_DATA(h), 4); drop_total = d; }
                else if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) { struct in_pktinfo pi; memcpy(&pi, CMSG_DATA(h), sizeof pi); local = pi.ipi_addr.s_addr; }
            }
            if (len < 12 || (p[0] & 0xc0) != 0x80) continue;
            uint8_t pt = p[1] & 0x7f; if (pt >= 72 && pt <= 76) continue; if (pt == 13 || pt == 19) continue;   /* RTCP, comfort noise */
            rx_total++;
            uint16_t seq = p[2] << 8 | p[3]; uint32_t ts, ssrc; memcpy(&ts, p + 4, 4); memcpy(&ssrc, p + 8, 4); ts = ntohl(ts);
            Stream *s = find(local, ra[i].sin_port, ssrc); if (!s->n) s->pt = pt;
            if (s->pt != pt) continue;     /* telephone-event and the like */
            if (s->n == s->cap) { s->cap = s->cap ? s->cap * 2 : 512; s->a = realloc(s->a, s->cap * sizeof(Arr)); if (!s->a) die("realloc"); }
            Arr *a = &s->a[s->n++]; a->ts = ts; a->seq = seq; a->ns = ns;
            int off = 12 + (p[0] & 15) * 4;
            if (len >= off + 20) { uint32_t m; memcpy(&m, p + off, 4); if (m == MAGIC) { uint64_t t0 = 0; for (int b = 0; b < 16; b++) t0 = t0 << 4 | (p[off + 4 + b] & 15); double d = (double)(int64_t)(ns - t0) / 1e6; if (d > -1 && d < 5000) push(&lat, &nlat, &latcap, d); } }
            if (pulse_on && len > off) { int ld = loud(s, p + off, len - off); if (ld && !s->loud && ns - s->quiet_since > 300000000ull && pulse_at[0]) { double d = (double)(int64_t)(ns - pulse_at[0]) / 1e6; if (d >= 0 && d < 500) push(&plat, &nplat, &platcap, d); } if (!ld && s->loud) s->quiet_since = ns; s->loud = ld; }
            if (reflect_on && len >= 12 && len <= 400) {
                uint8_t *o = sb[k]; memcpy(o, p, len); uint32_t x = htonl(s->rssrc); o[2] = s->rseq >> 8; o[3] = s->rseq; s->rseq++; memcpy(o + 8, &x, 4);
                sa[k] = ra[i]; siov[k].iov_base = o; siov[k].iov_len = len; setsrc(&sm[k].msg_hdr, sc[k], local); k++;
            }
        }
        if (k) flush(fd, k);
        if (n < BATCH) return;
    }
}

static void txtick(int fd, int phase, uint64_t tick) {
    int k = 0; int isl = 0, onset = 0;
    if (pulse_on) { uint64_t c = tick / 20 % 50; isl = c < 5; onset = c == 0; }   /* loud for 100 ms in each second */
    uint64_t now = rt(); if (onset && phase == 0) pulse_at[0] = now;
    for (int i = 0; i < ntx; i++) {
        Tx *t = &txs[i]; if (t->phase != phase) continue;
        uint8_t *o = sb[k]; o[0] = 0x80; o[1] = t->pt; o[2] = t->seq >> 8; o[3] = t->seq; t->seq++; uint32_t x = htonl(t->ts); memcpy(o + 4, &x, 4); t->ts += t->pt == 0 || t->pt == 8 || t->pt == 9 ? 160 : 960; x = htonl(t->ssrc); memcpy(o + 8, &x, 4);
        if (t->pt == 0 || t->pt == 8) { if (isl) memcpy(o + 12, ulaw_loud, 160); else memset(o + 12, t->pt == 0 ? 0xff : 0xd5, t->len); if (!pulse_on) { uint32_t m = MAGIC; memcpy(o + 12, &m, 4); for (int b = 0; b < 16; b++) o[16 + b] = 0x20 | (now >> (60 - 4 * b) & 15); } }
        else if (t->pt == 9) memset(o + 12, 0xfa, t->len);
        else { o[12] = 0xf8; o[13] = 0xff; o[14] = 0xfe; t->len = 3; }
        sa[k] = t->dst; siov[k].iov_base = o; siov[k].iov_len = 12 + t->len; setsrc(&sm[k].msg_hdr, sc[k], t->src.s_addr);
        if (++k == BATCH) { flush(fd, k); k = 0; }
    }
    if (k) flush(fd, k);
}

static int sink(int port) {
    prctl(PR_SET_TIMERSLACK, 1000);
    int fd = mksock(port, 128 << 20);
    for (int i = 0; i < BATCH; i++) { riov[i].iov_base = rb[i]; riov[i].iov_len = PKT; rm[i].msg_hdr.msg_iov = &riov[i]; rm[i].msg_hdr.msg_iovlen = 1; rm[i].msg_hdr.msg_name = &ra[i]; rm[i].msg_hdr.msg_control = rc[i]; sm[i].msg_hdr.msg_iov = &siov[i]; sm[i].msg_hdr.msg_iovlen = 1; sm[i].msg_hdr.msg_name = &sa[i]; sm[i].msg_hdr.msg_namelen = sizeof sa[i]; }
    uint32_t x = 1; for (int i = 0; i < 160; i++) { x = x * 1664525u + 1013904223u; ulaw_loud[i] = (x >> 24 & 0x80) | (x >> 16 & 0x1f); }   /* loud noise */
    rehash(16384);
    char in[4096]; int il = 0; int run = 1; fcntl(0, F_SETFL, O_NONBLOCK);
    printf("ready %d\n", bound(fd)); fflush(stdout);
    uint64_t next = mono(), tick = 0;
    while (run) {
        /* 1 ms ticks while sending, else 5 ms: the kernel stamps arrivals, so sleeping is free */
        uint64_t step = ntx ? 1000000 : reflect_on ? 2000000 : 5000000;
        next += step; uint64_t now = mono(); if (next < now) { if (!ntx && now - next > 50000000) next = now; }
        if (next > now) { struct timespec t = { next / 1000000000, next % 1000000000 }; clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0); }
        if (ntx) { uint64_t l = mono(); if (l > next && l - next > tx_late) tx_late = l - next; txtick(fd, tick % 20, tick - tick % 20); tick++; }
        rxbatch(fd);
        for (;;) {
            ssize_t r = read(0, in + il, sizeof in - 1 - il); if (r == 0) return 0; if (r < 0) break; il += r; in[il] = 0; char *nl;
            while ((nl = strchr(in, '\n'))) { *nl = 0; command(in, &run); il -= nl + 1 - in; memmove(in, nl + 1, il + 1); }
        }
    }
    return 0;
}

static int floor_(const char *mode, int n, double secs, int step) {
    /* A receiver that is never read and holds next to nothing: the packets are dropped at
       its queue, so this is the price of the send path and of loopback delivery. */
    int rx = mksock(0, 4096), port = bound(rx), small = 2304; setsockopt(rx, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    int fd = socket(AF_INET, SOCK_DGRAM, 0); int sndbuf = 8 << 20; setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
    static uint8_t prompt[8000 * 10]; for (unsigned i = 0; i < sizeof prompt; i++) prompt[i] = i * 7;
    struct mmsghdr *m = calloc(n, sizeof *m); struct iovec *iv = calloc(2 * n, sizeof *iv); uint8_t (*hdr)[12] = calloc(n, 12); struct sockaddr_in *d = calloc(n, sizeof *d); uint16_t *seq = calloc(n, 2);
    for (int i = 0; i < n; i++) { d[i].sin_family = AF_INET; d[i].sin_port = htons(port); d[i].sin_addr.s_addr = htonl(0x7f100000u + i + 1); m[i].msg_hdr.msg_name = &d[i]; m[i].msg_hdr.msg_namelen = sizeof d[i]; m[i].msg_hdr.msg_iov = &iv[2 * i]; m[i].msg_hdr.msg_iovlen = 2; iv[2 * i].iov_base = hdr[i]; iv[2 * i].iov_len = 12; iv[2 * i + 1].iov_len = 160; hdr[i][0] = 0x80; uint32_t s = i * 2654435761u; memcpy(hdr[i] + 8, &s, 4); }
    int paced = !strncmp(mode, "paced", 5), mm = strstr(mode, "sendmmsg") != 0, per = strstr(mode, "sockets") != 0, ticks = 20 / step;
    int *fds = calloc(n, sizeof *fds);
    if (per) for (int i = 0; i < n; i++) { fds[i] = socket(AF_INET, SOCK_DGRAM, 0); if (fds[i] < 0 || connect(fds[i], (void *)&d[i], sizeof d[i])) die("socket"); m[i].msg_hdr.msg_name = 0; m[i].msg_hdr.msg_namelen = 0; }
    prctl(PR_SET_TIMERSLACK, 1000);
    uint64_t t0 = mono(), end = t0 + secs * 1e9, next = t0, pk = 0, late = 0, maxlate = 0; uint32_t tick = 0;
    while (mono() < end) {
        int lo = 0, hi = n;
        if (paced) { next += 1000000 * step; int ph = tick % ticks; lo = (int64_t)n * ph / ticks; hi = (int64_t)n * (ph + 1) / ticks; struct timespec t = { next / 1000000000, next % 1000000000 }; clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0); uint64_t l = mono() - next; if (l > 5000000) late++; if (l > maxlate) maxlate = l; }
        for (int i = lo; i < hi; i++) { uint32_t f = paced ? tick / ticks : tick; uint32_t ts = htonl(f * 160); hdr[i][2] = seq[i] >> 8; hdr[i][3] = seq[i]; seq[i]++; memcpy(hdr[i] + 4, &ts, 4); iv[2 * i + 1].iov_base = prompt + (f + i) % 499 * 160; }
        if (mm) { int a = lo; while (a < hi) { int r = sendmmsg(fd, m + a, hi - a > 1024 ? 1024 : hi - a, 0); if (r <= 0) { a++; continue; } a += r; pk += r; } }
        else for (int i = lo; i < hi; i++) { if (sendmsg(per ? fds[i] : fd, &m[i].msg_hdr, 0) > 0) pk++; }
        tick++;
    }
    double wall = (mono() - t0) / 1e9; struct rusage u; getrusage(RUSAGE_SELF, &u); double us = u.ru_utime.tv_sec + u.ru_utime.tv_usec / 1e6, sy = u.ru_stime.tv_sec + u.ru_stime.tv_usec / 1e6;
    printf("{\"mode\":\"%s\",\"n\":%d,\"tick_ms\":%d,\"wall\":%.3f,\"packets\":%llu,\"pps\":%.0f,\"cpu_s\":%.3f,\"user_s\":%.3f,\"us_per_packet\":%.3f,\"pps_per_core\":%.0f,\"calls_per_core\":%.0f,\"ticks_late_5ms\":%llu,\"max_late_ms\":%.2f}\n", mode, n, paced ? step : 0, wall, (unsigned long long)pk, pk / wall, us + sy, us, (us + sy) * 1e6 / pk, pk / (us + sy), pk / (us + sy) / 50, (unsigned long long)late, maxlate / 1e6);
    return 0;
}

/* What a bare program needs to pass on N calls of two legs. */
static int relay_floor(int n, double secs, int step) {
    int legs = 2 * n, rx = mksock(0, 4096), port = bound(rx), small = 2304; setsockopt(rx, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    int *fds = calloc(legs, sizeof *fds), ep = epoll_create1(0); struct sockaddr_in *at = calloc(legs, sizeof *at), *to = calloc(legs, sizeof *to);
    for (int i = 0; i < legs; i++) {
        socklen_t l = sizeof at[i]; at[i].sin_family = to[i].sin_family = AF_INET; at[i].sin_addr.s_addr = htonl(0x7f000001u); to[i].sin_addr.s_addr = htonl(0x7f100000u + i + 1); to[i].sin_port = htons(port);
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0); if (fds[i] < 0 || bind(fds[i], (void *)&at[i], sizeof at[i]) || getsockname(fds[i], (void *)&at[i], &l)) die("socket");
        struct epoll_event e = { .events = EPOLLIN, .data.u32 = i }; epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e);
    }
    prctl(PR_SET_TIMERSLACK, 1000);
    uint64_t t0 = mono(), end = t0 + secs * 1e9, next = t0, pk = 0;
    pid_t speaker = fork();
    if (!speaker) {             /* off the core that is measured, where there is another */
        cpu_set_t all; CPU_ZERO(&all); for (int i = 1; i < sysconf(_SC_NPROCESSORS_ONLN); i++) CPU_SET(i, &all); sched_setaffinity(0, sizeof all, &all);
        uint8_t p[172] = { 0x80 }; int fd = socket(AF_INET, SOCK_DGRAM, 0);
        for (uint32_t tick = 0; mono() < end; tick++) { next += 1000000; struct timespec t = { next / 1000000000, next % 1000000000 }; clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0); for (int i = tick % 20; i < legs; i += 20) sendto(fd, p, sizeof p, 0, (void *)&at[i], sizeof at[i]); }
        _exit(0);
    }
    while (mono() < end) {
        next += 1000000 * step; struct timespec t = { next / 1000000000, next % 1000000000 }; clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0);
        struct epoll_event e[64]; int ready;
        do {
            ready = epoll_wait(ep, e, 64, 0);
            for (int i = 0; i < ready; i++) {
                uint8_t p[PKT]; struct sockaddr_in from; socklen_t l = sizeof from; int leg = e[i].data.u32; ssize_t r = recvfrom(fds[leg], p, sizeof p, 0, (void *)&from, &l);
                if (r < 12) continue;
                uint32_t mark = htonl(leg); memcpy(p + 8, &mark, 4); if (sendto(fds[leg ^ 1], p, r, MSG_DONTWAIT, (void *)&to[leg ^ 1], sizeof *to) > 0) pk++;
            }
        } while (ready == 64);
    }
    struct rusage u; getrusage(RUSAGE_SELF, &u); double cpu = u.ru_utime.tv_sec + u.ru_utime.tv_usec / 1e6 + u.ru_stime.tv_sec + u.ru_stime.tv_usec / 1e6;
    kill(speaker, SIGKILL); waitpid(speaker, 0, 0);
    printf("{\"mode\":\"relay\",\"n\":%d,\"tick_ms\":%d,\"wall\":%.3f,\"packets\":%llu,\"cpu_s\":%.3f,\"us_per_packet\":%.3f}\n", n, step, (mono() - t0) / 1e9, (unsigned long long)pk, cpu, cpu * 1e6 / pk);
    return 0;
}

int main(int c, char **v) {
    if (c >= 3 && !strcmp(v[1], "sink")) return sink(atoi(v[2]));
    if (c >= 5 && !strcmp(v[1], "floor") && !strcmp(v[2], "relay")) return relay_floor(atoi(v[3]), atof(v[4]), c > 5 ? atoi(v[5]) : 5);
    if (c >= 5 && !strcmp(v[1], "floor")) return floor_(v[2], atoi(v[3]), atof(v[4]), c > 5 ? atoi(v[5]) : 1);
    fprintf(stderr, "usage: rtptool sink PORT | floor MODE N SECS [TICK]\n"); return 2;
}
