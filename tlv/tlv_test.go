package tlv_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tarn-backup/tarn/tlv"
)

// golden is a record with a number, a list and a byte string. Changing it is a change of the format.
const golden = "0102ac02" + "080161" + "08026262" + "0904deadbeef"

func goldenRecord() []byte {
	b := tlv.AppendUint(nil, 1, 300)
	b = tlv.AppendUint(b, 4, 0) // left out
	b = tlv.AppendBytes(b, 6, "")
	b = tlv.AppendBytes(b, 8, "a")
	b = tlv.AppendBytes(b, 8, "bb")
	return tlv.AppendBytes(b, 9, []byte{0xde, 0xad, 0xbe, 0xef})
}

func TestGolden(t *testing.T) {
	b := goldenRecord()
	if got := hex.EncodeToString(b); got != golden {
		t.Errorf("got %s, want %s", got, golden)
	}
	var number uint64
	var list []string
	var fixed [4]byte
	r := tlv.NewReader(string(b))
	for r.Next() {
		switch r.Tag() {
		case 1:
			number = r.Uint()
		case 8:
			list = append(list, r.Item())
		case 9:
			r.Copy(fixed[:])
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil || number != 300 || fmt.Sprint(list) != "[a bb]" || fixed != [4]byte{0xde, 0xad, 0xbe, 0xef} {
		t.Errorf("got %d, %v, %x, %v", number, list, fixed, err)
	}
}

// read reads a record with one field of each kind, as a careful decoder does: 1 is a number, 3 is text, 5 two bytes, 8 a list.
func read(record string) error {
	var two [2]byte
	r := tlv.NewReader(record)
	for r.Next() {
		switch r.Tag() {
		case 1:
			r.UintMax(1000)
		case 3:
			_ = r.String()
		case 5:
			r.Copy(two[:])
		case 8:
			r.Item()
		default:
			r.Skip()
		}
	}
	return r.Err()
}

// TestOneSpelling has records that say what another record says, or nothing. All must be refused.
func TestOneSpelling(t *testing.T) {
	tests := map[string]struct {
		record string
		good   bool
	}{
		"empty":                {"", true},
		"number":               {"\x01\x01\x05", true},
		"largest number":       {"\x01\x02\xe8\x07", true},
		"number too large":     {"\x01\x02\xe9\x07", false},
		"zero":                 {"\x01\x01\x00", false},
		"long form of number":  {"\x01\x02\x85\x00", false},
		"more than a number":   {"\x01\x02\x05\x05", false},
		"number without end":   {"\x01\x01\x85", false},
		"long form of tag":     {"\x81\x00\x01\x05", false},
		"long form of length":  {"\x01\x81\x00\x05", false},
		"empty field":          {"\x03\x00", false},
		"descending":           {"\x03\x01a\x01\x01\x05", false},
		"number twice":         {"\x01\x01\x05\x01\x01\x05", false},
		"text twice":           {"\x03\x01a\x03\x01a", false},
		"list":                 {"\x08\x01a\x08\x01a", true},
		"list, then smaller":   {"\x08\x01a\x06\x01a", false},
		"bytes":                {"\x05\x02ab", true},
		"zero bytes":           {"\x05\x02\x00\x00", false},
		"too few bytes":        {"\x05\x01a", false},
		"too many bytes":       {"\x05\x03abc", false},
		"no length":            {"\x03", false},
		"no value":             {"\x03\x01", false},
		"ends in value":        {"\x03\x02a", false},
		"huge length":          {"\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", false},
		"length past 64 bits":  {"\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02a", false},
		"endless tag":          {strings.Repeat("\xff", 20), false},
		"unknown":              {"\x0a\x01a\x0a\x01b", true},
		"unknown and critical": {"\x0b\x01a", false},
	}
	for name, test := range tests {
		if err := read(test.record); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := read("\x0b\x01a"); !errors.Is(err, tlv.ErrUnknown) {
		t.Errorf("critical field: got %v, want ErrUnknown", err)
	}
}

func TestTruncated(t *testing.T) {
	b := goldenRecord()
	ends := map[int]bool{0: true, 4: true, 7: true, 11: true, len(b): true} // between fields
	for n := range len(b) + 1 {
		r := tlv.NewReader(string(b[:n]))
		for r.Next() {
			r.Item()
		}
		if (r.Err() == nil) != ends[n] {
			t.Errorf("%d bytes: %v", n, r.Err())
		}
	}
}

func TestFirstErrorStays(t *testing.T) {
	first := errors.New("first")
	r := tlv.NewReader("\x01\x01\x00\x03\x01a")
	r.Next()
	r.Fail(first)
	r.Uint()
	r.Fail(errors.New("second"))
	r.Skip()
	if r.Next() || r.Err() != first {
		t.Errorf("got %v", r.Err())
	}
}

func TestUvarint(t *testing.T) {
	for _, v := range []uint64{0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 1<<32 - 1, 1 << 63, math.MaxUint64} {
		b := binary.AppendUvarint(nil, v)
		if got, n := tlv.Uvarint(string(b) + "rest"); got != v || n != len(b) {
			t.Errorf("%d: got %d of %d bytes", v, got, n)
		}
		for k := range b {
			if _, n := tlv.Uvarint(string(b[:k])); n != 0 {
				t.Errorf("%d: %d bytes are enough", v, k)
			}
		}
	}
}

func TestZigzag(t *testing.T) {
	for v, want := range map[int64]uint64{0: 0, -1: 1, 1: 2, -2: 3, math.MaxInt64: math.MaxUint64 - 1, math.MinInt64: math.MaxUint64} {
		if got := tlv.Zigzag(v); got != want || tlv.Unzigzag(got) != v {
			t.Errorf("%d: got %d, back %d", v, got, tlv.Unzigzag(got))
		}
	}
}

func TestReaderAllocatesNothing(t *testing.T) {
	record := string(goldenRecord())
	n := testing.AllocsPerRun(100, func() {
		r := tlv.NewReader(record)
		for r.Next() {
			r.Item()
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReader looks for a record that is accepted and is not what its fields encode to.
func FuzzReader(f *testing.F) {
	f.Add(string(goldenRecord()))
	f.Add("\x01\x01\x05\x03\x01a\x05\x02ab\x08\x01a\x08\x01a")
	f.Add("\x80\x01\x01a")
	f.Fuzz(func(t *testing.T, record string) {
		var numbers, texts []byte
		good := true
		r := tlv.NewReader(record)
		for r.Next() {
			v := r.Item()
			texts = tlv.AppendBytes(texts, r.Tag(), v)
			if u, n := tlv.Uvarint(v); n == len(v) && u != 0 {
				numbers = tlv.AppendUint(numbers, r.Tag(), u)
			} else {
				good = false
			}
		}
		if r.Err() != nil {
			return
		}
		if string(texts) != record || good && string(numbers) != record {
			t.Errorf("%q is encoded as %q or %q", record, texts, numbers)
		}
		if err := read(record); err != nil && r.Next() {
			t.Error("a field after the end")
		}
	})
}

func ExampleReader() {
	record := tlv.AppendUint(nil, 1, 4096)
	record = tlv.AppendBytes(record, 2, "a name")
	record = tlv.AppendBytes(record, 4, "from a newer version")
	var size uint64
	var name string
	r := tlv.NewReader(string(record))
	for r.Next() {
		switch r.Tag() {
		case 1:
			size = r.Uint()
		case 2:
			name = r.String()
		default:
			r.Skip()
		}
	}
	fmt.Println(size, name, r.Err())
	// Output: 4096 a name <nil>
}
