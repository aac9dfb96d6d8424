package tlv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Tag is a field's type. The low bit is the critical bit.
type Tag uint64

// Critical reports whether a reader that does not know the field must refuse the record.
func (t Tag) Critical() bool { return t&1 == 1 }

// ErrUnknown is wrapped when a record has a critical field that this version does not know.
var ErrUnknown = errors.New("record needs a newer version of tarn")

// AppendBytes appends a field with the given value; an empty value is left out.
func AppendBytes[T ~string | ~[]byte](b []byte, tag Tag, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(tag))
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// AppendUint appends a field with a number; zero is left out.
func AppendUint(b []byte, tag Tag, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(tag))
	b = binary.AppendUvarint(b, uint64(uvarintLen(v)))
	return binary.AppendUvarint(b, v)
}

// Zigzag maps signed numbers to unsigned ones, small to small.
func Zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// Unzigzag is the inverse of Zigzag.
func Unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

// Uvarint reads one number in shortest form from the start of s, and returns the rest. n is 0 if s does not start with one.
func Uvarint(s string) (v uint64, n int) {
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		c := s[i]
		if c < 0x80 {
			if i > 0 && c == 0 || i == 9 && c > 1 {
				return 0, 0
			}
			return v | uint64(c)<<(7*i), i + 1
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	return 0, 0
}

// A Reader goes through the fields of a record:
//
//	r := tlv.NewReader(record)
//	for r.Next() {
//		switch r.Tag() {
//		case tagSize:
//			size = r.Uint()
//		default:
//			r.Skip()
//		}
//	}
//	return r.Err()
type Reader struct {
	rest   string
	tag    Tag
	value  string
	begun  bool
	repeat bool // the next field may have the same tag
	err    error
}

// NewReader returns a Reader of one record.
func NewReader(record string) *Reader { return &Reader{rest: record} }

// Next goes to the next field and reports whether there is one.
func (r *Reader) Next() bool {
	if r.err != nil || r.rest == "" {
		return false
	}
	tag, n := Uvarint(r.rest)
	if n == 0 {
		return r.fail("bad tag")
	}
	if r.begun && (Tag(tag) < r.tag || Tag(tag) == r.tag && !r.repeat) {
		return r.fail("tag %d after %d", tag, r.tag)
	}
	size, m := Uvarint(r.rest[n:])
	if m == 0 || size == 0 || size > uint64(len(r.rest)-n-m) {
		return r.fail("bad length of field %d", tag)
	}
	r.begun, r.repeat, r.tag = true, false, Tag(tag)
	r.value, r.rest = r.rest[n+m:n+m+int(size)], r.rest[n+m+int(size):]
	return true
}

// Tag is the current field's tag.
func (r *Reader) Tag() Tag { return r.tag }

// String is the current field's value.
func (r *Reader) String() string { return r.value }

// Item is the current field's value, where the field is one of a list: only then another one with the same tag may follow.
func (r *Reader) Item() string {
	r.repeat = true
	return r.value
}

// Uint is the current field's value as a number.
func (r *Reader) Uint() uint64 {
	v, n := Uvarint(r.value)
	if v == 0 || n != len(r.value) {
		r.fail("field %d is no number", r.tag)
		return 0
	}
	return v
}

// UintMax is Uint for a number that may not exceed limit.
func (r *Reader) UintMax(limit uint64) uint64 {
	v := r.Uint()
	if v > limit {
		r.fail("field %d is %d, the limit is %d", r.tag, v, limit)
		return 0
	}
	return v
}

// Copy copies the current field's value to dst, whose length it must have.
func (r *Reader) Copy(dst []byte) {
	if len(r.value) != len(dst) {
		r.fail("field %d has %d bytes, want %d", r.tag, len(r.value), len(dst))
		return
	}
	if copy(dst, r.value); strings.Trim(r.value, "\x00") == "" {
		r.fail("field %d is all zero", r.tag)
	}
}

// Skip passes over a field that the caller does not know; it is an error if the field is critical.
func (r *Reader) Skip() {
	r.repeat = true
	if r.tag.Critical() && r.err == nil {
		r.err = fmt.Errorf("field %d: %w", r.tag, ErrUnknown)
	}
}

// Err is the first error met.
func (r *Reader) Err() error { return r.err }

// Fail records an error of the caller's, unless there is one already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *Reader) fail(format string, args ...any) bool {
	r.Fail(fmt.Errorf(format, args...))
	return false
}
