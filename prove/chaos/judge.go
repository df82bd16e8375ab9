package chaos

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/prove/history"
)

// judge compares what is left with what must be.
func (r *run) judge(ctx context.Context, seen *watching) (*Report, error) {
	points, err := r.world.index.read(ctx)
	if err != nil {
		return nil, err
	}
	bow := embedder.NewBow("", nil)
	var encodeErr error
	verdict := r.history.Compare(points, func(text string) []float32 {
		e, err := bow.Encode(ctx, []string{text})
		if err != nil {
			encodeErr = err
			return nil
		}
		return e[0].Vector
	})
	if encodeErr != nil {
		return nil, fmt.Errorf("encode a text for comparison: %w", encodeErr)
	}
	letters, strangers, err := r.deadLetters(ctx)
	if err != nil {
		return nil, err
	}
	report := &Report{
		Seed: r.Seed, Fenced: !r.Unfenced, Qdrant: r.world.qdrantName(ctx), Began: r.began.UTC().Truncate(time.Second),
		Events: r.Plan.Events, Records: len(r.history.Records), Chunks: r.Plan.Chunks, Workers: r.Plan.Workers, BackfillRows: r.rows,
		Points: len(points), Verdict: verdict, Regressed: seen.watch.Regressed, Looks: seen.looks,
		LongestStallSeconds: seen.stalls.longest.Seconds(), WallSeconds: time.Since(r.began).Seconds(),
	}
	report.LettersMissing, report.LettersWrong = r.history.Letters(letters)
	report.LettersWrong += strangers
	for _, kind := range Kinds() {
		if planned := r.Plan.Faults[kind]; planned > 0 {
			report.Faults = append(report.Faults, Injected{kind, planned, r.tally.injected[kind], r.tally.hits[kind]})
		}
	}
	report.MidWrite, report.Unclean, report.Disturbed = r.tally.midWrite, r.tally.unclean, r.tally.disturbed
	report.Rewound = r.tally.rewound
	for _, w := range r.world.workers() {
		report.Failures = append(report.Failures, w.failures...)
	}
	r.count(report)
	if !report.Good() && !r.Unfenced {
		return report, r.keepEvidence(points)
	}
	return report, nil
}

// count adds what the workers have done for it.
func (r *run) count(report *Report) {
	needed := r.rows
	for i := range r.history.Records {
		if r.history.Records[i].Kind != history.Malformed {
			needed++
		}
	}
	all := r.meter.total()
	report.Processed = int(all.Events)
	report.ReprocessedShare = max(0, all.Events/float64(needed)-1)
	report.ModelCalls, report.DistinctTexts = int(all.Calls), len(r.history.Texts)
	report.ModelCallsBeyond = max(0, report.ModelCalls-report.DistinctTexts)
	report.CorruptNoticed = int(all.Corrupt)
}

// deadLetters reads which records are in the dead letters. Strangers are
// letters of what was not published to the stream.
func (r *run) deadLetters(ctx context.Context) (found history.Letters, strangers int, err error) {
	found = history.Letters{}
	topics := map[string]bool{}
	for _, w := range r.world.workers() {
		topics[w.topic] = true
	}
	for topic := range topics {
		err := r.world.each(ctx, deadLetters(topic), func(k *kgo.Record) {
			at, ok := origin(k, r.world.topic)
			i, known := r.published.find(at)
			if !ok || !known {
				strangers++
				return
			}
			found[i] = true
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return found, strangers, nil
}

// origin is where a dead letter comes from, if that is this topic.
func origin(k *kgo.Record, topic string) (at place, ok bool) {
	var partition, offset int64
	var errs [2]error
	for _, h := range k.Headers {
		switch h.Key {
		case consumer.HeaderTopic:
			ok = string(h.Value) == topic
		case consumer.HeaderPartition:
			partition, errs[0] = strconv.ParseInt(string(h.Value), 10, 32)
		case consumer.HeaderOffset:
			offset, errs[1] = strconv.ParseInt(string(h.Value), 10, 64)
		}
	}
	return place{int32(partition), offset}, ok && errs[0] == nil && errs[1] == nil
}

// each visits all records of a topic of one partition.
func (w *world) each(ctx context.Context, topic string, visit func(*kgo.Record)) error {
	ends, err := w.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	end, _ := ends.Lookup(topic, 0)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.broker.Addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	defer client.Close()
	// A producer that repeats itself leaves no gaps in offsets, so that the last
	// one is there.
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(k *kgo.Record) {
			next = k.Offset + 1
			visit(k)
		})
	}
	return nil
}
