package embedder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	ort "github.com/yalue/onnxruntime_go"

	"chunktide/chunk"
	"chunktide/embedder/tokenizer"
)

// Runs on a GPU are large and few, and lengths come in steps, so that it sees
// few shapes.
const (
	cpuRunTokens = 512
	gpuRunTokens = 16384
	gpuThreads   = 2
	gpuBucket    = 8
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
	cfg     Config
	recipe  Recipe
	words   wordPieces
	model   *session
	metrics *metrics
	shapes  shapes
	// slots bounds the runs that go on at once, over all calls.
	slots chan struct{}
}

var _ wordPieces = (*tokenizer.Tokenizer)(nil)

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
	words, err := tokenizer.Load(files.tokenizer)
	if err != nil {
		return nil, fmt.Errorf("model_dir: %w", err)
	}
	e := &ONNX{cfg: cfg.resolved(), words: words, metrics: newMetrics(reg)}
	if err := e.load(dir, library, files); err != nil {
		return nil, err
	}
	e.slots = make(chan struct{}, e.cfg.Threads)
	if err := e.warmUp(library); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.report(logger, files, start)
	return e, nil
}

// resolved replaces the zeros that mean "choose".
func (c Config) resolved() Config {
	threads, tokens := runtime.GOMAXPROCS(0), cpuRunTokens
	if c.gpu() {
		threads, tokens = gpuThreads, gpuRunTokens
	}
	if c.Threads == 0 {
		c.Threads = threads
	}
	if c.RunTokens == 0 {
		c.RunTokens = tokens
	}
	return c
}

// shapes are the limits of a run.
func (c Config) shapes(maxTokens, positions int) shapes {
	if !c.gpu() {
		return shapes{budget: c.RunTokens, texts: math.MaxInt, step: 1, longest: maxTokens}
	}
	longest := (maxTokens + gpuBucket - 1) / gpuBucket * gpuBucket
	if positions > 0 {
		longest = min(longest, positions)
	}
	return shapes{budget: c.RunTokens, texts: max(c.RunTokens/gpuBucket, 1), step: gpuBucket, longest: longest}
}

// load settles the recipe and opens the session.
func (e *ONNX) load(dir, library string, files folder) error {
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
	model, data, err := fingerprint(files.onnx)
	if err != nil {
		return fmt.Errorf("model_dir: %w", err)
	}
	words, err := hashFile(files.tokenizer)
	if err != nil {
		return fmt.Errorf("model_dir: %w", err)
	}

	e.shapes = e.cfg.shapes(maxTokens, files.positions)
	cache := ""
	if e.cfg.Provider == ProviderTensorRT {
		if cache, err = engineCache(model); err != nil {
			return err
		}
	}
	if e.model, err = openSession(files.onnx, library, e.cfg, e.shapes, cache, files.hidden); err != nil {
		return err
	}
	e.recipe = Recipe{
		Name: name, Encoder: EncoderONNX, Model: model, Data: data, Tokenizer: words,
		Pooling: files.poolingFor(e.cfg.Pooling), Normalize: e.cfg.Normalize, Prefix: e.cfg.Prefix,
		MaxTokens: maxTokens, Overflow: e.cfg.Overflow, Dim: e.model.sig.hidden, Precision: "float32",
	}
	if err := e.settleShape(); err != nil {
		return errors.Join(err, e.Close())
	}
	return nil
}

// settleShape fits pooling and dimensions to what the model gives.
func (e *ONNX) settleShape() error {
	if e.model.sig.pooled {
		if e.cfg.Pooling != PoolAuto {
			return fmt.Errorf("pooling: the model pools by itself (output %s), so it must be auto", e.model.sig.output)
		}
		e.recipe.Pooling = PoolGraph
	}
	if e.cfg.Dimensions > e.recipe.Dim {
		return fmt.Errorf("dimensions: %d is more than the model's %d", e.cfg.Dimensions, e.recipe.Dim)
	}
	if e.cfg.Dimensions > 0 {
		e.recipe.Dim = e.cfg.Dimensions
	}
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

// warmUp runs the model on one text. A GPU that cannot compute shows here.
func (e *ONNX) warmUp(library string) error {
	ids, total := e.words.Encode(nil, "a", e.recipe.MaxTokens)
	if total == 0 {
		return errors.New("model_dir: tokenizer.json makes no token of the letter a: it is not this model's")
	}
	r := plan([]text{{ids: ids, total: total}}, e.shapes)[0]
	err := e.model.run(r, e.words.PadID(), nil, func([]float32) {})
	if err != nil && e.cfg.gpu() {
		return explainProvider(e.cfg.Provider, library, err)
	}
	if err != nil {
		return fmt.Errorf("model.onnx: a first run: %w", err)
	}
	return nil
}

func (e *ONNX) report(logger *slog.Logger, files folder, start time.Time) {
	if logger == nil {
		return
	}
	r := e.recipe
	logger.Info("encoder ready", "model_version", r.ModelVersion(), "dim", r.Dim, "pooling", r.Pooling, "max_tokens", r.MaxTokens,
		"provider", e.cfg.Provider, "onnxruntime", ort.GetVersion(), "threads", e.cfg.Threads, "took", time.Since(start).Round(time.Millisecond))
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
	if err := e.model.close(); err != nil {
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
	c := call{e: e, out: make([]chunk.Embedding, len(texts)), rejected: map[int]error{}}
	todo, err := c.tokenize(ctx, texts, prefix)
	if err != nil {
		return nil, err
	}
	runs := plan(todo, e.shapes)
	if err := c.runAll(ctx, runs); err != nil {
		return nil, err
	}
	tokens, padded := 0, 0
	for _, t := range todo {
		tokens += len(t.ids)
	}
	for _, r := range runs {
		padded += r.padded()
	}
	e.metrics.encoded(kind, len(todo), tokens, padded)
	if len(c.rejected) > 0 {
		return c.out, &chunk.Rejected{Texts: c.rejected}
	}
	return c.out, nil
}
