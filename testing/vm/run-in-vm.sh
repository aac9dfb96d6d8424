#!/bin/bash
# run-in-vm.sh [-z] [-t SECONDS] [-m MIB] [-o FOLDER] JOB SCRIPT [ARG...]
#
# Boots a machine that lives for one script: copies the folder JOB to /in, runs JOB/SCRIPT there with bash as root, prints what
# the script prints and ends with the script's exit status. See README.md for what is in the machine and what is not.
#
#   -z  with the ZFS modules and programs that build-zfs.sh made
#   -t  end it after so many seconds (600)
#   -m  memory (1536 MiB); /tmp is a tmpfs of nine tenths of it
#   -o  copy what the script left in /out to this folder
#
# Exit status 124: out of time. 125: the machine could not be made, or died before the script ended.
set -euo pipefail

limit=600 memory=1536 out='' flavour=plain
die() { echo "run-in-vm: $*" >&2; exit 125; }
usage="usage: run-in-vm.sh [-z] [-t SECONDS] [-m MIB] [-o FOLDER] JOB SCRIPT [ARG...]"
while getopts zt:m:o: flag; do
  case $flag in
    z) flavour=zfs ;;
    t) limit=$OPTARG ;;
    m) memory=$OPTARG ;;
    o) out=$OPTARG ;;
    *) die "$usage" ;;
  esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || die "$usage"
job=$(cd "$1" && pwd) script=$2
shift 2
[ -f "$job/$script" ] || die "no $script in $job"

cache=${TARN_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tarn-vm}
zfs_overlay=$cache/zfs
install="apt-get install qemu-system-x86 busybox-static lvm2 thin-provisioning-tools e2fsprogs xfsprogs"
PATH=$PATH:/usr/sbin:/sbin

programs="bash mount umount losetup blkid blockdev lvm dmsetup thin_check thin_dump thin_repair mke2fs e2fsck mkfs.xfs xfs_repair"
lvm_links="lvs vgs pvs pvcreate pvremove vgcreate vgremove vgchange lvcreate lvremove lvchange lvrename lvextend"
modules="dm-mod dm-snapshot dm-thin-pool loop ext4 xfs virtio_blk virtio_pci"
[ "$flavour" = plain ] || modules+=" zfs"

busybox=$(command -v busybox) || die "no busybox: $install"
qemu=$(command -v qemu-system-x86_64) || die "no qemu-system-x86_64: $install"
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

download_kernel() {
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)/\1/p' | head -n 1)
  [ -n "$package" ] && (cd "$work/deb" && apt-get download -qq -o Acquire::Retries=5 -o APT::Sandbox::User=root "$package")
}

