package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/embedder"
)

// freshness is (d): from the moment at which an event is due at its producer
// to its being durable in the index, at parts of what the worker can do. The
// load is open: an event is due when the schedule says so, whether or not the
// ones before it were done, so that a worker that falls behind is not spared.
func freshness(ctx context.Context, s *Stage, o Options) (r Result, err error) {
	n := o.sized(1500)
	_, cfg, encoder, err := s.filled(ctx, "capacity", n, nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	capacity, err := endToEnd(ctx, cfg, encoder, n, settled.count)
	if err != nil {
		return r, err
	}
	o.say("  capacity %.0f events/s", capacity)

	r.Head = []string{"load", "events/s", "events", "p50", "p99", "p99.9", "events a batch", "time of a batch"}
	r.Plot = &Plot{X: "load, % of the capacity", Y: "from event to index, ms", LogY: true}
	next := n // texts that no load before has used
	for _, load := range []float64{.1, .5, .8} {
		l := openLoad{rate: load * capacity, events: int(load * capacity * float64(o.sized(60))), from: next}
		next += l.events
		if err := l.run(ctx, s, encoder); err != nil {
			return r, err
		}
		r.Rows = append(r.Rows, []string{
			fmt.Sprintf("%.0f %%", 100*load), fmt.Sprintf("%.1f", l.rate), fmt.Sprint(l.events),
			ms(quantile(l.fresh, .5)), ms(quantile(l.fresh, .99)), ms(quantile(l.fresh, .999)),
			fmt.Sprintf("%.1f", l.perBatch), ms(l.batch),
		})
		for _, q := range []float64{.5, .99, .999} {
			r.Plot.add(fmt.Sprintf("p%g", 100*q), 100*load, quantile(l.fresh, q).Seconds()*1e3)
		}
		o.say("  %.0f %%: p50 %s, p99 %s, p99.9 %s, a batch of %.1f events takes %s", 100*load,
			ms(quantile(l.fresh, .5)), ms(quantile(l.fresh, .99)), ms(quantile(l.fresh, .999)), l.perBatch, ms(l.batch))
		if load == .5 {
			bound := cfg.Kafka.Batch.Linger + 2*l.batch
			r.Bar = fmt.Sprintf("p50 at 50 %% ≤ linger + 2 batches (%s)", ms(bound))
			r.Met = quantile(l.fresh, .5) <= bound
		}
	}
	r.Note = fmt.Sprintf("open loop against a capacity of %.0f events/s; the time of a batch is the mean of its embed and apply stages at that load.", capacity)
	return r, nil
}

// openLoad is a stream of events, due one after the other at a rate.
type openLoad struct {
	rate   float64
	events int
	from   int // the first text

	fresh    []time.Duration // sorted
	perBatch float64
	batch    time.Duration
}

func (l *openLoad) run(ctx context.Context, s *Stage, encoder embedder.Encoder) error {
	topic, err := s.emptyTopic(ctx, "load", partitions)
	if err != nil {
		return err
	}
	cfg, err := s.config(topic)
	if err != nil {
		return err
	}
	d, err := start(ctx, cfg, encoder)
	if err != nil {
		return err
	}
	// The first event finds a worker that has its partitions.
	err = l.publish(ctx, s, topic, 0, 1, time.Now())
	if err == nil {
		err = d.await(ctx, 1)
	}
	if err == nil {
		err = l.publish(ctx, s, topic, 1, l.events, time.Now())
	}
	if err == nil {
		err = d.await(ctx, l.events)
	}
	if err := errors.Join(err, d.finish(ctx)); err != nil {
		return err
	}
	for _, b := range d.batches[1:] {
		l.fresh = append(l.fresh, b.fresh...)
	}
	slices.Sort(l.fresh)
	l.perBatch = float64(len(l.fresh)) / float64(len(d.batches)-1)
	for _, stage := range []string{"embed", "apply"} {
		took, err := mean(d.reg, "chunktide_stage_duration_seconds", stage)
		if err != nil {
			return err
		}
		l.batch += time.Duration(took * float64(time.Second))
	}
	return nil
}

// publish sends events from … to-1, each when it is due; none waits for the
// acknowledgement of those before it.
func (l *openLoad) publish(ctx context.Context, s *Stage, topic string, from, to int, began time.Time) error {
	var failed error
	for i := from; i < to; i++ {
		due := began.Add(time.Duration(float64(i-from) / l.rate * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return ctx.Err()
		}
		r, err := s.record(topic, partitions, i, edit{chunk: i, text: l.from + i, at: due})
		if err != nil {
			return err
		}
		s.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	return errors.Join(s.client.Flush(ctx), failed)
}

// mean is the mean of a histogram that a registry holds: of all its members,
// or of the one whose only label has the value.
func mean(reg *prometheus.Registry, name, value string) (float64, error) {
	families, err := reg.Gather()
	if err != nil {
		return 0, err
	}
	sum, count := 0., uint64(0)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); value == "" || m.GetLabel()[0].GetValue() == value {
				sum, count = sum+h.GetSampleSum(), count+h.GetSampleCount()
			}
		}
	}
	if count == 0 {
		return 0, fmt.Errorf("nothing was observed in %s", name)
	}
	return sum / float64(count), nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
