package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"chunktide/backfill"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/pipeline"
)

// backfillOptions are the flags of backfill.
type backfillOptions struct {
	collection, group, asOf, format, rejects string
	topic, restart, dryRun                   bool
	sample, rate                             int
	price                                    float64
}

func (a *app) backfillCommand() *cobra.Command {
	var o backfillOptions
	cmd := &cobra.Command{
		Use:   "backfill [FILE ... | - | --collection NAME | --topic]",
		Short: "Fill the index from files, from another collection, or from the whole topic",
		Long: `Backfill sends what a source holds through the same pipeline as the live events, in large
batches. It may run beside the workers: every row has a version from before it was read,
so that nothing newer is replaced and no delete is undone.

The source is one of

  files        JSONL or Parquet, patterns, or - for JSONL on standard input; each row is a
               bare {"source", "document_id", "chunk_id", "text", "version", …}, or an event
  --collection another collection of this Qdrant: its texts, versions and deletes
  --topic      kafka.topics from their earliest record to what is there now, as a group of its
               own; start several, and they share the work

A row without a version gets that of --as-of: a version, or a time from before the rows
began to be read. Give a time only where the live events have no versions of their own.

Killed or stopped, it goes on where it was: run the same command again. Rows that cannot be
indexed are written to the rejects (with --topic: to the dead letters), with their place and
the reason, and then the exit status is 1.`,
		Example: `  at=$(date -u +%FT%TZ); pg_export > chunks.jsonl; chunktide backfill chunks.jsonl --as-of $at
  chunktide backfill 'export/*.parquet' --dry-run --price-per-million-tokens 0.02
  chunktide backfill --collection chunks--old-model-0123456789ab --set embedder.model_dir=new
  chunktide backfill --topic --max-tokens-per-second 50000`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := a.planBackfill(cmd, args, o)
			if err != nil {
				return err
			}
			if o.dryRun {
				return a.surveyBackfill(cmd.Context(), plan)
			}
			return a.runBackfill(cmd.Context(), plan)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.collection, "collection", "", "read this `collection` in place of files")
	flags.BoolVar(&o.topic, "topic", false, "read the topics from their earliest record")
	flags.StringVar(&o.group, "group", "", "with --topic: the consumer `group` (default: kafka.group, -backfill- and the target)")
	flags.StringVar(&o.asOf, "as-of", "", "`version or time` (RFC 3339) of rows that carry no version: from before they were read")
	flags.StringVar(&o.format, "format", "", "jsonl or parquet (default: by the files' names)")
	flags.StringVar(&o.rejects, "rejects", "", "`file` for rows that cannot be indexed (default: the first file's name and .rejects)")
	flags.BoolVar(&o.restart, "restart", false, "start over: forget how far an earlier run came")
	flags.BoolVar(&o.dryRun, "dry-run", false, "change nothing: count rows, tokens and model calls, and estimate time and cost")
	flags.IntVar(&o.sample, "sample", 256, "with --dry-run: encode so many `texts` to measure the rate; 0 measures none")
	flags.IntVar(&o.rate, "max-tokens-per-second", 0, "backfill.max_tokens_per_second")
	flags.Float64Var(&o.price, "price-per-million-tokens", 0, "backfill.price_per_million_tokens")
	return cmd
}

// backfillPlan is what was asked for, checked.
type backfillPlan struct {
	backfillOptions
	paths  []string
	asOf   backfill.AsOf
	cfg    configs.Config
	logger *slog.Logger
}

