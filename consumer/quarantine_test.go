package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/chunk"
	"chunktide/devstack/cable"
)

func TestDoubtIsKeptInMetadata(t *testing.T) {
	for _, d := range []doubt{{}, {deaths: 1}, {deaths: 7, until: 9}, {until: 1 << 40}} {
		if got := parseDoubt(d.encode(5), 5); got != d {
			t.Errorf("%+v comes back as %+v", d, got)
		}
	}
	for _, foreign := range []string{
		"", "x", "chunktide deaths=1", "chunktide deaths=1 until=2", "chunktide deaths=-1 until=0 at=5",
		"chunktide deaths=1 until=2 at=5 and more", "deaths=1 until=2 at=5",
		"chunktide deaths=1 until=2 at=4", // the group was moved, and the metadata kept
	} {
		if got := parseDoubt(foreign, 5); got != (doubt{}) {
			t.Errorf("%q is read as %+v", foreign, got)
		}
	}
}

func FuzzParseDoubt(f *testing.F) {
	f.Add("chunktide deaths=3 until=17 at=5", int64(5))
	f.Fuzz(func(t *testing.T, metadata string, offset int64) {
		if d := parseDoubt(metadata, offset); d != (doubt{}) && d.encode(offset) != metadata {
			t.Errorf("%q is read as %+v", metadata, d)
		}
	})
}

// mortal is a group of one worker at a time, each of which may die.
type mortal struct {
	*world
	t       *testing.T
	cfg     Config
	handled map[string]int
	deaths  int
}

func newMortal(t *testing.T, partitions int32) *mortal {
	m := &mortal{world: newWorld(t, partitions), t: t, handled: map[string]int{}}
	m.cfg = m.config()
	// A static member's place is taken over at once when it starts again.
	m.cfg.InstanceID = "mortal"
	m.cfg.Batch.Events = 4
	return m
}

