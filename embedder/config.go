package embedder

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// The encoders.
const (
	EncoderONNX = "onnx"
	EncoderBow  = "bow"
)

// The execution providers.
const (
	ProviderCPU      = "cpu"
	ProviderCUDA     = "cuda"
	ProviderTensorRT = "tensorrt"
)

// Pooling makes one vector out of the vectors of a text's tokens.
type Pooling = string

// The poolings. PoolAuto is for configuration only; PoolGraph stands in the
// recipe of a model that pools by itself.
const (
	PoolAuto  Pooling = "auto"
	PoolMean  Pooling = "mean"
	PoolCLS   Pooling = "cls"
	PoolLast  Pooling = "last"
	PoolGraph Pooling = "graph"
)

// Overflow is what happens to a text of more tokens than the model takes.
type Overflow = string

// The policies.
const (
	OverflowTruncate Overflow = "truncate" // the end is cut off, and the embedding says so
	OverflowError    Overflow = "error"    // the text is rejected as too_many_tokens
)

// Config says which encoder to use and how. Everything from Pooling to
// Dimensions is part of the recipe: changing it makes a new model_version,
// and with it a new index.
type Config struct {
	// Encoder is onnx (a model here), remote (a service over HTTP) or bow (a
	// stand-in without a model). Bow heeds nothing but ModelName; remote
	// heeds Remote, ModelName, Normalize, the prefixes, Overflow and Dimensions.
	Encoder string `mapstructure:"encoder"`
	// ModelDir holds model.onnx (or onnx/model.onnx) and tokenizer.json, as
	// exporters write them. Empty: the model that `make setup` fetched.
	ModelDir string `mapstructure:"model_dir"`
	// FilesSHA256 pins the files of ModelDir that determine a vector: model.onnx,
	// tokenizer.json and the files of weights that the model refers to, each as
	// name=SHA-256 (sha256sum prints it). If any is given, all of them are
	// needed, and a file that is another is refused before ONNX Runtime reads
	// it. Without it the collection pins the model at its first start.
	FilesSHA256 []string `mapstructure:"files_sha256"`
	// ModelName begins the model_version. Empty: the folder's name.
	ModelName string `mapstructure:"model_name"`
	// ONNXRuntimeLibrary is the path of libonnxruntime.so. Empty: the first that
	// is found beside the binary, in the checkout's .cache, on LD_LIBRARY_PATH,
	// or in the system's folders.
	ONNXRuntimeLibrary string `mapstructure:"onnxruntime_library"`
	// Provider is cpu, cuda or tensorrt.
	Provider string `mapstructure:"provider"`
	// Devices are the numbers of the GPUs to use, as CUDA counts them. A CPU is
	// one device and heeds none.
	Devices []int `mapstructure:"devices"`

	// Pooling is auto, mean, cls or last. Auto does what the model's
	// sentence-transformers configuration says, else mean.
	Pooling Pooling `mapstructure:"pooling"`
	// Normalize scales every vector to length 1.
	Normalize bool `mapstructure:"normalize"`
	// Prefix is put before every document ("passage: ", …).
	Prefix string `mapstructure:"prefix"`
	// QueryPrefix is put before every query ("query: ", …). It is not part of
	// the recipe, since no stored vector depends on it.
	QueryPrefix string `mapstructure:"query_prefix"`
	// MaxTokens is the most tokens of a text that the model reads, prefix and
	// special tokens included. 0: as many as the model's files say.
	MaxTokens int `mapstructure:"max_tokens"`
	// Overflow is what becomes of a longer text: truncate, or error, which sends
	// it to the dead letters.
	Overflow Overflow `mapstructure:"overflow"`
	// Dimensions keeps the first so many of a vector's values and scales them
	// to length 1 again, for models trained for it (Matryoshka
	// representation learning, arXiv 2205.13147). 0: all.
	Dimensions int `mapstructure:"dimensions"`
	// Matryoshka lists the dimensions that the model was trained to be cut to,
	// as its model card says. It permits an index to be cut to one of them
	// without the model (chunktide migrate --dimensions): a model that was not
	// trained for it loses more than it need. It is not part of the recipe.
	Matryoshka []int `mapstructure:"matryoshka"`

	// CompatibleWith lists the model_versions whose vectors this model's queries
	// find as well, by its maker's word (backward-compatible training). It
	// permits the model to take over their collection in place of filling one of
	// its own (chunktide migrate). It is not part of the recipe.
	CompatibleWith []string `mapstructure:"compatible_with"`

	// RunTokens bounds the padded tokens of one run. Small runs keep a CPU's
	// caches warm and padding low; a GPU wants large ones. It must hold the
	// longest text. 0: 384 or one text, or 16384 on a GPU.
	RunTokens int `mapstructure:"run_tokens"`
	// Threads is how many runs of the model go on at once on each device. 0:
	// one for each core that IntraThreads leaves, or 2 on a GPU.
	Threads int `mapstructure:"threads"`
	// IntraThreads is how many threads share the work of one run on a CPU.
	// More than 1 shortens a single query; 1 gives the most texts a second.
	IntraThreads int `mapstructure:"intra_threads"`
	// Sessions is how often the model is loaded on each device; Threads are
	// spread over them. Each holds the weights once more.
	Sessions int `mapstructure:"sessions"`
	// Arena has ONNX Runtime keep a CPU's memory between runs. It then holds
	// what the largest run ever took.
	Arena bool `mapstructure:"arena"`
	// Optimization is ONNX Runtime's graph optimization level: none, basic,
	// extended or all. Like another processor, another level changes a vector
	// by some 1e-7, which is not part of the recipe.
	Optimization string `mapstructure:"optimization"`

	// GraphCache is a folder that keeps the graph as it was optimized, for
	// provider cpu. Empty: none. It is worth it for large models, and not for those of
	// MiniLM's size (BenchmarkStart measures it).
	GraphCache string `mapstructure:"graph_cache"`

	GPU    GPU          `mapstructure:"gpu"`
	Remote RemoteConfig `mapstructure:"remote"`
}

