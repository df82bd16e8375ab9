package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/sink"
)

func (a *app) indexListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the collections of the index",
		Long: `List shows every collection of the index (qdrant.index), whether searches go there, and
what model its vectors are of.`,
		Example: `  chunktide index list -o json | jq -r '.[] | select(.serving | not) | .collection'`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withAdmin(cmd.Context(), func(ctx context.Context, _ configs.Config, admin *sink.Admin, _ *slog.Logger) error {
				list, err := admin.List(ctx)
				if err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(list)
				}
				table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "\tCOLLECTION\tMODEL\tPOINTS\tTOMBSTONES\tSTATUS")
				for _, c := range list {
					mark := ""
					if c.Serving {
						mark = "*"
					}
					cells(table, mark, c.Name, c.Model.Version, c.Points, c.Tombstones, c.Status)
				}
				return table.Flush()
			})
		},
	}
}

// indexStatus is a collection, and what is known of it elsewhere.
type indexStatus struct {
	sink.Collection
	// Lag is how many records each of its groups has not committed.
	Lag map[string]int64 `json:"lag"`
	// LagUnknown says why there is no lag.
	LagUnknown string `json:"lag_unknown,omitempty"`
	// Verified is the last verify; nil if there was none.
	Verified *verifyNote `json:"verified"`
}

func (a *app) indexStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [COLLECTION]",
		Short: "Show a collection: points, model, aliases, size, lag, last verify",
		Long: `Status shows the collection that is served, or the one that is named. The lag is that of the
consumer groups which feed it, on kafka.topics. The size of the vectors is computed
(points × dimensions × 4 bytes): Qdrant does not tell what a collection takes.`,
		Example: `  chunktide index status -o json | jq .verified`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAdmin(cmd.Context(), func(ctx context.Context, cfg configs.Config, admin *sink.Admin, _ *slog.Logger) error {
				c, err := admin.Get(ctx, strings.Join(args, ""))
				if err != nil {
					return err
				}
				s := indexStatus{Collection: c, Lag: map[string]int64{}, Verified: readVerifyNote(c.Notes)}
				if err := s.lag(ctx, cfg); err != nil {
					s.LagUnknown = err.Error()
				}
				if a.json() {
					return a.printJSON(s)
				}
				return a.printStatus(s)
			})
		},
	}
}

func (s *indexStatus) lag(ctx context.Context, cfg configs.Config) error {
	for _, group := range s.Groups {
		kafka := cfg.Kafka
		kafka.Group = group
		if err := kafka.Validate(); err != nil {
			return fmt.Errorf("the settings of kafka do not work: %w", err)
		}
		lag, err := groupLag(ctx, kafka)
		if err != nil {
			return err
		}
		s.Lag[group] = lag
	}
	return nil
}

func groupLag(ctx context.Context, cfg consumer.Config) (int64, error) {
	g, err := consumer.OpenGroup(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer g.Close()
	return g.Lag(ctx)
}

func (a *app) printStatus(s indexStatus) error {
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	row := rows(table)
	row("collection", "%s (%s)", s.Name, s.Status)
	row("model", "%s, %d dimensions", s.Model.Version, s.Model.Dim)
	row("aliases", "%s", orDash(strings.Join(s.Aliases, ", ")))
	row("points", "%d, of which %s", s.Points, tombstones(s.Tombstones))
	row("vectors", "%.1f MB as float32", float64(s.VectorBytes)/1e6)
	row("served before", "%s", orDash(s.Previous))
	for _, group := range s.Groups {
		if lag, ok := s.Lag[group]; ok {
			row("lag of "+group, "%s", numberOf(lag, "record"))
		} else {
			row("lag of "+group, "not known: %s", s.LagUnknown)
		}
	}
	if v := s.Verified; v == nil {
		row("verified", "never; chunktide index verify does it")
	} else {
		row("verified", "%s: %s in %s", v.At.Format(time.RFC3339), numberOf(v.Total, "difference"), numberOf(v.Points, "point"))
	}
	return table.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
