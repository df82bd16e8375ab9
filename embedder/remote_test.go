package embedder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/chunk"
)

// fakeService speaks OpenAI's API or TEI's over bags of words, in memory.
type fakeService struct {
	model *Bow
	// fault may answer a request itself; texts are its texts.
	fault func(w http.ResponseWriter, texts []string) bool
	// bend may change the answer's JSON.
	bend func(body string) string

	mu    sync.Mutex
	calls [][]string
}

func (s *fakeService) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.serve(w, r)
	resp := w.Result()
	resp.Request = r
	if w.Code == 0 || w.Code == 599 { // the connection is cut
		return nil, errors.New("connection reset by peer")
	}
	return resp, nil
}

func (s *fakeService) serve(w *httptest.ResponseRecorder, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	var q struct {
		Model         string
		Input, Inputs []string
	}
	if err := json.Unmarshal(data, &q); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	texts := slices.Concat(q.Input, q.Inputs)
	s.mu.Lock()
	s.calls = append(s.calls, texts)
	s.mu.Unlock()
	if s.fault != nil && s.fault(w, texts) {
		return
	}
	var lists [][]float32
	var entries []map[string]any
	for i, text := range texts {
		e, err := s.model.EncodeQuery(context.Background(), text)
		if err != nil {
			http.Error(w, `{"error":{"message":"secret text","code":"invalid_value"}}`, http.StatusBadRequest)
			return
		}
		lists = append(lists, e.Vector)
		entries = append(entries, map[string]any{"index": i, "embedding": e.Vector})
	}
	var v any = lists
	if strings.HasSuffix(r.URL.Path, "/embeddings") {
		v = map[string]any{"model": q.Model, "data": entries}
	}
	out, _ := json.Marshal(v)
	body := string(out)
	if s.bend != nil {
		body = s.bend(body)
	}
	_, _ = io.WriteString(w, body)
}

func (s *fakeService) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// remoteConfig is that of a service of Bow, pinned.
func remoteConfig(t testing.TB, api string, change func(*Config)) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Encoder, cfg.ModelName = EncoderRemote, "bow"
	cfg.Remote.URL, cfg.Remote.API, cfg.Remote.Model, cfg.Remote.Probe = "http://encoder", api, "m", bowPrint(t)
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func bowPrint(t testing.TB) string {
	t.Helper()
	var vectors [][]float32
	for _, e := range encode(t, NewBow("", nil), probeTexts()...) {
		vectors = append(vectors, e.Vector)
	}
	return imprintOf(vectors).String()
}

func openRemote(t testing.TB, s *fakeService, api string, change func(*Config)) *Remote {
	t.Helper()
	if s.model == nil {
		s.model = NewBow("", nil)
	}
	r, err := newRemote(t.Context(), remoteConfig(t, api, change), s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func remoteTexts(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("text number %d of many", i)
	}
	return texts
}

// times answers the first n requests with a fault.
func times(n int, fault func(w http.ResponseWriter)) func(http.ResponseWriter, []string) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, _ []string) bool {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 {
			return false
		}
		n--
		fault(w)
		return true
	}
}

