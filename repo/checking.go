package repo

import (
	"fmt"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/parity"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// Storage is where the repository is kept.
func (r *Repo) Storage() storage.Storage { return r.storage }

// SealKeys are the keys that all of the repository is sealed with, for packages that look at sealed bytes themselves.
func (r *Repo) SealKeys() *seal.Keys { return r.keys }

// OpenObject proves all bytes of an object that is no pack, given its name in storage, and returns its body and its directory as far as
// it has them. It does not compare the name with the hash of the bytes.
func (r *Repo) OpenObject(name string, data []byte) (body, directory []byte, err error) {
	switch folder := name[:strings.LastIndexByte(name, '/')+1]; folder {
	case indexDir:
		return openObjectWith(r.keys, seal.Index, data)
	case snapshotsDir:
		return openObjectWith(r.keys, seal.Snapshot, data)
	case trashDir:
		return openObjectWith(r.keys, seal.Trash, data)
	case looksDir:
		if body, _, err = openObjectWith(r.keys, seal.Setting, data); err == nil {
			_, err = decodeLooks(body)
		}
		return body, nil, err
	case waitDir:
		if body, directory, err = openObjectWith(r.keys, seal.Wait, data); err == nil {
			_, err = decodeWait(body)
		}
		return body, directory, err
	case settingsDir:
		if body, _, err = openObjectWith(r.keys, seal.Setting, data); err == nil {
			_, err = decodePolicy(body)
		}
		return body, nil, err
	case parity.Folder:
		return nil, nil, parity.Prove(r.keys, data)
	case sessionsDir:
		if body, err = openObject(r.keys, seal.Session, data); err == nil {
			_, err = decodeSession(blob.Session{}, body)
		}
		return body, nil, err
	case keysDir:
		_, err = seal.DecodeSlot(data)
		return nil, nil, err
	case evictionsDir:
		if string(data) != evictionBody {
			err = fmt.Errorf("%w: its bytes are others", seal.ErrCorrupt)
		}
		return nil, nil, err
	}
	if name != configName {
		return nil, nil, fmt.Errorf("%s: no object of a repository", name)
	}
	c, err := decodeConfigHead(data)
	if err == nil {
		err = c.decodeBody(r.keys, data)
	}
	return nil, nil, err
}

// WithStorage returns the same repository as it is kept in another storage, a copy or a wrapper of this one's. It has no cache on this machine.
func (r *Repo) WithStorage(s storage.Storage) (*Repo, error) {
	return newRepo(s, r.keys, r.config, r.slot, Far{Requests: r.far.Requests, ReadAhead: r.far.ReadAhead})
}

// Fresh returns the same repository with nothing kept of what was read from it so far, so that what is read next is what is stored now.
func (r *Repo) Fresh() (*Repo, error) { return r.WithStorage(r.storage) }

// Short returns the same repository for simulations: what it stores is as short as its lengths allow, instead of 64 KiB at least.
func (r *Repo) Short() (*Repo, error) {
	return newRepo(r.storage, r.keys.Short(), r.config, r.slot, r.far)
}
