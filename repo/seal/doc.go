// Package seal turns plaintext to sealed bytes and back, and holds the keys.
//
// # Keys
//
// A repository has one master key of 32 random bytes per epoch. All other keys are derived from it with BLAKE3's derive_key, one
// for each purpose: one per kind of object, one per kind of blob for its IDs, one for the chunker, one for salts. Nothing else
// in tarn sees the master key but the slots under keys/, where it is wrapped by a key made of a password with Argon2id.
//
// # Objects
//
// Everything sealed has one shape: a clear header, segments, a directory, padding, a footer.
//
//	header     80 bytes   magic, version, kind, epoch, salt, commitment
//	segments              each sealed by itself, back to back
//	directory             sealed; says what the segments hold
//	padding               sealed zeros, up to a Padmé length
//	footer     64 bytes   sealed; where the directory is
//
// Each object has a key of its own, made of the kind's key and the object's salt. The salt is a keyed hash of 32 random bytes and
// of the first segment, so that neither a cloned machine (equal randomness) nor a retry (equal first segment) repeats a key with
// other bytes. AES-256-GCM does not commit to its key; so a commitment stands in the header and is compared before anything
// is opened. A segment's number is its nonce: no number is sealed twice in one object, since a [Sealer] counts them itself.
//
// What it does not do: it knows no blobs, compresses nothing, and does no I/O. A [Sealer] serves one goroutine; [Keys] and [Opener]
// serve any number.
package seal
