#!/bin/bash
# test.sh lvm|zfs|kill [TEST-FLAG...]: runs the tests of source/lvm or source/zfs, or those that kill whole backups on LVM, in a machine of
# run-in-vm.sh. Flags are those of a test binary: -test.run=TestKill. The first run downloads a kernel; the first of zfs builds the module as
# well (some minutes).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
usage="usage: test.sh lvm|zfs|kill [TEST-FLAG...]"
what=${1:?$usage}
shift
run=("$here/run-in-vm.sh" -t "${TARN_VM_SECONDS:-900}")
job=$(mktemp -d)
trap 'rm -rf "$job"' EXIT
case $what in
  lvm) package=./source/lvm ;;
  kill)
    package=./cmd/tarn
    set -- -test.run='TestKilledWhileHeld/lvm|TestOverflowWhileHeld' "$@"
    (cd "$here/../.." && CGO_ENABLED=0 go build -o "$job/tarn" ./cmd/tarn)
    ;;
  zfs)
    package=./source/zfs
    echo true > "$job/run.sh"
    [ -e "${TARN_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tarn-vm}/kernel/complete" ] || "${run[@]}" "$job" run.sh
    nice -n 19 "$here/build-zfs.sh"
    run+=(-z)
    ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
(cd "$here/../.." && CGO_ENABLED=0 go test -c -o "$job/$what.test" "$package")
kills=${TARN_TEST_KILLS:+TARN_TEST_KILLS=$TARN_TEST_KILLS}
echo "[ $what != zfs ] || modprobe zfs; TARN_TEST_PROGRAM=/in/tarn $kills exec ./$what.test -test.v \"\$@\"" > "$job/run.sh"
"${run[@]}" "$job" run.sh "$@"
