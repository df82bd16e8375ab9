package verify

import (
	"context"
	"errors"
	"iter"

	"chunktide/chunk"
)

// Place is where an event stands in its source. It is the same each time that
// the source is read.
type Place struct {
	// Part is the partition, an index of the source's own; [Unordered] where
	// the place says nothing of what came first.
	Part int32
	// Offset is that of the record, Index that of the event within it.
	Offset int64
	Index  int32
}

// Unordered is the part of a source that has no partitions.
const Unordered = -1

// follows reports whether p certainly came after q.
func (p Place) follows(q Place) bool {
	if p.Part != q.Part || p.Part == Unordered {
		return false
	}
	return p.Offset > q.Offset
}

// Doubt is why an event may not have reached the index.
type Doubt uint8

// The doubts.
const (
	// Certain: the event is durable in the index, or older than what is.
	Certain Doubt = iota
	// Pending: no worker has committed it.
	Pending
	// Refused: it is in the dead letters; a replay may have applied it since.
	Refused
)

// Stand is where a stored state comes from, seen from the source.
type Stand uint8

// The stands.
const (
	// Elsewhere: from a backfill, or a topic that is not the source's.
	Elsewhere Stand = iota
	// Within: from the part of the log that was read.
	Within
	// Before the beginning of the log: the record is gone.
	Before
	// After the end at which the source was captured.
	After
)

// Source is what the index must hold. Its end is captured when it is made, so
// that each Visit sees the same events.
type Source interface {
	// Visit calls visit for each event, those of one partition in order.
	// Malformed records are counted and passed over. visit's first error ends
	// it and is returned as it is.
	Visit(ctx context.Context, visit func(e *chunk.Event, at Place) error) (Counts, error)
	// Settle waits until the index holds what it is going to hold, or for as
	// long as the source was told. It is called between a Visit and the
	// reading of the index.
	Settle(ctx context.Context) (Counts, error)
	// Doubt is for after Settle.
	Doubt(at Place) Doubt
	// Stand says where a stored state comes from, and for Within at which
	// place; the place's Index means nothing.
	Stand(origin chunk.Origin, v chunk.Version) (Stand, Place)
}

// Rows is a source of files, or of whatever else can be read again and again.
type Rows struct {
	// Events yields every event, the same each time. A permanent error is a
	// malformed row, any other ends it.
	Events func(context.Context) iter.Seq2[chunk.Event, error]
	// AsOf is the version of the time at which the rows were written: what the
	// index has beyond it is newer. 0 if that is not known; then a chunk that no
	// row has is an orphan, however new it is.
	AsOf chunk.Version
}

// Visit implements [Source].
func (r Rows) Visit(ctx context.Context, visit func(*chunk.Event, Place) error) (Counts, error) {
	var c Counts
	for e, err := range r.Events(ctx) {
		if err != nil {
			if _, permanent := chunk.ReasonOf(err); permanent {
				c.Malformed++
				continue
			}
			return c, err
		}
		if err := visit(&e, Place{Part: Unordered, Offset: int64(c.Events)}); err != nil {
			return c, err
		}
		c.Events++
	}
	return c, ctx.Err()
}

// Settle implements [Source]: files are what they are.
func (r Rows) Settle(context.Context) (Counts, error) { return Counts{}, nil }

// Doubt implements [Source].
func (r Rows) Doubt(Place) Doubt { return Certain }

// Stand implements [Source].
func (r Rows) Stand(_ chunk.Origin, v chunk.Version) (Stand, Place) {
	if r.AsOf > 0 && v > r.AsOf {
		return After, Place{}
	}
	return Elsewhere, Place{}
}

// errEnough ends a Visit that has seen what it was for.
var errEnough = errors.New("seen enough")
