package repo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// KeySlot is one password's slot, as people see it.
type KeySlot struct {
	Name    blob.Name
	Slot    seal.Slot
	Current bool // the one that opened the repository
	Old     bool // it lacks the newest master key: a rotation was interrupted before it removed this
}

// newestEpoch is that of the newest master key that any of the slots says it has, but for one slot.
func newestEpoch(slots []KeySlot, but blob.Name) (newest uint32) {
	for i := range slots {
		if slots[i].Name != but {
			newest = max(newest, slots[i].Slot.Epoch)
		}
	}
	return newest
}

// ErrLastKey says that a repository's only key can't be removed.
var ErrLastKey = errors.New("the last key can't be removed: nobody could open the repository again")

// readSlots reads all key slots. A damaged one is left out and told of in bad, so that the others still open the repository.
func readSlots(ctx context.Context, s storage.Storage) (slots []KeySlot, bad error, err error) {
	var names []string
	err = s.List(ctx, keysDir, func(name string, size int64) error {
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list keys: %w", err)
	}
	sort.Strings(names)
	for _, path := range names {
		name, err := blob.ParseName(base(path))
		if err != nil {
			continue
		}
		if len(slots) == seal.SlotsReadMax {
			return nil, nil, fmt.Errorf("more than %d key slots: somebody else wrote to the repository", seal.SlotsReadMax)
		}
		data, err := storage.ReadAll(ctx, s, path, seal.SlotSizeMax)
		if errors.Is(err, storage.ErrNotExist) {
			continue // removed meanwhile
		}
		if err == nil && sha256.Sum256(data) != name {
			err = fmt.Errorf("%w: its content does not match its name", seal.ErrCorrupt)
		}
		var slot seal.Slot
		if err == nil {
			slot, err = seal.DecodeSlot(data)
		}
		if err != nil {
			bad = fmt.Errorf("key %s: %w", name.Short(), err)
			continue
		}
		slots = append(slots, KeySlot{Name: name, Slot: slot})
	}
	return slots, bad, nil
}

// openSlots tries a password on each slot, the newest first: a rotation that was interrupted may have left one of the same password.
func openSlots(ctx context.Context, s storage.Storage, id seal.RepoID, password func() ([]byte, error), memoryMax uint32) (keys *seal.Keys, opened KeySlot, err error) {
	slots, bad, err := readSlots(ctx, s)
	if err != nil {
		return nil, opened, err
	}
	if len(slots) == 0 {
		if bad == nil {
			bad = errors.New("the repository has no keys")
		}
		return nil, opened, bad
	}
	secret, err := password()
	if err != nil {
		return nil, opened, err
	}
	slices.SortStableFunc(slots, func(a, b KeySlot) int { return cmp.Compare(b.Slot.Epoch, a.Slot.Epoch) })
	for _, k := range slots {
		keys, err := k.Slot.Open(id, secret, memoryMax)
		if err == nil {
			k.Current, k.Old = true, keys.Epoch() < newestEpoch(slots, k.Name)
			return keys, k, nil
		}
		if !errors.Is(err, ErrPassword) {
			bad = err
		}
	}
	if bad != nil {
		return nil, opened, bad
	}
	return nil, opened, ErrPassword
}

// Keys lists the key slots.
func (r *Repo) Keys(ctx context.Context) ([]KeySlot, error) {
	slots, bad, err := readSlots(ctx, r.storage)
	newest := newestEpoch(slots, blob.Name{})
	for i := range slots {
		slots[i].Current, slots[i].Old = slots[i].Name == r.slot.Name, slots[i].Slot.Epoch < newest
	}
	return slots, errors.Join(err, bad)
}

// AddKey adds a password. s may bring labels and hashing parameters.
func (r *Repo) AddKey(ctx context.Context, s seal.Slot, password []byte) (blob.Name, error) {
	slots, _, err := readSlots(ctx, r.storage)
	if err != nil {
		return blob.Name{}, err
	}
	if len(slots) >= seal.SlotsMax {
		return blob.Name{}, fmt.Errorf("the repository has %d keys already: remove one first", len(slots))
	}
	slot, err := r.keys.NewSlot(s, password)
	if err != nil {
		return blob.Name{}, err
	}
	return r.putSlot(ctx, slot)
}

// putSlot stores a slot, unless the one that opened the repository was replaced since, minutes ago maybe, while somebody was asked for a password:
// then our keys may lack the newest.
func (r *Repo) putSlot(ctx context.Context, s seal.Slot) (blob.Name, error) {
	if err := r.KeyStands(ctx); err != nil {
		return blob.Name{}, err
	}
	name, err := r.putObject(ctx, keyName, s.Encode())
	if err != nil {
		return blob.Name{}, fmt.Errorf("store the key: %w", err)
	}
	if err := r.keyStands(ctx, name); err != nil { // just now: who rotated did not see the new slot
		return blob.Name{}, errors.Join(err, r.storage.Remove(ctx, keyName(name)))
	}
	return name, nil
}

// RemoveKey removes a slot, unless it is the last one that is intact and gives the newest master key. If somebody else removed the others at the same
// time, it is put back.
func (r *Repo) RemoveKey(ctx context.Context, name blob.Name) error {
	if err := r.KeyStands(ctx); err != nil {
		return err
	}
	data, err := storage.ReadAll(ctx, r.storage, keyName(name), seal.SlotSizeMax)
	intact := err == nil && sha256.Sum256(data) == name
	slots, _, err := readSlots(ctx, r.storage)
	if err != nil {
		return err
	}
	newest := newestEpoch(slots, blob.Name{})
	full := func(k KeySlot) bool { return k.Name != name && k.Slot.Epoch == newest }
	if !slices.ContainsFunc(slots, full) {
		return ErrLastKey
	}
	if err := r.storage.Remove(ctx, keyName(name)); err != nil || !intact {
		return err
	}
	if slots, _, err = readSlots(ctx, r.storage); err != nil || slices.ContainsFunc(slots, full) {
		return err
	}
	return errors.Join(ErrLastKey, r.storage.Put(ctx, keyName(name), data))
}

// ChangePassword replaces the slot that opened the repository. The new one is durable before the old one goes.
func (r *Repo) ChangePassword(ctx context.Context, s seal.Slot, password []byte) (blob.Name, error) {
	slot, err := r.keys.NewSlot(s, password)
	if err != nil {
		return blob.Name{}, err
	}
	name, err := r.putSlot(ctx, slot)
	if err != nil {
		return blob.Name{}, err
	}
	old := r.slot.Name
	r.slot = KeySlot{Name: name, Slot: slot}
	if err := r.storage.Remove(ctx, keyName(old)); err != nil {
		return name, err
	}
	return name, r.KeyStands(ctx)
}

// RotateKey gives the repository another master key, for all that is sealed from now on, in a new slot that takes the place of all others: their
// passwords open nothing any more, and are to be added again. The new slot is durable before the old ones go; a session that runs meanwhile
// ends with the old key. What was sealed before stays as it is. Of two that rotate at the same time one gives up at least: each would remove the other's
// master key, and what was sealed with it would be lost.
func (r *Repo) RotateKey(ctx context.Context, s seal.Slot, password []byte) (name blob.Name, err error) {
	var old []blob.Name // damaged ones, too
	if err := r.list(ctx, keysDir, func(n blob.Name, size int64) { old = append(old, n) }); err != nil {
		return name, err
	}
	keys, err := r.keys.Rotate(seal.NewMaster())
	if err != nil {
		return name, err
	}
	slot, err := keys.NewSlot(s, password)
	if err != nil {
		return name, err
	}
	if name, err = r.putSlot(ctx, slot); err != nil {
		return name, err
	}
	others := 0
	err = r.list(ctx, keysDir, func(n blob.Name, size int64) {
		if n != name && !slices.Contains(old, n) {
			others++
		}
	})
	if err == nil && others > 0 {
		err = ErrKeyGone
	}
	if err != nil {
		return blob.Name{}, errors.Join(err, r.storage.Remove(ctx, keyName(name)))
	}
	for _, n := range old {
		if err := r.storage.Remove(ctx, keyName(n)); err != nil {
			return name, fmt.Errorf("remove key %s: %w", n.Short(), err)
		}
	}
	r.slot = KeySlot{Name: name, Slot: slot}
	return name, r.keyStands(ctx, name)
}

// ErrKeyGone says that the slot which opened the repository was replaced since: there may be objects that its keys can't open.
var ErrKeyGone = errors.New("the key that opened the repository was replaced meanwhile: run this again")

// ErrOldKey says that the slot which opened the repository lacks the newest master key: a rotation was interrupted before it removed the slot. What
// was saved before can be read with it; nothing may be written, since it would be sealed with the old master key.
var ErrOldKey = errors.New("the key was rotated, and this password opens only what was saved before that")

// KeyStands returns ErrKeyGone if the slot that opened the repository is not there any more, or another one has a newer master key, and ErrOldKey if that was
// so from the beginning. Who takes things for damaged that he can't open asks before he acts on it.
func (r *Repo) KeyStands(ctx context.Context) error { return r.keyStands(ctx, blob.Name{}) }

// keyStands is KeyStands, and one slot may have a newer master key: ours.
func (r *Repo) keyStands(ctx context.Context, ours blob.Name) error {
	if r.slot.Old {
		return ErrOldKey
	}
	slots, _, err := readSlots(ctx, r.storage)
	if err != nil {
		return err
	}
	if newestEpoch(slots, ours) > r.keys.Epoch() {
		return ErrKeyGone
	}
	err = storage.ReadRange(ctx, r.storage, keyName(r.slot.Name), make([]byte, 1), 0) // last: a rotation may have come and gone while the others were read
	if errors.Is(err, storage.ErrNotExist) {
		return ErrKeyGone
	}
	return err
}