// GPU are the settings of the providers cuda and tensorrt.
type GPU struct {
	// MemoryBytes is the most memory that CUDA's arena takes on each device for
	// each session, weights included. 0: no bound.
	MemoryBytes int64 `mapstructure:"memory_bytes"`
	// Arena says how that memory grows: by what a run asks for
	// (same_as_requested), which leaves most to others on the card, or
	// doubling (next_power_of_two), which asks the driver less often.
	Arena string `mapstructure:"arena"`
	// FP16 lets TensorRT compute in 16 bits. It makes another recipe. For CUDA
	// take a model whose weights are float16.
	FP16 bool `mapstructure:"fp16"`
	// EngineCache is the folder in which TensorRT keeps the engines it built.
	// Empty: a folder of the user's cache.
	EngineCache string `mapstructure:"engine_cache"`
	// Bucket is the step of padded lengths: few shapes mean few plans and
	// little memory lost to fragments, at the price of padding.
	Bucket int `mapstructure:"bucket"`
}

// The graph optimization levels.
const (
	OptimizationNone     = "none"
	OptimizationBasic    = "basic"
	OptimizationExtended = "extended"
	OptimizationAll      = "all"
)

// CUDA's arena strategies.
const (
	ArenaSameAsRequested = "same_as_requested"
	ArenaNextPowerOfTwo  = "next_power_of_two"
)

// DefaultConfig encodes on the CPU, with what `make setup` fetched.
func DefaultConfig() Config {
	return Config{
		Encoder:        EncoderONNX,
		Provider:       ProviderCPU,
		Devices:        []int{0},
		Pooling:        PoolAuto,
		Normalize:      true,
		Overflow:       OverflowTruncate,
		FilesSHA256:    []string{},
		CompatibleWith: []string{},
		Matryoshka:     []int{},
		// One copy of the weights, and a thread for each run. BenchmarkSessions
		// compares the alternatives on a machine.
		IntraThreads: 1,
		Sessions:     1,
		Optimization: OptimizationAll,
		Remote:       defaultRemote(),
		GPU:          GPU{Arena: ArenaSameAsRequested, Bucket: 8},
	}
}

