package seal

// NewSealerFrom is NewSealer with given randomness.
func (k *Keys) NewSealerFrom(kind Kind, buf, first []byte, random [32]byte) *Sealer {
	return k.newSealer(kind, buf, first, random)
}
