package embedder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	ort "github.com/yalue/onnxruntime_go"

	"chunktide/chunk"
	"chunktide/embedder/tokenizer"
)

// Runs on a GPU are large and few, and lengths come in steps, so that it sees
// few shapes. On a CPU a run costs next to nothing of its own: of 256, 320, 384,
// 512 and 768 tokens this took the least processor time, since smaller runs pad
// less (BenchmarkRunTokens).
const (
	cpuRunTokens = 384
	gpuRunTokens = 16384
	gpuThreads   = 2
	// What a run costs of its own, in tokens: on a CPU by BenchmarkPerRun, on a
	// GPU about the launches of a small model's kernels (not measured).
	cpuPerRun = 16
	gpuPerRun = 1024
)

// wordPieces is what the encoder needs of a tokenizer; [tokenizer.Tokenizer]
// has it. It must be safe for several goroutines.
type wordPieces interface {
	// Encode appends the ids of text to dst, at most max of them, special
	// tokens included; total is how many there would be without max.
	Encode(dst []int64, text string, max int) (ids []int64, total int)
	Count(text string) int
	PadID() int64
	VocabSize() int
}

// ONNX encodes with a sentence encoder in ONNX form.
type ONNX struct {
	cfg      Config // resolved
	recipe   Recipe
	words    wordPieces
	sig      signature
	models   []model
	lanes    *lanes
	width    int // how many lanes there are
	shapes   shapes
	scarcity *scarcity
	metrics  *metrics
	calls    atomic.Uint64
}

var _ wordPieces = tokenizer.Tokenizer(nil)

// NewONNX loads the model that cfg names and runs it once, so that what does
// not work fails here. It logs one line with the model_version.
func NewONNX(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*ONNX, error) {
	start := time.Now()
	dir, err := FindModel(cfg.ModelDir)
	if err != nil {
		return nil, err
	}
	library, err := FindRuntime(cfg.ONNXRuntimeLibrary)
	if err != nil {
		return nil, err
	}
	files, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	sums, err := cfg.contentsOf(dir, files)
	if err != nil {
		return nil, fmt.Errorf("model_dir: %w", err)
	}
	words, err := tokenizer.Load(files.tokenizer)
	if err != nil {
		return nil, fmt.Errorf("model_dir: %w", err)
	}
	e := &ONNX{cfg: cfg.resolved(), words: words, metrics: newMetrics(reg)}
	if err := e.load(dir, library, files, sums, logger); err != nil {
		return nil, err
	}
	e.prepare(logger)
	if err := e.warmUp(library); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.report(logger, files, start)
	return e, nil
}

// resolved replaces the zeros that mean "choose".
func (c Config) resolved() Config {
	threads := max(runtime.GOMAXPROCS(0)/c.IntraThreads, 1)
	if c.gpu() {
		threads = gpuThreads
	} else {
		c.Devices = []int{0}
	}
	if c.Threads == 0 {
		c.Threads = max(threads, c.Sessions)
	}
	return c
}

// shapes are the limits of a run.
func (c Config) shapes(maxTokens, positions int) (shapes, error) {
	if c.RunTokens > 0 && c.RunTokens < maxTokens {
		return shapes{}, fmt.Errorf("run_tokens: %d cannot hold one text of max_tokens, %d: raise it to that or more, or set 0", c.RunTokens, maxTokens)
	}
	if !c.gpu() {
		budget := cmp.Or(c.RunTokens, cpuRunTokens)
		return shapes{budget: budget, texts: math.MaxInt, step: 1, longest: maxTokens, perRun: cpuPerRun, lanes: c.Threads, least: max(budget/8, 1)}, nil
	}
	step := c.GPU.Bucket
	longest := (maxTokens + step - 1) / step * step
	if positions > 0 {
		longest = min(longest, positions)
	}
	budget := max(cmp.Or(c.RunTokens, gpuRunTokens), longest)
	// Small runs cost a GPU as much as large ones, so a call is cut only to
	// give each of several GPUs its share.
	s := shapes{budget: budget, texts: budget / step, step: step, longest: longest, perRun: gpuPerRun, lanes: len(c.Devices), least: max(budget/8, longest)}
	if c.Provider == ProviderTensorRT {
		// Its one profile goes up to so many texts of the longest length, and
		// it reserves memory for that.
		s.texts = min(s.texts, 4*budget/longest)
	}
	return s, nil
}

