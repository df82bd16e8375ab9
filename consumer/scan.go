package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

// Range is a stretch of one partition: the records at offsets From to To-1.
type Range struct {
	Topic     string
	Partition int32
	From, To  int64
}

// Visited is one record of a [Scan].
type Visited struct {
	// Record is what was read. Only Origin is set for a record batch that
	// unfolds to more than decompress_max_bytes; it is visited once, at its last
	// offset.
	Record chunk.Record
	// Events are what it says; none if it is no change of a chunk.
	Events []chunk.Event
	// Err says why it is malformed: a permanent error. A worker would send the
	// record to the dead letters.
	Err error
}

// Ranges are the whole of cfg's topics as they stand now, from the first record
// that is there to the end of what the isolation level lets be read; ordered
// by topic and partition. Empty partitions are listed, with From equal to To.
func Ranges(ctx context.Context, cfg Config) ([]Range, error) {
	client, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return listRanges(ctx, kadm.NewClient(client), cfg)
}

// RangesIfAny is [Ranges], and nothing where a topic does not exist.
func RangesIfAny(ctx context.Context, cfg Config) ([]Range, error) {
	ranges, err := Ranges(ctx, cfg)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	return ranges, err
}

func listRanges(ctx context.Context, adm *kadm.Client, cfg Config) ([]Range, error) {
	starts, err := listed(adm.ListStartOffsets(ctx, cfg.Topics...))
	if err != nil {
		return nil, fmt.Errorf("find where the topics start: %w", err)
	}
	ends, err := listEnds(ctx, adm, cfg)
	if err != nil {
		return nil, err
	}
	var ranges []Range
	for _, id := range sortedKeys(ends) {
		ranges = append(ranges, Range{Topic: id.topic, Partition: id.partition, From: min(starts[id], ends[id]), To: ends[id]})
	}
	return ranges, nil
}

// connect reaches a broker, or says what to check.
func connect(ctx context.Context, cfg Config, more ...kgo.Opt) (*kgo.Client, error) {
	options, err := ClientOptions(cfg)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(options, more...)...)
	if err != nil {
		return nil, fmt.Errorf("set up the Kafka client: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	if err := client.Ping(limited); err != nil {
		client.Close()
		return nil, fmt.Errorf("reach Kafka at %v: check brokers, sasl and tls: %w", cfg.Brokers, err)
	}
	return client, nil
}

// Scan visits every record of the ranges, in the order of offsets within each
// partition; the partitions come interleaved. It belongs to no group and
// commits nothing. At most one range may be of a partition.
//
// It ends by position, not by count: compaction and transactions leave offsets
// without a record. Under read_committed, records of aborted transactions are
// not visited, and a range must not reach beyond the last stable offset.
// Memory is bounded by one fetch of each broker (fetch_max_bytes).
//
// A malformed record is visited like any other. Scan returns visit's first
// error as it is; and an error of its own for what it cannot read, such as
// records that retention deletes while it runs. decode is as in [New]; nil reads
// records without a look at what they say.
func Scan(ctx context.Context, cfg Config, ranges []Range, decode func(chunk.Record) ([]chunk.Event, error),
	visit func(Visited) error, logger *slog.Logger,
) error {
	s := &scan{cfg: cfg, decode: decode, visit: visit, logger: logger, open: map[topicPartition]*Range{}}
	consume := map[string]map[int32]kgo.Offset{}
	for _, r := range ranges {
		id := topicPartition{r.Topic, r.Partition}
		if s.open[id] != nil {
			return fmt.Errorf("scan topic %s partition %d: the partition is given twice", r.Topic, r.Partition)
		}
		if r.From >= r.To {
			continue
		}
		s.open[id] = &r
		if consume[r.Topic] == nil {
			consume[r.Topic] = map[int32]kgo.Offset{}
		}
		consume[r.Topic][r.Partition] = kgo.NewOffset().At(r.From)
	}
	if len(s.open) == 0 {
		return nil
	}
	var err error
	s.client, err = connect(ctx, cfg,
		kgo.ConsumePartitions(consume),
		kgo.FetchMaxBytes(cfg.FetchMaxBytes),
		kgo.BrokerMaxReadBytes(cfg.ResponseMaxBytes),
		kgo.FetchMaxWait(min(cfg.FetchMaxWait, tailQuiet)),
		kgo.MaxDecompressBatchBytes(cfg.DecompressMaxBytes),
		kgo.FetchIsolationLevel(cfg.isolation()),
		kgo.KeepControlRecords(), // they are positions too
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.WithLogger(clientLog{logger}))
	if err != nil {
		return err
	}
	defer s.client.Close()
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.run(ctx)
}

// scan is one run of Scan. It is used by one goroutine.
type scan struct {
	cfg    Config
	client *kgo.Client
	decode func(chunk.Record) ([]chunk.Event, error)
	visit  func(Visited) error
	logger *slog.Logger
	// open are the ranges that are not read to their ends; From moves along.
	open map[topicPartition]*Range
}

