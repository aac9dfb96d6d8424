//go:build !linux

package dir

import "os"

func startWriteback(*os.File, int64, int64) {}

type direct struct{}

func (*direct) write(*os.File, []byte, int64) (int, error) { return 0, nil }
