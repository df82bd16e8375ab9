package consumer

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"chunktide/chunk"
)

// Letter is a dead letter as it lies in its topic.
type Letter struct {
	// Record is the letter: where it lies, and the original's bytes as far as
	// they were copied. Its Headers are all of them.
	chunk.Record
	// Original is where the record lies that was rejected, OriginalTime its own
	// time; zero where the letter does not say.
	Original     chunk.Origin
	OriginalTime time.Time
	// Reason, Stage and Message say what was wrong; Omitted what was left out.
	Reason, Stage, Message, Omitted string
}

// LastLetters reads the last n letters of the dead-letter topic, newest first.
// A topic that does not exist holds none. It belongs to no group and commits
// nothing. It reads n letters of each partition: keep n small.
func LastLetters(ctx context.Context, cfg Config, n int, logger *slog.Logger) ([]Letter, error) {
	cfg.Topics = []string{cfg.DeadLetters()}
	ranges, err := Ranges(ctx, cfg)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range ranges {
		ranges[i].From = max(ranges[i].From, ranges[i].To-int64(n))
	}
	var letters []Letter
	undecoded := func(chunk.Record) ([]chunk.Event, error) { return nil, nil }
	err = Scan(ctx, cfg, ranges, undecoded, func(v Visited) error {
		letters = append(letters, parseLetter(v.Record))
		return nil
	}, logger)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(letters, func(a, b Letter) int {
		return cmp.Or(b.Timestamp.Compare(a.Timestamp), cmp.Compare(b.Partition, a.Partition), cmp.Compare(b.Offset, a.Offset))
	})
	return letters[:min(n, len(letters))], nil
}

// parseLetter reads the headers. What others wrote into the topic has none of
// them, or nonsense in them.
func parseLetter(r chunk.Record) Letter {
	l := Letter{Record: r}
	for _, h := range r.Headers {
		value := string(h.Value)
		switch h.Key {
		case HeaderTopic:
			l.Original.Topic = value
		case HeaderPartition:
			n, _ := strconv.ParseInt(value, 10, 32)
			l.Original.Partition = int32(n)
		case HeaderOffset:
			l.Original.Offset, _ = strconv.ParseInt(value, 10, 64)
		case HeaderStage:
			l.Stage = value
		case HeaderReason:
			l.Reason = value
		case HeaderMessage:
			l.Message = value
		case HeaderOmitted:
			l.Omitted = value
		case HeaderTimestamp:
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil && ms > 0 {
				l.OriginalTime = time.UnixMilli(ms)
			}
		}
	}
	return l
}
