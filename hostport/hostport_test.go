package hostport

import (
	"strings"
	"testing"
)

func TestCanBeDialed(t *testing.T) {
	for address, want := range map[string]bool{
		"kafka-1:9092": true, "10.0.0.1:1": true, "[::1]:65535": true,
		"": false, "kafka-1": false, "kafka-1:": false, ":9092": false, "5": false, "h:0": false, "h:65536": false, "h:x": false, "h:+1": false,
		"::1:9092": false, "h 1:1": false, "h\t:1": false, "http://h:1": false,
	} {
		if got := CanBeDialed(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.10": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example": false, "LOCALHOST": false, "127.0.0.1:80": false,
	} {
		if got := IsLocal(host); got != want {
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
