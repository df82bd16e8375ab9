package consumer

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/devstack/cable"
)

// doubtful is a bare source with one partition, at whose first offset the
// owners before left a doubt, and which has read the records at offsets.
func doubtful(t *testing.T, first int64, found doubt, end *finite, offsets ...int64) *Source {
	t.Helper()
	s := bare(nil, Batch{Events: 10, Tokens: 1000, Bytes: 1000, Linger: time.Second, IdleLinger: time.Second})
	s.cfg.QuarantineAfter, s.finite = 3, end
	p := newPartition(topicPartition{topic, 0})
	p.first, p.next, p.found = first, first, found
	s.parts[p.topicPartition] = p
	read := kgo.FetchPartition{HighWatermark: offsets[len(offsets)-1] + 1}
	for _, o := range offsets {
		read.Records = append(read.Records, &kgo.Record{Topic: topic, Offset: o})
	}
	items, err := s.bind(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: topic, Partitions: []kgo.FetchPartition{read}}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.accept(items)
	return s
}

// A source that ends comes to its end though the doubt reaches behind it, and
// though it has read what came later.
func TestADoubtDoesNotKeepASourceFromItsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		found doubt
		end   int64
		want  int
	}{
		"two deaths":              {doubt{deaths: 2}, 4, 4},
		"in doubt":                {doubt{deaths: 1, until: 20}, 4, 4},
		"nothing left to be read": {doubt{deaths: 1, until: 20}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ends := map[topicPartition]int64{{topic, 0}: c.end}
				s := doubtful(t, 0, c.found, &finite{ends: ends}, 0, 1, 2, 3, 4, 5)
				got := 0
				for {
					h, wait, err := s.hold(time.Now())
					if errors.Is(err, io.EOF) {
						break
					}
					if wait != nil || err != nil {
						t.Fatalf("after %d records it waits, %v", got, err)
					}
					got += len(h.batch.items)
					s.held = nil
					h.batch.ack()
				}
				if got != c.want {
					t.Errorf("handed out %d records, want %d", got, c.want)
				}
			})
		})
	}
}

// The deaths are those of the record at the committed offset. If compaction has
// taken it away since, the one that comes next is not to pay for it.
func TestDeathsDieWithTheirRecord(t *testing.T) {
	for name, c := range map[string]struct {
		offsets   []int64
		condemned bool
	}{
		"it is there":                     {[]int64{5, 6}, true},
		"compaction has taken it away":    {[]int64{6, 7}, false},
		"and all that was in doubt, more": {[]int64{30, 31}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := doubtful(t, 5, doubt{deaths: 3, until: 20}, nil, c.offsets...)
			if got := s.former.items[0].err != nil; got != c.condemned {
				t.Errorf("the first record is condemned: %v, want %v", got, c.condemned)
			}
			p := s.former.items[0].part
			if p.mark(s.former.items[0].record); p.done.Offset != c.offsets[0] || p.note.deaths != p.found.deaths+1 || !c.condemned && p.note.deaths != 1 {
				t.Errorf("marked at %d: %+v", p.done.Offset, p.note)
			}
		})
	}
}

// A mark names its record, though there may be a gap before it in the log, so
// that the next owner can tell whether it is still there.
func TestAMarkInDoubtNamesItsRecord(t *testing.T) {
	s := doubtful(t, 5, doubt{until: 20}, nil, 5, 8)
	p := s.former.items[0].part
	var marked []int64
	for range 2 {
		h := s.cut(s.former.cutOne())
		marked = append(marked, p.done.Offset)
		h.batch.ack()
	}
	if !slices.Equal(marked, []int64{5, 8}) {
		t.Errorf("marked at %d", marked)
	}
}

// A group that was moved by a tool that keeps the metadata begins without the
// doubt of the offset where it was.
func TestADoubtStaysWhereItWas(t *testing.T) {
	t.Parallel()
	m := newMortal(t, 1)
	m.fill(0, 4, -1)
	m.leave(doubt{deaths: 3, until: 4})
	offsets, err := m.adm.FetchOffsets(ctx(t), group)
	if err != nil {
		t.Fatal(err)
	}
	moved, _ := offsets.Lookup(topic, 0)
	moved.At = 1
	there := kadm.Offsets{}
	there.Add(moved.Offset)
	if err := m.adm.CommitAllOffsets(ctx(t), group, there); err != nil {
		t.Fatal(err)
	}
	s := m.open(t, m.cfg)
	if b := next(t, s); len(b.Events) != 3 {
		t.Errorf("%q went out, want the 3 that are left, together", texts(b.Events))
	}
}

// A record in doubt whose mark will never be taken does not go out at all.
func TestWithoutItsMarkARecordInDoubtStays(t *testing.T) {
	t.Parallel()
	m := newMortal(t, 1)
	m.fill(0, 2, -1)
	m.leave(doubt{until: 2})
	refusal := m.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.OffsetMetadataTooLarge, Count: -1})
	s := m.open(t, m.cfg)
	for range 2 {
		if b, err := s.Next(ctx(t)); !errors.Is(err, kerr.OffsetMetadataTooLarge) || !strings.Contains(err.Error(), "offset.metadata.max.bytes") {
			t.Fatalf("%d events and %v, want none, and what to do", len(b.Events), err)
		}
	}
	refusal.Remove() // or the source could not commit at its end
}

// The churn's members do not keep a record in doubt until they give up waiting
// for another, which does not come before it is acknowledged.
func TestChurnMembersSettleWhatIsInDoubt(t *testing.T) {
	t.Parallel()
	const records = 20
	m := newMortal(t, 1)
	m.fill(0, records, -1)
	m.leave(doubt{until: records})
	s := m.open(t, m.cfg)
	l := &ledger{t: t, applied: []map[int64]int{{}}}
	one := &member{w: m.world, ledger: l, cfg: m.cfg, rng: rand.New(rand.NewPCG(1, 0)), lives: map[string]int{}}
	for done, _ := l.counts(); done < records; done, _ = l.counts() {
		inFlight, err := one.work(ctx(t), s, cable.New(m.net.DialContext), records)
		if err != nil {
			t.Fatalf("%d of %d records applied: %v", done, records, err)
		}
		one.settleAll(inFlight)
	}
	if n := one.lives["waits with batches in hand"]; n > 0 {
		t.Errorf("waited %d times for a record that could not come", n)
	}
}
