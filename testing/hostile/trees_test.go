package hostile_test

import (
	"fmt"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// treeCase is a repository whose trees are hostile. want is part of the error; a case without one restores.
type treeCase struct {
	make func(m *maker) *snapshot.Node // the root
	want string
}

func file(name string) snapshot.Node {
	return snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644}
}

func link(name, target string) snapshot.Node {
	return snapshot.Node{Name: name, Type: snapshot.Symlink, Target: target}
}

// named is a root with one entry of a name.
func named(name string) func(m *maker) *snapshot.Node {
	return func(m *maker) *snapshot.Node { return m.dir("", file(name)) }
}

// content is a root with one file of a size and a content.
func content(size uint64, depth uint8, elements func(m *maker) []snapshot.Element) func(m *maker) *snapshot.Node {
	return func(m *maker) *snapshot.Node {
		n := file("f")
		n.Size, n.Content = size, snapshot.Content{Depth: depth, Elements: elements(m)}
		return m.dir("", n)
	}
}

// inFolder is a root with one folder whose content is anything.
func inFolder(depth uint8, element func(m *maker) snapshot.Element) func(m *maker) *snapshot.Node {
	return func(m *maker) *snapshot.Node {
		n := snapshot.Node{Name: "d", Type: snapshot.Dir, Mode: 0o755}
		n.Content = snapshot.Content{Depth: depth, Elements: []snapshot.Element{element(m)}}
		return m.dir("", n)
	}
}

func treeCases() map[string]treeCase {
	one := snapshot.LinkKey{1}
	linked := func(n snapshot.Node) snapshot.Node { n.Link = one; return n }
	return map[string]treeCase{
		"the folder above":   {named(".."), `".."`},
		"the folder itself":  {named("."), `"."`},
		"no name":            {named(""), ""},
		"absolute":           {named("/outside"), "name"},
		"two parts":          {named("a/b"), "name"},
		"climbing":           {named("../outside"), "name"},
		"NUL":                {named("a\x00b"), "name"},
		"name of 4096 bytes": {named(strings.Repeat("n", 4096)), "nnn"},
		"name of 5000 bytes": {named(strings.Repeat("n", 5000)), "name of 5000 bytes"},
		"not in order":       {func(m *maker) *snapshot.Node { return m.dir("", file("b"), file("a")) }, "comes after"},
		"twice":              {func(m *maker) *snapshot.Node { return m.dir("", file("a"), file("a")) }, "comes after"},
		"link, then folder of its name": {func(m *maker) *snapshot.Node {
			return m.dir("", link("a", "../.."), *m.dir("a", file("outside")))
		}, "comes after"},
		"link out, file written through it": {func(m *maker) *snapshot.Node {
			return m.dir("", link("a", "../../outside"), file("a/x"))
		}, "name"},
		"link that is linked with a file": {func(m *maker) *snapshot.Node {
			return m.dir("", linked(link("a", "../outside/secret")), linked(m.file("b", "overwritten")))
		}, "?"},
		"file that is linked with a folder": {func(m *maker) *snapshot.Node {
			d := *m.dir("a", file("x"))
			return m.dir("", linked(d), linked(m.file("b", "words")))
		}, "?"},
		"links of different contents": {func(m *maker) *snapshot.Node {
			return m.dir("", linked(m.file("a", "one")), linked(m.file("b", "two and more")))
		}, "?"},
		"link without a target":        {func(m *maker) *snapshot.Node { return m.dir("", link("a", "")) }, "bad symlink target"},
		"link to 100,000 bytes":        {func(m *maker) *snapshot.Node { return m.dir("", link("a", strings.Repeat("t/", 50_000))) }, "bad symlink target"},
		"link with NUL":                {func(m *maker) *snapshot.Node { return m.dir("", link("a", "b\x00c")) }, "bad symlink target"},
		"escape codes":                 {named("\x1b]0;title\x07\x1b[2J"), ""},
		"size without content":         {content(10, 0, func(*maker) []snapshot.Element { return nil }), "size is 10"},
		"sizes that pass 2^64":         {content(8, 0, func(*maker) []snapshot.Element { return zeros(1<<62, 1<<62, 1<<62, 1<<62, 8) }), "size is 8"},
		"a file of 2^62 zeros":         {hole, "too large"},
		"a chunk that is longer":       {content(20, 0, func(m *maker) []snapshot.Element { return m.chunk("short", 20) }), "5 bytes"},
		"a chunk that is shorter":      {content(2, 0, func(m *maker) []snapshot.Element { return m.chunk("short", 2) }), "5 bytes"},
		"a chunk that is nowhere":      {content(5, 0, func(*maker) []snapshot.Element { return missing(5) }), "not in the repository"},
		"a list that is nowhere":       {content(5, 1, func(*maker) []snapshot.Element { return missing(5) }), "not in the repository"},
		"lists upon lists":             {bushy(snapshot.File), "follows another one"},
		"a list with a wrong sum":      {content(7, 1, func(m *maker) []snapshot.Element { return m.list(7, m.chunk("short", 5)...) }), "content list"},
		"a list of rubbish":            {content(7, 1, func(m *maker) []snapshot.Element { return m.raw("rubbish", 7) }), "content list"},
		"data as a tree":               {inFolder(0, func(m *maker) snapshot.Element { return m.chunk("\x03\x01\x01a", 4)[0] }), "the bytes are others"},
		"a folder of zeros":            {inFolder(0, func(*maker) snapshot.Element { return zeros(100)[0] }), "content list"},
		"a folder of rubbish":          {inFolder(0, func(m *maker) snapshot.Element { return m.raw("\xff\xff\xff\xff\xff", 5)[0] }), "bad record length"},
		"a folder of endless lists":    {bushy(snapshot.Dir), "comes after"},
		"a node that says it has 2^40": {inFolder(0, func(m *maker) snapshot.Element { return m.raw("\x80\x80\x80\x80\x80\x20x", 7)[0] }), "bad record length"},
		"a field from the future":      {inFolder(0, func(m *maker) snapshot.Element { return m.raw("\x03\x65\x01x", 4)[0] }), "newer version"},
		"depth of 200":                 {inFolder(0, func(m *maker) snapshot.Element { return m.raw("\x06\x03\x01\x02\x1f\x01\x7f", 7)[0] }), "limit is 6"},
		"folders 20,000 deep":          {deep(20_000), "deep"},
		"an attribute that is nowhere": {xattrs(snapshot.Xattr{Name: "user.a", Ref: blob.ID{9}}), "?"},
		"attributes without names":     {xattrs(snapshot.Xattr{Name: "", Value: "x"}), "?"},
		"an attribute of 8 MiB":        {func(m *maker) *snapshot.Node { return xattrs(m.bigXattr())(m) }, "?"},
		"an attribute with NUL":        {xattrs(snapshot.Xattr{Name: "user.a\x00b", Value: "x"}), "?"},
		"70,000 attributes":            {xattrs(many(70_000)...), "bad extended attribute"},
		"a device with the wrong content": {func(m *maker) *snapshot.Node {
			n := m.file("dev", "x")
			n.Type = snapshot.CharDevice
			return m.dir("", n)
		}, "?"},
		"a folder with two contents":       {func(m *maker) *snapshot.Node { return twoContents(m) }, "2 content elements"},
		"a folder that is a file's chunks": {inFolder(1, func(m *maker) snapshot.Element { return m.list(5, m.chunk("short", 5)...)[0] }), "the bytes are others"},
	}
}

