package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/tlv"
)

// RecordSizeMax is the largest encoded snapshot record in bytes.
const RecordSizeMax = 8 << 20

// Record is one backup: what was saved, when, by whom, and how far it can be trusted.
type Record struct {
	Time     time.Time // when the reading began
	End      time.Time // when it ended
	Host     string
	User     string
	Paths    []string // absolute, as the user gave them
	Tags     []string
	Excludes []string // the patterns
	Program  string   // name and version of the writer
	Session  blob.Session
	Parent   blob.Name // the snapshot that was compared with; zero for none
	Partial  bool      // made on the way: a root to keep, and a parent to go on from, of a backup that is not finished
	Root     Node      // the folder "/", nameless
	Scan     Content   // the scan record, a list of scan blobs
	Stats    Stats
	Capture  Capture
	Mounts   []Mount
	Problems []Problem // what could not be saved, or not as it was at one moment
	Original blob.Name // the snapshot that this one was rewritten from; zero for none
	Origin   Origin    // the snapshot that this one is a copy of; zero for none
	Settled  bool      // a last look at all folders found them as they were read: all names are of one moment
}

// Origin names a snapshot of another repository.
type Origin struct {
	Repo [16]byte
	Name blob.Name
}

// IsZero reports whether o names none.
func (o Origin) IsZero() bool { return o == Origin{} }

// Stats counts what a backup did.
type Stats struct {
	Files, Folders, Others       uint64 // regular files, folders, all else
	New, Changed, Unchanged      uint64 // of the regular files
	Bytes                        uint64 // of all regular files
	Read                         uint64 // bytes that were read
	Added                        uint64 // bytes of blobs that were not in the repository
	Stored                       uint64 // bytes that those take: compressed, sealed
	Blobs                        uint64 // blobs that were not in the repository
	Vanished                     uint64 // entries that went away between the listing and the reading
	DurationMS                   uint64 // from beginning to end
	FoldersNew, FoldersUnchanged uint64
}

// Capture counts the files by what is known of their contents.
type Capture struct {
	Whole, Appended, Torn, Carried uint64
	Methods                        [MethodsMax]uint64 // of the files that were read this time, by Method
}

// Count adds an entry to what a record counts of the snapshot's contents.
func (r *Record) Count(n *Node) {
	s, c := &r.Stats, &r.Capture
	switch n.Type {
	case Dir:
		s.Folders++
	case File:
		s.Files++
		s.Bytes += n.Size
		*[...]*uint64{Whole: &c.Whole, Appended: &c.Appended, Torn: &c.Torn, Carried: &c.Carried}[n.State]++
	default:
		s.Others++
	}
}

// ClearCount takes back all that Count adds. What the backup found changed, and how it read, stays.
func (r *Record) ClearCount() {
	s, c := &r.Stats, &r.Capture
	s.Folders, s.Files, s.Bytes, s.Others, c.Whole, c.Appended, c.Torn, c.Carried = 0, 0, 0, 0, 0, 0, 0, 0
}

// MethodsMax is one more than the largest Method.
const MethodsMax = 7

// Mount says how the files of one mount were held still.
type Mount struct {
	Point  string // where it is mounted
	FSType string
	Method string // "live", "btrfs", "lvm thick", "lvm thin", "zfs"
	Reason string // why so, for people
}

// ProblemKind says what happened to one path.
type ProblemKind uint8

// The kinds of problems. Their numbers stand in snapshots and never change.
const (
	Unreadable    ProblemKind = 1 // not in the snapshot
	ProblemTorn   ProblemKind = 2 // stored, marked torn
	ProblemCarry  ProblemKind = 3 // an older version stands in its place
	ProblemAttr   ProblemKind = 4 // stored, but some of its metadata could not be read
	ProblemAppend ProblemKind = 5 // stored up to where it ended at first
	ProblemTornOK ProblemKind = 6 // stored, marked torn, and the user had said that it does not matter

	ProblemCluster   ProblemKind = 7 // a database cluster whose files were stored one by one while its server ran: together they are of no moment
	ProblemClusterOK ProblemKind = 8 // the same, and the user had said that it does not matter
)

