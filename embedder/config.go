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
	// Encoder is onnx or bow. Bow heeds nothing but ModelName.
	Encoder string `mapstructure:"encoder"`
	// ModelDir holds model.onnx (or onnx/model.onnx) and tokenizer.json, as
	// exporters write them. Empty: the model that `make setup` fetched.
	ModelDir string `mapstructure:"model_dir"`
	// ModelName begins the model_version. Empty: the folder's name.
	ModelName string `mapstructure:"model_name"`
	// ONNXRuntimeLibrary is the path of libonnxruntime.so. Empty: searched,
	// see [FindRuntime].
	ONNXRuntimeLibrary string `mapstructure:"onnxruntime_library"`
	// Provider is cpu, cuda or tensorrt.
	Provider string `mapstructure:"provider"`
	// DeviceID is the GPU's number.
	DeviceID int `mapstructure:"device_id"`

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
	// Overflow is truncate or error.
	Overflow Overflow `mapstructure:"overflow"`
	// Dimensions keeps the first so many of a vector's values and scales them
	// to length 1 again, for models trained for it (Matryoshka
	// representation learning, arXiv 2205.13147). 0: all.
	Dimensions int `mapstructure:"dimensions"`

	// Threads is how many runs of the model go on at once, each on a thread
	// of its own. 0: one for each core, or 2 on a GPU.
	Threads int `mapstructure:"threads"`
	// RunTokens bounds the padded tokens of one run, though a single text may
	// have more. Small runs keep a CPU's caches warm and padding low; a GPU
	// wants large ones. 0: 512, or 16384 on a GPU.
	RunTokens int `mapstructure:"run_tokens"`
}

// DefaultConfig encodes on the CPU, with what `make setup` fetched.
func DefaultConfig() Config {
	return Config{
		Encoder:   EncoderONNX,
		Provider:  ProviderCPU,
		Pooling:   PoolAuto,
		Normalize: true,
		Overflow:  OverflowTruncate,
	}
}

// nameForm keeps a model_version usable in a collection's name.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate returns every problem of c that shows without reading the model.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !slices.Contains([]string{EncoderONNX, EncoderBow}, c.Encoder) {
		bad("encoder: %q is none of onnx, bow", c.Encoder)
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
	for _, n := range []struct {
		key   string
		value int
	}{
		{"device_id", c.DeviceID},
		{"max_tokens", c.MaxTokens},
		{"dimensions", c.Dimensions},
		{"threads", c.Threads},
		{"run_tokens", c.RunTokens},
	} {
		if n.value < 0 {
			bad("%s: must not be negative", n.key)
		}
	}
	if c.Dimensions > 0 && !c.Normalize {
		bad("dimensions: a cut vector must be scaled again, so normalize must be true")
	}
	return errors.Join(errs...)
}

func (c Config) gpu() bool { return c.Provider != ProviderCPU }
