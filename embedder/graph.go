package embedder

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	ort "github.com/yalue/onnxruntime_go"
	"golang.org/x/sys/cpu"
)

// graphCache keeps, in a folder, the graph that ONNX Runtime made of a model
// when it optimized it, so that the next start need not do that again. A file
// is one line of JSON, a [graphHeader], and then the graph. It is loaded from
// the very bytes that were checked, and a file that does not pass is made anew.
type graphCache struct {
	path   string
	key    graphKey
	logger *slog.Logger // may be nil
}

// graphKey is everything that the optimized graph depends on.
type graphKey struct {
	Model        string `json:"model"` // SHA-256
	ONNXRuntime  string `json:"onnxruntime"`
	Provider     string `json:"provider"`
	Optimization string `json:"optimization"`
	CPU          string `json:"cpu"` // its features, since optimized graphs are for some
}

type graphHeader struct {
	Key    graphKey `json:"key"`
	SHA256 string   `json:"sha256"` // of the graph
}

// newGraphCache is nil if cfg names no folder. ONNX Runtime must be loaded.
func newGraphCache(cfg Config, model Digest, data []DataFile, logger *slog.Logger) (*graphCache, error) {
	if cfg.GraphCache == "" {
		return nil, nil
	}
	if len(data) > 0 {
		return nil, errors.New("graph_cache: a model with weights in files beside model.onnx cannot be kept in one file: set it to \"\"")
	}
	if err := os.MkdirAll(cfg.GraphCache, 0o700); err != nil {
		return nil, fmt.Errorf("graph_cache: %w", err)
	}
	features := sha256.Sum256(fmt.Appendf(nil, "%s %+v %+v", runtime.GOARCH, cpu.X86, cpu.ARM64))
	key := graphKey{
		Model: hex.EncodeToString(model[:]), ONNXRuntime: ort.GetVersion(), Provider: cfg.Provider,
		Optimization: cfg.Optimization, CPU: hex.EncodeToString(features[:]),
	}
	name, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("graph_cache: %w", err)
	}
	sum := sha256.Sum256(name)
	return &graphCache{path: filepath.Join(cfg.GraphCache, hex.EncodeToString(sum[:12])+".graph"), key: key, logger: logger}, nil
}

// open makes a session of the kept graph, or of the model, whose graph it then
// keeps. That a graph cannot be kept is told and does no harm.
func (g *graphCache) open(src source, options *ort.SessionOptions) (*ort.DynamicAdvancedSession, error) {
	graph, err := g.read()
	if err == nil {
		var s *ort.DynamicAdvancedSession
		if s, err = g.load(graph, src); err == nil {
			return s, nil
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		g.warn("the kept graph cannot be used: it is made anew", err)
	}
	fresh, err := os.CreateTemp(filepath.Dir(g.path), ".graph-*.onnx")
	if err == nil {
		err = fresh.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("graph_cache: %w", err)
	}
	defer func() { _ = os.Remove(fresh.Name()) }()
	if err := options.SetOptimizedModelFilePath(fresh.Name()); err != nil {
		return nil, err
	}
	s, err := ort.NewDynamicAdvancedSession(src.path, src.sig.inputs, []string{src.sig.output}, options)
	if err != nil {
		return nil, err
	}
	if err := g.keep(fresh.Name()); err != nil {
		g.warn("the optimized graph could not be kept: the next start makes it again", err)
	}
	return s, nil
}

// load makes a session of a graph that needs no more optimizing.
func (g *graphCache) load(graph []byte, src source) (_ *ort.DynamicAdvancedSession, err error) {
	cfg := src.cfg
	cfg.Optimization = OptimizationNone
	options, err := sessionOptions(cfg, 0, src.profile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	return ort.NewDynamicAdvancedSessionWithONNXData(graph, src.sig.inputs, []string{src.sig.output}, options)
}

func (g *graphCache) warn(what string, err error) {
	if g.logger != nil {
		g.logger.Warn(what, "file", g.path, "error", err)
	}
}

// read returns the kept graph if it is whole and the right one.
func (g *graphCache) read() ([]byte, error) {
	data, err := os.ReadFile(g.path)
	if err != nil {
		return nil, err
	}
	line, graph, found := bytes.Cut(data, []byte("\n"))
	var h graphHeader
	if err := json.Unmarshal(line, &h); err != nil || !found {
		return nil, errors.New("it does not begin with a header")
	}
	if h.Key != g.key {
		return nil, errors.New("it was made of another model, or for another machine or library")
	}
	if sum := sha256.Sum256(graph); h.SHA256 != hex.EncodeToString(sum[:]) {
		return nil, errors.New("it was changed or cut off")
	}
	return graph, nil
}

// keep puts the graph that ONNX Runtime wrote in its place, all at once.
func (g *graphCache) keep(fresh string) error {
	graph, err := os.ReadFile(fresh)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(graph)
	line, err := json.Marshal(graphHeader{Key: g.key, SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(g.path), ".graph-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone when it was renamed
	_, err = f.Write(slices.Concat(line, []byte("\n"), graph))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), g.path)
}