func (a *app) planBackfill(cmd *cobra.Command, args []string, o backfillOptions) (*backfillPlan, error) {
	sources := 0
	for _, given := range []bool{len(args) > 0, o.collection != "", o.topic} {
		if given {
			sources++
		}
	}
	switch {
	case sources != 1:
		return nil, usagef("backfill: name one source: files, --collection or --topic; see chunktide backfill --help")
	case o.asOf != "" && len(args) == 0:
		return nil, usagef("--as-of is for files: other sources have versions of their own")
	case o.group != "" && !o.topic:
		return nil, usagef("--group is for --topic")
	case o.rejects != "" && o.topic:
		return nil, usagef("--rejects: with --topic malformed records go to the dead letters")
	case o.format != "" && o.format != backfill.FormatJSONL && o.format != backfill.FormatParquet:
		return nil, usagef("--format %s: want jsonl or parquet", o.format)
	case o.sample < 0:
		return nil, usagef("--sample %d: want 0 or more", o.sample)
	}
	if cmd.Flags().Changed("max-tokens-per-second") {
		a.set = append(a.set, fmt.Sprint("backfill.max_tokens_per_second=", o.rate))
	}
	if cmd.Flags().Changed("price-per-million-tokens") {
		a.set = append(a.set, fmt.Sprint("backfill.price_per_million_tokens=", o.price))
	}
	sections := []configs.Section{configs.Events, configs.Embedder, configs.Cache, configs.Qdrant, configs.Pipeline, configs.Backfill}
	if o.topic {
		sections = append(sections, configs.Kafka)
	}
	p := &backfillPlan{backfillOptions: o, paths: args}
	var err error
	if p.cfg, p.logger, err = a.loadQuiet(sections...); err != nil {
		return nil, err
	}
	if p.asOf, err = backfill.ParseAsOf(o.asOf, time.Now()); err != nil {
		return nil, usagef("--as-of: %w", err)
	}
	// The batches of a backfill count towards limits.memory like those of a worker.
	p.cfg = worker.ForThroughput(p.cfg)
	if err := p.cfg.Validate(configs.Whole); err != nil {
		return nil, usageError{fmt.Errorf("the settings do not work:\n%s", configs.Problems(err))}
	}
	return p, nil
}

// target names what is filled, before it is known whether it is there.
func (p *backfillPlan) target(recipe embedder.Recipe) string {
	if p.cfg.Qdrant.Collection != "" {
		return p.cfg.Qdrant.Collection
	}
	digest := recipe.Digest()
	return fmt.Sprintf("%x", digest[:6])
}

func (a *app) runBackfill(ctx context.Context, p *backfillPlan) (err error) {
	reg := prometheus.NewRegistry()
	encoder, err := a.workerEncoder(ctx, p.cfg, p.logger, reg)
	if err != nil {
		return err
	}
	if err := boundMemory(p.cfg, residentBytes()); err != nil {
		return err
	}
	run := &backfillRun{
		app: a, plan: p, reg: reg, bar: a.progress(), meter: backfill.NewMeter(p.cfg.Backfill.PricePerMillionTokens),
		model: encoder.Recipe().ModelVersion(),
	}
	throttled := worker.Throttled(encoder, backfill.NewThrottle(p.cfg.Backfill.MaxTokensPerSecond))
	if p.topic {
		err = run.fromTopic(ctx, throttled)
	} else {
		err = run.fromInput(ctx, throttled)
	}
	if err != nil {
		// After a failure a run of the model may still be under way, and the
		// process ends anyway.
		return err
	}
	return encoder.Close()
}

// backfillRun is one backfill at work.
type backfillRun struct {
	app   *app
	plan  *backfillPlan
	reg   *prometheus.Registry
	bar   *progress
	meter *backfill.Meter
	model string
	// reach says how far the source is, in any unit, where this run began, and
	// how much there is.
	reach func() (done, before, total int64)
}

// observe counts a batch and shows where things are.
func (r *backfillRun) observe(b pipeline.Report) {
	r.meter.Add(countsOf(b))
	r.bar.show("%s", progressLine(r.meter.Read(r.reach()), r.plan.cfg.Backfill.PricePerMillionTokens > 0))
}

func countsOf(b pipeline.Report) backfill.Counts {
	return backfill.Counts{
		Events: int64(len(b.Events)), Stored: int64(len(b.Points)), Stale: int64(b.Stale), Rejected: int64(b.Rejected),
		Encoded: int64(b.Encoded), Tokens: int64(b.Tokens),
	}
}

// errIncomplete is a backfill that was asked to stop.
var errIncomplete = errors.New("stopped before the end: run the same command again, and it goes on from here")

// finish prints the result, and makes an error of what is left to do.
func (r *backfillRun) finish(ctx context.Context, res backfillResult) error {
	res.Reading, res.Model = r.meter.Read(r.reach()), r.model
	res.Left = nil
	if err := r.app.printBackfill(res, r.plan.cfg.Backfill.PricePerMillionTokens > 0); err != nil {
		return err
	}
	switch {
	case !res.Finished:
		return errors.Join(errIncomplete, ctx.Err())
	case res.RejectedRows > 0 && res.RejectsFile != "":
		return fmt.Errorf("%s could not be indexed: see %s, mend what is in it and backfill it", numberOf(res.RejectedRows, "row"), res.RejectsFile)
	case res.RejectedRows > 0:
		return fmt.Errorf("%s could not be indexed: see topic %s", numberOf(res.RejectedRows, "record"), r.plan.cfg.Kafka.DeadLetters())
	default:
		return nil
	}
}
