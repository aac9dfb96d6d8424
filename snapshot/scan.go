package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/tlv"
)

// Seen is what a backup noted about one entry so that the next one can see that nothing changed. What stands in the tree
// already (size, mtime) is not repeated.
type Seen struct {
	Name       string
	Inode      uint64
	ChangeTime Time   // ctime; zero if the entry must be read again next time
	Method     Method // how the content was held still
}

// Kinds of scan items.
const (
	scanEntry = 1 // an entry that is no folder
	scanLeave = 2 // the end of the folder that was entered last
	scanMount = 3 // the file system of the next entry and all below it
	scanDir   = 4 // a folder; its own entries come next, up to scanLeave
)

const scanItemMax = NameSizeMax + 256

// ScanBuilder encodes a scan record, in walk order.
type ScanBuilder struct {
	records
	item []byte
}

// NewScanBuilder returns a builder of a scan record.
func (l *Lists) NewScanBuilder() *ScanBuilder {
	return &ScanBuilder{records: records{lists: l, kind: blob.Scan, out: elements{lists: l, kind: blob.Scan, limit: InlineMax}}}
}

// Mount says which file system the next entry and all below it are on. Nothing is known to be unchanged if it differs next time.
func (s *ScanBuilder) Mount(ctx context.Context, fsID string) error {
	if fsID == "" || len(fsID) >= scanItemMax {
		return fmt.Errorf("file system with an id of %d bytes", len(fsID))
	}
	s.item = append(append(s.item[:0], scanMount), fsID...)
	return s.addItem(ctx)
}

// Entry adds an entry that is no folder.
func (s *ScanBuilder) Entry(ctx context.Context, e *Seen) error { return s.entry(ctx, scanEntry, e) }

// Enter adds a folder; its entries come next, and then Leave.
func (s *ScanBuilder) Enter(ctx context.Context, e *Seen) error { return s.entry(ctx, scanDir, e) }

// Leave ends the folder that was entered last.
func (s *ScanBuilder) Leave(ctx context.Context) error {
	s.item = append(s.item[:0], scanLeave)
	return s.addItem(ctx)
}

// Finish saves what is left and returns the record's content.
func (s *ScanBuilder) Finish(ctx context.Context) (Content, error) { return s.finish(ctx) }

func (s *ScanBuilder) entry(ctx context.Context, kind byte, e *Seen) error {
	b := append(s.item[:0], kind)
	b = binary.AppendUvarint(b, uint64(len(e.Name)))
	b = append(b, e.Name...)
	b = binary.AppendUvarint(b, e.Inode)
	b = binary.AppendUvarint(b, tlv.Zigzag(e.ChangeTime.Sec))
	b = binary.AppendUvarint(b, uint64(e.ChangeTime.Nsec))
	s.item = append(b, byte(e.Method))
	return s.addItem(ctx)
}

func (s *ScanBuilder) addItem(ctx context.Context) error {
	s.buf = binary.AppendUvarint(s.buf, uint64(len(s.item)))
	s.buf = append(s.buf, s.item...)
	return s.added(ctx)
}

// ScanReader reads a scan record along with a walk over the tree that it belongs to.
type ScanReader struct {
	ctx    context.Context
	loader Loader
	next   func() (Element, error, bool)
	stop   func()
	rest   string
	item   scanItem
	have   bool
	fsID   string // of a mount item that was passed and whose entry was not
	level  int
	err    error
}

type scanItem struct {
	kind byte
	seen Seen
	fsID string
}

// NewScanReader returns a reader before the first item. Close must be called.
func NewScanReader(ctx context.Context, l Loader, c Content) *ScanReader {
	next, stop := iter.Pull2(elementsOf(ctx, l, blob.Scan, c))
	return &ScanReader{ctx: ctx, loader: l, next: next, stop: stop}
}

// Close frees what the reader holds.
func (s *ScanReader) Close() { s.stop() }

// Err is the error that ended the record early, if any. A reader that has one finds nothing.
func (s *ScanReader) Err() error { return s.err }

// Level says how many folders were entered and not left.
func (s *ScanReader) Level() int { return s.level }

// Find goes forward in the current folder to the entry called name, and reports whether it is there. Names must be asked for in
// ascending order. What is passed is gone. fsID is not empty if a mount item stands before the entry.
func (s *ScanReader) Find(name string) (seen Seen, fsID string, ok bool) {
	for s.peek() {
		switch s.item.kind {
		case scanLeave:
			return Seen{}, "", false
		case scanMount:
			s.fsID, s.have = s.item.fsID, false
			continue
		}
		if s.item.seen.Name > name {
			return Seen{}, "", false
		}
		seen, kind, fsID := s.item.seen, s.item.kind, s.fsID
		s.have, s.fsID = false, ""
		if seen.Name == name {
			if kind == scanDir {
				s.level++
			}
			return seen, fsID, true
		}
		if kind == scanDir {
			s.level++
			s.LeaveTo(s.level - 1)
		}
	}
	return Seen{}, "", false
}

