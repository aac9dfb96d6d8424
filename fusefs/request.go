package fusefs

import (
	"context"
	"sync"
	"time"
)

// complaints tells of what can't be read, each thing once in a while.
type complaints struct {
	report func(path string, err error)

	mu   sync.Mutex
	told map[string]time.Time
}

const (
	complaintEvery = time.Minute
	complaintsMax  = 4096
)

func (c *complaints) tell(path string, err error) {
	key := path + "\x00" + err.Error()
	c.mu.Lock()
	last, ok := c.told[key]
	again := ok && time.Since(last) < complaintEvery
	if !again {
		if c.told == nil || len(c.told) >= complaintsMax {
			c.told = map[string]time.Time{}
		}
		c.told[key] = time.Now()
	}
	c.mu.Unlock()
	if !again {
		c.report(path, err)
	}
}

// request returns the context of one request of the kernel, and what to call at its end. A signal to whoever asked closes cancel; that ends the
// request only if it hangs: programs don't expect a read of a file to be interrupted, and get signals all the time.
func request(all context.Context, cancel <-chan struct{}) (context.Context, func()) {
	ctx, end := context.WithCancel(all)
	hang := time.AfterFunc(hangAllowed, func() {
		select {
		case <-cancel:
			end()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		hang.Stop()
		end()
	}
}
