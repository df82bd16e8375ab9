package consumer

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cleaned is a record batch of the offsets from to to-1 as compaction leaves it:
// of its records only the first keep are there. Without any it is the bare
// header that brokers keep.
func cleaned(t testing.TB, from, to int64, packed bool, keep ...string) []byte {
	t.Helper()
	var records []byte
	for i, value := range keep {
		r := kmsg.Record{OffsetDelta: int32(i), Key: []byte("key"), Value: []byte(value)}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // less the length itself, of one byte
		records = r.AppendTo(records)
	}
	b := kmsg.RecordBatch{
		FirstOffset: from, Magic: 2, LastOffsetDelta: int32(to - from - 1),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(keep)), Records: records,
	}
	if packed {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(records); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		b.Attributes, b.Records = 1, z.Bytes()
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// question is a fetch of one partition, by the reader or by who asks about a
// tail.
type question struct {
	partition int32
	at        int64
	asked     bool
}

// shape has fetches answered by answer, if it does; the others are left to the
// broker.
func (w *world) shape(t testing.TB, answer func(question) (batches [][]byte, err *kerr.Error, answered bool)) {
	t.Helper()
	details, err := w.adm.ListTopics(ctx(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := w.adm.ListEndOffsets(ctx(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	w.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.KeepControl()
		req := r.(*kmsg.FetchRequest)
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, of := range req.Topics {
			if of.Topic != topic && of.TopicID != [16]byte(details[topic].ID) {
				continue
			}
			for _, p := range of.Partitions {
				batches, code, ok := answer(question{p.Partition, p.FetchOffset, p.PartitionMaxBytes == 1})
				if !ok {
					continue
				}
				end, _ := ends.Lookup(topic, p.Partition)
				got := kmsg.NewFetchResponseTopicPartition()
				got.Partition, got.HighWatermark, got.LastStableOffset = p.Partition, end.Offset, end.Offset
				got.RecordBatches = bytes.Join(batches, nil)
				if code != nil {
					got.ErrorCode = code.Code
				}
				resp.Topics = append(resp.Topics, kmsg.FetchResponseTopic{Topic: of.Topic, TopicID: of.TopicID, Partitions: []kmsg.FetchResponseTopicPartition{got}})
			}
		}
		return resp, nil, len(resp.Topics) > 0
	})
}

// compacted has the broker serve batches instead of what it holds of partitions.
// They must end where that ends.
func (w *world) compacted(t testing.TB, batches map[int32][][]byte) {
	t.Helper()
	w.shape(t, func(q question) ([][]byte, *kerr.Error, bool) {
		left := slices.Clone(batches[q.partition])
		for len(left) > 0 && int64(binary.BigEndian.Uint64(left[0]))+int64(binary.BigEndian.Uint32(left[0][23:])) < q.at {
			left = left[1:]
		}
		return left, nil, len(left) > 0
	})
}

// finiteConfig is that of a source that ends. Fetches name all their partitions,
// so that each may be answered by itself.
func (w *world) finiteConfig() Config {
	cfg := w.config()
	cfg.StopAtEnd = true
	cfg.options = append(cfg.options, kgo.DisableFetchSessions())
	return cfg
}

// drained is all that comes of a source until it ends; it is acknowledged.
func drained(t testing.TB, s *Source) []string {
	t.Helper()
	var got []string
	for c := ctx(t); ; {
		b, err := s.Next(c)
		if errors.Is(err, io.EOF) {
			slices.Sort(got)
			return got
		}
		if err != nil {
			t.Errorf("after %q: %v, want the end", got, err)
			return got
		}
		got = append(got, texts(b.Events)...)
		b.Ack()
	}
}

// The last offsets of the range hold no record, so none ever shows its end.
func TestStopAtEndWhereTheTailIsEmpty(t *testing.T) {
	t.Parallel()
	transaction := func(t *testing.T, w *world, id string, values ...string) *kgo.Client {
		t.Helper()
		tx := w.client(t, kgo.TransactionalID(id))
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if err := tx.ProduceSync(ctx(t), &kgo.Record{Topic: topic, Key: []byte(v), Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		return tx
	}
	three := func(batches ...[]byte) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			t.Helper()
			w.produce(t, 0, "a", "gone", "gone as well")
			w.compacted(t, map[int32][][]byte{0: batches})
		}
	}
	for name, c := range map[string]struct {
		log         func(*testing.T, *world)
		uncommitted bool
		committed   int64 // by the group before
		late        bool  // a record follows behind the range
		want        []string
		end         int64
	}{
		"of one partition of two":    {log: three(cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 3, false)), want: []string{"a", "d"}, end: 3},
		"of a batch":                 {log: three(cleaned(t, 0, 3, false, "a")), want: []string{"a", "d"}, end: 3},
		"of a packed batch":          {log: three(cleaned(t, 0, 3, true, "a")), want: []string{"a", "d"}, end: 3},
		"in several batches":         {log: three(cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 2, false), cleaned(t, 2, 3, false)), want: []string{"a", "d"}, end: 3},
		"of all":                     {log: three(cleaned(t, 0, 3, false)), want: []string{"d"}, end: 3},
		"of all that is left":        {log: three(cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 3, false)), committed: 1, want: []string{"d"}, end: 3},
		"of what was committed amid": {log: three(cleaned(t, 0, 3, true, "a")), committed: 2, want: []string{"d"}, end: 3},
		"read uncommitted":           {log: three(cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 3, false)), uncommitted: true, want: []string{"a", "d"}, end: 3},
		"and a record came too late": {log: three(cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 3, false)), late: true, want: []string{"a", "d"}, end: 3},
		"no batch is left of it": {func(t *testing.T, w *world) {
			t.Helper()
			set := func(name, value string) kadm.AlterConfig {
				return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
			}
			if _, err := w.adm.AlterTopicConfigs(ctx(t), []kadm.AlterConfig{set("cleanup.policy", "compact"), set("delete.retention.ms", "0")}, topic); err != nil {
				t.Fatal(err)
			}
			w.produce(t, 0, "a")
			for _, value := range [][]byte{[]byte("gone"), nil} {
				if err := w.cl.ProduceSync(ctx(t), &kgo.Record{Topic: topic, Key: []byte("gone"), Value: value}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			transaction(t, w, "open", "open")
			w.Compact()
		}, false, 0, false, []string{"a", "d"}, 3},
		"aborted before an open transaction": {func(t *testing.T, w *world) {
			t.Helper()
			w.produce(t, 0, "a")
			aborted := transaction(t, w, "aborted", "b", "c")
			transaction(t, w, "open", "open")
			if err := aborted.EndTransaction(ctx(t), kgo.TryAbort); err != nil {
				t.Fatal(err)
			}
		}, false, 0, false, []string{"a", "d"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.produce(t, 1, "d")
			c.log(t, w)
			if c.committed > 0 {
				before := kadm.Offsets{}
				before.Add(kadm.Offset{Topic: topic, Partition: 0, At: c.committed, LeaderEpoch: -1})
				if err := w.adm.CommitAllOffsets(ctx(t), group, before); err != nil {
					t.Fatal(err)
				}
			}
			cfg := w.finiteConfig()
			if c.uncommitted {
				cfg.Isolation = "read_uncommitted"
			}
			s := w.open(t, cfg)
			if c.late {
				w.produce(t, 0, "too late")
			}
			if got := drained(t, s); !slices.Equal(got, c.want) {
				t.Errorf("read %q, want %q", got, c.want)
			}
			shut(t, s)
			if at := w.committed(t, 0); at != c.end {
				t.Errorf("committed %d, want the end of the range, %d", at, c.end)
			}
		})
	}
}

