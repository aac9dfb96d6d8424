package repo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/tlv"
)

// Purpose says what a session does.
type Purpose string

// The purposes. A prune waits for all sessions but pruners'.
const (
	PurposeBackup Purpose = "backup"
	PurposePrune  Purpose = "prune"
	PurposeTag    Purpose = "tag"
	PurposeRepair Purpose = "repair"
	PurposeCopy   Purpose = "copy"
)

// Session tells who is writing to a repository.
type Session struct {
	ID       blob.Session
	Purpose  Purpose
	Host     string
	User     string
	PID      int
	BootID   string // of the kernel, so that a process that is gone can be told from one on another machine
	PIDSpace string // the process's pid namespace
	Started  time.Time
	Program  string
}

// ErrEvicted says that somebody ended this session while it ran: what it saved is there, but packs that it refers to may be gone.
var ErrEvicted = errors.New("this session was evicted by another machine")

// Tags of a session's fields.
const (
	sesPurpose tlv.Tag = 1
	sesHost    tlv.Tag = 2
	sesUser    tlv.Tag = 4
	sesPID     tlv.Tag = 6
	sesBoot    tlv.Tag = 8
	sesSpace   tlv.Tag = 10
	sesStarted tlv.Tag = 12
	sesProgram tlv.Tag = 14
)

// NewSession describes this process as a session that begins now.
func NewSession(purpose Purpose, host, user, program string) Session {
	s := Session{Purpose: purpose, Host: host, User: user, Program: program, PID: os.Getpid(), Started: time.Now()}
	rand.Read(s.ID[:])
	if runtime.GOOS == "linux" {
		boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it the session is just not known to be local
		s.BootID = strings.TrimSpace(string(boot))
		s.PIDSpace, _ = os.Readlink("/proc/self/ns/pid")
	}
	return s
}

func (s *Session) encode(keys *seal.Keys) []byte {
	b := tlv.AppendBytes(nil, sesPurpose, s.Purpose)
	b = tlv.AppendBytes(b, sesHost, s.Host)
	b = tlv.AppendBytes(b, sesUser, s.User)
	b = tlv.AppendUint(b, sesPID, uint64(s.PID))
	b = tlv.AppendBytes(b, sesBoot, s.BootID)
	b = tlv.AppendBytes(b, sesSpace, s.PIDSpace)
	b = tlv.AppendUint(b, sesStarted, tlv.Zigzag(s.Started.UnixNano()))
	b = tlv.AppendBytes(b, sesProgram, s.Program)
	return sealObject(keys, seal.Session, b, 0)
}

func decodeSession(id blob.Session, body []byte) (Session, error) {
	s := Session{ID: id}
	r := tlv.NewReader(string(body))
	for r.Next() {
		switch r.Tag() {
		case sesPurpose:
			s.Purpose = Purpose(r.String())
		case sesHost:
			s.Host = r.String()
		case sesUser:
			s.User = r.String()
		case sesPID:
			s.PID = int(r.UintMax(1 << 31))
		case sesBoot:
			s.BootID = r.String()
		case sesSpace:
			s.PIDSpace = r.String()
		case sesStarted:
			s.Started = time.Unix(0, tlv.Unzigzag(r.Uint()))
		case sesProgram:
			s.Program = r.String()
		default:
			r.Skip()
		}
	}
	return s, r.Err()
}

// listSessions returns the sessions or evictions that are listed, without reading them.
func (r *Repo) listSessions(ctx context.Context, dir string) (map[blob.Session]bool, error) {
	found := map[blob.Session]bool{}
	err := r.storage.List(ctx, dir, func(path string, size int64) error {
		if s, err := blob.ParseSession(base(path)); err == nil {
			found[s] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return found, nil
}

// Sessions returns who is writing to the repository, or was when it crashed.
func (r *Repo) Sessions(ctx context.Context) ([]Session, error) {
	found, err := r.listSessions(ctx, sessionsDir)
	if err != nil {
		return nil, err
	}
	ids := slices.SortedFunc(maps.Keys(found), func(a, b blob.Session) int { return bytes.Compare(a[:], b[:]) })
	var list []Session
	for _, id := range ids {
		data, err := storage.ReadAll(ctx, r.storage, sessionName(id), sessionMax)
		if errors.Is(err, storage.ErrNotExist) {
			continue
		}
		s := Session{ID: id}
		if err == nil {
			var body []byte
			if body, err = openObject(r.keys, seal.Session, data); err == nil {
				s, err = decodeSession(id, body)
			}
		}
		if err != nil && !IsCorrupt(err) {
			return nil, fmt.Errorf("session %s: %w", id, err)
		}
		list = append(list, s)
	}
	return list, nil
}

// BeginSession puts a session object: whoever removes packs waits from now on until it is over. It comes before the view that the session
// works with (steps W1 and P1).
func (r *Repo) BeginSession(ctx context.Context, s Session) error {
	if err := r.CanWrite(); err != nil {
		return err
	}
	if s.ID.IsZero() {
		return errors.New("a session needs a name")
	}
	data := s.encode(r.keys)
	if len(data) > sessionMax { // nobody could read it again, and nobody could prune
		return fmt.Errorf("begin a session: it would have %d bytes, the limit is %d: the name of the host or of the user is too long", len(data), sessionMax)
	}
	if err := r.storage.Put(ctx, sessionName(s.ID), data); err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	return nil
}

// EndSession removes a session object.
func (r *Repo) EndSession(ctx context.Context, id blob.Session) error {
	if err := r.storage.Remove(ctx, sessionName(id)); err != nil {
		return fmt.Errorf("end the session: %w", err)
	}
	return nil
}

// Evict ends somebody else's session. This is always safe: if its owner lives after all it finds out before it reports success, and
// looks again at what it refers to. The eviction is put first and stays for ever.
func (r *Repo) Evict(ctx context.Context, id blob.Session) error {
	if err := r.storage.Put(ctx, evictionName(id), []byte(evictionBody)); err != nil {
		return fmt.Errorf("evict session %s: %w", id, err)
	}
	return r.EndSession(ctx, id)
}

// evictionBody is what an object under evictions/ holds: fixed bytes, so that who evicts needs no key and a retry changes nothing.
const evictionBody = "evicted\n"

// SessionIDs returns the names of the sessions that are listed.
func (r *Repo) SessionIDs(ctx context.Context) (map[blob.Session]bool, error) {
	return r.listSessions(ctx, sessionsDir)
}

// Evictions returns the names of the sessions that were evicted, ever.
func (r *Repo) Evictions(ctx context.Context) (map[blob.Session]bool, error) {
	return r.listSessions(ctx, evictionsDir)
}

// Stands reports whether a session is listed and not evicted: steps W5 and P8. Sessions are listed first: an eviction is put before
// the session is removed, so that one which comes in between is seen.
func (r *Repo) Stands(ctx context.Context, id blob.Session) (bool, error) {
	sessions, err := r.listSessions(ctx, sessionsDir)
	if err != nil {
		return false, err
	}
	evictions, err := r.listSessions(ctx, evictionsDir)
	if err != nil {
		return false, err
	}
	return sessions[id] && !evictions[id], nil
}
