//go:build !hftokenizers

package embedder

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A model whose tokenizer this build does not have is refused at the start.
func TestModelWithoutTheLibraryIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("needs what `make setup` fetches")
	}
	cfg := DefaultConfig()
	cfg.ModelDir, cfg.ModelName = tinyBPE(t), "tiny-bpe"
	e, err := NewONNX(cfg, nil, prometheus.NewRegistry())
	if err == nil {
		_ = e.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "model BPE") || !strings.Contains(err.Error(), "TAGS=hftokenizers") {
		t.Errorf("error %v, want it to name BPE and the build to make", err)
	}
}
