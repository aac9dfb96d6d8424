package seal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/tlv"
)

// quick is the cheapest hashing that is not refused.
var quick = seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}

const memoryMax = seal.KDFMemoryDefaultMax

// goldenSlot wraps testMaster, for the password "correct horse".
const goldenSlot = "7461726e6b657901010280400301010501010720a37208330514a7ec5c54e9fdf2e17ce1d8967c1c5d511f51d4ce3f35d8993691092056e5a8642e23be0d0fe920c78fcf650d6a4a91fe4abea86f385ae6455f5a42310b354f688cf817368aab6301f3662bdc537973882869a67aaf750471652412cb168bbe2a522c5ff654a79b13b4995003c7eb17ab923c860c0580c49fd50c0e066c6170746f701004686f737412026d65"

func newSlot(t testing.TB, s seal.Slot, password string) seal.Slot {
	t.Helper()
	if s.KDF == (seal.KDF{}) {
		s.KDF = quick
	}
	s, err := testKeys().NewSlot(s, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGoldenSlot(t *testing.T) {
	data, err := hex.DecodeString(goldenSlot)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.DecodeSlot(data)
	if err != nil {
		t.Fatal(err)
	}
	if s.KDF != quick || !s.Created.Equal(time.Unix(1_700_000_000, 0)) || s.Label != "laptop" || s.Host != "host" || s.User != "me" {
		t.Errorf("got %+v", s)
	}
	if got := s.Encode(); !bytes.Equal(got, data) {
		t.Errorf("encoded again: %x", got)
	}
	keys, err := s.Open(testRepo, []byte("correct horse"), memoryMax)
	if err != nil {
		t.Fatal(err)
	}
	if keys.ID(blob.Data, nil) != testKeys().ID(blob.Data, nil) || keys.Epoch() != 7 {
		t.Error("other keys")
	}
}

func TestSlotRoundTrip(t *testing.T) {
	for _, s := range []seal.Slot{
		{},
		{Label: "l", Created: time.Unix(-5, 0).UTC()},
		{Host: strings.Repeat("h", 255), User: "\xff\x00", Created: time.Unix(1e12, 0).UTC()},
	} {
		want := newSlot(t, s, "")
		data := want.Encode()
		if len(data) > seal.SlotSizeMax {
			t.Errorf("%d bytes", len(data))
		}
		got, err := seal.DecodeSlot(data)
		if err != nil || got.Label != want.Label || got.Host != want.Host || got.User != want.User || !got.Created.Equal(want.Created) ||
			got.KDF != want.KDF || got.Salt != want.Salt {
			t.Errorf("%+v: got %+v, %v", want, got, err)
		}
		if _, err := got.Open(testRepo, nil, memoryMax); err != nil {
			t.Error(err)
		}
		for _, wrong := range []string{"x", "\x00"} {
			if _, err := got.Open(testRepo, []byte(wrong), memoryMax); err != seal.ErrPassword {
				t.Errorf("password %q: got %v", wrong, err)
			}
		}
		if _, err := got.Open(seal.RepoID{}, nil, memoryMax); err != seal.ErrPassword {
			t.Errorf("another repository: got %v", err)
		}
	}
}

// TestEveryFlippedBitOfASlot gives an error, or the same keys: labels stand in the clear, and only the object's name proves them.
func TestEveryFlippedBitOfASlot(t *testing.T) {
	data, err := hex.DecodeString(goldenSlot)
	if err != nil {
		t.Fatal(err)
	}
	want := testKeys().ID(blob.Data, nil)
	for at := range data {
		data[at] ^= 1 << (at % 8)
		s, err := seal.DecodeSlot(data)
		if err == nil {
			var keys *seal.Keys
			if keys, err = s.Open(testRepo, []byte("correct horse"), 16<<10); err == nil && keys.ID(blob.Data, nil) != want {
				t.Errorf("byte %d: other keys", at)
			}
		}
		if err == nil && at < 8+4*4+2*34 {
			t.Errorf("byte %d: opened", at)
		}
		data[at] ^= 1 << (at % 8)
	}
	for n := range data {
		if s, err := seal.DecodeSlot(data[:n]); err == nil {
			if _, err := s.Open(testRepo, []byte("correct horse"), memoryMax); err == nil && n < len(data)-30 {
				t.Errorf("cut to %d bytes: opened", n)
			}
		}
	}
}

// TestKDFClamps: whatever a repository asks for, no more is spent on it.
func TestKDFClamps(t *testing.T) {
	tests := []struct {
		kdf  seal.KDF
		max  uint32
		good bool
	}{
		{quick, memoryMax, true},
		{quick, 8 << 10, true},
		{quick, 8<<10 - 1, false},
		{seal.KDF{MemoryKiB: 8<<10 - 1, Passes: 1, Lanes: 1}, memoryMax, false},
		{seal.KDF{MemoryKiB: 8 << 10, Passes: 0, Lanes: 1}, memoryMax, false},
		{seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 0}, memoryMax, false},
		{seal.KDF{MemoryKiB: 8 << 10, Passes: 16, Lanes: 16}, memoryMax, true},
		{seal.KDF{MemoryKiB: 8 << 10, Passes: 17, Lanes: 1}, memoryMax, false},
		{seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 17}, memoryMax, false},
		{seal.KDF{MemoryKiB: memoryMax + 1, Passes: 1, Lanes: 1}, memoryMax, false},
		{seal.KDF{MemoryKiB: 1<<32 - 1, Passes: 1<<32 - 1, Lanes: 255}, memoryMax, false},
	}
	for _, test := range tests {
		s := newSlot(t, seal.Slot{}, "p")
		s.KDF = test.kdf // as if the stored slot said so
		_, err := s.Open(testRepo, []byte("p"), test.max)
		if test.good && err != nil && err != seal.ErrPassword || !test.good && (err == nil || err == seal.ErrPassword) {
			t.Errorf("%+v, at most %d KiB: got %v", test.kdf, test.max, err)
		}
	}
	if _, err := testKeys().NewSlot(seal.Slot{KDF: seal.KDF{MemoryKiB: 1, Passes: 1, Lanes: 1}}, nil); err == nil {
		t.Error("a slot with weak hashing was made")
	}
}

