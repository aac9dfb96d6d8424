package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/seal"
)

// ErrUnmovable is wrapped when what is to be stored again can't be read.
var ErrUnmovable = errors.New("can't be read")

// A Mover is a Lane that stores again what is stored already, for whoever is about to remove the packs that it is in. It serves one goroutine.
type Mover struct {
	*Lane
	from    decoder
	plain   []byte
	entries []index.Entry
}

// Mover returns a lane that moves blobs.
func (w *Writer) Mover() *Mover {
	return &Mover{Lane: w.Lane(), from: decoder{dec: pack.NewDecompressor(1)}}
}

// Move stores again the blobs of one segment that rows names, which are in the order in which they lie in it, wherever else they may be.
// Each is hashed and compared with its row first. A segment of which all is wanted, and which is not small, is taken over as it was
// compressed. After an error none of the blobs counts as moved, and the Mover can go on.
func (m *Mover) Move(ctx context.Context, info *index.PackInfo, number uint16, rows []index.Entry) error {
	if err := m.prove(ctx, info, number, rows); err != nil {
		return fmt.Errorf("pack %s, segment %d: %w: %w", info.Name.Short(), number, ErrUnmovable, err)
	}
	wanted := 0
	for i := range rows {
		wanted += int(rows[i].Length)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, size := m.segment(rows[0].Kind); wanted == len(m.plain) && wanted >= min(size/2, dataAloneSize) {
		return m.seal(ctx, m.from.opened, m.plain, m.entries)
	}
	for i := range rows {
		if err := m.appendLocked(ctx, m.entries[i], m.plain[rows[i].Offset:][:rows[i].Length]); err != nil {
			return err
		}
	}
	return nil
}

// prove opens a segment and looks whether the blobs in it are those that the rows say.
func (m *Mover) prove(ctx context.Context, info *index.PackInfo, number uint16, rows []index.Entry) error {
	s, ok := info.Segment(number)
	if !ok || len(rows) == 0 {
		return errors.New("it is not there")
	}
	r := m.writer.repo
	o, err := r.keys.OpenerOf(seal.Pack, info.Epoch, &info.Salt)
	if err != nil {
		return err
	}
	sealed, err := r.sealed(ctx, info, &s, &m.from)
	if err != nil {
		return err
	}
	if m.plain, m.from.opened, err = m.from.dec.Open(o, uint32(number), sealed, m.plain, m.from.opened, int(s.Plain)); err != nil {
		return err
	}
	m.entries = m.entries[:0]
	for i := range rows {
		row := &rows[i]
		if uint64(row.Offset)+uint64(row.Length) > uint64(len(m.plain)) {
			return fmt.Errorf("%w: a blob ends outside of it", seal.ErrCorrupt)
		}
		id := r.keys.ID(row.Kind, m.plain[row.Offset:][:row.Length])
		if index.PrefixOf(id) != row.Prefix {
			return fmt.Errorf("%w: the bytes of a blob are others", seal.ErrCorrupt)
		}
		m.entries = append(m.entries, index.Entry{Prefix: row.Prefix, Kind: row.Kind, Length: row.Length})
	}
	return nil
}

// LoadFrom returns a blob as Load does, but looks for it in an index of the caller's and nowhere else.
func (r *Repo) LoadFrom(ctx context.Context, x *index.Index, kind blob.Kind, id blob.ID) ([]byte, error) {
	return r.loadFrom(ctx, x, kind, id)
}