// isFault reports whether a snapshot with such a problem is not whole.
func (k ProblemKind) isFault() bool {
	return k != ProblemAppend && k != ProblemTornOK && k != ProblemClusterOK
}

// Problem is one path that was not saved whole.
type Problem struct {
	Kind   ProblemKind
	Path   string
	Reason string
}

// What the parts of a record may take of RecordSizeMax, in bytes. What is left is for the root.
const (
	GivenSizeMax    = 5 << 20  // what the user gave: paths, tags, patterns
	hostSizeMax     = 255      // of a host's name: DNS has 253, Linux 64
	mountsSizeMax   = 1 << 20  // of the list of mounts: a machine may have 100,000
	problemsSizeMax = 4 << 20  // of the list of problems, which has less where there is less room; the counts in Stats and Capture go on
	laterSizeMax    = 64 << 10 // what is behind the problems, and what a successor may add
)

// Tags of a record's fields.
const (
	recTime     tlv.Tag = 1
	recEnd      tlv.Tag = 2
	recHost     tlv.Tag = 4
	recUser     tlv.Tag = 6
	recPath     tlv.Tag = 8
	recTag      tlv.Tag = 10
	recExclude  tlv.Tag = 12
	recProgram  tlv.Tag = 14
	recSession  tlv.Tag = 15
	recParent   tlv.Tag = 16
	recPartial  tlv.Tag = 17
	recRoot     tlv.Tag = 19
	recScan     tlv.Tag = 20
	recStats    tlv.Tag = 22
	recCapture  tlv.Tag = 24
	recMount    tlv.Tag = 26
	recProblem  tlv.Tag = 28
	recOriginal tlv.Tag = 30
	recSettled  tlv.Tag = 32
	recOrigin   tlv.Tag = 34
)

// CheckGiven reports whether there is room for what the user gave. It is asked before a backup begins, since a record that is too long can't
// be stored.
func (r *Record) CheckGiven() error {
	if len(r.Host) > hostSizeMax {
		return fmt.Errorf("a host's name of %d bytes, the limit is %d", len(r.Host), hostSizeMax)
	}
	b := appendStrings(nil, recPath, r.Paths)
	b = appendStrings(b, recTag, r.Tags)
	if b = appendStrings(b, recExclude, r.Excludes); len(b) > GivenSizeMax {
		return fmt.Errorf("%d paths, %d tags and %d patterns take %d bytes in the snapshot's record, which has room for %d", len(r.Paths), len(r.Tags),
			len(r.Excludes), len(b), GivenSizeMax)
	}
	return nil
}

// SetMounts notes how the files of each mount were held still. Those that the record has no room for are counted in the reason of the last one; it is
// none of the others', so nobody takes the snapshot for one moment's.
func (r *Record) SetMounts(list []Mount) {
	r.Mounts = nil
	size := 0
	for i, m := range list {
		if size += len(appendMount(nil, m)); size > mountsSizeMax {
			m.Point, m.Reason = m.Point[:min(len(m.Point), NameSizeMax)], fmt.Sprintf("no room for this and %d more", len(list)-i-1)
			r.Mounts = append(r.Mounts, m)
			return
		}
		r.Mounts = append(r.Mounts, m)
	}
}

func appendMount(b []byte, m Mount) []byte {
	v := tlv.AppendBytes(nil, 2, m.Point)
	v = tlv.AppendBytes(v, 4, m.FSType)
	v = tlv.AppendBytes(v, 6, m.Method)
	return tlv.AppendBytes(b, recMount, tlv.AppendBytes(v, 8, m.Reason))
}

