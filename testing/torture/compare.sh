#!/bin/sh
# Compares two folders with programs that share nothing with tarn: rsync, find, getfattr, lsattr, sha256sum.
# Usage: compare.sh A B [extra arguments of rsync, such as --exclude=/name]
# Says what differs and exits 1; exits 2 if it could not compare. Needs to be root to see everything. Neither folder is
# changed, but for access times.
set -u
export LC_ALL=C

[ $# -ge 2 ] || { echo "usage: compare.sh A B [rsync arguments]" >&2; exit 2; }
a=$1 b=$2
shift 2
for tool in rsync find getfattr lsattr sha256sum diff; do
    command -v "$tool" >/dev/null || { echo "compare.sh: $tool is missing (apt-get install rsync findutils attr e2fsprogs coreutils diffutils)" >&2; exit 2; }
done
for dir in "$a" "$b"; do
    [ -d "$dir" ] || { echo "compare.sh: $dir is no folder" >&2; exit 2; }
done
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
differ=0

# The start of a file, safe for a terminal.
show() { cat -v "$1" | cut -c1-160 | head -30; }

# Everything that stat knows, times to the nanosecond, by find, which reaches paths past PATH_MAX. Of the size in blocks only
# whether there are holes is compared: file systems store the same holes differently. Folders have no comparable size.
stats() {
    (cd "$1" && find . \( -type d -printf '%P %y %m %U:%G %T@\0' \) -o \
        \( -type f -printf '%P %y %m %U:%G %T@ links %n size %s sparse %S\0' \) -o \
        \( -printf '%P %y %m %U:%G %T@ links %n -> %l\0' \)) |
        tr '\n\0' '\1\n' | sed -E 's/ sparse 0\.?[0-9]*(e-[0-9]+)?$/ sparse yes/; s/ sparse ([1-9]|1e).*$/ sparse no/; s/ sparse -?(nan|inf)$/ sparse no/' | sort
}

# Which names are one inode: the groups of names, not the numbers.
links() {
    (cd "$1" && find . ! -type d -links +1 -printf '%i %P\0') | tr '\n\0' '\1\n' | sort |
        awk '{ i = $1; sub(/^[0-9]+ /, ""); if (i == last) line = line " | " $0; else { if (NR > 1) print line; line = $0 } last = i } END { print line }' | sort
}

# Runs a command for what find finds in a folder: with paths as long as they are sure to be short enough, deeper ones in their
# own folders.
each() {
    dir=$1 what=$2
    shift 2
    (cd "$dir" && eval "find . -maxdepth 15 $what -exec \"\$@\" {} +"; eval "find . -mindepth 16 $what -execdir \"\$@\" {} +")
}

sums() { each "$1" '-type f' sha256sum -b | sort; }

# Attributes of all name spaces; ACLs and capabilities are some.
attributes() {
    each "$1" '' getfattr -h -d -m - -e hex 2>&1 | awk '/^# file: / { file = $0; next } NF { print file, $0 }' | sort
}

# chattr flags, but for those that only say how the file system stores the file.
flags() {
    each "$1" '\( -type f -o -type d \)' lsattr -d 2>/dev/null |
        sed -E 's/^([^ ]*)/\1 /; :a; s/^([^ ]*)[eIEVNBXZh-]([^ ]*) /\1\2 /; ta' | sort
}

devices() {
    each "$1" '\( -type b -o -type c \)' stat -c '%n %F %t:%T' | sort
}

for what in stats links sums attributes flags devices; do
    "$what" "$a" >"$work/a" 2>&1
    "$what" "$b" >"$work/b" 2>&1
    if ! diff "$work/a" "$work/b" >"$work/diff"; then
        echo "== $what differ"
        show "$work/diff"
        differ=1
    fi
done

# rsync sees all of it at once, but no path past PATH_MAX.
rsync -aHAXn --checksum --delete --itemize-changes "$@" "$a/" "$b/" 2>"$work/err" |
    grep -v 'IO error encountered' >"$work/rsync"
if [ -s "$work/rsync" ]; then
    echo "== rsync would change"
    show "$work/rsync"
    differ=1
fi
if grep -v -e 'File name too long' -e 'overflows max-path' -e 'some files/attrs were not transferred' -e 'IO error encountered -- skipping file deletion' "$work/err" >"$work/errors"; then
    echo "== rsync complains"
    show "$work/errors"
    differ=1
fi
exit $differ
