package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"chunktide/backfill"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/migrate"
	"chunktide/pipeline"
	"chunktide/sink"
)

func (a *app) migrateStartCommand() *cobra.Command {
	var o newModel
	var once bool
	var rejects string
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Fill the new model's collection and follow the live events",
		Long: `Start makes the collection of the model in your settings, fills it, and then keeps it level
as a worker would, until it is stopped. The alias stays where it is.

Stopped or killed at any point, it goes on where it was: run the same command again. Filling
from the topic and following are shared by all processes that run it; one process is enough
to fill from the old collection.

After the promotion it is a worker of the new model. Run more of them with chunktide run, with
the new model's settings and the kafka.group that status shows.`,
		Example: `  chunktide migrate start -c new-model.yaml
  chunktide migrate start --dimensions 128 --set embedder.matryoshka=128,256`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withMigrating(cmd.Context(), o, false, func(m *migrating) error {
				return (&migrateStart{migrating: m, once: once, rejects: rejects}).run(cmd.Context(), o)
			}, append(configs.Worker(), configs.Backfill)...)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "end when the collection is level with the topic as it stood when this began")
	cmd.Flags().StringVar(&rejects, "rejects", "", "`file` for what the new model refuses of the old collection (default: the new collection's name and .rejects)")
	return cmd
}

// migrateStart is one run of migrate start.
type migrateStart struct {
	*migrating
	once    bool
	rejects string
	encoder embedder.Encoder
	reg     *prometheus.Registry
}

func (s *migrateStart) run(ctx context.Context, o newModel) error {
	s.reg = worker.NewRegistry()
	encoder, err := s.app.workerEncoder(ctx, s.cfg, s.logger, s.reg)
	if err != nil {
		return err
	}
	s.encoder = encoder
	if err := boundMemory(worker.ForThroughput(s.cfg), residentBytes()); err != nil {
		return err
	}
	if done, err := s.adopt(ctx, o); done || err != nil {
		return errors.Join(err, encoder.Close())
	}
	source, why, err := s.source(ctx, o, encoder.Recipe())
	if err != nil {
		return err
	}
	s.logger.Info("the new collection is filled from the "+string(source), "because", why)
	err = s.machine.Run(ctx, migrate.Work{
		Model: worker.ModelPin(encoder.Recipe()), Source: source, Backfill: s.fill, Follow: s.follow,
	})
	if err != nil {
		return err
	}
	// As in runWorker: after a failure the process ends anyway.
	return encoder.Close()
}

// adopt lets a model that is declared compatible take over the collection that
// is served; done is false if it is not declared, or not wanted.
func (s *migrateStart) adopt(ctx context.Context, o newModel) (done bool, err error) {
	declared := s.cfg.Embedder.CompatibleWith
	if len(declared) == 0 || o.own || o.dimensions > 0 {
		return false, nil
	}
	model := worker.ModelPin(s.encoder.Recipe())
	collection, err := s.admin.Adopt(ctx, model, declared)
	if err != nil {
		return true, fmt.Errorf("%w (--own-collection)", err)
	}
	if s.app.json() {
		return true, s.app.printJSON(map[string]string{"collection": collection, "adopted_by": model.Version})
	}
	_, err = fmt.Fprintf(s.app.io.out, "Collection %s is written to by %s from now on, and its queries are to be encoded with it. Start the workers "+
		"anew with these settings; each chunk gets a vector of the new model when it is next edited.\n", collection, model.Version)
	return true, err
}

// fill copies what the old collection holds.
func (s *migrateStart) fill(ctx context.Context, st migrate.State, to string) (err error) {
	cfg := worker.ForThroughput(s.cfg)
	stored, err := sink.OpenStored(ctx, cfg.Qdrant, st.From, s.logger, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	points, err := stored.Points(ctx)
	if err != nil {
		return err
	}
	encoder, texts := s.encoder, backfill.Stored(stored)
	if st.Source == migrate.FromVectors {
		// All batches in flight, and as much again.
		cutter := migrate.NewCutter(stored, stored, encoder.Recipe().Dim, 16*cfg.Backfill.Batch.Events, embedder.CutVector, encoder.Encode)
		encoder, texts = cutEncoder{encoder, cutter}, cutter
		defer func() {
			cut, encoded := cutter.Counts()
			s.logger.Info("vectors were cut", "texts", cut, "encoded_instead", encoded)
		}()
	}
	input := backfill.NewCollection(st.From, stored.Model().Digest, int64(points), texts)
	if s.rejects == "" {
		s.rejects = to + ".rejects"
	}
	rejects := backfill.NewRejects(s.rejects)
	meter, bar := backfill.NewMeter(cfg.Backfill.PricePerMillionTokens), s.app.progress()
	var from *backfill.Source
	cfg.Qdrant.Collection = to
	throttled := worker.Throttled(encoder, backfill.NewThrottle(cfg.Backfill.MaxTokensPerSecond))
	err = fillFrom(ctx, cfg, throttled, func(index *sink.Sink) (*backfill.Source, error) {
		checkpoint, reached, err := backfill.OpenCheckpoint(ctx, index, input.Identity(), false)
		if err != nil {
			return nil, err
		}
		from = backfill.NewSource(cfg.Backfill.Batch, backfill.SourceParts{
			Input: input, Tokens: encoder.Recipe().EstimateTokens, Rejects: rejects, Checkpoint: checkpoint, Reached: reached,
		})
		return from, nil
	}, func(r pipeline.Report) {
		meter.Add(countsOf(r))
		now, before, total := from.Progress()
		bar.show("%s", progressLine(meter.Read(now.Done, before.Done, total), cfg.Backfill.PricePerMillionTokens > 0))
	}, s.logger, nil)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	now, _, _ := from.Progress()
	if !now.Finished {
		return errIncomplete
	}
	s.logger.Info("the new collection holds what the old one held", "collection", to, "rows", now.Rows, "rejected", now.Rejected)
	if now.Rejected > 0 {
		s.logger.Warn("the new model refuses some of the old texts; they will be missing, and promote will say so", "chunks", now.Rejected, "file", rejects.Path())
	}
	return nil
}

// cutEncoder encodes documents by cutting what is stored.
type cutEncoder struct {
	embedder.Encoder
	*migrate.Cutter
}

// Encode implements embedder.Encoder.
func (c cutEncoder) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	return c.Cutter.Encode(ctx, texts)
}

