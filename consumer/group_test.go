package consumer

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTargetsAreRead(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]Target{
		"earliest":             {where: toEarliest},
		"latest":               {where: toLatest},
		"-2h":                  {where: toTime, at: now.Add(-2 * time.Hour)},
		"-1h30m":               {where: toTime, at: now.Add(-90 * time.Minute)},
		"2026-05-04T10:00:00Z": {where: toTime, at: now.Add(-2 * time.Hour)},
		"0=120,3=0":            {where: toOffsets, offsets: map[topicPartition]int64{{"", 0}: 120, {"", 3}: 0}},
		"a:b:0=1":              {where: toOffsets, offsets: map[topicPartition]int64{{"a:b", 0}: 1}},
	} {
		if got, err := ParseTarget(text, now); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "tomorrow", "2h", "-0s", "--2h", "2026-05-04", "2026-05-04T13:00:00Z", "0=", "=3", "0=-1", "-1=0", "x=1", "0=1,0=2"} {
		if got, err := ParseTarget(text, now); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func (w *world) group(t *testing.T) *Group {
	t.Helper()
	g, err := OpenGroup(ctx(t), w.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func (w *world) commit(t *testing.T, partition int32, at int64, metadata string) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: at, LeaderEpoch: -1, Metadata: metadata})
	if err := w.adm.CommitAllOffsets(ctx(t), group, offsets); err != nil {
		t.Fatal(err)
	}
}

