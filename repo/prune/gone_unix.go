//go:build unix

package prune

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/tarn-backup/tarn/repo"
)

// gone reports whether a session's process is known to have ended: it ran under this kernel, since this boot, in this process namespace,
// and no process has its number. One whose number was given to another process is not known to be gone.
func gone(s repo.Session) bool {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || s.BootID == "" || s.BootID != strings.TrimSpace(string(boot)) {
		return false
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || s.PIDSpace != space || s.PID <= 0 {
		return false
	}
	return errors.Is(syscall.Kill(s.PID, 0), syscall.ESRCH)
}
