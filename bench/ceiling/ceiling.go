// Package ceiling measures how near the encoder comes to what bare ONNX
// Runtime can do with the same model on the same tokens.
//
// The ceiling ([Bare]) is session.Run and nothing else: the token ids are there
// already, in tensors made beforehand; the texts, sorted by length, are one
// stream of tokens that is cut into full runs of rows of like length, across
// the texts' ends, so that nothing is padded and no run is small; as many
// goroutines as cores, or as a GPU wants, take runs until none is left; nothing
// is pooled, scaled or handed out. What it computes is of no use. Against it
// stands the encoder with everything that it does: tokenizing, planning,
// padding, pooling, and putting each vector in its place.
//
// A ratio is taken within one round, in which both do the same texts one after
// the other; the result is the median of the rounds' ratios.
package ceiling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ort "github.com/yalue/onnxruntime_go"
	"golang.org/x/sync/errgroup"

	"chunktide/embedder"
)

// Bare runs a model with nothing around it. It is not safe for several
// goroutines; it makes its own.
type Bare struct {
	session *ort.DynamicAdvancedSession
	inputs  []string
	row     int // values of the output for a token
	workers int
	tokens  int // of a run
}

// Open loads the model of cfg on the CPU, or on the first of its GPUs with
// CUDA. The encoder must have been opened before: it loads ONNX Runtime, which
// a process can do once. Zero workers and tokens are the encoder's defaults.
func Open(cfg embedder.Config, workers, tokens int) (_ *Bare, err error) {
	if !ort.IsInitialized() {
		return nil, errors.New("open the encoder first: it loads ONNX Runtime")
	}
	dir, err := embedder.FindModel(cfg.ModelDir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "model.onnx")
	b := &Bare{workers: workers, tokens: tokens}
	gpu := cfg.Provider != embedder.ProviderCPU
	if b.workers == 0 {
		b.workers = runtime.GOMAXPROCS(0)
		if gpu {
			b.workers = 2
		}
	}
	if b.tokens == 0 {
		b.tokens = 512
		if gpu {
			b.tokens = 16384
		}
	}
	in, out, err := ort.GetInputOutputInfo(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for _, i := range in {
		b.inputs = append(b.inputs, i.Name)
	}
	if len(out) != 1 || len(out[0].Dimensions) != 3 || out[0].Dimensions[2] <= 0 {
		return nil, fmt.Errorf("%s: want one output [texts, tokens, hidden]", path)
	}
	b.row = int(out[0].Dimensions[2])
	options, err := options(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	b.session, err = ort.NewDynamicAdvancedSession(path, b.inputs, []string{out[0].Name}, options)
	return b, err
}

// options are those that gave the most tokens a second here: one thread a
// run, none that spins, no arena.
func options(cfg embedder.Config) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(o.SetIntraOpNumThreads(1), o.SetInterOpNumThreads(1), o.SetCpuMemArena(false), o.SetMemPattern(false),
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"))
	if err == nil && cfg.Provider != embedder.ProviderCPU {
		err = appendCUDA(o, cfg)
	}
	if err != nil {
		return nil, errors.Join(err, o.Destroy())
	}
	return o, nil
}

func appendCUDA(o *ort.SessionOptions, cfg embedder.Config) (err error) {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cuda.Destroy()) }()
	if err := cuda.Update(map[string]string{"device_id": fmt.Sprint(cfg.Devices[0]), "use_tf32": "0"}); err != nil {
		return err
	}
	return o.AppendExecutionProviderCUDA(cuda)
}

// Close frees the model.
func (b *Bare) Close() error { return b.session.Destroy() }

// Packed is texts made ready for [Bare.Run].
type Packed struct {
	runs   []packedRun
	Tokens int
}

type packedRun struct {
	inputs       []ort.Value
	texts, width int
}

// Pack cuts the tokens into full runs, the longest rows first. Close frees it.
func (b *Bare) Pack(sequences [][]int64) (*Packed, error) {
	sorted := slices.SortedFunc(slices.Values(sequences), func(x, y []int64) int { return cmp.Compare(len(y), len(x)) })
	p := &Packed{}
	var lengths []int // of the text that each token is of
	for _, ids := range sorted {
		p.Tokens += len(ids)
		lengths = append(lengths, slices.Repeat([]int{len(ids)}, len(ids))...)
	}
	for rest := slices.Concat(sorted...); len(rest) > 0; {
		width := min(lengths[len(lengths)-len(rest)], len(rest))
		texts := min(max(b.tokens/width, 1), len(rest)/width)
		r := packedRun{texts: texts, width: width}
		for _, name := range b.inputs {
			t, err := ort.NewTensor(ort.NewShape(int64(texts), int64(width)), fill(name, rest[:texts*width], width))
			if err != nil {
				return nil, errors.Join(err, p.Close())
			}
			r.inputs = append(r.inputs, t)
		}
		p.runs, rest = append(p.runs, r), rest[texts*width:]
	}
	return p, nil
}

func fill(name string, ids []int64, width int) []int64 {
	switch name {
	case "input_ids":
		return slices.Clone(ids)
	case "attention_mask":
		return slices.Repeat([]int64{1}, len(ids))
	case "position_ids":
		out := make([]int64, len(ids))
		for i := range out {
			out[i] = int64(i % width)
		}
		return out
	default: // token_type_ids
		return make([]int64, len(ids))
	}
}

// Close frees the tensors.
func (p *Packed) Close() error {
	var errs []error
	for _, r := range p.runs {
		for _, t := range r.inputs {
			errs = append(errs, t.Destroy())
		}
	}
	p.runs = nil
	return errors.Join(errs...)
}

// Run puts everything through the model once and returns how long it took.
func (b *Bare) Run(p *Packed) (time.Duration, error) {
	var next atomic.Int64
	var group errgroup.Group
	start := time.Now()
	for range b.workers {
		group.Go(func() error {
			var values []float32
			for {
				i := int(next.Add(1)) - 1
				if i >= len(p.runs) {
					return nil
				}
				r := p.runs[i]
				if n := r.texts * r.width * b.row; len(values) < n {
					values = make([]float32, n)
				}
				if err := b.once(r, values); err != nil {
					return err
				}
			}
		})
	}
	err := group.Wait()
	return time.Since(start), err
}

func (b *Bare) once(r packedRun, values []float32) (err error) {
	shape := ort.NewShape(int64(r.texts), int64(r.width), int64(b.row))
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&values[0])
	out, err := ort.NewTensor(shape, values[:shape.FlattenedSize()])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Destroy()) }()
	return b.session.Run(r.inputs, []ort.Value{out})
}

// Encode has the encoder encode the batches, with so many calls in flight at
// once, and returns how long it took.
func Encode(ctx context.Context, e embedder.Encoder, batches [][]string, inFlight int) (time.Duration, error) {
	group, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	next := func() []string {
		mu.Lock()
		defer mu.Unlock()
		if len(batches) == 0 {
			return nil
		}
		b := batches[0]
		batches = batches[1:]
		return b
	}
	start := time.Now()
	for range inFlight {
		group.Go(func() error {
			for b := next(); b != nil; b = next() {
				if _, err := e.Encode(ctx, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return time.Since(start), err
}
