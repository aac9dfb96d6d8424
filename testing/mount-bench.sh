#!/bin/bash
# Compares tarn's mount with restic's, both of a backup of the same folder, in turns and with cold caches, and says of each figure whether it is
# what was asked for.
#
#   testing/mount-bench.sh WORK SOURCE [ROUNDS]
#
# WORK is a folder with 20 GB of room, best on a disk, SOURCE a folder of many files (the Linux source). Needs root, tarn and restic in PATH (or TARN=,
# RESTIC=), fusermount (restic wants it), fio and rsync. BIG=0 leaves out the file of 2 GB, MANY=0 the folder of a million entries. Three rounds with the
# Linux source take about eight minutes on two cores, after some two for the backups, which a second run finds in WORK.
set -euo pipefail
work=$(mkdir -p "$1" && realpath "$1") source=$(realpath "$2") rounds=${3:-3}
tarn=$(command -v "${TARN:-tarn}") restic=$(command -v "${RESTIC:-restic}")
export TARN_PASSWORD=bench RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$work/restic-cache TARN_CACHE_DIR=$work/tarn-cache
mnt=$work/mnt log=$work/results; mkdir -p "$mnt"; : >"$log"
for program in fusermount fio rsync bc; do command -v $program >/dev/null || { echo "$program is missing" >&2; exit 1; }; done

now() { date +%s.%N; }
since() { echo "$(now) - $1" | bc; }
note() { echo "$1 $2 $3" | tee -a "$log"; } # tool, what, number

# cold drops the caches. A virtual machine may have given the memory that is free then back to its host, and the first touch of a page is slow: touch 3 GB
# before anything is timed.
cold() {
	sync; echo 3 >/proc/sys/vm/drop_caches
	dd if=/dev/zero of=/dev/null bs=3G count=1 iflag=fullblock status=none
}

timed() { # tool, what, command...: seconds
	local tool=$1 what=$2 begin; shift 2; begin=$(now)
	"$@" >/dev/null
	note "$tool" "$what" "$(since "$begin")"
}

cpu_of() { # tool, what, command...: seconds, and those of the processors
	local tool=$1 what=$2 TIMEFORMAT="%R %U %S" took; shift 2
	took=$({ time "$@" >/dev/null 2>"$work/stderr"; } 2>&1) || { cat "$work/stderr" >&2; exit 1; }
	note "$tool" "$what" "${took%% *}"
	note "$tool" "${what}_cpu" "$(echo "$took" | awk '{print $2 + $3}')"
	user=$(echo "$took" | cut -d' ' -f2)
}

served=
mount_with() { # tool
	cold
	local begin; begin=$(now)
	case $1 in
	tarn) "$tarn" -r "$work/tarn" mount "$mnt" >"$work/tarn.log" 2>&1 & ;;
	restic) "$restic" -r "$work/restic" mount "$mnt" >"$work/restic.log" 2>&1 & ;;
	esac
	served=$!
	until [ -d "$mnt/snapshots" ]; do kill -0 $served; sleep 0.005; done
	note "$1" ready "$(since "$begin")"
}

unmount_it() { # tool
	note "$1" memory_MiB "$(awk '/VmHWM/ {print $2/1024}' "/proc/$served/status")"
	umount "$mnt"; wait "$served" || true
}
trap 'umount "$mnt" 2>/dev/null || true' EXIT

server_cpu() { awk '{print ($14 + $15) / 100}' "/proc/$served/stat"; }

backup() { # tool, folder: once
	[ -d "$work/$1" ] || "${!1}" -q -r "$work/$1" init
	local id; id=$work/id-$1-$(basename "$2")
	[ -e "$id" ] && return
	"${!1}" -q -r "$work/$1" backup "$2"
	"${!1}" -r "$work/$1" snapshots --json --path "$2" 2>/dev/null | grep -o '"short_id":"[0-9a-f]*' | tail -1 | cut -d'"' -f4 >"$id"
}

in_mount() { # tool, path that was backed up: where it is
	echo "$(realpath "$mnt/ids/$(cat "$work/id-$1-$(basename "$2")")")$2"
}

prepare() {
	backup tarn "$source"; backup restic "$source"
	if [ "${BIG:-1}" = 1 ]; then # half of it text, half of it noise
		[ -e "$work/big/file" ] || {
			mkdir -p "$work/big"
			{ tar c -C "$source" . 2>/dev/null | head -c 1G || true; head -c 1G /dev/urandom; } >"$work/big/file"
		}
		backup tarn "$work/big"; backup restic "$work/big"
	fi
	if [ "${MANY:-1}" = 1 ] && [ ! -e "$work/id-tarn-many" ]; then
		mkdir -p "$work/many/d"; (cd "$work/many/d" && seq -f '%08.0f' 1000000 | xargs touch)
		backup tarn "$work/many" # what was made is removed at the end: ext4 is slow for minutes after many deletions
	fi
}

tree() { # tool
	mount_with "$1"
	local at before; at=$(in_mount "$1" "$source")
	timed "$1" find find "$at" -printf '%s %m %T@ %p\n'
	timed "$1" find_again find "$at" -printf '%s %m %T@ %p\n'
	unmount_it "$1"
	mount_with "$1"
	at=$(in_mount "$1" "$source") before=$(server_cpu)
	timed "$1" tar sh -c 'tar c -C "$1" . | cat' sh "$at"
	note "$1" tar_server_cpu "$(echo "$(server_cpu) - $before" | bc)"
	unmount_it "$1"
}

