package chunk

import "time"

// Embedding is a vector with what is known of its making.
type Embedding struct {
	// Vector is nil where there is none: a cache miss, or a rejected text.
	Vector []float32
	// Tokens is how many tokens the encoder read for it, special tokens
	// included.
	Tokens int
	// Truncated says that the text was longer than the model takes.
	Truncated bool
}

// Point is a state to store: what the index shall hold under ID unless it
// holds a higher version already.
type Point struct {
	ID ID
	// Op is Upsert for a living chunk, Delete for a chunk's tombstone,
	// DeleteDocument for a document's.
	Op         Op
	Source     string
	DocumentID string
	ChunkID    string
	// Version is zero for a versionless delete only.
	Version Version
	Origin  Origin
	// EventTime is the event's Time.
	EventTime time.Time

	// The rest is set for an Upsert only.

	Position  int64
	Text      string
	Metadata  map[string]any
	Hash      Hash
	Embedding Embedding
}

// Stored is what the index holds for a point.
type Stored struct {
	Version   Version
	Tombstone bool
	Hash      Hash
	Origin    Origin
	EventTime time.Time
	// Foreign says that the vector is of an older model, with which the one that
	// asks was declared compatible: it is not handed out, and not kept for
	// another state.
	Foreign bool

	// The rest is filled only when the content was asked for, and never for a
	// tombstone.

	Text      string
	Embedding Embedding
}
