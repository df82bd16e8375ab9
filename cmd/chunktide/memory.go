package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"

	"chunktide/configs"
)

// boundMemory makes the garbage collector keep to limits.memory, less what the
// model holds outside its reach. resident is what the process holds now, with
// the model loaded and little else; 0 if that is not known.
func boundMemory(cfg configs.Config, resident configs.Bytes) error {
	limit := cfg.Limits.Memory
	if limit == 0 {
		return nil
	}
	foreign := max(0, resident-goBytes())
	// The collector may overshoot for a moment, and the model's own buffers
	// grow with the first batches.
	ours := limit - limit/10 - foreign
	if need := cfg.MemoryNeed(); ours < need {
		return fmt.Errorf("limits.memory is %s, of which the model takes %s: that leaves %s for the rest, which the settings allow %s: raise it, "+
			"or lower cache.memory_bytes or kafka.buffer_bytes", limit, foreign, max(0, ours), need)
	}
	debug.SetMemoryLimit(int64(ours))
	return nil
}

// goBytes is what the Go runtime holds, mapped and not returned.
func goBytes() configs.Bytes {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return configs.Bytes(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// residentBytes is what the process holds resident, 0 where the system does
// not tell.
func residentBytes() configs.Bytes {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0
	}
	return configs.Bytes(resident * int64(os.Getpagesize()))
}
