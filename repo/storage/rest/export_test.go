package rest

import "io"

// DecodeList reads a list of objects, and returns how many there are.
func DecodeList(r io.Reader) (int, error) {
	list, err := decodeList(r)
	return len(list), err
}