// prepare makes the lanes: those of different devices take turns, and on each
// device its sessions do.
func (e *ONNX) prepare(logger *slog.Logger) {
	var order []model
	for thread := range e.cfg.Threads {
		for device := range e.cfg.Devices {
			order = append(order, e.models[device*e.cfg.Sessions+thread%e.cfg.Sessions])
		}
	}
	e.lanes, e.width = newLanes(order), len(order)
	e.scarcity = newScarcity(e.shapes.budget, logger, e.metrics)
}

// load settles the recipe and opens the session.
func (e *ONNX) load(dir, library string, files folder, sums contents, logger *slog.Logger) error {
	special := e.words.Count("")
	if files.vocab > 0 && e.words.VocabSize() > files.vocab {
		return fmt.Errorf("model_dir: tokenizer.json has %d tokens, the model %d: they belong to different models", e.words.VocabSize(), files.vocab)
	}
	maxTokens, err := files.maxTokensFor(e.cfg.MaxTokens)
	if err != nil {
		return err
	}
	if room := maxTokens - special; room < 1 {
		return fmt.Errorf("max_tokens: %d leaves no room for text beside %d special tokens", maxTokens, special)
	}
	name, err := modelName(e.cfg.ModelName, dir)
	if err != nil {
		return err
	}
	if e.shapes, err = e.cfg.shapes(maxTokens, files.positions); err != nil {
		return err
	}
	if err := e.openSessions(files, library, sums, logger); err != nil {
		return errors.Join(err, e.Close())
	}
	e.recipe = Recipe{
		Name: name, Encoder: EncoderONNX, Model: sums.model, Data: sums.data, Tokenizer: sums.tokenizer,
		Pooling: files.poolingFor(e.cfg.Pooling), Normalize: e.cfg.Normalize, Prefix: e.cfg.Prefix,
		MaxTokens: maxTokens, Overflow: e.cfg.Overflow, Dim: e.sig.hidden, Precision: e.cfg.precision(),
	}
	if err := e.settleShape(); err != nil {
		return errors.Join(err, e.Close())
	}
	return nil
}

// openSessions loads the model on every device.
func (e *ONNX) openSessions(files folder, library string, sums contents, logger *slog.Logger) (err error) {
	if err := onnxRuntime.load(library); err != nil {
		return err
	}
	if e.sig, err = signatureOf(files.onnx, files.hidden); err != nil {
		return err
	}
	src := source{path: files.onnx, library: library, cfg: e.cfg, sig: e.sig, padID: e.words.PadID(), profile: profile{shapes: e.shapes, inputs: e.sig.inputs}}
	if e.cfg.Provider == ProviderTensorRT {
		if src.profile.engines, err = engineCache(e.cfg.GPU.EngineCache, sums.model); err != nil {
			return err
		}
	}
	if src.graph, err = newGraphCache(e.cfg, sums.model, sums.data, logger); err != nil {
		return err
	}
	for _, device := range e.cfg.Devices {
		for range e.cfg.Sessions {
			s, err := src.open(device)
			if err != nil {
				return err
			}
			e.models = append(e.models, s)
		}
	}
	return nil
}

// precision is that of the computation; the weights' own is in the model.
func (c Config) precision() string {
	if c.GPU.FP16 {
		return "float16"
	}
	return "float32"
}

// settleShape fits pooling and dimensions to what the model gives.
func (e *ONNX) settleShape() error {
	if e.sig.pooled {
		if e.cfg.Pooling != PoolAuto {
			return fmt.Errorf("pooling: the model pools by itself (output %s), so it must be auto", e.sig.output)
		}
		e.recipe.Pooling = PoolGraph
	}
	if e.cfg.Dimensions > e.recipe.Dim {
		return fmt.Errorf("dimensions: %d is more than the model's %d", e.cfg.Dimensions, e.recipe.Dim)
	}
	e.recipe = e.recipe.cut(e.cfg.Dimensions)
	return nil
}

func modelName(configured, dir string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("model_name: %w", err)
	}
	name := filepath.Base(abs)
	if !nameForm.MatchString(name) {
		return "", fmt.Errorf("model_name: the folder's name, %q, cannot serve as one: set embedder.model_name", name)
	}
	return name, nil
}

