package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/cost"
	"chunktide/devstack"
	"chunktide/embedder"
	"chunktide/pipeline"
)

// sweepResult is the result of `cost sweep`.
type sweepResult struct {
	Model string      `json:"model_version"`
	Price cost.Amount `json:"price_per_million_tokens"`
	Rows  cost.Rows   `json:"rows"`
}

type sweepOptions struct {
	cost.SweepConfig
	model, redis bool
	svg          string
}

// examplePrice is what a sweep reckons with when it is told no price, for
// 1,000 tokens. It is that of the example in the help, and no vendor's.
const examplePrice = "0.02"

func (a *app) costSweepCommand() *cobra.Command {
	var o sweepOptions
	var rates string
	var price priceFlags
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Run the real pipeline on streams with known shares of duplicates, and count the model calls",
		Long: `Sweep makes a stream of chunks for each hit rate, of which exactly that share has the text of
another chunk, and sends it through a worker: Kafka, Redis and Qdrant run inside this process,
empty for each stream. It counts the texts that reach the model. They must be (1−h)·C, to the
text, or it exits with 1.

The encoder is a bag of words, which needs no model; --use-model takes the configured one. Of
your settings it heeds embedder, kafka.batch, cache.memory_bytes, cache.dtype, pipeline and
limits. Without a price it reckons with 0.02 for 1,000 tokens.

To see it fail, take the cache away: --redis=false --set cache.memory_bytes=0`,
		Example: `  chunktide cost sweep --chunks 10000 --hit-rates 0:0.9:0.1 --svg sweep.svg
  chunktide cost sweep --chunks 500 --hit-rates 0,0.15 --use-model --price 0.0001 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Rates, err = cost.ParseRates(rates); err != nil {
				return usageError{fmt.Errorf("--hit-rates: %w", err)}
			}
			if o.Chunks < 1 || o.Words < 2 {
				return usagef("cost sweep: want 1 chunk and 2 words or more")
			}
			cfg, err := a.settings()
			if err != nil {
				return err
			}
			p, err := price.or(cfg.Backfill.PricePerMillionTokens)
			if err != nil {
				return err
			}
			if p == nil {
				var example priceFlags
				_ = example.thousand.Set(examplePrice)
				if p, err = example.price(); err != nil {
					return err
				}
			}
			o.Price = *p
			return a.costSweep(cmd.Context(), cfg, o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Chunks, "chunks", 10_000, "`chunks` of each stream")
	f.IntVar(&o.Words, "words", 220, "`words` of a text; the bag of words counts each as a token")
	f.StringVar(&rates, "hit-rates", "0:0.9:0.1", "shares of duplicates, as `from:to:step` or a list with commas")
	f.Uint64Var(&o.Seed, "seed", 1, "`number` that makes the streams")
	f.BoolVar(&o.model, "use-model", false, "encode with the configured encoder (embedder)")
	f.BoolVar(&o.redis, "redis", true, "keep vectors in Redis too, besides the worker's memory")
	f.StringVar(&o.svg, "svg", "", "also draw the plot into this `file`")
	price.add(cmd)
	return cmd
}

func (a *app) costSweep(ctx context.Context, set configs.Config, o sweepOptions) (err error) {
	l := &lab{app: a, cfg: labSettings(set, o), redis: o.redis}
	if err := l.cfg.Validate(configs.Worker()...); err != nil {
		return usageError{fmt.Errorf("the settings do not work:\n%s", configs.Problems(err))}
	}
	logger := a.logger(l.cfg.Log)
	if l.encoder, err = embedder.New(ctx, l.cfg.Embedder, logger, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.encoder.Close()) }()
	result := sweepResult{Model: l.encoder.Recipe().ModelVersion(), Price: o.Price.PerMillionTokens()}
	start, shown, done := time.Now(), a.progress(), 0
	result.Rows, err = cost.Sweep(ctx, o.SweepConfig, l.run, func(r cost.Row) {
		done++
		shown.show("%d of %d streams, the last with %s for %s; %s", done, len(o.Rates), numberOf(r.Calls, "model call"), numberOf(r.Chunks, "chunk"), roughly(time.Since(start).Seconds()))
	})
	if err != nil {
		return err
	}
	shown.done("%s of %s in %s", numberOf(done, "stream"), numberOf(o.Chunks, "chunk"), roughly(time.Since(start).Seconds()))
	// What was measured is shown in any case; it took its time.
	return errors.Join(a.printSweep(result), drawSweep(result.Rows, o.svg), result.Rows.Check())
}

// labSettings are those of a worker on the embedded servers: the defaults, and
// of the user's settings those that bear upon what is measured. What leads to
// the user's own servers is left out.
func labSettings(set configs.Config, o sweepOptions) configs.Config {
	cfg := configs.Default()
	cfg.Kafka.Batch, cfg.Cache.MemoryBytes, cfg.Cache.DType = set.Kafka.Batch, set.Cache.MemoryBytes, set.Cache.DType
	cfg.Pipeline, cfg.Limits, cfg.Log = set.Pipeline, set.Limits, set.Log
	if cfg.Embedder = set.Embedder; !o.model {
		cfg.Embedder = embedder.DefaultConfig()
		cfg.Embedder.Encoder = embedder.EncoderBow
	}
	cfg.Kafka.Topics, cfg.Kafka.Group, cfg.Kafka.StopAtEnd = []string{demoTopic}, demoGroup, true
	cfg.Kafka.CreateTopics.Enabled, cfg.Kafka.CreateTopics.Replication = true, 1 // of the dead letters
	cfg.Qdrant.Index, cfg.Admin.Address = "sweep", ""
	// The command tells what it does; warnings still show.
	cfg.Log.Level = max(cfg.Log.Level, slog.LevelWarn)
	return cfg
}

// lab runs streams through workers, each on servers of its own.
type lab struct {
	app     *app
	cfg     configs.Config
	encoder embedder.Encoder
	redis   bool
}

// run implements [cost.Run].
func (l *lab) run(ctx context.Context, s cost.Stream) (m cost.Measured, err error) {
	stack, err := devstack.Start(ctx, devstack.Options{Topics: map[string]int32{demoTopic: demoPartitions}})
	if err != nil {
		return m, fmt.Errorf("start the embedded servers: %w", err)
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	cfg := l.cfg
	cfg.Kafka.Brokers, cfg.Qdrant.Address = stack.KafkaBrokers, stack.QdrantAddr
	if l.redis {
		cfg.Cache.URL = chunk.Secret(stack.RedisURL)
	}
	if err := publishStream(ctx, cfg, s); err != nil {
		return m, err
	}
	counter, tokens := &counted{Encoder: l.encoder}, atomic.Int64{}
	w, err := worker.New(ctx, cfg, counter, func(r pipeline.Report) {
		for i := range r.Points {
			tokens.Add(int64(r.Points[i].Embedding.Tokens))
		}
	}, l.app.logger(cfg.Log), prometheus.NewRegistry())
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, w.Close(ctx)) }()
	if err := w.Line.Run(ctx); err != nil {
		return m, err
	}
	if err := ctx.Err(); err != nil {
		return m, err // it was stopped, which is no failure of the worker's
	}
	m.Calls, m.TokensEncoded, m.Tokens = int(counter.texts.Load()), counter.tokens.Load(), tokens.Load()
	m.Stored, err = w.Index.Live(ctx)
	return m, err
}

// publishStream writes the stream's chunks to the topic.
func publishStream(ctx context.Context, cfg configs.Config, s cost.Stream) error {
	p, err := newPublisher(cfg, demoTopic)
	if err != nil {
		return err
	}
	defer p.close()
	for i, text := range s.Texts {
		value, err := json.Marshal(change{
			Op: "upsert", Source: "sweep", DocumentID: fmt.Sprint(i), ChunkID: "0", Text: text, Version: int64(i + 1), Time: time.Now(),
		})
		if err != nil {
			return err
		}
		if err := p.send(ctx, value); err != nil {
			return err
		}
	}
	return p.flush(ctx)
}

// counted counts the texts that an encoder is given, and their tokens.
type counted struct {
	embedder.Encoder
	texts, tokens atomic.Int64
}

func (c *counted) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	c.texts.Add(int64(len(texts)))
	out, err := c.Encoder.Encode(ctx, texts)
	for _, e := range out {
		c.tokens.Add(int64(e.Tokens))
	}
	return out, err
}

// far is what an encoder behind a network has beside. The worker asks for it,
// to tell waiting from being stuck.
type far interface {
	Activity() uint64
	Healthy() (ok bool, since time.Time, err error)
}

func (c *counted) Activity() uint64 {
	if r, ok := c.Encoder.(far); ok {
		return r.Activity()
	}
	return 0
}

func (c *counted) Healthy() (ok bool, since time.Time, err error) {
	if r, ok := c.Encoder.(far); ok {
		return r.Healthy()
	}
	return true, time.Time{}, nil
}

// drawSweep writes the plot, if a file is named.
func drawSweep(rows cost.Rows, file string) error {
	if file == "" {
		return nil
	}
	picture, err := rows.SVG()
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return nil
}

func (a *app) printSweep(r sweepResult) error {
	if a.json() {
		return a.printJSON(r)
	}
	fmt.Fprintf(a.io.out, "Model: %s. Price of a million tokens: %s.\n\n", r.Model, r.Price)
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "hit rate\tchunks\tmodel calls\t(1−h)·C\ttokens encoded\ttokens saved\tsaved\t")
	for _, row := range r.Rows {
		mark := ""
		if row.Rounded {
			mark = "~"
		}
		fmt.Fprintf(table, "%s%.4g\t%d\t%d\t%d\t%d\t%d\t%s\t\n", mark, row.HitRate, row.Chunks, row.Calls, row.Predicted, row.TokensEncoded, row.TokensSaved, row.Saved)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if row.Rounded {
			fmt.Fprintln(a.io.out, "~ the nearest share that is a whole number of chunks")
			break
		}
	}
	_, err := fmt.Fprintf(a.io.out, "\n%s", r.Rows.Bars(50))
	return err
}
