// Package model is the write protocol as a seeded state machine, small enough
// to run a million histories: a log of several partitions, two groups of
// workers, one index, and a network that loses, repeats and delays.
//
// What is modelled: producers that repeat, reorder and re-key events; deletes
// of chunks and documents, with and without versions; snapshot rows read
// before they are written; poisonous events; workers that crash between any
// two steps, or lose their partitions without noticing; requests that fail,
// that are applied though the caller saw a timeout, that are applied long
// after, or by half.
//
// What is held: a stored version never falls; every record below a committed
// offset is covered by the index or in the dead letters; when all is read, and
// every delayed request has arrived, the index equals the fold of the log.
//
// Each [Mutant] takes one rule out of the protocol. A test asserts that each
// is caught: a rule whose absence nobody notices is not a rule.
package model

// Mutant is a protocol with one rule broken.
type Mutant string

// The mutants; the empty one is the protocol itself.
const (
	None             Mutant = ""
	NoFence          Mutant = "plain upsert and delete, without the version fence"
	NoCollapse       Mutant = "two versions of one chunk in one request"
	HardDelete       Mutant = "deletes remove the point instead of leaving a tombstone"
	LowerThanFilter  Mutant = "the fence asks for a lower version instead of denying an equal or higher one"
	CheckThenWrite   Mutant = "the client compares versions, then writes without a condition"
	OffsetAsVersion  Mutant = "the offset is the version, though producers change partitions"
	CommitBeforeAck  Mutant = "offsets are committed when records are read"
	SnapshotLate     Mutant = "a snapshot row gets its version when it is written, not before it is read"
	UnboundedVersion Mutant = "versions of 2^53 and more are taken"
	TimeoutIsSuccess Mutant = "a request that timed out counts as done"
	HighestWatermark Mutant = "the highest acknowledged offset is committed, not the end of the contiguous ones"
	NoWriterHalf     Mutant = "writers do not look for the document's tombstone"
	ScanBeforeTomb   Mutant = "a document's chunks are looked for before its tombstone is written"
	BareDeleteOnTop  Mutant = "a versionless delete takes a version above every counter"
)

// Mutants lists all of them but None.
func Mutants() []Mutant {
	return []Mutant{
		NoFence, NoCollapse, HardDelete, LowerThanFilter, CheckThenWrite, OffsetAsVersion, CommitBeforeAck, SnapshotLate,
		UnboundedVersion, TimeoutIsSuccess, HighestWatermark, NoWriterHalf, ScanBeforeTomb, BareDeleteOnTop,
	}
}
