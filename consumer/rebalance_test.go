package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/chunk"
)

// A second member joins while the first has batches of both partitions in
// flight. The first lets go only after they are acknowledged and committed, so
// that the second reads none of them again.
func TestRevokeWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.produce(t, 0, "a", "b")
	w.produce(t, 1, "c", "d")
	first := w.open(t, w.config())
	batches, _ := gather(t, first, 4)
	second := w.open(t, w.config())
	eventually(t, "the first is asked to let go", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		for _, p := range first.parts {
			if p.stopping {
				return true
			}
		}
		return false
	})
	if len(second.Assigned()[topic]) > 0 {
		t.Fatal("the second has partitions whose batches are still in flight")
	}
	for _, b := range batches {
		b.Ack()
	}
	eventually(t, "one partition each", func() bool {
		return len(first.Assigned()[topic]) == 1 && len(second.Assigned()[topic]) == 1
	})
	w.produce(t, 0, "e")
	w.produce(t, 1, "f")
	if _, events := gather(t, second, 1); len(events) != 1 || (events[0].Text != "e" && events[0].Text != "f") {
		t.Errorf("the second read %v, want only what came after", texts(events))
	}
}

// A batch that does not finish holds the rebalance up for half its timeout and
// no longer. Its late acknowledgement neither commits nor rewinds what the new
// owner commits. The control commits it all the same, as a worker would that
// keeps offsets by partition only, and the broker takes it.
func TestLateAcknowledgementDoesNotRewind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.produce(t, 0, "a", "b")
	cfg := w.config()
	cfg.RebalanceTimeout = time.Second
	first := w.open(t, cfg)
	stuck, _ := gather(t, first, 2)
	second := w.open(t, cfg)
	eventually(t, "the second has joined", func() bool { return second.Assigned() != nil })
	taken := map[string][]int32{topic: {0}}
	start := time.Now()
	first.revoked(t.Context(), first.client, taken)
	if waited := time.Since(start); waited < 400*time.Millisecond || waited > 2*time.Second {
		t.Errorf("the revocation took %s, want half of the rebalance timeout of 1s", waited)
	}
	if at := w.committed(t, 0); at > 0 {
		t.Fatalf("committed %d, though nothing was acknowledged", at)
	}
	ahead := map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 2}}}
	commit := func(s *Source, offsets map[string]map[int32]kgo.EpochOffset) {
		s.client.CommitOffsetsSync(ctx(t), offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	commit(second, ahead) // the new owner is done with both
	for _, b := range stuck {
		b.Ack()
	}
	if err := first.commit(ctx(t), first.client); err != nil {
		t.Error(err)
	}
	if at := w.committed(t, 0); at != 2 {
		t.Errorf("committed %d after the late acknowledgement, want 2", at)
	}
	commit(first, map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 1}}})
	if at := w.committed(t, 0); at != 1 {
		t.Errorf("the control committed %d: the broker guards this by itself and the test is void", at)
	}
}

func TestDrainIsBounded(t *testing.T) {
	for name, settle := range map[string]struct {
		do   func(*Source, chunk.Batch)
		want time.Duration
		open int
	}{
		"never acknowledged": {func(*Source, chunk.Batch) {}, 30 * time.Second, 1},
		"acknowledged":       {func(_ *Source, b chunk.Batch) { time.Sleep(7 * time.Second); b.Ack() }, 7 * time.Second, 0},
		"the worker fails":   {func(s *Source, _ chunk.Batch) { time.Sleep(3 * time.Second); s.fail(errors.New("broken")) }, 3 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := bare(nil, Batch{Tokens: 100, Events: 5, Bytes: 1000, Linger: 1, IdleLinger: 1})
				s.assigned(t.Context(), nil, map[string][]int32{topic: {0}})
				p := s.parts[topicPartition{topic, 0}]
				s.feed(p, 0, 2)
				b, err := s.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				go settle.do(s, b)
				if open := s.drain([]*partition{p}); open != settle.open || time.Since(start) != settle.want {
					t.Errorf("%d batches open after %s, want %d after %s", open, time.Since(start), settle.open, settle.want)
				}
			})
		})
	}
}

// Next and the acknowledgements go on while a revocation waits, without what
// is being given back.
func TestNextGoesOnDuringARevocation(t *testing.T) {
	t.Parallel()
	s := bare(nil, Batch{Tokens: 100, Events: 2, Bytes: 1000, Linger: time.Millisecond, IdleLinger: time.Millisecond})
	s.assigned(t.Context(), nil, map[string][]int32{topic: {0, 1}})
	zero, one := s.parts[topicPartition{topic, 0}], s.parts[topicPartition{topic, 1}]
	s.feed(zero, 0, 3) // one more than a batch
	open := next(t, s)
	parts := s.stop(map[string][]int32{topic: {0}})
	drained := make(chan int)
	go func() { drained <- s.drain(parts) }()
	for o := range int64(10) {
		s.feed(one, 2*o, 2*o+2)
		b := next(t, s)
		if len(zero.spans) != 1 || len(b.Events) != 2 {
			t.Fatal("a record was handed out of a partition that is being given back")
		}
		b.Ack()
	}
	select {
	case <-drained:
		t.Fatal("the revocation did not wait")
	default:
	}
	open.Ack()
	if left := <-drained; left != 0 {
		t.Errorf("%d batches left", left)
	}
}

// SIGTERM: the pipeline stops asking, finishes what it has, and closes. The
// next worker begins exactly there: nothing is lost and nothing comes twice.
func TestCloseHandsOverWithoutDuplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	want := map[string]int{}
	for p := range int32(3) {
		var values []string
		for i := range 200 {
			v := fmt.Sprintf("%d %d", p, i)
			values = append(values, v)
			want[v] = 1
		}
		w.produce(t, p, values...)
	}
	cfg := w.config()
	cfg.Batch.Events = 16
	got := map[string]int{}
	workers := 0
	for len(got) < len(want) {
		workers++
		s := w.open(t, cfg)
		var inFlight []func()
		for range 5 {
			c, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			b, err := s.Next(c)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts(b.Events) {
				got[text]++
			}
			inFlight = append(inFlight, b.Ack)
		}
		for _, ack := range inFlight {
			ack()
		}
		shut(t, s) // right behind the last acknowledgement
	}
	if workers < 3 {
		t.Errorf("only %d workers: the test is void", workers)
	}
	for text, n := range got {
		if n != 1 {
			t.Errorf("%s came %d times", text, n)
		}
	}
	left, err := w.adm.DescribeGroups(ctx(t), group)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(left[group].Members); n != 0 {
		t.Errorf("%d members are left in the group", n)
	}
}

// A static member keeps its place over a restart: no one is asked to
// rebalance, and it goes on where it was.
func TestStaticMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	cfg := w.config()
	cfg.InstanceID = "worker-1"
	other := cfg
	other.InstanceID = "worker-2"
	a, b := w.open(t, cfg), w.open(t, other)
	eventually(t, "one partition each", func() bool {
		return len(a.Assigned()[topic]) == 1 && len(b.Assigned()[topic]) == 1
	})
	before := a.Assigned()[topic]
	shut(t, a)
	a = w.open(t, cfg)
	eventually(t, "the restarted one has its partition", func() bool { return slices.Equal(a.Assigned()[topic], before) })
	if n := len(b.Assigned()[topic]); n != 1 {
		t.Errorf("the other has %d partitions", n)
	}
}