// Encode returns r's record.
func (r *Record) Encode() []byte {
	b := appendTime(nil, recTime, timeOf(r.Time))
	b = appendTime(b, recEnd, timeOf(r.End))
	b = tlv.AppendBytes(b, recHost, r.Host)
	b = tlv.AppendBytes(b, recUser, r.User)
	b = appendStrings(b, recPath, r.Paths)
	b = appendStrings(b, recTag, r.Tags)
	b = appendStrings(b, recExclude, r.Excludes)
	b = tlv.AppendBytes(b, recProgram, r.Program)
	if !r.Session.IsZero() {
		b = tlv.AppendBytes(b, recSession, r.Session[:])
	}
	if !r.Parent.IsZero() {
		b = tlv.AppendBytes(b, recParent, r.Parent[:])
	}
	if r.Partial {
		b = tlv.AppendUint(b, recPartial, 1)
	}
	b = tlv.AppendBytes(b, recRoot, appendNodeFields(nil, &r.Root))
	b = tlv.AppendBytes(b, recScan, appendContent(nil, r.Scan))
	b = tlv.AppendBytes(b, recStats, appendUints(nil, r.Stats.list()...))
	b = tlv.AppendBytes(b, recCapture, appendUints(nil, r.Capture.list()...))
	for _, m := range r.Mounts {
		b = appendMount(b, m)
	}
	limit := min(len(b)+problemsSizeMax, RecordSizeMax-laterSizeMax)
	for _, fault := range [...]bool{true, false} { // faults first: what there is no room for must not make the snapshot look better
		b = r.appendProblems(b, fault, limit)
	}
	if !r.Original.IsZero() {
		b = tlv.AppendBytes(b, recOriginal, r.Original[:])
	}
	if r.Settled {
		b = tlv.AppendUint(b, recSettled, 1)
	}
	if !r.Origin.IsZero() {
		b = tlv.AppendBytes(b, recOrigin, append(r.Origin.Repo[:], r.Origin.Name[:]...))
	}
	return b
}

// appendProblems appends the problems that are faults, or those that are none, until b has limit bytes.
func (r *Record) appendProblems(b []byte, fault bool, limit int) []byte {
	for i := range r.Problems {
		p, end := &r.Problems[i], len(b)
		if p.Kind.isFault() != fault {
			continue
		}
		v := tlv.AppendUint(nil, 2, uint64(p.Kind))
		v = tlv.AppendBytes(v, 4, p.Path)
		if b = tlv.AppendBytes(b, recProblem, tlv.AppendBytes(v, 6, p.Reason)); len(b) > limit {
			return b[:end]
		}
	}
	return b
}

