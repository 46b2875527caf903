# Run by mmdebstrap, with the new root as its argument: leaves the newest kernel for ARM64 and a
# static busybox in its folder `guest`, unpacked. Apt here is the root's own.
set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
mkdir "$1/guest"
cd "$1/guest"
kernel=$(apt-cache depends linux-image-arm64:arm64 \
    | sed -n 's/^ *Depends: \(linux-image-[0-9][^:]*\).*/\1/p' | head -n 1)
test -n "$kernel"
apt-get --quiet download "$kernel:arm64" busybox-static:arm64
for package in *.deb; do
    dpkg-deb --extract "$package" .
    rm "$package"
done
