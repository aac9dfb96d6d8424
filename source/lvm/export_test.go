//go:build linux

package lvm

// ParseReport is for the tests of the decoder.
var ParseReport = parseReport