func zeros(lengths ...uint64) (list []snapshot.Element) {
	for _, n := range lengths {
		list = append(list, snapshot.Element{Length: n})
	}
	return list
}

func missing(length uint64) []snapshot.Element {
	return []snapshot.Element{{ID: blob.ID{1, 2, 3}, Length: length}}
}

// hole is a file that is one hole.
func hole(m *maker) *snapshot.Node {
	n := file("f")
	n.Sparse, n.Size, n.Content.Elements = true, 1<<62, zeros(1<<62)
	return m.dir("", n)
}

// bushy is six levels of lists, each of 30 times the one below: 729 million elements in a few kilobytes.
func bushy(t snapshot.Type) func(m *maker) *snapshot.Node {
	return func(m *maker) *snapshot.Node {
		n := snapshot.Node{Name: "n", Type: t, Mode: 0o755}
		e := zeros(1)[0]
		if t == snapshot.Dir {
			e = m.raw(string(snapshot.AppendNode(nil, &snapshot.Node{Name: "x", Type: snapshot.FIFO})), 0)[0]
		}
		for range snapshot.DepthMax {
			var below []snapshot.Element
			for range 30 {
				below = append(below, e)
			}
			e = m.list(30*e.Length, below...)[0]
		}
		n.Content = snapshot.Content{Depth: snapshot.DepthMax, Elements: []snapshot.Element{e}}
		if t == snapshot.File {
			n.Size = e.Length
		}
		return m.dir("", n)
	}
}

func deep(levels int) func(m *maker) *snapshot.Node {
	return func(m *maker) *snapshot.Node {
		n := m.dir("d")
		for range levels {
			n = m.dir("d", *n)
		}
		return m.dir("", *n)
	}
}

func xattrs(list ...snapshot.Xattr) func(m *maker) *snapshot.Node {
	return func(m *maker) *snapshot.Node {
		n := m.file("f", "words")
		n.Xattrs = list
		return m.dir("", n)
	}
}

func many(n int) (list []snapshot.Xattr) {
	for i := range n {
		list = append(list, snapshot.Xattr{Name: fmt.Sprintf("%05d", i), Value: "x"})
	}
	return list
}

func twoContents(m *maker) *snapshot.Node {
	d := m.dir("d", file("x"))
	d.Content.Elements = append(d.Content.Elements, d.Content.Elements[0])
	return m.dir("", *d)
}
