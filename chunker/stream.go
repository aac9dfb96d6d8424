package chunker

import "io"

// idleMax is how many times in a row a reader may return nothing.
const idleMax = 100

// A ZeroSkipper is a reader that can pass over zero bytes which it knows of, those of a hole in a file, faster than it reads them.
type ZeroSkipper interface {
	io.Reader
	// SkipZeros passes over the zero bytes that come next, and returns how many. After 0 they have to be read, if any come.
	SkipZeros() int64
}

// Stream cuts what a reader returns. It keeps one buffer, from which it hands out chunks without a copy, and belongs to
// one goroutine.
type Stream struct {
	c       Chunker
	r       io.Reader
	skipper ZeroSkipper // r, if it is one
	maximum int
	buf     []byte
	lo, hi  int   // buf[lo:hi] was read and not yet handed out; a boundary is at lo
	err     error // of the reader, once it ended
}

// NewStream returns a stream of what is left of r, which may be nil until Reset. It uses buf, if that holds at least
// twice the Max of c and ZeroRunMin bytes, or else a buffer of its own.
func NewStream(c Chunker, r io.Reader, buf []byte) *Stream {
	s := &Stream{c: c, maximum: c.Params().Max, buf: buf}
	if least := max(2*s.maximum, ZeroRunMin); len(buf) < least {
		s.buf = make([]byte, least)
	}
	s.Reset(r)
	return s
}

// Reset begins with another reader, with the same chunker and buffer.
func (s *Stream) Reset(r io.Reader) {
	s.r, s.lo, s.hi, s.err = r, 0, 0, nil
	s.skipper, _ = r.(ZeroSkipper)
}

// Next returns the next chunk, which is valid until the next call of a method, or io.EOF behind the last. If the reader
// fails, the chunks that were read whole come first, and then its error; what is left over is no chunk, since nobody
// knows its end.
func (s *Stream) Next() ([]byte, error) {
	n := s.c.Cut(s.buf[s.lo:s.hi])
	if s.cutShort(n) && s.err == nil {
		s.fill()
		n = s.c.Cut(s.buf[s.lo:s.hi])
	}
	if s.cutShort(n) && s.err != io.EOF {
		return nil, s.err
	}
	if n == 0 {
		return nil, io.EOF
	}
	s.lo += n
	return s.buf[s.lo-n : s.lo : s.lo], nil
}

// Zeros takes the run of zero bytes at the present boundary out of the stream, to its very end, and returns its length.
// It is 0 if the run is shorter than ZeroRunMin, and then it stays there for Next. A run of any length takes no more
// than the buffer.
func (s *Stream) Zeros() (int64, error) {
	z := ZeroPrefix(s.buf[s.lo:s.hi])
	if z < ZeroRunMin && z == s.hi-s.lo && s.err == nil {
		s.fill()
		z = ZeroPrefix(s.buf[s.lo:s.hi])
	}
	if z < ZeroRunMin {
		return 0, nil // an error of the reader is for Next to tell
	}
	var run int64
	for {
		run += int64(z)
		s.lo += z
		if s.lo < s.hi || s.err == io.EOF {
			return run, nil
		}
		if s.err != nil {
			return 0, s.err
		}
		if s.skipper != nil {
			run += s.skipper.SkipZeros()
		}
		s.fill()
		z = ZeroPrefix(s.buf[s.lo:s.hi])
	}
}

// cutShort reports whether a chunk of n bytes may end only because no more was read yet.
func (s *Stream) cutShort(n int) bool { return n == s.hi-s.lo && n < s.maximum }

// fill moves what is left to the front of the buffer and reads until that is full or the reader ends. What was left is
// cut a second time then: it is the beginning of one chunk, once per buffer, where waiting for Max bytes would move
// some megabytes more.
func (s *Stream) fill() {
	s.hi = copy(s.buf, s.buf[s.lo:s.hi])
	s.lo = 0
	for idle := 0; s.err == nil && s.hi < len(s.buf); idle++ {
		n, err := s.r.Read(s.buf[s.hi:])
		s.hi, s.err = s.hi+n, err
		if n > 0 {
			idle = 0
		} else if idle == idleMax && err == nil {
			s.err = io.ErrNoProgress
		}
	}
}
