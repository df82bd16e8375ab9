// Package model is the write protocol as a seeded state machine, small enough
// to run a million histories: a log of several partitions, one or two groups
// of workers, backfills, one index, and a network that loses, repeats and
// delays.
//
// What is modelled:
//   - producers that repeat, reorder and re-key events; deletes of chunks and
//     documents, with and without versions; events that nothing can apply;
//     records that kill every process that handles them;
//   - workers that die between any two steps, lose their session without
//     noticing and go on as zombies (working, polling, committing), let go of
//     partitions in order with or without draining, or end with a fatal error;
//   - requests that are refused, lost, applied though the caller saw a timeout,
//     applied by half, or applied long after, when their sender is gone; the
//     two halves of a delete (tombstone, then the vector) torn apart;
//   - commits and dead letters that are refused, or done with the answer lost;
//   - replays: a group is stopped, its offsets are set back, zombies go on;
//   - backfills that overlap the stream, die and begin again;
//   - the count of attempts that is committed before a batch is handed out,
//     the careful mode after a death, and quarantine after several.
//
// What is held, after every step: a stored version never falls; whatever lies
// below a committed offset stays covered by the index or in the dead letters
// of its group; no innocent record is put in quarantine unless the world
// itself killed its workers over and over. When all is read, and every delayed
// request has arrived: every partition was read to its end, and the index
// equals the fold of the log, texts and vectors.
//
// Assumed: the group's coordinator executes the commits of one member in
// order, and refuses those of a member that it has dismissed. Qdrant applies
// one point atomically.
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
	LetterUnawaited  Mutant = "an offset passes before its dead letter is acknowledged"

	// Deletes.
	NoWriterHalf    Mutant = "writers do not look for the document's tombstone"
	ScanBeforeTomb  Mutant = "a document's chunks are looked for before its tombstone is written"
	BareDeleteOnTop Mutant = "a versionless delete takes a version above every counter"
	VectorKept      Mutant = "a tombstone does not drop the vector of what it replaces"
	DropWhateverIs  Mutant = "vectors are dropped whether or not the tombstone passed the fence"
	HalfIsWhole     Mutant = "a delete that finds a tombstone takes its vector for dropped"

	// Quarantine.
	NoMarker      Mutant = "attempts are not kept where a restart finds them"
	MarkerStays   Mutant = "progress does not clear the attempts"
	MarkerKept    Mutant = "letting go in order leaves the attempt behind"
	NotAlone      Mutant = "a record under suspicion is handled together with those of other partitions"
	NotCleared    Mutant = "others follow a record under suspicion before it is cleared by a commit"
	NoSuspicion   Mutant = "after a death whole batches go on, and the head pays for its neighbours"
	WholeBatchOut Mutant = "quarantine takes the batch, not the record"
)

// Mutants lists all of them but None.
func Mutants() []Mutant {
	return []Mutant{
		NoFence, NoCollapse, HardDelete, LowerThanFilter, CheckThenWrite, OffsetAsVersion, CommitBeforeAck, SnapshotLate,
		UnboundedVersion, TimeoutIsSuccess, HighestWatermark, LetterUnawaited,
		NoWriterHalf, ScanBeforeTomb, BareDeleteOnTop, VectorKept, DropWhateverIs, HalfIsWhole,
		NoMarker, MarkerStays, MarkerKept, NotAlone, NotCleared, NoSuspicion, WholeBatchOut,
	}
}
