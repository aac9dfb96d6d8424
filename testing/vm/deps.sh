#!/bin/bash
# Installs what run-in-vm.sh needs, if it is missing: with apt, as root.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
missing=()
need() { command -v "$1" > /dev/null || missing+=("$2"); } # command package
need qemu-system-x86_64 qemu-system-x86
need busybox busybox-static
need lvm lvm2
need thin_check thin-provisioning-tools
need mkfs.ext4 e2fsprogs
need mkfs.xfs xfsprogs
[ ${#missing[@]} -eq 0 ] && exit 0
retries="-o Acquire::Retries=5"
apt-get $retries update -qq
DEBIAN_FRONTEND=noninteractive apt-get $retries install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
