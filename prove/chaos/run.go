package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"chunktide/prove/history"
)

// Config is what to run.
type Config struct {
	Plan Plan
	Seed uint64
	// Unfenced runs workers that were built without the fence.
	Unfenced bool
	// Dir is where the servers' data and the logs lie; empty is a temporary
	// folder, which is removed unless something is wrong.
	Dir string
	// Progress is told what happens; nil is nobody.
	Progress io.Writer
}

// settleLimit is how long the workers may take, at most, until everything is
// committed once all is published and no fault is left.
const settleLimit = 10 * time.Minute

// run is a run under way.
type run struct {
	config
	ctx       context.Context
	began     time.Time
	shape     history.Shape
	history   *history.History
	world     *world
	stage     *stage
	published published
	tally     tally
	meter     *meter
	// background are the backfills; begun is how many there were, rows how
	// many rows they have published.
	background *errgroup.Group
	begun      int
	rows       int
	// sample, where set, is called now and then while the stream flows.
	sample func(ctx context.Context, r *run)
}

// Run runs a plan and judges the outcome. An error means that the run could
// not be carried out; what it found is in the report.
func Run(ctx context.Context, c Config) (*Report, error) { return carryOut(ctx, c, nil) }

func carryOut(ctx context.Context, c Config, sample func(context.Context, *run)) (report *Report, err error) {
	r := &run{config: config{Config: c, dir: c.Dir}, began: time.Now(), meter: newMeter(), sample: sample}
	if r.dir == "" {
		if r.dir, err = os.MkdirTemp("", "chunktide-chaos-"); err != nil {
			return nil, fmt.Errorf("make a folder for the run: %w", err)
		}
		defer func() {
			if err == nil && (report.Good() || c.Unfenced) {
				err = os.RemoveAll(r.dir)
				return
			}
			r.log("logs and data: %s", r.dir)
		}()
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the run: %w", err)
	}
	r.tally.injected, r.tally.hits = map[Kind]int{}, map[Kind]int64{}
	r.published.records = map[place]int{}
	r.shape = history.DefaultShape(c.Plan.Events, c.Plan.Chunks, c.Plan.Partitions)
	r.shape.Texts = c.Plan.Texts
	if c.Plan.DocumentDeletes > 0 {
		r.shape.DocumentDeletes = c.Plan.DocumentDeletes
	}
	r.history = history.New(c.Seed, r.shape)
	schedule := newSchedule(c.Seed, c.Plan, len(r.history.Records))
	r.stage = newStage(schedule)
	r.log("seed %d: %d records of %d events on %d chunks", c.Seed, len(r.history.Records), c.Plan.Events, c.Plan.Chunks)

	r.world, err = newWorld(ctx, r.config)
	defer func() { r.world.close(ctx) }()
	if err != nil {
		return nil, err
	}
	watching := r.observe(ctx)
	defer watching.end()
	if err := r.play(ctx, schedule); err != nil {
		return nil, err
	}
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	watching.end()
	return r.judge(ctx, watching)
}

// log tells whoever wants to know.
func (r *run) log(format string, args ...any) {
	if r.Progress != nil {
		fmt.Fprintf(r.Progress, "%6.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// play publishes the stream and injects the faults, until both are over.
func (r *run) play(ctx context.Context, schedule Schedule) error {
	group, ctx := errgroup.WithContext(ctx)
	r.background, r.ctx = group, ctx
	for _, w := range r.world.live {
		if err := w.start(ctx); err != nil {
			return err
		}
	}
	flowing, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error {
		defer stop()
		return r.stream(ctx)
	})
	for l, faults := range schedule {
		group.Go(func() error { return r.lane(ctx, l, faults) })
	}
	group.Go(func() error {
		if r.sample != nil {
			every(flowing, 2*time.Second, func() { r.sample(ctx, r) })
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("after %d records: %w", r.stage.count(), err)
	}
	return nil
}

// settle waits until everything is committed, and stops the workers in order.
func (r *run) settle(ctx context.Context) error {
	r.log("everything is published, no fault is left")
	for _, w := range r.world.workers() {
		if _, err := w.serving(ctx); err != nil {
			return err
		}
		err := poll(ctx, settleLimit, func() (bool, error) {
			lag, _, err := r.world.lag(ctx, w.topic)
			return lag == 0, err
		})
		if err != nil {
			lag, _, _ := r.world.lag(ctx, w.topic)
			return fmt.Errorf("%d records of %s are not committed: %w", lag, w.topic, err)
		}
	}
	for _, w := range r.world.workers() {
		r.meter.read(ctx, w)
	}
	r.log("everything is committed")
	var stops errgroup.Group
	for _, w := range r.world.workers() {
		stops.Go(func() error {
			if err := w.stop(); err != nil {
				r.tally.note(func() { r.tally.unclean = append(r.tally.unclean, err.Error()) })
			}
			return nil
		})
	}
	return errors.Join(stops.Wait(), ctx.Err())
}