// Each of two members waits for what the other commits. So does one without a
// partition.
func TestMembersEndWhereTailsAreEmpty(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		partitions int32
		nextGen    bool
	}{"a tail each": {2, false}, "one without a partition": {1, false}, "the newer protocol": {2, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.partitions)
			logs := map[int32][][]byte{}
			for p := range c.partitions {
				w.produce(t, p, "a", "gone")
				logs[p] = [][]byte{cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 2, false)}
			}
			w.compacted(t, logs)
			cfg := w.finiteConfig()
			cfg.NextGen = c.nextGen
			members := []*Source{w.open(t, cfg), w.open(t, cfg)}
			eventually(t, "they share", func() bool {
				for _, s := range members {
					if a := s.Assigned(); a == nil || len(a[topic]) > 1 {
						return false
					}
				}
				return true
			})
			var ends sync.WaitGroup
			for _, s := range members {
				ends.Go(func() { drained(t, s) }) // neither leaves before both have ended
			}
			ends.Wait()
		})
	}
}

// slow is a finite source whose reader gets nothing, though a record is there,
// and how often the leader was asked about it.
func slow(t *testing.T, reply func() (batches [][]byte, err *kerr.Error, answered bool)) (w *world, s *Source, asked *atomic.Int64, release func()) {
	t.Helper()
	w, asked = newWorld(t, 1), &atomic.Int64{}
	w.produce(t, 0, "a")
	var free atomic.Bool
	w.shape(t, func(q question) ([][]byte, *kerr.Error, bool) {
		switch {
		case free.Load():
			return nil, nil, false
		case q.asked:
			asked.Add(1)
			return reply()
		}
		return nil, kerr.KafkaStorageError, true
	})
	return w, w.open(t, w.finiteConfig()), asked, func() { free.Store(true) }
}

