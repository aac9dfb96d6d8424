package chunker_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tarn-backup/tarn/chunker"
)

// tiny makes many chunks of little input. The buffer of a stream is as large as one run of zeros all the same.
var tiny = chunker.Params{Min: 256, Avg: 1 << 10, Max: 4 << 10}

// stepReader returns at most step bytes at a time.
type stepReader struct {
	r    io.Reader
	step int
}

func (s stepReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.step)]) }

// TestStreamCutsAlike checks that a stream hands out what Cut finds in the whole input, at the edges, however it is read.
func TestStreamCutsAlike(t *testing.T) {
	all := random(1, 2*chunker.ZeroRunMin+9*tiny.Max)
	for _, alg := range algorithms {
		c := newChunker(t, alg, 4, tiny)
		s := chunker.NewStream(c, nil, nil)
		for _, n := range []int{
			0, 1, tiny.Min - 1, tiny.Min, tiny.Min + 1, tiny.Max - 1, tiny.Max, tiny.Max + 1,
			chunker.ZeroRunMin - 1, chunker.ZeroRunMin, chunker.ZeroRunMin + 1, len(all),
		} {
			for _, step := range []int{1, 7, tiny.Max, 1 << 30} {
				if step == 1 && n > 2*tiny.Max {
					continue
				}
				s.Reset(stepReader{bytes.NewReader(all[:n]), step})
				checkChunks(t, s, c, all[:n], fmt.Sprintf("%v: %d bytes in steps of %d", alg, n, step))
			}
			s.Reset(iotest.DataErrReader(bytes.NewReader(all[:n])))
			checkChunks(t, s, c, all[:n], fmt.Sprintf("%v: %d bytes, the last with EOF", alg, n))
		}
	}
}

func checkChunks(t *testing.T, s *chunker.Stream, c chunker.Chunker, want []byte, name string) {
	t.Helper()
	for _, n := range lengths(c, want) {
		chunk, err := s.Next()
		if err != nil || !bytes.Equal(chunk, want[:n]) {
			t.Fatalf("%s: chunk of %d bytes, %v; want %d bytes", name, len(chunk), err, n)
		}
		want = want[n:]
	}
	for range 2 {
		if chunk, err := s.Next(); len(chunk) > 0 || err != io.EOF {
			t.Fatalf("%s: %d bytes, %v behind the end", name, len(chunk), err)
		}
	}
}

// TestStreamBuffer checks that a large buffer is used, a small one is not, and that chunks can't be appended into the buffer.
func TestStreamBuffer(t *testing.T) {
	c := newChunker(t, chunker.Gear, 1, tiny)
	data := random(2, 3*tiny.Max)
	for _, size := range []int{0, 2*tiny.Max - 1, chunker.ZeroRunMin} {
		buf := make([]byte, size)
		s := chunker.NewStream(c, bytes.NewReader(data), buf)
		chunk, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if used := size > 0 && buf[0] == data[0]; used != (size == chunker.ZeroRunMin) {
			t.Errorf("buffer of %d bytes: used: %v", size, used)
		}
		if cap(chunk) != len(chunk) {
			t.Errorf("chunk of %d bytes has a capacity of %d", len(chunk), cap(chunk))
		}
	}
}

func TestStreamError(t *testing.T) {
	c := newChunker(t, chunker.Gear, 1, tiny)
	data := random(2, 20*tiny.Max)
	broken := errors.New("disk is gone")
	s := chunker.NewStream(c, io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)), nil)
	all := lengths(c, data)
	for _, n := range all[:len(all)-1] { // the last has no end
		if chunk, err := s.Next(); err != nil || len(chunk) != n {
			t.Fatalf("chunk of %d bytes, %v; want %d", len(chunk), err, n)
		}
	}
	for range 2 {
		if chunk, err := s.Next(); chunk != nil || err != broken {
			t.Fatalf("%d bytes, %v; want %v", len(chunk), err, broken)
		}
	}
	s.Reset(bytes.NewReader(data))
	checkChunks(t, s, c, data, "after Reset")

	s.Reset(stepReader{bytes.NewReader(data), 0})
	if _, err := s.Next(); err != io.ErrNoProgress {
		t.Fatalf("a reader that returns nothing: %v", err)
	}

	s.Reset(io.MultiReader(bytes.NewReader(make([]byte, 3*chunker.ZeroRunMin)), iotest.ErrReader(broken)))
	if n, err := s.Zeros(); n != 0 || err != broken {
		t.Fatalf("%d zeros without an end, %v; want %v", n, err, broken)
	}
}

// TestStreamZeros checks that runs of zeros at a boundary come out whole, to the byte, if they are long enough.
func TestStreamZeros(t *testing.T) {
	const least = chunker.ZeroRunMin
	data := random(3, 100)
	for _, alg := range algorithms {
		c := newChunker(t, alg, 1, tiny)
		s := chunker.NewStream(c, nil, nil)
		for _, run := range []int{0, 1, least - 1, least, least + 1, 2*least - 1, 2 * least, 5*least + 3} {
			for _, tail := range [][]byte{nil, data} {
				for _, step := range []int{4096, 1 << 30} {
					input := slices.Concat(make([]byte, run), tail)
					s.Reset(stepReader{bytes.NewReader(input), step})
					want := int64(run)
					if run < least {
						want = 0
					}
					if n, err := s.Zeros(); n != want || err != nil {
						t.Fatalf("%v: run of %d: %d, %v", alg, run, n, err)
					}
					if n, err := s.Zeros(); n != 0 || err != nil {
						t.Fatalf("%v: run of %d, a second time: %d, %v", alg, run, n, err)
					}
					checkChunks(t, s, c, input[want:], fmt.Sprintf("%v: behind a run of %d", alg, run))
				}
			}
		}
	}
}

