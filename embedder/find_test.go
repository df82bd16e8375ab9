package embedder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindInACheckout(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(root, ".cache", "models", DefaultModel)
	library := filepath.Join(root, ".cache", "onnxruntime", "9.9.9", "libonnxruntime.so")
	deep := filepath.Join(root, "a", "b")
	for _, dir := range []string{model, filepath.Dir(library), deep} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{filepath.Join(model, "model.onnx"), library} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(deep)
	if got, err := FindModel(""); err == nil {
		t.Errorf("took %s from a folder that is no checkout of this project", got)
	} else if !strings.Contains(err.Error(), "make setup") {
		t.Errorf("the error does not help: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module chunktide\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := FindModel(""); err != nil || got != model {
		t.Errorf("model %s, %v", got, err)
	}
	if got, err := FindRuntime(""); err != nil || got != library {
		t.Errorf("library %s, %v", got, err)
	}
	if got, err := FindRuntime(filepath.Dir(library)); err != nil || got != library {
		t.Errorf("library by its folder: %s, %v", got, err)
	}
	if _, err := FindRuntime(filepath.Join(root, "nowhere.so")); err == nil || !strings.Contains(err.Error(), "onnxruntime_library") {
		t.Errorf("a library that is not there: %v", err)
	}
	if _, err := FindModel(filepath.Join(root, "nowhere")); err == nil || !strings.Contains(err.Error(), "model_dir") {
		t.Errorf("a model that is not there: %v", err)
	}
}
