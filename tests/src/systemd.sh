# Boots systemd on a machine that has this one's programs and files of its own, in the network that it is started in.
# Called in mount, process, host name and control group namespaces of its own: DIRECTORY PROGRAM, where DIRECTORY/files is
# laid over the root and PROGRAM is /usr/local/bin/hafleet.
set -eu
cd "$1"
mount --make-rprivate /
mkdir -p stage
mount -t tmpfs -o mode=755 tmpfs stage
mkdir -p stage/work stage/root
cp -a files stage/upper
mkdir -p stage/upper/usr/local/bin
touch stage/upper/usr/local/bin/hafleet
mount -t overlay overlay -o lowerdir=/,upperdir=stage/upper,workdir=stage/work stage/root
mount --bind "$2" stage/root/usr/local/bin/hafleet
cd stage/root
mount -t proc proc proc
mount --bind /dev dev
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir -p .before
pivot_root . .before
umount -l .before
# Nothing but the units that it was given.
exec env -i container=hafleet SYSTEMD_UNIT_PATH=/units SYSTEMD_LOG_TARGET=console \
    /lib/systemd/systemd --system --unit=machine.target --show-status=no --default-standard-output=null
