// Package worker connects the adapters to a pipeline: what `chunktide run`
// runs, and what the demo and the benches run as well.
package worker

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
	"chunktide/tracing"
)

// The adapters know nothing of the pipeline; that they fit is said here.
var (
	_ pipeline.Source  = (*consumer.Source)(nil)
	_ pipeline.Encoder = (embedder.Encoder)(nil)
	_ pipeline.Cache   = (*cache.Cache)(nil)
	_ pipeline.Sink    = (*sink.Sink)(nil)
)

// Worker is one pipeline with its adapters.
type Worker struct {
	Source *consumer.Source
	Cache  *cache.Cache
	Index  *sink.Sink
	Line   *pipeline.Pipeline
	// traces is where spans go, until the worker is closed.
	traces *tracing.Tracing
	// away is the encoder's health, where it is behind a network.
	away func() (ok bool, since time.Time, err error)
}

// ModelPin is what the index must know of the recipe that its vectors follow.
func ModelPin(r embedder.Recipe) sink.Model {
	return sink.Model{
		Name: r.Name, Version: r.ModelVersion(), Digest: fmt.Sprintf("%x", r.Digest()), Dim: r.Dim,
		Pooling: r.Pooling, Normalize: r.Normalize, Prefix: r.Prefix,
	}
}

// New connects a worker that reads the topics, in the order in which a failure
// tells most: the index first, since it may refuse the model. Observe may be
// nil; it is called after each batch, from one goroutine. The encoder stays the
// caller's to close.
func New(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, observe func(pipeline.Report),
	logger *slog.Logger, reg prometheus.Registerer) (*Worker, error) {
	cfg.Qdrant.Group = cfg.Kafka.Group
	return NewFrom(ctx, cfg, encoder, func(w *Worker) (pipeline.Source, error) {
		return w.consume(ctx, cfg, encoder.Recipe(), logger, reg)
	}, observe, logger, reg)
}

// NewFrom is [New] with another source than the topics, which belongs to no
// group: from is called when index and cache are there, and what it returns
// stays the caller's to close.
func NewFrom(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, from func(*Worker) (pipeline.Source, error),
	observe func(pipeline.Report), logger *slog.Logger, reg prometheus.Registerer,
) (w *Worker, err error) {
	w = &Worker{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close(ctx))
		}
	}()
	if w.traces, err = tracing.Start(ctx, cfg.Tracing, logger); err != nil {
		return w, err
	}
	if err := w.connect(ctx, cfg, encoder.Recipe(), logger, reg); err != nil {
		return w, err
	}
	source, err := from(w)
	if err != nil {
		return w, err
	}
	w.Line = pipeline.New(cfg.Pipeline, pipeline.Parts{
		Source: source, Encoder: encoder, Cache: w.Cache, Sink: w.Index,
		Activity: w.activity(encoder), Observe: observe, Trace: pipeline.Trace{Tracer: w.traces.Tracer, Roots: w.traces.Roots}, Logger: logger, Registerer: reg,
	})
	return w, nil
}

// connect opens index and cache.
func (w *Worker) connect(ctx context.Context, cfg configs.Config, recipe embedder.Recipe, logger *slog.Logger, reg prometheus.Registerer) (err error) {
	if w.Index, err = sink.Open(ctx, cfg.Qdrant, ModelPin(recipe), logger, reg); err != nil {
		return err
	}
	w.Cache, err = cache.New(cfg.Cache, recipe.Digest(), recipe.Dim, logger, reg)
	return err
}

// consume joins the group.
func (w *Worker) consume(ctx context.Context, cfg configs.Config, recipe embedder.Recipe, logger *slog.Logger, reg prometheus.Registerer) (pipeline.Source, error) {
	decoder, err := chunk.NewDecoder(cfg.Events)
	if err != nil {
		return nil, err
	}
	w.Source, err = consumer.New(ctx, cfg.Kafka, decoder.Decode, recipe.EstimateTokens, logger, reg)
	return w.Source, err
}

// activity counts the signs of life of what is behind a network: waiting for
// it is no stall. It also notes the encoder's health.
func (w *Worker) activity(encoder embedder.Encoder) func() uint64 {
	far, ok := encoder.(remote)
	if !ok {
		return w.Index.Activity
	}
	w.away = far.Healthy
	return func() uint64 { return w.Index.Activity() + far.Activity() }
}

// Run runs the pipeline until its source ends or ctx does. Of a stall the
// group is told: the next owner is to know that a worker died of what is in
// flight.
func (w *Worker) Run(ctx context.Context) error {
	err := w.Line.Run(ctx)
	if w.Source != nil && errors.Is(err, pipeline.ErrStalled) {
		w.Source.Died()
	}
	return err
}

// CloseTimeout bounds leaving the group and closing connections: a broker
// that does not answer must not keep a worker alive.
const CloseTimeout = 10 * time.Second

// Close leaves the group, after a last commit, and closes the connections. It
// works under a context of its own, since ctx has mostly ended by then.
func (w *Worker) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CloseTimeout)
	defer cancel()
	var errs []error
	if w.Source != nil {
		errs = append(errs, w.Source.Close(ctx))
	}
	if w.Cache != nil {
		errs = append(errs, w.Cache.Close())
	}
	if w.Index != nil {
		errs = append(errs, w.Index.Close())
	}
	errs = append(errs, w.traces.Close(ctx))
	return errors.Join(errs...)
}

// Ready tells why the worker could not make an event searchable right now.
func (w *Worker) Ready() error {
	if ok, since, err := w.Index.Healthy(); !ok {
		return fmt.Errorf("the index has not answered since %s: %w", since.Format("15:04:05"), err)
	}
	if w.away != nil {
		if ok, since, err := w.away(); !ok {
			return fmt.Errorf("the encoder's service has not answered since %s: %w", since.Format("15:04:05"), err)
		}
	}
	if err := w.Line.Moving(); err != nil {
		return err
	}
	if len(w.Source.Assigned()) == 0 {
		return errors.New("no partition is assigned: the group is rebalancing, or has more members than partitions")
	}
	return nil
}
