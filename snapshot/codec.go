package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/tlv"
)

// Limits of trees, from docs/format.md. A reader refuses what exceeds them before it allocates.
const (
	NodeSizeMax  = 1 << 20 // encoded bytes of one node
	NameSizeMax  = 4096    // bytes of a name; Linux allows 255, Windows 765 in WTF-8
	DepthMax     = 6       // levels of content lists
	InlineMax    = 64      // content elements that stand in the node itself
	XattrInline  = 2048    // bytes of an extended attribute's value that stand in the node itself
	xattrsMax    = 1 << 16 // extended attributes of one node; Linux lists 9,362 at most
	nsecInSecond = 1_000_000_000
)

// Tags of a node's fields.
const (
	tagName     tlv.Tag = 1
	tagType     tlv.Tag = 3
	tagState    tlv.Tag = 5
	tagSparse   tlv.Tag = 6
	tagMode     tlv.Tag = 7
	tagUID      tlv.Tag = 9
	tagGID      tlv.Tag = 11
	tagUser     tlv.Tag = 12
	tagGroup    tlv.Tag = 14
	tagModTime  tlv.Tag = 15
	tagAccTime  tlv.Tag = 16
	tagSize     tlv.Tag = 19
	tagLink     tlv.Tag = 21
	tagTarget   tlv.Tag = 23
	tagDevice   tlv.Tag = 25
	tagFlags    tlv.Tag = 26
	tagXattr    tlv.Tag = 29
	tagDepth    tlv.Tag = 31
	tagElements tlv.Tag = 33
)

// AppendNode appends n's record, with its length in front: trees are such records joined.
func AppendNode(b []byte, n *Node) []byte {
	start := len(b)
	b = append(b, 0, 0) // room for the length: nearly all nodes are of 128 to 16,383 bytes
	b = appendNodeFields(b, n)
	size := uint64(len(b) - start - 2)
	if size >= 0x80 && size < 0x4000 {
		b[start], b[start+1] = byte(size)|0x80, byte(size>>7)
		return b
	}
	var head [binary.MaxVarintLen64]byte
	h := binary.PutUvarint(head[:], size)
	body := b[start+2:]
	if h > 2 {
		b = append(b, head[:h-2]...)
	}
	copy(b[start+h:], body)
	copy(b[start:], head[:h])
	return b[:start+h+int(size)]
}

func appendNodeFields(b []byte, n *Node) []byte {
	b = tlv.AppendBytes(b, tagName, n.Name)
	b = tlv.AppendUint(b, tagType, uint64(n.Type))
	b = tlv.AppendUint(b, tagState, uint64(n.State))
	if n.Sparse {
		b = tlv.AppendUint(b, tagSparse, 1)
	}
	b = tlv.AppendUint(b, tagMode, uint64(n.Mode))
	b = tlv.AppendUint(b, tagUID, uint64(n.UID))
	b = tlv.AppendUint(b, tagGID, uint64(n.GID))
	b = tlv.AppendBytes(b, tagUser, n.User)
	b = tlv.AppendBytes(b, tagGroup, n.Group)
	b = appendTime(b, tagModTime, n.ModTime)
	b = appendTime(b, tagAccTime, n.AccessTime)
	b = tlv.AppendUint(b, tagSize, n.Size)
	if !n.Link.IsZero() {
		b = tlv.AppendBytes(b, tagLink, n.Link[:])
	}
	b = tlv.AppendBytes(b, tagTarget, n.Target)
	b = tlv.AppendUint(b, tagDevice, n.Device)
	b = tlv.AppendUint(b, tagFlags, uint64(n.Flags))
	for i := range n.Xattrs {
		b = appendXattr(b, &n.Xattrs[i])
	}
	return appendContent(b, n.Content)
}

