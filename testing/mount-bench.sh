#!/bin/bash
# Compares tarn's mount with restic's, both of a backup of the same folder, in turns, with cold caches.
#
#   testing/mount-bench.sh WORK SOURCE [ROUNDS]
#
# WORK is a folder with room for both repositories, SOURCE a folder of many files (the Linux source). Needs root, tarn and restic in PATH (or
# TARN=, RESTIC=), fio and rsync. BIG=0 leaves out the large file, MANY=0 the folder of a million entries. Prints one line per measurement, then the medians.
set -euo pipefail
work=$1 source=$(realpath "$2") rounds=${3:-3}
tarn=${TARN:-tarn} restic=${RESTIC:-restic}
export TARN_PASSWORD=bench RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$work/restic-cache
mnt=$work/mnt log=$work/results; mkdir -p "$work" "$mnt"; : >"$log"

now() { date +%s.%N; }
note() { echo "$1 $2 $3" | tee -a "$log"; } # tool, what, number
timed() { # tool, what, command...
	local tool=$1 what=$2 begin; shift 2; begin=$(now)
	"$@" >/dev/null
	note "$tool" "$what" "$(echo "$(now) - $begin" | bc)"
}
cold() { sync; echo 3 >/proc/sys/vm/drop_caches; }

served=
mount_with() { # tool, paths in the mount that must be there when it is ready
	local begin; cold; begin=$(now)
	case $1 in
	tarn) "$tarn" -r "$work/tarn" mount "$mnt" >"$work/tarn.log" 2>&1 & ;;
	restic) "$restic" -r "$work/restic" mount "$mnt" >"$work/restic.log" 2>&1 & ;;
	esac
	served=$!
	until [ -d "$mnt/snapshots" ]; do sleep 0.02; done
	note "$1" ready "$(echo "$(now) - $begin" | bc)"
}
unmount_it() { # tool
	note "$1" memory_MiB "$(awk '/VmHWM/ {print $2/1024}' "/proc/$served/status")"
	umount "$mnt"; wait "$served" || true
}

snapshot_of() { # path: the folder of the newest snapshot that has it
	local d; for d in $(ls -r "$mnt/snapshots"); do [ -e "$mnt/snapshots/$d$1" ] && { echo "$mnt/snapshots/$d$1"; return; }; done
	echo "no snapshot has $1" >&2; exit 1
}

prepare() {
	[ -d "$work/tarn" ] || "$tarn" -q -r "$work/tarn" init
	[ -d "$work/restic" ] || "$restic" -q -r "$work/restic" init
	[ -e "$work/source.done" ] || { "$tarn" -q -r "$work/tarn" backup "$source"; "$restic" -q -r "$work/restic" backup "$source"; touch "$work/source.done"; }
	if [ "${BIG:-1}" = 1 ] && [ ! -e "$work/big.done" ]; then # half of it text, half of it noise
		mkdir -p "$work/big"
		{ tar c -C "$source" . 2>/dev/null | head -c 1G || true; head -c 1G /dev/urandom; } >"$work/big/file"
		"$tarn" -q -r "$work/tarn" backup "$work/big"; "$restic" -q -r "$work/restic" backup "$work/big"; touch "$work/big.done"
	fi
	if [ "${MANY:-1}" = 1 ] && [ ! -e "$work/many.done" ]; then
		mkdir -p "$work/many/d"; (cd "$work/many/d" && seq -f '%08.0f' 1000000 | xargs touch)
		"$tarn" -q -r "$work/tarn" backup "$work/many"; rm -rf "$work/many/d"; touch "$work/many.done"
	fi
}

tree() { # tool
	mount_with "$1"
	local at; at=$(snapshot_of "$source")
	timed "$1" find find "$at" -printf '%s %m %T@ %p\n'
	timed "$1" find_again find "$at" -printf '%s %m %T@ %p\n'
	unmount_it "$1"
	mount_with "$1"
	at=$(snapshot_of "$source")
	timed "$1" tar sh -c 'tar c -C "$1" . | cat' sh "$at"
	unmount_it "$1"
}

fio_run() { # tool, what, field of fio's report (7: KiB/s, 8: requests per second), file, options...
	local tool=$1 what=$2 field=$3 file=$4; shift 4
	note "$tool" "$what" "$(fio --name=x --filename="$file" --readonly --output-format=terse --terse-version=3 "$@" | cut -d';' -f"$field")"
}

large() { # tool
	mount_with "$1"
	local at; at=$(snapshot_of "$work/big/file")
	fio_run "$1" big_KiB_s 7 "$at" --rw=read --bs=1M
	cold
	fio_run "$1" big_random_s 8 "$at" --rw=randread --bs=4k --runtime=8 --time_based
	cold
	fio_run "$1" big_random16_s 8 "$at" --rw=randread --bs=4k --runtime=8 --time_based --numjobs=16 --group_reporting
	unmount_it "$1"
}

prepare
for _ in $(seq "$rounds"); do
	tree tarn; tree restic
	cold; rm -rf "$work/restored"
	timed tarn restore "$tarn" -q -r "$work/tarn" restore "latest:$source" --path "$source" --target "$work/restored"
	if [ "${BIG:-1}" = 1 ]; then
		large tarn; large restic
		cold; rm -rf "$work/restored"
		timed tarn restore_big_one_core env GOMAXPROCS=1 "$tarn" -q -r "$work/tarn" restore "latest:$work/big" --path "$work/big" --target "$work/restored"
	fi
	if [ "${MANY:-1}" = 1 ]; then
		mount_with tarn
		timed tarn million_entries ls -f "$(snapshot_of "$work/many/d")"
		unmount_it tarn
	fi
done

mount_with tarn # is it all the same?
at=$(snapshot_of "$source")
(cd "$source" && find . -type f -exec md5sum {} +) | sort >"$work/want.md5"
(cd "$at" && find . -type f -exec md5sum {} +) | sort | cmp - "$work/want.md5" && echo "md5 of $(wc -l <"$work/want.md5") files: equal"
rsync -nacHAXi --delete "$source/" "$at/" | wc -l | sed 's/^/rsync finds differences: /'
unmount_it tarn

echo; echo "medians"
sort -k1,2 -k3,3g "$log" | awk '
	function out() { if (n) print key, v[int((n + 1) / 2)]; n = 0 }
	$1" "$2 != key { out(); key = $1" "$2 }
	{ v[++n] = $3 }
	END { out() }' | sort -k2,2 -k1,1 | column -t
