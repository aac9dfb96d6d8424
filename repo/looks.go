package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/tlv"
)

// Looks says when packs were last read whole and found good, to the day. Losing it costs a reading, never data.
type Looks struct {
	days map[lookKey]uint32 // days since 1970
	from []blob.Name        // the objects that it was read from
}

// lookKey is the first half of a pack's name.
type lookKey [16]byte

const (
	lookSize     = len(lookKey{}) + 4
	looksPerBody = 400_000 // so many fit into an object's body
	daySeconds   = 24 * 60 * 60
)

// Tags of an object under looks/.
const (
	setWhat  tlv.Tag = 1 // which setting it is
	setLooks tlv.Tag = 3

	whatLooks = 2
)

func keyOfLook(pack blob.Name) (k lookKey) {
	copy(k[:], pack[:])
	return k
}

// Last is when a pack was looked at last; the zero time if it is not known to have been.
func (l *Looks) Last(pack blob.Name) time.Time {
	day, ok := l.days[keyOfLook(pack)]
	if !ok {
		return time.Time{}
	}
	return time.Unix(int64(day)*daySeconds, 0).UTC()
}

// Note says that a pack was found good at that time.
func (l *Looks) Note(pack blob.Name, at time.Time) {
	if l.days == nil {
		l.days = map[lookKey]uint32{}
	}
	k := keyOfLook(pack)
	l.days[k] = max(l.days[k], uint32(max(at.Unix(), 0)/daySeconds))
}

// Looks reads when packs were looked at. What can't be read is left out, and told of in bad.
func (r *Repo) Looks(ctx context.Context) (l *Looks, bad error, err error) {
	l = &Looks{days: map[lookKey]uint32{}}
	var names []blob.Name
	if err := r.list(ctx, looksDir, func(n blob.Name, size int64) { names = append(names, n) }); err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		body, _, err := r.getObject(ctx, seal.Setting, looksDir+n.String(), n)
		if errors.Is(err, storage.ErrNotExist) {
			continue // merged meanwhile
		}
		var days map[lookKey]uint32
		if err == nil {
			days, err = decodeLooks(body)
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("looks %s: %w", n.Short(), err))
			continue
		}
		l.from = append(l.from, n)
		for k, day := range days {
			l.days[k] = max(l.days[k], day)
		}
	}
	return l, bad, nil
}

// PutLooks stores l in place of the objects that it was read from, without packs that are gone. Those that others stored meanwhile stay.
func (r *Repo) PutLooks(ctx context.Context, l *Looks, packs map[blob.Name]int64) error {
	var entries []byte
	for n := range packs {
		if day, ok := l.days[keyOfLook(n)]; ok {
			entries = append(entries, n[:len(lookKey{})]...)
			entries = binary.LittleEndian.AppendUint32(entries, day)
		}
	}
	put := map[blob.Name]bool{}
	for len(entries) > 0 {
		part := entries[:min(len(entries), looksPerBody*lookSize)]
		entries = entries[len(part):]
		body := tlv.AppendBytes(tlv.AppendUint(nil, setWhat, whatLooks), setLooks, part)
		name, err := r.putObject(ctx, func(n blob.Name) string { return looksDir + n.String() }, sealObject(r.keys, seal.Setting, body, 0))
		if err != nil {
			return fmt.Errorf("store when packs were looked at: %w", err)
		}
		put[name] = true
	}
	for _, n := range l.from {
		if put[n] {
			continue
		}
		if err := r.storage.Remove(ctx, looksDir+n.String()); err != nil {
			return fmt.Errorf("remove looks %s, which is stored anew: %w", n.Short(), err)
		}
	}
	return nil
}

func decodeLooks(body []byte) (map[lookKey]uint32, error) {
	days := map[lookKey]uint32{}
	r := tlv.NewReader(string(body))
	what := uint64(0)
	for r.Next() {
		switch r.Tag() {
		case setWhat:
			what = r.Uint()
		case setLooks:
			s := r.String()
			if len(s)%lookSize != 0 {
				r.Fail(fmt.Errorf("%w: %d bytes are no list", seal.ErrCorrupt, len(s)))
			}
			for ; len(s) >= lookSize; s = s[lookSize:] {
				var k lookKey
				copy(k[:], s)
				days[k] = max(days[k], binary.LittleEndian.Uint32([]byte(s[len(k):lookSize])))
			}
		default:
			r.Skip()
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if what != whatLooks {
		return nil, fmt.Errorf("%w: setting %d where looks should be", seal.ErrCorrupt, what)
	}
	return days, nil
}
