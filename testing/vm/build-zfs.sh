#!/bin/bash
# build-zfs.sh: makes the ZFS modules for the kernel that run-in-vm.sh keeps in its cache, and lays them out there with zfs, zpool
# and their libraries, for `run-in-vm.sh -z`. The source is Debian's own package (contrib's zfs-dkms).
#
# It installs nothing and leaves this machine's apt sources as they are: it gives apt a list of its own, with contrib added.
# Needs gcc-12 and make. It takes some five minutes of two processors, once per kernel.
set -euo pipefail

cache=${TARN_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tarn-vm}
overlay=$cache/zfs
die() { echo "build-zfs: $*" >&2; exit 1; }
[ -e "$cache/kernel/complete" ] || die "no kernel in the cache: run run-in-vm.sh once before"
for tool in gcc-12 make dpkg-deb; do
  command -v "$tool" > /dev/null || die "no $tool: apt-get install gcc-12 make"
done
kernel=$(basename "$cache"/kernel/lib/modules/*)
[ "$(cat "$overlay/etc/zfs-for" 2> /dev/null || true)" != "$kernel" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An apt of our own: the mirrors of this machine, with contrib.
mkdir -p "$work"/apt/{sources,lists/partial,cache/archives/partial} "$work/debs" "$work/root"
sed -E 's/^Components: .*/Components: main contrib/' /etc/apt/sources.list.d/debian.sources > "$work/apt/sources/debian.sources"
cat > "$work/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/apt/sources";
Dir::State::lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "root";
CONF
export APT_CONFIG=$work/apt.conf
apt-get update -qq
(
  cd "$work/debs"
  apt-get download -qq "linux-headers-$kernel" "linux-headers-${kernel%-cloud-amd64}-common" linux-kbuild-6.1 \
    zfs-dkms zfsutils-linux libzfs4linux libzpool5linux libnvpair3linux libuutil3linux
)
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

# The headers point at where they would be installed.
headers=$work/root/usr/src/linux-headers-$kernel
sed -i "s#/usr/src#$work/root/usr/src#" "$headers/Makefile"
source=$(echo "$work"/root/usr/src/zfs-*)
(
  cd "$source"
  ./configure --with-config=kernel --with-linux="${headers%-cloud-amd64}-common" --with-linux-obj="$headers"
  make -j"$(nproc)"
) > "$cache/zfs-build.log" 2>&1 || die "the build ended early; see $cache/zfs-build.log"

rm -rf "$overlay"
mkdir -p "$overlay/usr/sbin" "$overlay/usr/lib/x86_64-linux-gnu" "$overlay/usr/lib/modules/$kernel/extra" "$overlay/etc"
find "$source/module" -name '*.ko' -exec cp {} "$overlay/usr/lib/modules/$kernel/extra/" \;
strip --strip-debug "$overlay/usr/lib/modules/$kernel"/extra/*.ko
cp "$work"/root/sbin/{zfs,zpool,mount.zfs} "$overlay/usr/sbin/"
cp -a "$work"/root/lib/x86_64-linux-gnu/*.so* "$overlay/usr/lib/x86_64-linux-gnu/"
echo "$kernel" > "$overlay/etc/zfs-for"
