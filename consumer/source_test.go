package consumer

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

func TestEventsComeInLogOrderAndAreCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.produce(t, 0, "a0", "none", "a2", "two 3")
	w.produce(t, 1, "b0")
	reg := prometheus.NewRegistry()
	s := open(t, w.config(), reg)
	batches, events := gather(t, s, 5)
	byPartition := map[int32][]string{}
	for _, e := range events {
		byPartition[e.Origin.Partition] = append(byPartition[e.Origin.Partition], e.Text)
	}
	want := map[int32][]string{0: {"a0", "a2", "two 3", "two 3"}, 1: {"b0"}}
	if !reflect.DeepEqual(byPartition, want) {
		t.Errorf("events %v, want %v", byPartition, want)
	}
	if lag := s.Lag(); lag != 5 {
		t.Errorf("lag %d before the acknowledgement, want 5", lag)
	}
	for _, b := range batches {
		b.Ack()
		b.Ack() // harmless
	}
	w.waitCommitted(t, 0, 4)
	w.waitCommitted(t, 1, 1)
	if lag := s.Lag(); lag != 0 {
		t.Errorf("lag %d after the acknowledgement, want 0", lag)
	}
	if got := s.Assigned(); !reflect.DeepEqual(got, map[string][]int32{topic: {0, 1}}) {
		t.Errorf("assigned %v", got)
	}
	if n := len(samples(t, reg, "chunktide_consumer_lag")); n != 2 {
		t.Errorf("%d lag series, want 2", n)
	}
	if n := len(samples(t, reg, "chunktide_dead_letters_total")); n != len(chunk.Reasons()) {
		t.Errorf("%d dead-letter series at zero, want one for each of the %d reasons", n, len(chunk.Reasons()))
	}
	shut(t, s)
	if n := len(samples(t, reg, "chunktide_consumer_lag")); n != 0 {
		t.Errorf("%d lag series after Close, want 0", n)
	}
}

func TestNullAndEmptyValuesDiffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	null := &kgo.Record{Topic: topic, Key: []byte("k"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}}
	empty := &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte{}}
	if err := w.cl.ProduceSync(ctx(t), null, empty).FirstErr(); err != nil {
		t.Fatal(err)
	}
	s := w.open(t, w.config())
	_, events := gather(t, s, 2)
	if events[0].Op.String() != "delete" || events[1].Op.String() != "upsert" {
		t.Errorf("null is %v and empty is %v", events[0].Op, events[1].Op)
	}
}

// A commit marker occupies an offset, and compaction removes some: the
// committed offset is the one after the last record, whatever lies between.
func TestOffsetsWithGaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	tx := w.client(t, kgo.TransactionalID("tx"))
	write := func(commit kgo.TransactionEndTry, values ...string) {
		t.Helper()
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			tx.Produce(ctx(t), &kgo.Record{Topic: topic, Value: []byte(v)}, nil)
		}
		if err := tx.Flush(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := tx.EndTransaction(ctx(t), commit); err != nil {
			t.Fatal(err)
		}
	}
	write(kgo.TryCommit, "a", "b") // 0 1, marker 2
	write(kgo.TryAbort, "lost")    // 3, marker 4
	write(kgo.TryCommit, "c")      // 5, marker 6
	s := w.open(t, w.config())
	batches, events := gather(t, s, 3)
	if got := texts(events); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("read %v: an aborted record got through, or one is missing", got)
	}
	for _, b := range batches {
		b.Ack()
	}
	deadline := ctx(t)
	go func() { // the last marker may come in a batch of its own
		for {
			b, err := s.Next(deadline)
			if err != nil {
				return
			}
			b.Ack()
		}
	}()
	w.waitCommitted(t, 0, 7)
}

