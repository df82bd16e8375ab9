package embedder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// appendProvider puts the execution provider that cfg names into the options
// of a session; the CPU needs none.
func appendProvider(o *ort.SessionOptions, cfg Config, p profile) error {
	if cfg.Provider == ProviderTensorRT {
		if err := appendTensorRT(o, cfg, p); err != nil {
			return err
		}
	}
	if cfg.gpu() { // TensorRT leaves to CUDA what it cannot do
		return appendCUDA(o, cfg)
	}
	return nil
}

func appendCUDA(o *ort.SessionOptions, cfg Config) (err error) {
	options, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	err = options.Update(map[string]string{
		"device_id": strconv.Itoa(cfg.DeviceID),
		// Grow by what is asked for, not by powers of two: the card is shared
		// with others more often than not.
		"arena_extend_strategy": "kSameAsRequested",
		// TF32 has 10 bits of mantissa: another precision than the recipe's.
		"use_tf32": "0",
	})
	// Append returns nil even after a failed Update, so this one decides.
	if err != nil {
		return fmt.Errorf("set the options of CUDA: %w", err)
	}
	return o.AppendExecutionProviderCUDA(options)
}

// profile is what TensorRT wants to know to build an engine.
type profile struct {
	shapes
	inputs []string
	cache  string // folder for engines, since building one takes minutes
}

func (p profile) of(texts, tokens int) string {
	parts := make([]string, len(p.inputs))
	for i, name := range p.inputs {
		parts[i] = fmt.Sprintf("%s:%dx%d", name, texts, tokens)
	}
	return strings.Join(parts, ",")
}

func appendTensorRT(o *ort.SessionOptions, cfg Config, p profile) (err error) {
	options, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	err = options.Update(map[string]string{
		"device_id":               strconv.Itoa(cfg.DeviceID),
		"trt_engine_cache_enable": "1",
		"trt_engine_cache_path":   p.cache,
		"trt_profile_min_shapes":  p.of(1, 1),
		"trt_profile_opt_shapes":  p.of(min(p.texts, 64), min(p.longest, 128)),
		"trt_profile_max_shapes":  p.of(p.texts, p.longest),
	})
	if err != nil {
		return fmt.Errorf("set the options of TensorRT: %w", err)
	}
	return o.AppendExecutionProviderTensorRT(options)
}

// missingLibrary finds the name in the dynamic loader's message.
var missingLibrary = regexp.MustCompile(`(lib[\w.+-]+\.so[\w.]*): cannot open shared object file`)

// explainProvider says what a provider that could not be loaded lacks, and
// what to do. Library is the path of libonnxruntime.so.
func explainProvider(provider, library string, cause error) error {
	var lacks []string
	dir := filepath.Dir(library)
	var absent []string
	for _, name := range []string{"libonnxruntime_providers_shared.so", "libonnxruntime_providers_" + provider + ".so"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			absent = append(absent, name)
		}
	}
	if len(absent) > 0 {
		lacks = append(lacks, fmt.Sprintf("%s not in %s: set embedder.onnxruntime_library to the libonnxruntime.so of a build for GPUs "+
			"(the onnxruntime-gpu package has them all in one folder)", strings.Join(absent, " and "), dir))
	}
	if m := missingLibrary.FindStringSubmatch(cause.Error()); m != nil {
		lacks = append(lacks, fmt.Sprintf("the dynamic loader does not find %s: install the CUDA libraries (for tensorrt, TensorRT's too) and name their "+
			"folders in LD_LIBRARY_PATH before the process starts", m[1]))
	}
	if _, err := os.Stat("/proc/driver/nvidia/version"); err != nil {
		lacks = append(lacks, "no NVIDIA driver is loaded: install it, or give the container the GPU (docker: --gpus all; Kubernetes: nvidia.com/gpu)")
	}
	if len(lacks) == 0 {
		lacks = []string{"check embedder.device_id, the driver's version and the card's free memory"}
	}
	return fmt.Errorf("provider: %s cannot be used: %w; %s; or set embedder.provider to cpu",
		provider, cause, strings.Join(lacks, "; "))
}
