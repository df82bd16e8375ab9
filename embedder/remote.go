package embedder

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"chunktide/chunk"
)

// Remote encodes by a service over HTTP: `chunktide serve`, or any that speaks
// OpenAI's API or TEI's.
//
// Chunktide's service says its recipe; the encoder takes it over as its own, so
// that it is interchangeable with one that loads the model itself, and its
// vectors are the same bit for bit. Every answer must bear that recipe's digest.
// Other services are known by the vectors of some probes ([RemoteConfig.Probe]),
// at the start and, with [RemoteConfig.ProbeRequests], in every request. Either
// way an answer of another model is an error that ends the worker: nothing of it
// is used.
//
// What may pass (connections, 408, 425, 429, 5xx) is repeated for as long as the
// call's context lasts. A refused request (400, 413, 422, 424) is halved until
// the texts at fault stand alone, and those are rejected. If a call had no text
// that was taken, a probe decides whether it is the texts' fault at all.
type Remote struct {
	cfg    Config
	recipe Recipe
	logger *slog.Logger
	client *http.Client
	// model is what requests name; answersAs is what answers must say, if not
	// empty.
	model, answersAs string
	known            imprint
	probe            atomic.Uint64 // counts the probes sent along

	slots    chan struct{}
	budget   budget
	attempts atomic.Uint64
	metrics  *metrics
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram

	mu        sync.Mutex
	heldUntil time.Time // no request goes out before
	failing   time.Time // since when none has been answered; zero when well
	lastErr   error
}

// NewRemote connects to the service of cfg, learns or checks its model, and
// tries it. It waits for a service that is not up yet, up to
// [RemoteConfig.StartTimeout] or until ctx ends; afterwards ctx is not needed.
func NewRemote(ctx context.Context, cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Remote, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = cfg.Remote.Concurrency
	return newRemote(ctx, cfg, transport, logger, reg)
}

func newRemote(ctx context.Context, cfg Config, transport http.RoundTripper, logger *slog.Logger, reg prometheus.Registerer) (*Remote, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f := promauto.With(reg)
	r := &Remote{
		cfg: cfg, logger: logger, model: cfg.Remote.Model, slots: make(chan struct{}, cfg.Remote.Concurrency), budget: newBudget(cfg.Remote), metrics: newMetrics(reg),
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // texts and key go to the configured host only
		}},
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "chunktide_remote_requests_total", Help: "Requests to the encoder's service, by outcome.",
		}, []string{"result"}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "chunktide_remote_request_duration_seconds", Help: "Time of one request to the encoder's service.",
			Buckets: []float64{.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}),
	}
	for _, result := range []string{"ok", "retried", "refused", "failed"} {
		r.requests.WithLabelValues(result)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Remote.StartTimeout)
	defer cancel()
	start := r.learn
	if cfg.Remote.probes() {
		start = r.recognize
	}
	if err := start(ctx); err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	logger.Info("remote encoder ready", "url", cfg.Remote.URL, "api", cfg.Remote.API, "model_version", r.recipe.ModelVersion(), "dim", r.recipe.Dim)
	return r, nil
}