// follow is a worker of the new collection.
func (s *migrateStart) follow(ctx context.Context, st migrate.State, to string) error {
	cfg := s.cfg
	cfg.Kafka.Group, cfg.Kafka.Start, cfg.Kafka.StopAtEnd = st.Group, "earliest", s.once
	cfg.Qdrant.Collection = to
	return withWorker(ctx, cfg, s.encoder, s.logger, s.reg, func(w *worker.Worker) error {
		s.logger.Info("following the live events", "collection", to, "group", st.Group)
		if err := w.Run(ctx); err != nil {
			return err
		}
		s.logger.Info("stopped; the next start goes on from here", "collection", to)
		return nil
	})
}

func (a *app) migratePlanCommand() *cobra.Command {
	var o newModel
	var sample int
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say what a migration will take, and change nothing",
		Long: `Plan reads what start would read, and counts texts, tokens and the model calls that are
left after the cache and after what was done already. The time is reckoned from the rate
at which a sample of the texts is encoded here and now.`,
		Example: `  chunktide migrate plan -c new-model.yaml -o json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if sample < 0 {
				return usagef("--sample %d: want 0 or more", sample)
			}
			return a.withMigrating(cmd.Context(), o, true, func(m *migrating) error {
				return m.plan(cmd.Context(), o, sample)
			}, append(configs.Worker(), configs.Backfill)...)
		},
	}
	o.flags(cmd)
	cmd.Flags().IntVar(&sample, "sample", 256, "encode so many `texts` to measure the rate; 0 measures none")
	return cmd
}

// migratePlan is the result of migrate plan.
type migratePlan struct {
	Index  string          `json:"index"`
	Served sink.Collection `json:"served"`
	// Collection is the new one, which need not be there yet.
	Collection string         `json:"collection"`
	Group      string         `json:"group"`
	Source     migrate.Source `json:"source"`
	Because    string         `json:"because"`
	// VectorBytes is what the vectors of the new collection take as float32,
	// beside those of the old one for as long as both are there.
	VectorBytes int64   `json:"vector_bytes"`
	Survey      *survey `json:"survey"`
}

func (m *migrating) plan(ctx context.Context, o newModel, sample int) (err error) {
	encoder, err := embedder.New(ctx, m.cfg.Embedder, m.logger, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	recipe := encoder.Recipe()
	out := migratePlan{Index: m.cfg.Qdrant.Index, Group: migrate.GroupFor(m.cfg.Kafka.Group, worker.ModelPin(recipe))}
	if out.Source, out.Because, err = m.source(ctx, o, recipe); err != nil {
		return err
	}
	if out.Served, err = m.admin.Get(ctx, ""); err != nil {
		return err
	}
	model := worker.ModelPin(recipe)
	if model.Digest == out.Served.Model.Digest {
		return fmt.Errorf("index %s is served by %s already: set embedder to the new model's settings", out.Index, model.Version)
	}
	out.Collection = m.admin.NameFor(model)
	out.VectorBytes = int64(out.Served.Points-out.Served.Tombstones) * int64(model.Dim) * 4
	p := &backfillPlan{cfg: worker.ForThroughput(m.cfg), logger: m.logger}
	p.cfg.Qdrant.Collection, p.sample = out.Collection, sample
	p.topic = out.Source == migrate.FromTopic
	if !p.topic {
		p.collection = out.Served.Name
	}
	if out.Survey, err = m.app.survey(ctx, p, encoder); err != nil {
		return err
	}
	if out.Source == migrate.FromVectors {
		out.Survey.ModelCalls, out.Survey.Tokens, out.Survey.Cost, out.Survey.Seconds = 0, 0, 0, nil
	}
	return m.app.printMigratePlan(out, m.cfg.Backfill.PricePerMillionTokens > 0)
}