// All goes through all entries that are left, with their paths; those have no slash in front.
func (s *ScanReader) All() iter.Seq2[string, Seen] {
	return func(yield func(string, Seen) bool) {
		var ends []int // of the folders' paths that are open
		var path []byte
		for s.peek() {
			s.have = false
			switch s.item.kind {
			case scanEntry, scanDir:
				name := s.item.seen.Name
				if !yield(string(path)+name, s.item.seen) {
					return
				}
				if s.item.kind == scanDir {
					ends = append(ends, len(path))
					path = append(append(path, name...), '/')
				}
			case scanLeave:
				if len(ends) == 0 {
					s.err = fmt.Errorf("scan record: %w", errScanItem)
					return
				}
				path, ends = path[:ends[len(ends)-1]], ends[:len(ends)-1]
			}
		}
	}
}

// LeaveTo passes what is left of the folders that were entered, until level of them are open.
func (s *ScanReader) LeaveTo(level int) {
	for s.level > level && s.peek() {
		s.have, s.fsID = false, ""
		switch s.item.kind {
		case scanLeave:
			s.level--
		case scanDir:
			s.level++
		}
	}
	s.level = min(s.level, level)
}

// peek decodes the next item unless there is one already.
func (s *ScanReader) peek() bool {
	if s.have {
		return true
	}
	for s.rest == "" && s.err == nil {
		e, err, ok := s.next()
		if !ok {
			return false
		}
		var data []byte
		if err == nil {
			data, err = s.loader.Load(s.ctx, blob.Scan, e.ID)
		}
		s.rest, s.err = string(data), err
	}
	if s.err != nil {
		return false
	}
	item, rest, err := CutRecord(s.rest, scanItemMax)
	if err == nil {
		err = s.item.decode(item)
	}
	if err != nil {
		s.err = fmt.Errorf("scan record: %w", err)
		return false
	}
	s.rest, s.have = rest, true
	return true
}

var errScanItem = errors.New("bad item")

func (it *scanItem) decode(s string) error {
	*it = scanItem{}
	if s == "" {
		return errScanItem
	}
	it.kind, s = s[0], s[1:]
	switch it.kind {
	case scanLeave:
		if s != "" {
			return errScanItem
		}
		return nil
	case scanMount:
		if s == "" {
			return errScanItem
		}
		it.fsID = s
		return nil
	case scanEntry, scanDir:
	default:
		return errScanItem
	}
	size, n := tlv.Uvarint(s)
	if n == 0 || size > uint64(len(s)-n) {
		return errScanItem
	}
	it.seen.Name, s = s[n:n+int(size)], s[n+int(size):]
	var v [3]uint64
	for i := range v {
		if v[i], n = tlv.Uvarint(s); n == 0 {
			return errScanItem
		}
		s = s[n:]
	}
	if len(s) != 1 || v[2] >= nsecInSecond {
		return errScanItem
	}
	it.seen.Inode, it.seen.ChangeTime, it.seen.Method = v[0], Time{tlv.Unzigzag(v[1]), uint32(v[2])}, Method(s[0])
	return nil
}

// Clone returns an independent copy of the builder, so that what is there can be finished while the original goes on.
func (s *ScanBuilder) Clone() *ScanBuilder {
	return &ScanBuilder{records: *s.records.clone()}
}

// CopyScan stores a scan record anew, for another repository: its items name no blobs, but the lists of its parts do.
func CopyScan(ctx context.Context, from Loader, c Content, to *Lists) (Content, error) {
	b := to.NewScanBuilder()
	for e, err := range elementsOf(ctx, from, blob.Scan, c) {
		if err == nil && e.IsZeros() {
			err = errElement
		}
		var data []byte
		if err == nil {
			data, err = from.Load(ctx, blob.Scan, e.ID)
		}
		if err != nil {
			return Content{}, fmt.Errorf("scan record: %w", err)
		}
		for rest := string(data); rest != ""; {
			var item string
			if item, rest, err = CutRecord(rest, scanItemMax); err != nil {
				return Content{}, fmt.Errorf("scan record: %w", err)
			}
			b.item = append(b.item[:0], item...)
			if err := b.addItem(ctx); err != nil {
				return Content{}, err
			}
		}
	}
	return b.Finish(ctx)
}
