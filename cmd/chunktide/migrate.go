package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/migrate"
	"chunktide/sink"
)

func (a *app) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Change the model of an index, while it is searched and kept level",
		Long: `Vectors of two models cannot be compared, so a new model needs a collection of its own.
Migrate fills it beside the one that is served, keeps it level with the live events, and
lets the searches go there in one step, once it is as good.

Give the settings of the new model (embedder); all others stay as they are. The workers of
the old model go on, also after the promotion, so that a rollback is one step too.

  plan      what it will take: texts, model calls, time, cost, space
  start     fill the new collection and follow the live events; run it again after any end
  status    how far it is
  promote   switch, if the new collection passes the gates
  rollback  switch back
  abort     drop the new collection`,
		Example: `  chunktide migrate plan -c new-model.yaml
  chunktide migrate start -c new-model.yaml
  chunktide migrate promote -c new-model.yaml --golden queries.jsonl
  chunktide migrate status`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usagef("migrate: name a command"))
		},
	}
	cmd.AddCommand(a.migratePlanCommand(), a.migrateStartCommand(), a.migrateStatusCommand(),
		a.migratePromoteCommand(), a.migrateRollbackCommand(), a.migrateAbortCommand())
	for _, c := range cmd.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return cmd
}

// newModel is what plan and start are told of the new collection.
type newModel struct {
	from       string
	dimensions int
	own        bool
}

func (o *newModel) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.from, "from", "auto", "where the texts come from: topic, collection (the old one), or auto: the topic if nothing was deleted from it")
	cmd.Flags().BoolVar(&o.own, "own-collection", false, "fill a new collection, though embedder.compatible_with permits to go on with the old one")
	cmd.Flags().IntVar(&o.dimensions, "dimensions", 0, "derive the new index by cutting the stored vectors to so many `values`, without the model (Matryoshka)")
}

// migrating is what the subcommands share.
type migrating struct {
	app     *app
	cfg     configs.Config
	logger  *slog.Logger
	admin   *sink.Admin
	machine *migrate.Migration
}

func (a *app) migrating(ctx context.Context, o newModel, quiet bool, sections ...configs.Section) (m *migrating, err error) {
	if o.dimensions < 0 {
		return nil, usagef("--dimensions %d: want 1 or more", o.dimensions)
	}
	if o.dimensions > 0 {
		if o.from != "auto" {
			return nil, usagef("--from %s: with --dimensions the vectors come from the old collection", o.from)
		}
		a.set = append(a.set, fmt.Sprint("embedder.dimensions=", o.dimensions))
	}
	load := a.load
	if quiet {
		load = a.loadQuiet
	}
	m = &migrating{app: a}
	if m.cfg, m.logger, err = load(sections...); err != nil {
		return nil, err
	}
	if o.dimensions > 0 && !slices.Contains(m.cfg.Embedder.Matryoshka, o.dimensions) {
		return nil, usagef("--dimensions %d: the settings do not say that the model was trained to be cut to that (embedder.matryoshka is %v). "+
			"If its model card does, set it; a model that was not is better encoded again with fewer dimensions of its own", o.dimensions, m.cfg.Embedder.Matryoshka)
	}
	if quiet {
		m.admin, err = a.openAdmin(ctx, m.cfg.Qdrant, m.logger)
	} else {
		m.admin, err = sink.OpenAdmin(m.cfg.Qdrant, m.logger, nil)
	}
	if err != nil {
		return nil, err
	}
	m.machine = migrate.New(m.admin, m.cfg.Kafka, m.logger)
	return m, nil
}

// withMigrating does something with what the subcommands share, and closes it.
func (a *app) withMigrating(ctx context.Context, o newModel, quiet bool, do func(*migrating) error, sections ...configs.Section) error {
	m, err := a.migrating(ctx, o, quiet, sections...)
	if err != nil {
		return err
	}
	return errors.Join(do(m), m.admin.Close())
}

// source finds out where the texts come from, and says why.
func (m *migrating) source(ctx context.Context, o newModel, recipe embedder.Recipe) (source migrate.Source, why string, err error) {
	served, err := m.admin.Get(ctx, "")
	if err != nil {
		return "", "", err
	}
	switch {
	case o.dimensions > 0:
		full := recipe.Uncut()
		if recipe.Full == 0 || worker.ModelPin(full).Digest != served.Model.Digest {
			return "", "", fmt.Errorf("--dimensions %d: the served collection holds vectors of %s, and only those of %s, all %d values of them, can be cut: "+
				"set embedder to the model that is served, or migrate without --dimensions", o.dimensions, served.Model.Version, full.ModelVersion(), full.Dim)
		}
		return migrate.FromVectors, "the stored vectors are cut", nil
	case o.from == string(migrate.FromTopic):
		return migrate.FromTopic, "as asked for", nil
	case o.from == string(migrate.FromCollection):
		return migrate.FromCollection, "as asked for", nil
	case o.from != "auto":
		return "", "", usagef("--from %s: want topic, collection or auto", o.from)
	}
	for note := range served.Notes {
		if strings.HasPrefix(note, "backfill/") {
			return migrate.FromCollection, "the old collection was filled from elsewhere than the topic too", nil
		}
	}
	ranges, err := consumer.Ranges(ctx, m.cfg.Kafka)
	if err != nil {
		return "", "", err
	}
	for _, r := range ranges {
		if r.From > 0 {
			return migrate.FromCollection, fmt.Sprintf("the beginning of topic %s is gone (partition %d begins at %d)", r.Topic, r.Partition, r.From), nil
		}
	}
	return migrate.FromTopic, "the topic reaches back to its beginning", nil
}
