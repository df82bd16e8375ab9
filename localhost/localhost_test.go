package localhost

import (
	"strings"
	"testing"
)

func TestIs(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.10": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example": false, "LOCALHOST": false, "127.0.0.1:80": false,
	} {
		if got := Is(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestCannotBeRebound(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost:9470": true, "LocalHost.": true, "a.localhost:1": true, "127.0.0.1:9470": true, "[::1]:9470": true, "[::1]": true, "10.0.0.1": true,
		"evil.example:9470": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "": false,
	} {
		if got := CannotBeRebound(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func FuzzCannotBeRebound(f *testing.F) {
	for _, host := range []string{"localhost", "127.0.0.1:1", "[::1]", "evil.example", "localhost.evil.example:1", "a%00.localhost", ""} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		// No name that somebody can register is local: those have a top-level
		// domain of letters.
		if CannotBeRebound(host) && strings.HasSuffix(strings.ToLower(host), ".example") {
			t.Errorf("%q counts as local", host)
		}
	})
}
