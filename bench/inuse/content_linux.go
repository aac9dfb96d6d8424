package inuse

import (
	"encoding/binary"
	"fmt"
)

const wordLen = 8

// recordLen is what a log grows by in one save, in bytes.
const recordLen = 4096

// Verdict says what a restored file is.
type Verdict uint8

// The verdicts.
const (
	Whole  Verdict = iota // one save
	Midway                // the middle of a save
	Empty
	Torn // what the file never was
)

func (v Verdict) String() string { return [...]string{"whole", "midway", "empty", "torn"}[v] }

// pad is the number that word i of a file holds beside that of the save: a mixing step of SplitMix64 (Steele, Lea, Flood 2014).
func pad(file uint32, i int) uint64 {
	z := uint64(file)<<40 + uint64(i)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// content is a file of size bytes, a multiple of 8, as it is saved for the gen-th time.
func content(file uint32, gen uint64, size int) []byte {
	data := make([]byte, size)
	for i := range size / wordLen {
		binary.LittleEndian.PutUint64(data[i*wordLen:], pad(file, i)+gen)
	}
	return data
}

// record is the n-th record of a log, counted from 1.
func record(file uint32, n uint64) []byte {
	data := make([]byte, recordLen)
	first := int(n-1) * recordLen / wordLen
	for i := range recordLen / wordLen {
		binary.LittleEndian.PutUint64(data[i*wordLen:], pad(file, first+i)+n)
	}
	return data
}

// genMax is more than anything is saved: a larger number is one that nobody wrote there.
const genMax = 1 << 32

// generations returns the number of the save of each word.
func generations(file uint32, data []byte) []uint64 {
	gens := make([]uint64, len(data)/wordLen)
	for i := range gens {
		gens[i] = binary.LittleEndian.Uint64(data[i*wordLen:]) - pad(file, i)
	}
	return gens
}

// judge says what a copy of a file is that has size bytes, and for which save the first of them stand.
func judge(file uint32, data []byte, size int) (v Verdict, gen uint64, why string) {
	if len(data) == 0 {
		return Empty, 0, "empty"
	}
	if len(data) > size || len(data)%wordLen != 0 {
		return Torn, 0, fmt.Sprintf("%d bytes, want %d", len(data), size)
	}
	if len(data) < size {
		v, why = Midway, fmt.Sprintf("%d bytes, want %d", len(data), size)
	}
	gens := generations(file, data)
	for i, g := range gens {
		switch {
		case g == 0 || g > genMax:
			return Torn, 0, fmt.Sprintf("foreign bytes at %d", i*wordLen)
		case i == 0 || g == gens[i-1]:
		case g == gens[i-1]-1 && v == Whole:
			v, why = Midway, fmt.Sprintf("save %d, and from byte %d save %d", gens[0], i*wordLen, g)
		default:
			return Torn, 0, fmt.Sprintf("save %d, and from byte %d save %d", gens[0], i*wordLen, g)
		}
	}
	return v, gens[0], why
}

// judgeLog says what a copy of a log is, and how many records it has.
func judgeLog(file uint32, data []byte) (v Verdict, gen uint64, why string) {
	if len(data) == 0 {
		return Empty, 0, "empty"
	}
	if len(data)%recordLen != 0 {
		return Torn, 0, fmt.Sprintf("%d bytes are not a number of records", len(data))
	}
	for i, g := range generations(file, data) {
		if want := uint64(i*wordLen/recordLen) + 1; g != want {
			return Torn, 0, fmt.Sprintf("record %d is damaged", want)
		}
	}
	return Whole, uint64(len(data) / recordLen), ""
}
