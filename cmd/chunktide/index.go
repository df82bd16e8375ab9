package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/sink"
)

func (a *app) indexCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "The collections of an index: list, verify, promote, roll back, drop",
		Long: `An index is an alias (qdrant.index), and behind it one collection for each model. Readers
search the alias; workers write to their model's collection, whichever is served.`,
		Example: `  chunktide index list
  chunktide index verify
  chunktide index promote chunks--bge-small-0123456789ab`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command index %q; see chunktide index --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.Join(cmd.Help(), usagef("name a command of index"))
		},
	}
	cmd.AddCommand(a.indexCreateCommand(), a.indexListCommand(), a.indexStatusCommand(), a.indexVerifyCommand(),
		a.indexPromoteCommand(), a.indexRollbackCommand(), a.indexDropCommand())
	for _, c := range cmd.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return cmd
}

// openAdmin gives up on a Qdrant that does not answer when whoever waits for it
// would. Every command that answers and ends begins with it, or with reach; those
// that write until they are stopped are as patient as the sink.
func (a *app) openAdmin(ctx context.Context, cfg sink.Config, logger *slog.Logger) (*sink.Admin, error) {
	admin, err := sink.OpenAdmin(cfg, logger, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.patience, searchTimeout))
	defer cancel()
	if err := admin.Reach(ctx); err != nil {
		return nil, errors.Join(err, admin.Close())
	}
	return admin, nil
}

// reach is openAdmin for commands that go on with other parts of the sink.
func (a *app) reach(ctx context.Context, cfg sink.Config, logger *slog.Logger) error {
	admin, err := a.openAdmin(ctx, cfg, logger)
	if err != nil {
		return err
	}
	return admin.Close()
}

// withAdmin runs f with the index that the settings name.
func (a *app) withAdmin(ctx context.Context, f func(ctx context.Context, cfg configs.Config, admin *sink.Admin, logger *slog.Logger) error) error {
	cfg, logger, err := a.loadQuiet(configs.Qdrant)
	if err != nil {
		return err
	}
	admin, err := a.openAdmin(ctx, cfg.Qdrant, logger)
	if err != nil {
		return err
	}
	// A person waits: an answer that does not come is an answer. Qdrant is there,
	// and may take its time for what it does.
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	return errors.Join(f(ctx, cfg, admin, logger), admin.Close())
}

// adminTimeout bounds the commands of index but verify.
const adminTimeout = 4 * searchTimeout

func (a *app) indexCreateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "create",
		Short: "Make the collection of the settings' model, and leave the alias where it is",
		Long: `Create makes the collection that a worker of these settings would write to. It is not served
before it is promoted. One that is there is only checked.`,
		Example: `  chunktide index create --set embedder.model_dir=models/new`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withAdmin(cmd.Context(), func(ctx context.Context, cfg configs.Config, admin *sink.Admin, logger *slog.Logger) (err error) {
				if err := cfg.Validate(configs.Embedder); err != nil {
					return usageError{fmt.Errorf("the settings do not work:\n%s", configs.Problems(err))}
				}
				encoder, err := embedder.New(ctx, cfg.Embedder, logger, nil)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, encoder.Close()) }()
				name, err := admin.Create(ctx, worker.ModelPin(encoder.Recipe()))
				if err != nil {
					return err
				}
				return a.printSwitch(switched{Index: cfg.Qdrant.Index, Collection: name}, "%s is there, for %s.\n", name, encoder.Recipe().ModelVersion())
			})
		},
	}
}

// switched is the result of the commands that change an index.
type switched struct {
	Index      string `json:"index"`
	Collection string `json:"collection"`
	Before     string `json:"before,omitempty"`
}

func (a *app) printSwitch(s switched, text string, args ...any) error {
	if a.json() {
		return a.printJSON(s)
	}
	_, err := fmt.Fprintf(a.io.out, text, args...)
	return err
}

// serving is what the alias points to now; "" for nothing.
func serving(ctx context.Context, admin *sink.Admin) (string, error) {
	c, err := admin.Get(ctx, "")
	if errors.Is(err, sink.ErrNoAlias) {
		return "", nil
	}
	return c.Name, err
}

func (a *app) indexPromoteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "promote COLLECTION",
		Short: "Let the alias point to a collection, in one step",
		Long: `Promote switches what readers search, in one step: no search fails or sees two models. It
refuses if the alias moves between its look and its switch. It asks for no proof that the
collection is complete: chunktide migrate promote does. What was served before is noted, for
chunktide index rollback.

Who encodes queries must follow: chunktide serve does by itself.`,
		Example: `  chunktide index promote chunks--bge-small-0123456789ab`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAdmin(cmd.Context(), func(ctx context.Context, cfg configs.Config, admin *sink.Admin, _ *slog.Logger) error {
				before, err := serving(ctx, admin)
				if err != nil {
					return err
				}
				if err := admin.Promote(ctx, args[0], before); err != nil {
					return err
				}
				return a.printSwitch(switched{cfg.Qdrant.Index, args[0], before}, "%s serves %s.\n", cfg.Qdrant.Index, args[0])
			})
		},
	}
}

func (a *app) indexRollbackCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback",
		Short: "Let the alias point to what it pointed to before the last promotion",
		Long: `Rollback is a promotion of what was served before. The old collection is as current as its
workers have kept it; chunktide index status shows their lag.`,
		Example: `  chunktide index rollback`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withAdmin(cmd.Context(), func(ctx context.Context, cfg configs.Config, admin *sink.Admin, _ *slog.Logger) error {
				before, err := serving(ctx, admin)
				if err != nil {
					return err
				}
				to, err := admin.Rollback(ctx, before)
				if err != nil {
					return err
				}
				return a.printSwitch(switched{cfg.Qdrant.Index, to, before}, "%s serves %s again.\n", cfg.Qdrant.Index, to)
			})
		},
	}
}

func (a *app) indexDropCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop COLLECTION",
		Short: "Delete a collection that no alias points to",
		Long: `Drop deletes a collection with all that it holds. It refuses one that an alias points to,
also if that happens while it is at it. Stop the workers that write to it first: they would end.`,
		Example: `  chunktide index drop chunks--all-MiniLM-L6-v2-0123456789ab --yes`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAdmin(cmd.Context(), func(ctx context.Context, cfg configs.Config, admin *sink.Admin, _ *slog.Logger) error {
				c, err := admin.Get(ctx, args[0])
				if err != nil {
					return err
				}
				if !c.Serving && len(c.Aliases) == 0 { // else drop says why not
					if err := a.confirm(yes, "Delete %s with %s, for good?", c.Name, numberOf(c.Points, "point")); err != nil {
						return err
					}
				}
				// A person may have thought it over for long.
				ctx, cancel := context.WithTimeout(cmd.Context(), adminTimeout)
				defer cancel()
				if err := admin.Drop(ctx, c.Name); err != nil {
					return err
				}
				return a.printSwitch(switched{Index: cfg.Qdrant.Index, Collection: c.Name}, "%s is gone.\n", c.Name)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