func TestRemoteGivesEachTextItsOwnVector(t *testing.T) {
	texts := remoteTexts(150)
	want := encode(t, NewBow("", nil), texts...)
	for _, api := range []string{APIOpenAI, APITEI} {
		s := &fakeService{}
		r := openRemote(t, s, api, func(c *Config) { c.Remote.RequestTexts, c.Remote.RequestTokens = 20, 100 })
		got := encode(t, r, texts...)
		for i := range texts {
			if len(got[i].Vector) != bowDim || dot(got[i].Vector, want[i].Vector) < 0.999999 {
				t.Fatalf("%s: text %d has another vector", api, i)
			}
		}
		for _, call := range s.calls {
			if len(call) > 20 {
				t.Errorf("%s: a request of %d texts", api, len(call))
			}
		}
	}
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// What passes is waited for, and the vectors are right afterwards.
func TestRemoteWaitsForWhatPasses(t *testing.T) {
	status := func(code int, header string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(code)
		}
	}
	for name, c := range map[string]struct {
		fault       func(http.ResponseWriter)
		least, most time.Duration
	}{
		"429 with Retry-After": {status(429, "7"), 21 * time.Second, 30 * time.Second},
		"429 for a day":        {status(429, "86400"), 3 * time.Minute, 4 * time.Minute},
		"503 without":          {status(503, ""), 300 * time.Millisecond, 3 * time.Second},
		"500":                  {status(500, "x"), 300 * time.Millisecond, 3 * time.Second},
		"a cut connection":     {status(599, ""), 300 * time.Millisecond, 3 * time.Second},
		"half an answer":       {func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"model":"m","data":[{"ind`) }, 300 * time.Millisecond, 3 * time.Second},
		"an empty answer":      {func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }, 300 * time.Millisecond, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &fakeService{}
			r := openRemote(t, s, APIOpenAI, nil)
			s.fault = times(3, c.fault)
			began := time.Now()
			got := encode(t, r, "hello world")
			if took := time.Since(began); took < c.least || took > c.most {
				t.Errorf("%s: took %s, want %s to %s", name, took, c.least, c.most)
			}
			if dot(got[0].Vector, encode(t, NewBow("", nil), "hello world")[0].Vector) < 0.999999 {
				t.Errorf("%s: another vector", name)
			}
			if ok, _, _ := r.Healthy(); !ok || r.Activity() < 5 {
				t.Errorf("%s: healthy %v after %d attempts", name, ok, r.Activity())
			}
		})
	}
}

// A service that hangs is left after the timeout; a caller that ends is served
// no longer.
func TestRemoteEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeService{}
		r := openRemote(t, s, APITEI, nil)
		s.fault = func(w http.ResponseWriter, _ []string) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := r.Encode(ctx, []string{"a"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if ok, since, err := r.Healthy(); ok || err == nil || time.Since(since) < 50*time.Second {
			t.Errorf("healthy %v since %s: %v", ok, since, err)
		}
	})
}

// One 429 holds back the requests beside it too.
func TestRateLimitHoldsAllRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeService{}
		r := openRemote(t, s, APIOpenAI, nil)
		before := s.count()
		s.fault = times(1, func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		var calls sync.WaitGroup
		calls.Go(func() { encode(t, r, "a") })
		time.Sleep(time.Second)
		calls.Go(func() { encode(t, r, "b") })
		time.Sleep(20 * time.Second)
		if n := s.count() - before; n != 1 {
			t.Errorf("%d requests within the time that the service asked for, want the refused one", n)
		}
		calls.Wait()
	})
}

// Texts at fault are found and rejected alone. What the service says about
// them is not repeated: it may quote them.
func TestRemoteRejectsTheTextsAtFault(t *testing.T) {
	for _, api := range []string{APIOpenAI, APITEI} {
		r := openRemote(t, &fakeService{}, api, nil)
		texts := remoteTexts(100)
		texts[13], texts[14], texts[99] = "  ", "", " " // bags of words refuse these
		got, err := r.Encode(t.Context(), texts)
		var rejected *chunk.Rejected
		if !errors.As(err, &rejected) || len(rejected.Texts) != 3 || rejected.Texts[13] == nil || rejected.Texts[99] == nil {
			t.Fatalf("%s: %v", api, err)
		}
		if strings.Contains(rejected.Texts[13].Error(), "secret") || got[12].Vector == nil || got[98].Vector == nil || got[13].Vector != nil {
			t.Errorf("%s: %v", api, rejected.Texts[13])
		}
	}
}

