package service

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"chunktide/chunk"
	"chunktide/embedder"
)

// remote is the client of a service at url.
func remote(t testing.TB, url string, change func(*embedder.Config)) *embedder.Remote {
	t.Helper()
	cfg := embedder.DefaultConfig()
	cfg.Encoder, cfg.Remote.URL = embedder.EncoderRemote, url
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := embedder.NewRemote(t.Context(), cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func listen(t testing.TB, h http.Handler) (url string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// A worker that uses the service is interchangeable with one that loads the
// model: same recipe, same vectors bit for bit, same tokens, same refusals.
func TestARemoteEncoderIsTheEncoder(t *testing.T) {
	for name, e := range map[string]embedder.SequenceEncoder{
		"bow": embedder.NewBow("", nil),
		"onnx": openTiny(t, func(c *embedder.Config) {
			c.Prefix, c.QueryPrefix, c.MaxTokens = "passage: ", "query: ", 16
		}),
		"strict": openTiny(t, func(c *embedder.Config) { c.MaxTokens, c.Overflow = 16, embedder.OverflowError }),
	} {
		t.Run(name, func(t *testing.T) {
			r := remote(t, listen(t, start(t, func(c *Config) { c.APIKey = "hunter2" }, nil, e)), func(c *embedder.Config) {
				c.Remote.APIKey, c.Remote.RequestTexts = "hunter2", 3
			})
			if r.Recipe().Digest() != e.Recipe().Digest() || !reflect.DeepEqual(r.Recipe(), e.Recipe()) {
				t.Errorf("the recipe is %+v, want %+v", r.Recipe(), e.Recipe())
			}
			var texts []string
			for range 4 {
				texts = append(texts, contractTexts...)
			}
			texts = append(texts, "", "   ")
			got, gotErr := r.Encode(t.Context(), texts)
			want, wantErr := e.Encode(t.Context(), texts)
			if !reflect.DeepEqual(got, want) {
				t.Error("the embeddings differ")
			}
			if g, w := reasons(t, gotErr), reasons(t, wantErr); !reflect.DeepEqual(g, w) {
				t.Errorf("refused were %v, want %v", g, w)
			}
			for _, text := range contractTexts[:3] {
				got, gotErr := r.EncodeQuery(t.Context(), text)
				want, wantErr := e.EncodeQuery(t.Context(), text)
				if !reflect.DeepEqual(got, want) || gotErr != nil || wantErr != nil {
					t.Errorf("a query differs (%v, %v)", gotErr, wantErr)
				}
			}
		})
	}
}

func reasons(t *testing.T, err error) map[int]chunk.Reason {
	t.Helper()
	var rejected *chunk.Rejected
	if err != nil && !errors.As(err, &rejected) {
		t.Fatal(err)
	}
	out := map[int]chunk.Reason{}
	if rejected != nil {
		for i, cause := range rejected.Texts {
			out[i], _ = chunk.ReasonOf(cause)
		}
	}
	return out
}

// A worker that began by an alias stays with its recipe when the alias moves,
// for as long as that is loaded.
func TestAWorkerKeepsItsRecipeOverAPromotion(t *testing.T) {
	a, b := embedder.NewBow("a", nil), embedder.NewBow("b", nil)
	x := &index{}
	x.promote("docs", a.Recipe())
	var at atomic.Pointer[Service]
	at.Store(start(t, withAlias(0), x, a, b))
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { at.Load().ServeHTTP(w, r) }))
	r := remote(t, url, func(c *embedder.Config) { c.Remote.Model = "docs" })
	x.promote("docs", b.Recipe())
	if _, err := r.Encode(t.Context(), []string{"hello"}); err != nil || r.Recipe().Name != "a" {
		t.Errorf("%v, by %s", err, r.Recipe().Name)
	}
	at.Store(start(t, withAlias(0), x, b))
	_, err := r.Encode(t.Context(), []string{"hello"})
	if _, permanent := chunk.ReasonOf(err); err == nil || permanent || !strings.Contains(err.Error(), "model_not_found") {
		t.Errorf("after its recipe was unloaded: %v", err)
	}
}

// A service that answers with another recipe than the one that was pinned,
// under whatever name, ends the worker.
func TestAnotherDigestEndsTheWorker(t *testing.T) {
	s := start(t, nil, nil, embedder.NewBow("a", nil))
	lie := atomic.Bool{}
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, r)
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		if lie.Load() {
			w.Header().Set(HeaderDigest, strings.Repeat("0", 64))
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	r := remote(t, url, nil)
	if _, err := r.Encode(t.Context(), []string{"hello"}); err != nil {
		t.Fatal(err)
	}
	lie.Store(true)
	out, err := r.Encode(t.Context(), []string{"hello"})
	if _, permanent := chunk.ReasonOf(err); err == nil || permanent || out != nil || !strings.Contains(err.Error(), "two models") {
		t.Errorf("%v", err)
	}
}

// The service's refusals have the shapes that a client of TEI or OpenAI's API
// reads: the remote encoder is one.
func TestTheServiceThroughOtherAPIs(t *testing.T) {
	e := embedder.NewBow("a", nil)
	url := listen(t, start(t, nil, nil, e))
	for api, path := range map[string]string{embedder.APITEI: "", embedder.APIOpenAI: "/v1"} {
		pinned := func(c *embedder.Config) {
			c.ModelName, c.Remote.API, c.Remote.URL, c.Remote.Model = "bow", api, url+path, "a"
		}
		cfg := embedder.DefaultConfig()
		cfg.Encoder = embedder.EncoderRemote
		pinned(&cfg)
		_, err := embedder.NewRemote(t.Context(), cfg, nil, nil)
		if err == nil {
			t.Fatalf("%s: began without a pin", api)
		}
		_, print, _ := strings.Cut(err.Error(), "set embedder.remote.probe to ")
		r := remote(t, url, func(c *embedder.Config) { pinned(c); c.Remote.Probe = print })
		got, err := r.Encode(t.Context(), []string{"hello", "  ", "there"})
		if why := reasons(t, err); len(why) != 1 || why[1] != chunk.ReasonEncoderRefused && why[1] != chunk.ReasonBadVector || got[2].Vector == nil {
			t.Errorf("%s: refused were %v", api, why)
		}
	}
}
