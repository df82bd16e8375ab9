package embedder

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"
)

// signature is what a model takes and gives, by its own metadata.
type signature struct {
	inputs []string // in the model's order
	output string
	pooled bool // the output is [texts, hidden], else [texts, tokens, hidden]
	hidden int
}

// The inputs that can be filled. Position ids count from 0.
const (
	inputIDs       = "input_ids"
	inputMask      = "attention_mask"
	inputTypes     = "token_type_ids"
	inputPositions = "position_ids"
)

// understand reads a model's signature, or says what was found that does not
// fit. Hidden is the size of a token's vector by config.json, for models that
// do not say; 0: unknown.
func understand(inputs, outputs []ort.InputOutputInfo, hidden int) (signature, error) {
	var sig signature
	refuse := func(why string) (signature, error) {
		return signature{}, fmt.Errorf("model.onnx: %s: it has the inputs %s and the outputs %s", why, ports(inputs), ports(outputs))
	}
	for _, in := range inputs {
		if !slices.Contains([]string{inputIDs, inputMask, inputTypes, inputPositions}, in.Name) {
			return refuse("input " + in.Name + " is unknown (known are input_ids, attention_mask, token_type_ids, position_ids)")
		}
		if in.DataType != ort.TensorElementDataTypeInt64 || len(in.Dimensions) != 2 {
			return refuse("input " + in.Name + " is not int64 [texts, tokens]")
		}
		if in.Dimensions[0] > 0 || in.Dimensions[1] > 0 {
			return refuse("input " + in.Name + " has a fixed shape; export it with dynamic axes")
		}
		sig.inputs = append(sig.inputs, in.Name)
	}
	if !slices.Contains(sig.inputs, inputIDs) {
		return refuse("there is no input input_ids")
	}
	out := pick(outputs, 3, "last_hidden_state", "token_embeddings")
	if out == nil {
		out = pick(outputs, 2, "sentence_embedding", "sentence_embeddings", "pooler_output")
		sig.pooled = true
	}
	if out == nil {
		return refuse("no output is a float32 last_hidden_state [texts, tokens, hidden] or sentence_embedding [texts, hidden] " +
			"(a float16 model must end in a cast to float32)")
	}
	sig.output = out.Name
	sig.hidden = int(out.Dimensions[len(out.Dimensions)-1])
	if sig.hidden <= 0 {
		sig.hidden = hidden
	}
	if sig.hidden <= 0 {
		return refuse("neither it nor config.json (hidden_size) says how long a vector is")
	}
	return sig, nil
}

// pick returns the float32 output of so many dimensions that has the first of
// the names, or else is the only one.
func pick(outputs []ort.InputOutputInfo, dims int, names ...string) *ort.InputOutputInfo {
	var fits []*ort.InputOutputInfo
	for i, out := range outputs {
		if out.OrtValueType == ort.ONNXTypeTensor && out.DataType == ort.TensorElementDataTypeFloat && len(out.Dimensions) == dims {
			fits = append(fits, &outputs[i])
		}
	}
	for _, name := range names {
		for _, out := range fits {
			if out.Name == name {
				return out
			}
		}
	}
	if len(fits) == 1 {
		return fits[0]
	}
	return nil
}

func ports(infos []ort.InputOutputInfo) string {
	var parts []string
	for _, i := range infos {
		kind := strings.ToLower(strings.TrimPrefix(i.DataType.String(), "ONNX_TENSOR_ELEMENT_DATA_TYPE_"))
		parts = append(parts, fmt.Sprintf("%s %s%v", i.Name, kind, []int64(i.Dimensions)))
	}
	if len(parts) == 0 {
		return "(none)"
	}
	return strings.Join(parts, ", ")
}

// session is a graph loaded on one device. Whoever runs it at once shares one
// copy of the weights.
type session struct {
	sig     signature
	padID   int64
	ort     *ort.DynamicAdvancedSession
	buffers sync.Pool
	// alive counts what was made in C and not destroyed: memory that no
	// garbage collector frees.
	alive atomic.Int64
}

// source is what sessions are made of.
type source struct {
	path    string // of model.onnx
	library string
	cfg     Config // resolved
	sig     signature
	padID   int64
	profile profile
	graph   *graphCache // nil: none
}

// open loads the model once, on the given device.
func (src source) open(device int) (*session, error) {
	options, err := sessionOptions(src.cfg, device, src.profile)
	if err != nil {
		return nil, src.explain(err)
	}
	defer func() { _ = options.Destroy() }()
	s := &session{sig: src.sig, padID: src.padID, buffers: sync.Pool{New: func() any { return new(buffer) }}}
	if src.graph != nil {
		s.ort, err = src.graph.open(src, options)
	} else {
		s.ort, err = ort.NewDynamicAdvancedSession(src.path, src.sig.inputs, []string{src.sig.output}, options)
	}
	if err != nil {
		return nil, src.explain(err)
	}
	return s, nil
}

// explain says what to do about a session that could not be made.
func (src source) explain(err error) error {
	if src.cfg.gpu() {
		return explainProvider(src.cfg.Provider, src.library, err)
	}
	return fmt.Errorf("model.onnx: load: %w", err)
}

