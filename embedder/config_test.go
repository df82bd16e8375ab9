package embedder

import (
	"strings"
	"testing"
)

func TestValidateDefault(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesTheKey(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"encoder":          func(c *Config) { c.Encoder = "word2vec" },
		"model_name":       func(c *Config) { c.ModelName = "a/b" },
		"provider":         func(c *Config) { c.Provider = "rocm" },
		"pooling":          func(c *Config) { c.Pooling = "max" },
		"overflow":         func(c *Config) { c.Overflow = "wrap" },
		"devices":          func(c *Config) { c.Devices = []int{1, 1} },
		"sessions":         func(c *Config) { c.Threads, c.Sessions = 2, 3 },
		"graph_cache":      func(c *Config) { c.GraphCache, c.Provider = "/tmp", ProviderCUDA },
		"gpu.bucket":       func(c *Config) { c.GPU.Bucket = 0 },
		"gpu.arena":        func(c *Config) { c.GPU.Arena = "big" },
		"gpu.fp16":         func(c *Config) { c.GPU.FP16 = true },
		"intra_threads":    func(c *Config) { c.IntraThreads = 0 },
		"optimization":     func(c *Config) { c.Optimization = "most" },
		"gpu.memory_bytes": func(c *Config) { c.GPU.MemoryBytes = -1 },
		"max_tokens":       func(c *Config) { c.MaxTokens = -1 },
		"dimensions":       func(c *Config) { c.Dimensions = 64; c.Normalize = false },
		"threads":          func(c *Config) { c.Threads = -1 },
		"run_tokens":       func(c *Config) { c.RunTokens = -1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	err := Config{}.Validate()
	for _, key := range []string{"encoder: ", "provider: ", "pooling: ", "overflow: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%q is missing in %v", key, err)
		}
	}
}
