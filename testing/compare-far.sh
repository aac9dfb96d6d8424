#!/bin/bash
# Compares tarn with restic on an S3 server that is RTT away, and with tarn on a local folder: seconds, processor time and requests.
# Usage: testing/compare-far.sh FOLDER [ROUNDS [RTT]]. Needs restic and curl, and in TMPDIR about five times the folder's size for each round.
#
# In each round each step is done by all tools, one after the other, and every second round in the other order. Each first backup goes to a new
# repository, each restore to a new folder. Nothing is removed before the end: ext4 without a journal makes files slowly where some were removed
# in the last minutes (docs/benchmarks.md), so wait six minutes after anything that removed many, as the end of this does.
set -euo pipefail
folder=$(cd "${1:?folder}" && pwd); rounds=${2:-2}; rtt=${3:-50ms}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
make -s build
go build -o "$work/far" ./testing/servers/cmd/far
mkdir "$work/s3"
coproc FAR { exec "$work/far" "$rtt" "$work/s3"; }
trap 'exec {FAR[1]}>&-; wait 2>/dev/null; rm -rf "$work"' EXIT
read -r line <&"${FAR[0]}"; export $line
export TARN_PASSWORD=compare RESTIC_PASSWORD=compare

command_of() { # tool round: its command line, up to the verb
  export TARN_CACHE_DIR=$work/cache-$1-$2 XDG_CACHE_HOME=$work/cache-$1-$2
  case $1 in
    local) cmd="bin/tarn -q -r $work/local-$2" ;;
    far) cmd="bin/tarn -q -r s3:http://$FAR/$BUCKET/tarn-$2" ;;
    restic) cmd="restic -q -r s3:http://$FAR/$BUCKET/restic-$2" ;;
  esac
}

step() { # name tool round
  command_of "$2" "$3"
  local args=(backup "$folder")
  if [ "$1" = restore ]; then
    args=(restore "latest:$folder" --target "$work/out-$2-$3")
    if [ "$2" = restic ]; then args=(restore latest --target "$work/out-$2-$3"); fi # this restic knows no folders of snapshots
  fi
  sync
  curl -s "http://$COUNTER/" > /dev/null
  /usr/bin/time -o "$work/time" -f '%e %U %S %M' $cmd "${args[@]}" > "$work/out.txt" 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
  local requests; requests=$(curl -s "http://$COUNTER/")
  if [ "$2" = local ]; then requests=""; fi
  awk -v step="$1" -v tool="$2" -v round="$3" -v requests="$requests" '{
    printf "%d %-9s %-6s %7.2f s, processor %6.2f s, %4d MiB  %s\n", round, step, tool, $1, $2 + $3, $4 / 1024, requests }' "$work/time" | tee -a "$work/all"
}

find "$folder" -type f -print0 | xargs -0 cat > /dev/null 2>&1 || true # the page cache, alike for all
echo "$(find "$folder" -type f | wc -l) files, round trips of $rtt, $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
for round in $(seq "$rounds"); do
  tools="local far restic"
  if [ $((round % 2)) = 0 ]; then tools="restic far local"; fi
  for tool in $tools; do
    command_of "$tool" "$round"
    $cmd init > /dev/null 2>&1
  done
  for what in first unchanged restore; do
    for tool in $tools; do step "$what" "$tool" "$round"; done
  done
done
echo "medians, and how they compare:"
sort -k2,2 -k3,3 -k4,4n "$work/all" | awk '
  { key = $2 " " $3; n[key]++; v[key, n[key]] = $4 }
  function median(key) { return n[key] % 2 ? v[key, (n[key] + 1) / 2] : (v[key, n[key] / 2] + v[key, n[key] / 2 + 1]) / 2 }
  END { split("first unchanged restore", steps, " ")
    for (i = 1; i <= 3; i++) { s = steps[i]; l = median(s " local"); f = median(s " far"); r = median(s " restic")
      printf "%-9s local %.2f s, far %.2f s (%.2f times local), restic far %.2f s (%.2f times far)\n", s, l, f, f / l, r, r / f } }'