func appendTime(b []byte, tag tlv.Tag, t Time) []byte {
	if t == (Time{}) {
		return b
	}
	var v [2 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(v[:], tlv.Zigzag(t.Sec))
	n += binary.PutUvarint(v[n:], uint64(t.Nsec))
	return tlv.AppendBytes(b, tag, v[:n])
}

func appendXattr(b []byte, x *Xattr) []byte {
	v := binary.AppendUvarint(nil, uint64(len(x.Name)))
	v = append(v, x.Name...)
	if x.Ref.IsZero() {
		v = append(v, 0)
		v = append(v, x.Value...)
	} else {
		v = append(v, 1)
		v = append(v, x.Ref[:]...)
	}
	return tlv.AppendBytes(b, tagXattr, v)
}

func appendContent(b []byte, c Content) []byte {
	b = tlv.AppendUint(b, tagDepth, uint64(c.Depth))
	if len(c.Elements) == 0 {
		return b
	}
	size := 0
	var v [binary.MaxVarintLen64]byte
	for _, e := range c.Elements {
		size += binary.PutUvarint(v[:], e.Length<<1)
		if !e.IsZeros() {
			size += len(e.ID)
		}
	}
	b = binary.AppendUvarint(b, uint64(tagElements))
	b = binary.AppendUvarint(b, uint64(size))
	for _, e := range c.Elements {
		b = AppendElement(b, e)
	}
	return b
}

// AppendElement appends one element of a content list.
func AppendElement(b []byte, e Element) []byte {
	if e.IsZeros() {
		return binary.AppendUvarint(b, e.Length<<1|1)
	}
	b = binary.AppendUvarint(b, e.Length<<1)
	return append(b, e.ID[:]...)
}

// errElement is what a content list gets that does not follow the format.
var errElement = errors.New("bad element in a content list")

// CutElement reads one element from the start of s and returns the rest.
func CutElement(s string) (e Element, rest string, err error) {
	v, n := tlv.Uvarint(s)
	if n == 0 || v>>1 == 0 {
		return e, "", errElement
	}
	e.Length, s = v>>1, s[n:]
	if v&1 == 1 {
		return e, s, nil
	}
	if len(s) < len(e.ID) {
		return e, "", errElement
	}
	copy(e.ID[:], s)
	if e.ID.IsZero() {
		return e, "", errElement
	}
	return e, s[len(e.ID):], nil
}

// CutRecord takes one length-prefixed record of at most limit bytes from the start of s and returns the rest.
func CutRecord(s string, limit int) (record, rest string, err error) {
	size, n := tlv.Uvarint(s)
	if n == 0 || size > uint64(limit) || size > uint64(len(s)-n) {
		return "", "", errors.New("bad record length")
	}
	return s[n : n+int(size)], s[n+int(size):], nil
}

// CutNode reads one node from the start of a tree blob and returns the rest. The node's strings alias s.
func CutNode(s string, n *Node) (rest string, err error) {
	n.Content.Elements = nil
	return cutNode(s, n)
}

// cutNode is CutNode with room for content elements.
func cutNode(s string, n *Node) (rest string, err error) {
	record, rest, err := CutRecord(s, NodeSizeMax)
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	return rest, decodeNode(record, n)
}

func decodeNode(record string, n *Node) error {
	*n = Node{Content: Content{Elements: n.Content.Elements[:0]}}
	r := tlv.NewReader(record)
	for r.Next() {
		switch r.Tag() {
		case tagName:
			n.Name = r.String()
		case tagType:
			n.Type = Type(r.UintMax(uint64(BlockDevice)))
		case tagState:
			n.State = State(r.UintMax(uint64(Carried)))
		case tagSparse:
			n.Sparse = r.UintMax(1) == 1
		case tagMode:
			n.Mode = uint16(r.UintMax(0o7777))
		case tagUID:
			n.UID = uint32(r.UintMax(1<<32 - 1))
		case tagGID:
			n.GID = uint32(r.UintMax(1<<32 - 1))
		case tagUser:
			n.User = r.String()
		case tagGroup:
			n.Group = r.String()
		case tagModTime:
			n.ModTime = readTime(r)
		case tagAccTime:
			n.AccessTime = readTime(r)
		case tagSize:
			n.Size = r.Uint()
		case tagLink:
			r.Copy(n.Link[:])
		case tagTarget:
			n.Target = r.String()
		case tagDevice:
			n.Device = r.Uint()
		case tagFlags:
			n.Flags = uint32(r.UintMax(1<<32 - 1))
		case tagXattr:
			readXattr(r, n)
		case tagDepth:
			n.Content.Depth = uint8(r.UintMax(DepthMax))
		case tagElements:
			readElements(r, &n.Content)
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("node %q: %w", n.Name, err)
	}
	return validate(n)
}

// validate refuses nodes that no backup writes; writers and readers ask it. Names are checked where they are used (package restore), since only the
// root of a snapshot may be nameless.
func validate(n *Node) error {
	if !n.Type.Valid() {
		return fmt.Errorf("node %q: no type", n.Name)
	}
	if len(n.Name) > NameSizeMax {
		return fmt.Errorf("node %q...: name of %d bytes", n.Name[:32], len(n.Name))
	}
	if n.ModTime.Nsec >= nsecInSecond || n.AccessTime.Nsec >= nsecInSecond {
		return fmt.Errorf("node %q: bad time", n.Name)
	}
	for i := range n.Xattrs {
		if n.Xattrs[i].Name == "" || i > 0 && n.Xattrs[i-1].Name >= n.Xattrs[i].Name {
			return fmt.Errorf("node %q: extended attributes out of order", n.Name)
		}
	}
	if n.Type == Dir && len(n.Content.Elements) > 1 {
		return fmt.Errorf("node %q: a folder with %d content elements", n.Name, len(n.Content.Elements))
	}
	if n.Type == File {
		if sum, ok := n.Content.size(); !ok || sum != n.Size {
			return fmt.Errorf("node %q: size is %d, content has %d bytes", n.Name, n.Size, sum)
		}
	}
	return nil
}

// size adds the elements' lengths; ok is false if the sum exceeds 2^63.
func (c Content) size() (sum uint64, ok bool) {
	for _, e := range c.Elements {
		sum += e.Length
		if sum >= 1<<63 || e.Length >= 1<<63 {
			return sum, false
		}
	}
	return sum, true
}

func readTime(r *tlv.Reader) (t Time) {
	s := r.String()
	sec, n := tlv.Uvarint(s)
	if n == 0 {
		r.Fail(errors.New("bad time"))
		return t
	}
	nsec, m := tlv.Uvarint(s[n:])
	if m == 0 || n+m != len(s) || nsec >= nsecInSecond || sec == 0 && nsec == 0 {
		r.Fail(errors.New("bad time"))
		return t
	}
	return Time{Sec: tlv.Unzigzag(sec), Nsec: uint32(nsec)}
}

func readXattr(r *tlv.Reader, n *Node) {
	s := r.Item()
	size, m := tlv.Uvarint(s)
	if m == 0 || size == 0 || size >= uint64(len(s)-m) || len(n.Xattrs) >= xattrsMax {
		r.Fail(errors.New("bad extended attribute"))
		return
	}
	x := Xattr{Name: s[m : m+int(size)]}
	s = s[m+int(size):]
	switch {
	case s[0] == 0:
		x.Value = s[1:]
	case s[0] == 1 && len(s) == 1+len(x.Ref):
		copy(x.Ref[:], s[1:])
	}
	if s[0] != 0 && x.Ref.IsZero() {
		r.Fail(errors.New("bad extended attribute"))
		return
	}
	n.Xattrs = append(n.Xattrs, x)
}

func readElements(r *tlv.Reader, c *Content) {
	s := r.String()
	if len(c.Elements) > 0 || len(s) > InlineMax*(len(blob.ID{})+binary.MaxVarintLen64) {
		r.Fail(errElement)
		return
	}
	if size := len(s)/(len(blob.ID{})+1) + 1; cap(c.Elements) < size {
		c.Elements = make([]Element, 0, size)
	}
	for s != "" {
		e, rest, err := CutElement(s)
		if err != nil {
			r.Fail(err)
			return
		}
		c.Elements, s = append(c.Elements, e), rest
	}
	if len(c.Elements) > InlineMax {
		r.Fail(errElement)
	}
}
