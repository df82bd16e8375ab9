package main

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"chunktide/admin"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/embedder"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the worker: from change events on Kafka to searchable vectors in Qdrant",
		Long: `Run reads the topic as a member of a consumer group and keeps the index level with it.
Start as many as you like, up to one for each partition; stop one with SIGTERM.

It exits with 0 after a graceful stop. After any failure it exits with 1, and what it
had not acknowledged is read again by the next: let your supervisor restart it.`,
		Example: `  chunktide run --config chunktide.yaml
  chunktide run --set kafka.topics=chunks --set kafka.group=chunktide --set qdrant.index=handbook
  chunktide run -c chunktide.yaml --set kafka.stop_at_end=true   # what is there now, and then end`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := a.load(configs.Worker()...)
			if err != nil {
				return err
			}
			return a.runWorker(cmd.Context(), cfg, logger)
		},
	}
}

func (a *app) runWorker(ctx context.Context, cfg configs.Config, logger *slog.Logger) error {
	reg := worker.NewRegistry()
	encoder, err := a.workerEncoder(ctx, cfg, logger, reg)
	if err != nil {
		return err
	}
	if err := boundMemory(cfg, residentBytes()); err != nil {
		return err
	}
	err = withWorker(ctx, cfg, encoder, logger, reg, func(w *worker.Worker) error {
		logger.Info("worker started", "version", version, "model_version", encoder.Recipe().ModelVersion(), "index", cfg.Qdrant.Index,
			"collection", w.Index.Collection(), "topics", cfg.Kafka.Topics, "group", cfg.Kafka.Group)
		if err := w.Run(ctx); err != nil {
			return err
		}
		logger.Info("worker stopped: everything it had read is durable or left to the next")
		return nil
	})
	if err != nil {
		return err
	}
	// Only now: after a failure a run of the model may still be under way, and
	// the process ends anyway.
	return encoder.Close()
}

// withWorker connects a worker, with its admin port, and has something done
// with it.
func withWorker(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, logger *slog.Logger, reg *prometheus.Registry,
	do func(*worker.Worker) error,
) (err error) {
	w, err := worker.New(ctx, cfg, encoder, nil, logger, reg)
	if err != nil {
		return err
	}
	// The admin port outlives ctx, and the closing too: a worker that drains is
	// alive, and one that stalled says so for as long as it is there.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer func() { err = errors.Join(err, w.Close(ctx)) }()
	if cfg.Admin.Address != "" {
		_, closing, err := serveWorker(serving, cfg, w, encoder, reg, logger)
		if err != nil {
			return err
		}
		defer func() { _ = closing() }()
	}
	return do(w)
}

// serveWorker serves a worker's admin port, with the console, until ctx ends;
// closing is for afterwards.
func serveWorker(ctx context.Context, cfg configs.Config, w *worker.Worker, encoder embedder.Encoder, metrics prometheus.Gatherer,
	logger *slog.Logger,
) (at net.Addr, closing func() error, err error) {
	o := admin.Options{Metrics: metrics, Health: w.Line.Moving, Ready: w.Ready, Logger: logger}
	page, closing, err := newConsole(ctx, cfg, w, encoder, metrics, logger)
	if err != nil {
		return nil, nil, err
	}
	if page != nil {
		o.Routes, o.Public = page.Routes(), page.Public()
	}
	at, err = admin.Serve(ctx, cfg.Admin, o)
	if err != nil {
		return nil, nil, errors.Join(err, closing())
	}
	return at, closing, nil
}

// workerEncoder is [newEncoder] as the process wants it.
func (a *app) workerEncoder(ctx context.Context, cfg configs.Config, logger *slog.Logger, reg prometheus.Registerer) (embedder.Encoder, error) {
	encoder, err := newEncoder(ctx, cfg, logger, reg)
	if err == nil && a.wrap != nil {
		encoder = a.wrap(encoder)
	}
	return encoder, err
}

// newEncoder loads the model, and says on the metrics what runs.
func newEncoder(ctx context.Context, cfg configs.Config, logger *slog.Logger, reg prometheus.Registerer) (embedder.Encoder, error) {
	encoder, err := embedder.New(ctx, cfg.Embedder, logger, reg)
	if err != nil {
		return nil, err
	}
	worker.ShowBuild(reg, version, encoder.Recipe().ModelVersion())
	return encoder, nil
}
