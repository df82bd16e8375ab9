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
	switch start, _ := cfg.start(); cfg.Start {
	case "latest":
	case "earliest":
		starts, err = listed(adm.ListStartOffsets(ctx, cfg.Topics...))
	default:
		starts, err = listed(adm.ListOffsetsAfterMilli(ctx, start.EpochOffset().Offset, cfg.Topics...))
	}
	if err != nil {
		return nil, fmt.Errorf("find where the topics start: %w", err)
	}
	return &finite{starts: starts, ends: ends}, nil
}

func listEnds(ctx context.Context, adm *kadm.Client, cfg Config) (map[topicPartition]int64, error) {
	list := adm.ListCommittedOffsets
	if cfg.Isolation == "read_uncommitted" {
		list = adm.ListEndOffsets
	}
	ends, err := listed(list(ctx, cfg.Topics...))
	if err != nil {
		return nil, fmt.Errorf("find where the topics end: %w", err)
	}
	return ends, nil
}

func listed(offsets kadm.ListedOffsets, err error) (map[topicPartition]int64, error) {
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return nil, err
	}
	m := map[topicPartition]int64{}
	offsets.Each(func(o kadm.ListedOffset) { m[topicPartition{o.Topic, o.Partition}] = o.Offset })
	return m, nil
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
		if !f.passed(id, p.next) {
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
		if mine && f.passed(id, p.next) || f.passed(id, f.committed[id]) {
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
	endsEvery    = 15 * time.Second
	othersEvery  = time.Second
	endsDeadline = 10 * time.Second
)

// watchEnds keeps the lag true while nothing is fetched, because the budget is
// spent or the brokers are slow, and tells a finite source how far the others
// are.
func (s *Source) watchEnds() {
	every := endsEvery
	if s.finite != nil {
		every = othersEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.intake.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.intake, endsDeadline)
		err := s.lookAtEnds(ctx)
		cancel()
		if err != nil && s.intake.Err() == nil {
			s.logger.Warn("could not refresh the lag", "error", err)
		}
	}
}

func (s *Source) lookAtEnds(ctx context.Context) error {
	if s.finite != nil {
		return s.lookAtOthers(ctx)
	}
	ends, err := listEnds(ctx, s.admin, s.cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.parts {
		if end, ok := ends[id]; ok {
			p.end = max(p.end, end)
			s.metrics.lag(p)
		}
	}
	return nil
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
