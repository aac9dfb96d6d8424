package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownSession makes a process that its starter's terminal can't end.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// becomeDaemon lets go of the starter's streams, and tells it on a descriptor that all is well.
func becomeDaemon(ready int, log string) error {
	if log == "" {
		log = os.DevNull
	}
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, fd := range []int{0, 1, 2} {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return fmt.Errorf("open the log: %w", err)
		}
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	r := os.NewFile(uintptr(ready), "ready")
	if _, err := r.Write([]byte{1}); err != nil {
		return fmt.Errorf("tell that the mount is ready: %w", err)
	}
	return r.Close()
}
