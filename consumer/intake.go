package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

// read moves records from the client into the former, one poll at a time,
// while there is room. It is a goroutine of its own because a poll blocks
// while a rebalance callback runs, and Next must not.
func (s *Source) read() {
	for s.room() {
		if err := s.poll(); err != nil {
			s.fail(err)
			return
		}
	}
}

// room blocks until another poll is wanted: no batch stands ready to be cut
// and the budget is not spent. It is false when the intake ends.
//
// Not polling is all the pausing there is: the client then holds one fetch a
// broker (fetch_max_bytes each) and asks for no more. Its own
// PauseFetchPartitions would throw away what it has fetched already, and fetch
// it again.
func (s *Source) room() bool {
	for {
		if s.intake.Err() != nil {
			return false
		}
		s.mu.Lock()
		ok := s.roomy()
		w := wakeup{changed: s.changed}
		s.mu.Unlock()
		if ok {
			return true
		}
		if w.until(s.intake) != nil {
			return false
		}
	}
}

// roomy reports whether another poll is wanted. The mutex must be held.
func (s *Source) roomy() bool {
	return s.former.full == "" && s.former.bytes+s.inFlight <= s.cfg.BufferBytes
}

// poll takes what the client has fetched, at most as many records as a batch
// may hold events. Its error is fatal.
func (s *Source) poll() error {
	fetches := s.client.PollRecords(s.intake, s.cfg.Batch.Events)
	items, err := s.bind(fetches)
	// From here on the items know their assignments, so partitions may come
	// and go while they are decoded.
	s.client.AllowRebalance()
	if err != nil {
		return err
	}
	for i := range items {
		if items[i].err != nil {
			continue // what it holds is not to be looked at
		}
		if err := s.interpret(&items[i]); err != nil {
			return err
		}
	}
	s.accept(items)
	return nil
}

// bind ties each record to the assignment it was read under.
func (s *Source) bind(fetches kgo.Fetches) ([]item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []item
	var failed error
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if failed != nil {
			return
		}
		id := topicPartition{f.Topic, f.Partition}
		p := s.parts[id]
		var bomb *kgo.ErrDecompressTooLarge
		if errors.As(f.Err, &bomb) && p != nil {
			items = append(items, s.stepOver(p, bomb)...)
			return
		}
		if f.Err != nil {
			failed = s.fetchError(id, p, f.Err)
			return
		}
		if len(f.Records) == 0 {
			return
		}
		first, last := f.Records[0].Offset, f.Records[len(f.Records)-1].Offset
		switch {
		case p == nil:
			failed = fmt.Errorf("topic %s partition %d: records of a partition that is not assigned; restart the worker", id.topic, id.partition)
			return
		case first < p.next:
			failed = fmt.Errorf("topic %s partition %d: read offset %d after %d: the log was truncated or the topic made anew; %s",
				id.topic, id.partition, first, p.next-1, s.resetAdvice(id))
			return
		}
		items = append(items, s.take(p, f.HighWatermark, f.Records)...)
		p.readTo(first, last, f.HighWatermark)
	})
	s.meter(0)
	s.reading = len(items) > 0
	return items, failed
}

// take makes items of the records of one partition, less those behind the end
// of a finite source. The first record of an assignment may be one that has
// killed its owners: it is not decoded, since that may be what kills.
func (s *Source) take(p *partition, end int64, records []*kgo.Record) []item {
	offset := records[0].Offset
	records = s.finite.within(p.topicPartition, records)
	items := make([]item, len(records))
	for i, r := range records {
		items[i] = item{part: p, record: r, bytes: size(r)}
	}
	if p.touched {
		return items
	}
	p.touched = true
	p.suspect(offset, s.finite.bound(p.topicPartition, end), chunk.MaxInFlight*s.cfg.Batch.Events)
	if len(items) > 0 && p.condemned(offset, s.cfg.QuarantineAfter) {
		items[0].err, items[0].stage = quarantined(p.found.deaths), "quarantine"
		s.logger.Error("a record goes to the dead letters unread: the workers that handled it died",
			"topic", p.topic, "partition", p.partition, "offset", offset, "deaths", p.found.deaths)
	}
	return items
}

// size is what a record counts towards the bounds in bytes.
func size(r *kgo.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}

