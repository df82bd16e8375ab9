package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/cache"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/sink"
)

// checkTimeout bounds each check of the doctor's.
const checkTimeout = 10 * time.Second

// finding is what one check saw.
type finding struct {
	Check string `json:"check"`
	// Status is ok, warning (the worker runs, but not at its best) or failed.
	Status string `json:"status"`
	Detail string `json:"detail"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the connections, the model, the collection and the topic",
		Long: `Doctor tries everything that the worker needs, with the worker's own settings, changes
nothing, and says what to do about what it finds. It exits with 1 if a check failed.`,
		Example: `  chunktide doctor --config chunktide.yaml
  chunktide doctor -c chunktide.yaml -o json | jq '.[] | select(.status == "failed")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := a.loadQuiet(configs.Worker()...)
			if err != nil {
				return err
			}
			findings := diagnose(cmd.Context(), cfg, logger)
			if err := a.printFindings(findings); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Status == "failed" {
					return errors.New("the worker cannot run yet; see above")
				}
			}
			return nil
		},
	}
}

func (a *app) printFindings(findings []finding) error {
	if a.json() {
		return a.printJSON(findings)
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(a.io.out, "%-8s %-9s %s\n", f.Status, f.Check, f.Detail); err != nil {
			return err
		}
	}
	return nil
}

func diagnose(ctx context.Context, cfg configs.Config, logger *slog.Logger) []finding {
	// The checks report failures themselves; the adapters' logs would only
	// repeat them.
	quiet := slog.New(slog.DiscardHandler)
	encoder, model := checkModel(ctx, cfg, quiet)
	findings := []finding{model}
	if encoder != nil {
		defer func() {
			if err := encoder.Close(); err != nil {
				logger.Warn("close the encoder", "error", err)
			}
		}()
	}
	within := func(check func(context.Context) finding) {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		findings = append(findings, check(ctx))
	}
	within(func(ctx context.Context) finding { return checkKafka(ctx, cfg.Kafka) })
	within(func(ctx context.Context) finding { return checkCache(ctx, cfg, encoder, quiet) })
	within(func(ctx context.Context) finding { return checkIndex(ctx, cfg, encoder, quiet) })
	return findings
}

func checkModel(ctx context.Context, cfg configs.Config, logger *slog.Logger) (embedder.Encoder, finding) {
	f := finding{Check: "model"}
	start := time.Now()
	encoder, err := embedder.New(ctx, cfg.Embedder, logger, nil)
	if err != nil {
		f.Status, f.Detail = "failed", err.Error()
		return nil, f
	}
	loaded := time.Since(start)
	start = time.Now()
	if _, err := encoder.EncodeQuery(context.Background(), "The quick brown fox jumps over the lazy dog."); err != nil {
		f.Status, f.Detail = "failed", fmt.Sprintf("loaded, but cannot encode a sentence: %v", err)
		return encoder, f
	}
	f.Status = "ok"
	f.Detail = fmt.Sprintf("%s, %d dimensions, loaded in %s, one sentence in %s", encoder.Recipe().ModelVersion(),
		encoder.Recipe().Dim, loaded.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	return encoder, f
}

func checkKafka(ctx context.Context, cfg consumer.Config) finding {
	f := finding{Check: "kafka", Status: "failed"}
	options, err := consumer.ClientOptions(cfg)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		f.Detail = fmt.Sprintf("no answer from %v: %v; check kafka.brokers, kafka.tls and kafka.sasl", cfg.Brokers, err)
		return f
	}
	if cfg.CreateTopics.Enabled {
		f.Status, f.Detail = "ok", fmt.Sprintf("%v answers; missing topics will be made", cfg.Brokers)
		return f
	}
	if err := consumer.CheckTopics(ctx, client, cfg); err != nil {
		f.Detail = err.Error()
		return f
	}
	topics, err := kadm.NewClient(client).ListTopics(ctx, cfg.Topics...)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	partitions := 0
	for _, t := range topics {
		partitions += len(t.Partitions)
	}
	f.Status = "ok"
	f.Detail = fmt.Sprintf("%v, topics %v with %s in all: so many workers can share the work", cfg.Brokers, cfg.Topics, numberOf(partitions, "partition"))
	return f
}

func checkCache(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, logger *slog.Logger) finding {
	f := finding{Check: "cache", Status: "ok", Detail: "no Redis (cache.url is empty): vectors are kept in this process's memory only"}
	if cfg.Cache.URL == "" || encoder == nil {
		return f
	}
	c, err := cache.New(cfg.Cache, encoder.Recipe().Digest(), encoder.Recipe().Dim, logger, nil)
	if err != nil {
		f.Status, f.Detail = "failed", err.Error()
		return f
	}
	defer func() { _ = c.Close() }()
	if err := c.Ping(ctx); err != nil {
		f.Status = "warning"
		f.Detail = fmt.Sprintf("Redis does not answer: %v; the worker runs, but encodes every text again; check cache.url", err)
		return f
	}
	f.Detail = "Redis answers"
	return f
}

func checkIndex(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, logger *slog.Logger) finding {
	f := finding{Check: "qdrant", Status: "failed"}
	if encoder == nil {
		f.Detail = "not checked: whether the collection fits cannot be said without the model"
		return f
	}
	detail, err := sink.Check(ctx, cfg.Qdrant, worker.ModelPin(encoder.Recipe()), logger)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	f.Status, f.Detail = "ok", detail
	return f
}
