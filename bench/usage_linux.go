package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// awaitEnd waits until a child has ended and leaves it to be waited for, so that its account of bytes can still be read.
func awaitEnd(pid int, u *Usage) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false
		}
		io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if err == nil { // hidden from other users, and where the kernel keeps no account
			u.Read, u.Written = number(io, "rchar:"), number(io, "wchar:")
			u.DiskRead, u.DiskWritten = number(io, "read_bytes:"), number(io, "write_bytes:")
		}
		return true
	}
}

// number finds "key value" at the beginning of a line.
func number(text []byte, key string) uint64 {
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == key {
			n, err := strconv.ParseUint(f[1], 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

func peakOf(s *os.ProcessState) uint64 {
	if r, ok := s.SysUsage().(*syscall.Rusage); ok {
		return uint64(r.Maxrss) << 10
	}
	return 0
}

// ownPeak is the most memory that this process has had.
func ownPeak() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	return number(status, "VmHWM:") << 10
}

// clockTick is the unit of times in /proc: the kernel promises programs a hundred of them a second.
const clockTick = 10 * time.Millisecond

// running is what a process has taken so far: its processor time, and its peak memory.
func running(pid int) (cpu time.Duration, peak uint64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(f))
	}
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		cpu += time.Duration(n) * clockTick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return cpu, number(status, "VmHWM:") << 10, err
}

func syncAll() { unix.Sync() }

// describeMachine fills in what this machine is.
func describeMachine(m *Machine, dir string) {
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(info) {
			if key, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(key) == "model name" {
				m.Processor = strings.TrimSpace(value)
				break
			}
		}
	}
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.Memory = number(info, "MemTotal:") << 10
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	m.FileSystem = fileSystemOf(dir)
}

// fileSystemOf is the type of the file system that a folder is on.
func fileSystemOf(dir string) string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	for line := range bytes.Lines(mounts) {
		f := strings.Fields(string(line))
		for i := 6; i+1 < len(f); i++ {
			if f[i] == "-" && f[2] == device {
				return f[i+1]
			}
		}
	}
	return ""
}

// load is how many processes wanted to run in the last minute.
func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return n
}

// residentMemory is what this process has in memory: its own, and of mapped files.
func residentMemory() (anonymous, mapped uint64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	return number(status, "RssAnon:") << 10, number(status, "RssFile:") << 10
}