// live runs one worker over the log until its end. It dies, as a process
// does, of whatever fatal says of the batches it is handed; it reports whether
// it lived to see the end.
func (m *mortal) live(fatal func([]chunk.Event) bool) bool {
	m.t.Helper()
	wire := cable.New(m.net.DialContext)
	cfg := m.cfg
	cfg.options = append(slices.Clone(cfg.options), kgo.Dialer(wire.Dial))
	s, err := New(ctx(m.t), cfg, decode, words, quiet(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	for !m.level() {
		b := next(m.t, s)
		if fatal(b.Events) {
			m.deaths++
			wire.Cut()
			gone, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_ = s.Close(gone)
			return false
		}
		for _, e := range b.Events {
			m.handled[e.Text]++
		}
		b.Ack()
		eventually(m.t, "what was acknowledged is committed", func() bool { parts, _, _ := s.committable(); return len(parts) == 0 })
	}
	shut(m.t, s)
	return true
}

// level reports whether the group has committed the whole log.
func (m *mortal) level() bool {
	ends, err := m.adm.ListEndOffsets(ctx(m.t), topic)
	if err != nil {
		m.t.Fatal(err)
	}
	commits, err := m.adm.FetchOffsets(ctx(m.t), group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return false
	}
	if err != nil {
		m.t.Fatal(err)
	}
	level := true
	ends.Each(func(o kadm.ListedOffset) {
		c, ok := commits.Lookup(topic, o.Partition)
		level = level && (o.Offset == 0 || ok && c.At == o.Offset)
	})
	return level
}

func has(text string) func([]chunk.Event) bool {
	return func(events []chunk.Event) bool {
		return slices.ContainsFunc(events, func(e chunk.Event) bool { return e.Text == text })
	}
}

// fill produces n innocent records, some with a killer among them.
func (m *mortal) fill(partition int32, n, killerAt int) {
	for i := range n {
		text := fmt.Sprintf("innocent %d.%d", partition, i)
		if i == killerAt {
			text = "killer"
		}
		m.produce(m.t, partition, text)
	}
}

func (m *mortal) checkInnocents(want int) {
	m.t.Helper()
	if _, ok := m.handled["killer"]; ok || len(m.handled) != want {
		m.t.Errorf("%d different records were handled (%v), want %d and not the killer", len(m.handled), m.handled, want)
	}
	letters := m.deadLetters(m.t, 1)
	got := headers(letters[0])
	if len(letters) != 1 || string(letters[0].Value) != "killer" || got[HeaderReason] != string(chunk.ReasonKilledWorkers) || got[HeaderStage] != "quarantine" {
		m.t.Errorf("dead letters %q with %q, want the killer alone", letters[0].Value, got)
	}
}

// A record that kills whoever handles it ends in the dead letters; those
// around it, in its partition and in the batches that it shared, are handled.
func TestARecordThatKillsIsQuarantined(t *testing.T) {
	t.Parallel()
	for _, killerAt := range []int{0, 1, 6, 19} {
		t.Run(fmt.Sprint(killerAt), func(t *testing.T) {
			t.Parallel()
			m := newMortal(t, 2)
			m.fill(0, 20, killerAt)
			m.fill(1, 20, -1)
			for !m.live(has("killer")) {
				if m.deaths > 12 {
					t.Fatal("the workers die on and on")
				}
			}
			t.Logf("%d deaths", m.deaths)
			m.checkInnocents(39)
			if a, b := m.doubt(0), m.doubt(1); a != b || a != (doubt{}) {
				t.Errorf("doubt is left behind: %v, %v", a, b)
			}
		})
	}
}

func (m *mortal) doubt(partition int32) doubt {
	offsets, err := m.adm.FetchOffsetsForTopics(ctx(m.t), group, topic)
	if err != nil {
		m.t.Fatal(err)
	}
	o, _ := offsets.Lookup(topic, partition)
	return parseDoubt(o.Metadata, o.At)
}

// leave commits offset 0 of the first partition as an owner before would have.
func (m *mortal) leave(d doubt) {
	m.t.Helper()
	left := kadm.Offsets{}
	left.Add(kadm.Offset{Topic: topic, Partition: 0, At: 0, LeaderEpoch: -1, Metadata: d.encode(0)})
	if err := m.adm.CommitAllOffsets(ctx(m.t), group, left); err != nil {
		m.t.Fatal(err)
	}
}

// The same under KIP-848, where the broker assigns the partitions.
func TestARecordThatKillsIsQuarantinedUnderNextGen(t *testing.T) {
	t.Parallel()
	m := newMortal(t, 1)
	m.cfg.InstanceID, m.cfg.NextGen = "", true
	m.fill(0, 8, 3)
	for !m.live(has("killer")) {
		if m.deaths > 12 {
			t.Fatal("the workers die on and on")
		}
	}
	m.checkInnocents(7)
}

// The control: where no deaths are counted, the killer stops its partition.
func TestControlWithoutQuarantineThePartitionStops(t *testing.T) {
	t.Parallel()
	m := newMortal(t, 1)
	m.cfg.QuarantineAfter = 0
	m.fill(0, 20, 6)
	for range 12 {
		if m.live(has("killer")) {
			t.Fatal("somebody got over the killer")
		}
	}
	if at := m.committed(t, 0); at > 6 {
		t.Errorf("committed %d, behind the killer", at)
	}
}

// Workers that die for reasons of their own, now and then, condemn nobody.
func TestDeathsThatAreNotARecordsFaultCondemnNone(t *testing.T) {
	t.Parallel()
	m := newMortal(t, 2)
	m.fill(0, 40, -1)
	m.fill(1, 40, -1)
	for life := 0; ; life++ {
		n := 0
		if m.live(func([]chunk.Event) bool { n++; return n > 2 && life < 12 }) {
			break
		}
	}
	if len(m.handled) != 80 || m.deaths == 0 {
		t.Errorf("%d of 80 records were handled over %d deaths", len(m.handled), m.deaths)
	}
	ends, err := m.adm.ListEndOffsets(ctx(t), letters)
	if o, _ := ends.Lookup(letters, 0); err != nil || o.Offset != 0 {
		t.Errorf("%d dead letters, %v", o.Offset, err)
	}
}

// Whoever lets go in order has not died, even if it got nowhere; but one that
// ends because of what is in flight says so.
func TestOnlyDeathsAreCounted(t *testing.T) {
	t.Parallel()
	for name, died := range map[string]bool{"in order": false, "stuck": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMortal(t, 1)
			m.fill(0, 8, -1)
			for range 6 {
				s, err := New(ctx(t), m.cfg, decode, words, quiet(), nil)
				if err != nil {
					t.Fatal(err)
				}
				next(t, s)
				if died {
					s.Died()
				}
				shut(t, s)
			}
			if d := m.doubt(0); (d != doubt{}) != died {
				t.Errorf("%+v is left behind", d)
			}
		})
	}
}

