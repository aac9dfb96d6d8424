package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
)

// TestRotate expects that new keys open what old ones sealed, that old ones don't open what new ones seal, and that IDs and cuts stay the same.
func TestRotate(t *testing.T) {
	repo := seal.RepoID{1}
	old := seal.NewKeys(repo, 0, [32]byte{1})
	object := func(k *seal.Keys) []byte {
		s := k.NewSealer(seal.Pack, nil, []byte("words"))
		s.Append([]byte("words"))
		return s.Finish(nil, 0)
	}
	opens := func(k *seal.Keys, data []byte) error {
		o, err := k.NewOpener(seal.Pack, data)
		if err != nil {
			return err
		}
		plain, err := o.Open(nil, 0, data[seal.HeaderSize:seal.HeaderSize+5+seal.TagSize])
		if err == nil && !bytes.Equal(plain, []byte("words")) {
			t.Errorf("got %q", plain)
		}
		return err
	}
	chain := []*seal.Keys{old}
	for i := range seal.EpochsMax - 1 {
		k, err := chain[i].Rotate([32]byte{byte(i), 2})
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, k)
	}
	if _, err := chain[seal.EpochsMax-1].Rotate([32]byte{9, 9}); err == nil {
		t.Error("one epoch too many")
	}
	last := chain[len(chain)-1]
	slot, err := last.NewSlot(seal.Slot{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}}, []byte("password"))
	if err != nil {
		t.Fatal(err)
	}
	data := slot.Encode()
	if len(data) > seal.SlotSizeMax {
		t.Errorf("a slot of %d bytes", len(data))
	}
	again, err := seal.DecodeSlot(data)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := again.Open(repo, []byte("password"), seal.KDFMemoryDefaultMax)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range chain {
		data := object(k)
		for _, newer := range []*seal.Keys{k, last, opened} {
			if err := opens(newer, data); err != nil {
				t.Errorf("epoch %d: %v", i, err)
			}
		}
		if i > 0 {
			if err := opens(chain[i-1], data); !errors.Is(err, seal.ErrCorrupt) {
				t.Errorf("epoch %d opens by older keys: %v", i, err)
			}
		}
		if k.Epoch() != uint32(i) || k.ID(blob.Data, []byte("x")) != old.ID(blob.Data, []byte("x")) || *k.Chunker() != *old.Chunker() {
			t.Errorf("epoch %d: other IDs or cuts", i)
		}
	}
}
