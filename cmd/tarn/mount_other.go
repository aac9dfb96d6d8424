//go:build !linux

package main

import (
	"syscall"

	"github.com/tarn-backup/tarn/fusefs"
)

func ownSession() *syscall.SysProcAttr { return nil }

func becomeDaemon(int, string) error { return fusefs.ErrUnsupported }
