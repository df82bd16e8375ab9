package consumer

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"time"

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
	// Own are the headers that the original came with.
	Own []chunk.Header
	// First is the first offset of a record batch that could not be read at all,
	// -1 for a letter of one record.
	First int64
	// Named says that the letter names its original: topic, partition and
	// offset. One that does not was written by somebody else.
	Named bool
}

// LastLetters reads the last n letters of the dead-letter topic, newest first.
// A topic that does not exist holds none. It belongs to no group and commits
// nothing. It reads n letters of each partition: keep n small.
func LastLetters(ctx context.Context, cfg Config, n int, logger *slog.Logger) ([]Letter, error) {
	cfg.Topics = []string{cfg.DeadLetters()}
	ranges, err := RangesIfAny(ctx, cfg)
	if err != nil {
		return nil, err
	}
	// There may be markers among them (see [RedrivenLetter]): then look further
	// back.
	var letters []Letter
	for window := int64(n); ; window *= 4 {
		letters = letters[:0]
		last, whole := slices.Clone(ranges), true
		for i := range last {
			last[i].From = max(last[i].From, last[i].To-window)
			whole = whole && last[i].From == ranges[i].From
		}
		if err := scanLetters(ctx, cfg, last, &letters, logger); err != nil {
			return nil, err
		}
		if whole || len(letters) >= n {
			break
		}
	}
	slices.SortStableFunc(letters, func(a, b Letter) int {
		return cmp.Or(b.Timestamp.Compare(a.Timestamp), cmp.Compare(b.Partition, a.Partition), cmp.Compare(b.Offset, a.Offset))
	})
	return letters[:min(n, len(letters))], nil
}

func scanLetters(ctx context.Context, cfg Config, ranges []Range, letters *[]Letter, logger *slog.Logger) error {
	return Scan(ctx, cfg, ranges, nil, func(v Visited) error {
		if _, marker := RedrivenLetter(v.Record); !marker {
			*letters = append(*letters, ParseLetter(v.Record))
		}
		return nil
	}, logger)
}

// ParseLetter reads the headers. What others wrote into the topic has none of
// them, or nonsense in them. What stands before the last HeaderTopic is the
// original's own, which may have been a letter itself.
func ParseLetter(r chunk.Record) Letter {
	l := Letter{Record: r, First: -1}
	partition, offset := false, false
	for i, h := range r.Headers {
		value := string(h.Value)
		switch h.Key {
		case HeaderTopic:
			l = Letter{Record: r, First: -1, Own: r.Headers[:i:i]}
			l.Original.Topic, partition, offset = value, false, false
		case HeaderPartition:
			n, err := strconv.ParseInt(value, 10, 32)
			l.Original.Partition, partition = int32(n), err == nil && n >= 0
		case HeaderOffset:
			n, err := strconv.ParseInt(value, 10, 64)
			l.Original.Offset, offset = n, err == nil && n >= 0
		case HeaderStage:
			l.Stage = value
		case HeaderReason:
			l.Reason = value
		case HeaderMessage:
			l.Message = value
		case HeaderFirstOffset:
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
				l.First = n
			}
		case HeaderOmitted:
			l.Omitted = value
		case HeaderTimestamp:
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil && ms > 0 {
				l.OriginalTime = time.UnixMilli(ms)
			}
		}
	}
	l.Named = l.Original.Topic != "" && partition && offset
	return l
}

// RedrivenLetter tells a marker from a letter: a record of the dead-letter
// topic which says that a letter was sent to its topic once more (see package
// deadletter), and which. A letter is never taken for one, whatever headers its
// original came with.
func RedrivenLetter(r chunk.Record) (which string, ok bool) {
	for _, h := range r.Headers {
		switch h.Key {
		case HeaderTopic:
			return "", false
		case HeaderRedriven:
			which, ok = string(h.Value), true
		}
	}
	return which, ok
}
