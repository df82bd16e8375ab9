package consumer

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The last offsets of a log may hold nothing to be read: compaction has removed
// their records, or they are of a transaction that was aborted while one that
// began later is still open. Then no record ever comes that shows the end.
// Whoever waits for it asks the leader instead.

// tailQuiet is how long nothing may come before a leader is asked.
const tailQuiet = 500 * time.Millisecond

// exhausted are those of the ranges in which the partition's leader says that
// there is nothing left to be read. A range of which that cannot be told is not
// among them; what is wrong then comes out where the records are read. It takes
// lookTimeout at most.
func exhausted(ctx context.Context, client *kgo.Client, cfg Config, ranges []Range) []Range {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var topics []string
	for _, r := range ranges {
		if !slices.Contains(topics, r.Topic) {
			topics = append(topics, r.Topic)
		}
	}
	details, err := kadm.NewClient(client).ListTopics(ctx, topics...)
	if err != nil {
		return nil
	}
	a := asker{client: client, cfg: cfg}
	// The client's own, so that it unfolds no more than decompress_max_bytes.
	a.decompressor, _ = client.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	var out []Range
	for _, r := range ranges {
		if a.exhausted(ctx, details[r.Topic], r) {
			out = append(out, r)
		}
	}
	return out
}

// asker asks the leaders of partitions what is in their logs.
type asker struct {
	client       *kgo.Client
	cfg          Config // for the isolation
	decompressor kgo.Decompressor
}

func (a *asker) exhausted(ctx context.Context, topic kadm.TopicDetail, r Range) bool {
	for at := r.From; ; {
		p, ok := a.fetch(ctx, topic, r.Partition, at)
		if !ok {
			return false
		}
		if len(p.RecordBatches) == 0 {
			// By itself that says nothing, whatever end comes with it: a broker that
			// throttles answers so, and one whose tiered storage (KIP-405) does not
			// bring the records in time. Only the batch behind the range tells, even
			// if it is of an open transaction.
			if a.cfg.uncommitted() {
				return false
			}
			all := *a
			all.cfg.Isolation = readUncommitted
			r.From = at
			return all.exhausted(ctx, topic, r)
		}
		found, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			KeepControlRecords: true, Offset: at, IsolationLevel: a.cfg.isolation(), Topic: r.Topic, Partition: r.Partition,
		}, &p, a.decompressor, nil)
		switch {
		case found.Err != nil:
			return false
		case len(found.Records) > 0:
			return found.Records[0].Offset >= r.To
		case next >= r.To:
			return true
		case next <= at:
			return false
		}
		at = next
	}
}

// fetch reads the record batch at an offset, by a request of its own.
func (a *asker) fetch(ctx context.Context, topic kadm.TopicDetail, partition int32, at int64) (kmsg.FetchResponseTopicPartition, bool) {
	var none kmsg.FetchResponseTopicPartition
	detail, known := topic.Partitions[partition]
	if topic.Err != nil || !known || detail.Leader < 0 {
		return none, false
	}
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.IsolationLevel = 0, 1
	if a.cfg.uncommitted() {
		req.IsolationLevel = 0
	}
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, at, 1 // the first batch comes whatever its size
	t.Topic, t.TopicID, t.Partitions = topic.Topic, topic.ID, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := a.client.Broker(int(detail.Leader)).RetriableRequest(ctx, req)
	if err != nil {
		return none, false
	}
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok || resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return none, false
	}
	got := resp.Topics[0].Partitions[0]
	return got, got.ErrorCode == 0 && got.Partition == partition
}

// tail is what lies between all that was read of a partition, and is durable,
// and an end.
type tail struct {
	part *partition
	Range
}

// settle passes the tails without a record, so that the commit, the lag and
// the end of a finite source do not wait for what never comes. Leaders are asked
// about partitions of which nothing has come for so long as quiet.
func (s *Source) settle(ends map[topicPartition]int64, quiet time.Duration) {
	tails := s.tails(ends, quiet)
	if len(tails) == 0 {
		return
	}
	ranges := make([]Range, len(tails))
	for i, t := range tails {
		ranges[i] = t.Range
	}
	empty := map[Range]bool{}
	for _, r := range s.ask(ranges) {
		empty[r] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tails {
		// Whatever has come in the meantime will pass the tail.
		if p := t.part; empty[t.Range] && s.idle(p) && p.position() == t.From {
			p.pass(t.To)
		}
	}
	s.meter(0)
	s.notify()
}

// settleRead passes what a finite source has seen to be empty: it has read, and
// left alone, a record behind its range.
func (s *Source) settleRead() {
	if s.finite == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := false
	for id, p := range s.parts {
		if to := s.finite.ends[id]; s.idle(p) && p.next >= to && p.from() < to {
			p.pass(to)
			passed = true
		}
	}
	if passed {
		s.meter(0)
		s.notify()
	}
}

// ask is exhausted by a client of its own: behind the reader's fetches, which
// the brokers hold open, each question would wait for fetch_max_wait.
func (s *Source) ask(ranges []Range) []Range {
	ctx, cancel := context.WithTimeout(s.intake, lookTimeout)
	defer cancel()
	client, err := connect(ctx, s.cfg,
		kgo.BrokerMaxReadBytes(s.cfg.ResponseMaxBytes),
		kgo.MaxDecompressBatchBytes(s.cfg.DecompressMaxBytes),
		kgo.WithLogger(clientLog{s.logger}))
	if err != nil {
		return nil
	}
	defer client.Close()
	return exhausted(ctx, client, s.cfg, ranges)
}

// tails are those that may be empty: all that was read before them is done, and
// reading is not held back.
func (s *Source) tails(ends map[topicPartition]int64, quiet time.Duration) []tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.roomy() {
		return nil
	}
	var out []tail
	for _, id := range sortedKeys(ends) {
		p, to := s.parts[id], ends[id]
		if p == nil || !s.idle(p) || time.Since(p.moved) < quiet || p.position() < 0 || p.position() >= to {
			continue
		}
		out = append(out, tail{p, Range{id.topic, id.partition, p.position(), to}})
	}
	return out
}

// idle reports whether all that was read of a partition is done. It never is
// again when reading has failed: what was polled then went nowhere. The mutex
// must be held.
func (s *Source) idle(p *partition) bool {
	if s.err != nil || s.reading || !p.begun || p.gone || p.stopping || len(p.spans) > 0 {
		return false
	}
	for i := range s.former.items {
		if s.former.items[i].part == p {
			return false
		}
	}
	return true
}

// reached is the offset before which everything was read; -1 if that is not
// known.
func (p *partition) reached() int64 { return max(p.next, p.done.Offset) }

// position is the same, or where reading begins.
func (p *partition) position() int64 {
	if at := p.reached(); at >= 0 {
		return at
	}
	return p.start
}

// pass notes that there is nothing to be read before to, and that what was read
// is done. The offset is of no record, so it has no epoch: with that of the last
// one the client might take an end in a later epoch for lost records.
func (p *partition) pass(to int64) {
	p.done = kgo.EpochOffset{Epoch: -1, Offset: to}
	p.outlive()
}
