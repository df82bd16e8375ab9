package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/migrate"
	"chunktide/sink"
)

// gateOptions are the bounds of a promotion.
type gateOptions struct {
	collection, golden  string
	maxLag              int64
	k                   int
	minOverlap, maxDrop float64
	patience            time.Duration
}

func (a *app) migratePromoteCommand() *cobra.Command {
	var o gateOptions
	cmd := &cobra.Command{
		Use:   "promote",
		Short: "Let the searches go to the new collection, if it passes the gates",
		Long: `Promote switches the index's alias to the new collection, in one step, if

  filled   it holds what the old one held
  lag      its group is at most --max-lag records behind the topic
  verify   no chunk differs between it and the old collection; what the live events change
           meanwhile is looked at again for --patience
  overlap  with --golden: of the --k best chunks that the old collection finds for a query,
           the new one finds at least --min-overlap, in the mean
  recall   with --golden and relevant chunks: recall@k and nDCG@k fall by --max-drop at most
  nDCG

The golden queries are a JSON object a line, {"query": "…", "relevant": ["source/document_id/
chunk_id", …]}. The old model must be listed in serve.models, since each collection is asked
with vectors of its own model.

It exits with 1 if a gate does not hold, and has changed nothing then.`,
		Example: `  chunktide migrate promote -c new-model.yaml
  chunktide migrate promote -c new-model.yaml --golden queries.jsonl --k 10 --min-overlap 0.5`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.k < 1 || o.maxLag < 0 || o.minOverlap < 0 || o.minOverlap > 1 || o.maxDrop < 0 || o.patience < 0 {
				return usagef("--k wants 1 or more, --min-overlap 0 to 1, --max-lag, --max-drop and --patience 0 or more")
			}
			sections := []configs.Section{configs.Kafka, configs.Qdrant}
			if o.golden != "" {
				sections = append(sections, configs.Embedder, configs.Serve)
			}
			m, err := a.migrating(newModel{}, true, sections...)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, m.close()) }()
			return m.promote(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.collection, "collection", "", "the new `collection`, where the index has several migrations")
	flags.StringVar(&o.golden, "golden", "", "`file` of golden queries, - for standard input")
	flags.Int64Var(&o.maxLag, "max-lag", 100, "how many `records` the new collection may be behind the topic")
	flags.IntVar(&o.k, "k", 10, "how many chunks of each ranking count")
	flags.Float64Var(&o.minOverlap, "min-overlap", 0.5, "the least overlap@k, `0 to 1`")
	flags.Float64Var(&o.maxDrop, "max-drop", 0.02, "by how `much` recall@k and nDCG@k may fall")
	flags.DurationVar(&o.patience, "patience", 10*time.Second, "how `long` a difference may take to go away by itself")
	return cmd
}

func (m *migrating) promote(ctx context.Context, o gateOptions) error {
	checks := migrate.Checks{MaxLag: o.maxLag, MinOverlap: o.minOverlap, MaxDrop: o.maxDrop, Verify: m.level(o.patience)}
	if o.golden != "" {
		queries, err := m.app.goldenQueries(o.golden, m.cfg.Events.Limits.RecordBytes)
		if err != nil {
			return err
		}
		checks.Compare = func(ctx context.Context, from, to sink.Collection) (migrate.Comparison, error) {
			return m.compare(ctx, queries, o.k, from, to)
		}
	}
	p, err := m.machine.Promote(ctx, o.collection, checks)
	if err != nil && !errors.Is(err, migrate.ErrGate) {
		return err
	}
	return errors.Join(err, m.app.printPromotion(p))
}

// level compares the new collection with the old one.
func (m *migrating) level(patience time.Duration) func(context.Context, migrate.Found) (int, string, error) {
	return func(ctx context.Context, f migrate.Found) (n int, detail string, err error) {
		from, err := m.contents(ctx, f.From)
		if err != nil {
			return 0, "", err
		}
		defer func() { err = errors.Join(err, from.Close()) }()
		to, err := m.contents(ctx, f.Collection.Name)
		if err != nil {
			return 0, "", err
		}
		defer func() { err = errors.Join(err, to.Close()) }()
		d, err := migrate.Level(ctx, from, to, patience)
		detail = fmt.Sprintf("%d chunks were compared with those of %s", d.Living, f.From)
		if len(d.Examples) > 0 {
			detail += fmt.Sprintf("; such as %v", d.Examples)
		}
		return d.Count, detail, err
	}
}

// contents is a collection, to be compared.
func (m *migrating) contents(ctx context.Context, name string) (*outlined, error) {
	s, err := sink.OpenStored(ctx, m.cfg.Qdrant, name, m.logger, nil)
	return &outlined{s}, err
}

type outlined struct{ *sink.Stored }

