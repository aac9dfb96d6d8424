package main

import (
	"fmt"
	"time"
)

// How often progress is shown.
const (
	drawEvery   = 200 * time.Millisecond // on a terminal
	statusEvery = time.Second            // as JSON
)

// doing is what a long command has done so far.
type doing struct {
	files, bytes       uint64
	endFiles, endBytes uint64 // 0 while unknown
	problems           uint64
	current            string // a path; empty if there is none
	stage              string // in place of the rate and the path, if not empty
}

// showProgress shows what look says until the returned function is called: on a terminal by lines that are drawn again and again, with --json by
// status lines, else not at all.
func (a *app) showProgress(look func() doing) (stop func()) {
	every := drawEvery
	if a.json {
		every = statusEvery
	}
	if !a.showsProgress() {
		return func() {}
	}
	begin := time.Now()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.show(look(), time.Since(begin))
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		a.mu.Lock()
		defer a.mu.Unlock()
		a.eraseLocked()
		a.stderr.Flush()
	}
}

// showsProgress reports whether anybody sees progress.
func (a *app) showsProgress() bool { return !a.quiet && (a.json || a.stderr.terminal) }

func (a *app) show(d doing, since time.Duration) {
	if a.json {
		a.emit(statusLine{Type: "status", Seconds: since.Seconds(), Files: d.files, Bytes: d.bytes, EndFiles: d.endFiles, EndBytes: d.endBytes,
			Remaining: d.remaining(since).Seconds(), Problems: d.problems, Current: d.current})
		a.mu.Lock()
		defer a.mu.Unlock()
		a.stdout.Flush()
		return
	}
	width := a.stderr.width() - 1
	a.mu.Lock()
	defer a.mu.Unlock()
	a.eraseLocked()
	for _, line := range d.lines(since, width) {
		fmt.Fprintln(a.stderr, line)
		a.drawn++
	}
	a.stderr.Flush()
}

// eraseLocked takes the lines of progress away.
func (a *app) eraseLocked() {
	for ; a.drawn > 0; a.drawn-- {
		a.stderr.WriteString("\x1b[1A\x1b[2K")
	}
}

// lines are at most two lines for a terminal.
func (d *doing) lines(since time.Duration, width int) []string {
	line := fmt.Sprintf("[%s]  %s, %s", clockText(since), counted(d.files, "file"), bytesText(d.bytes))
	if d.endBytes > 0 {
		line += fmt.Sprintf(" of %s", bytesText(max(d.endBytes, d.bytes)))
	}
	switch {
	case d.stage != "":
		line += ", " + d.stage
	case since >= time.Second:
		line += fmt.Sprintf(", %s/s", bytesText(uint64(float64(d.bytes)/since.Seconds())))
		if left := d.remaining(since); left > 0 {
			line += fmt.Sprintf(", %s left", clockText(left))
		}
	}
	if d.problems > 0 {
		line += ", " + counted(d.problems, "problem")
	}
	lines := []string{cut(line, width)}
	if d.current != "" && d.stage == "" {
		lines = append(lines, "  "+cut(escape(d.current), width-2))
	}
	return lines
}

// remaining is how long the rest will take if it goes on like this; 0 if nobody can say.
func (d *doing) remaining(since time.Duration) time.Duration {
	if d.endBytes <= d.bytes || d.bytes == 0 || since < 2*time.Second {
		return 0
	}
	return time.Duration(float64(since) * float64(d.endBytes-d.bytes) / float64(d.bytes))
}