// nameForm keeps a model_version usable in a collection's name.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate returns every problem of c that shows without reading the model.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !slices.Contains([]string{EncoderONNX, EncoderRemote, EncoderBow}, c.Encoder) {
		bad("encoder: %q is none of onnx, remote, bow", c.Encoder)
	}
	if c.Encoder == EncoderRemote {
		errs = append(errs, c.validateRemote()...)
	}
	if _, err := c.pins(); err != nil {
		errs = append(errs, err)
	}
	if c.ModelName != "" && !nameForm.MatchString(c.ModelName) {
		bad("model_name: %q must be at most 64 letters, digits, dots, hyphens and underscores, the first a letter or digit", c.ModelName)
	}
	if !slices.Contains([]string{ProviderCPU, ProviderCUDA, ProviderTensorRT}, c.Provider) {
		bad("provider: %q is none of cpu, cuda, tensorrt", c.Provider)
	}
	if !slices.Contains([]Pooling{PoolAuto, PoolMean, PoolCLS, PoolLast}, c.Pooling) {
		bad("pooling: %q is none of auto, mean, cls, last", c.Pooling)
	}
	if !slices.Contains([]Overflow{OverflowTruncate, OverflowError}, c.Overflow) {
		bad("overflow: %q is none of truncate, error", c.Overflow)
	}
	if _, ok := optimizations[c.Optimization]; !ok {
		bad("optimization: %q is none of none, basic, extended, all", c.Optimization)
	}
	if _, ok := arenas[c.GPU.Arena]; !ok {
		bad("gpu.arena: %q is none of same_as_requested, next_power_of_two", c.GPU.Arena)
	}
	for i, d := range c.Devices {
		if d < 0 || slices.Contains(c.Devices[:i], d) {
			bad("devices: %v must be different numbers, from 0", c.Devices)
			break
		}
	}
	if len(c.Devices) == 0 && c.gpu() {
		bad("devices: name a GPU, such as 0")
	}
	for _, n := range []struct {
		key          string
		value, least int64
	}{
		{"max_tokens", int64(c.MaxTokens), 0},
		{"dimensions", int64(c.Dimensions), 0},
		{"threads", int64(c.Threads), 0},
		{"run_tokens", int64(c.RunTokens), 0},
		{"gpu.memory_bytes", c.GPU.MemoryBytes, 0},
		{"intra_threads", int64(c.IntraThreads), 1},
		{"sessions", int64(c.Sessions), 1},
		{"gpu.bucket", int64(c.GPU.Bucket), 1},
	} {
		if n.value < n.least {
			bad("%s: must be %d or more", n.key, n.least)
		}
	}
	if c.Threads > 0 && c.Sessions > c.Threads {
		bad("sessions: %d are more than the %d threads that use them", c.Sessions, c.Threads)
	}
	if c.GraphCache != "" && c.gpu() {
		bad("graph_cache: only the provider cpu has a graph to keep; tensorrt keeps its engines by itself")
	}
	if c.GPU.FP16 && c.Provider != ProviderTensorRT {
		bad("gpu.fp16: only the provider tensorrt can compute a model of another precision in 16 bits; for %s take a float16 model", c.Provider)
	}
	for _, d := range c.Matryoshka {
		if d < 1 {
			bad("matryoshka: %d is no number of dimensions", d)
		}
	}
	if c.Dimensions > 0 && !c.Normalize {
		bad("dimensions: a cut vector must be scaled again, so normalize must be true")
	}
	return errors.Join(errs...)
}

func (c Config) gpu() bool { return c.Provider != ProviderCPU }