// warmUp runs each model, so that what cannot compute shows here: on a CPU on
// one short text; on a GPU on the longest text, which must fit, and on the
// largest runs, which give the arena its size and find out what does not fit.
func (e *ONNX) warmUp(library string) error {
	ids, total := e.words.Encode(nil, "a", e.recipe.MaxTokens)
	if total == 0 {
		return errors.New("model_dir: tokenizer.json makes no token of the letter a: it is not this model's")
	}
	for _, m := range e.models {
		if err := e.warm(m, ids); err != nil && e.cfg.gpu() {
			return explainProvider(e.cfg.Provider, library, err)
		} else if err != nil {
			return fmt.Errorf("model.onnx: a first run: %w", err)
		}
	}
	return nil
}

func (e *ONNX) warm(m model, ids []int64) error {
	ctx, nothing := context.Background(), func([]float32) {}
	if !e.cfg.gpu() {
		return m.run(ctx, run{texts: []text{{ids: ids}}, length: len(ids)}, nothing)
	}
	long := make([]int64, e.recipe.MaxTokens)
	for i := range long {
		long[i] = ids[i%len(ids)]
	}
	if err := m.run(ctx, run{texts: []text{{ids: long}}, length: e.shapes.longest}, nothing); err != nil {
		return fmt.Errorf("one text of max_tokens, %d: %w", len(long), err)
	}
	for {
		bound := e.scarcity.tokens()
		full := run{texts: make([]text, max(bound/e.shapes.longest, 1)), length: e.shapes.longest}
		for i := range full.texts {
			full.texts[i].ids = long
		}
		err := m.run(ctx, full, nothing)
		if err == nil || !outOfMemory(err) || len(full.texts) == 1 {
			return err
		}
		e.scarcity.failed(full.padded(), err)
	}
}

func (e *ONNX) report(logger *slog.Logger, files folder, start time.Time) {
	if logger == nil {
		return
	}
	r := e.recipe
	logger.Info("encoder ready", "model_version", r.ModelVersion(), "dim", r.Dim, "pooling", r.Pooling, "max_tokens", r.MaxTokens,
		"provider", e.cfg.Provider, "onnxruntime", ort.GetVersion(), "sessions", len(e.models), "threads", e.width, "took", time.Since(start).Round(time.Millisecond))
	if r.Pooling == PoolGraph || e.cfg.gpu() {
		logger.Warn("vectors depend on their batch by about 1e-6", "provider", e.cfg.Provider, "pooling", r.Pooling)
	}
	if e.cfg.Prefix == "" && e.cfg.QueryPrefix == "" {
		for name, prompt := range files.prompts {
			if strings.TrimSpace(prompt) != "" {
				logger.Warn("the model was trained with a prefix and none is set: see embedder.prefix and query_prefix", "use", name, "prefix", prompt)
			}
		}
	}
}

// Recipe implements [Encoder].
func (e *ONNX) Recipe() Recipe { return e.recipe }

// Tokens implements [Encoder].
func (e *ONNX) Tokens(text string) int {
	return min(e.words.Count(e.cfg.Prefix+text), e.recipe.MaxTokens)
}

// TokenIDs implements [Encoder].
func (e *ONNX) TokenIDs(text string) ([]int64, error) {
	ids, total := e.words.Encode(nil, e.cfg.Prefix+text, e.recipe.MaxTokens)
	return ids, e.recipe.fits(total)
}

// Close implements [Encoder].
func (e *ONNX) Close() error {
	var errs []error
	for _, m := range e.models {
		errs = append(errs, m.close())
	}
	e.models = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the model: %w", err)
	}
	return nil
}

// Encode implements [Encoder].
func (e *ONNX) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	return e.encode(ctx, texts, e.cfg.Prefix, kindDocument)
}

// EncodeQuery implements [Encoder].
func (e *ONNX) EncodeQuery(ctx context.Context, text string) (chunk.Embedding, error) {
	return only(e.encode(ctx, []string{text}, e.cfg.QueryPrefix, kindQuery))
}

// only is the result of a call of one text.
func only(out []chunk.Embedding, err error) (chunk.Embedding, error) {
	var rejected *chunk.Rejected
	if errors.As(err, &rejected) {
		return chunk.Embedding{}, rejected.Texts[0]
	}
	if err != nil {
		return chunk.Embedding{}, err
	}
	return out[0], nil
}

func (e *ONNX) encode(ctx context.Context, texts []string, prefix, kind string) ([]chunk.Embedding, error) {
	c := e.newCall(len(texts))
	todo, err := c.tokenize(ctx, texts, prefix)
	if err != nil {
		return nil, err
	}
	tokens := 0
	for _, t := range todo {
		tokens += len(t.ids)
	}
	return c.finish(ctx, todo, func(padded int) { e.metrics.encoded(kind, len(todo), tokens, padded) })
}
