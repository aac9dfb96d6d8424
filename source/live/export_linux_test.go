package live

// Leased reports whether the file has a lease that nobody on this side has let go of.
func (f *File) Leased() bool { return f.lease != nil && f.c.leases.standing(f.lease) }
