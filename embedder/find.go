package embedder

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DefaultModel is the model that `make setup` fetches and a Config without
// model_dir means.
const DefaultModel = "all-MiniLM-L6-v2"

// moduleLine tells this project's checkout from any folder that happens to
// have a .cache: a library is code, so it is not taken from just anywhere.
const moduleLine = "module chunktide"

// FindModel returns the model's folder: configured as it is when it is not
// empty, else the default model in the .cache of the checkout that the
// binary or the working directory lies in.
func FindModel(configured string) (string, error) {
	if configured != "" {
		if info, err := os.Stat(configured); err != nil || !info.IsDir() {
			return "", fmt.Errorf("model_dir: %s is not a folder: name one that holds model.onnx and tokenizer.json", configured)
		}
		return configured, nil
	}
	tried := underCheckouts(filepath.Join(".cache", "models", DefaultModel))
	for _, dir := range tried {
		if _, err := os.Stat(filepath.Join(dir, "model.onnx")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("model_dir: no model given, and none found (tried %s): run `make setup` in the checkout, or set embedder.model_dir", list(tried))
}

// FindRuntime returns the path of the ONNX Runtime library: configured as it
// is when it is not empty; else the first found beside the binary, in the
// .cache of the checkout that the binary or the working directory lies in, on
// LD_LIBRARY_PATH, and in the system's library folders.
func FindRuntime(configured string) (string, error) {
	if configured != "" {
		info, err := os.Stat(configured)
		if err != nil {
			return "", fmt.Errorf("onnxruntime_library: %w", err)
		}
		if info.IsDir() {
			return firstLibrary("onnxruntime_library: nothing like libonnxruntime.so in "+configured, []string{configured})
		}
		return filepath.Abs(configured)
	}
	var dirs []string
	if exe := executableDir(); exe != "" {
		dirs = append(dirs, exe)
	}
	for _, pattern := range underCheckouts(filepath.Join(".cache", "onnxruntime", "*")) {
		found, _ := filepath.Glob(pattern) // the pattern is well-formed, and that is its only error
		if len(found) == 0 {
			found = []string{pattern} // to name it where it is missing
		}
		dirs = append(dirs, found...)
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	dirs = append(dirs, "/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/opt/onnxruntime/lib")
	return firstLibrary("onnxruntime_library: no ONNX Runtime library given, and none found", dirs)
}

func firstLibrary(problem string, dirs []string) (string, error) {
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		for _, pattern := range []string{"libonnxruntime.so", "libonnxruntime.so.1*", "libonnxruntime.dylib"} {
			if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
				return filepath.Abs(found[len(found)-1])
			}
		}
	}
	return "", fmt.Errorf("%s (tried %s): run `make setup` in the checkout, or set embedder.onnxruntime_library", problem, list(dirs))
}

// underCheckouts is sub below each checkout of this project that the binary
// or the working directory lies in.
func underCheckouts(sub string) []string {
	var out []string
	seen := map[string]bool{}
	cwd, _ := os.Getwd()
	for _, start := range []string{executableDir(), cwd} {
		if start == "" {
			continue
		}
		for dir := start; ; dir = filepath.Dir(dir) {
			if isCheckout(dir) && !seen[dir] {
				seen[dir] = true
				out = append(out, filepath.Join(dir, sub))
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return out
}

func isCheckout(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return err == nil && string(bytes.TrimSpace(line)) == moduleLine
}

func executableDir() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	return filepath.Dir(exe)
}

func list(paths []string) string {
	if len(paths) == 0 {
		return "no place: neither the binary nor the working directory lies in a checkout"
	}
	return strings.Join(paths, ", ")
}
