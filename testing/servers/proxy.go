package servers

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// Far is a proxy that makes a server as far away as a round trip of rtt. Bandwidth is not bounded.
type Far struct {
	Addr string
	rtt  time.Duration
	to   string

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

// StartFar starts a proxy in front of addr.
func StartFar(t TB, addr string, rtt time.Duration) *Far {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Far{Addr: l.Addr().String(), rtt: rtt, to: addr, conns: map[net.Conn]bool{}}
	f.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.all.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.Cut()
		f.all.Wait()
	})
	return f
}

// Cut cuts all connections, and returns how many there were.
func (f *Far) Cut() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.conns)
	for c := range f.conns {
		c.(*net.TCPConn).SetLinger(0) // at once, with what is under way
		c.Close()
	}
	return n
}

func (f *Far) serve(client net.Conn) {
	time.Sleep(f.rtt) // the handshake
	server, err := net.Dial("tcp", f.to)
	if err != nil {
		client.Close()
		return
	}
	f.mu.Lock()
	f.conns[client], f.conns[server] = true, true
	f.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { carry(server, client, f.rtt/2) })
	both.Go(func() { carry(client, server, f.rtt/2) })
	both.Wait()
	f.mu.Lock()
	delete(f.conns, client)
	delete(f.conns, server)
	f.mu.Unlock()
	client.Close()
	server.Close()
}

// piece is some bytes, and when they arrive.
type piece struct {
	data []byte
	at   time.Time
}

// carry carries bytes from one connection to another, each delay later than it came.
func carry(to, from net.Conn, delay time.Duration) {
	pieces := make(chan piece, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range pieces {
			time.Sleep(time.Until(p.at))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
				for range pieces {
				}
				return
			}
		}
		to.(*net.TCPConn).CloseWrite()
	}()
	for {
		p := make([]byte, 64<<10)
		n, err := from.Read(p)
		if n > 0 {
			pieces <- piece{p[:n], time.Now().Add(delay)}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	<-done
}

// Faults say what goes wrong with requests, each with a probability.
type Faults struct {
	Seed        uint64
	Unavailable float64 // 503, and the server sees nothing of it
	Cut         float64 // the connection is cut in the middle of the request's body, or of the answer's
	Lost        float64 // the server does what it was asked to, and the answer is lost
	RowMax      int     // requests that are spoilt one after the other; 0 is any number. Who has never got an answer soon gives up
}

// Bad is a proxy for HTTP that counts requests, and spoils some.
type Bad struct {
	Addr string

	mu       sync.Mutex // guards what follows
	random   *rand.Rand
	faults   Faults
	requests map[string]int // by method
	spoilt   int
	row      int // spoilt since the last one that was served
	hook     func(n int)
}

// StartBad starts a proxy in front of an HTTP server at addr.
func StartBad(t TB, addr string, f Faults) *Bad {
	t.Helper()
	b := &Bad{faults: f, random: rand.New(rand.NewPCG(f.Seed, 1)), requests: map[string]int{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addr})
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { panic(http.ErrAbortHandler) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.serve(proxy, w, r) }))
	s.Config.ErrorLog = nil
	b.Addr = s.Listener.Addr().String()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		transport.CloseIdleConnections()
	})
	return b
}

// Set changes what goes wrong from now on, and counts from the beginning.
func (b *Bad) Set(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults, b.requests, b.spoilt, b.row = f, map[string]int{}, 0, 0
	b.random = rand.New(rand.NewPCG(f.Seed, 1))
}

// At calls hook with the number of each request before it is served.
func (b *Bad) At(hook func(n int)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook = hook
}

// Requests is how many came, by method and in all, and how many of them were spoilt.
func (b *Bad) Requests() (byMethod map[string]int, all, spoilt int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	byMethod = map[string]int{}
	for method, n := range b.requests {
		byMethod[method] = n
		all += n
	}
	return byMethod, all, b.spoilt
}

// fate is what becomes of a request.
type fate uint8

const (
	served fate = iota
	unavailable
	cutRequest
	cutAnswer
	lost
)

func (b *Bad) fate(r *http.Request) fate {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests[r.Method]++
	if b.hook != nil {
		n := 0
		for _, k := range b.requests {
			n += k
		}
		b.hook(n)
	}
	x := b.random.Float64()
	is := served
	switch f := b.faults; {
	case x < f.Unavailable:
		is = unavailable
	case x < f.Unavailable+f.Cut/2:
		is = cutRequest
	case x < f.Unavailable+f.Cut:
		is = cutAnswer
	case x < f.Unavailable+f.Cut+f.Lost:
		is = lost
	}
	if b.faults.RowMax > 0 && b.row >= b.faults.RowMax {
		is = served
	}
	if is == served {
		b.row = 0
	} else {
		b.row++
		b.spoilt++
	}
	return is
}

func (b *Bad) serve(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	switch b.fate(r) {
	case unavailable:
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	case cutRequest:
		io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		panic(http.ErrAbortHandler)
	case cutAnswer:
		proxy.ServeHTTP(&shortWriter{ResponseWriter: w}, r)
	case lost:
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		proxy.ServeHTTP(w, r)
	}
}

// shortWriter cuts the connection after half of an answer.
type shortWriter struct {
	http.ResponseWriter
}

func (s *shortWriter) Write(p []byte) (int, error) {
	s.ResponseWriter.Write(p[:len(p)/2])
	s.Flush()
	panic(http.ErrAbortHandler)
}

func (s *shortWriter) Flush() { s.ResponseWriter.(http.Flusher).Flush() }
