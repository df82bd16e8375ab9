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

// appendProvider puts the execution provider that cfg names, on the given
// device, into the options of a session; the CPU needs none.
func appendProvider(o *ort.SessionOptions, cfg Config, device int, p profile) error {
	if cfg.Provider == ProviderTensorRT {
		if err := os.MkdirAll(p.engines, 0o700); err != nil {
			return fmt.Errorf("gpu.engine_cache: %w", err)
		}
		if err := appendTensorRT(o, tensorRTOptions(cfg, device, p)); err != nil {
			return err
		}
	}
	if cfg.gpu() { // TensorRT leaves to CUDA what it cannot do
		return appendCUDA(o, cudaOptions(cfg, device))
	}
	return nil
}

func appendCUDA(o *ort.SessionOptions, settings map[string]string) (err error) {
	options, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	// Append returns nil even after a failed Update, so this one decides.
	if err := options.Update(settings); err != nil {
		return fmt.Errorf("set the options of CUDA: %w", err)
	}
	return o.AppendExecutionProviderCUDA(options)
}

func appendTensorRT(o *ort.SessionOptions, settings map[string]string) (err error) {
	options, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	if err := options.Update(settings); err != nil {
		return fmt.Errorf("set the options of TensorRT: %w", err)
	}
	return o.AppendExecutionProviderTensorRT(options)
}

// cudaOptions are those of
// https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html.
func cudaOptions(cfg Config, device int) map[string]string {
	options := map[string]string{
		"device_id":             strconv.Itoa(device),
		"arena_extend_strategy": arenas[cfg.GPU.Arena],
		// TF32 has 10 bits of mantissa: another precision than the recipe's.
		"use_tf32": "0",
	}
	if cfg.GPU.MemoryBytes > 0 {
		options["gpu_mem_limit"] = strconv.FormatInt(cfg.GPU.MemoryBytes, 10)
	}
	return options
}

// arenas are CUDA's arena strategies by the names of the setting.
var arenas = map[string]string{
	ArenaSameAsRequested: "kSameAsRequested",
	ArenaNextPowerOfTwo:  "kNextPowerOfTwo",
}

// profile is what TensorRT wants to know to build an engine.
type profile struct {
	shapes
	inputs  []string
	engines string // folder for engines, since building one takes minutes
}

func (p profile) of(texts, tokens int) string {
	parts := make([]string, len(p.inputs))
	for i, name := range p.inputs {
		parts[i] = fmt.Sprintf("%s:%dx%d", name, texts, tokens)
	}
	return strings.Join(parts, ",")
}

// tensorRTOptions are those of
// https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html.
// The one profile spans every shape that a run can have, so that no run makes
// TensorRT build its engine again.
func tensorRTOptions(cfg Config, device int, p profile) map[string]string {
	options := map[string]string{
		"device_id":               strconv.Itoa(device),
		"trt_engine_cache_enable": "1",
		"trt_engine_cache_path":   p.engines,
		"trt_timing_cache_enable": "1",
		"trt_timing_cache_path":   p.engines,
		"trt_profile_min_shapes":  p.of(1, min(p.step, p.longest)),
		"trt_profile_opt_shapes":  p.of(min(p.texts, max(p.budget/min(p.longest, 128), 1)), min(p.longest, 128)),
		"trt_profile_max_shapes":  p.of(p.texts, p.longest),
	}
	if cfg.GPU.FP16 {
		options["trt_fp16_enable"] = "1"
	}
	if cfg.GPU.MemoryBytes > 0 {
		options["trt_max_workspace_size"] = strconv.FormatInt(cfg.GPU.MemoryBytes, 10)
	}
	return options
}

// engineCache is where TensorRT keeps the engines it built for a model: in the
// folder that is configured, or else in the user's cache folder.
func engineCache(configured string, model Digest) (string, error) {
	if configured == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("gpu.engine_cache: find a folder for TensorRT's engines: %w; name one", err)
		}
		configured = filepath.Join(dir, "chunktide", "tensorrt")
	}
	return filepath.Join(configured, fmt.Sprintf("%x", model[:6])), nil
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
		lacks = []string{"check embedder.devices, the driver's version and the card's free memory"}
	}
	return fmt.Errorf("provider: %s cannot be used: %w; %s; or set embedder.provider to cpu",
		provider, cause, strings.Join(lacks, "; "))
}