// A service that refuses everything is not taken for a hundred bad texts. The
// control refuses all of the call, but not the probe.
func TestRefusingEverythingIsNoTextsFault(t *testing.T) {
	s := &fakeService{}
	r := openRemote(t, s, APITEI, nil)
	s.fault = func(w http.ResponseWriter, _ []string) bool {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return true
	}
	_, err := r.Encode(t.Context(), remoteTexts(5))
	var rejected *chunk.Rejected
	if _, permanent := chunk.ReasonOf(err); err == nil || permanent || errors.As(err, &rejected) || !strings.Contains(err.Error(), "refuses everything") {
		t.Errorf("%v", err)
	}
	s.fault = func(w http.ResponseWriter, texts []string) bool {
		if strings.HasPrefix(texts[0], "text number") {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return true
		}
		return false
	}
	if _, err := r.Encode(t.Context(), remoteTexts(5)); !errors.As(err, &rejected) || len(rejected.Texts) != 5 {
		t.Errorf("the control: %v", err)
	}
}

// What must end the worker, with advice, and nothing of it used.
func TestRemoteFailsForGood(t *testing.T) {
	status := func(code int) func(http.ResponseWriter, []string) bool {
		return func(w http.ResponseWriter, _ []string) bool {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"error":{"message":"secret text","code":"some_code"}}`)
			return true
		}
	}
	for name, c := range map[string]struct {
		fault func(http.ResponseWriter, []string) bool
		bend  func(string) string
		says  string
	}{
		"401":               {fault: status(401), says: "api_key"},
		"403":               {fault: status(403), says: "api_key"},
		"404":               {fault: status(404), says: "remote.url"},
		"a redirect":        {fault: status(302), says: "302 (some_code)"},
		"501":               {fault: status(501), says: "501"},
		"a short answer":    {bend: func(string) string { return `{"model":"m","data":[]}` }, says: "0 vectors for 3 texts"},
		"a double index":    {bend: func(b string) string { return strings.Replace(b, `"index":1`, `"index":0`, 1) }, says: "numbers its 3 vectors wrongly"},
		"an index too high": {bend: func(b string) string { return strings.Replace(b, `"index":1`, `"index":7`, 1) }, says: "numbers its 3 vectors wrongly"},
		"another model":     {bend: func(b string) string { return strings.Replace(b, `"model":"m"`, `"model":"m2"`, 1) }, says: "m2, and began with m"},
		"another dimension": {bend: func(b string) string { return strings.ReplaceAll(b, `[0`, `[0,0`) }, says: "257 dimensions"},
		"not an answer":     {bend: func(string) string { return `"hello"` }, says: "0 vectors for 3 texts"},
	} {
		s := &fakeService{}
		r := openRemote(t, s, APIOpenAI, nil)
		s.fault, s.bend = c.fault, c.bend
		out, err := r.Encode(t.Context(), []string{"one", "two"})
		_, permanent := chunk.ReasonOf(err)
		if err == nil || permanent || out != nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
}

// Services write NaN as null, which Go would read as 0.
func TestVectorsThatAreNoNumbersAreRejected(t *testing.T) {
	for name, bad := range map[string]string{
		"null": "[null,1]", "huge": "[1e99]", "zero": "[" + strings.Repeat("0,", bowDim-1) + "0]", "text": `"%%%"`, "NaN": `"AADAfw=="`, "absent": "null",
	} {
		s := &fakeService{}
		r := openRemote(t, s, APITEI, nil)
		s.bend = func(body string) string {
			var lists []json.RawMessage
			if err := json.Unmarshal([]byte(body), &lists); err != nil {
				t.Error(err)
			}
			lists[1] = json.RawMessage(bad)
			out, _ := json.Marshal(lists)
			return string(out)
		}
		out, err := r.Encode(t.Context(), []string{"one", "two", "three"})
		var rejected *chunk.Rejected
		if !errors.As(err, &rejected) || len(rejected.Texts) != 1 || out[0].Vector == nil || out[2].Vector == nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if reason, _ := chunk.ReasonOf(rejected.Texts[1]); reason != chunk.ReasonBadVector {
			t.Errorf("%s: %v", name, rejected.Texts[1])
		}
	}
}
