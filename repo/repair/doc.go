// Package repair mends a repository as far as it can be mended, and says what is lost.
//
// Each repair comes in two steps. A Plan function reads and writes nothing; it says what would be done. Run does it. So a user sees the
// plan first, and a plan that is empty says that all is well.
//
//   - [PlanIndex]: index objects say nothing that the packs don't say themselves. What is missing or wrong in them is written anew, from the
//     directories of the packs; damaged index objects go when nothing depends on them any more.
//   - [PlanPacks]: packs with damaged bytes. Parity gives them back their bytes where there is enough of it. Else the blobs that
//     are whole are stored again in new packs, and the damaged pack is put into the trash, from where a prune takes it.
//   - [PlanSnapshots]: snapshots that need what is not there any more. A new snapshot is stored beside each, with what can be had: lost files
//     as a neighbouring snapshot has them, or with zeros for the lost parts, or not at all; each is named in the new
//     snapshot's list of problems. The old one stays, unless the caller asks for its removal.
//   - [PlanTrash]: trash that can't be read keeps everybody from writing; it is removed when no prune can know any more what it said.
//
// # Invariants
//
// What is written is durable before anything is taken away that it stands for. Nothing is taken away that somebody could still use: not an
// index object that alone knows of a pack, not a pack that could not be read because of the storage rather than its bytes, not a pack
// of a session that is still under way. A repair can be killed at any moment, and run again: it then finds less to do. It never makes
// less restorable than was before (promise I7). Repairs run beside backups and prunes, as sessions like others; see docs/adr/0004-no-locks.md.
//
// # What it does not do
//
// It looks for damage only where it has to: [PlanIndex] and [PlanSnapshots] read no data, [PlanPacks] reads all packs or those that it is
// told. Run them in that order.
package repair
