package consumer

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

// item is one record as it was read and decoded. A record that holds no
// events still has an offset to commit.
type item struct {
	part   *partition
	record *kgo.Record
	events []chunk.Event
	err    error  // permanent: why there are no events
	stage  string // that found err
	// skipped is set if the record stands for a record batch that could not be
	// read: it is the batch's first offset, and the record's is its last.
	skipped *int64
	tokens  int
	bytes   int64
	at      time.Time // when it began to wait
}

// weight is what the item counts towards the bound on events. A record
// without any counts too, so that a flood of malformed ones is cut into
// batches like any other.
func (it *item) weight() int { return max(1, len(it.events)) }

// Why a batch was closed: the label of chunktide_batches_total.
const (
	byTokens = "tokens"
	byEvents = "events"
	byBytes  = "bytes"
	byLinger = "linger"
	byEnd    = "end"   // of a finite source
	byDoubt  = "doubt" // a record that may have killed a worker goes alone
)

// former cuts a stream of items into micro-batches. It keeps their order, has
// no clock of its own, and is not safe for concurrent use.
type former struct {
	bounds Batch
	items  []item
	bytes  int64 // of all the items

	// The next batch is the longest prefix of items within the bounds.
	n      int
	tokens int
	events int
	size   int64
	full   string // the bound that closed it; empty while it can grow
}

func (f *former) add(it item) {
	f.items = append(f.items, it)
	f.bytes += it.bytes
	f.grow(&it)
}

// grow extends the next batch by it, the item that follows it in line.
func (f *former) grow(it *item) {
	if f.full != "" {
		return
	}
	tokens, events, size := f.tokens+it.tokens, f.events+it.weight(), f.size+it.bytes
	over := func(by int) string {
		switch {
		case tokens >= f.bounds.Tokens+by:
			return byTokens
		case events >= f.bounds.Events+by:
			return byEvents
		case size >= f.bounds.Bytes+int64(by):
			return byBytes
		default:
			return ""
		}
	}
	// One that does not fit waits for the next batch, unless it would never
	// fit in any.
	if reason := over(1); reason != "" && f.n > 0 {
		f.full = reason
		return
	}
	f.n, f.tokens, f.events, f.size = f.n+1, tokens, events, size
	f.full = over(0)
}

// closed says whether a batch can be cut at now, and why, when the oldest item
// waits for others as long as linger.
func (f *former) closed(now time.Time, linger time.Duration) (by string, ok bool) {
	switch {
	case f.n == 0:
		return "", false
	case f.full != "":
		return f.full, true
	case !now.Before(f.due(linger)):
		return byLinger, true
	default:
		return "", false
	}
}

// due is when the oldest item will have waited for the whole linger. There
// must be one.
func (f *former) due(linger time.Duration) time.Time { return f.items[0].at.Add(linger) }

// cut takes the next batch.
func (f *former) cut() []item {
	batch := f.items[:f.n:f.n]
	f.restart(append([]item(nil), f.items[f.n:]...))
	return batch
}

// cutOne takes the first item alone. There must be one.
func (f *former) cutOne() []item {
	f.n = 1
	return f.cut()
}

// drop removes every item for which gone reports true.
func (f *former) drop(gone func(*item) bool) {
	var kept []item
	for i := range f.items {
		if !gone(&f.items[i]) {
			kept = append(kept, f.items[i])
		}
	}
	f.restart(kept)
}

func (f *former) restart(items []item) {
	*f = former{bounds: f.bounds, items: items}
	for i := range items {
		f.bytes += items[i].bytes
		f.grow(&items[i])
	}
}
