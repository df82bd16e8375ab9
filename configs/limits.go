package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits bounds the process as a whole.
type Limits struct {
	// Memory bounds what the worker holds resident, model and caches included.
	// The other settings must fit into it, and the garbage collector works
	// harder the nearer it comes. Zero is no bound.
	Memory Bytes `mapstructure:"memory"`
}

// Bytes is a size. It is written as a number, or with one of the units KiB,
// MiB and GiB.
type Bytes int64

var units = []struct {
	name string
	size Bytes
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, size := strings.TrimSpace(string(text)), Bytes(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, size = strings.TrimSpace(n), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > int64(1<<62)/int64(size) {
		return fmt.Errorf("%q is not a size: want a whole number of bytes, or one like 512MiB (KiB, MiB, GiB)", text)
	}
	*b = Bytes(n) * size
	return nil
}

// String is the size in the largest unit of which it is a whole number, or has
// a hundred, rounded up: a bound and what exceeds it should not read the same.
func (b Bytes) String() string {
	for _, u := range units {
		if b >= u.size && b%u.size == 0 || b >= 100*u.size {
			return fmt.Sprintf("%d %s", (b+u.size-1)/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", int64(b))
}

// part is what one setting may take.
type part struct {
	setting string
	bytes   Bytes
}

// runtimeBytes is code, stacks and connections.
const runtimeBytes = 64 << 20

// parts lists what the settings allow a worker to hold beside its model.
func (c Config) parts() []part {
	parts := []part{
		{"cache.memory_bytes", Bytes(c.Cache.MemoryBytes)},
		// As read, and once more decoded.
		{"kafka.buffer_bytes, twice", 2 * Bytes(c.Kafka.BufferBytes)},
		{"kafka.response_max_bytes", Bytes(c.Kafka.ResponseMaxBytes)},
		{"kafka.decompress_max_bytes", Bytes(c.Kafka.DecompressMaxBytes)},
		// The points of a request, and the request as it is sent.
		{"qdrant.request_bytes, twice", 2 * Bytes(c.Qdrant.RequestBytes)},
		// A record's JSON as a tree.
		{"events.limits.record_bytes, four times", 4 * Bytes(c.Events.Limits.RecordBytes)},
		{"code and connections", runtimeBytes},
	}
	if n := c.Tracing.MemoryBytes(); n > 0 {
		parts = append(parts, part{"tracing", Bytes(n)})
	}
	return parts
}

// MemoryNeed is what the settings allow a worker to hold beside its model.
func (c Config) MemoryNeed() Bytes {
	var sum Bytes
	for _, p := range c.parts() {
		sum += p.bytes
	}
	return sum
}

// validateLimits refuses a bound that the other settings do not heed.
func (c Config) validateLimits() error {
	if c.Limits.Memory == 0 || c.MemoryNeed() <= c.Limits.Memory {
		return nil
	}
	parts := c.parts()
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.bytes, a.bytes) })
	var list []string
	for _, p := range parts {
		list = append(list, fmt.Sprintf("%s %s", p.setting, p.bytes))
	}
	return fmt.Errorf("memory: is %s, but the settings allow %s beside the model (%s): lower some of them, or raise it",
		c.Limits.Memory, c.MemoryNeed(), strings.Join(list, "; "))
}
