package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"chunktide/devstack/realservers"
	"chunktide/prove/history"
)

// tally counts what was injected.
type tally struct {
	mu       sync.Mutex
	injected map[Kind]int
	// hits are how often the faults of the network hit something.
	hits map[Kind]int64
	// midWrite counts the workers that were killed or frozen while Qdrant owed
	// them an answer.
	midWrite int
	// rewound is how many records were committed no more after the resets.
	rewound int64
	// unclean are the stops by SIGTERM that did not end with exit code 0, when
	// all was well and when it was not: then a worker may have to give up.
	unclean, disturbed []string
}

func (t *tally) note(do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
}

// lane injects the faults of a lane, one after the other.
func (r *run) lane(ctx context.Context, l lane, faults []Fault) error {
	for i := range faults {
		if err := r.stage.begin(ctx, l, faults[i:]); err != nil {
			return err
		}
		f := faults[i]
		r.log("%6d  %s", f.At, f)
		if err := r.inject(ctx, f); err != nil {
			return fmt.Errorf("inject a fault (%s): %w", f, err)
		}
	}
	return nil
}

// String names a fault for people.
func (f Fault) String() string {
	switch f.Kind {
	case KillWorker, FreezeWorker:
		return fmt.Sprintf("%s: worker-%d", f.Kind, f.Worker)
	case Cut, Delay, LoseAnswer:
		return fmt.Sprintf("%s: worker-%d and %s, %v", f.Kind, f.Worker, f.Server, f.For)
	default:
		return string(f.Kind)
	}
}

func (r *run) inject(ctx context.Context, f Fault) error {
	w := r.world
	var err error
	switch f.Kind {
	case KillWorker:
		err = r.killWorker(ctx, w.live[f.Worker])
	case FreezeWorker:
		err = r.freezeWorker(ctx, w.live[f.Worker])
	case ResetOffsets:
		err = r.resetOffsets(ctx, f.Shares)
	case KillRedis:
		err = outage(ctx, f.For, w.redis.Kill, w.redis.Restart)
	case FlushRedis:
		err = w.cache.FlushAll(ctx).Err()
	case FlipBit:
		err = r.flipBit(ctx, f.Bit)
	case KillBroker:
		err = outage(ctx, f.For, w.broker.Kill, w.broker.Restart)
	case StopBroker:
		err = outage(ctx, f.For, w.broker.Stop, w.broker.Restart)
	case KillQdrant:
		err = outage(ctx, f.For, w.qdrant.Kill, w.qdrant.Restart)
	case Backfill:
		return r.backfill(f) // counts when it is done
	default:
		return r.disturb(ctx, f)
	}
	if err == nil {
		r.tally.note(func() { r.tally.injected[f.Kind]++ })
	}
	return err
}

func outage(ctx context.Context, d time.Duration, end func() error, restart func(context.Context) error) error {
	if err := end(); err != nil {
		return err
	}
	if err := sleep(ctx, d); err != nil {
		return err
	}
	return restart(ctx)
}

// caught waits, not for long, until the worker has asked Qdrant for something
// and has no answer yet: in the middle of a write most goes wrong.
func (r *run) caught(ctx context.Context, w *worker) {
	if poll(ctx, 2*time.Second, func() (bool, error) { return w.route[qdrant].asked.Load(), nil }) == nil {
		r.tally.note(func() { r.tally.midWrite++ })
	}
}

func (r *run) killWorker(ctx context.Context, w *worker) error {
	if _, err := w.serving(ctx); err != nil {
		return err
	}
	r.meter.read(ctx, w) // what it takes along is not counted
	r.caught(ctx, w)
	return w.hit((*realservers.Command).Kill)
}

// freezeWorker makes a zombie: the group has given its partitions away when it
// goes on with what it was doing.
func (r *run) freezeWorker(ctx context.Context, w *worker) error {
	life, err := w.serving(ctx)
	if err != nil {
		return err
	}
	r.caught(ctx, w)
	if err := life.Freeze(); err != nil {
		return err
	}
	expelled := poll(ctx, time.Minute, func() (bool, error) { return r.expelled(ctx, w) })
	if err := life.Thaw(); err != nil {
		return err
	}
	if expelled != nil {
		return fmt.Errorf("the group keeps a frozen member: %w", expelled)
	}
	return nil
}

// expelled says whether the group has no member of the worker's name.
func (r *run) expelled(ctx context.Context, w *worker) (bool, error) {
	groups, err := r.world.admin.DescribeGroups(ctx, w.topic)
	if err == nil {
		err = groups.Error()
	}
	if err != nil {
		return false, err
	}
	for _, m := range groups[w.topic].Members {
		if m.ClientID == w.name {
			return false, nil
		}
	}
	return true, nil
}

