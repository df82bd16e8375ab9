package embedder

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"chunktide/chunk"
)

// Runs that the device has no memory for go in parts, and later ones are
// small from the start.
func TestOutOfMemoryMakesSmallerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeModel{room: 130}
		e := fakeONNX(2, shapes{budget: 1000, texts: 1000, step: 1, longest: 100, lanes: 1}, m)
		var log bytes.Buffer
		e.scarcity.logger = slog.New(slog.NewTextHandler(&log, nil))
		texts := make([]string, 200)
		for i := range texts {
			texts[i] = letters(10)
		}
		encode(t, e, texts...)
		if bound := e.scarcity.tokens(); bound > 130 || bound < 130/2 {
			t.Errorf("runs are bound to %d padded tokens, and there is room for 130", bound)
		}
		if got, want := testutil.ToFloat64(e.metrics.runTokens), float64(e.scarcity.tokens()); got != want {
			t.Errorf("the metric says %v, want %v", got, want)
		}
		failed := testutil.ToFloat64(e.metrics.outOfMemory)
		if lines := strings.Count(log.String(), "run_tokens="); lines == 0 || lines > 4 {
			t.Errorf("%d warnings: want one for each new bound:\n%s", lines, log.String())
		}
		m.runs = nil
		encode(t, e, texts...)
		for _, r := range m.runs {
			if r.padded() > e.scarcity.tokens() {
				t.Errorf("%d padded tokens, though the device ran out of memory before", r.padded())
			}
		}
		if again := testutil.ToFloat64(e.metrics.outOfMemory); failed == 0 || again != failed {
			t.Errorf("out of memory %v times, then %v", failed, again)
		}
	})
}

// One text that has no room is refused; if none has, it is the device.
func TestOneTextWithoutMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeONNX(2, cpuShapes(1000, 100, 2), &fakeModel{room: 50})
		out, err := e.Encode(t.Context(), []string{letters(10), letters(90), letters(20)})
		var refused *chunk.Rejected
		if !errors.As(err, &refused) || len(refused.Texts) != 1 || refused.Texts[1] == nil {
			t.Fatalf("%v, want text 1 refused", err)
		}
		reason, _ := chunk.ReasonOf(refused.Texts[1])
		if says := refused.Texts[1].Error(); reason != chunk.ReasonEncoderRefused || !strings.Contains(says, "90 tokens") || !strings.Contains(says, "max_tokens") {
			t.Errorf("%s: %s", reason, says)
		}
		if out[0].Vector == nil || out[2].Vector == nil {
			t.Error("the texts that had room were not served")
		}

		_, err = e.Encode(t.Context(), []string{letters(90), letters(80)})
		if reason, ok := chunk.ReasonOf(err); !ok || reason != chunk.ReasonEncoderRefused || errors.As(err, &refused) {
			t.Errorf("nothing had room, and the texts were blamed: %v", err)
		}
	})
}

// A GPU is asked for the largest runs at the start.
func TestWarmUpFindsTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := shapes{budget: 1000, texts: 125, step: 8, longest: 100, lanes: 1, least: 1000}
		e := fakeONNX(2, limits, &fakeModel{room: 260})
		e.cfg.Provider = ProviderCUDA
		if err := e.warmUp("/lib/libonnxruntime.so"); err != nil || e.scarcity.tokens() != 250 {
			t.Errorf("%v, runs are bound to %d padded tokens", err, e.scarcity.tokens())
		}
		e = fakeONNX(2, limits, &fakeModel{room: 60})
		e.cfg.Provider = ProviderCUDA
		if err := e.warmUp("/lib/libonnxruntime.so"); err == nil || !strings.Contains(err.Error(), "max_tokens") {
			t.Errorf("a device that cannot hold the longest text: %v", err)
		}
	})
}

func TestOutOfMemoryIsRecognised(t *testing.T) {
	for message, want := range map[string]bool{
		"Non-zero status code returned while running Attention node. Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 939524096": true,
		"onnxruntime::BFCArena::AllocateRawInternal Available memory of 19968 is smaller than requested bytes of 1572864":                                                                                                                                                          true,
		"CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc((void**)&p, size);":                                                                                                                                                                                  true,
		"CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);":                                                                                                                                                                               true,
		"std::bad_alloc": true,
		"Got invalid dimensions for input: attention_mask for the following indices":       false,
		"CUDA failure 700: an illegal memory access was encountered ; GPU=0":               false,
		"Exiting due to terminate flag being set to true.":                                 false,
		"indices element out of data bounds, idx=40000 must be within the inclusive range": false,
	} {
		if got := outOfMemory(errors.New(message)); got != want {
			t.Errorf("%v for %q", got, message)
		}
	}
}

// A bound that some text would break is refused; the default never is.
func TestARunMustHoldTheLongestText(t *testing.T) {
	cfg := DefaultConfig()
	for tokens, fits := range map[int]bool{0: true, 255: false, 256: true, 4096: true} {
		cfg.RunTokens = tokens
		_, err := cfg.resolved().shapes(256, 512)
		if fits != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), "run_tokens: ") {
			t.Errorf("run_tokens %d with texts of 256 tokens: %v", tokens, err)
		}
	}
	cfg.RunTokens = 0
	if _, err := cfg.resolved().shapes(8192, 8194); err != nil {
		t.Errorf("the default for long texts: %v", err)
	}
	cfg.Provider = ProviderCUDA
	if s, err := cfg.resolved().shapes(30000, 30000); err != nil || s.budget < s.longest {
		t.Errorf("the default for texts longer than a GPU's runs: %+v, %v", s, err)
	}
}