# The newest cloud kernel that apt knows, unpacked into the cache and installed nowhere.
fetch_kernel() {
  [ ! -e "$cache/kernel/complete" ] || return 0
  rm -rf "$cache/kernel"
  mkdir -p "$cache/kernel" "$work/deb"
  # What apt knows may be nothing, or older than what there is to be downloaded.
  download_kernel 2> /dev/null || { apt-get -o Acquire::Retries=5 update -qq && download_kernel; } || die "can't download linux-image-cloud-amd64"
  dpkg-deb -x "$work"/deb/*.deb "$cache/kernel"
  touch "$cache/kernel/complete"
}

# The programs of this machine that tests need, and each shared library that they name.
copy_programs() { # ROOT
  local root=$1 name file library
  for name in $("$busybox" --list); do ln -s busybox "$root/usr/bin/$name"; done
  cp --remove-destination "$busybox" "$root/usr/bin/busybox"
  for name in $programs; do
    file=$(command -v "$name") || die "no $name: $install"
    rm -f "$root/usr/bin/$name"
    cp -L "$(readlink -f "$file")" "$root/usr/sbin/$name"
  done
  for name in $lvm_links; do ln -sf lvm "$root/usr/sbin/$name"; done
  for name in ext2 ext3 ext4; do ln -sf mke2fs "$root/usr/sbin/mkfs.$name"; done
  for name in bash sh; do ln -sf ../sbin/bash "$root/usr/bin/$name"; done
  ln -sf ../bin/busybox "$root/usr/sbin/modprobe"
  [ "$flavour" = plain ] || cp -a "$zfs_overlay/." "$root"
  find "$root/usr/sbin" "$root/usr/bin" "$root/usr/lib" -type f -perm -u+x ! -name '*.ko' -print0 |
    { LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu xargs -0 ldd 2>/dev/null || true; } |
    grep -o '/[^ ]* (0x' | cut -d' ' -f1 | sort -u | while read -r library; do
      library=${library#"$root"}
      [ ! -e "$root$library" ] || continue
      mkdir -p "$root$(dirname "$library")"
      cp -L "$library" "$root$library"
    done
}

# The modules named above with those that they stand on, by depmod's own list: a tenth of what the kernel brings.
copy_modules() { # ROOT
  local root=$1 version all module file
  version=$(basename "$cache"/kernel/lib/modules/*)
  all=$work/modules
  mkdir -p "$all/lib"
  cp -a "$cache/kernel/lib/modules" "$all/lib/"
  [ ! -d "$root/usr/lib/modules" ] || cp -a "$root/usr/lib/modules/." "$all/lib/modules/"
  "$busybox" depmod -b "$all" "$version"
  for module in $modules; do
    sed -n "\#/$module\.ko:#{s/://;y/ /\n/;p}" "$all/lib/modules/$version/modules.dep"
  done | sort -u | while read -r file; do
    mkdir -p "$root/lib/modules/$version/$(dirname "$file")"
    cp "$all/lib/modules/$version/$file" "$root/lib/modules/$version/$file"
  done
  "$busybox" depmod -b "$root" "$version"
}

make_root() { # ROOT
  local root=$1 name
  mkdir -p "$root"/{usr/{bin,sbin,lib,lib64},etc/lvm,proc,sys,dev,run,tmp,root,in,out,mnt,var/lock}
  for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
  copy_programs "$root"
  copy_modules "$root"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' > "$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' > "$root/etc/group"
  ln -s /proc/mounts "$root/etc/mtab"
  # Nobody runs udev in there: lvm makes its own nodes, and must not wait for anybody to tell it so.
  cat > "$root/etc/lvm/lvm.conf" <<-'CONF'
	activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
	devices { obtain_device_list_from_udev = 0 external_device_info_source = "none" use_devicesfile = 0 }
	global { use_lvmpolld = 0 event_activation = 0 }
	CONF
  cat > "$root/init" <<-'INIT'
	#!/bin/busybox sh
	export PATH=/usr/sbin:/usr/bin HOME=/root
	mount -t proc proc /proc
	mount -t sysfs sys /sys
	mount -t devtmpfs dev /dev
	mount -t tmpfs -o size=90% tmp /tmp
	mount -t tmpfs run /run
	mkdir /dev/shm
	ln -s /proc/self/fd /dev/fd
	ln -s ../proc/self/fd/1 /dev/stdout
	ln -s ../proc/self/fd/2 /dev/stderr
	ifconfig lo 127.0.0.1 up
	hostname vm
	stty -onlcr
	modprobe -a dm-mod dm-snapshot dm-thin-pool loop
	cd /in
	echo; echo "@vm begin"
	/bin/bash /command </dev/null 2>&1
	status=$?
	sync
	if grep -q wantout /proc/cmdline; then
		modprobe -a virtio_pci virtio_blk
		tar -C /out -cf /dev/vda . || status=125
		sync
	fi
	echo; echo "@vm exit $status"
	poweroff -f
	INIT
  chmod +x "$root/init"
}

# The base archive holds the machine without a job. Its name tells what it was made of, so that a change makes a new one.
make_base() {
  local key
  key=$({ cat "$0"; ls "$cache/kernel/lib/modules"; [ "$flavour" = plain ] || ls -lR "$zfs_overlay"; } | sha256sum | cut -c1-16)
  base=$cache/base-$flavour-$key.cpio
  [ ! -s "$base" ] || return 0
  rm -f "$cache/base-$flavour"-*.cpio
  make_root "$work/root"
  (cd "$work/root" && find . | "$busybox" cpio -o -H newc --quiet) > "$base.part"
  mv "$base.part" "$base"
}

exec 9> "$cache/lock"
flock 9 # one run at a time fills the cache
[ "$flavour" = plain ] || [ -e "$zfs_overlay/etc/zfs-for" ] || die "no ZFS in the cache: build-zfs.sh makes it"
fetch_kernel
make_base
exec 8< "$base" # stays readable if another run replaces it
exec 9>&-

# The kernel lays a second archive, with the job, over the first. Neither is compressed: inflating costs more in emulation.
mkdir -p "$work/job/in"
cp -a "$job/." "$work/job/in"
{ printf 'exec bash ./%q' "$script"; [ $# -eq 0 ] || printf ' %q' "$@"; } > "$work/job/command"
{ cat <&8; cd "$work/job" && find . | "$busybox" cpio -o -H newc --quiet; } > "$work/initrd"

# q35, since microvm hangs at times; plain emulation unless told otherwise, since few test machines let one nest.
accel=${TARN_VM_ACCEL:-tcg,thread=multi,tb-size=512}
append="console=ttyS0 quiet loglevel=3 panic=-1" drive=()
if [ -n "$out" ]; then
  truncate -s 1G "$work/out.img"
  append+=" wantout"
  drive=(-drive "file=$work/out.img,if=none,id=out,format=raw,cache=unsafe" -device virtio-blk-pci,drive=out)
fi
set +e
timeout -k 5 "$limit" "$qemu" -accel "$accel" -M q35 -cpu max -smp 2 -m "$memory" -nographic -nodefaults -no-user-config \
  -no-reboot -serial stdio -kernel "$cache"/kernel/boot/vmlinuz-* -initrd "$work/initrd" -append "$append" \
  "${drive[@]}" < /dev/null 2>&1 |
  "$busybox" awk -v console="$work/console" '
    { sub(/\r$/, ""); print > console }
    /^@vm begin/ { on = 1; next }
    /^@vm exit/  { status = $3; on = 0; ended = 1; next }
    on           { print; fflush() }
    END          { exit ended ? status : 125 }'
ends=("${PIPESTATUS[@]}")
set -e
status=${ends[1]}
[ "${ends[0]}" != 124 ] || status=124
case $status in 124 | 125) tail -n 20 "$work/console" >&2 ;; esac
if [ -n "$out" ]; then
  mkdir -p "$out"
  tar -C "$out" -xf "$work/out.img"
fi
exit "$status"
