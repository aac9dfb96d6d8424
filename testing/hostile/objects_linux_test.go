package hostile_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/repair"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/tlv"
	"github.com/zeebo/blake3"
)

// sealed makes an object of a kind with the right key, whatever its body says.
func (m *maker) sealed(kind seal.Kind, plain, directory []byte) []byte {
	s := m.repo.SealKeys().NewSealer(kind, nil, plain)
	s.Append(plain)
	return s.Finish(directory, 0)
}

// body is an object's plaintext: its length, a codec, and the bytes.
func body(data []byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(data))), pack.NewCompressor(pack.Off).Compress(data)...)
}

// bomb is a segment's plaintext: a Zstandard frame of a few kilobytes that is much longer when it is opened.
func bomb(size int) []byte {
	var b bytes.Buffer
	b.WriteByte(1)
	enc, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	for zeros := make([]byte, 1<<20); size > 0; size -= len(zeros) {
		if _, err := enc.Write(zeros); err != nil {
			panic(err)
		}
	}
	if err := enc.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (m *maker) put(folder string, data []byte) string {
	m.t.Helper()
	n := blob.Name(sha256.Sum256(data))
	name := folder + n.String()
	if folder == "data/" {
		name = repo.PackObject(n)
	}
	m.must(m.s.Put(context.Background(), name, data))
	return name
}

// replace puts data in place of all objects of a folder.
func (m *maker) replace(folder string, data []byte) {
	m.t.Helper()
	m.clear(folder)
	m.put(folder, data)
}

func (m *maker) clear(folder string) {
	m.t.Helper()
	ctx := context.Background()
	m.must(m.s.List(ctx, folder, func(name string, size int64) error { return m.s.Remove(ctx, name) }))
}

func (m *maker) only(folder string) (name string, data []byte) {
	m.t.Helper()
	ctx := context.Background()
	m.must(m.s.List(ctx, folder, func(n string, size int64) error { name = n; return nil }))
	data, err := storage.ReadAll(ctx, m.s, name, 1<<30)
	m.must(err)
	return name, data
}

// slot replaces the key slot by one with other parameters.
func slot(change func(*seal.Slot)) func(m *maker) {
	return func(m *maker) {
		_, data := m.only("keys/")
		s, err := seal.DecodeSlot(data)
		m.must(err)
		change(&s)
		m.replace("keys/", s.Encode())
	}
}

// config replaces the config by one with other fields behind the binding of its header.
func config(head func([]byte), fields func(b []byte) []byte) func(m *maker) {
	return func(m *maker) {
		data, err := storage.ReadAll(context.Background(), m.s, "config", 1<<20)
		m.must(err)
		clear := bytes.Clone(data[:64])
		head(clear)
		sum := blake3.Sum256(clear)
		plain := body(fields(tlv.AppendBytes(nil, 1, sum[:])))
		m.must(m.s.Put(context.Background(), "config", append(clear, m.sealed(seal.Config, plain, nil)...)))
	}
}

// packed puts a pack whose segments have these bodies and whose directory is anything.
func (m *maker) packed(directory func(p *index.Pack) []byte, bodies ...[]byte) {
	s := m.repo.SealKeys().NewSealer(seal.Pack, nil, bodies[0])
	p := &index.Pack{Session: blob.Session{1}}
	for _, b := range bodies {
		offset := s.Len()
		_, sealed := s.Append(b)
		p.Segments = append(p.Segments, index.Segment{Offset: uint32(offset), Stored: uint32(len(sealed))})
	}
	m.put("data/", s.Finish(directory(p), pack.SizeMin))
}

// entries is a directory in which each segment has one blob of so many bytes.
func entries(id blob.ID, length uint32) func(p *index.Pack) []byte {
	return func(p *index.Pack) []byte {
		for i := range p.Segments {
			p.Blobs = append(p.Blobs, index.Entry{Prefix: index.PrefixOf(id), Kind: blob.Data, Segment: uint16(i), Length: length})
		}
		return index.AppendDirectory(nil, p)
	}
}

func objectCases() map[string]struct {
	spoil func(m *maker)
	want  string // part of what anybody says; empty if nobody need say anything
} {
	type c = struct {
		spoil func(m *maker)
		want  string
	}
	params := func(v ...uint64) []byte {
		var b []byte
		for _, n := range v {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	same := func([]byte) {}
	usual := func(b []byte, data []byte) []byte {
		b = tlv.AppendUint(tlv.AppendUint(tlv.AppendUint(b, 3, 1), 5, 1), 7, 2)
		return tlv.AppendBytes(tlv.AppendBytes(b, 9, data), 11, params(16<<10, 64<<10, 256<<10))
	}
	record := func(data []byte) func(m *maker) {
		return func(m *maker) { m.put("snapshots/", m.sealed(seal.Snapshot, body(data), nil)) }
	}
	id := blob.ID{7}
	return map[string]c{
		"config: features":          {config(func(h []byte) { h[32] = 2 }, func(b []byte) []byte { return usual(b, params(1, 2, 3)) }), "can't read"},
		"config: chunks of 0 bytes": {config(same, func(b []byte) []byte { return usual(b, params(0, 0, 0)) }), "chunk params"},
		"config: chunks of 2^40":    {config(same, func(b []byte) []byte { return usual(b, params(1<<40, 1<<40, 1<<40)) }), "bad chunk sizes"},
		"config: unknown cipher":    {config(same, func(b []byte) []byte { return tlv.AppendUint(tlv.AppendUint(b, 3, 1), 5, 77) }), "cipher 77"},
		"config: unbound head": {config(same, func([]byte) []byte {
			return usual(tlv.AppendBytes(nil, 1, bytes.Repeat([]byte{9}, 32)), params(1, 2, 3))
		}), "config is damaged"},
		"key: 4 TiB of memory":  {slot(func(s *seal.Slot) { s.KDF.MemoryKiB = 1<<32 - 1 }), "the limit is 256 MiB"},
		"key: a year of passes": {slot(func(s *seal.Slot) { s.KDF.Passes = 1<<32 - 1 }), "the limits are 16 and 16"},
		"key: 255 lanes":        {slot(func(s *seal.Slot) { s.KDF.Lanes = 255 }), "the limits are 16 and 16"},
		"key: no memory":        {slot(func(s *seal.Slot) { s.KDF.MemoryKiB = 1 }), "weak password hashing"},
		"40 keys": {func(m *maker) {
			_, data := m.only("keys/")
			for i := range 40 {
				s, err := seal.DecodeSlot(data)
				m.must(err)
				s.Salt[0] = byte(i)
				m.put("keys/", s.Encode())
			}
		}, "more than 32 key slots"},
		"a key of 1 MiB": {func(m *maker) { m.replace("keys/", append([]byte("tarnkey\x01"), make([]byte, 1<<20)...)) }, "too large"},

		"a body that says 2^60": {func(m *maker) { m.put("snapshots/", m.sealed(seal.Snapshot, append(params(1<<60), 0), nil)) }, "bad length"},
		"a body that is a bomb": {func(m *maker) {
			m.put("snapshots/", m.sealed(seal.Snapshot, append(params(8<<20), bomb(1<<30)...), nil))
		}, "damaged"},
		"a body that is shorter":   {func(m *maker) { m.put("snapshots/", m.sealed(seal.Snapshot, append(params(8<<20), 0, 1, 2), nil)) }, "damaged"},
		"a record of rubbish":      {record([]byte("rubbish")), "snapshot record"},
		"a record without a root":  {record(nil), "no folder"},
		"a root that is a file":    {record((&snapshot.Record{Root: snapshot.Node{Type: snapshot.File}}).Encode()), "no folder"},
		"a record from the future": {record(append((&snapshot.Record{Root: snapshot.Node{Type: snapshot.Dir}}).Encode(), 0x65, 1, 'x')), "newer version"},
		"a kind in another place":  {func(m *maker) { m.put("snapshots/", m.sealed(seal.Index, body(nil), nil)) }, "kind"},
		"an object without an end": {func(m *maker) { m.put("snapshots/", m.sealed(seal.Snapshot, body(nil), nil)[:90]) }, "damaged"},
		"an index of 2^32 packs":   {func(m *maker) { m.put("index/", m.sealed(seal.Index, body(nil), []byte{255, 255, 255, 255})) }, "packs in 4 bytes"},
		"an index that ends early": {func(m *maker) {
			m.put("index/", m.sealed(seal.Index, body(nil), index.AppendList(nil, []index.Listed{{Directory: 20}})))
		}, "index"},
		"an index of lies": {func(m *maker) {
			_, data := m.only("data/")
			lie := &index.Pack{Name: sha256.Sum256(data), Size: uint32(len(data)), Segments: []index.Segment{{Offset: 80, Stored: uint32(len(data)) - 100, Plain: 8 << 20}},
				Blobs: []index.Entry{{Prefix: index.PrefixOf(id), Kind: blob.Data, Length: 8 << 20}}}
			m.replace("index/", m.sealed(seal.Index, body(index.AppendDirectory(nil, lie)), index.AppendList(nil, []index.Listed{lie.Listed()})))
		}, "the index does not say what the pack holds"},
		"trash that is no list": {func(m *maker) { m.put("trash/", m.sealed(seal.Trash, body([]byte("rubbish")), nil)) }, "damaged"},
		"a session of rubbish": {func(m *maker) {
			m.must(m.s.Put(context.Background(), "sessions/"+strings.Repeat("ab", 16), []byte("rubbish")))
		}, "sessions/"},
		"looks of rubbish": {func(m *maker) { m.put("looks/", m.sealed(seal.Setting, body([]byte("\x01\x01\x02\x03\x03abc")), nil)) }, "looks/"},
		"a setting of 2^40 shards": {func(m *maker) {
			m.put("settings/", m.sealed(seal.Setting, body(tlv.AppendUint(tlv.AppendUint(nil, 1, 1), 7, 1<<40)), nil))
		}, "settings/"},
		"a shard of lies": {func(m *maker) {
			d := tlv.AppendBytes(nil, 1, bytes.Repeat([]byte{5}, 16))
			d = tlv.AppendUint(tlv.AppendUint(tlv.AppendUint(d, 3, 1), 5, 128), 7, 16)
			d = tlv.AppendBytes(d, 9, bytes.Repeat([]byte{0, 0, 0, 3}, 9*128))
			m.put(parity.Folder, m.sealed(seal.Parity, make([]byte, 1<<16), d))
		}, "parity/"},

		"a pack without a blob's bytes": {func(m *maker) { m.packed(entries(id, 8<<20), []byte("\x00short")) }, "segment"},
		"a pack that is a bomb":         {func(m *maker) { m.packed(entries(id, 8<<20), bomb(1<<30)) }, "segment"},
		"a pack of 60 bombs": {func(m *maker) {
			m.packed(entries(id, 8<<20), bytes.Split(bytes.Repeat(append(bomb(64<<20), '|', '!', '|'), 60), []byte("|!|"))[:60]...)
		}, "segment"},
		"a segment of an unknown codec": {func(m *maker) { m.packed(entries(id, 5), []byte("\x09hello")) }, "codec 9"},
		"a blob with another hash":      {func(m *maker) { m.packed(entries(id, 5), []byte("\x00hello")) }, "the bytes are others"},
		"a directory of rubbish":        {func(m *maker) { m.packed(func(*index.Pack) []byte { return []byte("rubbish") }, []byte("\x00hello")) }, "directory"},
		"a directory of 2^32 blobs": {func(m *maker) {
			m.packed(func(p *index.Pack) []byte {
				d := index.AppendDirectory(nil, p)
				copy(d[24:], "\xff\xff\xff\xff")
				return d
			}, []byte("\x00hello"))
		}, "directory"},
		"a directory of other segments": {func(m *maker) {
			m.packed(func(p *index.Pack) []byte { p.Segments[0].Stored++; return entries(id, 5)(p) }, []byte("\x00hello"))
		}, "segments end at"},
		"a pack under another name": {func(m *maker) {
			_, data := m.only("data/")
			m.must(m.s.Put(context.Background(), repo.PackObject(blob.Name{9}), data))
		}, "not its name"},
		"a pack of 10 bytes":             {func(m *maker) { m.put("data/", []byte("0123456789")) }, "10 bytes"},
		"a pack for which there is none": {func(m *maker) { m.clear("data/") }, "missing"},
	}
}

// said is what all who read a repository say of it.
func said(t *testing.T, s *memory.Store) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), endless)
	defer cancel()
	r, err := open(s)
	if err != nil {
		return err
	}
	var all []error
	note := func(err error) { all = append(all, err) }
	names, err := r.SnapshotNames(ctx)
	note(err)
	for _, name := range names {
		data, err := r.LoadSnapshot(ctx, name)
		note(err)
		if err != nil {
			continue
		}
		rec, err := snapshot.DecodeRecord(data)
		note(err)
		if err == nil {
			note(newJail(t).restore(r, rec))
		}
	}
	_, err = check.Run(ctx, r, check.Options{ReadData: true}, func(f check.Finding) { note(errors.New(f.String())) })
	note(err)
	_, err = repair.PlanIndex(ctx, r)
	note(err)
	p, err := repair.PlanPacks(ctx, r, repair.PacksOptions{})
	note(err)
	if err == nil {
		for _, d := range p.Damaged {
			note(fmt.Errorf("repair: %w", d.Problem))
		}
	}
	_, err = repair.PlanSnapshots(ctx, r, nil)
	note(err)
	return errors.Join(all...)
}

// TestObjects restores, checks and plans repairs of repositories in which single objects are hostile.
func TestObjects(t *testing.T) {
	cases := objectCases()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMaker(t)
			m.commit(m.dir("", m.file("f", "words")))
			c.spoil(m)
			var err error
			wantMemory(t, func() { err = said(t, m.s) })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Logf("%d cases", len(cases))
}
