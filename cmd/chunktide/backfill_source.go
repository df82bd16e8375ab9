package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/backfill"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/pipeline"
	"chunktide/sink"
)

// fromInput reads files or a collection.
func (r *backfillRun) fromInput(ctx context.Context, encoder embedder.Encoder) (err error) {
	in, closeInput, err := r.app.openInput(ctx, r.plan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeInput()) }()
	rejects := backfill.NewRejects(r.plan.rejectsFile(in, encoder.Recipe()))
	var source *backfill.Source
	var collection string
	err = fillFrom(ctx, r.plan.cfg, encoder, func(index *sink.Sink) (*backfill.Source, error) {
		opened, err := r.openSource(ctx, index, in, encoder.Recipe(), rejects)
		if err != nil {
			return nil, err
		}
		source, collection = opened, index.Collection()
		r.reach = func() (int64, int64, int64) {
			now, before, total := source.Progress()
			return now.Done, before.Done, total
		}
		_, before, _ := source.Progress()
		r.announce(before)
		return source, nil
	}, r.observe, r.plan.logger, r.reg)
	if err != nil {
		return err
	}
	now, before, _ := source.Progress()
	res := backfillResult{
		Collection: collection, Rows: now.Rows, ResumedAt: before.Rows, RejectedRows: now.Rejected, Finished: now.Finished,
	}
	if now.Rejected > 0 {
		res.RejectsFile = rejects.Path()
	}
	return r.finish(ctx, res)
}

// fillFrom sends a source through the pipeline into the collection of cfg,
// until the source ends or ctx does, and makes its last checkpoint durable.
// Open makes the source when the index is there.
func fillFrom(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, open func(*sink.Sink) (*backfill.Source, error),
	observe func(pipeline.Report), logger *slog.Logger, reg prometheus.Registerer,
) (err error) {
	var source *backfill.Source
	w, err := worker.NewFrom(ctx, cfg, encoder, func(w *worker.Worker) (pipeline.Source, error) {
		opened, err := open(w.Index)
		source = opened
		return source, err
	}, observe, logger, reg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close(ctx)) }()
	failed := w.Run(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), worker.CloseTimeout)
	defer cancel()
	return errors.Join(failed, source.Close(closing))
}

// openSource finds out where to begin.
func (r *backfillRun) openSource(ctx context.Context, index *sink.Sink, in backfill.Input, recipe embedder.Recipe, rejects *backfill.Rejects) (*backfill.Source, error) {
	if index.Collection() == r.plan.collection {
		return nil, usagef("--collection %s: it is the one to be filled; name another with qdrant.collection, or set another model", r.plan.collection)
	}
	held, any, err := index.AnyVersion(ctx)
	if err != nil {
		return nil, err
	}
	if any {
		if err := r.plan.asOf.Fits(held); err != nil {
			return nil, usagef("--as-of: %w", err)
		}
	}
	checkpoint, reached, err := backfill.OpenCheckpoint(ctx, index, in.Identity(), r.plan.restart)
	if err != nil {
		return nil, err
	}
	return backfill.NewSource(r.plan.cfg.Backfill.Batch, backfill.SourceParts{
		Input: in, Tokens: recipe.EstimateTokens, Rejects: rejects, Checkpoint: checkpoint, Reached: reached,
	}), nil
}

func (r *backfillRun) announce(before backfill.Reached) {
	switch {
	case before.Finished:
		fmt.Fprintf(r.app.io.err, "It was done on %s; --restart does it again.\n", before.At.Format(time.RFC3339))
	case before.Rows > 0:
		fmt.Fprintf(r.app.io.err, "Going on after row %d, which was reached on %s; --restart starts over.\n", before.Rows, before.At.Format(time.RFC3339))
	}
}

// openInput opens files, or another collection.
func (a *app) openInput(ctx context.Context, p *backfillPlan) (in backfill.Input, closeInput func() error, err error) {
	if p.collection == "" {
		files, err := backfill.OpenFiles(backfill.FilesConfig{
			Paths: p.paths, Stdin: a.io.in, Format: p.format, AsOf: p.asOf, Events: rowEvents(p.cfg),
		})
		if err != nil {
			return nil, nil, usageError{err}
		}
		return files, func() error { return nil }, nil
	}
	stored, err := sink.OpenStored(ctx, p.cfg.Qdrant, p.collection, p.logger, nil)
	if err != nil {
		return nil, nil, err
	}
	points, err := stored.Points(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, stored.Close())
	}
	return backfill.NewCollection(p.collection, stored.Model().Digest, int64(points), stored), stored.Close, nil
}

// rowEvents are the settings of events for rows. The source of those that name
// none is the topic, as it is for the live events: it is a part of each id.
func rowEvents(cfg configs.Config) chunk.DecoderConfig {
	events := cfg.Events
	if events.DefaultSource == "" && len(cfg.Kafka.Topics) == 1 {
		events.DefaultSource = cfg.Kafka.Topics[0]
	}
	return events
}

