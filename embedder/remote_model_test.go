package embedder

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// shuffled is another model of the same dimensions.
func shuffled(body string) string {
	var lists [][]float32
	if json.Unmarshal([]byte(body), &lists) != nil {
		return body
	}
	for _, v := range lists {
		v[0], v[1], v[2] = v[2]+0.3, v[0], v[1]
	}
	out, _ := json.Marshal(lists)
	return string(out)
}

// A model that is exchanged behind its name is noticed in the very request,
// and nothing of it is used. Without a probe in each request it is not, which
// shows that nothing else would notice.
func TestAnExchangedModelIsNoticed(t *testing.T) {
	for probes, noticed := range map[bool]bool{true: true, false: false} {
		s := &fakeService{}
		r := openRemote(t, s, APITEI, func(c *Config) { c.Remote.ProbeRequests = probes })
		encode(t, r, "before")
		s.bend = shuffled
		out, err := r.Encode(t.Context(), []string{"after"})
		if (err != nil) != noticed || noticed && (out != nil || !strings.Contains(err.Error(), "vectors of two models")) {
			t.Errorf("with probes in the requests %v: %v", probes, err)
		}
	}
}

func TestRemoteStartsWithThePinnedModelOnly(t *testing.T) {
	fails := func(cfg Config, s *fakeService, says string) {
		t.Helper()
		if _, err := newRemote(t.Context(), cfg, s, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
	pinned := remoteConfig(t, APITEI, nil)
	fails(pinned, &fakeService{model: NewBow("", nil), bend: shuffled}, "another model than embedder.remote.probe says")
	unpinned := remoteConfig(t, APITEI, func(c *Config) { c.Remote.Probe = "" })
	fails(unpinned, &fakeService{model: NewBow("", nil)}, bowPrint(t))

	// A drift of kernels is let pass, and the recipe does not change with it.
	drift := &fakeService{bend: func(body string) string { return strings.ReplaceAll(body, "0.5", "0.5001") }}
	if a, b := openRemote(t, drift, APITEI, nil).Recipe(), openRemote(t, &fakeService{}, APITEI, nil).Recipe(); a.Digest() != b.Digest() {
		t.Error("a drift within the tolerance changes the digest")
	}
	// Whatever else makes other vectors changes it.
	base := openRemote(t, &fakeService{}, APITEI, nil).Recipe()
	for name, change := range map[string]func(*Config){
		"name":     func(c *Config) { c.ModelName = "other" },
		"prefix":   func(c *Config) { c.Prefix = "passage: " },
		"scale":    func(c *Config) { c.Normalize = false },
		"overflow": func(c *Config) { c.Overflow = OverflowError },
		"probe": func(c *Config) {
			f, err := parseImprint(c.Remote.Probe)
			if err != nil {
				t.Fatal(err)
			}
			f.probes[0].toward[0]++
			c.Remote.Probe = f.String()
		},
	} {
		if r := openRemote(t, &fakeService{}, APITEI, change).Recipe(); r.Digest() == base.Digest() {
			t.Errorf("%s is not in the digest", name)
		}
	}
	moved := openRemote(t, &fakeService{}, APITEI, func(c *Config) { c.Remote.URL = "http://elsewhere:1/x/" }).Recipe()
	if moved.Digest() != base.Digest() || !strings.HasPrefix(base.ModelVersion(), "bow@") {
		t.Errorf("%s became %s because the service moved", base.ModelVersion(), moved.ModelVersion())
	}
}

func TestRemoteWaitsForTheServiceToStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeService{fault: times(5, func(w http.ResponseWriter) { w.WriteHeader(599) })}
		openRemote(t, s, APITEI, nil)
		s.fault = func(w http.ResponseWriter, _ []string) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		began := time.Now()
		if _, err := newRemote(t.Context(), remoteConfig(t, APITEI, nil), s, nil, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 61*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestRemoteSettings(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"remote.url":             func(c *Config) { c.Remote.URL = "encoder:80" },
		"user":                   func(c *Config) { c.Remote.URL = "http://a:b@c" },
		"in clear":               func(c *Config) { c.Remote.APIKey = "hunter2" },
		"remote.api:":            func(c *Config) { c.Remote.API = "soap" },
		"remote.model":           func(c *Config) { c.Remote.Model = "" },
		"model_name":             func(c *Config) { c.ModelName = "" },
		"set them there":         func(c *Config) { c.Remote.API, c.Prefix = APIChunktide, "passage: " },
		"remote.probe:":          func(c *Config) { c.Remote.Probe = "probe1:xyz" },
		"remote.probe_tolerance": func(c *Config) { c.Remote.ProbeTolerance = 0 },
		"remote.request_texts":   func(c *Config) { c.Remote.RequestTexts = 1 },
		"remote.retry.max":       func(c *Config) { c.Remote.Retry.Max = 1 },
		"taken whole":            func(c *Config) { c.Remote.API, c.Dimensions = APITEI, 8 },
	} {
		cfg := remoteConfig(t, APIOpenAI, nil)
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A fingerprint tells models apart and forgives kernels, at any scale of both.
func TestFingerprintsTellModelsApart(t *testing.T) {
	e := openTiny(t, nil)
	var vectors [][]float32
	for _, v := range encode(t, e, probeTexts()...) {
		vectors = append(vectors, v.Vector)
	}
	f := imprintOf(vectors)
	back, err := parseImprint(f.String())
	if err != nil || f.same(back, 1e-9) != nil {
		t.Errorf("%v: a fingerprint does not survive its text", err)
	}
	bent := func(by float32) imprint {
		var out [][]float32
		for _, v := range vectors {
			w := make([]float32, len(v))
			for i, x := range v {
				w[i] = x + by*float32(i%3-1)/8
			}
			out = append(out, w)
		}
		return imprintOf(out)
	}
	for by, differs := range map[float32]bool{1e-6: false, 1e-3: false, 0.05: true, 0.5: true} {
		if err := f.same(bent(by), 0.01); (err != nil) != differs {
			t.Errorf("bent by %g: %v", by, err)
		}
	}
}
