package consumer

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// slowStorage has most fetches answered as by a broker that waits in vain for its
// tiered storage: with no batch, no error, and an end far away. Some fail. Whoever
// asks about a tail gets answer in place of no batch.
func (w *world) slowStorage(answer []byte) {
	w.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.KeepControl()
		req := r.(*kmsg.FetchRequest)
		asked := len(req.Topics) > 0 && req.Topics[0].Partitions[0].PartitionMaxBytes == 1
		chance := rand.IntN(10)
		if chance >= 7 || asked && chance >= 5 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, of := range req.Topics {
			t := kmsg.FetchResponseTopic{Topic: of.Topic, TopicID: of.TopicID}
			for _, p := range of.Partitions {
				got := kmsg.NewFetchResponseTopicPartition()
				got.Partition, got.HighWatermark, got.LastStableOffset = p.Partition, 1<<30, 1<<30
				if asked {
					got.RecordBatches = answer
				}
				if chance == 0 {
					got.ErrorCode = kerr.KafkaStorageError.Code
				}
				t.Partitions = append(t.Partitions, got)
			}
			resp.Topics = append(resp.Topics, t)
		}
		if !asked {
			time.Sleep(3 * time.Millisecond) // as long as a broker waits for more
		}
		return resp, nil, true
	})
}

// churnTails is churn with members that ask about tails all the time, of a broker
// with slow storage.
func churnTails(t *testing.T, records int, nextGen bool, answer []byte) *ledger {
	t.Helper()
	var once sync.Once
	live := liveSource(false, func(c *Config) {
		c.NextGen, c.endsEvery = nextGen, 3*time.Millisecond
		c.options = append(c.options, kgo.DisableFetchSessions()) // a fetch names all its partitions
	})
	return churn(t, records, func(ctx context.Context, w *world, l *ledger, rng *rand.Rand, lives map[string]int) error {
		once.Do(func() { w.slowStorage(answer) })
		return live(ctx, w, l, rng, lives)
	})
}

// Whoever asks about tails while records are slow to come, and members come and
// go, commits none that was not applied.
func TestChurnWhereRecordsAreSlowLosesNothing(t *testing.T) {
	t.Parallel()
	for name, nextGen := range map[string]bool{"cooperative-sticky": false, "next-gen": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := churnTails(t, churnControl, nextGen, nil)
			l.lostNothing(t, churnControl)
		})
	}
}

// The control: the leader says that there is nothing, and there is.
func TestChurnControlALeaderThatIsWrong(t *testing.T) {
	t.Parallel()
	l := churnTails(t, churnControl, false, cleaned(t, 0, 1<<30, false))
	l.lostSome(t)
}
