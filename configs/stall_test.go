package configs

import (
	"strings"
	"testing"
)

func TestAStallIsLongerThanARequest(t *testing.T) {
	for name, c := range map[string]struct {
		set []string
		ok  bool
	}{
		"default":           {nil, true},
		"a request as long": {[]string{"qdrant.request_timeout=5m"}, false},
		"a short stall":     {[]string{"pipeline.stall_timeout=20s"}, false},
		"both short": {[]string{
			"pipeline.stall_timeout=3s", "qdrant.request_timeout=500ms", "qdrant.retry.initial=50ms", "qdrant.retry.max=200ms",
		}, true},
	} {
		cfg, err := Load("", append(c.set, "kafka.topics=t", "kafka.group=g"), nil)
		if err != nil {
			t.Fatal(err)
		}
		err = cfg.Validate(Worker()...)
		if ok := err == nil || !strings.Contains(err.Error(), "pipeline.stall_timeout"); ok != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A service of the encoder that is waited for is no stall either.
func TestWaitingForTheEncoderIsNoStall(t *testing.T) {
	for timeout, fits := range map[string]bool{"2m": false, "3m": true} {
		cfg, err := Load("", []string{"kafka.topics=t", "kafka.group=g", "embedder.encoder=remote", "embedder.remote.url=http://127.0.0.1:1", "pipeline.stall_timeout=" + timeout}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := cfg.Validate(Worker()...); (err == nil) != fits {
			t.Errorf("stall_timeout %s: %v", timeout, err)
		}
	}
}