// A record that is slow to come is no empty tail, nor is one about which the
// leader says nothing (which is also how it was before leaders were asked).
func TestStopAtEndWaitsForARecordThatIsSlow(t *testing.T) {
	t.Parallel()
	var answers atomic.Int64
	for name, reply := range map[string]func() ([][]byte, *kerr.Error, bool){
		// With an end behind it, as when tiered storage takes long.
		"the leader shows no batch":            func() ([][]byte, *kerr.Error, bool) { return nil, nil, true },
		"the leader shows it when asked again": func() ([][]byte, *kerr.Error, bool) { return nil, nil, answers.Add(1)%2 == 1 },
		"the leader shows it":                  func() ([][]byte, *kerr.Error, bool) { return nil, nil, false },
		"the leader is busy":                   func() ([][]byte, *kerr.Error, bool) { return nil, kerr.RequestTimedOut, true },
		"the batch is torn":                    func() ([][]byte, *kerr.Error, bool) { return [][]byte{cleaned(t, 0, 1, false)[:40]}, nil, true },
		"the batch is of before":               func() ([][]byte, *kerr.Error, bool) { return [][]byte{cleaned(t, -1, 0, false)}, nil, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s, asked, release := slow(t, reply)
			c, cancel := context.WithCancel(ctx(t))
			go func() {
				defer cancel()
				eventually(t, "it was asked", func() bool { return asked.Load() >= 2 })
			}()
			if b, err := s.Next(c); !errors.Is(err, context.Canceled) {
				t.Fatalf("it goes on with %q, %v", texts(b.Events), err)
			}
			if at := w.committed(t, 0); at > 0 {
				t.Errorf("committed %d over a record that was not read", at)
			}
			release()
			if got := drained(t, s); !slices.Equal(got, []string{"a"}) {
				t.Errorf("read %q", got)
			}
		})
	}
}

// Control: with a leader that says there is nothing, the source above ends.
func TestControlTheLeadersWordEndsASource(t *testing.T) {
	t.Parallel()
	w, s, _, _ := slow(t, func() ([][]byte, *kerr.Error, bool) { return [][]byte{cleaned(t, 0, 1, false)}, nil, true })
	if got := drained(t, s); len(got) > 0 {
		t.Errorf("read %q", got)
	}
	w.waitCommitted(t, 0, 1)
}
