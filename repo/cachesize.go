package repo

// SetCacheSize says how many bytes of decoded segments are kept from now on. One segment is kept however small that is.
func (r *Repo) SetCacheSize(bytes int64) {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	r.cache.max = int(bytes)
}
