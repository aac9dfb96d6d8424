package index

// SealGeneration puts checksums and a footer after the sections of a cache file, whatever they are.
func SealGeneration(sections []byte, repo [16]byte, packs, segments, rows, slots, fingerprints uint64) []byte {
	s := &summer{w: discard{}}
	s.Write(sections)
	sums := s.sums()
	file := append(sections[:len(sections):len(sections)], sums...)
	c := &counts{packs: packs, segments: segments, rows: rows, slots: slots, fingerprints: fingerprints}
	return appendFooter(file, repo, c, sums)
}

// ParseGeneration makes an Index of all packs of a cache file.
func ParseGeneration(file []byte, repo [16]byte) (*Index, error) {
	g, err := parseGeneration(file, repo)
	if err != nil {
		return nil, err
	}
	b := newBase(g)
	for n := range b.live {
		b.addNumber(n)
	}
	return &Index{bases: []*base{b}}, nil
}

// The codec of the list of index objects.
var (
	AppendObjects = appendObjects
	ParseObjects  = parseObjects
)

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
