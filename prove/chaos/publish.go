package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/prove/history"
)

// place is where a record has come to lie.
type place struct {
	partition int32
	offset    int64
}

// published knows which record lies where.
type published struct {
	mu      sync.Mutex
	records map[place]int
}

func (p *published) find(at place) (record int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	record, ok = p.records[at]
	return record, ok
}

// burst is how many records are published at once. Bursts make a backlog, so
// that a fault finds batches in flight.
func (p Plan) burst() int { return max(20, p.Rate*3/2) }

// stream publishes the history at the plan's rate and waits at every fault
// that has not begun.
func (r *run) stream(ctx context.Context) error {
	records := r.history.Records
	next := time.Now()
	for from := 0; from < len(records); {
		limit, err := r.stage.room(ctx)
		if err != nil {
			return err
		}
		to := min(from+r.Plan.burst(), limit, len(records))
		if err := r.world.publish(ctx, r.world.topic, records[from:to], func(i int, at place) { r.published.put(from+i, at) }); err != nil {
			return err
		}
		r.stage.publish(to)
		// What waiting for faults took is not made up for.
		next = latest(next, time.Now()).Add(time.Duration(to-from) * time.Second / time.Duration(r.Plan.Rate))
		from = to
		if err := sleep(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	return nil
}

func (p *published) put(record int, at place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records[at] = record
}

// publish writes records in their order and returns when the broker has them.
func (w *world) publish(ctx context.Context, topic string, records []history.Record, lies func(i int, at place)) error {
	var mu sync.Mutex
	var failed error
	for i := range records {
		h := &records[i]
		w.kafka.Produce(ctx, &kgo.Record{Topic: topic, Partition: h.Partition, Key: h.Key, Value: h.Value, Timestamp: h.Time}, func(k *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			lies(i, place{k.Partition, k.Offset})
		})
	}
	if err := w.kafka.Flush(ctx); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if failed != nil {
		return fmt.Errorf("publish to %s: %w", topic, failed)
	}
	return nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep paces; it waits for nothing.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
