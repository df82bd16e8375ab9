//go:build hftokenizers && !race

package tokenizer

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// resident is the memory of this process in pages.
func resident(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatalf("memory is read from /proc: %v", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// Nothing that crosses the border is left behind: neither tokenizers nor what
// texts need. The control keeps the tokenizers, and memory grows.
func TestMemoryStaysFlat(t *testing.T) {
	data := family(t, "bpe-qwen")
	texts := parityTexts(t, folders()[0])[:100]
	var kept []Tokenizer
	round := func(loads int, keep bool) {
		for range loads {
			tok := viaLibrary(t, data)
			for _, text := range texts {
				tok.Encode(nil, text, 0)
			}
			if keep {
				kept = append(kept, tok)
			}
			collect(tok.(*library), keep)
		}
		debug.FreeOSMemory()
	}
	const loads = 60
	round(loads, false)
	before := resident(t)
	round(loads, false)
	grown := resident(t) - before
	round(loads, true)
	control := resident(t) - before
	t.Logf("%d tokenizers: %d kB if dropped, %d kB if kept", loads, grown>>10, control>>10)
	if grown > control/4 {
		t.Errorf("memory grew by %d bytes over %d dropped tokenizers; keeping them costs %d", grown, loads, control)
	}
	runtime.KeepAlive(kept)
}

// collect waits until what the tokenizer holds is freed.
func collect(tok *library, keep bool) {
	if keep {
		return
	}
	freed := make(chan struct{})
	runtime.AddCleanup(tok, func(done chan struct{}) { close(done) }, freed)
	for {
		runtime.GC()
		select {
		case <-freed:
			return
		default:
		}
	}
}
