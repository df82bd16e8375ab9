package verify

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"chunktide/chunk"
	"chunktide/consumer"
)

// Committed tells how far the workers have come: for each topic and partition
// the first offset that is not known to be durable in the index. It is nil if
// no worker feeds the index, so that nothing needs to be waited for.
type Committed func(ctx context.Context) (map[string]map[int32]int64, error)

// TopicConfig says what of Kafka is the source.
type TopicConfig struct {
	Kafka consumer.Config
	// Decode makes events of records; see [consumer.Scan].
	Decode func(chunk.Record) ([]chunk.Event, error)
	// Committed may be nil.
	Committed Committed
	// Since leaves out what is older, by the records' timestamps; zero is all.
	Since time.Time
	// Wait is how long Settle waits for the workers.
	Wait   time.Duration
	Logger *slog.Logger
}

// Topic is the source that the log is. It holds in memory where the dead
// letters come from, about 50 bytes for each.
type Topic struct {
	cfg    TopicConfig
	ranges []consumer.Range
	parts  map[string]map[int32]int32 // topic and partition → index of ranges
	// committed is by range; nil if nothing is pending.
	committed []int64
	refused   map[Place]bool
}

// OpenTopic captures where the topics of cfg end now.
func OpenTopic(ctx context.Context, cfg TopicConfig) (*Topic, error) {
	ranges, err := consumer.RangesSince(ctx, cfg.Kafka, cfg.Since)
	if err != nil {
		return nil, err
	}
	t := &Topic{cfg: cfg, ranges: ranges, parts: map[string]map[int32]int32{}, refused: map[Place]bool{}}
	for i, r := range ranges {
		if t.parts[r.Topic] == nil {
			t.parts[r.Topic] = map[int32]int32{}
		}
		t.parts[r.Topic][r.Partition] = int32(i)
	}
	return t, nil
}

// Visit implements [Source].
func (t *Topic) Visit(ctx context.Context, visit func(*chunk.Event, Place) error) (Counts, error) {
	var c Counts
	err := consumer.Scan(ctx, t.cfg.Kafka, t.ranges, t.cfg.Decode, func(v consumer.Visited) error {
		if v.Err != nil {
			c.Malformed++
			return nil //nolint:nilerr // it is counted; a worker would go on as well
		}
		part := t.parts[v.Record.Topic][v.Record.Partition]
		for i := range v.Events {
			c.Events++
			if err := visit(&v.Events[i], Place{Part: part, Offset: v.Record.Offset, Index: int32(i)}); err != nil {
				return err
			}
		}
		return nil
	}, t.cfg.Logger)
	return c, err
}

// settleEvery is how often the workers are asked how far they are.
const settleEvery = 200 * time.Millisecond

// Settle implements [Source]: it waits for the workers, and then reads which
// events they refused.
func (t *Topic) Settle(ctx context.Context) (Counts, error) {
	if err := t.wait(ctx); err != nil {
		return Counts{}, err
	}
	if err := t.readLetters(ctx); err != nil {
		return Counts{}, err
	}
	return Counts{Refused: len(t.refused)}, nil
}

func (t *Topic) wait(ctx context.Context) error {
	if t.cfg.Committed == nil {
		return nil
	}
	deadline := time.Now().Add(t.cfg.Wait)
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		committed, err := t.cfg.Committed(ctx)
		if err != nil {
			return fmt.Errorf("ask how far the workers are: %w", err)
		}
		if committed == nil {
			t.committed = nil
			return nil
		}
		t.committed = make([]int64, len(t.ranges))
		behind := false
		for i, r := range t.ranges {
			t.committed[i] = committed[r.Topic][r.Partition]
			behind = behind || r.From < r.To && t.committed[i] < r.To
		}
		if !behind || !time.Now().Before(deadline) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readLetters notes which records of the ranges are in the dead letters.
func (t *Topic) readLetters(ctx context.Context) error {
	cfg := t.cfg.Kafka
	cfg.Topics = []string{cfg.DeadLetters()}
	ranges, err := consumer.RangesIfAny(ctx, cfg)
	if err != nil {
		return err
	}
	return consumer.Scan(ctx, cfg, ranges, nil, func(v consumer.Visited) error {
		l := consumer.ParseLetter(v.Record)
		part, known := t.parts[l.Original.Topic][l.Original.Partition]
		if l.Named && known { // others are not of this source
			t.refused[Place{Part: part, Offset: l.Original.Offset}] = true
		}
		return nil
	}, t.cfg.Logger)
}

// Doubt implements [Source].
func (t *Topic) Doubt(at Place) Doubt {
	at.Index = 0
	switch {
	case t.committed != nil && at.Offset >= t.committed[at.Part]:
		return Pending
	case t.refused[at]:
		return Refused
	default:
		return Certain
	}
}

// Stand implements [Source].
func (t *Topic) Stand(origin chunk.Origin, _ chunk.Version) (Stand, Place) {
	parts, ours := t.parts[origin.Topic]
	if !ours {
		return Elsewhere, Place{}
	}
	part, known := parts[origin.Partition]
	switch {
	case !known || origin.Offset >= t.ranges[part].To: // a partition that was added since
		return After, Place{}
	case origin.Offset < t.ranges[part].From:
		return Before, Place{}
	default:
		return Within, Place{Part: part, Offset: origin.Offset}
	}
}
