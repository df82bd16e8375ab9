package consumer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/devstack/realservers"
)

// batchesOf is what a broker has of partition 0 of a topic: "first-last (records)".
func batchesOf(t *testing.T, client *kgo.Client, name string) (out []string) {
	t.Helper()
	topics, err := kadm.NewClient(client).ListTopics(ctx(t), name)
	if err != nil {
		t.Fatal(err)
	}
	a := asker{client: client, cfg: Config{Isolation: readUncommitted}}
	for at := int64(0); ; {
		p, ok := a.fetch(ctx(t), topics[name], 0, at)
		if !ok {
			t.Fatalf("offset %d cannot be fetched: %d", at, p.ErrorCode)
		}
		if len(p.RecordBatches) == 0 {
			return out
		}
		var b kmsg.RecordBatch
		if err := b.ReadFrom(p.RecordBatches); err != nil {
			t.Fatal(err)
		}
		last := b.FirstOffset + int64(b.LastOffsetDelta)
		out, at = append(out, fmt.Sprintf("%d-%d (%d)", b.FirstOffset, last, b.NumRecords)), last+1
	}
}

// A real broker compacts the end of what may be read, behind which a transaction
// is open: a source ends there, and commits it.
func TestStopAtEndOfALogThatARealBrokerCompacted(t *testing.T) {
	t.Parallel()
	broker := realservers.RunKafka(t, realservers.KafkaOptions{Properties: map[string]string{"log.cleaner.backoff.ms": "50"}})
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(broker.Addr), kgo.ProducerLinger(0), kgo.DefaultProduceTopic(topic))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	cl := client()
	adm := kadm.NewClient(cl)
	settings := map[string]*string{}
	for name, value := range map[string]string{ // each append begins a segment; only those before the last are compacted
		"cleanup.policy": "compact", "segment.ms": "1", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0",
	} {
		settings[name] = &value
	}
	if _, err := adm.CreateTopic(ctx(t), 1, 1, settings, topic); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(ctx(t), 1, 1, nil, letters); err != nil {
		t.Fatal(err)
	}
	produce := func(by *kgo.Client, key string, value []byte) {
		t.Helper()
		if err := by.ProduceSync(ctx(t), &kgo.Record{Key: []byte(key), Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produce(cl, "kept", []byte("kept"))
	produce(cl, "gone", []byte("gone"))
	produce(cl, "gone", nil)
	begin := func(id string) *kgo.Client {
		tx := client(kgo.TransactionalID(id))
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(tx, id, []byte(id))
		return tx
	}
	compacted := func(to ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("the log is compacted to %v", to), func() bool {
			return slices.Equal(batchesOf(t, cl, topic), to)
		})
	}
	// A null value goes with the second compaction, which takes something new to
	// be compacted.
	aborted := begin("aborted")
	compacted("0-0 (1)", "2-2 (1)", "3-3 (1)")
	begin("open")
	if err := aborted.EndTransaction(ctx(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	compacted("0-0 (1)", "2-2 (0)", "3-3 (0)", "4-4 (1)", "5-5 (1)")
	for name, end := range map[string]bool{"that ends": true, "that goes on": false} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Brokers, cfg.Topics, cfg.Group = []string{broker.Addr}, []string{topic}, name
			cfg.StopAtEnd, cfg.endsEvery = end, 100*time.Millisecond
			s := open(t, cfg, nil)
			if end {
				if got := drained(t, s); !slices.Equal(got, []string{"kept"}) {
					t.Errorf("read %q", got)
				}
				shut(t, s)
			} else {
				next(t, s).Ack()
			}
			eventually(t, "the tail is committed", func() bool {
				offsets, err := adm.FetchOffsets(ctx(t), name)
				at, _ := offsets.Lookup(topic, 0)
				return err == nil && at.At == 4
			})
		})
	}
}
