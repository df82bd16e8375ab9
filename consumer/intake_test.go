package consumer

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

func TestLostRangeIsLoud(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "b", "c", "d")
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 1, -1)
	if err := w.adm.CommitAllOffsets(ctx(t), group, offsets); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteRecords(topic, 0, 3); err != nil {
		t.Fatal(err)
	}
	s := w.open(t, w.config())
	err := nextErr(t, s)
	if !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("got %v, want the offset out of range", err)
	}
	for _, part := range []string{"topic docs", "partition 0", "offset 1", "--group workers", "--reset-offsets"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not tell %q", err, part)
		}
	}
	if _, again := s.Next(ctx(t)); again == nil || again.Error() != err.Error() {
		t.Errorf("the second time: %v, want the same error", again)
	}
	shut(t, s)
	if at := w.committed(t, 0); at != 1 {
		t.Errorf("committed %d, want the 1 from before", at)
	}
}

// The offsets of a topic mean nothing in another of the same name.
func TestTopicMadeAnewIsLoud(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "b")
	s := w.open(t, w.config())
	batches, _ := gather(t, s, 2)
	if err := w.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := w.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		b.Ack()
	}
	if err := nextErr(t, s); !errors.Is(err, kerr.UnknownTopicID) || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("got %v", err)
	}
	c, cancel := timeout(t, 100*time.Millisecond)
	defer cancel()
	_ = s.Close(c) // what was acknowledged cannot be committed any more
}

func TestFetchErrors(t *testing.T) {
	t.Parallel()
	s := bare(nil, Batch{})
	s.cfg.Group = group
	id := topicPartition{topic, 3}
	for _, tt := range []struct {
		err  error
		want string // empty: not fatal
	}{
		{context.Canceled, ""},
		{kgo.ErrClientClosed, ""},
		{kerr.NotLeaderForPartition, ""},
		{&kgo.ErrGroupSession{Err: kerr.UnknownMemberID}, ""},
		{&kgo.ErrGroupSession{Err: kerr.FencedInstanceID}, "instance_id"},
		{&kgo.ErrDataLoss{Topic: topic, Partition: 3}, "the broker lost records"},
		{kerr.OffsetOutOfRange, "topic docs partition 3: the group's offset is no longer in the log"},
		{kerr.UnknownTopicID, "made anew"},
		{kerr.TopicAuthorizationFailed, "grant READ"},
		{kerr.CorruptMessage, ""},
		{errors.New("strange"), "fetch topic docs partition 3: strange"},
	} {
		got := s.fetchError(id, nil, tt.err)
		if (got == nil) != (tt.want == "") || (got != nil && !strings.Contains(got.Error(), tt.want)) {
			t.Errorf("%v is %v, want %q", tt.err, got, tt.want)
		}
	}
}

func TestDecoderBugIsFatal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "bug")
	err := nextErr(t, w.open(t, w.config()))
	if !strings.Contains(err.Error(), "topic docs partition 0 offset 0") {
		t.Errorf("%q does not say where", err)
	}
}

// A batch that unfolds to more than the bound is stepped over: one letter says
// where it lies, and the records around it come through.
func TestBombIsSteppedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.produce(t, 0, "a", "b")
	w.bomb(t, 900_000, 3)
	w.produce(t, 0, "after", "the bomb")
	w.produce(t, 1, "elsewhere")
	cfg := w.config()
	cfg.DecompressMaxBytes = 100_000
	batches, events := gather(t, w.open(t, cfg), 5)
	for _, b := range batches {
		b.Ack()
	}
	if len(events) != 5 {
		t.Errorf("got %q", texts(events))
	}
	w.waitCommitted(t, 0, 7)
	w.checkBombLetter(t, 2, 4)
}

// The client cannot be moved within a partition that it knows no offset of:
// then the worker ends when the bomb is dealt with, and the next goes on.
func TestBombAtTheVeryStartCostsARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.bomb(t, 900_000, 3)
	w.produce(t, 0, "after")
	cfg := w.config()
	cfg.DecompressMaxBytes = 100_000
	s := w.open(t, cfg)
	if err := nextErr(t, s); !strings.Contains(err.Error(), "restart the worker") {
		t.Fatalf("got %v", err)
	}
	shut(t, s)
	w.waitCommitted(t, 0, 3)
	w.checkBombLetter(t, 0, 2)
	if _, events := gather(t, w.open(t, cfg), 1); events[0].Text != "after" {
		t.Errorf("the next worker got %q", texts(events))
	}
}

func (w *world) checkBombLetter(t *testing.T, first, last int) {
	t.Helper()
	got := headers(w.deadLetters(t, 1)[0])
	if got[HeaderFirstOffset] != strconv.Itoa(first) || got[HeaderOffset] != strconv.Itoa(last) ||
		got[HeaderReason] != string(chunk.ReasonTooLarge) || !strings.Contains(got[HeaderMessage], "decompress_max_bytes") {
		t.Errorf("the letter says %q", got)
	}
}

// bomb produces one batch of n records that unfolds to size bytes.
func (w *world) bomb(t *testing.T, size, n int) {
	t.Helper()
	cl := w.client(t, kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerLinger(time.Second))
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Value: make([]byte, size/n)}
	}
	if err := cl.ProduceSync(ctx(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func headers(r *kgo.Record) map[string]string {
	m := map[string]string{}
	for _, h := range r.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}
