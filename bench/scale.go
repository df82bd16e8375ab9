package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"chunktide/chunk"
	"chunktide/embedder"
)

// device stands for an accelerator: a call of B texts takes t0 + c·B, and one
// runs at a time. Waiting costs no processor time, as with a real one.
type device struct {
	*embedder.Bow
	t0, c time.Duration
	busy  chan struct{} // holds one token while a call runs
}

func newDevice(t0, c time.Duration) *device {
	return &device{Bow: embedder.NewBow("simulated", nil), t0: t0, c: c, busy: make(chan struct{}, 1)}
}

func (d *device) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	out, err := d.Bow.Encode(ctx, texts)
	select {
	case <-time.After(d.t0 + time.Duration(len(texts))*d.c):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return out, err
}

// The device's figures: an encoder of some 335 M parameters on a small
// datacentre card.
const (
	deviceT0 = 10 * time.Millisecond
	deviceC  = 5 * time.Millisecond
	// scaleBatch texts to a call.
	scaleBatch      = 64
	scalePartitions = 48
)

// scale is (f): members of one group, each with a device of its own, on one
// broker and one index.
func scale(ctx context.Context, s *Stage, o Options) (r Result, err error) {
	window := time.Duration(o.sized(20)) * time.Second
	perSecond := float64(scaleBatch) / (deviceT0 + scaleBatch*deviceC).Seconds()
	// Enough for the largest group, its start included.
	n := int(16 * perSecond * (window.Seconds() + 30))
	topic, err := s.topic(ctx, "scale", scalePartitions, n, distinct)
	if err != nil {
		return r, err
	}
	r.Head = []string{"workers", "texts/s", "of the devices' ceiling", "linear"}
	r.Plot = &Plot{X: "workers", Y: "texts/s"}
	var one float64
	for _, workers := range []int{1, 2, 4, 8, 16} {
		rate, err := s.groupRate(ctx, topic, workers, window)
		if err != nil {
			return r, err
		}
		if workers == 1 {
			one = rate
		}
		linear := rate / one / float64(workers)
		r.Rows = append(r.Rows, []string{
			fmt.Sprint(workers), fmt.Sprintf("%.0f", rate), fmt.Sprintf("%.3f", rate/perSecond/float64(workers)), fmt.Sprintf("%.3f", linear),
		})
		r.Plot.add("the devices' ceiling", float64(workers), perSecond*float64(workers))
		r.Plot.add("measured", float64(workers), rate)
		o.say("  %d workers: %.0f texts/s, %.3f of linear", workers, rate, linear)
		if workers == 8 {
			r.Bar, r.Met = "≥ 0.95 linear to 8 workers", linear >= .95
		}
	}
	r.Note = fmt.Sprintf("a simulated device a worker: %s + %s for each text, one call at a time, %d texts a call; %d partitions, %s each after all have theirs.",
		deviceT0, deviceC, scaleBatch, scalePartitions, window)
	return r, nil
}

// groupRate is the texts a second that a group of so many workers encodes and
// stores together, over a window that begins when each of them is at work.
func (s *Stage) groupRate(ctx context.Context, topic string, workers int, window time.Duration) (rate float64, err error) {
	cfg, err := s.config(topic, fmt.Sprint("kafka.batch.events=", scaleBatch), "cache.memory_bytes=1048576")
	if err != nil {
		return 0, err
	}
	var drives []*drive
	defer func() {
		// All at once: who leaves alone hands its partitions to the others.
		var leaving errgroup.Group
		for _, d := range drives {
			leaving.Go(func() error { return d.finish(ctx) })
		}
		err = errors.Join(err, leaving.Wait())
	}()
	for range workers {
		d, err := start(ctx, cfg, newDevice(deviceT0, deviceC))
		if err != nil {
			return 0, err
		}
		drives = append(drives, d)
	}
	for _, d := range drives {
		if err := d.until(ctx, func() bool { return len(d.worker.Source.Assigned()[topic]) == scalePartitions/workers }); err != nil {
			return 0, err
		}
	}
	for _, d := range drives { // what it has in flight may be of partitions that it had before
		if err := d.await(ctx, d.count()+4*scaleBatch); err != nil {
			return 0, err
		}
	}
	from := time.Now()
	select {
	case <-time.After(window):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for _, d := range drives {
		rate += d.rateSince(from)
	}
	return rate, nil
}

// until waits for a condition that something outside brings about, by looking
// after each batch.
func (d *drive) until(ctx context.Context, holds func() bool) error {
	for !holds() {
		if err := d.await(ctx, d.count()+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *drive) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events
}

// rateSince is texts encoded a second (the corpus repeats some, which cost the
// device nothing) between the ends of the first and the last
// batch after t.
func (d *drive) rateSince(t time.Time) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var first, last time.Time
	sum := 0
	for _, b := range d.batches {
		switch {
		case b.at.Before(t):
		case first.IsZero():
			first = b.at
		default:
			sum, last = sum+b.encoded, b.at
		}
	}
	if last.IsZero() {
		return 0
	}
	return float64(sum) / last.Sub(first).Seconds()
}
