package chunk

import "time"

// Op is what happened to a chunk or a document.
type Op uint8

// The operations. There is no separate "edit": an upsert of a known chunk is
// one.
const (
	// Upsert adds a chunk or replaces it.
	Upsert Op = iota + 1
	// Delete removes one chunk.
	Delete
	// DeleteDocument removes all the chunks of a document; its event has no
	// ChunkID.
	DeleteDocument
)

// String is the label used in logs and metrics.
func (op Op) String() string {
	switch op {
	case Upsert:
		return "upsert"
	case Delete:
		return "delete"
	case DeleteDocument:
		return "delete_document"
	default:
		return "unknown"
	}
}

// Header is one Kafka record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record as it was read. Key and Value are not copied:
// treat them as read-only. A nil Value is a tombstone; an empty one is not.
type Record struct {
	Origin
	Timestamp time.Time
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Origin says where an event stands in the log. The zero Origin belongs to
// events that did not come from Kafka.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
}

// SamePartition reports whether both come from one partition of one topic, so
// that their offsets say which came first.
func (o Origin) SamePartition(p Origin) bool {
	return o.Topic != "" && o.Topic == p.Topic && o.Partition == p.Partition
}

// Event is one change of one chunk (or document), decoded and validated.
type Event struct {
	Op Op
	// ID is the point that the event changes; see [Identity].
	ID ID
	// Source, DocumentID and ChunkID are the producer's names, valid UTF-8.
	Source     string
	DocumentID string
	ChunkID    string
	// Position is the chunk's place in its document, from 0.
	Position int64
	// Text is valid UTF-8 and not empty for an upsert, empty otherwise.
	Text string
	// TextUnchanged marks an upsert whose source left the text out because it
	// did not change (Debezium's unavailable value): text and vector are those
	// of the chunk's previous state.
	TextUnchanged bool
	// Metadata is a JSON object as the producer sent it: string, bool, nil,
	// int64, float64, []any and map[string]any. Nil is an empty object.
	Metadata map[string]any
	// Version orders the states of the chunk. It is zero only for a
	// versionless delete.
	Version Version
	// Time is when the change happened at its source, as far as is known, else
	// the record's timestamp. Freshness is measured from it.
	Time time.Time
	// Origin is the record that the event came from.
	Origin Origin
	// Trace is what the record came with, and Read when it was read; both are
	// for tracing only. Read is zero for events that did not come from Kafka.
	Trace Trace
	Read  time.Time
}

// Versionless reports whether the event is a delete without a version. Such a
// delete removes the state that precedes it: the one from an earlier offset
// of its partition, or, from elsewhere, with an earlier event time. It takes
// that state's version, so that the chunk's next version, however low its
// numbers run, still brings the chunk back.
func (e *Event) Versionless() bool { return e.Version == 0 && e.Op != Upsert }

// Batch is a micro-batch: events in log order, possibly of many partitions,
// and the way to settle them. A batch carries its own acknowledgement, so
// that nothing else needs to know where it came from.
//
// Batches are settled in the order in which they were handed out, and at most
// [MaxInFlight] of them can have been handed out and not be settled.
type Batch struct {
	// Events may be empty: a batch of nothing but malformed records still has
	// offsets to acknowledge.
	Events []Event
	// Reject writes events of this batch to the dead letters and returns when
	// they are durable there. It must be called before Ack.
	Reject func(rejections []Rejection) error
	// Ack says that every event is durable in the index or in the dead
	// letters. Its offsets are committed soon after. It does not block on
	// Kafka.
	Ack func()
}

// MaxInFlight is how many batches a pipeline holds at most. What a death of
// the worker can have been caused by, and how much it may have in memory, are
// worked out from it.
const MaxInFlight = 4

// Rejection names one event of a batch that can never be applied.
type Rejection struct {
	// Event is the index into [Batch.Events].
	Event int
	// Stage is the hop that refused it: "decode", "encode" or "index".
	Stage string
	// Err says why; [ReasonOf] gives its label.
	Err error
}
