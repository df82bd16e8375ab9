package embedder

import (
	"fmt"
	"runtime"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// apiVersion is the version of ONNX Runtime's C interface that
// onnxruntime_go v1.27.0 is made for; each library serves the older ones too.
const apiVersion = 24

// process is the ONNX Runtime of this process. There can be one only: the
// binding keeps it in variables of its own. It stays loaded until the end,
// since sessions come and go.
type process struct {
	mu     sync.Mutex
	loaded string // path of the library
}

var onnxRuntime process

// load makes the library at path ready, once.
func (p *process) load(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded == path {
		return nil
	}
	if p.loaded != "" {
		return fmt.Errorf("onnxruntime_library: %s is loaded already, and a process can load one library only, so not %s too", p.loaded, path)
	}
	ort.SetSharedLibraryPath(path)
	// Its errors come back as errors; on stderr they would only be in the way.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("onnxruntime_library: load %s: %w (wanted is ONNX Runtime 1.24 or newer, which has C API %d, built for %s/%s; "+
			"`make setup` fetches one)", path, err, apiVersion, runtime.GOOS, runtime.GOARCH)
	}
	p.loaded = path
	return nil
}
