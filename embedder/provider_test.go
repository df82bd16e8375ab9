package embedder

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

func TestCUDAOptions(t *testing.T) {
	cfg := DefaultConfig()
	want := map[string]string{"device_id": "3", "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}
	if got := cudaOptions(cfg, 3); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	cfg.GPU.MemoryBytes, cfg.GPU.Arena = 4<<30, ArenaNextPowerOfTwo
	want = map[string]string{"device_id": "0", "arena_extend_strategy": "kNextPowerOfTwo", "use_tf32": "0", "gpu_mem_limit": "4294967296"}
	if got := cudaOptions(cfg, 0); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTensorRTOptions(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Provider, cfg.GPU.FP16, cfg.GPU.MemoryBytes = ProviderTensorRT, true, 1<<30
	limits, err := cfg.resolved().shapes(250, 512)
	if err != nil {
		t.Fatal(err)
	}
	got := tensorRTOptions(cfg, 1, profile{shapes: limits, inputs: []string{inputIDs, inputMask}, engines: "/engines"})
	want := map[string]string{
		"device_id":               "1",
		"trt_engine_cache_enable": "1",
		"trt_engine_cache_path":   "/engines",
		"trt_timing_cache_enable": "1",
		"trt_timing_cache_path":   "/engines",
		"trt_profile_min_shapes":  "input_ids:1x8,attention_mask:1x8",
		"trt_profile_opt_shapes":  "input_ids:128x128,attention_mask:128x128",
		"trt_profile_max_shapes":  "input_ids:256x256,attention_mask:256x256",
		"trt_fp16_enable":         "1",
		"trt_max_workspace_size":  "1073741824",
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

// Every run that is planned lies within the profile that TensorRT built its
// engine for, else it would build another in the middle of the work.
func TestPlannedRunsFitTensorRTsProfile(t *testing.T) {
	for _, tokens := range []int{0, 600, 16384, 100_000} {
		cfg := DefaultConfig()
		cfg.Provider, cfg.RunTokens = ProviderTensorRT, tokens
		limits, err := cfg.resolved().shapes(250, 512)
		if err != nil {
			t.Fatal(err)
		}
		texts := make([]text, 5000)
		for i := range texts {
			texts[i] = text{index: i, ids: make([]int64, 1+i%250)}
		}
		for _, r := range plan(texts, limits) {
			if len(r.texts) > limits.texts || r.length < limits.step || r.length > limits.longest || r.length%limits.step != 0 {
				t.Fatalf("run_tokens %d: a run of %d × %d, and the profile ends at %d × %d", tokens, len(r.texts), r.length, limits.texts, limits.longest)
			}
		}
	}
}

func TestEnginesOfModelsLieApart(t *testing.T) {
	dir := t.TempDir()
	a, err := engineCache(dir, Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := engineCache(dir, Digest{2})
	if err != nil || a == b || filepath.Dir(a) != dir {
		t.Errorf("%s and %s: %v", a, b, err)
	}
	t.Setenv("XDG_CACHE_HOME", dir)
	if got, err := engineCache("", Digest{1}); err != nil || !strings.HasPrefix(got, dir) {
		t.Errorf("%s: %v", got, err)
	}
}

// TensorRT in 16 bits is another recipe.
func TestFP16IsAnotherRecipe(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Provider = ProviderTensorRT
	plain := Recipe{Precision: cfg.precision()}
	cfg.GPU.FP16 = true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if half := (Recipe{Precision: cfg.precision()}); half.Digest() == plain.Digest() || half.Precision != "float16" {
		t.Errorf("%q and %q", half.Precision, plain.Precision)
	}
}

// Several devices and sessions take turns.
func TestLanesGoRoundTheDevices(t *testing.T) {
	a, b, c, d := &fakeModel{}, &fakeModel{}, &fakeModel{}, &fakeModel{}
	cfg := DefaultConfig()
	cfg.Provider, cfg.Devices, cfg.Sessions, cfg.Threads = ProviderCUDA, []int{0, 1}, 2, 3
	e := &ONNX{cfg: cfg, models: []model{a, b, c, d}, metrics: newMetrics(nil)}
	e.prepare(nil)
	want := []model{a, c, b, d, a, c} // device 0 has a and b, device 1 has c and d
	for i, m := range e.lanes.free {
		if m != want[i] {
			t.Errorf("lane %d has another model", i)
		}
	}
	if e.width != 6 {
		t.Errorf("%d lanes", e.width)
	}
}
