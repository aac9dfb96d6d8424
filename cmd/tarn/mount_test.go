package main

import (
	"testing"

	"github.com/spf13/pflag"
)

// How much a mount keeps in memory.
func TestMountMemory(t *testing.T) {
	for _, c := range []struct {
		args         []string
		copies, want size
	}{
		{nil, 0, mountCache},
		{nil, 16 << 20, 16 << 20},
		{nil, 10 << 30, mountCache}, // a disk has more room than memory
		{[]string{"--memory-cache", "1G"}, 16 << 20, 1 << 30},
		{[]string{"--memory-cache", "64M"}, 16 << 20, 64 << 20},
	} {
		m := mountFlags{cache: mountCache}
		f := pflag.NewFlagSet("mount", pflag.ContinueOnError)
		m.flags(f)
		if err := f.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if m.bound(f, c.copies); m.cache != c.want {
			t.Errorf("%v with --cache-size %d: %d, want %d", c.args, c.copies, m.cache, c.want)
		}
	}
}