// plan is what a target does, as "partition:from>to" for each.
func plan(t *testing.T, g *Group, to string) string {
	t.Helper()
	target, err := ParseTarget(to, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	moves, err := g.Plan(ctx(t), target)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range moves {
		out = append(out, fmt.Sprintf("%d:%d>%d", m.Partition, m.From, m.To))
	}
	return strings.Join(out, " ")
}

func TestPlanOfATarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	g := w.group(t)
	then := time.Now().Add(-24 * time.Hour)
	for partition, n := range []int{4, 2, 0} {
		for i := range n {
			r := &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte("v"), Timestamp: then.Add(time.Duration(i) * time.Hour)}
			if err := w.cl.ProduceSync(ctx(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := plan(t, g, "earliest"); got != "0:-1>0 1:-1>0 2:-1>0" {
		t.Errorf("a group that does not exist: %s", got)
	}
	w.commit(t, 0, 3, "")
	w.commit(t, 1, 2, "")
	deleted := kadm.Offsets{}
	deleted.Add(kadm.Offset{Topic: topic, Partition: 0, At: 1})
	if _, err := w.adm.DeleteRecords(ctx(t), deleted); err != nil {
		t.Fatal(err)
	}
	hour := func(n int) string { return then.Add(time.Duration(n) * time.Hour).Format(time.RFC3339) }
	for to, want := range map[string]string{
		"earliest":  "0:3>1 1:2>0 2:-1>0",
		"latest":    "0:3>4 1:2>2 2:-1>0",
		hour(2):     "0:3>2 1:2>2 2:-1>0",
		hour(-5):    "0:3>1 1:2>0 2:-1>0", // before the first record that is there
		"-1m":       "0:3>4 1:2>2 2:-1>0", // after the last
		"0=2":       "0:3>2 1:2>2 2:-1>-1",
		"docs:1=0":  "0:3>3 1:2>0 2:-1>-1",
		"0=4,1=2":   "0:3>4 1:2>2 2:-1>-1",
		"-23h30m0s": "0:3>1 1:2>1 2:-1>0",
	} {
		if got := plan(t, g, to); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	for to, says := range map[string]string{
		"0=0":       "holds 1 to 4",
		"0=5":       "holds 1 to 4",
		"7=0":       "no partition 7",
		"other:0=1": "none that the group reads",
	} {
		target, err := ParseTarget(to, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Plan(ctx(t), target); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it to say %q", to, err, says)
		}
	}
	if lag, err := g.Lag(ctx(t)); lag != 1 || err != nil {
		t.Errorf("the lag is %d, %v; want 1", lag, err)
	}
}

// The end of a group under read_committed is before an open transaction: a
// move behind it would skip what commits later.
func TestLatestStopsAtAnOpenTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	long := &kgo.Record{Topic: topic, Value: []byte("a"), Timestamp: time.Now().Add(-time.Hour)}
	if err := w.client(t).ProduceSync(ctx(t), long).FirstErr(); err != nil {
		t.Fatal(err)
	}
	tx := w.client(t, kgo.TransactionalID("tx"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	r := &kgo.Record{Topic: topic, Value: []byte("open")}
	if err := tx.ProduceSync(ctx(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	g := w.group(t)
	for _, to := range []string{"latest", time.Now().Add(-time.Millisecond).Format(time.RFC3339Nano)} {
		if got := plan(t, g, to); got != "0:-1>1" {
			t.Errorf("%s: %s, want it at 1", to, got)
		}
	}
	if err := tx.EndTransaction(ctx(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got := plan(t, g, "latest"); got != "0:-1>3" {
		t.Errorf("after the transaction: %s, want it at 3", got)
	}
}

func TestWhatIsReadAgainAndWhatIsSkipped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		move           Move
		again, skipped [2]int64
	}{
		"back":             {Move{From: 8, To: 2, Start: 1, End: 9}, [2]int64{2, 8}, [2]int64{8, 8}},
		"ahead":            {Move{From: 2, To: 8, Start: 1, End: 9}, [2]int64{8, 8}, [2]int64{2, 8}},
		"stays":            {Move{From: 5, To: 5, Start: 1, End: 9}, [2]int64{5, 5}, [2]int64{5, 5}},
		"without a commit": {Move{From: -1, To: 4, Start: 1, End: 9}, [2]int64{4, 9}, [2]int64{1, 4}},
		"nothing at all":   {Move{From: -1, To: -1, Start: 1, End: 9}, [2]int64{-1, -1}, [2]int64{1, 1}},
	} {
		again, skipped := c.move.Again(), c.move.Skipped()
		if [2]int64{again.From, again.To} != c.again || [2]int64{skipped.From, skipped.To} != c.skipped {
			t.Errorf("%s: again %v, skipped %v", name, again, skipped)
		}
	}
}

// Under both protocols of groups.
func TestMembersOfAGroupAreNamedAndItIsNotMoved(t *testing.T) {
	t.Parallel()
	for name, nextGen := range map[string]bool{"classic": false, "consumer protocol": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.produce(t, 0, "a", "b")
			w.produce(t, 1, "c", "d")
			g := w.group(t)
			if got, err := g.Members(ctx(t)); len(got) != 0 || err != nil {
				t.Fatalf("no group has the members %v, %v", got, err)
			}
			cfg := w.config()
			cfg.NextGen, cfg.ClientID, cfg.StopAtEnd = nextGen, "worker-7", true
			s := w.open(t, cfg)
			for {
				b, err := s.Next(ctx(t))
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				b.Ack()
			}
			w.waitCommitted(t, 1, 2)
			got, err := g.Members(ctx(t))
			if err != nil || len(got) != 1 || got[0].Client != "worker-7" || got[0].Host == "" || got[0].ID == "" {
				t.Errorf("the members are %v, %v; want the worker", got, err)
			}
			w.produce(t, 1, "e")
			state, err := g.State(ctx(t))
			if err != nil || state.State == "Dead" || state.Lag != 1 || len(state.Members) != 1 || len(state.Members[0].Partitions) != 2 || len(state.Partitions) != 2 {
				t.Fatalf("the state is %+v, %v", state, err)
			}
			// The fake cluster names no topics in the answer of the newer protocol.
			want := PartitionState{TopicPartition{topic, 1}, 2, 0, 3, 1, 0}
			if nextGen {
				want.Member = -1
			}
			if p := state.Partitions[1]; p != want {
				t.Errorf("partition 1 is %+v, want %+v", p, want)
			}
			moves, err := g.Plan(ctx(t), Target{where: toEarliest})
			if err != nil {
				t.Fatal(err)
			}
			moved, err := g.Commit(ctx(t), moves)
			if err == nil || len(moved) != 2 || moved[0].Code == "" {
				t.Errorf("moved under a live member: %v, %v", moved, err)
			}
			if w.committed(t, 0) != 2 {
				t.Error("the offset moved")
			}
			shut(t, s)
			eventually(t, "the group is empty", func() bool { m, err := g.Members(ctx(t)); return err == nil && len(m) == 0 })
			if state, err := g.State(ctx(t)); err != nil || state.State != "Empty" && !nextGen || state.Partitions[0].Member != -1 || len(state.Members) != 0 {
				t.Errorf("the state of the empty group is %+v, %v", state, err)
			}
			if moved, err = g.Commit(ctx(t), moves); err != nil || len(moved) != 2 || moved[0].Code+moved[1].Code != "" || w.committed(t, 0) != 0 {
				t.Errorf("of the empty group: %v, %v", moved, err)
			}
			if err := g.Delete(ctx(t)); err != nil || plan(t, g, "earliest") != "0:-1>0 1:-1>0" {
				t.Errorf("deleted: %v, now %s", err, plan(t, g, "earliest"))
			}
			if err := g.Delete(ctx(t)); err != nil {
				t.Errorf("deleted again: %v", err)
			}
		})
	}
}

// A partition that is moved leaves its counted deaths behind; one that stays
// keeps them.
func TestAMoveLeavesDeathsBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	for p := range int32(2) {
		w.produce(t, p, "a", "b", "c")
		w.commit(t, p, 2, doubt{deaths: 2, until: 3}.encode(2))
	}
	g := w.group(t)
	target, err := ParseTarget("0=0,1=2", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	moves, err := g.Plan(ctx(t), target)
	if err != nil {
		t.Fatal(err)
	}
	if moved, err := g.Commit(ctx(t), moves); err != nil || len(moved) != 1 {
		t.Fatalf("moved %v, %v; want the first only", moved, err)
	}
	m := &mortal{t: t, world: w}
	if got := m.doubt(0); got != (doubt{}) {
		t.Errorf("the moved partition blames its new offset: %v", got)
	}
	if got := m.doubt(1); got != (doubt{deaths: 2, until: 3}) {
		t.Errorf("the other has forgotten: %v", got)
	}
}

// The broker's answer counts for each partition by itself.
func TestOneRefusedPartitionIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.produce(t, 0, "a")
	w.produce(t, 1, "b")
	w.commit(t, 0, 1, "")
	w.commit(t, 1, 1, "")
	w.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Partitions: []int32{1}, Err: kerr.TopicAuthorizationFailed, Count: -1,
	})
	g := w.group(t)
	moves, err := g.Plan(ctx(t), Target{where: toEarliest})
	if err != nil {
		t.Fatal(err)
	}
	moved, err := g.Commit(ctx(t), moves)
	if err == nil || len(moved) != 2 || moved[0].Code != "" || moved[1].Code != "TOPIC_AUTHORIZATION_FAILED" {
		t.Errorf("got %+v, %v", moved, err)
	}
}