// signatureOf reads a model's signature; hidden is as for understand.
func signatureOf(path string, hidden int) (signature, error) {
	inputs, outputs, err := describe(path)
	if err != nil {
		return signature{}, fmt.Errorf("model.onnx: %w", err)
	}
	return understand(inputs, outputs, hidden)
}

// describe reads the inputs and outputs of a model, unoptimized, since that
// costs a third of the time and nothing runs here.
func describe(path string) (in, out []ort.InputOutputInfo, err error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	err = errors.Join(options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll),
		options.SetIntraOpNumThreads(1), options.SetCpuMemArena(false))
	if err != nil {
		return nil, nil, err
	}
	return ort.GetInputOutputInfoWithOptions(path, options)
}

// optimizations are ONNX Runtime's levels by the names of the setting.
var optimizations = map[string]ort.GraphOptimizationLevel{
	OptimizationNone:     ort.GraphOptimizationLevelDisableAll,
	OptimizationBasic:    ort.GraphOptimizationLevelEnableBasic,
	OptimizationExtended: ort.GraphOptimizationLevelEnableExtended,
	OptimizationAll:      ort.GraphOptimizationLevelEnableAll,
}

func sessionOptions(cfg Config, device int, p profile) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		o.SetGraphOptimizationLevel(optimizations[cfg.Optimization]),
		// With one thread a run computes on the goroutine that calls it.
		o.SetIntraOpNumThreads(cfg.IntraThreads),
		o.SetInterOpNumThreads(1),
		// A thread that spins takes its core from another run.
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		o.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
		o.SetCpuMemArena(cfg.Arena),
		o.SetMemPattern(false), // it plans for shapes that come again; ours do not
		o.SetLogSeverityLevel(ort.LoggingLevelFatal),
	)
	if err == nil {
		err = appendProvider(o, cfg, device, p)
	}
	if err != nil {
		return nil, errors.Join(err, o.Destroy())
	}
	return o, nil
}

func (s *session) close() error { return s.ort.Destroy() }

// buffer is the memory of one run, used again by later ones.
type buffer struct {
	ids, mask, types, positions []int64
	out                         []float32
}

func (b *buffer) fill(r run, padID int64, inputs []string) {
	n := r.padded()
	b.ids, b.mask = sized(b.ids, n), sized(b.mask, n)
	b.types, b.positions = sized(b.types, n), sized(b.positions, n)
	clear(b.types)
	withPositions := slices.Contains(inputs, inputPositions)
	for i, t := range r.texts {
		row := i * r.length
		copy(b.ids[row:], t.ids)
		for j := range r.length {
			mask := int64(1)
			if j >= len(t.ids) {
				mask, b.ids[row+j] = 0, padID
			}
			b.mask[row+j] = mask
			if withPositions {
				b.positions[row+j] = int64(j)
			}
		}
	}
}

func (b *buffer) input(name string) []int64 {
	switch name {
	case inputIDs:
		return b.ids
	case inputMask:
		return b.mask
	case inputTypes:
		return b.types
	default:
		return b.positions
	}
}

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// run implements [model].
func (s *session) run(ctx context.Context, r run, use func(out []float32)) (err error) {
	b := s.buffers.Get().(*buffer)
	defer s.buffers.Put(b)
	b.fill(r, s.padID, s.sig.inputs)
	options, free, err := s.cancelable(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()

	// C keeps the addresses of these slices until the tensors are destroyed.
	var pins runtime.Pinner
	defer pins.Unpin()
	var tensors []ort.Value
	defer func() {
		for _, t := range tensors {
			err = errors.Join(err, t.Destroy())
			s.alive.Add(-1)
		}
	}()

	shape := ort.NewShape(int64(len(r.texts)), int64(r.length))
	for _, name := range s.sig.inputs {
		data := b.input(name)
		pins.Pin(&data[0])
		t, err := ort.NewTensor(shape, data)
		if err != nil {
			return err
		}
		s.alive.Add(1)
		tensors = append(tensors, t)
	}
	if s.sig.pooled {
		shape = ort.NewShape(int64(len(r.texts)), int64(s.sig.hidden))
	} else {
		shape = ort.NewShape(int64(len(r.texts)), int64(r.length), int64(s.sig.hidden))
	}
	b.out = sized(b.out, int(shape.FlattenedSize()))
	pins.Pin(&b.out[0])
	out, err := ort.NewTensor(shape, b.out)
	if err != nil {
		return err
	}
	s.alive.Add(1)
	tensors = append(tensors, out)

	last := len(tensors) - 1
	if err := s.ort.RunWithOptions(tensors[:last], tensors[last:], options); err != nil {
		return err
	}
	use(b.out)
	return nil
}

// cancelable returns options that stop the run that uses them when ctx ends,
// and the function that frees them. They are nil for a context that cannot
// end.
func (s *session) cancelable(ctx context.Context) (*ort.RunOptions, func() error, error) {
	if ctx.Done() == nil {
		return nil, func() error { return nil }, nil
	}
	options, err := ort.NewRunOptions()
	if err != nil {
		return nil, nil, err
	}
	s.alive.Add(1)
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		_ = options.Terminate() // it fails on freed options only
	})
	return options, func() error {
		if !stop() {
			<-over
		}
		s.alive.Add(-1)
		return options.Destroy()
	}, nil
}
