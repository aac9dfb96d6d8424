#!/bin/bash
# Compares the stages' benchmarks of this tree with those of another commit, in alternation, with benchstat.
set -euo pipefail
cd "$(dirname "$0")/.."
ref=${1:?usage: make bench-compare REF=commit}
work=$(mktemp -d)
trap 'git worktree remove --force "$work/old"; rm -rf "$work"' EXIT
git worktree add --detach "$work/old" "$ref" >/dev/null
pattern=${BENCH:-.}
for run in 1 2 3 4 5; do
  (cd "$work/old" && go test -run '^$' -bench "$pattern" -short ./... >> "$work/old.txt" 2>/dev/null || true)
  go test -run '^$' -bench "$pattern" -short ./... >> "$work/new.txt" 2>/dev/null || true
  echo "run $run of 5 done" >&2
done
go run golang.org/x/perf/cmd/benchstat@latest "$work/old.txt" "$work/new.txt"
