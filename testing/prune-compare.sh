#!/bin/bash
# Compares forget and prune with restic's on the same history: snapshots of a tree of small files of which a share changes each time.
# Usage: testing/prune-compare.sh [FILES] [SNAPSHOTS] [PERCENT]. Needs restic, GNU time, python3, and about 20 KiB for each file in TMPDIR.
# The history has FILES * (1 + (SNAPSHOTS - 1) * PERCENT / 100) distinct files: 2,000,000 as it stands, and is best made in a tmpfs. Every other snapshot is
# forgotten, and all that is of no use is reclaimed. While tarn prunes a copy of it, a backup runs beside. PEER=none leaves restic out.
set -euo pipefail
files=${1:-60000}; snapshots=${2:-50}; percent=${3:-66}; peer=${PEER:-restic}
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
    folder = f"{root}/{i // 200:05d}"
    if i % 200 == 0:
        os.makedirs(folder, exist_ok=True)
    if round and r.random() * 100 >= percent:
        continue
    with open(f"{folder}/{i % 200:03d}", "w") as f:
        f.write(r.randbytes(r.randint(50, 300)).hex())
END
bin/tarn --quiet -r "$work/tarn" init > /dev/null
with_peer() { [ "$peer" = none ] || "$@"; }
with_peer restic -q -r "$work/restic" init > /dev/null
for ((i = 0; i < snapshots; i++)); do
  python3 "$work/tree.py" "$work/tree" "$files" $i "$percent"
  $tarn backup "$work/tree" > /dev/null
  with_peer $restic backup "$work/tree" > /dev/null
done
size() { [ ! -d "$1" ] && echo 0 || du -sk --apparent-size "$1" | cut -f1; }
before_tarn=$(size "$work/tarn") before_restic=$(size "$work/restic")
bin/tarn -r "$work/tarn" stats 2>/dev/null | sed -n 2p
odd_tarn=$(bin/tarn -r "$work/tarn" snapshots --json | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/' | awk 'NR % 2')
odd_restic=$(with_peer restic -r "$work/restic" snapshots --json | grep -o '"id":"[0-9a-f]*"' | cut -d'"' -f4 | awk 'NR % 2') || true
run() { # name command...
  local name=$1; shift
  sync
  /usr/bin/time -o "$work/$name" -f '%e %M %U %S' "$@" > /dev/null 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
}
echo 0 0 0 0 | tee "$work/restic.forget" > "$work/restic.prune"
with_peer run restic.forget $restic forget $odd_restic
with_peer run restic.prune $restic prune --max-unused 0
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
processor() { awk '{print $3 + $4}' "$work/$1"; }
line 'forget, s' "$(field 1 tarn.forget)" "$(field 1 restic.forget)"
line 'prune, s' "$(field 1 tarn.prune)" "$(field 1 restic.prune)"
line 'prune, processor s' "$(processor tarn.prune)" "$(processor restic.prune)"
line 'prune, peak KiB' "$(field 2 tarn.prune)" "$(field 2 restic.prune)"
line 'before, KiB' "$before_tarn" "$before_restic"
line 'after, KiB' "$(size "$work/tarn")" "$(size "$work/restic")"
echo "tarn's prune beside a running backup: $(field 1 tarn.beside) s"
