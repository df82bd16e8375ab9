package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/pipeline"
	"chunktide/sink"
)

// The adapters know nothing of the pipeline; that they fit is said here.
var (
	_ pipeline.Source  = (*consumer.Source)(nil)
	_ pipeline.Encoder = (embedder.Encoder)(nil)
	_ pipeline.Cache   = (*cache.Cache)(nil)
	_ pipeline.Sink    = (*sink.Sink)(nil)
)

// worker is one pipeline with its adapters.
type worker struct {
	source *consumer.Source
	cache  *cache.Cache
	index  *sink.Sink
	line   *pipeline.Pipeline
}

// modelPin is what the index must know of the recipe that its vectors follow.
func modelPin(r embedder.Recipe) sink.Model {
	return sink.Model{
		Name: r.Name, Version: r.ModelVersion(), Digest: fmt.Sprintf("%x", r.Digest()), Dim: r.Dim,
		Pooling: r.Pooling, Normalize: r.Normalize, Prefix: r.Prefix,
	}
}

// newWorker connects everything, in the order in which a failure tells most:
// the index first, since it may refuse the model.
func newWorker(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, observe func(pipeline.Report),
	logger *slog.Logger, reg prometheus.Registerer) (w *worker, err error) {
	w = &worker{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(ctx))
		}
	}()
	recipe := encoder.Recipe()
	if w.index, err = sink.Open(ctx, cfg.Qdrant, modelPin(recipe), logger, reg); err != nil {
		return w, err
	}
	if w.cache, err = cache.New(cfg.Cache, recipe.Digest(), recipe.Dim, logger, reg); err != nil {
		return w, err
	}
	decoder, err := chunk.NewDecoder(cfg.Events)
	if err != nil {
		return w, err
	}
	if w.source, err = consumer.New(ctx, cfg.Kafka, decoder.Decode, encoder.Tokens, logger, reg); err != nil {
		return w, err
	}
	w.line = pipeline.New(cfg.Pipeline, pipeline.Parts{
		Source: w.source, Encoder: encoder, Cache: w.cache, Sink: w.index,
		Activity: w.index.Activity, Observe: observe, Logger: logger, Registerer: reg,
	})
	return w, nil
}

// closeTimeout bounds leaving the group and closing connections: a broker
// that does not answer must not keep a worker alive.
const closeTimeout = 10 * time.Second

// close leaves the group, after a last commit, and closes the connections. It
// works under a context of its own, since ctx has mostly ended by then.
func (w *worker) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	var errs []error
	if w.source != nil {
		errs = append(errs, w.source.Close(ctx))
	}
	if w.cache != nil {
		errs = append(errs, w.cache.Close())
	}
	if w.index != nil {
		errs = append(errs, w.index.Close())
	}
	return errors.Join(errs...)
}
