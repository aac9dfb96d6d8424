//go:build !unix

package pipe

import "os/exec"

func apart(*exec.Cmd) {}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // fails if it is gone, as it should be
}