// learn takes over the recipe of a Chunktide service.
func (r *Remote) learn(ctx context.Context) error {
	name := r.model
	if name == "" {
		name = DefaultRemoteModel
	}
	var d described
	err := r.persist(ctx, 0, func(ctx context.Context) error {
		body, _, err := r.exchange(ctx, http.MethodGet, "/v1/models/"+url.PathEscape(name), nil, 0)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, &d); err != nil {
			return fmt.Errorf("the service at %s does not describe its model as chunktide serve does: check embedder.remote.url and api", r.cfg.Remote.URL)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.recipe, err = d.check(); err != nil {
		return fmt.Errorf("the service at %s: %w", r.cfg.Remote.URL, err)
	}
	if want := r.cfg.Dimensions; want != 0 && want != r.recipe.Dim {
		return fmt.Errorf("the service's %s has %d dimensions, and embedder.dimensions is %d: set it at the service", r.recipe.ModelVersion(), r.recipe.Dim, want)
	}
	// From now on by its version: an alias may move.
	r.model, r.answersAs = d.ID, d.ID
	_, err = r.answer(ctx, r.sample(), false)
	return err
}

// sample is a text that the service took at the start: the shortest, since a
// recipe may refuse long ones.
func (r *Remote) sample() []string {
	if r.cfg.Remote.probes() {
		return probeTexts()[:1]
	}
	return []string{"a"}
}

// recognize checks the model of another service by its vectors.
func (r *Remote) recognize(ctx context.Context) error {
	texts := probeTexts()
	answer, err := r.answer(ctx, texts, false)
	if err != nil {
		return err
	}
	vectors := make([][]float32, len(texts))
	for i, v := range answer.vectors {
		if vectors[i] = v.vector; !usable(v.vector) || len(v.vector) != len(vectors[0]) {
			return fmt.Errorf("the service at %s gives no usable vector for probe %d", r.cfg.Remote.URL, i)
		}
	}
	r.answersAs = answer.model
	found := imprintOf(vectors)
	if r.cfg.Remote.Probe == "" {
		return fmt.Errorf("the service at %s does not say which model it runs, so that it must be known by its vectors: "+
			"if it runs what %q stands for, set embedder.remote.probe to %s", r.cfg.Remote.URL, r.cfg.ModelName, found)
	}
	if r.known, err = parseImprint(r.cfg.Remote.Probe); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if err := r.known.same(found, r.cfg.Remote.ProbeTolerance); err != nil {
		return fmt.Errorf("the service at %s runs another model than embedder.remote.probe says: %w; let it serve that model again, or set probe to %s, "+
			"which is another model_version and needs an index of its own", r.cfg.Remote.URL, err, found)
	}
	// Whatever changes the vectors changes the digest, by the pinned probe.
	h := sha256.New()
	for _, field := range []string{"chunktide remote 1", r.cfg.ModelName, r.cfg.Remote.Probe} {
		h.Write([]byte(strconv.Itoa(len(field)) + ":" + field))
	}
	r.recipe = Recipe{
		Name: r.cfg.ModelName, Encoder: EncoderRemote, Model: Digest(h.Sum(nil)), Pooling: EncoderRemote, Normalize: r.cfg.Normalize,
		Prefix: r.cfg.Prefix, Overflow: r.cfg.Overflow, Dim: found.dim, Precision: EncoderRemote,
	}
	return nil
}

func usable(v []float32) bool {
	return slices.ContainsFunc(v, func(x float32) bool { return x != 0 })
}

// answer has texts encoded, as they are, and checks whose vectors come back.
func (r *Remote) answer(ctx context.Context, texts []string, query bool) (a wireAnswer, err error) {
	path, body, err := r.request(texts, query)
	if err != nil {
		return a, err
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return a, ctx.Err()
	}
	tokens := 0
	for _, text := range texts {
		tokens += r.Tokens(text)
	}
	err = r.persist(ctx, tokens, func(ctx context.Context) error {
		data, header, err := r.exchange(ctx, http.MethodPost, path, body, len(texts))
		if err != nil {
			return err
		}
		if a, err = r.decode(data, len(texts)); errors.Is(err, errTorn) {
			return &transientError{err: err}
		}
		if err != nil {
			return err
		}
		return r.changed(header, a)
	})
	return a, err
}

// Tokens implements [Encoder]. It is an estimate, of four bytes to a token and
// two more, for cutting batches only: the tokenizer is elsewhere.
func (r *Remote) Tokens(text string) int { return (len(r.cfg.Prefix)+len(text))/4 + 2 }

// TokenIDs implements [Encoder]; they are not known here.
func (r *Remote) TokenIDs(string) ([]int64, error) {
	return nil, errors.New("a remote encoder does not say its tokens: use the encoder onnx for that")
}

// Recipe implements [Encoder].
func (r *Remote) Recipe() Recipe { return r.recipe }

// Close implements [Encoder].
func (r *Remote) Close() error {
	r.client.CloseIdleConnections()
	return nil
}

// Activity counts attempts. While it rises the encoder is alive, though it may
// not succeed.
func (r *Remote) Activity() uint64 { return r.attempts.Load() }

// Healthy tells whether the last request was answered, and if not, since when
// none was and what the last one met.
func (r *Remote) Healthy() (ok bool, since time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing.IsZero(), r.failing, r.lastErr
}

// Encode implements [Encoder].
func (r *Remote) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	return r.encode(ctx, texts, false)
}

// EncodeQuery implements [Encoder].
func (r *Remote) EncodeQuery(ctx context.Context, text string) (chunk.Embedding, error) {
	return only(r.encode(ctx, []string{text}, true))
}
