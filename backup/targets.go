package backup

import (
	"fmt"
	"path"
	"sort"
	"strings"
)

// target is a place in the tree of what is to be backed up: a path that was asked for, or a folder above one.
type target struct {
	name   string
	asked  bool // all below it is wanted
	number int  // of the path that was asked for, in the order of the options
	below  []*target
}

// newTargets arranges absolute paths as a tree from "/". Paths below others are dropped, since those bring them along.
func newTargets(paths []string) (*target, error) {
	root := &target{name: "/"}
	for i, p := range paths {
		if !path.IsAbs(p) || strings.ContainsRune(p, 0) {
			return nil, fmt.Errorf("path %q is not absolute", p)
		}
		at := root
		for name := range strings.SplitSeq(path.Clean(p), "/") {
			if name == "" {
				continue
			}
			if at.asked {
				break
			}
			at = at.child(name)
		}
		if !at.asked {
			at.asked, at.number, at.below = true, i, nil
		}
	}
	return root, nil
}

func (t *target) child(name string) *target {
	i := sort.Search(len(t.below), func(i int) bool { return t.below[i].name >= name })
	if i < len(t.below) && t.below[i].name == name {
		return t.below[i]
	}
	c := &target{name: name}
	t.below = append(t.below, nil)
	copy(t.below[i+1:], t.below[i:])
	t.below[i] = c
	return c
}