// interpret decodes the item's record. Its error is fatal; a malformed record
// is noted in the item.
func (s *Source) interpret(it *item) error {
	if it.record.Attrs.IsControl() {
		return nil
	}
	it.events, it.tokens, it.err = decodeSafely(s.decode, s.tokens, toRecord(it.record), s.logger)
	if it.err == nil {
		return nil
	}
	if _, permanent := chunk.ReasonOf(it.err); !permanent {
		r := it.record
		return fmt.Errorf("decode topic %s partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, it.err)
	}
	it.stage = "decode"
	return nil
}

// decodeSafely makes a panic the fault of the record: a bug that one record
// brings to light must not stop its partition. A nil tokens counts none.
func decodeSafely(decode func(chunk.Record) ([]chunk.Event, error), tokens func(string) int, r chunk.Record, logger *slog.Logger,
) (events []chunk.Event, n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			logger.Error("decoding panicked", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "stack", string(debug.Stack()))
			events, err = nil, chunk.Permanentf(chunk.ReasonPanicked, "decoding panicked (a bug, please report it with the worker's log)")
		}
	}()
	events, err = decode(r)
	for i := range events {
		if tokens != nil && events[i].Text != "" {
			n += tokens(events[i].Text)
		}
	}
	return events, n, err
}

func toRecord(r *kgo.Record) chunk.Record {
	rec := chunk.Record{
		Origin:    chunk.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
		Timestamp: r.Timestamp,
		Key:       r.Key,
		Value:     r.Value,
	}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, chunk.Header{Key: h.Key, Value: h.Value})
	}
	return rec
}

// accept queues decoded items, less those whose partition has gone since.
func (s *Source) accept(items []item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, it := range items {
		s.mean.add(it.tokens)
		if !it.part.stopping && !it.part.gone {
			it.at = now
			for i := range it.events {
				it.events[i].Read = now
			}
			s.former.add(it)
		}
	}
	s.reading = false
	s.metrics.buffered(s.former.bytes + s.inFlight)
	s.notify()
}

// fetchError sorts what a poll reports: nil for what the client gets over by
// itself, else a fatal error that says what to do.
func (s *Source) fetchError(id topicPartition, p *partition, err error) error {
	var loss *kgo.ErrDataLoss
	var session *kgo.ErrGroupSession
	where := fmt.Sprintf("topic %s partition %d", id.topic, id.partition)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		return nil
	case errors.As(err, &session):
		return s.sessionError(session.Err)
	case errors.As(err, &loss):
		return fmt.Errorf("%w: the broker lost records, probably in an unclean leader election; publish what is missing again; %s",
			err, s.resetAdvice(id))
	case id.topic == "" && strings.Contains(err.Error(), "BrokerMaxReadBytes"):
		// The client cannot tell which partition it is.
		return fmt.Errorf("a broker's answer is larger than response_max_bytes (%d), so some partition holds a record batch "+
			"of that size: raise it above the topics' max.message.bytes: %w", s.cfg.ResponseMaxBytes, err)
	case errors.Is(err, kerr.OffsetOutOfRange):
		offset := "the group's offset"
		if p != nil && p.next >= 0 {
			offset = fmt.Sprintf("offset %d", p.next)
		}
		return fmt.Errorf("%s: %s is no longer in the log: records were deleted before they were read (by retention, "+
			"or with the topic); publish what is missing again; %s: %w", where, offset, s.resetAdvice(id), err)
	case errors.Is(err, kerr.UnknownTopicID):
		return fmt.Errorf("%s: the topic was deleted and made anew while it was read; %s: %w", where, s.resetAdvice(id), err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("topic %s: grant READ and DESCRIBE on it to this client: %w", id.topic, err)
	case kerr.IsRetriable(err), kgo.IsRetryableBrokerErr(err):
		return nil
	default:
		return fmt.Errorf("fetch %s: %w", where, err)
	}
}

func (s *Source) resetAdvice(id topicPartition) string {
	return fmt.Sprintf("to go on without them, stop the group and reset it: kafka-consumer-groups.sh --group %s --topic %s:%d --reset-offsets --to-earliest --execute",
		s.cfg.Group, id.topic, id.partition)
}

// sessionError sorts why the group turned this member away. What is not
// listed the client answers by joining again.
func (s *Source) sessionError(err error) error {
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return fmt.Errorf("group %s: grant READ on it to this client: %w", s.cfg.Group, err)
	case errors.Is(err, kerr.FencedInstanceID):
		return fmt.Errorf("group %s: another worker joined with instance_id %q; give each one of its own: %w", s.cfg.Group, s.cfg.InstanceID, err)
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		return fmt.Errorf("group %s: its members share no balancer with %q; use theirs, or stop them first: %w", s.cfg.Group, s.cfg.Balancer, err)
	case errors.Is(err, kerr.InvalidSessionTimeout):
		return fmt.Errorf("group %s: the broker does not allow a session_timeout of %s: %w", s.cfg.Group, s.cfg.SessionTimeout, err)
	case errors.Is(err, kerr.GroupMaxSizeReached), errors.Is(err, kerr.UnsupportedAssignor),
		errors.Is(err, kerr.InvalidGroupID), errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("join group %s: %w", s.cfg.Group, err)
	}
	if !errors.Is(err, context.Canceled) {
		s.logger.Warn("the group session ended; joining again", "group", s.cfg.Group, "error", err)
	}
	return nil
}
