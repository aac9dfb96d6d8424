package locks

// ReadLabel reads the beginning of an envelope: the name and the generation of its object, and where that begins.
func ReadLabel(head []byte) (name string, generation uint32, begin int64, err error) {
	l, err := readLabel(head)
	return l.name, l.generation, l.size(), err
}
