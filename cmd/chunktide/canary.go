package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"chunktide/admin"
	"chunktide/canary"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/sink"
)

// canaryOptions are the flags of canary.
type canaryOptions struct {
	topic                  string
	source, document, name string
	interval, timeout      time.Duration
	once                   bool
}

func (a *app) canaryCommand() *cobra.Command {
	var o canaryOptions
	cmd := &cobra.Command{
		Use:   "canary",
		Short: "Publish an edit, search until it is found, and measure how long that takes",
		Long: `Canary does what a producer and a reader do, together: it publishes an edit of a marker chunk
to the topic and searches the index, with the model of your settings and through the alias,
until the edit is found. Then it deletes the marker, and waits until no search finds it.

It goes on, a round each --interval, and shows chunktide_canary_seconds,
chunktide_canary_rounds_total{result} and chunktide_canary_last_success_timestamp_seconds on
admin.address. A round ends as ok, timeout, publish_failed, search_failed or not_deleted.

One canary is enough for an index; several need a --document-id each. The marker is one chunk,
so that it goes through one partition, and only while it is being looked for may readers meet
it: they can leave out its source.

With --once there is one round, and the exit code is 1 unless it was ok.`,
		Example: `  chunktide canary --interval 30s --set admin.address=:9092 --set admin.anonymous_metrics=true
  chunktide canary --once --timeout 10s -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.interval <= 0 || o.timeout <= 0 {
				return usagef("--interval and --timeout: want a time, such as 30s")
			}
			sections := []configs.Section{configs.Kafka, configs.Events, configs.Embedder, configs.Qdrant}
			load := a.loadQuiet
			if !o.once { // a service, which logs as a worker does
				sections, load = append(sections, configs.AdminAPI), a.load
			}
			cfg, logger, err := load(sections...)
			if err != nil {
				return err
			}
			if err := canaryFits(cfg.Events); err != nil {
				return err
			}
			if o.topic == "" {
				o.topic = cfg.Kafka.Topics[0]
			}
			return a.runCanary(cmd.Context(), cfg, o, logger)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.topic, "topic", "", "the topic to write to (default: the first of kafka.topics)")
	f.StringVar(&o.source, "source", "chunktide-canary", "the marker's source")
	f.StringVar(&o.document, "document-id", "marker", "the marker's document_id")
	f.StringVar(&o.name, "chunk-id", "marker", "the marker's chunk_id")
	f.DurationVar(&o.interval, "interval", 30*time.Second, "how often a round begins")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long the marker may take to be found, and to be gone")
	f.BoolVar(&o.once, "once", false, "run one round, print it, and exit with 1 unless it was ok")
	return cmd
}

// canaryFits refuses settings under which the worker would not take the marker
// as it is meant.
func canaryFits(cfg chunk.DecoderConfig) error {
	if cfg.Format != chunk.FormatAuto && cfg.Format != chunk.FormatNative {
		return usagef("events.format is %s: the canary writes native events, which a worker with this setting sends to the dead letters; "+
			"use it where the format is auto or native", cfg.Format)
	}
	if cfg.Identity == chunk.IdentityContent {
		return usagef("events.identity is content: there each of the canary's texts would be a chunk of its own, and leave a tombstone in the index; " +
			"use it where the identity is chunk_id")
	}
	return nil
}

func (a *app) runCanary(ctx context.Context, cfg configs.Config, o canaryOptions, logger *slog.Logger) (err error) {
	reg := worker.NewRegistry()
	encoder, err := newEncoder(ctx, cfg, logger, reg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	reach := ctx
	if o.once {
		// Somebody waits for the answer; one that goes on may wait for the index.
		var cancel context.CancelFunc
		reach, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	index, err := sink.OpenReader(reach, cfg.Qdrant, worker.ModelPin(encoder.Recipe()), logger, reg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	topic, err := newPublisher(cfg, o.topic)
	if err != nil {
		return err
	}
	defer topic.close()
	c := canary.New(canary.Options{
		Publish: o.publish(topic), Search: o.search(encoder, index), Timeout: o.timeout, Logger: logger, Metrics: canary.NewMetrics(reg),
	})
	if o.once {
		return a.canaryOnce(ctx, c)
	}
	return serveCanary(ctx, cfg, c, o.interval, reg, logger)
}

func serveCanary(ctx context.Context, cfg configs.Config, c *canary.Canary, every time.Duration, reg *prometheus.Registry, logger *slog.Logger) error {
	if cfg.Admin.Address != "" {
		if _, err := admin.Serve(ctx, cfg.Admin, admin.Options{Metrics: reg, Logger: logger}); err != nil {
			return err
		}
	}
	c.Run(ctx, every)
	return nil
}

func (a *app) canaryOnce(ctx context.Context, c *canary.Canary) error {
	r := c.Once(ctx)
	if a.json() {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else if r.Result == canary.OK {
		fmt.Fprintf(a.io.out, "the marker was found after %.3f s, and gone %.3f s after its delete\n", r.FoundSeconds, r.GoneSeconds)
	}
	if r.Result != canary.OK {
		return fmt.Errorf("canary: %s: %s", r.Result, r.Error)
	}
	return nil
}

func (o canaryOptions) publish(topic *publisher) func(context.Context, canary.Marker) error {
	return func(ctx context.Context, m canary.Marker) error {
		c := change{Op: "upsert", Source: o.source, DocumentID: o.document, ChunkID: o.name, Text: m.Text, Version: m.Version, Time: m.Time}
		if m.Text == "" {
			c.Op = "delete"
		}
		value, err := json.Marshal(c)
		if err != nil {
			return err
		}
		return topic.sendNow(ctx, value)
	}
}

func (o canaryOptions) search(encoder embedder.Encoder, index *sink.Reader) func(context.Context, string) (canary.Look, error) {
	id := chunk.NewID(o.source, o.document, o.name)
	return func(ctx context.Context, text string) (canary.Look, error) {
		query, err := encoder.EncodeQuery(ctx, text)
		if err != nil {
			return nil, fmt.Errorf("encode the query: %w", err)
		}
		return func(ctx context.Context) (string, bool, error) {
			hit, found, err := index.SearchChunk(ctx, query.Vector, id)
			return hit.Text, found, err
		}, nil
	}
}
