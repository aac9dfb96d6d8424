package chunker

// Portable returns c without vector code. It is c itself if there is none.
func Portable(c Chunker) Chunker {
	g, ok := c.(*gear)
	if !ok || g.advance == nil {
		return c
	}
	portable := *g
	portable.advance = nil
	return &portable
}
