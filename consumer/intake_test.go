package consumer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
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
		{&kgo.ErrDecompressTooLarge{Topic: topic, Partition: 3, NextOffset: 77}, "offset 77"},
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

func TestBatchLargerThanDecompressionBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	bomb := w.client(t, kgo.ProducerBatchCompression(kgo.GzipCompression()))
	r := &kgo.Record{Topic: topic, Value: make([]byte, 900_000)}
	if err := bomb.ProduceSync(ctx(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	cfg := w.config()
	cfg.DecompressMaxBytes = 100_000
	if err := nextErr(t, w.open(t, cfg)); !strings.Contains(err.Error(), "decompress_max_bytes") {
		t.Errorf("%q does not name the setting", err)
	}
}
