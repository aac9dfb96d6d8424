package repo_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	packs "github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/tlv"
	"github.com/zeebo/blake3"
)

// fuzzed is a repository into which one object with the right seal and any body is put.
type fuzzed struct {
	store *memory.Store
	repo  *repo.Repo
}

func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	s := memory.New()
	r, err := repo.Init(context.Background(), s, []byte("password"), repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}})
	if err != nil {
		f.Fatal(err)
	}
	return &fuzzed{s, r}
}

// object seals a body of any bytes, and a directory of any bytes.
func (z *fuzzed) object(kind seal.Kind, body, directory []byte) []byte {
	plain := append(binary.AppendUvarint(nil, uint64(len(body))), packs.NewCompressor(packs.Off).Compress(body)...)
	s := z.repo.SealKeys().NewSealer(kind, nil, plain)
	s.Append(plain)
	return s.Finish(directory, 0)
}

// with returns a repository that has one more object.
func (z *fuzzed) with(t *testing.T, folder string, kind seal.Kind, body, directory []byte) (r *repo.Repo, opened error) {
	t.Helper()
	data := z.object(kind, body, directory)
	name := folder + blob.Name(sha256.Sum256(data)).String()
	if folder == "sessions/" {
		name = folder + "000102030405060708090a0b0c0d0e0f"
	}
	if err := z.store.Put(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := z.store.Remove(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	})
	r, err := z.repo.Fresh() // opening takes the time of a password
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = r.OpenObject(name, data)
	return r, err
}

func FuzzSession(f *testing.F) {
	z := newFuzzed(f)
	f.Add([]byte("\x01\x06backup\x02\x01h\x06\x01\x05\x0c\x02\xf0\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, opened := z.with(t, "sessions/", seal.Session, body, nil)
		list, err := r.Sessions(t.Context())
		if err == nil && len(list) != 1 {
			t.Errorf("%d sessions", len(list))
		}
		if opened == nil && err != nil {
			t.Errorf("it opens, and can't be listed: %v", err)
		}
	})
}

func FuzzTrash(f *testing.F) {
	z := newFuzzed(f)
	f.Add(make([]byte, 64))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, _ := z.with(t, "trash/", seal.Trash, body, nil)
		v, err := r.TakeView(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if bad := len(body)%32 != 0; bad != (v.Blind != nil) || !bad && len(v.Trashed) > len(body)/32 {
			t.Errorf("%d bytes: %v, %d in trash", len(body), v.Blind, len(v.Trashed))
		}
	})
}

func FuzzIndexObject(f *testing.F) {
	z := newFuzzed(f)
	p := &index.Pack{Name: blob.Name{1}, Size: 1000, Segments: []index.Segment{{Offset: 80, Stored: 100, Plain: 5}},
		Blobs: []index.Entry{{Prefix: index.Prefix{2}, Kind: blob.Data, Length: 5}}}
	f.Add(index.AppendDirectory(nil, p), index.AppendList(nil, []index.Listed{p.Listed()}))
	f.Add([]byte{}, []byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, body, list []byte) {
		r, opened := z.with(t, "index/", seal.Index, body, list)
		if opened != nil {
			t.Skip() // longer than a body may be
		}
		if _, err := r.TakeView(t.Context()); err != nil {
			t.Errorf("one bad index object stops all: %v", err)
		}
		names, err := r.IndexNames(t.Context())
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		found, err := r.ReadIndexObject(t.Context(), names[0])
		for _, p := range found {
			if err == nil && p.Check() != nil {
				t.Errorf("a pack that can't be: %v", p.Check())
			}
		}
	})
}

func FuzzLooks(f *testing.F) {
	z := newFuzzed(f)
	f.Add(tlv.AppendBytes(tlv.AppendUint(nil, 1, 2), 3, make([]byte, 40)))
	f.Add([]byte("\x01\x01\x02\x03\x03abc"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, opened := z.with(t, "looks/", seal.Setting, body, nil)
		_, bad, err := r.Looks(t.Context())
		if err != nil || (bad == nil) != (opened == nil) {
			t.Errorf("opened %v, bad %v, %v", opened, bad, err)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	z := newFuzzed(f)
	f.Add(tlv.AppendUint(tlv.AppendUint(tlv.AppendUint(nil, 1, 1), 5, 10), 7, 2))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, opened := z.with(t, "settings/", seal.Setting, body, nil)
		p, err := r.ParityPolicy(t.Context())
		if opened == nil && err != nil {
			t.Errorf("it opens, and does not hold: %v", err)
		}
		if err == nil && (!p.Data.IsZero() && !p.Data.Valid() || !p.Meta.IsZero() && !p.Meta.Valid()) {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzConfig(f *testing.F) {
	z := newFuzzed(f)
	data, err := storage.ReadAll(context.Background(), z.store, "config", 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:64], []byte("\x03\x01\x01\x05\x01\x01\x07\x01\x02"))
	f.Fuzz(func(t *testing.T, head, fields []byte) {
		if len(head) != 64 {
			return
		}
		sum := blake3.Sum256(head)
		clone := z.store.Clone()
		config := append(append([]byte{}, head...), z.object(seal.Config, append(tlv.AppendBytes(nil, 1, sum[:]), fields...), nil)...)
		if err := clone.Put(t.Context(), "config", config); err != nil {
			t.Fatal(err)
		}
		r, err := repo.Open(t.Context(), clone, func() ([]byte, error) { return []byte("password"), nil }, repo.OpenOptions{})
		if err == nil && r.DataChunker() == nil {
			t.Error("no chunker")
		}
	})
}