// check refuses a range that the log does not have: its records would never
// come.
func (s *scan) check(ctx context.Context) error {
	cfg := s.cfg
	cfg.Topics = nil
	for id := range s.open {
		cfg.Topics = append(cfg.Topics, id.topic)
	}
	there, err := listRanges(ctx, kadm.NewClient(s.client), cfg)
	if err != nil {
		return err
	}
	for _, id := range sortedKeys(s.open) {
		want, known := s.open[id], false
		for _, r := range there {
			if r.Topic != id.topic || r.Partition != id.partition {
				continue
			}
			known = true
			if want.From < r.From || want.To > r.To {
				return fmt.Errorf("scan topic %s partition %d: offsets %d to %d are asked for, but the log holds %d to %d (%s): "+
					"records were deleted since, or the offsets are of another topic", id.topic, id.partition, want.From, want.To, r.From, r.To, s.cfg.Isolation)
			}
		}
		if !known {
			return fmt.Errorf("scan topic %s: it has no partition %d", id.topic, id.partition)
		}
	}
	return nil
}

func (s *scan) run(ctx context.Context) error {
	for len(s.open) > 0 {
		limited, cancel := context.WithTimeout(ctx, tailQuiet)
		fetches := s.client.PollRecords(limited, s.cfg.Batch.Events)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		quiet := true
		var failed error
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if r := s.open[topicPartition{f.Topic, f.Partition}]; failed == nil && r != nil {
				quiet = quiet && len(f.Records) == 0 && f.Err == nil
				failed = s.take(r, f)
			} else if failed == nil && f.Topic == "" {
				failed = s.fetchError(f)
			}
		})
		if failed != nil {
			return failed
		}
		if !quiet {
			continue
		}
		var open []Range
		for _, id := range sortedKeys(s.open) {
			open = append(open, *s.open[id])
		}
		for _, r := range exhausted(ctx, s.client, s.cfg, open) {
			s.finish(topicPartition{r.Topic, r.Partition})
		}
	}
	return nil
}

// take visits the records of one partition that are in its range.
func (s *scan) take(r *Range, f kgo.FetchTopicPartition) error {
	for _, record := range f.Records {
		if record.Offset >= r.To {
			r.From = r.To
			break
		}
		r.From = record.Offset + 1
		if record.Attrs.IsControl() {
			continue
		}
		v := Visited{Record: toRecord(record)}
		if s.decode != nil {
			v.Events, _, v.Err = decodeSafely(s.decode, nil, v.Record, s.logger)
		}
		if v.Err != nil {
			if _, permanent := chunk.ReasonOf(v.Err); !permanent {
				return fmt.Errorf("decode topic %s partition %d offset %d: %w", r.Topic, r.Partition, record.Offset, v.Err)
			}
		}
		if err := s.visit(v); err != nil {
			return err
		}
	}
	var bomb *kgo.ErrDecompressTooLarge
	switch {
	case r.From >= r.To:
	case errors.As(f.Err, &bomb):
		if err := s.stepOver(r, bomb); err != nil {
			return err
		}
	case f.Err != nil:
		return s.fetchError(f)
	}
	if r.From >= r.To {
		s.finish(topicPartition{r.Topic, r.Partition})
	}
	return nil
}

// stepOver visits a record batch that is too large to be unfolded as one
// malformed record, and goes on behind it.
func (s *scan) stepOver(r *Range, bomb *kgo.ErrDecompressTooLarge) error {
	r.From = bomb.NextOffset
	if r.From < r.To {
		s.client.RemoveConsumePartitions(map[string][]int32{r.Topic: {r.Partition}})
		s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic: {r.Partition: kgo.NewOffset().At(r.From)}})
	}
	return s.visit(Visited{
		Record: chunk.Record{Origin: chunk.Origin{Topic: r.Topic, Partition: r.Partition, Offset: bomb.NextOffset - 1}},
		Err:    tooLarge(bomb, s.cfg.DecompressMaxBytes),
	})
}

// fetchError is nil for what the client gets over by itself.
func (s *scan) fetchError(f kgo.FetchTopicPartition) error {
	switch {
	case f.Err == nil, errors.Is(f.Err, context.DeadlineExceeded), errors.Is(f.Err, context.Canceled),
		kerr.IsRetriable(f.Err) && !errors.Is(f.Err, kerr.UnknownTopicID), kgo.IsRetryableBrokerErr(f.Err):
		return nil
	case errors.Is(f.Err, kerr.OffsetOutOfRange):
		return fmt.Errorf("scan topic %s partition %d: records were deleted while they were read (by retention, or with the topic); try again: %w",
			f.Topic, f.Partition, f.Err)
	default:
		return fmt.Errorf("scan topic %s partition %d: %w", f.Topic, f.Partition, f.Err)
	}
}

// finish ends a partition.
func (s *scan) finish(id topicPartition) {
	delete(s.open, id)
	s.client.RemoveConsumePartitions(map[string][]int32{id.topic: {id.partition}})
}
