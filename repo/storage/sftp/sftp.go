package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/limit"
)

const (
	fileMode   = 0o600
	folderMode = 0o700
	tempFolder = "tmp"
)

// Options say where the folder is, and how to get there. Path must be set, and Host or Command.
type Options struct {
	User, Host string
	Port       string   // empty: what ssh takes
	Path       string   // of the repository; below the home folder if it does not begin with a slash
	Command    []string // to run instead of ssh; its standard streams speak SFTP
	Args       []string // more arguments for ssh
	Limits     *limit.Limits
}

// Store is a folder of another machine.
type Store struct {
	link    *link
	root    string
	session string // label for the names of temporaries, or empty
	folders *folders
}

// Check connects, and returns an error unless the folder is there: one that wraps storage.ErrNotExist if nothing is.
func (s *Store) Check(ctx context.Context) error {
	err := s.do(ctx, func(c *conn) error {
		info, err := c.Stat(s.root)
		if err == nil && !info.IsDir() {
			err = storage.Permanent(errors.New("not a folder"))
		}
		return err
	})
	return s.failed("open", "", err)
}

// Make makes the folder, with its parents, unless it is there.
func (s *Store) Make(ctx context.Context) error {
	return s.failed("create", "", s.do(ctx, func(c *conn) error { return c.MkdirAll(s.root) }))
}

// New returns a store that connects when it is used first.
func New(o Options) *Store {
	return &Store{link: &link{options: o}, root: path.Clean(o.Path), folders: &folders{durable: map[string]bool{}}}
}

// String is the address.
func (s *Store) String() string { return s.link.options.String() }

// String is the address.
func (o Options) String() string {
	host := o.Host
	if o.User != "" {
		host = o.User + "@" + host
	}
	if o.Port != "" {
		return "sftp://" + host + ":" + o.Port + "/" + o.Path
	}
	return "sftp:" + host + ":" + o.Path
}

// Close ends the connection, for all that WithSession returned too.
func (s *Store) Close() error { return s.link.close() }

// WithSession returns the same store; its temporaries carry label. See storage.Cleaner.
func (s *Store) WithSession(label string) storage.Storage {
	if !storage.ValidLabel(label) {
		panic(fmt.Sprintf("sftp: session label %q", label))
	}
	with := *s
	with.session = label
	return &with
}

// Missing names what the server can't do, in words for people.
func (s *Store) Missing(ctx context.Context) (missing []string, err error) {
	err = s.do(ctx, func(c *conn) error {
		for _, e := range []struct{ name, effect string }{
			{extFsync, "a power cut of the server may take what was saved last"},
			{extRename, "an object that is replaced is missing for a moment"}} {
			if _, ok := c.HasExtension(e.name); !ok {
				missing = append(missing, fmt.Sprintf("the server lacks %s: %s", e.name, e.effect))
			}
		}
		return nil
	})
	return missing, err
}

// Extensions of the protocol that are used where they are there.
const (
	extFsync  = "fsync@openssh.com"
	extRename = "posix-rename@openssh.com"
	extSpace  = "statvfs@openssh.com"
)

// at is where an object or a folder is.
func (s *Store) at(name string) string { return path.Join(s.root, name) }

// failed says what failed, and where.
func (s *Store) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if name == "" {
		return fmt.Errorf("%s %s: %w", op, s, err)
	}
	return fmt.Errorf("%s %s: %w", op, name, err)
}

// folders are those that are known to be there, and durable as far as the server can.
type folders struct {
	mu      sync.Mutex // guards durable
	durable map[string]bool
}

func (f *folders) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable[name]
}

func (f *folders) add(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.durable[name] = true
}

func (f *folders) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.durable)
}

// graceTime is how long an answer is waited for after the caller gave up.
const graceTime = 10 * time.Second

// do calls op with a connection, and makes one if there is none.
func (s *Store) do(ctx context.Context, op func(c *conn) error) error {
	c, err := s.link.get(ctx)
	if err != nil {
		return err
	}
	return c.run(ctx, op)
}

// run calls op, which uses the connection, and cuts it if op does not end some time after ctx did.
func (c *conn) run(ctx context.Context, op func(c *conn) error) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(graceTime)
		defer grace.Stop()
		select {
		case <-done:
		case <-grace.C:
			c.process.Kill()
		}
	})
	err := op(c)
	close(done)
	stop()
	return c.explain(err)
}

// refused returns an error that says why an operation makes no sense, before anything is sent.
func refused(ctx context.Context, invalid error) error {
	if invalid != nil {
		return invalid
	}
	return ctx.Err()
}

// isFailure reports whether the server says that it failed, and no more: the protocol has one code for a full disk and for what exists already.
func isFailure(err error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxFailure || errors.Is(err, fs.ErrExist)
}
