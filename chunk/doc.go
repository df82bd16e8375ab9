// Package chunk is the vocabulary of Chunktide: the values that every other
// package speaks in, and the decoding of every event format into them.
//
// A corpus is a set of documents; a document is a list of chunks; a chunk is
// the unit that is encoded and searched. A producer says what happened to a
// chunk in one Kafka [Record]; a [Decoder] turns the record into [Event]
// values; the pipeline turns events into [Point] values; the sink stores them.
//
// The package imports the standard library only, and nothing in it does I/O.
// All values are plain data: safe to copy, not safe to mutate from several
// goroutines.
//
// # Identity, version and ties
//
// A chunk is named by (source, document_id, chunk_id); [NewID] derives its
// point id. The states of one chunk are totally ordered by [Version]: the
// index keeps the highest it has ever been told, whatever the order of
// arrival. Of two different events with one version the first to arrive
// stays.
//
// A delete that carries a version is ordered like any other event. A delete
// that carries none (a Kafka tombstone, or a versionless native delete)
// means "what precedes me": see [Event.Versionless].
//
// Deleting a document at version v deletes exactly those of its chunks whose
// version is below v, now or when they arrive late, so that a producer may
// delete a document and write its new chunks under the same version.
package chunk
