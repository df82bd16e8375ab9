package embedder

import (
	"os"
	"path/filepath"
	"testing"
)

// tinyBPE is the folder of the tiny model with a BPE tokenizer.
func tinyBPE(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for to, from := range map[string]string{
		"model.onnx": "tiny/model.onnx", "config.json": "tiny/config.json", "tokenizer.json": "tiny-bpe.json",
	} {
		data, err := os.ReadFile(filepath.Join("testdata", from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
