package repo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/tlv"
	"github.com/zeebo/blake3"
)

// Config is what is fixed when a repository is made.
type Config struct {
	Repo      seal.RepoID
	NeedRead  uint64 // features that a reader must know, a bit each
	NeedWrite uint64 // features that a writer must know
	Optional  uint64 // features that may be ignored
	Created   time.Time
	Program   string
	Chunker   chunker.Algorithm
	Data      chunker.Params // of files' contents
	Meta      chunker.Params // of trees and scan records
	CutKey    [32]byte       // the chunker's secret, if it is another repository's; zero: derived from the master key
}

// The features that this version knows. Bits stand in config objects and never change their meaning.
const (
	knownRead  = 0
	knownWrite = 0
)

const (
	configMagic   = "tarnrepo"
	configHead    = 64
	configVersion = 1
)

// Tags of the config's sealed body. Algorithms have numbers, so that the format can grow.
const (
	cfgHead    tlv.Tag = 1 // BLAKE3 of the clear header: binds it
	cfgHash    tlv.Tag = 3 // 1: BLAKE3
	cfgAEAD    tlv.Tag = 5 // 1: AES-256-GCM
	cfgChunker tlv.Tag = 7
	cfgData    tlv.Tag = 9 // minimum, average, maximum
	cfgMeta    tlv.Tag = 11
	cfgCreated tlv.Tag = 12
	cfgProgram tlv.Tag = 14
	cfgCutKey  tlv.Tag = 15
)

var errConfig = errors.New("config is damaged: restore it from a copy; nothing else in the repository is affected")

// encode returns the config object.
func (c *Config) encode(keys *seal.Keys) []byte {
	head := make([]byte, configHead)
	copy(head, configMagic)
	binary.LittleEndian.PutUint16(head[8:], configVersion)
	copy(head[16:32], c.Repo[:])
	binary.LittleEndian.PutUint64(head[32:], c.NeedRead)
	binary.LittleEndian.PutUint64(head[40:], c.NeedWrite)
	binary.LittleEndian.PutUint64(head[48:], c.Optional)
	sum := blake3.Sum256(head)
	b := tlv.AppendBytes(nil, cfgHead, sum[:])
	b = tlv.AppendUint(b, cfgHash, 1)
	b = tlv.AppendUint(b, cfgAEAD, 1)
	b = tlv.AppendUint(b, cfgChunker, uint64(c.Chunker))
	b = tlv.AppendBytes(b, cfgData, appendParams(nil, c.Data))
	b = tlv.AppendBytes(b, cfgMeta, appendParams(nil, c.Meta))
	b = tlv.AppendUint(b, cfgCreated, tlv.Zigzag(c.Created.Unix()))
	b = tlv.AppendBytes(b, cfgProgram, c.Program)
	if c.CutKey != ([32]byte{}) {
		b = tlv.AppendBytes(b, cfgCutKey, c.CutKey[:])
	}
	return append(head, sealObject(keys, seal.Config, b, 0)...)
}

// decodeConfigHead reads the clear header; this needs no key.
func decodeConfigHead(data []byte) (c Config, err error) {
	if len(data) < configHead || string(data[:8]) != configMagic {
		return c, errConfig
	}
	c.NeedRead = binary.LittleEndian.Uint64(data[32:])
	c.NeedWrite = binary.LittleEndian.Uint64(data[40:])
	c.Optional = binary.LittleEndian.Uint64(data[48:])
	copy(c.Repo[:], data[16:32])
	if v := binary.LittleEndian.Uint16(data[8:]); v != configVersion {
		return c, fmt.Errorf("repository of version %d: %w", v, seal.ErrVersion)
	}
	if c.NeedRead&^knownRead != 0 {
		return c, fmt.Errorf("repository with features %#x that this version can't read: %w", c.NeedRead&^knownRead, seal.ErrVersion)
	}
	return c, nil
}

// decodeBody reads the sealed rest of the config object.
func (c *Config) decodeBody(keys *seal.Keys, data []byte) error {
	sum := blake3.Sum256(data[:configHead])
	body, err := openObject(keys, seal.Config, data[configHead:])
	if err != nil {
		return fmt.Errorf("%w (%v)", errConfig, err)
	}
	var bound [32]byte
	var hash, aead uint64
	r := tlv.NewReader(string(body))
	for r.Next() {
		switch r.Tag() {
		case cfgHead:
			r.Copy(bound[:])
		case cfgHash:
			hash = r.Uint()
		case cfgAEAD:
			aead = r.Uint()
		case cfgChunker:
			c.Chunker = chunker.Algorithm(r.UintMax(255))
		case cfgData:
			c.Data = readParams(r)
		case cfgMeta:
			c.Meta = readParams(r)
		case cfgCreated:
			c.Created = time.Unix(tlv.Unzigzag(r.Uint()), 0).UTC()
		case cfgProgram:
			c.Program = r.String()
		case cfgCutKey:
			r.Copy(c.CutKey[:])
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if bound != sum {
		return errConfig
	}
	if hash != 1 || aead != 1 {
		return fmt.Errorf("config: hash %d, cipher %d: %w", hash, aead, seal.ErrVersion)
	}
	return nil
}

func appendParams(b []byte, p chunker.Params) []byte {
	for _, v := range []int{p.Min, p.Avg, p.Max} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

func readParams(r *tlv.Reader) (p chunker.Params) {
	s := r.String()
	for _, to := range []*int{&p.Min, &p.Avg, &p.Max} {
		v, n := tlv.Uvarint(s)
		if n == 0 || v > 8<<20 {
			r.Fail(errors.New("bad chunk sizes"))
			return p
		}
		*to, s = int(v), s[n:]
	}
	return p
}
