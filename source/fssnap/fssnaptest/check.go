//go:build linux

package fssnaptest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Counts is what a look at a snapshot found, or several looks.
type Counts struct {
	Exact       int // files that the snapshot vouches for
	Suspect     int // files that it does not
	Torn        []string
	TornSuspect []string
	Pairs       int // pairs, both of which are vouched for
	PairsBroken []string
	Lost        []string // files that move, and were in neither folder
	Doubled     []string // or in both
}

// Add adds the counts of another look.
func (c *Counts) Add(d Counts) {
	c.Exact += d.Exact
	c.Suspect += d.Suspect
	c.Pairs += d.Pairs
	c.Torn = append(c.Torn, d.Torn...)
	c.TornSuspect = append(c.TornSuspect, d.TornSuspect...)
	c.PairsBroken = append(c.PairsBroken, d.PairsBroken...)
	c.Lost = append(c.Lost, d.Lost...)
	c.Doubled = append(c.Doubled, d.Doubled...)
}

func (c Counts) String() string {
	return fmt.Sprintf("%d files vouched for, %d of them torn; %d suspects, %d of them torn; %d pairs, %d broken; %d lost, %d doubled",
		c.Exact, len(c.Torn), c.Suspect, len(c.TornSuspect), c.Pairs, len(c.PairsBroken), len(c.Lost), len(c.Doubled))
}

// Fail fails the test for anything wrong among what the snapshot vouched for.
func (c Counts) Fail(t testing.TB) {
	t.Helper()
	for what, list := range map[string][]string{"torn": c.Torn, "broken pairs": c.PairsBroken, "lost": c.Lost, "doubled": c.Doubled} {
		if len(list) > 0 {
			t.Errorf("%d %s: %.300s", len(list), what, strings.Join(list, "; "))
		}
	}
}

// Check looks at what a snapshot of Dir, to be read at dir, holds of the writers' files. All of them have saved at least once.
func (w Writers) Check(t testing.TB, dir string, exact func(ctime time.Time) bool) (c Counts) {
	t.Helper()
	look := func(name, kind string) (last uint64, ok bool) {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("read %s from the snapshot: %v", name, err)
			return 0, false
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Error(err)
			return 0, false
		}
		last, wrong := judge(kind, data, w.Size)
		ok = exact(time.Unix(st.Ctim.Unix()))
		switch {
		case ok:
			c.Exact++
		default:
			c.Suspect++
		}
		switch {
		case wrong != "" && ok:
			c.Torn = append(c.Torn, name+": "+wrong)
		case wrong != "":
			c.TornSuspect = append(c.TornSuspect, name+": "+wrong)
		}
		return last, ok && wrong == ""
	}
	for i := range w.Each {
		for _, kind := range []string{inPlace, chunks, truncate, rename, mapped, grow} {
			look(fmt.Sprintf("%s-%d", kind, i), kind)
		}
		a, okA := look(fmt.Sprintf("%s-%d-a", pair, i), pair)
		b, okB := look(fmt.Sprintf("%s-%d-b", pair, i), pair)
		if okA && okB {
			c.Pairs++
			if a < b || a > b+1 {
				c.PairsBroken = append(c.PairsBroken, fmt.Sprintf("%d: first of generation %d, second of %d", i, a, b))
			}
		}
		name := fmt.Sprintf("%s-%d", move, i)
		_, errHere := os.Lstat(filepath.Join(dir, "here", name))
		_, errThere := os.Lstat(filepath.Join(dir, "there", name))
		switch {
		case errHere != nil && errThere != nil:
			c.Lost = append(c.Lost, name)
		case errHere == nil && errThere == nil:
			c.Doubled = append(c.Doubled, name)
		}
	}
	return c
}

// judge says what is wrong with the content of a file, if it is to be that of one moment, and its generation at the front.
func judge(kind string, data []byte, size int) (generation uint64, wrong string) {
	words := make([]uint64, len(data)/8)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(data[8*i:])
	}
	switch {
	case kind == grow:
		for i, word := range words {
			if word != uint64(i+1) {
				return 0, fmt.Sprintf("record %d holds %d", i+1, word)
			}
		}
		return uint64(len(words)), ""
	case kind == truncate && len(data) == 0:
		return 0, "" // between the emptying and the write: a state that it was in
	case len(data) != size:
		return 0, fmt.Sprintf("%d bytes instead of %d", len(data), size)
	}
	steps := 0
	for i := 1; i < len(words); i++ {
		if words[i] == words[i-1] {
			continue
		}
		// One step back by one generation is what a file looks like that is being written front to back.
		if steps++; steps > 1 || words[i] != words[i-1]-1 || kind != chunks && kind != mapped {
			return 0, fmt.Sprintf("generation %d, and %d from byte %d", words[0], words[i], 8*i)
		}
	}
	return words[0], ""
}
