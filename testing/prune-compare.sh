#!/bin/bash
# Compares forget and prune with restic's on the same history: snapshots of a tree of small files of which a share changes each time.
# Usage: testing/prune-compare.sh [FILES] [SNAPSHOTS] [PERCENT]. Needs restic, GNU time, python3, and about 8 KiB for each file in TMPDIR.
# Of each pair of neighbours one snapshot is forgotten, and all that is of no use is reclaimed. While tarn prunes, a backup runs beside it.
set -euo pipefail
files=${1:-40000}; snapshots=${2:-50}; percent=${3:-5}
cd "$(dirname "$0")/.."
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
make -s build
export TARN_PASSWORD=compare RESTIC_PASSWORD=compare XDG_CACHE_HOME=$work/cache XDG_STATE_HOME=$work/state
tarn="bin/tarn --quiet -r $work/tarn" restic="restic -q -r $work/restic"
cat > "$work/tree.py" <<'END'
import os, random, sys
root, files, round, percent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
r = random.Random(round)
for i in range(files):
    if round and r.random() * 100 >= percent:
        continue
    folder = f"{root}/{i // 200:05d}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{i % 200:03d}", "w") as f:
        f.write("".join(r.choices("0123456789abcdef \n", k=r.randint(200, 2000))))
END
bin/tarn --quiet -r "$work/tarn" init > /dev/null
restic -q -r "$work/restic" init > /dev/null
for ((i = 0; i < snapshots; i++)); do
  python3 "$work/tree.py" "$work/tree" "$files" $i "$percent"
  $tarn backup "$work/tree" > /dev/null
  $restic backup "$work/tree" > /dev/null
done
size() { du -sk --apparent-size "$1" | cut -f1; }
before_tarn=$(size "$work/tarn") before_restic=$(size "$work/restic")
bin/tarn -r "$work/tarn" stats 2>/dev/null | sed -n 2p
odd_tarn=$(bin/tarn -r "$work/tarn" snapshots --json | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/' | awk 'NR % 2')
odd_restic=$(restic -r "$work/restic" snapshots --json | grep -o '"id":"[0-9a-f]*"' | cut -d'"' -f4 | awk 'NR % 2')
run() { # name command...
  local name=$1; shift
  sync
  /usr/bin/time -o "$work/$name" -f '%e %M %U %S' "$@" > /dev/null 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
}
run restic.forget $restic forget $odd_restic
run restic.prune $restic prune --max-unused 0
run tarn.forget $tarn forget $odd_tarn
cp -a "$work/tarn" "$work/beside"
run tarn.prune $tarn prune --max-unused 0
# Beside a backup: what that might need stays in the trash, and the next prune removes it.
python3 "$work/tree.py" "$work/tree" "$files" 1000 "$percent"
bin/tarn --quiet -r "$work/beside" backup "$work/tree" > /dev/null & backup=$!
run tarn.beside bin/tarn --quiet -r "$work/beside" prune --max-unused 0
wait $backup
bin/tarn --quiet -r "$work/beside" prune --max-unused 0 > /dev/null
bin/tarn --quiet -r "$work/beside" check --read-data > /dev/null
$tarn check --read-data > /dev/null
echo "$files files, $snapshots snapshots, $percent % change each time; every other one forgotten, then pruned to the last byte"
printf '%-24s %12s %12s %8s\n' '' tarn restic ratio
line() { printf '%-24s %12s %12s %8s\n' "$1" "$2" "$3" "$(awk -v a="$2" -v b="$3" 'BEGIN {printf "%.2f", a ? b / a : 0}')"; }
field() { cut -d' ' -f"$1" "$work/$2"; }
line 'forget, s' "$(field 1 tarn.forget)" "$(field 1 restic.forget)"
line 'prune, s' "$(field 1 tarn.prune)" "$(field 1 restic.prune)"
line 'prune, peak KiB' "$(field 2 tarn.prune)" "$(field 2 restic.prune)"
line 'before, KiB' "$before_tarn" "$before_restic"
line 'after, KiB' "$(size "$work/tarn")" "$(size "$work/restic")"
echo "tarn's prune beside a running backup: $(field 1 tarn.beside) s"