func TestCompactedOffsets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	if err := w.CreateTopic("compacted", 1, map[string]string{"cleanup.policy": "compact", "segment.bytes": "14", "min.cleanable.dirty.ratio": "0"}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"k", "k", "k", "k", "j"} {
		r := &kgo.Record{Topic: "compacted", Key: []byte(key), Value: []byte("v")}
		if err := w.cl.ProduceSync(ctx(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	w.Compact()
	cfg := w.config()
	cfg.Topics, cfg.DeadLetterTopic = []string{"compacted"}, letters
	s := w.open(t, cfg)
	batches, events := gather(t, s, 2)
	if len(events) >= 5 {
		t.Fatal("nothing was compacted: the test is void")
	}
	for _, b := range batches {
		b.Ack()
	}
	eventually(t, "the commit is behind the last record", func() bool {
		offsets, err := w.adm.FetchOffsetsForTopics(ctx(t), group, "compacted")
		if err != nil {
			t.Fatal(err)
		}
		o, _ := offsets.Lookup("compacted", 0)
		return o.At == 5
	})
}

// The lag stays true while reading has stopped.
func TestLagGrowsWhileNothingIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a")
	cfg := w.config()
	cfg.BufferBytes, cfg.Batch.Bytes = 1, 1
	reg := prometheus.NewRegistry()
	s := open(t, cfg, reg)
	b := next(t, s)
	w.produce(t, 0, "b", "c")
	if _, err := s.lookAtEnds(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if lag := s.Lag(); lag != 3 {
		t.Errorf("lag %d, want 3", lag)
	}
	b.Ack()
	if lag := samples(t, reg, "chunktide_consumer_lag")["0/docs"]; lag < 2 {
		t.Errorf("the metric says %v, want 2", lag)
	}
}

func TestBudgetStopsReading(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	value := strings.Repeat("x", 997) // 1000 bytes with the key
	for range 60 {
		w.produce(t, 0, value)
	}
	cfg := w.config()
	cfg.Batch.Events, cfg.Batch.Bytes, cfg.BufferBytes = 2, 10_000, 10_000
	s := w.open(t, cfg)
	var batches []func()
	var held int
	for {
		c, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		b, err := s.Next(c)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held += len(b.Events)
		batches = append(batches, b.Ack)
	}
	// One poll of batch.events may overshoot the budget of ten records.
	if held < 10 || held > 12 {
		t.Errorf("%d records of 1000 bytes handed out with a budget of 10000", held)
	}
	batches[0]()
	if b := next(t, s); len(b.Events) == 0 {
		t.Error("reading did not go on after an acknowledgement")
	}
}

func TestNextEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	s := w.open(t, w.config())
	c, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Next(c); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
	shut(t, s)
	if _, err := s.Next(ctx(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	shut(t, s) // twice is harmless
}

func TestStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	old := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, v := range []string{"january", "february"} {
		r := &kgo.Record{Topic: topic, Value: []byte(v), Timestamp: old.AddDate(0, i, 0)}
		if err := w.cl.ProduceSync(ctx(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for start, want := range map[string]string{"earliest": "january", "2026-01-15T00:00:00Z": "february"} {
		cfg := w.config()
		cfg.Group, cfg.Start = "from "+start, start
		if got := next(t, w.open(t, cfg)).Events[0].Text; got != want {
			t.Errorf("start %s begins at %q, want %q", start, got, want)
		}
	}
}

func TestMissingTopicsAreToldAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Topics = []string{"nowhere"}
	_, err := New(ctx(t), cfg, decode, words, quiet(), nil)
	for _, part := range []string{"topic nowhere:", "topic nowhere.dead-letters:", "create_topics.enabled"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not tell %q", err, part)
		}
	}
	cfg.CreateTopics = CreateTopics{Enabled: true, Partitions: 2, Replication: 1}
	s := w.open(t, cfg)
	eventually(t, "the created topic is assigned", func() bool { return len(s.Assigned()["nowhere"]) == 2 })
	if info := w.TopicInfo("nowhere.dead-letters"); info == nil {
		t.Error("no dead-letter topic")
	}
}