// skipper passes over up to most zeros at once, if they end in its input.
type skipper struct {
	*bytes.Reader
	most int
	read int64
}

func (s *skipper) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.read += int64(n)
	return n, err
}

func (s *skipper) SkipZeros() (n int64) {
	for range s.most {
		if b, err := s.ReadByte(); err != nil || b != 0 {
			if err == nil {
				_ = s.UnreadByte() // what was just read
			}
			break
		}
		n++
	}
	return n
}

// TestZeroSkipper checks that the same comes of a stream whether its zeros are passed over or read.
func TestZeroSkipper(t *testing.T) {
	const least = chunker.ZeroRunMin
	c := newChunker(t, chunker.Gear, 1, tiny)
	for _, hole := range []int{0, 1, least - 1, least, 3*least + 1, 64 * least} {
		for _, tail := range [][]byte{nil, random(5, 5000)} {
			input := slices.Concat(make([]byte, hole), random(6, 5000), make([]byte, hole), tail)
			want := elements(t, chunker.NewStream(c, bytes.NewReader(input), nil))
			for _, most := range []int{0, 1, least, len(input)} {
				r := &skipper{Reader: bytes.NewReader(input), most: most}
				if got := elements(t, chunker.NewStream(c, r, nil)); !slices.Equal(got, want) {
					t.Errorf("holes of %d, passed over by %d: %v, want %v", hole, most, got, want)
				}
				if most == len(input) && r.read > 6*least {
					t.Errorf("holes of %d: %d bytes were read", hole, r.read)
				}
			}
		}
	}
}

// TestHole checks that a hole between data leaves no more than one window of zeros in the chunks.
func TestHole(t *testing.T) {
	data := random(4, 300<<10)
	const hole = 64 << 20
	for _, alg := range algorithms {
		input := bytes.NewReader(slices.Concat(data, make([]byte, hole), data))
		s := chunker.NewStream(newChunker(t, alg, 1, chunker.DataParams), input, nil)
		var sum, zeros int64
		for _, e := range elements(t, s) {
			sum += e.length
			if e.zero {
				zeros += e.length
			}
		}
		if want := int64(2*len(data) + hole); sum != want {
			t.Errorf("%v: elements of %d bytes, want %d", alg, sum, want)
		}
		if zeros < hole-chunker.Window {
			t.Errorf("%v: %d zeros taken out of %d", alg, zeros, hole)
		}
	}
}

func TestZeroPrefix(t *testing.T) {
	for n := range 300 {
		p := make([]byte, n)
		if got := chunker.ZeroPrefix(p); got != n {
			t.Fatalf("%d zeros: %d", n, got)
		}
		for i := range p {
			for _, b := range []byte{1, 0x80} {
				p[i] = b
				if got := chunker.ZeroPrefix(p); got != i {
					t.Fatalf("%d bytes, the first of %#x at %d: %d", n, b, i, got)
				}
			}
			p[i] = 0
			if i > 0 {
				p[n-1] = 0
			}
		}
	}
}

func BenchmarkZeroPrefix(b *testing.B) {
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if chunker.ZeroPrefix(p) != len(p) {
			b.Fatal("not all zeros")
		}
	}
}

func BenchmarkStream(b *testing.B) {
	data := random(1, 64<<20)
	s := chunker.NewStream(newChunker(b, chunker.Gear, 1, chunker.DataParams), nil, nil)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s.Reset(bytes.NewReader(data))
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}
}

// A backup takes zeros out first, and then a chunk, at each boundary.
func ExampleStream() {
	key := [32]byte{1} // secret, of the repository
	c, err := chunker.New(chunker.Gear, &key, chunker.DataParams)
	if err != nil {
		fmt.Println(err)
		return
	}
	file := io.MultiReader(bytes.NewReader(make([]byte, 16<<20)), strings.NewReader("data behind a hole"))
	s := chunker.NewStream(c, file, nil)
	for {
		zeros, err := s.Zeros()
		if err != nil {
			fmt.Println(err)
			return
		}
		if zeros > 0 {
			fmt.Println("zeros", zeros)
		}
		chunk, err := s.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("chunk %q\n", chunk)
	}
	// Output:
	// zeros 16777216
	// chunk "data behind a hole"
}

func ExampleChunker() {
	c, err := chunker.New(chunker.Gear, &[32]byte{1}, chunker.MetaParams)
	if err != nil {
		fmt.Println(err)
		return
	}
	stream := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	for len(stream) > 0 {
		n := c.Cut(stream)
		fmt.Println(n)
		stream = stream[n:]
	}
	// Output:
	// 262144
	// 262144
	// 131072
}
