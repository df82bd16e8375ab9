package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// finite is the range of a source that ends: what stood in the log when the
// source was made. A nil one has no end. The source's mutex guards it.
type finite struct {
	starts, ends map[topicPartition]int64
	// committed is how far the group has come on partitions of others.
	committed map[topicPartition]int64
}

// newFinite captures the range.
func newFinite(ctx context.Context, adm *kadm.Client, cfg Config) (*finite, error) {
	ends, err := listEnds(ctx, adm, cfg)
	if err != nil {
		return nil, err
	}
	starts := ends
	if cfg.Start != "latest" {
		if starts, err = listStarts(ctx, adm, cfg); err != nil {
			return nil, err
		}
	}
	return &finite{starts: starts, ends: ends}, nil
}

// begin is where a partition without a commit starts, -1 if it is not known.
func (f *finite) begin(id topicPartition) int64 {
	if f == nil {
		return -1
	}
	if start, ok := f.starts[id]; ok {
		return start
	}
	return -1
}

// bound is the end of a partition's log, or that of the range if it comes
// first.
func (f *finite) bound(id topicPartition, end int64) int64 {
	if f == nil {
		return end
	}
	return min(end, f.ends[id])
}

// within returns those of a partition's records that are in the range.
func (f *finite) within(id topicPartition, records []*kgo.Record) []*kgo.Record {
	if f == nil {
		return records
	}
	end := f.ends[id]
	for len(records) > 0 && records[len(records)-1].Offset >= end {
		records = records[:len(records)-1]
	}
	return records
}

// read reports whether every assigned partition has been read to its end.
func (f *finite) read(parts map[topicPartition]*partition) bool {
	if f == nil {
		return false
	}
	for id, p := range parts {
		if !f.passed(id, p.reached()) {
			return false
		}
	}
	return true
}

// over reports whether every partition has been: by this member, or by
// another that committed it. A member that has no partitions yet, or lends a
// hand, waits for the others, whose work it takes over when one dies.
func (f *finite) over(parts map[topicPartition]*partition) bool {
	for id := range f.ends {
		p, mine := parts[id]
		if mine && f.passed(id, p.reached()) || f.passed(id, f.committed[id]) {
			continue
		}
		return false
	}
	return true
}

// passed reports whether reading from next on would find nothing in the range.
func (f *finite) passed(id topicPartition, next int64) bool {
	return max(next, f.starts[id]) >= f.ends[id]
}

const (
	othersEvery = time.Second
	// lookTimeout bounds one question to the brokers about the log or the group.
	lookTimeout = 10 * time.Second
)

// watchOthers tells a finite source what it cannot read: where there is nothing
// left, and how far the others are.
func (s *Source) watchOthers() {
	tick := time.NewTicker(othersEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.intake.Done():
			return
		}
		s.settleRead()
		s.settle(s.finite.ends, tailQuiet)
		ctx, cancel := context.WithTimeout(s.intake, lookTimeout)
		err := s.lookAtOthers(ctx)
		cancel()
		if err != nil && s.intake.Err() == nil {
			s.logger.Warn("could not see how far the other workers are", "error", err)
		}
	}
}

func (s *Source) lookAtOthers(ctx context.Context) error {
	s.mu.Lock()
	wanted := s.finite.read(s.parts)
	s.mu.Unlock()
	if !wanted {
		return nil
	}
	offsets, err := s.admin.FetchOffsetsForTopics(ctx, s.cfg.Group, s.cfg.Topics...)
	if err != nil {
		return fmt.Errorf("read the group's offsets: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finite.committed = map[topicPartition]int64{}
	offsets.Each(func(o kadm.OffsetResponse) { s.finite.committed[topicPartition{o.Topic, o.Partition}] = o.At })
	s.notify()
	return nil
}