// Outline implements migrate.Contents.
func (o *outlined) Outline(ctx context.Context, visit func(sink.Record) error) error {
	return o.Scroll(ctx, visit)
}

func (a *app) goldenQueries(path string, lineBytes int) ([]migrate.Query, error) {
	in := a.io.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usagef("--golden: %w", err)
		}
		defer f.Close()
		in = f
	}
	queries, err := migrate.ReadQueries(in, lineBytes)
	if err != nil {
		return nil, usagef("--golden %s: %w", path, err)
	}
	return queries, nil
}

// compare asks golden queries of both collections, each in vectors of its own
// model.
func (m *migrating) compare(ctx context.Context, queries []migrate.Query, k int, from, to sink.Collection) (c migrate.Comparison, err error) {
	before, closeBefore, err := m.searcher(ctx, from)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, closeBefore()) }()
	after, closeAfter, err := m.searcher(ctx, to)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, closeAfter()) }()
	return migrate.Compare(ctx, queries, k, before, after)
}

// searcher searches a collection with its model, which must be among the
// settings: embedder's, that one uncut, or one of serve.models.
func (m *migrating) searcher(ctx context.Context, c sink.Collection) (find migrate.Searcher, closeAll func() error, err error) {
	encoder, err := m.encoderOf(ctx, c.Model)
	if err != nil {
		return nil, nil, err
	}
	stored, err := sink.OpenStored(ctx, m.cfg.Qdrant, c.Name, m.logger, nil)
	if err != nil {
		return nil, nil, errors.Join(err, encoder.Close())
	}
	find = func(ctx context.Context, query string, k int) ([]chunk.ID, error) {
		e, err := encoder.EncodeQuery(ctx, query)
		if err != nil {
			return nil, err
		}
		hits, err := stored.SearchHere(ctx, e.Vector, k)
		return migrate.IDs(hits), err
	}
	return find, func() error { return errors.Join(stored.Close(), encoder.Close()) }, nil
}

func (m *migrating) encoderOf(ctx context.Context, model sink.Model) (embedder.Encoder, error) {
	whole := m.cfg.Embedder
	whole.Dimensions = 0
	cut := m.cfg.Embedder
	cut.Dimensions = model.Dim
	var known []string
	for _, cfg := range append([]embedder.Config{m.cfg.Embedder, whole, cut}, m.cfg.Serve.Models...) {
		encoder, err := embedder.New(ctx, cfg, m.logger, nil)
		if err != nil {
			known = append(known, err.Error())
			continue
		}
		if worker.ModelPin(encoder.Recipe()).Digest == model.Digest {
			return encoder, nil
		}
		known = append(known, encoder.Recipe().ModelVersion())
		if err := encoder.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("golden queries: %s is none of the models in the settings (%v): list it in serve.models", model.Version, known)
}

func (a *app) migrateStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell how far each migration of the index is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			m, err := a.migrating(newModel{}, true, configs.Kafka, configs.Qdrant)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, m.close()) }()
			all, err := m.machine.Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.printMigrations(all)
		},
	}
}

func (a *app) migrateRollbackCommand() *cobra.Command {
	var maxLag int64
	var yes bool
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Let the searches go to the old collection again",
		Long: `Rollback switches the alias back, in one step. The old collection is level as long as its
workers run; if it is more than --max-lag records behind, rollback refuses, since searches
would find old text.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			m, err := a.migrating(newModel{}, true, configs.Kafka, configs.Qdrant)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, m.close()) }()
			if err := a.confirm(yes, "Let index %s be served by the old collection again?", m.cfg.Qdrant.Index); err != nil {
				return err
			}
			r, err := m.machine.Rollback(cmd.Context(), maxLag)
			if err != nil {
				return err
			}
			return a.printRolled(m.cfg.Qdrant.Index, r)
		},
	}
	cmd.Flags().Int64Var(&maxLag, "max-lag", 100, "how many `records` the old collection may be behind the topic; -1 for any")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) migrateAbortCommand() *cobra.Command {
	var collection string
	var yes bool
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Drop the new collection and its consumer group",
		Long: `Abort drops what migrate start has made. It refuses a collection that is served, and while
migrate start or other workers of the new model run.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			m, err := a.migrating(newModel{}, true, configs.Kafka, configs.Qdrant)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, m.close()) }()
			if err := a.confirm(yes, "Drop the collection of the migration of index %s, with all its vectors?", m.cfg.Qdrant.Index); err != nil {
				return err
			}
			f, err := m.machine.Abort(cmd.Context(), collection)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"dropped": f.Collection.Name, "group": f.Group})
			}
			_, err = fmt.Fprintf(a.io.out, "Dropped collection %s and group %s.\n", f.Collection.Name, f.Group)
			return err
		},
	}
	cmd.Flags().StringVar(&collection, "collection", "", "the new `collection`, where the index has several migrations")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
