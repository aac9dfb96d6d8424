package repo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/tlv"
)

// trashPacksMax is how many packs one trash object names at most.
const trashPacksMax = bodyMax / len(blob.Name{}) / 2

// PutTrash names packs that are about to be removed. This is for good: a pack never comes out of the trash. Nobody may call it but a pruner
// that will look at all snapshots again, or leaves this to the next one, before it removes the packs.
func (r *Repo) PutTrash(ctx context.Context, packs []blob.Name) error {
	for len(packs) > 0 {
		n := min(len(packs), trashPacksMax)
		var body []byte
		for _, p := range packs[:n] {
			body = append(body, p[:]...)
		}
		packs = packs[n:]
		if _, err := r.putObject(ctx, trashName, sealObject(r.keys, seal.Trash, body, 0)); err != nil {
			return fmt.Errorf("store the trash: %w", err)
		}
	}
	return nil
}

// LoadTrash returns the packs that a trash object names. storage.ErrNotExist is wrapped if it is gone.
func (r *Repo) LoadTrash(ctx context.Context, name blob.Name) ([]blob.Name, error) {
	body, _, err := r.getObject(ctx, seal.Trash, trashName(name), name)
	if err != nil {
		return nil, err
	}
	if len(body)%len(name) != 0 {
		return nil, fmt.Errorf("trash %s: %w", name.Short(), seal.ErrCorrupt)
	}
	packs := make([]blob.Name, 0, len(body)/len(name))
	for ; len(body) > 0; body = body[len(name):] {
		packs = append(packs, blob.Name(body[:len(name)]))
	}
	return packs, nil
}

// TrashNames lists the trash objects.
func (r *Repo) TrashNames(ctx context.Context) ([]blob.Name, error) {
	var names []blob.Name
	err := r.list(ctx, trashDir, func(n blob.Name, size int64) { names = append(names, n) })
	sortNames(names)
	return names, err
}

// SettleTrash makes a trash object durable that somebody else put: that it can be seen does not mean that his Put has returned. One that is
// gone stays so.
func (r *Repo) SettleTrash(ctx context.Context, name blob.Name) error {
	data, err := storage.ReadAll(ctx, r.storage, trashName(name), objectMax)
	if errors.Is(err, storage.ErrNotExist) {
		return nil
	}
	if err == nil && sha256.Sum256(data) != name {
		err = seal.ErrCorrupt
	}
	if err == nil {
		err = r.storage.Put(ctx, trashName(name), data)
	}
	if err != nil {
		return fmt.Errorf("trash %s: %w", name.Short(), err)
	}
	return nil
}

// RemoveTrash removes a trash object, after its packs were removed.
func (r *Repo) RemoveTrash(ctx context.Context, name blob.Name) error {
	return r.storage.Remove(ctx, trashName(name))
}

// RemovePack removes a pack. That nobody needs it has been proven, and that nobody will is what the trash is for.
func (r *Repo) RemovePack(ctx context.Context, name blob.Name) error {
	return r.storage.Remove(ctx, packName(name))
}

// Wait says for which sessions a trash object waits: all that might refer to its packs. It was made after the trash object.
type Wait struct {
	Name     blob.Name // of the object
	Trash    blob.Name
	Time     time.Time
	Sessions []blob.Session // that must be over before the packs are removed
	Pruners  []blob.Session // that were there as well; nobody waits for them
}

// Tags of a wait object's fields.
const (
	waitTrash    tlv.Tag = 1
	waitTime     tlv.Tag = 2
	waitSessions tlv.Tag = 3
	waitPruners  tlv.Tag = 4
)

// PutWait stores w, and names it.
func (r *Repo) PutWait(ctx context.Context, w *Wait) error {
	b := tlv.AppendBytes(nil, waitTrash, w.Trash[:])
	b = tlv.AppendUint(b, waitTime, tlv.Zigzag(w.Time.UnixNano()))
	b = tlv.AppendBytes(b, waitSessions, joinSessions(w.Sessions))
	b = tlv.AppendBytes(b, waitPruners, joinSessions(w.Pruners))
	var err error
	if w.Name, err = r.putObject(ctx, waitName, sealObject(r.keys, seal.Wait, b, 0)); err != nil {
		return fmt.Errorf("store the list of sessions to wait for: %w", err)
	}
	return nil
}

// RemoveWait removes a wait object, which can always be made again.
func (r *Repo) RemoveWait(ctx context.Context, name blob.Name) error {
	return r.storage.Remove(ctx, waitName(name))
}

// Waits returns the wait objects. One that is damaged has a name and nothing else: the trash that it is about has to get another.
func (r *Repo) Waits(ctx context.Context) ([]Wait, error) {
	var names []blob.Name
	if err := r.list(ctx, waitDir, func(n blob.Name, size int64) { names = append(names, n) }); err != nil {
		return nil, err
	}
	var list []Wait
	for _, n := range names {
		body, _, err := r.getObject(ctx, seal.Wait, waitName(n), n)
		if errors.Is(err, storage.ErrNotExist) {
			continue
		}
		var w Wait
		if err == nil {
			w, err = decodeWait(body)
		}
		if err != nil && !IsCorrupt(err) {
			return nil, fmt.Errorf("wait %s: %w", n.Short(), err)
		}
		w.Name = n
		list = append(list, w)
	}
	return list, nil
}

func decodeWait(body []byte) (w Wait, err error) {
	r := tlv.NewReader(string(body))
	for r.Next() {
		switch r.Tag() {
		case waitTrash:
			r.Copy(w.Trash[:])
		case waitTime:
			w.Time = time.Unix(0, tlv.Unzigzag(r.Uint()))
		case waitSessions:
			w.Sessions = splitSessions(r)
		case waitPruners:
			w.Pruners = splitSessions(r)
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return Wait{}, fmt.Errorf("%w: %w", seal.ErrCorrupt, err)
	}
	return w, nil
}

func joinSessions(list []blob.Session) (b []byte) {
	for _, s := range list {
		b = append(b, s[:]...)
	}
	return b
}

func splitSessions(r *tlv.Reader) (list []blob.Session) {
	s := r.String()
	if len(s)%len(blob.Session{}) != 0 {
		r.Fail(fmt.Errorf("field %d: %d bytes are no list of sessions", r.Tag(), len(s)))
		return nil
	}
	for ; s != ""; s = s[len(blob.Session{}):] {
		list = append(list, blob.Session([]byte(s[:len(blob.Session{})])))
	}
	return list
}
