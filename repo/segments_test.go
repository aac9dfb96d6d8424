package repo

import "testing"

// TestDropSegments: what was dropped is fetched anew, and takes no room any more.
func TestDropSegments(t *testing.T) {
	r := &Repo{cache: newSegmentCache(100)}
	fetched := 0
	get := func(number uint16) {
		t.Helper()
		plain, err := r.cache.get(t.Context(), segmentKey{number: number}, func() ([]byte, error) {
			fetched++
			return make([]byte, 40), nil
		})
		if err != nil || len(plain) != 40 {
			t.Fatalf("%d bytes, %v", len(plain), err)
		}
	}
	for range 2 {
		get(1)
		get(2)
	}
	if fetched != 2 || r.cache.size != 80 {
		t.Fatalf("fetched %d times, %d bytes are kept", fetched, r.cache.size)
	}
	r.DropSegments()
	if r.cache.size != 0 || r.cache.order.Len() != 0 {
		t.Errorf("%d bytes are kept", r.cache.size)
	}
	get(2)
	get(1)
	if fetched != 4 || r.cache.size != 80 {
		t.Errorf("fetched %d times, %d bytes are kept", fetched, r.cache.size)
	}
}
