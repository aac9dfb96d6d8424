package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/tarn-backup/tarn/blob"
)

// Beside its generations a cache has one file that says from which index objects it was filled, so that they need not be read again:
//
//	size      section
//	8         magic
//	16        id of the repository
//	32n       names of index objects
//	4         CRC-32C of all the above
//
// It proves nothing: a pack that such an object names may have been left out, since it was not live then.
const (
	objectsFile  = "objects"
	objectsMagic = "tarnobj1"
	objectsMax   = 1 << 20 // names
	objectsHead  = len(objectsMagic) + 16
	objectsTail  = 4
)

// Objects returns the index objects that the cache was filled from; none if that is not known.
func (c *Cache) Objects() map[blob.Name]bool {
	f, err := os.Open(filepath.Join(c.dir, objectsFile))
	if err != nil {
		return nil
	}
	defer f.Close()
	const sizeMax = objectsMax*len(blob.Name{}) + objectsHead + objectsTail
	file, err := io.ReadAll(io.LimitReader(f, int64(sizeMax)))
	if err != nil {
		return nil
	}
	names, err := parseObjects(file, c.repo)
	if err != nil {
		return nil // they are read again
	}
	return names
}

// SetObjects notes from which index objects the cache was filled, in place of those that stood there. Two processes that do this
// at once lose what one of them noted.
func (c *Cache) SetObjects(names []blob.Name) error {
	f, err := os.CreateTemp(c.dir, tempPrefix)
	if err != nil {
		return fmt.Errorf("note index objects: %w", err)
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	_, err = f.Write(appendObjects(nil, c.repo, names[:min(len(names), objectsMax)]))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note index objects: %w", err)
	}
	if err := os.Rename(f.Name(), filepath.Join(c.dir, objectsFile)); err != nil {
		return fmt.Errorf("note index objects: %w", err)
	}
	return nil
}

func appendObjects(b []byte, repo [16]byte, names []blob.Name) []byte {
	b = append(append(b, objectsMagic...), repo[:]...)
	for i := range names {
		b = append(b, names[i][:]...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func parseObjects(file []byte, repo [16]byte) (map[blob.Name]bool, error) {
	body, sum := file[:max(0, len(file)-objectsTail)], file[max(0, len(file)-objectsTail):]
	size := len(blob.Name{})
	switch {
	case len(body) < objectsHead || (len(body)-objectsHead)%size != 0:
		return nil, fmt.Errorf("%d bytes", len(file))
	case string(body[:len(objectsMagic)]) != objectsMagic:
		return nil, errors.New("not of this version")
	case [16]byte(body[len(objectsMagic):]) != repo:
		return nil, errors.New("of another repository")
	case binary.LittleEndian.Uint32(sum) != crc32.Checksum(body, castagnoli()):
		return nil, errors.New("bad checksum")
	}
	names := make(map[blob.Name]bool, (len(body)-objectsHead)/size)
	for rest := body[objectsHead:]; len(rest) > 0; rest = rest[size:] {
		names[blob.Name(rest)] = true
	}
	return names, nil
}
