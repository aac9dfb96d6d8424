#!/bin/bash
# Installs what the tests need beside Go, if it is missing: with apt, as root; otherwise it names what to install.
set -euo pipefail
need() { # command package
  command -v "$1" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
missing=()
need gcc gcc
need rsync rsync
need getfattr attr
need getfacl acl
need lsattr e2fsprogs
need mkfs.ext4 e2fsprogs
need mkfs.btrfs btrfs-progs
need mkfs.xfs xfsprogs
need setcap libcap2-bin
need sqlite3 sqlite3
need fusermount3 fuse3
need setpriv util-linux
need python3 python3
need sshd openssh-server
need ssh openssh-client
need rclone rclone
need openssl openssl
need curl curl
compgen -G "/usr/lib/postgresql/*/bin/pgbench" >/dev/null || missing+=(postgresql)
# The servers that are Go programs: built once, kept in Go's build cache.
for tool in versitygw rest-server; do go -C "$(dirname "$0")/tools" tool -n $tool > /dev/null; done
# What the udev rule of fuse3 does, where no udev runs: mounting as a plain user is tested, too.
if [ "$(id -u)" = 0 ] && [ -c /dev/fuse ]; then chmod 666 /dev/fuse; fi
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "some tests will be skipped; they need: sudo apt-get install ${missing[*]}" >&2
  exit 0
fi
case " ${missing[*]} " in *" postgresql "*) # the test makes a cluster of its own: the package is not to start one
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf ;;
esac
# No service is to run for this: an sshd that listens to the world is nothing that tests should leave behind.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod +x $policy
  trap 'rm -f '$policy EXIT
fi
retries="-o Acquire::Retries=5"
apt-get $retries update -qq
DEBIAN_FRONTEND=noninteractive apt-get $retries install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
