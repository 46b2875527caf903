#!/bin/busybox sh
# The first and only program of the guest: mounts the disk, looks at the spool, fills it
# until the power goes. All that is said goes to the virtio console.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /mnt
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do
    $b insmod "$module" || echo "insmod $module failed"
done
# The devices appear a moment after their modules.
tries=0
while [ ! -b /dev/vda ] || [ ! -c /dev/hvc0 ]; do
    tries=$((tries + 1))
    [ $tries -gt 300 ] && { echo "no disk or no console"; $b poweroff -f; }
    $b usleep 20000
done
exec < /dev/null > /dev/hvc0 2>&1
$b mount -t ext4 -o errors=remount-ro /dev/vda /mnt || { echo "unmountable"; $b poweroff -f; }
for word in $($b cat /proc/cmdline); do
    case $word in tipring.round=*) round=${word#*=} ;; esac
done
/powercut_guest check /mnt/webhooks && /powercut_guest fill /mnt/webhooks "$round"
echo "ended with $?"
$b poweroff -f
