// Package pipeline is the assembly line from a change event to a searchable
// vector. It owns the order of things, and nothing else: where events come
// from, how text becomes a vector, and where points lie are behind the four
// interfaces below.
//
//	Source.Next → embed (collapse → Cache.Get → Sink.Read → Encoder.Encode → Cache.Put) → Sink.Apply → Batch.Ack
//
// Three stages (poll, embed, apply) are joined by unbuffered channels: first
// in, first out. Batches reach the index one after the other in the order of
// the log, so that the order of one chunk's events and the order of commits
// come for free. Two batches are embedded at once, so that the encoder never
// waits for a batch to end; neither encodes a text that the other is at. At
// most four batches are in flight ([chunk.MaxInFlight]).
//
// What it guarantees: a batch is acknowledged only when each of its events is
// durable in the index, or was found to be older than what the index holds,
// or is durable in the dead letters. When [Pipeline.Run] returns an error
// nothing after the last acknowledgement counts as done, and running the same
// events again leads to the same index.
package pipeline

import (
	"context"

	"chunktide/chunk"
)

// Source hands out micro-batches in log order.
type Source interface {
	// Next blocks until there is a batch. It returns ctx's error when ctx
	// ends, and io.EOF when a finite source is exhausted; any other error is
	// fatal. Next is called from one goroutine.
	Next(ctx context.Context) (chunk.Batch, error)
}

// Encoder turns texts into vectors.
type Encoder interface {
	// Encode returns one embedding for each text, in order, always
	// len(texts) of them on a nil error or a *[chunk.Rejected]; in the latter
	// case the rejected ones are zero and all others are good. A permanent
	// error ([chunk.Permanent]) means that some text of the call cannot be
	// encoded and it is not known which: the pipeline bisects. Any other
	// error is fatal.
	Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error)
}

// Cache holds the vectors of one model by content hash. A cache never fails:
// what it cannot reach it does not have.
type Cache interface {
	// Get returns one embedding for each hash, in order; a miss has a nil
	// Vector.
	Get(ctx context.Context, hashes []chunk.Hash) []chunk.Embedding
	// Put keeps embeddings (same length and order as hashes) and returns them
	// as a later Get will, bit for bit, so that a hit and a miss store the
	// same vector.
	Put(ctx context.Context, hashes []chunk.Hash, embeddings []chunk.Embedding) []chunk.Embedding
}

// Sink is the index.
type Sink interface {
	// Apply makes the index hold, for each point, a state at least as new. No
	// two points with a version share an ID. A nil error means durable. A
	// permanent error means that some of the points is invalid and it is not
	// known which: the pipeline bisects; points may have been applied
	// already, which does no harm. Any other error is fatal: Apply retries
	// what can be retried until ctx ends.
	Apply(ctx context.Context, points []chunk.Point) error
	// Read returns what the index holds for those of the ids that it knows,
	// tombstones included; with content also their text and vector. Errors
	// are fatal.
	Read(ctx context.Context, ids []chunk.ID, content bool) (map[chunk.ID]chunk.Stored, error)
}
