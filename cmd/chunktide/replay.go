package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/replay"
	"chunktide/sink"
)

func (a *app) replayCommand() *cobra.Command {
	var to string
	var dryRun, yes bool
	cmd := &cobra.Command{
		Use:   "replay --to TARGET",
		Short: "Have the workers read a stretch of the topic again, or skip one",
		Long: `Replay moves the consumer group's offsets. TARGET is one of

  earliest               the first record that is there
  latest                 the end: what was not read is skipped, and missing in the index
  2026-05-04T10:00:00Z   the first record that is not older
  -2h                    the same, counted from now
  0=120,3=0              offsets of some partitions (docs:0=120 with several topics)

Reading again is harmless: the fence keeps what is newer, and a text whose vector is in
the cache or in the index costs no model call. --dry-run reads the stretch and says what
would come of it.

The workers of the group must be stopped. Replay refuses while one is there, and says
which. It exits with 1 if a partition was not moved.`,
		Example: `  chunktide replay --to earliest --dry-run
  chunktide replay --to -2h --yes
  chunktide replay --to 0=120,3=0 -o json --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" {
				return usagef("replay: say where to with --to; see chunktide replay --help")
			}
			target, err := consumer.ParseTarget(to, time.Now())
			if err != nil {
				return usagef("--to %w", err)
			}
			sections := []configs.Section{configs.Kafka}
			if dryRun {
				sections = append(sections, configs.Events, configs.Embedder, configs.Cache, configs.Qdrant)
			}
			cfg, logger, err := a.loadQuiet(sections...)
			if err != nil {
				return err
			}
			group, err := consumer.OpenGroup(cmd.Context(), cfg.Kafka)
			if err != nil {
				return err
			}
			defer group.Close()
			moves, err := group.Plan(cmd.Context(), target)
			if err != nil {
				return err
			}
			if dryRun {
				return a.previewReplay(cmd.Context(), cfg, group, moves, logger)
			}
			return a.applyReplay(cmd.Context(), cfg, group, moves, yes)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "where to: earliest, latest, a time, -2h, or offsets")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what it would do, and change nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// replayed is the result of a replay, or of its dry run.
type replayed struct {
	Group string `json:"group"`
	// Members would be in the way; only a dry run has any.
	Members    []consumer.Member `json:"members,omitempty"`
	DryRun     bool              `json:"dry_run"`
	Partitions []replayedPart    `json:"partitions"`
	// Total is of the dry run.
	Total *replay.Effect `json:"total,omitempty"`
}

type replayedPart struct {
	consumer.Moved
	// Again and Skipped are how many offsets are read again, or never.
	Again   int64          `json:"again"`
	Skipped int64          `json:"skipped"`
	Effect  *replay.Effect `json:"effect,omitempty"`
}

func newReplayedPart(m consumer.Moved) replayedPart {
	again, skipped := m.Again(), m.Skipped()
	return replayedPart{Moved: m, Again: again.To - again.From, Skipped: skipped.To - skipped.From}
}

// applyReplay moves the group.
func (a *app) applyReplay(ctx context.Context, cfg configs.Config, group *consumer.Group, moves []consumer.Move, yes bool) error {
	members, err := group.Members(ctx)
	if err != nil {
		return err
	}
	if len(members) > 0 {
		return inTheWay(cfg.Kafka.Group, members)
	}
	var again, skipped int64
	for _, m := range moves {
		p := newReplayedPart(consumer.Moved{Move: m})
		again, skipped = again+p.Again, skipped+p.Skipped
	}
	err = a.confirm(yes, "Move group %s: %s read again, %s?", cfg.Kafka.Group, oneOrMore(again, "offset is", "offsets are"), oneOrMore(skipped, "is skipped", "are skipped"))
	if err != nil {
		return err
	}
	moved, failed := group.Commit(ctx, moves)
	out := replayed{Group: cfg.Kafka.Group, Partitions: []replayedPart{}}
	for _, m := range moved {
		out.Partitions = append(out.Partitions, newReplayedPart(m))
	}
	return errors.Join(failed, a.printReplay(out))
}

// inTheWay names the members that keep a group from being moved.
func inTheWay(group string, members []consumer.Member) error {
	var names []string
	for _, m := range members {
		names = append(names, "  "+m.String())
	}
	return fmt.Errorf("group %s has %s; stop them first (one that was killed, or is static, counts until its session times out):\n%s",
		group, numberOf(len(members), "member"), strings.Join(names, "\n"))
}

// previewReplay says what a replay would do.
func (a *app) previewReplay(ctx context.Context, cfg configs.Config, group *consumer.Group, moves []consumer.Move, logger *slog.Logger) (err error) {
	out := replayed{Group: cfg.Kafka.Group, DryRun: true, Partitions: []replayedPart{}}
	if out.Members, err = group.Members(ctx); err != nil {
		return err
	}
	effects, err := a.effects(ctx, cfg, moves, logger)
	if err != nil {
		return err
	}
	out.Total = &replay.Effect{}
	for i, m := range moves {
		p := newReplayedPart(consumer.Moved{Move: m})
		p.Effect = &effects[i]
		out.Total.Add(effects[i])
		out.Partitions = append(out.Partitions, p)
	}
	return a.printReplay(out)
}

// effects plays what each move has read again.
func (a *app) effects(ctx context.Context, cfg configs.Config, moves []consumer.Move, logger *slog.Logger) (effects []replay.Effect, err error) {
	if err := a.reach(ctx, cfg.Qdrant, logger); err != nil {
		return nil, err
	}
	encoder, err := embedder.New(ctx, cfg.Embedder, logger, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	recipe := encoder.Recipe()
	vectors, err := cache.New(cfg.Cache, recipe.Digest(), recipe.Dim, logger, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, vectors.Close()) }()
	cfg.Qdrant.Group = cfg.Kafka.Group
	var index replay.Index = replay.Empty{}
	reader, err := sink.OpenWritten(ctx, cfg.Qdrant, worker.ModelPin(recipe), logger, nil)
	switch {
	case err == nil:
		defer func() { err = errors.Join(err, reader.Close()) }()
		index = reader
	case !errors.Is(err, sink.ErrNoCollection):
		return nil, err
	}
	decoder, err := chunk.NewDecoder(cfg.Events)
	if err != nil {
		return nil, err
	}
	effects = make([]replay.Effect, len(moves))
	ranges := make([]consumer.Range, len(moves))
	at := map[consumer.Range]*replay.Effect{}
	for i, m := range moves {
		ranges[i] = m.Again()
		at[consumer.Range{Topic: m.Topic, Partition: m.Partition}] = &effects[i]
	}
	preview := replay.New(index, vectors, encoder.Tokens, cfg.Kafka.Batch.Events)
	bar := a.progress()
	records := 0
	err = consumer.Scan(ctx, cfg.Kafka, ranges, decoder.Decode, func(v consumer.Visited) error {
		records++
		bar.show("%s", numberOf(records, "record"))
		o := v.Record.Origin
		return preview.Play(ctx, v.Events, v.Err, at[consumer.Range{Topic: o.Topic, Partition: o.Partition}])
	}, logger)
	if err == nil {
		err = preview.Flush(ctx)
	}
	return effects, err
}

func (a *app) printReplay(r replayed) error {
	if a.json() {
		return a.printJSON(r)
	}
	if len(r.Partitions) == 0 {
		_, err := fmt.Fprintf(a.io.out, "Group %s is there already.\n", r.Group)
		return err
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	head := "topic\tpartition\tfrom\tto\tagain\tskipped"
	if r.DryRun {
		head += "\tevents\tadds\tedits\tdeletes\tunchanged\tmodel calls\ttokens"
	}
	fmt.Fprintln(table, head)
	for _, p := range r.Partitions {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%d\t%d", p.Topic, p.Partition, offset(p.From), offset(p.To), p.Again, p.Skipped)
		if p.Effect != nil {
			fmt.Fprint(table, columns(*p.Effect))
		}
		if p.Code != "" {
			fmt.Fprintf(table, "\t%s", p.Code)
		}
		fmt.Fprintln(table)
	}
	if r.Total != nil {
		fmt.Fprintf(table, "total\t\t\t\t\t%s\n", columns(*r.Total))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(r.Members) > 0 {
		fmt.Fprintln(a.io.err, "It would be refused now:", inTheWay(r.Group, r.Members))
	}
	return nil
}

func columns(e replay.Effect) string {
	return fmt.Sprintf("\t%d\t%d\t%d\t%d\t%d\t%d\t%d", e.Events, e.Adds, e.Edits, e.Deletes, e.Unchanged, e.ModelCalls, e.Tokens)
}

// offset is "-" where the group has none.
func offset(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
