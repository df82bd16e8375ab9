package consumer

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The client calls these one at a time, never between a poll and the binding
// of its records, and does not let the group go on until they return.

// assigned begins new assignments.
func (s *Source) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	if len(added) > 0 {
		s.metrics.rebalanced("assigned")
	}
	each(added, func(id topicPartition) {
		if old := s.parts[id]; old != nil {
			s.forget(old)
		}
		s.parts[id] = newPartition(id)
	})
	s.lookSoon()
	s.notify()
}

// begin learns the offsets that the assignments start at.
func (s *Source) begin(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	start, err := s.cfg.start()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, ps := range offsets {
		for n, offset := range ps {
			p := s.parts[topicPartition{topic, n}]
			if p == nil {
				continue
			}
			p.begun, p.moved = true, time.Now()
			if p.next >= 0 {
				continue
			}
			at := offset.EpochOffset().Offset
			if offset == start { // not committed yet
				at = s.finite.begin(p.topicPartition)
			}
			if at >= 0 {
				p.first, p.next = at, at
			}
		}
	}
	s.lookSoon()
	s.notify()
	return offsets, nil
}

// revoked gives partitions back: no more of their records are handed out,
// those in flight get half the rebalance timeout to be acknowledged, and what
// is then acknowledged is committed. The new owner starts behind it.
func (s *Source) revoked(_ context.Context, cl *kgo.Client, taken map[string][]int32) {
	parts := s.stop(taken)
	if len(parts) == 0 {
		return
	}
	if open := s.drain(parts); open > 0 {
		s.logger.Warn("partitions were taken away before their batches were done; another worker will do them again",
			"batches", open, "waited", s.cfg.RebalanceTimeout/2)
	}
	s.forgiveAll(parts)
	// A quarter more at most, so that the rest is left for joining again.
	ctx, cancel := context.WithTimeout(s.hard, s.cfg.RebalanceTimeout/4)
	defer cancel()
	if err := s.commit(ctx, cl); err != nil {
		s.logger.Warn("could not commit before partitions were taken away; another worker will do their last batches again", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.rebalanced("revoked")
	for _, p := range parts {
		s.forget(p)
	}
	s.notify()
}

// stop ends the intake of partitions and drops what waits of them.
func (s *Source) stop(taken map[string][]int32) []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []*partition
	each(taken, func(id topicPartition) {
		if p := s.parts[id]; p != nil {
			p.stopping = true
			parts = append(parts, p)
		}
	})
	s.former.drop(func(it *item) bool { return it.part.stopping })
	s.notify()
	return parts
}

// drain waits until everything handed out of parts is acknowledged and
// returns how many batches still are not. It holds no lock while it waits, and
// does not wait when the source closes: whoever closes it has drained already.
func (s *Source) drain(parts []*partition) (open int) {
	w := wakeup{at: time.Now().Add(s.cfg.RebalanceTimeout / 2)}
	for {
		s.mu.Lock()
		open = 0
		for _, p := range parts {
			open = max(open, len(p.spans))
		}
		stop := s.closing || s.err != nil
		w.changed = s.changed
		s.mu.Unlock()
		if open == 0 || stop || !time.Now().Before(w.at) {
			return open
		}
		_ = w.until(s.hard) // its end also sets closing
	}
}

// lost forgets everything: the session is over, others may own the partitions
// already, and a commit would be refused. The client drops all that it reads
// then, also what it does not list here, if the session broke between the new
// assignment and its callbacks.
func (s *Source) lost(_ context.Context, _ *kgo.Client, _ map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.parts) == 0 {
		return
	}
	s.logger.Warn("all partitions were lost; another worker will do their unfinished batches", "partitions", len(s.parts))
	s.metrics.rebalanced("lost")
	for _, p := range s.parts {
		s.forget(p)
	}
	s.notify()
}

// forget ends an assignment. The mutex must be held.
func (s *Source) forget(p *partition) {
	p.gone = true
	p.spans = nil
	if s.parts[p.topicPartition] == p {
		delete(s.parts, p.topicPartition)
	}
	s.former.drop(func(it *item) bool { return it.part == p })
	s.meter(0)
}

func each(partitions map[string][]int32, do func(topicPartition)) {
	for topic, ps := range partitions {
		for _, p := range slices.Sorted(slices.Values(ps)) {
			do(topicPartition{topic, p})
		}
	}
}
