package embedder

import (
	"log/slog"
	"strings"
	"sync"
)

// allocationFailures are the parts of ONNX Runtime's messages that say that
// there was no memory; it has no error code for that. They are those of its
// arena (bfc_arena.cc), of CUDA, cuBLAS and cuDNN as cuda_call.cc reports them,
// of TensorRT, and of C++ on a CPU.
var allocationFailures = []string{
	"failed to allocate memory",
	"is smaller than requested bytes",
	"out of memory",
	"outofmemory",
	"cudaerrormemoryallocation",
	"cublas_status_alloc_failed",
	"cudnn_status_alloc_failed",
	"cudnn_status_internal_error_device_allocation_failed",
	"std::bad_alloc",
	"bad allocation",
}

// outOfMemory reports whether a run failed for want of memory.
func outOfMemory(err error) bool {
	message := strings.ToLower(err.Error())
	for _, part := range allocationFailures {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}

// scarcity remembers what the device had no memory for.
type scarcity struct {
	logger  *slog.Logger // may be nil
	metrics *metrics

	mu    sync.Mutex
	bound int // padded tokens of a run
}

func newScarcity(bound int, logger *slog.Logger, m *metrics) *scarcity {
	m.runTokens.Set(float64(bound))
	return &scarcity{bound: bound, logger: logger, metrics: m}
}

// tokens is the most padded tokens that a run of several texts may have.
func (s *scarcity) tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bound
}

// failed notes that there was no memory for a run of so many padded tokens:
// from now on runs have half of that at most. It does not rise again before
// the process ends, since what else is on the device may want its room back.
func (s *scarcity) failed(padded int, cause error) {
	s.metrics.outOfMemory.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	half := max(padded/2, 1)
	if half >= s.bound {
		return // another lane has seen to it
	}
	s.bound = half
	s.metrics.runTokens.Set(float64(half))
	if s.logger != nil {
		s.logger.Warn("the device has no memory for a run of the model: runs are smaller from now on; set embedder.run_tokens to the new bound to begin with it",
			"padded_tokens", padded, "run_tokens", half, "error", cause)
	}
}
