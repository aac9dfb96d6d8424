//go:build linux

package lvm

// What the tests of the parts that need no LVM reach for.

// Volume is a row of the report of lvs.
type Volume = volume

// ParseReport reads the answer of lvs.
var ParseReport = parseReport

// Doubt says why a volume is not proven to be by tarn.
var Doubt = doubt

// UUIDOf reads the device mapper's name of a volume.
var UUIDOf = uuidOf

// Room returns the extents for a thick snapshot.
func (p Provider) Room(origin Volume) (uint64, error) { return p.room(origin) }
