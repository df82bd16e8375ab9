package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// endsEvery is how often the log's end is asked for. The end that comes with
// what is fetched says nothing while nothing is: a worker that is stuck, or
// whose buffer is full, would show a lag that stands still, when it grows most.
const endsEvery = 10 * time.Second

// watchEnds keeps the backlog true whether or not anything is fetched. It asks
// apart from the group's protocol, at once where partitions came, and then
// regularly, until the source closes. A question without an answer leaves what
// was known, and is counted.
func (s *Source) watchEnds() {
	every := s.cfg.endsEvery
	switch {
	case every == 0:
		every = endsEvery
	case every < 0:
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.look:
		case <-tick.C:
		case <-s.intake.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.intake, lookTimeout)
		ends, err := s.lookAtEnds(ctx)
		cancel()
		if err != nil && s.intake.Err() == nil {
			s.metrics.looksFailed.Inc()
			s.logger.Debug("the log's end is not known anew; the backlog is counted from what was seen before", "error", err)
		}
		if s.finite == nil { // another look goes only to the end of its range
			s.settle(ends, every)
		}
	}
}

// lookSoon has the ends asked for without waiting for the next turn.
func (s *Source) lookSoon() {
	select {
	case s.look <- struct{}{}:
	default: // one is due already
	}
}

// lookAtEnds returns the ends that it notes.
func (s *Source) lookAtEnds(ctx context.Context) (map[topicPartition]int64, error) {
	ends, err := listEnds(ctx, s.admin, s.cfg)
	if err != nil {
		return nil, err
	}
	starts, err := s.startsWanted(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.parts {
		if end, ok := ends[id]; ok {
			p.end = max(p.end, end)
		}
		if start, ok := starts[id]; ok {
			p.start = start
		}
	}
	s.meter(0)
	return ends, nil
}

// startsWanted asks where partitions begin that nothing was committed or read
// of yet: else a whole topic that waits behind a stuck worker would count as no
// backlog.
func (s *Source) startsWanted(ctx context.Context) (map[topicPartition]int64, error) {
	s.mu.Lock()
	wanted := false
	for _, p := range s.parts {
		wanted = wanted || p.from() < 0
	}
	s.mu.Unlock()
	if !wanted || s.cfg.Start == "latest" {
		return nil, nil
	}
	return listStarts(ctx, s.admin, s.cfg)
}

func listEnds(ctx context.Context, adm *kadm.Client, cfg Config) (map[topicPartition]int64, error) {
	list := adm.ListCommittedOffsets
	if cfg.uncommitted() {
		list = adm.ListEndOffsets
	}
	ends, err := listed(list(ctx, cfg.Topics...))
	if err != nil {
		return nil, fmt.Errorf("find where the topics end: %w", err)
	}
	return ends, nil
}

// listStarts is where partitions without a commit begin, unless that is at the
// end.
func listStarts(ctx context.Context, adm *kadm.Client, cfg Config) (map[topicPartition]int64, error) {
	start, err := cfg.start()
	if err != nil {
		return nil, err
	}
	var starts map[topicPartition]int64
	if cfg.Start == "earliest" {
		starts, err = listed(adm.ListStartOffsets(ctx, cfg.Topics...))
	} else {
		starts, err = listed(adm.ListOffsetsAfterMilli(ctx, start.EpochOffset().Offset, cfg.Topics...))
	}
	if err != nil {
		return nil, fmt.Errorf("find where the topics start: %w", err)
	}
	return starts, nil
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
