//go:build !linux

package servers

import "net"

// Port returns an address of loopback on which nobody listens.
func Port(t TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
