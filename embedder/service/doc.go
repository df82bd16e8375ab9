// Package service answers embedding requests over HTTP, for queries and for
// workers that share an accelerator. It speaks OpenAI's API (POST
// /v1/embeddings, GET /v1/models) and that of Hugging Face's Text Embeddings
// Inference (POST /embed, GET /info, /health, /metrics).
//
// What it guarantees:
//
//   - A vector is the one that the encoder itself returns, bit for bit, in
//     base64 and as decimal numbers, whatever else is in its batch.
//   - Every answer names the recipe that made it: model_version and digest, in
//     the headers of [HeaderVersion] and [HeaderDigest] and in the field
//     "model". A request can name a recipe, and is never answered by another.
//   - A request that names an alias of the index is answered by the recipe of
//     the collection behind it: the one that the alias pointed to at some
//     moment of the last [Config.AliasTTL] before the request came, or later.
//     When that cannot be known the answer is 503, never a guess.
//   - Queries do not wait behind documents, but for the runs that the device
//     has begun; callers of one kind take turns text by text, so that a big
//     request does not hold up a small one.
//   - What waits is bounded. Beyond it callers get 429 with the time after
//     which to come back. A caller that went away leaves the queue.
package service

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"chunktide/embedder"
)

// Options are the parts of a Service.
type Options struct {
	// Encoders are the loaded recipes, at least one; the first is the default.
	// They stay the caller's to close, after the Service.
	Encoders []embedder.SequenceEncoder
	// Aliases tells what the aliases of [Config.Aliases] serve. It may be nil
	// where there are none.
	Aliases Aliases
	// Version is the program's, for /info.
	Version string
	Logger  *slog.Logger
	// Registerer takes the metrics, and Gatherer shows them on /metrics. Both
	// may be nil.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
}

// Service is the HTTP handler. It is safe for concurrent use.
type Service struct {
	cfg     Config
	version string
	logger  *slog.Logger
	metrics *metrics
	models  *models
	routes  http.Handler
	started time.Time
	// places bounds the requests that are read or answered at once.
	places chan struct{}
	// stop ends what runs, once Close no longer waits for it.
	stop context.CancelFunc
	work sync.WaitGroup
}

// New starts the queues of every encoder.
func New(cfg Config, o Options) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(o.Encoders) == 0 {
		return nil, errors.New("no encoder is given")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Service{
		cfg: cfg, version: o.Version, logger: o.Logger, metrics: newMetrics(o.Registerer), started: time.Now(),
		places: make(chan struct{}, cfg.Requests), stop: stop,
	}
	var err error
	if s.models, err = newModels(cfg, o, s.metrics); err != nil {
		stop()
		return nil, err
	}
	for _, m := range s.models.loaded {
		// Queries go before documents. One batch of them at a time leaves the
		// device to documents now and then, however many queries there are.
		s.work.Go(func() { m.queries.work(ctx) })
		for range cfg.InFlight {
			s.work.Go(func() { m.documents.work(ctx) })
		}
	}
	s.routes = s.mux(o.Gatherer)
	return s, nil
}

// ServeHTTP implements [http.Handler].
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// Close refuses new requests with 503 and waits until what was queued is
// answered. When ctx ends first it stops the encoder and returns ctx's error.
func (s *Service) Close(ctx context.Context) error {
	s.models.close()
	drained := make(chan struct{})
	go func() {
		s.work.Wait()
		close(drained)
	}()
	defer s.stop()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		s.stop()
		<-drained
		return ctx.Err()
	}
}

func (s *Service) mux(metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	openai := func(pattern, api string, answer answer) { mux.Handle(pattern, s.handle(api, asOpenAI, answer)) }
	tei := func(pattern, api string, answer answer) { mux.Handle(pattern, s.handle(api, asTEI, answer)) }
	openai("POST /v1/embeddings", apiEmbeddings, s.embeddings)
	openai("POST /embeddings", apiEmbeddings, s.embeddings)
	openai("GET /v1/models", apiModels, s.listModels)
	openai("GET /v1/models/{model...}", apiModels, s.showModel)
	tei("POST /embed", apiEmbed, s.embed)
	tei("GET /info", apiInfo, s.info)
	mux.HandleFunc("GET /health", s.health)
	if metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	}
	return mux
}
