#!/bin/bash
# test.sh short|lvm|tarn|zfs|inuse [FLAG...]: runs tests in a machine of run-in-vm.sh; see README.md. Flags are those of a test binary
# (-test.run=TestKill), or of bench/inuse. The first run downloads a kernel; the first of zfs builds the modules as well (some minutes).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
usage="usage: test.sh short|lvm|tarn|zfs|inuse [FLAG...]"
what=${1:?$usage}
shift
cache=${TARN_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tarn-vm}
vm=("$here/run-in-vm.sh" -t "${TARN_VM_SECONDS:-900}")
job=$(mktemp -d)
trap 'rm -rf "$job"' EXIT
export CGO_ENABLED=0

build() { (cd "$root" && go build -o "$job/$(basename "$1")" "$1"); } # a program
build_test() { (cd "$root" && go test -c -o "$job/$(basename "$1").test" "$1"); } # the tests of a package
# In the machine nothing may be skipped: it has all that the tests want.
cat > "$job/run.sh" << END
export TARN_TEST_PROGRAM=/in/tarn TARN_TEST_KILLS=${TARN_TEST_KILLS:-} TARN_SOAK=${TARN_SOAK:-}
[ -n "\$TARN_TEST_KILLS" ] || unset TARN_TEST_KILLS
tests() {
  ./"\$1".test -test.v "\${@:2}" 2>&1 | tee /tmp/said || exit
  ! grep -e '--- SKIP' -e 'no tests to run' /tmp/said || { echo "\$1: a test was skipped"; exit 1; }
}
set -o pipefail
END
add() { echo "$*" >> "$job/run.sh"; }
held='TestKilledWhileHeld/lvm|TestOverflowWhileHeld' # the tests of cmd/tarn that need logical volumes
case $what in
  short)
    build_test ./source/lvm
    build_test ./cmd/tarn
    build ./cmd/tarn
    add "tests lvm -test.run='TestHolds\$'"
    add "TARN_TEST_KILLS=1 tests tarn -test.run='TestKilledWhileHeld/lvm_(thick_ext4|thin_xfs)'"
    add "tests tarn -test.run=TestOverflowWhileHeld/lvm_thick_ext4"
    ;;
  lvm)
    build_test ./source/lvm
    add 'tests lvm "$@"'
    ;;
  tarn)
    build_test ./cmd/tarn
    build ./cmd/tarn
    add "tests tarn -test.run='$held'" '"$@"'
    ;;
  inuse)
    build ./bench/inuse/cmd/inuse
    build ./cmd/tarn
    cp "$here/inuse.sh" "$job"
    add 'exec bash ./inuse.sh "$@"'
    ;;
  zfs)
    echo true > "$job/first.sh"
    [ -e "$cache/kernel/complete" ] || "${vm[@]}" "$job" first.sh
    nice -n 19 "$here/build-zfs.sh"
    vm+=(-z)
    build_test ./source/zfs
    add 'modprobe zfs; tests zfs "$@"'
    ;;
  *) echo "$usage" >&2; exit 2 ;;
esac

status=0
"${vm[@]}" "$job" run.sh "$@" || status=$?
if [ $status = 125 ]; then
  echo "test.sh: the machine died; once more" >&2
  status=0
  "${vm[@]}" "$job" run.sh "$@" || status=$?
fi
case $status in
  0) ;;
  124) echo "test.sh: not done in ${TARN_VM_SECONDS:-900} s; TARN_VM_SECONDS gives it more" >&2 ;;
  125) echo "test.sh: the machine could not be made, or died again: this says nothing of tarn" >&2 ;;
  *) echo "test.sh: the tests in the machine failed" >&2 ;;
esac
exit $status