// DecodeRecord reads a snapshot record.
func DecodeRecord(data []byte) (*Record, error) {
	rec := new(Record)
	r := tlv.NewReader(string(data))
	for r.Next() {
		switch r.Tag() {
		case recTime:
			rec.Time = readTime(r).Time()
		case recEnd:
			rec.End = readTime(r).Time()
		case recHost:
			rec.Host = r.String()
		case recUser:
			rec.User = r.String()
		case recPath:
			rec.Paths = append(rec.Paths, r.Item())
		case recTag:
			rec.Tags = append(rec.Tags, r.Item())
		case recExclude:
			rec.Excludes = append(rec.Excludes, r.Item())
		case recProgram:
			rec.Program = r.String()
		case recSession:
			r.Copy(rec.Session[:])
		case recParent:
			r.Copy(rec.Parent[:])
		case recPartial:
			rec.Partial = r.UintMax(1) == 1
		case recRoot:
			if err := decodeNode(r.String(), &rec.Root); err != nil {
				r.Fail(fmt.Errorf("root: %w", err))
			}
		case recScan:
			rec.Scan = readContent(r)
		case recStats:
			readUints(r, rec.Stats.pointers())
		case recCapture:
			readUints(r, rec.Capture.pointers())
		case recMount:
			rec.Mounts = append(rec.Mounts, readMount(r))
		case recProblem:
			rec.Problems = append(rec.Problems, readProblem(r))
		case recOriginal:
			r.Copy(rec.Original[:])
		case recSettled:
			rec.Settled = r.UintMax(1) == 1
		case recOrigin:
			var both [len(rec.Origin.Repo) + len(rec.Origin.Name)]byte
			r.Copy(both[:])
			copy(rec.Origin.Name[:], both[copy(rec.Origin.Repo[:], both[:]):])
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("snapshot record: %w", err)
	}
	if rec.Root.Type != Dir {
		return nil, errors.New("snapshot record: the root is no folder")
	}
	return rec, nil
}

// list and pointers name the counters in the order in which they are stored; new ones are added at the end.
func (s Stats) list() []uint64 {
	return []uint64{s.Files, s.Folders, s.Others, s.New, s.Changed, s.Unchanged, s.Bytes, s.Read, s.Added, s.Stored, s.Blobs,
		s.Vanished, s.DurationMS, s.FoldersNew, s.FoldersUnchanged}
}

func (s *Stats) pointers() []*uint64 {
	return []*uint64{&s.Files, &s.Folders, &s.Others, &s.New, &s.Changed, &s.Unchanged, &s.Bytes, &s.Read, &s.Added, &s.Stored, &s.Blobs,
		&s.Vanished, &s.DurationMS, &s.FoldersNew, &s.FoldersUnchanged}
}

func (c Capture) list() []uint64 {
	return append([]uint64{c.Whole, c.Appended, c.Torn, c.Carried}, c.Methods[:]...)
}

func (c *Capture) pointers() []*uint64 {
	p := []*uint64{&c.Whole, &c.Appended, &c.Torn, &c.Carried}
	for i := range c.Methods {
		p = append(p, &c.Methods[i])
	}
	return p
}

func appendUints(b []byte, list ...uint64) []byte {
	for _, v := range list {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// readUints reads as many numbers as are there and known, so that lists can grow.
func readUints(r *tlv.Reader, into []*uint64) {
	s := r.String()
	for _, p := range into {
		if s == "" {
			return
		}
		v, n := tlv.Uvarint(s)
		if n == 0 {
			r.Fail(errors.New("bad counter"))
			return
		}
		*p, s = v, s[n:]
	}
}

func readContent(r *tlv.Reader) (c Content) {
	in := tlv.NewReader(r.String())
	for in.Next() {
		switch in.Tag() {
		case tagDepth:
			c.Depth = uint8(in.UintMax(DepthMax))
		case tagElements:
			readElements(in, &c)
		default:
			in.Skip()
		}
	}
	if err := in.Err(); err != nil {
		r.Fail(err)
	}
	return c
}

func readMount(r *tlv.Reader) (m Mount) {
	in := tlv.NewReader(r.Item())
	for in.Next() {
		switch in.Tag() {
		case 2:
			m.Point = in.String()
		case 4:
			m.FSType = in.String()
		case 6:
			m.Method = in.String()
		case 8:
			m.Reason = in.String()
		default:
			in.Skip()
		}
	}
	if err := in.Err(); err != nil {
		r.Fail(err)
	}
	return m
}

func readProblem(r *tlv.Reader) (p Problem) {
	in := tlv.NewReader(r.Item())
	for in.Next() {
		switch in.Tag() {
		case 2:
			p.Kind = ProblemKind(in.UintMax(255))
		case 4:
			p.Path = in.String()
		case 6:
			p.Reason = in.String()
		default:
			in.Skip()
		}
	}
	if err := in.Err(); err != nil {
		r.Fail(err)
	}
	return p
}

func appendStrings(b []byte, tag tlv.Tag, list []string) []byte {
	for _, s := range list {
		b = tlv.AppendBytes(b, tag, s)
	}
	return b
}

func timeOf(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// Time returns t as a time.Time in UTC; the zero Time gives the zero time.Time.
func (t Time) Time() time.Time {
	if t == (Time{}) {
		return time.Time{}
	}
	return time.Unix(t.Sec, int64(t.Nsec)).UTC()
}
