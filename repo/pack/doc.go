// Package pack writes and reads one pack: a sealed object whose segments hold blobs.
//
// Most blobs are small and alike, so many of them are joined to one segment, of 2 to 4 MiB for data, which is compressed and sealed as one;
// small files then compress like large ones, and no blob's length shows. A segment is read whole. It starts with a byte that
// says how the rest is compressed. The pack's directory names every blob, so that an index can be made of packs alone.
//
// A [Compressor] and a [Prover] serve one goroutine each, a [Decompressor] as many as it was made for. A [Writer] makes one pack in memory; its
// owner keeps it to one goroutine at a time. After sealing, the owner has the segment proven with [Prover.Prove]: the sealed bytes, opened and
// decompressed again, are what was saved. Bad memory and compressor bugs have cost others their data.
//
// What it does not do: it decides nothing about what goes where, keeps no index and does no I/O; package repo does.
package pack
