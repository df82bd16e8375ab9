package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"chunktide/chunk"
)

// ReadOne reads the record at a place, of whatever topic. It is false if there
// is none: deleted, compacted away, never written, or not committed.
func ReadOne(ctx context.Context, cfg Config, at chunk.Origin, logger *slog.Logger) (r chunk.Record, ok bool, err error) {
	cfg.Topics = []string{at.Topic}
	ranges, err := RangesIfAny(ctx, cfg)
	if err != nil {
		return r, false, err
	}
	for _, have := range ranges {
		if have.Partition != at.Partition || at.Offset < have.From || at.Offset >= have.To {
			continue
		}
		have.From, have.To = at.Offset, at.Offset+1
		err := Scan(ctx, cfg, []Range{have}, nil, func(v Visited) error {
			r, ok = v.Record, v.Err == nil && v.Record.Offset == at.Offset
			return nil
		}, logger)
		if err != nil {
			return r, false, fmt.Errorf("read the record at offset %d: %w", at.Offset, err)
		}
	}
	return r, ok, nil
}

// RangesSince is [Ranges] from the first record of each partition that is not
// older than a time, by its timestamp.
func RangesSince(ctx context.Context, cfg Config, at time.Time) ([]Range, error) {
	client, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	ranges, err := listRanges(ctx, adm, cfg)
	if err != nil || at.IsZero() {
		return ranges, err
	}
	from, err := listed(adm.ListOffsetsAfterMilli(ctx, at.UnixMilli(), cfg.Topics...))
	if err != nil {
		return nil, fmt.Errorf("find the offsets of %s: %w", at.Format(time.RFC3339), err)
	}
	for i := range ranges {
		r := &ranges[i]
		if n, ok := from[topicPartition{r.Topic, r.Partition}]; ok {
			r.From = min(max(r.From, n), r.To)
		}
	}
	return ranges, nil
}