// resetOffsets stops all workers, lets each partition's offset go back, and
// starts them again: a replay.
func (r *run) resetOffsets(ctx context.Context, shares []float64) error {
	w := r.world
	if _, err := r.committed(ctx, 1); err != nil {
		return fmt.Errorf("wait for something to go back from: %w", err)
	}
	var stops errgroup.Group
	for _, worker := range w.live {
		stops.Go(func() error {
			r.meter.read(ctx, worker)
			if err := worker.stop(); err != nil {
				r.tally.note(func() { r.tally.disturbed = append(r.tally.disturbed, err.Error()) })
			}
			return nil
		})
	}
	_ = stops.Wait()
	err := poll(ctx, 2*time.Minute, func() (bool, error) {
		// It is empty when the sessions of those that were killed have ended.
		groups, err := w.admin.DescribeGroups(ctx, w.topic)
		if err == nil {
			err = groups.Error()
		}
		return err == nil && groups[w.topic].State == "Empty", err
	})
	if err != nil {
		return fmt.Errorf("wait for an empty group: %w", err)
	}
	if err := r.rewind(ctx, shares); err != nil {
		return fmt.Errorf("reset the offsets: %w", err)
	}
	for _, worker := range w.live {
		if err := worker.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rewind commits lower offsets for the group, which must be empty.
func (r *run) rewind(ctx context.Context, shares []float64) error {
	w := r.world
	before, err := r.committed(ctx, 0)
	if err != nil {
		return err
	}
	err = poll(ctx, time.Minute, func() (bool, error) {
		committed, err := w.admin.FetchOffsets(ctx, w.topic)
		if err != nil {
			return false, err
		}
		// A new set: an offset added to one that has it stays the higher.
		var back kadm.Offsets
		committed.Each(func(o kadm.OffsetResponse) {
			back.AddOffset(o.Topic, o.Partition, int64(float64(max(0, o.At))*shares[o.Partition]), -1)
		})
		answer, err := w.admin.CommitOffsets(ctx, w.topic, back)
		return err == nil, errors.Join(err, answer.Error())
	})
	if err != nil {
		return err
	}
	after, err := r.committed(ctx, 0)
	if err != nil {
		return err
	}
	if after >= before {
		return fmt.Errorf("%d records were committed, and %d are after going back", before, after)
	}
	r.tally.note(func() { r.tally.rewound += before - after })
	return nil
}

// committed waits until so many records are committed, and says how many are.
func (r *run) committed(ctx context.Context, least int64) (n int64, err error) {
	err = poll(ctx, time.Minute, func() (bool, error) {
		var err error
		_, n, err = r.world.lag(ctx, r.world.topic)
		return n >= least, err
	})
	return n, err
}

// flipBit changes one bit of one value.
func (r *run) flipBit(ctx context.Context, bit uint32) error {
	cache := r.world.cache
	return poll(ctx, time.Minute, func() (bool, error) {
		key, err := cache.RandomKey(ctx).Result()
		if err != nil {
			return false, err // there may be none yet
		}
		value, err := cache.Get(ctx, key).Bytes()
		if err != nil || len(value) == 0 {
			return false, err
		}
		at := int(bit) % (8 * len(value))
		value[at/8] ^= 1 << (at % 8)
		return true, cache.Set(ctx, key, value, 0).Err()
	})
}

// backfill has a worker of another group write rows that were read a while
// ago, beside the live stream. It goes on in the background.
func (r *run) backfill(f Fault) error {
	worker := r.world.backfills[r.begun]
	r.begun++
	perEvent := float64(r.Plan.Events) / float64(len(r.history.Records))
	rows := history.Snapshot(r.Seed, r.shape, max(1, int(float64(f.At-f.Behind)*perEvent)))
	r.background.Go(func() error {
		ctx := r.ctx
		if err := worker.start(ctx); err != nil {
			return err
		}
		for len(rows) > 0 {
			n := min(r.Plan.burst(), len(rows))
			if err := r.world.publish(ctx, worker.topic, rows[:n], func(int, place) {}); err != nil {
				return err
			}
			r.tally.note(func() { r.rows += n })
			rows = rows[n:]
			if err := sleep(ctx, time.Duration(n)*time.Second/time.Duration(r.Plan.Rate)); err != nil {
				return err
			}
		}
		r.tally.note(func() { r.tally.injected[Backfill]++ })
		return nil
	})
	return nil
}

// disturb is a fault between a worker and a server. It lasts until it has hit
// something; if nothing comes by for long, it was none.
func (r *run) disturb(ctx context.Context, f Fault) error {
	proxy := r.world.live[f.Worker].route[f.Server]
	t := &trouble{kind: f.Kind, delay: f.For / 4}
	proxy.begin(t)
	defer proxy.end()
	if err := sleep(ctx, f.For); err != nil {
		return err
	}
	hit := poll(ctx, 15*time.Second, func() (bool, error) { return t.hits.Load() > 0, nil })
	if hit == nil {
		r.tally.note(func() { r.tally.injected[f.Kind]++; r.tally.hits[f.Kind] += t.hits.Load() })
	}
	return ctx.Err()
}
