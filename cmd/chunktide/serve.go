package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
	"chunktide/embedder/service"
	"chunktide/sink"
	"chunktide/tracing"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve the encoder over HTTP, for queries and for workers that share a device",
		Long: `Serve answers embedding requests in the APIs of OpenAI (/v1/embeddings) and of Text
Embeddings Inference (/embed). A request may name an alias of the index as its model: it
is answered with the recipe that the alias serves now, so that a query is never encoded
with another model than the index behind it. docs/SERVE.md shows it.

It exits with 0 after a graceful stop, in which the requests under way are answered.`,
		Example: `  chunktide serve --set qdrant.index=handbook
  curl -s localhost:9471/v1/embeddings -d '{"model": "handbook", "input": "how do I reset my password"}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := a.load(configs.Embedder, configs.Qdrant, configs.Serve, configs.Tracing)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, logger)
		},
	}
}

// indexAliases are the sink's, in the service's words: adapters do not know
// each other.
type indexAliases struct{ *sink.Aliases }

func (a indexAliases) Serving(ctx context.Context, alias string) (service.Served, error) {
	collection, model, err := a.Aliases.Serving(ctx, alias)
	if errors.Is(err, sink.ErrNoAlias) {
		err = service.ErrNoAlias
	}
	return service.Served{Collection: collection, ModelVersion: model.Version, Digest: model.Digest, Dim: model.Dim}, err
}

// serve loads the models, answers until ctx ends, and drains.
func serve(ctx context.Context, cfg configs.Config, logger *slog.Logger) (err error) {
	reg := worker.NewRegistry()
	encoders, err := loadServed(ctx, cfg, logger, reg)
	defer func() {
		for _, e := range encoders {
			err = errors.Join(err, e.Close())
		}
	}()
	if err != nil {
		return err
	}
	if len(cfg.Serve.Aliases) == 0 {
		cfg.Serve.Aliases = []string{cfg.Qdrant.Index}
	}
	aliases, err := sink.OpenAliases(cfg.Qdrant, logger, reg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, aliases.Close()) }()
	s, err := service.New(cfg.Serve, service.Options{
		Encoders: encoders, Aliases: indexAliases{aliases}, Version: version, Logger: logger, Registerer: reg, Gatherer: reg,
	})
	if err != nil {
		return fmt.Errorf("serve.%w", err)
	}
	// Where listening fails there is nothing to drain, but the queues end.
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	traces, err := tracing.Start(ctx, cfg.Tracing, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traces.Close(ctx)) }()
	return listen(ctx, cfg.Serve, s, traces.Handler(s), logger)
}

// loadServed loads every model. The metrics of each bear its model_version,
// since they have the same names.
func loadServed(ctx context.Context, cfg configs.Config, logger *slog.Logger, reg *prometheus.Registry) ([]embedder.SequenceEncoder, error) {
	var models []string
	var out []embedder.SequenceEncoder
	for i, c := range append([]embedder.Config{cfg.Embedder}, cfg.Serve.Models...) {
		where := "embedder"
		if i > 0 {
			where = fmt.Sprintf("serve.models: entry %d", i)
		}
		own := prometheus.NewRegistry()
		e, err := embedder.New(ctx, c, logger, own)
		if err != nil {
			return out, fmt.Errorf("%s: %w", where, err)
		}
		tokens, ok := e.(embedder.SequenceEncoder)
		if !ok {
			return out, errors.Join(fmt.Errorf("%s: encoder %s is a service already: name the model itself", where, c.Encoder), e.Close())
		}
		out = append(out, tokens)
		v := e.Recipe().ModelVersion()
		models = append(models, v)
		if err := prometheus.WrapRegistererWith(prometheus.Labels{"model_version": v}, reg).Register(own); err != nil {
			return out, fmt.Errorf("%s: %s is loaded twice: list each model once: %w", where, v, err)
		}
	}
	worker.ShowBuild(reg, version, models...)
	return out, nil
}
