//go:build unix

package pipe

import (
	"os/exec"
	"syscall"
)

// apart gives the program a process group of its own.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill ends the program and what it started: ssh may have a proxy command.
func kill(cmd *exec.Cmd) {
	if syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) != nil {
		_ = cmd.Process.Kill() // fails if it is gone, as it should be
	}
}
