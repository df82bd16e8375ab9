package consumer

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type topicPartition struct {
	topic     string
	partition int32
}

// sortedKeys are the partitions of a map in order.
func sortedKeys[V any](m map[topicPartition]V) []topicPartition {
	return slices.SortedFunc(maps.Keys(m), func(a, b topicPartition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
}

// partition is one assignment of a partition to this member. A partition that
// was taken away and comes back is a new one, so that an acknowledgement from
// before can neither commit for it nor bring it back to life. The source's
// mutex guards it.
type partition struct {
	topicPartition
	// begun says that it is known whether the group has an offset, moved when
	// that was, or when something was last read.
	begun bool
	moved time.Time
	// gone marks an assignment that has ended.
	gone bool
	// stopping ends the intake while the partition is being given back: what
	// is in flight may still be acknowledged.
	stopping bool
	// first is where reading began, next the offset after the last record
	// read, end the log's end as last seen; -1 while unknown.
	first, next, end int64
	// start is where the log says that reading will begin, for as long as first
	// is not known; -1 while that is not known either.
	start int64
	// spans are the ranges handed out and not yet committable, oldest first.
	spans []*span
	// done is what may be committed, committed what the broker holds.
	done, committed kgo.EpochOffset
	// found is the doubt that the owners before left behind, note the one that
	// is committed with done, noted what the broker holds of it.
	found, note, noted doubt
	// touched says that this assignment has read something, proven that it has
	// got over a batch.
	touched, proven bool
	// lastWords, if set, end the worker once lastOffset is committed.
	lastWords  error
	lastOffset int64
}

// span is the records of one partition in one batch.
type span struct {
	last   kgo.EpochOffset // of its last record
	tokens int             // of its records, estimated
	acked  bool
}

func newPartition(id topicPartition) *partition {
	none := kgo.EpochOffset{Epoch: -1, Offset: -1}
	return &partition{topicPartition: id, first: -1, next: -1, end: -1, start: -1, done: none, committed: none}
}

// handOut registers records that leave in a batch. They follow all those
// registered before.
func (p *partition) handOut(last *kgo.Record, tokens int) *span {
	sp := &span{last: kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset}, tokens: tokens}
	p.spans = append(p.spans, sp)
	return sp
}

// advance moves done over the acknowledged spans at the front, and no further:
// one behind a gap may be durable, but what is before it is not.
func (p *partition) advance() {
	n := 0
	for n < len(p.spans) && p.spans[n].acked {
		// An empty tail that was passed may have records with another leader, whose
		// log was not compacted yet: they count, but do not lead back.
		if last := p.spans[n].last; last.Offset >= p.done.Offset {
			p.done = kgo.EpochOffset{Epoch: last.Epoch, Offset: last.Offset + 1}
		}
		n++
	}
	if n > 0 {
		p.progress()
	}
	p.spans = p.spans[n:]
}

// committable reports whether there is something to tell the broker.
func (p *partition) committable() bool {
	return !p.gone && p.done.Offset >= 0 && (p.done != p.committed || p.note != p.noted)
}

// from is the offset before which everything is durable, or not for this
// group; -1 while it is not known.
func (p *partition) from() int64 {
	if from := max(p.first, p.done.Offset); from >= 0 {
		return from
	}
	return p.start
}

// lag is how many offsets lie between the log's end and what is durable.
func (p *partition) lag() int64 {
	from := p.from()
	if from < 0 {
		return 0
	}
	return max(0, p.end-from)
}

// unread is how many of them were not read yet.
func (p *partition) unread() int64 { return min(p.lag(), max(0, p.end-max(p.next, 0))) }

// readTo notes that records up to last were read, the first of them at first.
func (p *partition) readTo(first, last, end int64) {
	if p.first < 0 {
		p.first = first
	}
	p.next, p.moved = last+1, time.Now()
	p.end = max(p.next, end)
}
