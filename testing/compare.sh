#!/bin/bash
# Compares tarn with restic, in one run and in turns: first backup, unchanged backup, restore, size and peak memory.
# Usage: testing/compare.sh FOLDER [ROUNDS]. Needs restic, GNU time and about three times the folder's size in TMPDIR.
# Prints each figure's median and the ratio restic / tarn.
set -euo pipefail
folder=$(cd "${1:?folder}" && pwd); rounds=${2:-3}
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
make -s build
export TARN_PASSWORD=compare RESTIC_PASSWORD=compare XDG_CACHE_HOME=$work/cache
tarn="bin/tarn --quiet"
run() { # tool step command...
  local tool=$1 step=$2; shift 2
  sync
  /usr/bin/time -o "$work/time" -f '%e %M %U %S' "$@" >/dev/null 2>"$work/err" || { cat "$work/err" >&2; exit 1; }
  cat "$work/time" >> "$work/$tool.$step"
}
find "$folder" -type f -print0 | xargs -0 cat > /dev/null 2>&1 || true # the page cache, alike for both
for ((i = 1; i <= rounds; i++)); do
  for tool in tarn restic; do
    rm -rf "$work/repo" "$work/out" "$work/cache"; mkdir "$work/out"
    if [ $tool = tarn ]; then
      $tarn -r "$work/repo" init >/dev/null 2>&1
      run tarn first $tarn -r "$work/repo" backup "$folder"
      run tarn unchanged $tarn -r "$work/repo" backup "$folder"
      du -sk --apparent-size "$work/repo" | cut -f1 >> "$work/tarn.size"
      run tarn restore $tarn -r "$work/repo" restore "latest:$folder" --target "$work/out"
    else
      restic -q -r "$work/repo" init >/dev/null 2>&1
      run restic first restic -q -r "$work/repo" backup "$folder"
      run restic unchanged restic -q -r "$work/repo" backup "$folder"
      du -sk --apparent-size "$work/repo" | cut -f1 >> "$work/restic.size"
      run restic restore restic -q -r "$work/repo" restore latest --target "$work/out"
    fi
    rm -rf "$work/out"
  done
  mkdir "$work/out"; run cp restore cp -a "$folder" "$work/out/"; rm -rf "$work/out"
done
median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
column() { awk -v n="$1" '{print $n}' "$2" | median; }
echo "$(restic version | cut -d' ' -f1,2), tarn $(bin/tarn version | head -1 | cut -d' ' -f2-), $(find "$folder" | wc -l) entries, medians of $rounds"
printf '%-22s %10s %10s %8s\n' '' tarn restic ratio
line() { printf '%-22s %10s %10s %8s\n' "$1" "$2" "$3" "$(awk -v a="$2" -v b="$3" 'BEGIN {printf "%.2f", b / a}')"; }
for step in first unchanged restore; do
  line "$step, s" "$(column 1 "$work/tarn.$step")" "$(column 1 "$work/restic.$step")"
done
line 'peak memory first, KiB' "$(column 2 "$work/tarn.first")" "$(column 2 "$work/restic.first")"
line 'repository, KiB' "$(median < "$work/tarn.size")" "$(median < "$work/restic.size")"
echo "cp -a: $(column 1 "$work/cp.restore") s"