// What was found is what is left behind, whatever an owner did that lets go in
// order: one that got nowhere leaves the deaths before it.
func TestForgivingTakesBackItsOwnCountOnly(t *testing.T) {
	for name, c := range map[string]struct {
		found   doubt
		advance bool
		want    doubt
	}{
		"nothing found":               {},
		"a death found":               {found: doubt{deaths: 1}, want: doubt{deaths: 1}},
		"in doubt":                    {found: doubt{deaths: 2, until: 9}, want: doubt{deaths: 2, until: 9}},
		"progress":                    {found: doubt{deaths: 1}, advance: true},
		"progress in doubt":           {found: doubt{deaths: 2, until: 9}, advance: true, want: doubt{until: 9}},
		"progress to the doubt's end": {found: doubt{deaths: 2, until: 5}, advance: true},
	} {
		p := newPartition(topicPartition{topic, 0})
		p.found, p.note = c.found, c.found
		p.mark(&kgo.Record{Offset: 4})
		if c.advance {
			p.handOut(&kgo.Record{Offset: 4}, 0).acked = true
			p.advance()
			p.mark(&kgo.Record{Offset: 5})
		}
		if p.forgive(); p.note != c.want {
			t.Errorf("%s: %+v is left behind, want %+v", name, p.note, c.want)
		}
	}
}

// A decoder that panics is a bug, and the record that found it a dead letter.
func TestPanicIsADeadLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "panic", "b")
	s, err := New(ctx(t), w.config(), func(r chunk.Record) ([]chunk.Event, error) {
		if string(r.Value) == "panic" {
			panic("no such luck")
		}
		return decode(r)
	}, words, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	batches, events := gather(t, s, 2)
	for _, b := range batches {
		b.Ack()
	}
	if got := texts(events); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
	w.waitCommitted(t, 0, 3)
	if got := headers(w.deadLetters(t, 1)[0]); got[HeaderReason] != string(chunk.ReasonPanicked) {
		t.Errorf("the letter says %q", got)
	}
}

// A record in doubt goes out alone, and only when the group's offsets say so:
// else the one before it would be blamed for what it does.
func TestARecordInDoubtWaitsForItsMark(t *testing.T) {
	t.Parallel()
	m := newMortal(t, 1)
	m.fill(0, 6, -1)
	m.leave(doubt{until: 2})
	refusal := m.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.UnknownServerError, Count: -1})
	s := m.open(t, m.cfg)
	out := make(chan chunk.Batch, 1)
	go func() {
		if b, err := s.Next(ctx(t)); err == nil {
			out <- b
		}
	}()
	// The first refusal may be that of the commit before the batch; the third
	// comes a pause later.
	if err := refusal.Wait(ctx(t), 3); err != nil {
		t.Fatal(err)
	}
	select {
	case b := <-out:
		t.Fatalf("%d events went out without a mark", len(b.Events))
	default:
	}
	refusal.Remove()
	for want := range 2 {
		b := <-out
		if len(b.Events) != 1 || b.Events[0].Origin.Offset != int64(want) {
			t.Fatalf("in doubt, %q went out together", texts(b.Events))
		}
		if d := m.doubt(0); d != (doubt{deaths: 1, until: 2}) {
			t.Errorf("at offset %d the group's offsets say %+v", want, d)
		}
		if h, _, err := s.hold(time.Now()); h != nil || err != nil {
			t.Errorf("another batch would go out beside it, %v", err)
		}
		b.Ack()
		out <- next(t, s)
	}
	if b := <-out; len(b.Events) != 4 {
		t.Errorf("behind the doubt %d events went out, want the 4 that are left", len(b.Events))
	}
}
