package consumer

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
)

// A record batch of a megabyte can unfold to gigabytes. One that unfolds to
// more than decompress_max_bytes is never unfolded: a dead letter says where
// it lies, and its partition goes on behind it.

// stepOver makes an item of such a batch, in the place of its records, and has
// the client go on behind it. Rebalances are held off by the caller, who holds
// the mutex.
func (s *Source) stepOver(p *partition, bomb *kgo.ErrDecompressTooLarge) []item {
	last := bomb.NextOffset - 1
	r := &kgo.Record{Topic: p.topic, Partition: p.partition, Offset: last, LeaderEpoch: bomb.Epoch}
	items := s.take(p, math.MaxInt64, []*kgo.Record{r})
	p.readTo(bomb.Offset, last, bomb.NextOffset)
	for i := range items {
		items[i].skipped, items[i].stage = &bomb.Offset, "decode"
		items[i].err = tooLarge(bomb, s.cfg.DecompressMaxBytes)
	}
	if !s.seek(p.topicPartition, kgo.EpochOffset{Epoch: bomb.Epoch, Offset: bomb.NextOffset}) {
		p.lastOffset, p.lastWords = bomb.NextOffset, fmt.Errorf("topic %s partition %d: the record batch of offsets %d to %d is in the dead "+
			"letters, but being the first of its partition the client cannot be moved past it: restart the worker, it goes on behind it",
			p.topic, p.partition, bomb.Offset, last)
	}
	return items
}

// tooLarge is why a record batch is not unfolded.
func tooLarge(bomb *kgo.ErrDecompressTooLarge, bound int) error {
	return chunk.Permanentf(chunk.ReasonTooLarge,
		"the record batch of offsets %d to %d unfolds to more than decompress_max_bytes (%d); it lies where it was: "+
			"if its records are meant, raise the bound and send them again", bomb.Offset, bomb.NextOffset-1, bound)
}

// seek moves the client's position in a partition. It fails for one of which
// neither the client nor its group has had an offset so far.
func (s *Source) seek(id topicPartition, to kgo.EpochOffset) bool {
	s.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{id.topic: {id.partition: to}})
	return s.client.CommittedOffsets()[id.topic][id.partition] == to
}