func TestDefaultKDF(t *testing.T) {
	s, err := testKeys().NewSlot(seal.Slot{}, []byte("p"))
	if err != nil || s.KDF != seal.DefaultKDF {
		t.Fatalf("got %+v, %v", s.KDF, err)
	}
	if _, err := s.Open(testRepo, []byte("p"), memoryMax); err != nil {
		t.Error(err)
	}
}

func TestDecodeSlotRefuses(t *testing.T) {
	data, err := hex.DecodeString(goldenSlot)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(data)
	newer[7] = 2
	for what, test := range map[string]struct {
		data []byte
		want error
	}{
		"empty":          {nil, seal.ErrCorrupt},
		"no fields":      {data[:8], seal.ErrCorrupt},
		"no wrapped key": {data[:8+4+3+3+34+34], seal.ErrCorrupt},
		"other magic":    {[]byte("tarnkez\x01"), seal.ErrCorrupt},
		"newer version":  {newer, seal.ErrVersion},
		"critical field": {tlv.AppendUint(bytes.Clone(data), 21, 1), tlv.ErrUnknown},
	} {
		if _, err := seal.DecodeSlot(test.data); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", what, err, test.want)
		}
	}
	if _, err := seal.DecodeSlot(tlv.AppendUint(bytes.Clone(data), 22, 1)); err != nil {
		t.Errorf("a field that may be ignored: %v", err)
	}
}

func FuzzDecodeSlot(f *testing.F) {
	data, err := hex.DecodeString(goldenSlot)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:8])
	f.Add(tlv.AppendUint(bytes.Clone(data[:8]), 12, tlv.Zigzag(-1<<62)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := seal.DecodeSlot(data)
		if err != nil {
			return
		}
		r := tlv.NewReader(string(data[8:]))
		for r.Next() {
			if r.Item(); r.Tag() < 11 && r.Tag()%2 == 0 || r.Tag() > 18 {
				return // fields that a newer version wrote are not kept
			}
		}
		if got := s.Encode(); !bytes.Equal(got, data) {
			t.Errorf("%x is encoded as %x", data, got)
		}
	})
}

func ExampleSlot() {
	master := seal.NewMaster()
	keys := seal.NewKeys(seal.RepoID{1}, 0, master)
	slot, err := keys.NewSlot(seal.Slot{KDF: quick, Label: "laptop"}, []byte("correct horse"))
	if err != nil {
		fmt.Println(err)
		return
	}
	stored, err := seal.DecodeSlot(slot.Encode())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = stored.Open(seal.RepoID{1}, []byte("correct horse"), seal.KDFMemoryDefaultMax)
	fmt.Println(stored.Label, err)
	_, err = stored.Open(seal.RepoID{1}, []byte("battery staple"), seal.KDFMemoryDefaultMax)
	fmt.Println(err)
	// Output:
	// laptop <nil>
	// wrong password
}

// TestSlotSize makes slots around the largest one that readers take.
func TestSlotSize(t *testing.T) {
	empty := newSlot(t, seal.Slot{Label: strings.Repeat("x", 1000)}, "p") // the length of the label takes two bytes, as below
	room := seal.SlotSizeMax - len(empty.Encode()) + 1000
	for _, test := range []struct {
		label int
		good  bool
	}{{room - 1, true}, {room, true}, {room + 1, false}, {1 << 20, false}} {
		s, err := testKeys().NewSlot(seal.Slot{KDF: quick, Label: strings.Repeat("x", test.label)}, []byte("p"))
		if (err == nil) != test.good {
			t.Errorf("a label of %d bytes, a slot of %d: got %v", test.label, len(s.Encode()), err)
		}
	}
}

// TestSlotOfAnotherEpoch claims more than it wraps: it would keep all who have older keys from writing.
func TestSlotOfAnotherEpoch(t *testing.T) {
	data, err := hex.DecodeString(goldenSlot)
	if err != nil {
		t.Fatal(err)
	}
	for epoch, want := range map[uint64]error{0: nil, 6: seal.ErrCorrupt, 7: nil, 8: seal.ErrCorrupt} { // 0 is none
		s, err := seal.DecodeSlot(tlv.AppendUint(bytes.Clone(data), 20, epoch))
		if err != nil || s.Epoch != uint32(epoch) {
			t.Fatalf("epoch %d, %v", s.Epoch, err)
		}
		if _, err := s.Open(testRepo, []byte("correct horse"), seal.KDFMemoryDefaultMax); !errors.Is(err, want) {
			t.Errorf("a claim of epoch %d: %v, want %v", epoch, err, want)
		}
	}
}
