package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/pipe"
)

// link is the connection, or the way to one.
type link struct {
	options Options

	mu     sync.Mutex // guards what follows; held while a connection is made
	conn   *conn      // nil if there is none
	closed bool
	stale  []string // temporaries whose Put lost its connection
}

// conn is one running ssh.
type conn struct {
	*sftp.Client
	options *Options
	process *pipe.Process
}

// get returns a connection that was good a moment ago.
func (l *link) get(ctx context.Context) (*conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.closed {
		return nil, fs.ErrClosed
	}
	if l.conn != nil && l.conn.isGone() {
		l.conn.close()
		l.conn = nil
	}
	if l.conn == nil {
		c, err := l.connect(ctx)
		if err != nil {
			return nil, err
		}
		l.conn = c
	}
	for len(l.stale) > 0 {
		if err := l.conn.Remove(l.stale[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, l.conn.explain(err)
		}
		l.stale = l.stale[1:]
	}
	return l.conn, nil
}

func (c *conn) isGone() bool {
	select {
	case <-c.process.Ended():
		return true
	default:
		return false
	}
}

// lost notes a temporary file that may still be renamed by a request that is under way. It is removed before anything else is done.
func (l *link) lost(temp string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stale = append(l.stale, temp)
}

func (l *link) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn != nil {
		l.conn.close()
		l.conn = nil
	}
	return nil
}

// command is what is run.
func (o *Options) command() []string {
	if len(o.Command) > 0 {
		return o.Command
	}
	argv := []string{"ssh", "-oBatchMode=yes", "-oConnectTimeout=8", "-oServerAliveInterval=10", "-oServerAliveCountMax=3",
		"-oClearAllForwardings=yes", "-oControlMaster=no", "-oRemoteCommand=none", "-oRequestTTY=no"}
	argv = append(argv, o.Args...)
	if o.User != "" {
		argv = append(argv, "-l", o.User)
	}
	if o.Port != "" {
		argv = append(argv, "-p", o.Port)
	}
	// Behind --, a host can't be taken for an option.
	return append(argv, "-s", "--", o.Host, "sftp")
}

// connectTime bounds what ssh may take until the server speaks SFTP.
const connectTime = 30 * time.Second

func (l *link) connect(ctx context.Context) (*conn, error) {
	p, err := pipe.Start(l.options.command(), nil, l.options.Limits)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	stop := context.AfterFunc(ctx, p.Kill)
	client, err := sftp.NewClientPipe(p, p, sftp.UseConcurrentWrites(true), sftp.MaxConcurrentRequestsPerFile(64))
	c := &conn{client, &l.options, p}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if ctx.Err() == nil { // ssh will end by itself, and say why
			waitEnd(p, time.Second)
		}
		c.close()
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, c.why(err)
	}
	return c, nil
}

func waitEnd(p *pipe.Process, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.Ended():
	case <-timer.C:
	}
}

func (c *conn) close() {
	c.process.Close()
	if c.Client != nil {
		c.Client.Close()
	}
}

// explain says why an operation failed, if it was for the connection.
func (c *conn) explain(err error) error {
	if err == nil || !isLost(err) {
		return err
	}
	c.process.Kill() // so that nobody takes it for a good one
	waitEnd(c.process, 5*time.Second)
	return c.why(errLost)
}

var errLost = errors.New("the connection was lost")

// isLost reports whether an operation failed because of the connection.
func isLost(err error) bool {
	return errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, fs.ErrClosed) || strings.Contains(err.Error(), "broken pipe") ||
		errors.Is(err, errLost)
}

// why is err with what ssh said last, in one sentence.
func (c *conn) why(err error) error {
	name := c.options.Host
	if c.options.User != "" {
		name = c.options.User + "@" + name
	}
	said := sentence(c.process.Printed())
	if said == "" {
		return fmt.Errorf("ssh to %s: %w", name, err)
	}
	wrapped := fmt.Errorf("ssh to %s: %s", name, said)
	if errors.Is(err, errLost) {
		wrapped = fmt.Errorf("ssh to %s: %w: %s", name, errLost, said)
	}
	for _, hopeless := range []string{"Permission denied", "Host key verification failed", "subsystem request failed", "Bad configuration option",
		"no such identity", "Too many authentication failures", "No matching", "no matching"} {
		if strings.Contains(said, hopeless) {
			return storage.Permanent(wrapped)
		}
	}
	return wrapped
}

// sentence finds the line that says most in what ssh printed.
func sentence(printed string) string {
	if strings.Contains(printed, "REMOTE HOST IDENTIFICATION HAS CHANGED") {
		return "Host key verification failed: the server's key is not the one that known_hosts has; somebody may be in between"
	}
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	last := strings.TrimRight(strings.TrimSpace(lines[len(lines)-1]), ".")
	if strings.Contains(last, "Host key verification failed") {
		return last + ": the server's key is not in known_hosts"
	}
	return last
}
