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
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	for name, reply := range map[string]func() ([][]byte, *kerr.Error, bool){
		"the leader shows it":    func() ([][]byte, *kerr.Error, bool) { return nil, nil, false },
		"the leader is busy":     func() ([][]byte, *kerr.Error, bool) { return nil, kerr.RequestTimedOut, true },
		"the batch is torn":      func() ([][]byte, *kerr.Error, bool) { return [][]byte{cleaned(t, 0, 1, false)[:40]}, nil, true },
		"the batch is of before": func() ([][]byte, *kerr.Error, bool) { return [][]byte{cleaned(t, -1, 0, false)}, nil, true },
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

// A worker that goes on passes an empty tail too: else its lag would never be
// zero, and nobody would scale it down.
func TestAnEmptyTailIsNoLag(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batches [][]byte
		want    int
	}{
		"behind a record":  {[][]byte{cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 3, false)}, 1},
		"nothing is there": {[][]byte{cleaned(t, 0, 3, false)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.produce(t, 0, "a", "gone", "gone as well")
			w.compacted(t, map[int32][][]byte{0: c.batches})
			cfg := w.config()
			cfg.endsEvery = 5 * time.Millisecond
			reg := prometheus.NewRegistry()
			s := open(t, cfg, reg)
			if c.want > 0 {
				b := next(t, s)
				eventually(t, "the end is known", func() bool { return s.Lag() == 3 })
				b.Ack()
			}
			eventually(t, "the tail is passed", func() bool {
				at, err := w.adm.FetchOffsets(ctx(t), group)
				o, _ := at.Lookup(topic, 0)
				return err == nil && o.At == 3
			})
			if b := s.Backlog(); b.Events != 0 || b.Drain != 0 || b.Tokens != 0 {
				t.Errorf("backlog %+v, want none", b)
			}
			if got := samples(t, reg, "chunktide_durable_offset")["0/docs"]; got != 3 {
				t.Errorf("durable up to %v, want 3", got)
			}
			g, err := OpenGroup(ctx(t), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if state, err := g.State(ctx(t)); err != nil || state.Lag != 0 {
				t.Errorf("the group is %d behind, %v", state.Lag, err)
			}
			w.produce(t, 0, "b")
			if got := next(t, s).Events; len(got) != 1 || got[0].Text != "b" {
				t.Errorf("then it reads %q", texts(got))
			}
		})
	}
}

// Control: without the looks the lag of an empty tail stays.
func TestControlWithoutTheLooksAnEmptyTailStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "gone", "gone as well")
	w.compacted(t, map[int32][][]byte{0: {cleaned(t, 0, 1, false, "a"), cleaned(t, 1, 3, false)}})
	cfg := w.config()
	cfg.endsEvery = -1
	s := w.open(t, cfg)
	next(t, s).Ack()
	w.waitCommitted(t, 0, 1)
	if lag := s.Lag(); lag != 2 {
		t.Errorf("lag %d, want 2: something else passes the tail, and the test above shows nothing", lag)
	}
}