// rejectsFile stands beside the first file, with a name that no pattern for
// input finds.
func (p *backfillPlan) rejectsFile(in backfill.Input, recipe embedder.Recipe) string {
	files, ok := in.(*backfill.Files)
	switch {
	case p.rejects != "":
		return p.rejects
	case ok && files.First() != "":
		return files.First() + ".rejects"
	default:
		return "backfill-" + p.target(recipe) + ".rejects"
	}
}

// fromTopic reads the topics as a group of its own.
func (r *backfillRun) fromTopic(ctx context.Context, encoder embedder.Encoder) (err error) {
	cfg := worker.FromTopic(r.plan.cfg, r.plan.groupName(encoder.Recipe()))
	group, err := consumer.OpenGroup(ctx, cfg.Kafka)
	if err != nil {
		return err
	}
	defer group.Close()
	if err := r.prepareGroup(ctx, cfg, group, encoder.Recipe()); err != nil {
		return err
	}
	w, err := worker.New(ctx, cfg, encoder, r.observe, r.plan.logger, r.reg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close(ctx)) }()
	var reached groupReach
	if err := reached.look(ctx, group); err != nil {
		return err
	}
	r.reach = reached.read
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go reached.watch(watching, group)
	if err := w.Run(ctx); err != nil {
		return err
	}
	letters, err := deadLetters(r.reg)
	if err != nil {
		return err
	}
	return r.finish(ctx, backfillResult{
		Collection: w.Index.Collection(), Group: cfg.Kafka.Group, RejectedRows: letters, Finished: ctx.Err() == nil,
	})
}

// groupName is one for each target, so that the processes that fill it meet.
func (p *backfillPlan) groupName(recipe embedder.Recipe) string {
	if p.group != "" {
		return p.group
	}
	return p.cfg.Kafka.Group + "-backfill-" + p.target(recipe)
}

// prepareGroup forgets an earlier run if asked to, and refuses one whose
// collection is gone: what it has read would be missing.
func (r *backfillRun) prepareGroup(ctx context.Context, cfg configs.Config, group *consumer.Group, recipe embedder.Recipe) error {
	if cfg.Kafka.Group == r.plan.cfg.Kafka.Group {
		return usagef("--group %s: it is that of the workers (kafka.group), which would have the backfill's work to do: name another", cfg.Kafka.Group)
	}
	if r.plan.restart {
		return group.Delete(ctx)
	}
	var reached groupReach
	if err := reached.look(ctx, group); err != nil || reached.committed == 0 {
		return err
	}
	cfg.Qdrant.Group = cfg.Kafka.Group
	reader, err := sink.OpenWritten(ctx, cfg.Qdrant, worker.ModelPin(recipe), r.plan.logger, nil)
	fed := false
	switch {
	case err == nil:
		fed, err = reader.FedBy(ctx, cfg.Kafka.Group)
		err = errors.Join(err, reader.Close())
	case errors.Is(err, sink.ErrNoCollection):
		err = nil
	}
	if err == nil && !fed {
		err = fmt.Errorf("group %s has read a part of the topic into a collection that is gone, and would leave it out now: start over with --restart", cfg.Kafka.Group)
	}
	return err
}

// groupReach is how far a group has come over all its members.
type groupReach struct {
	// before, done and total count offsets; committed the partitions that have a
	// commit.
	before, total int64
	done          atomic.Int64
	committed     int
	looked        bool
}

func (g *groupReach) look(ctx context.Context, group *consumer.Group) error {
	earliest, err := consumer.ParseTarget("earliest", time.Now())
	if err != nil {
		return err
	}
	moves, err := group.Plan(ctx, earliest)
	if err != nil {
		return err
	}
	var done, total int64
	committed := 0
	for _, m := range moves {
		total += m.End - m.Start
		done += max(0, m.From-m.Start)
		if m.From >= 0 {
			committed++
		}
	}
	if !g.looked {
		g.before, g.total, g.committed, g.looked = done, total, committed, true
	}
	g.done.Store(min(done, g.total))
	return nil
}

func (g *groupReach) read() (done, before, total int64) { return g.done.Load(), g.before, g.total }

// watch keeps it up to date until ctx ends. What it cannot find out leaves the
// estimate older, and nothing else.
func (g *groupReach) watch(ctx context.Context, group *consumer.Group) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = g.look(ctx, group)
		case <-ctx.Done():
			return
		}
	}
}

// deadLetters is how many records this process sent there.
func deadLetters(reg prometheus.Gatherer) (int64, error) {
	families, err := reg.Gather()
	if err != nil {
		return 0, err
	}
	var n float64
	for _, f := range families {
		if f.GetName() == "chunktide_dead_letters_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return int64(n), nil
}
