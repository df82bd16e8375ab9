package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/pipeline"
)

// settled is a batch that became durable.
type settled struct {
	at             time.Time
	events, tokens int
	encoded        int
	fresh          []time.Duration
}

// drive is one worker at work in this process.
type drive struct {
	worker *worker.Worker
	reg    *prometheus.Registry

	mu      sync.Mutex
	changed chan struct{}
	batches []settled
	events  int

	stop context.CancelFunc
	done chan error
}

// start runs a worker until finish.
func start(ctx context.Context, cfg configs.Config, encoder embedder.Encoder) (d *drive, err error) {
	d = &drive{changed: make(chan struct{}), done: make(chan error, 1), reg: prometheus.NewRegistry()}
	if d.worker, err = worker.New(ctx, cfg, encoder, d.observe, quiet(), d.reg); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	d.stop = stop
	go func() { d.done <- d.worker.Line.Run(running) }()
	return d, nil
}

func (d *drive) observe(r pipeline.Report) {
	b := settled{at: r.Durable, events: len(r.Events), tokens: r.Tokens, encoded: r.Encoded, fresh: make([]time.Duration, len(r.Events))}
	for i := range r.Events {
		b.fresh[i] = r.Durable.Sub(r.Events[i].Time)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.batches = append(d.batches, b)
	d.events += b.events
	close(d.changed)
	d.changed = make(chan struct{})
}

// await waits for n events to be durable.
func (d *drive) await(ctx context.Context, n int) error {
	for {
		d.mu.Lock()
		events, changed := d.events, d.changed
		d.mu.Unlock()
		if events >= n {
			return nil
		}
		select {
		case <-changed:
		case err := <-d.done:
			d.done <- err
			return errors.Join(fmt.Errorf("the worker ended after %d of %d events", events, n), err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// finish stops the worker, in order.
func (d *drive) finish(ctx context.Context) error {
	d.stop()
	return errors.Join(<-d.done, d.worker.Close(ctx))
}

// rate is what happens in a second, from the end of the first batch to the end
// of the last: how long it took to get going is not in it.
func (d *drive) rate(of func(settled) int) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.batches) < 2 {
		return 0
	}
	sum := 0
	for _, b := range d.batches[1:] {
		sum += of(b)
	}
	return float64(sum) / d.batches[len(d.batches)-1].at.Sub(d.batches[0].at).Seconds()
}
