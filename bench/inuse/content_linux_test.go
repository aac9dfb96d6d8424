package inuse_test

import (
	"slices"
	"testing"

	"github.com/tarn-backup/tarn/bench/inuse"
)

func TestJudge(t *testing.T) {
	const size = 4096
	one, two, three := inuse.Content(7, 1, size), inuse.Content(7, 2, size), inuse.Content(7, 3, size)
	swapped := slices.Concat(one[8:16], one[:8], one[16:])
	for name, k := range map[string]struct {
		data []byte
		want inuse.Verdict
	}{
		"one save":            {two, inuse.Whole},
		"new, then old":       {slices.Concat(two[:512], one[512:]), inuse.Midway},
		"new and short":       {two[:512], inuse.Midway},
		"old, then new":       {slices.Concat(one[:512], two[512:]), inuse.Torn},
		"a save left out":     {slices.Concat(three[:512], one[512:]), inuse.Torn},
		"three saves":         {slices.Concat(three[:512], two[512:1024], one[1024:]), inuse.Torn},
		"new, old and short":  {slices.Concat(two[:512], one[512:1024]), inuse.Torn},
		"nothing":             {nil, inuse.Empty},
		"too long":            {slices.Concat(one, one), inuse.Torn},
		"another file":        {inuse.Content(8, 1, size), inuse.Torn},
		"zeros":               {make([]byte, size), inuse.Torn},
		"in the wrong places": {swapped, inuse.Torn},
		"half a word":         {one[:9], inuse.Torn},
	} {
		if v, _, why := inuse.Judge(7, k.data, size); v != k.want {
			t.Errorf("%s is called %v (%s), want %v", name, v, why, k.want)
		}
	}
	log := slices.Concat(inuse.Record(9, 1), inuse.Record(9, 2))
	for name, k := range map[string]struct {
		data []byte
		want inuse.Verdict
	}{
		"two records":  {log, inuse.Whole},
		"one":          {log[:4096], inuse.Whole},
		"none":         {nil, inuse.Empty},
		"one and half": {log[:5000], inuse.Torn},
		"a gap":        {log[4096:], inuse.Torn},
	} {
		if v, _, why := inuse.JudgeLog(9, k.data); v != k.want {
			t.Errorf("a log with %s is called %v (%s), want %v", name, v, why, k.want)
		}
	}
}
