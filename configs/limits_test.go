package configs

import (
	"strings"
	"testing"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1048576": 1 << 20, "512MiB": 512 << 20, "2 GiB": 2 << 30, "1KiB": 1024} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "12MB", "9999999999GiB", "MiB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %d bytes", text, b)
		}
	}
}

func TestSizesAreTold(t *testing.T) {
	for size, want := range map[Bytes]string{
		0: "0 bytes", 1000: "1000 bytes", 4 << 10: "4 KiB", 512 << 20: "512 MiB", 1100 << 20: "1100 MiB", 1500 << 20: "1500 MiB", 2 << 30: "2 GiB",
		1<<20 + 1: "1025 KiB",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d bytes are told as %q, want %q", size, got, want)
		}
	}
}

func TestTheSettingsMustFitIntoTheMemory(t *testing.T) {
	needed := Default().MemoryNeed()
	for set, fits := range map[string]bool{
		"limits.memory=0": true, "limits.memory=2GiB": true, "limits.memory=300MiB": false, "limits.memory=1": false,
	} {
		cfg, err := Load("", []string{set, "kafka.topics=t", "kafka.group=g"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = cfg.Validate(Worker()...)
		if (err == nil) != fits {
			t.Errorf("%s with a need of %s: %v", set, needed, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "limits.memory") || !strings.Contains(err.Error(), "cache.memory_bytes 256 MiB")) {
			t.Errorf("%q does not tell what to lower", err)
		}
	}
}
