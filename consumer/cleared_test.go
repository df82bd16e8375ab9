package consumer

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/chunk"
)

// The last record in doubt has gone well, but the group's offsets do not say so
// yet. If the next batch kills the worker now, the record that did nothing is
// blamed, and after some deaths it is in the dead letters. So the batch waits.
func TestNothingFollowsARecordInDoubtBeforeItIsCleared(t *testing.T) {
	t.Parallel()
	m := newMortal(t, 1)
	m.fill(0, 6, -1)
	m.leave(doubt{deaths: 1, until: 1})
	s := m.open(t, m.cfg)
	b := next(t, s)
	if d := m.doubt(0); len(b.Events) != 1 || d != (doubt{deaths: 2, until: 1}) {
		t.Fatalf("%q went out, the group's offsets say %+v", texts(b.Events), d)
	}
	refusal := m.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: kerr.CoordinatorLoadInProgress, Count: -1})
	b.Ack()
	out := make(chan chunk.Batch, 1)
	go func() {
		if b, err := s.Next(ctx(t)); err == nil {
			out <- b
		}
	}()
	if err := refusal.Wait(ctx(t), 2); err != nil {
		t.Fatal(err)
	}
	select {
	case b := <-out:
		t.Fatalf("%d events went out before the record in doubt was cleared", len(b.Events))
	default:
	}
	refusal.Remove()
	if b := <-out; len(b.Events) < 2 {
		t.Errorf("%d events went out: behind the doubt they need not go alone", len(b.Events))
	}
	if d := m.doubt(0); d != (doubt{}) {
		t.Errorf("the group's offsets say %+v of a record that has gone well", d)
	}
}
