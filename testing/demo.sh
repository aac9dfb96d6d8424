#!/bin/bash
# Runs tarn's main job for real: two backups of a folder, a restore, and a comparison by a program that is not tarn.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${1:-$(go env GOROOT)/src}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TARN_PASSWORD=demo TARN_REPOSITORY=$work/repo XDG_CACHE_HOME=$work/cache XDG_STATE_HOME=$work/state
tarn() { echo; echo "\$ tarn $*"; bin/tarn "$@"; }

echo "backing up a copy of $dir"
cp -a "$dir" "$work/source"
tarn init
tarn backup "$work/source"
date > "$work/source/changed-by-the-demo"
tarn backup "$work/source"
tarn snapshots
tarn restore "latest:$work/source" --target "$work/restored"
tarn check --read-data
tarn stats
echo
if command -v rsync >/dev/null; then
  difference=$(rsync -aHAXn --checksum --delete --itemize-changes "$work/source/" "$work/restored/")
else
  difference=$(diff -r --no-dereference "$work/source" "$work/restored" || true)
fi
if [ -n "$difference" ]; then
  echo "the restored folder differs:"; echo "$difference" | head; exit 1
fi
echo "the restored folder is identical, down to the last attribute"
echo "source $(du -sh --apparent-size "$work/source" | cut -f1), repository $(du -sh "$work/repo" | cut -f1)"