// Only what is read, done and quiet is asked about.
func TestTailsThatMayBeEmpty(t *testing.T) {
	t.Parallel()
	id := topicPartition{topic, 0}
	for name, c := range map[string]struct {
		change func(*Source, *partition)
		want   int64 // where the tail begins; -1 for none
	}{
		"read and done":               {func(*Source, *partition) {}, 5},
		"no offset, all to be read":   {func(_ *Source, p *partition) { p.next, p.first, p.start = -1, -1, 2 }, 2},
		"no offset, nothing known":    {func(_ *Source, p *partition) { p.next, p.first = -1, -1 }, -1},
		"its offset is not known yet": {func(_ *Source, p *partition) { p.next, p.first, p.start, p.begun = -1, -1, 2, false }, -1},
		"something came just now":     {func(_ *Source, p *partition) { p.moved = time.Now() }, -1},
		"in flight":                   {func(_ *Source, p *partition) { p.handOut(&kgo.Record{Offset: 4}, 0) }, -1},
		"waiting":                     {func(s *Source, p *partition) { s.feed(p, 4, 5) }, -1},
		"being decoded":               {func(s *Source, _ *partition) { s.reading = true }, -1},
		"being taken away":            {func(_ *Source, p *partition) { p.stopping = true }, -1},
		"no room":                     {func(s *Source, _ *partition) { s.inFlight = s.cfg.BufferBytes + 1 }, -1},
		"of another":                  {func(s *Source, p *partition) { s.forget(p) }, -1},
		"level":                       {func(_ *Source, p *partition) { p.done = kgo.EpochOffset{Offset: 8} }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			s := bare(nil, Batch{Events: 10, Tokens: 1000, Bytes: 1000, Linger: time.Second})
			p := newPartition(id)
			p.first, p.next, p.begun = 3, 5, true
			s.parts[id] = p
			c.change(s, p)
			from := int64(-1)
			if tails := s.tails(map[topicPartition]int64{id: 8}, time.Minute); len(tails) > 0 {
				from = tails[0].From
			}
			if from != c.want {
				t.Errorf("the tail begins at %d, want %d", from, c.want)
			}
		})
	}
}

// The deaths at a commit were of records that are gone; one in a range that
// reaches further is still in doubt.
func TestPassingATailOutlivesItsDeaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ found, want doubt }{
		{doubt{deaths: 2}, doubt{}},
		{doubt{deaths: 3, until: 8}, doubt{}},
		{doubt{deaths: 3, until: 20}, doubt{until: 20}},
	} {
		p := newPartition(topicPartition{topic, 0})
		p.first, p.next, p.found, p.note, p.noted = 5, 5, c.found, c.found, c.found
		p.pass(8)
		if p.note != c.want || p.found != c.want || !p.committable() || p.proven {
			t.Errorf("%+v becomes %+v, %+v", c.found, p.found, p.note)
		}
		p.mark(&kgo.Record{Offset: 9})
		if p.note.deaths != 1 {
			t.Errorf("after %+v the next record is marked %+v", c.found, p.note)
		}
	}
}

// What was polled when reading failed is not done, though nothing of it waits or
// is in flight.
func TestAFailedReadPassesNoTail(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]bool{"of a source that ends": true, "of one that goes on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.produce(t, 0, "a", "bug")
			cfg := w.config()
			cfg.StopAtEnd, cfg.endsEvery, cfg.Batch.Events = end, 5*time.Millisecond, 1
			s := w.open(t, cfg)
			if err := nextErr(t, s); errors.Is(err, io.EOF) {
				t.Errorf("it ends with %v", err)
			}
			s.settleRead()
			s.settle(map[topicPartition]int64{{topic, 0}: 2}, 0)
			shut(t, s)
			if at := w.committed(t, 0); at != 1 {
				t.Errorf("committed %d, want what was done, 1", at)
			}
		})
	}
}

// Another leader may not have compacted its log yet. What it still has of the
// tail is read, and the commit does not go back.
func TestATailThatComesBackIsRead(t *testing.T) {
	s := doubtful(t, 5, doubt{}, nil, 5)
	p := s.parts[topicPartition{topic, 0}]
	s.cut(s.former.cut()).batch.ack()
	p.pass(9)
	items, err := s.bind(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: topic, Partitions: []kgo.FetchPartition{{
		HighWatermark: 9, Records: []*kgo.Record{{Topic: topic, Offset: 7}},
	}}}}}})
	if err != nil || len(items) != 1 {
		t.Fatalf("%d records, %v", len(items), err)
	}
	s.accept(items)
	s.cut(s.former.cut()).batch.ack()
	if p.done.Offset != 9 || len(p.spans) > 0 {
		t.Errorf("done is %d, want 9", p.done.Offset)
	}
}
