//go:build !linux

package seal

func preferHugePages(int) {}
