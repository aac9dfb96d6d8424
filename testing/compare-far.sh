#!/bin/bash
# Compares tarn with restic on an S3 server that is RTT away, and tarn on a local folder: seconds and requests.
# Usage: testing/compare-far.sh FOLDER [RTT]. Needs restic, and about five times the folder's size in TMPDIR.
set -euo pipefail
folder=$(cd "${1:?folder}" && pwd); rtt=${2:-50ms}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
make -s build
go build -o "$work/far" ./testing/servers/cmd/far
mkdir "$work/s3" "$work/tmp"
coproc FAR { "$work/far" "$rtt" "$work/s3"; }
trap 'exec {FAR[1]}>&-; wait 2>/dev/null; rm -rf "$work"' EXIT
read -r line <&"${FAR[0]}"; export $line
export TARN_PASSWORD=compare RESTIC_PASSWORD=compare XDG_CACHE_HOME=$work/cache GODEBUG=${GODEBUG:-}
count() { curl -s "http://$COUNTER/"; }
run() { # label command...
  local label=$1; shift
  count > /dev/null
  /usr/bin/time -o "$work/time" -f '%e s, %M KiB' "$@" > "$work/out.txt" 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
  printf '%-28s %-24s %s\n' "$label" "$(cat "$work/time")" "$(count)"
}
find "$folder" -type f -print0 | xargs -0 cat > /dev/null 2>&1 || true # the page cache, alike for all
for tool in local tarn restic; do
  rm -rf "$work/out"; mkdir "$work/out"
  case $tool in
    local) cmd="bin/tarn -q -r $work/repo"; $cmd init ;;
    tarn) cmd="bin/tarn -q -r s3:http://$FAR/$BUCKET/tarn"; $cmd init ;;
    restic) cmd="restic -q -r s3:http://$FAR/$BUCKET/restic"; $cmd init ;;
  esac > /dev/null 2>&1
  run "$tool: first" $cmd backup "$folder"
  run "$tool: unchanged" $cmd backup "$folder"
  if [ $tool = restic ]; then run "$tool: restore" $cmd restore latest --target "$work/out"
  else run "$tool: restore" $cmd restore "latest:$folder" --target "$work/out"; fi
  if [ $tool != restic ]; then
    rm -rf "$work/out" "$work/cache"; mkdir "$work/out"
    run "$tool: unchanged, no cache" $cmd backup "$folder"
    rm -rf "$work/cache"
    run "$tool: restore, no cache" $cmd restore "latest:$folder" --target "$work/out"
    run "$tool: check" $cmd check
  fi
done