fio_run() { # tool, what, field of fio's report (7: KiB/s, 8: requests per second), file, options...
	local tool=$1 what=$2 field=$3 file=$4; shift 4
	note "$tool" "$what" "$(fio --name=x --filename="$file" --readonly --output-format=terse --terse-version=3 "$@" | cut -d';' -f"$field")"
}

large() { # tool
	mount_with "$1"
	local at; at=$(in_mount "$1" "$work/big")/file
	fio_run "$1" big_KiB_s 7 "$at" --rw=read --bs=1M
	cold
	fio_run "$1" big_random_s 8 "$at" --rw=randread --bs=4k --runtime=5 --time_based
	cold
	fio_run "$1" big_random16_s 8 "$at" --rw=randread --bs=4k --runtime=5 --time_based --numjobs=16 --group_reporting
	unmount_it "$1"
}

restored=0
restore() { # what, folder, environment...: into a new target, since ext4 is slow where much was just deleted
	local what=$1 folder=$2; shift 2
	restored=$((restored + 1))
	cold
	cpu_of tarn "$what" env "$@" "$tarn" -q -r "$work/tarn" restore "$(cat "$work/id-tarn-$(basename "$folder")"):$folder" --target "$work/restored/$$-$restored"
}

million() {
	local at
	mount_with tarn
	at=$(in_mount tarn "$work/many")/d
	timed tarn million_ls_f ls -f "$at"
	timed tarn million_ls ls "$at"
	unmount_it tarn
	mount_with tarn
	at=$(in_mount tarn "$work/many")/d
	timed tarn million_find find "$at" -printf '%s %m %T@ %p\n'
	timed tarn million_find_again find "$at" -printf '%s %m %T@ %p\n'
	unmount_it tarn
}

same() { # is it all the same?
	mount_with tarn
	local at; at=$(in_mount tarn "$source")
	(cd "$source" && find . -type f -exec md5sum {} +) | sort >"$work/want.md5"
	(cd "$at" && find . -type f -exec md5sum {} +) | sort | cmp - "$work/want.md5" && echo "md5 of $(wc -l <"$work/want.md5") files: equal"
	if [ "${BIG:-1}" = 1 ]; then cmp "$work/big/file" "$(in_mount tarn "$work/big")/file" && echo "the file of 2 GB: equal"; fi
	echo "rsync finds differences in owners, modes, times, links or attributes: $(rsync -naHAXi --delete "$source/" "$at/" | wc -l)"
	unmount_it tarn
}

median() { grep "^$1 $2 " "$log" | sort -k3,3g | awk '{v[NR] = $3} END {if (NR) print v[int((NR + 1) / 2)]}'; }

verdict() { # what, number, comparison, wanted
	[ -z "$2" ] || echo "$1|$2|$3 $4|$(echo "$2 $3 $4" | bc | sed 's/1/met/; s/0/missed/')"
}
ratio() { [ -z "$1" ] || [ -z "$2" ] || echo "scale=2; $1 / $2" | bc; }

prepare
for _ in $(seq "$rounds"); do
	tree tarn; tree restic
	restore restore "$source"
	if [ "${BIG:-1}" = 1 ]; then
		large tarn; large restic
		# What one core decodes: the time outside of the kernel, which writes the file.
		restore restore_big "$work/big" GOMAXPROCS=1
		note tarn decode_KiB_s "$(echo "$(stat -c %s "$work/big/file") / 1024 / $user" | bc)"
	fi
	if [ "${MANY:-1}" = 1 ]; then million; fi
done
same

echo; echo "medians"
cut -d' ' -f1,2 "$log" | sort -u -k2,2 -k1,1 | while read -r tool what; do echo "$what $tool $(median "$tool" "$what")"; done | column -t
echo
{
	verdict "ready, s" "$(median tarn ready)" "<=" 0.3
	verdict "find, s; or else" "$(median tarn find)" "<" 1.0
	verdict "... times restic's speed" "$(ratio "$(median restic find)" "$(median tarn find)")" ">=" 8
	verdict "second find, times the first" "$(ratio "$(median tarn find)" "$(median tarn find_again)")" ">=" 3
	verdict "tar, times restic's speed" "$(ratio "$(median restic tar)" "$(median tarn tar)")" ">=" 5
	verdict "tar, times the time of tarn restore" "$(ratio "$(median tarn tar)" "$(median tarn restore)")" "<=" 1.5
	verdict "sequential read, of one core's decoding speed" "$(ratio "$(median tarn big_KiB_s)" "$(median tarn decode_KiB_s)")" ">=" 0.6
	verdict "random reads of 4 KiB, times restic's" "$(ratio "$(median tarn big_random_s)" "$(median restic big_random_s)")" ">=" 1
	verdict "the same by 16 jobs" "$(ratio "$(median tarn big_random16_s)" "$(median restic big_random16_s)")" ">=" 1
	verdict "peak memory of any mount, MiB" "$(grep '^tarn memory_MiB' "$log" | sort -k3,3g | tail -1 | cut -d' ' -f3)" "<" 256
	verdict "ls -f of a million entries, s" "$(median tarn million_ls_f)" "<" 5
	verdict "ls of a million entries, s" "$(median tarn million_ls)" "<" 5
} | column -t -s'|' -N figure,measured,wanted,verdict
rm -rf "$work/restored" "$work/many"
