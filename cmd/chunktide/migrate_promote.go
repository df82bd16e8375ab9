package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"chunktide/configs"
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
  verify   no chunk differs from what the topic says, if it was filled from there, or from the
           old collection; what the live events change meanwhile may take --patience to arrive
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
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.k < 1 || o.maxLag < 0 || o.minOverlap < 0 || o.minOverlap > 1 || o.maxDrop < 0 || o.patience < 0 {
				return usagef("--k wants 1 or more, --min-overlap 0 to 1, --max-lag, --max-drop and --patience 0 or more")
			}
			sections := []configs.Section{configs.Kafka, configs.Events, configs.Qdrant}
			if o.golden != "" {
				sections = append(sections, configs.Embedder, configs.Serve)
			}
			return a.withMigrating(cmd.Context(), newModel{}, true, func(m *migrating) error {
				return m.promote(cmd.Context(), o)
			}, sections...)
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
	checks := migrate.Checks{MaxLag: o.maxLag, MinOverlap: o.minOverlap, MaxDrop: o.maxDrop, Verify: m.verify(o.patience)}
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

func (a *app) migrateStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell how far each migration of the index is",
		Long: `Status lists the migrations of the index: from which collection to which, the phase, how
far the group of the new model is behind the topic, and how many members it has.`,
		Example: `  chunktide migrate status
  chunktide migrate status -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withMigrating(cmd.Context(), newModel{}, true, func(m *migrating) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), adminTimeout)
				defer cancel()
				all, err := m.machine.Status(ctx)
				if err != nil {
					return err
				}
				return a.printMigrations(all)
			}, configs.Kafka, configs.Qdrant)
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
		Example: `  chunktide migrate rollback
  chunktide migrate rollback --max-lag 0 --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withMigrating(cmd.Context(), newModel{}, true, func(m *migrating) error {
				if err := a.confirm(yes, "Let index %s be served by the old collection again?", m.cfg.Qdrant.Index); err != nil {
					return err
				}
				r, err := m.machine.Rollback(cmd.Context(), maxLag)
				if err != nil {
					return err
				}
				return a.printRolled(m.cfg.Qdrant.Index, r)
			}, configs.Kafka, configs.Qdrant)
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
		Example: `  chunktide migrate abort
  chunktide migrate abort --yes   # for scripts`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withMigrating(cmd.Context(), newModel{}, true, func(m *migrating) error {
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
			}, configs.Kafka, configs.Qdrant)
		},
	}
	cmd.Flags().StringVar(&collection, "collection", "", "the new `collection`, where the index has several migrations")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
