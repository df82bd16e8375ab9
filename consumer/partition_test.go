package consumer

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Only what is done without a gap is committed, in whatever order the
// acknowledgements come. The control takes the highest acknowledged offset on
// the same schedules, and is wrong in some.
func TestOnlyTheContiguousPrefixIsCommittable(t *testing.T) {
	t.Parallel()
	wrong := 0
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		p := newPartition(topicPartition{topic, 0})
		var spans []*span
		offset := int64(0)
		for range 8 {
			offset += 1 + int64(rng.IntN(5)) // gaps, as compaction leaves them
			spans = append(spans, p.handOut(&kgo.Record{Offset: offset, LeaderEpoch: int32(offset)}, 0))
		}
		highest := int64(-1)
		for _, i := range rng.Perm(len(spans))[:rng.IntN(len(spans)+1)] {
			spans[i].acked = true
			p.advance()
			highest = max(highest, spans[i].last.Offset)
		}
		want := kgo.EpochOffset{Epoch: -1, Offset: -1}
		for _, sp := range spans {
			if !sp.acked {
				break
			}
			want = kgo.EpochOffset{Epoch: sp.last.Epoch, Offset: sp.last.Offset + 1}
		}
		if p.done != want {
			t.Fatalf("seed %d: committable %v, want %v", seed, p.done, want)
		}
		if highest >= 0 && highest+1 > want.Offset {
			wrong++ // the control would commit over a batch that is not done
		}
	}
	if wrong == 0 {
		t.Error("the highest acknowledged offset was never wrong: the test is void")
	}
}

// An acknowledgement counts for the assignment that its batch came from.
func TestLateAcknowledgementIsOfNoAccount(t *testing.T) {
	t.Parallel()
	s := bare(nil, Batch{Tokens: 100, Events: 5, Bytes: 1000, Linger: 1, IdleLinger: 1})
	ours := map[string][]int32{topic: {0}}
	id := topicPartition{topic, 0}
	s.assigned(t.Context(), nil, ours)
	s.feed(s.parts[id], 0, 5)
	b := next(t, s)
	s.lost(t.Context(), nil, ours)
	s.assigned(t.Context(), nil, ours) // back again, and others were at work
	s.feed(s.parts[id], 100, 105)
	later := next(t, s)
	b.Ack()
	if _, offsets, _ := s.committable(); len(offsets) > 0 {
		t.Fatalf("a late acknowledgement made %v committable", offsets)
	}
	later.Ack()
	if _, offsets, _ := s.committable(); offsets[topic][0].Offset != 105 || offsets[topic][0].Epoch != 3 {
		t.Errorf("committable %v, want offset 105 at epoch 3", offsets)
	}
}

func TestItemsOfPartitionsTakenAwayAreDropped(t *testing.T) {
	t.Parallel()
	s := bare(nil, Batch{Tokens: 100, Events: 5, Bytes: 1000, Linger: 1, IdleLinger: 1})
	s.assigned(t.Context(), nil, map[string][]int32{topic: {0, 1}})
	zero, one := s.parts[topicPartition{topic, 0}], s.parts[topicPartition{topic, 1}]
	s.feed(zero, 0, 2)
	s.feed(one, 0, 2)
	s.revoked(t.Context(), nil, map[string][]int32{topic: {0}})
	s.feed(zero, 2, 4) // was being decoded meanwhile
	b := next(t, s)
	if len(b.Events) != 2 {
		t.Errorf("%d events, want the two of the partition that stayed", len(b.Events))
	}
}
