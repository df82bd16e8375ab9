//go:build !race

package embedder

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
)

// The process stays as large as it is. The race detector's shadow memory
// comes and goes by more than a leak would show, so this runs without it.
func TestMemoryStaysFlat(t *testing.T) {
	e := openTiny(t, func(c *Config) { c.Threads = 2 })
	step := func(n int) {
		for range n {
			encode(t, e, "the index", "a model of every chunk")
		}
	}
	step(5000)
	before := residentBytes(t)
	step(20_000)
	// Each call makes three tensors or more; undestroyed they would come to
	// some 15 MB beside their data.
	if grown := residentBytes(t) - before; grown > 6<<20 {
		t.Errorf("20,000 calls grew the process by %d kB", grown>>10)
	}
}

func residentBytes(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory() // what the collector has not got round to is no leak
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
