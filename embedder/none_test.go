package embedder

import (
	"log/slog"
	"testing"
	"time"
)

// Where there is no encoder, there is nil: a caller that cleans up closes what
// is not.
func TestAnEncoderThatFailsIsNone(t *testing.T) {
	onnx, remote := DefaultConfig(), DefaultConfig()
	onnx.ModelDir = t.TempDir()
	remote.Encoder, remote.Remote.URL, remote.Remote.StartTimeout = EncoderRemote, "http://127.0.0.1:1", time.Millisecond
	unknown := DefaultConfig()
	unknown.Encoder = "abacus"
	for name, cfg := range map[string]Config{"onnx": onnx, "remote": remote, "unknown": unknown} {
		if e, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler), nil); err == nil || e != nil {
			t.Errorf("%s: %#v, %v", name, e, err)
		}
	}
}
