package admin

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/chunk"
)

const testToken = "0123456789abcdef"

// everything is a port with one of each kind of handlers; its worker is not well.
func everything() Options {
	say := func(what string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, what) })
	}
	sick := func() error { return errors.New("the index at 10.1.2.3 is away") }
	return Options{
		Metrics: prometheus.NewRegistry(), Health: sick, Ready: sick,
		Routes: map[string]http.Handler{"GET /api": say("api"), "POST /api": say("done")},
		Public: map[string]http.Handler{"GET /{$}": say("page")},
		Logger: slog.New(slog.DiscardHandler),
	}
}

func TestWhoMayAsk(t *testing.T) {
	away, here := "0.0.0.0:9470", "127.0.0.1:9470"
	configs := map[string]Config{
		"loopback":           {Address: here, Pprof: true},
		"loopback, token":    {Address: here, Pprof: true, Token: testToken},
		"away, token":        {Address: away, Pprof: true, Token: testToken},
		"away, anonymous":    {Address: away, Pprof: true, AnonymousMetrics: true},
		"away, both":         {Address: away, Pprof: true, AnonymousMetrics: true, Token: testToken},
		"away, mutual":       {Address: away, Pprof: true, TLS: TLS{CertFile: "c", KeyFile: "k", ClientCAFile: "a"}},
		"away, mutual token": {Address: away, Pprof: true, Token: testToken, TLS: TLS{CertFile: "c", KeyFile: "k", ClientCAFile: "a"}},
		"without profiles":   {Address: here},
	}
	// What the paths answer, in the order /metrics, /debug/pprof/, GET /api, POST /api.
	const open, needToken, closed, misdirected = 200, 401, 403, 421
	type codes [4]int
	for _, tt := range []struct {
		config, host, authorization string
		want                        codes
	}{
		{"loopback", "localhost:9470", "", codes{open, open, open, open}},
		{"loopback", "127.0.0.1:9470", "", codes{open, open, open, open}},
		{"loopback", "[::1]:9470", "", codes{open, open, open, open}},
		{"loopback", "evil.example:9470", "", codes{misdirected, misdirected, misdirected, misdirected}},
		// A page that rebound its name can send any header.
		{"loopback", "evil.example:9470", "Bearer x", codes{misdirected, misdirected, misdirected, misdirected}},
		{"loopback", "localhost.evil.example", "", codes{misdirected, misdirected, misdirected, misdirected}},
		{"loopback", "", "", codes{misdirected, misdirected, misdirected, misdirected}},
		{"loopback, token", "localhost:9470", "", codes{needToken, needToken, needToken, needToken}},
		{"loopback, token", "worker.example", "Bearer " + testToken, codes{open, open, open, open}},
		{"away, token", "worker:9470", "", codes{needToken, needToken, needToken, needToken}},
		{"away, token", "worker:9470", "Bearer " + testToken[1:], codes{needToken, needToken, needToken, needToken}},
		{"away, token", "worker:9470", testToken, codes{needToken, needToken, needToken, needToken}},
		{"away, token", "worker:9470", "Basic " + testToken, codes{needToken, needToken, needToken, needToken}},
		{"away, token", "worker:9470", "Bearer ", codes{needToken, needToken, needToken, needToken}},
		{"away, token", "worker:9470", "Bearer " + testToken, codes{open, open, open, open}},
		{"away, anonymous", "worker:9470", "", codes{open, closed, closed, closed}},
		{"away, anonymous", "localhost:9470", "", codes{open, closed, closed, closed}},
		{"away, both", "worker:9470", "", codes{open, needToken, needToken, needToken}},
		{"away, both", "worker:9470", "Bearer " + testToken, codes{open, open, open, open}},
		{"away, mutual", "worker:9470", "", codes{closed, closed, closed, closed}},
		{"away, mutual token", "worker:9470", "Bearer " + testToken, codes{closed, closed, closed, closed}},
		{"without profiles", "localhost:9470", "", codes{open, 404, open, open}},
	} {
		cfg := configs[tt.config]
		if err := cfg.Validate(); err != nil {
			t.Fatalf("%s: %v", tt.config, err)
		}
		handler := everything().handler(cfg)
		ask := func(method, path string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, "http://x"+path, strings.NewReader(""))
			r.Host = tt.host
			if tt.authorization != "" {
				r.Header.Set("Authorization", tt.authorization)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w
		}
		for i, what := range []string{"GET /metrics", "GET /debug/pprof/", "GET /api", "POST /api"} {
			method, path, _ := strings.Cut(what, " ")
			w := ask(method, path)
			if w.Code != tt.want[i] {
				t.Errorf("%s, Host %q, %q: %s answers %d, want %d", tt.config, tt.host, tt.authorization, what, w.Code, tt.want[i])
			}
			if strings.Contains(w.Body.String(), testToken) {
				t.Errorf("%s: %s tells the token", tt.config, what)
			}
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			w := ask("GET", path)
			// Why is for those who may read the metrics, with what they have.
			told, may := strings.Contains(w.Body.String(), "10.1.2.3"), tt.want[2] == open
			if w.Code != http.StatusServiceUnavailable || told != may {
				t.Errorf("%s, Host %q, %q: %s answers %d %q, want the cause: %v", tt.config, tt.host, tt.authorization, path, w.Code, w.Body, may)
			}
		}
		if w := ask("GET", "/"); w.Code != open || w.Body.String() != "page" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the page answers %d", tt.config, w.Code)
		}
	}
}

func TestNobodyElsesPageChangesAnything(t *testing.T) {
	handler := everything().handler(Config{Address: "127.0.0.1:0"})
	for name, tt := range map[string]struct {
		header, value string
		code          int
	}{
		"the port's own page":   {"Origin", "http://localhost", http.StatusOK},
		"a command":             {"X-Nothing", "", http.StatusOK},
		"another site's page":   {"Origin", "http://evil.example", http.StatusForbidden},
		"what the browser says": {"Sec-Fetch-Site", "cross-site", http.StatusForbidden},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://localhost/api", strings.NewReader(""))
		r.Header.Set(tt.header, tt.value)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != tt.code {
			t.Errorf("%s: %d, want %d", name, w.Code, tt.code)
		}
	}
}

// Settings may stand on the command line.
func TestProfilesTellNoCommandLine(t *testing.T) {
	handler := everything().handler(Config{Address: "127.0.0.1:0", Pprof: true})
	for path, code := range map[string]int{"/debug/pprof/cmdline": http.StatusNotFound, "/debug/pprof/goroutine?debug=1": http.StatusOK} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != code {
			t.Errorf("%s: %d, want %d", path, w.Code, code)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	o := everything()
	var read int64
	var err error
	o.Routes["POST /read"] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		read, err = io.Copy(io.Discard, r.Body)
	})
	r := httptest.NewRequest(http.MethodPost, "http://localhost/read", strings.NewReader(strings.Repeat("x", bodyBytes+1)))
	o.handler(Config{Address: "127.0.0.1:0"}).ServeHTTP(httptest.NewRecorder(), r)
	var large *http.MaxBytesError
	if !errors.As(err, &large) || read > bodyBytes {
		t.Errorf("read %d bytes, %v", read, err)
	}
}

func TestValidate(t *testing.T) {
	tls := TLS{CertFile: "c", KeyFile: "k"}
	mutual := TLS{CertFile: "c", KeyFile: "k", ClientCAFile: "a"}
	for _, tt := range []struct {
		cfg  Config
		says string // empty: it works
	}{
		{DefaultConfig(), ""},
		{Config{}, ""},
		{Config{Address: "localhost:1"}, ""},
		{Config{Address: "[::1]:1"}, ""},
		{Config{Address: "127.0.0.1:1", Token: "x"}, ""},
		{Config{Address: ":9470", Token: testToken}, ""},
		{Config{Address: "0.0.0.0:9470", AnonymousMetrics: true}, ""},
		{Config{Address: "0.0.0.0:9470", TLS: mutual}, ""},
		{Config{Address: "9470"}, "address:"},
		{Config{Address: "x:99999"}, "address:"},
		{Config{Address: ":9470"}, "token: is empty"},
		{Config{Address: "10.0.0.1:9470"}, "token: is empty"},
		{Config{Address: "worker:9470", TLS: tls}, "token: is empty"},
		{Config{Address: ":9470", Token: chunk.Secret(testToken[1:])}, "token: has fewer"},
		{Config{Address: "127.0.0.1:1", TLS: TLS{KeyFile: "k"}}, "tls.cert_file, tls.key_file:"},
		{Config{Address: ":1", Token: testToken, TLS: TLS{ClientCAFile: "a"}}, "tls.client_ca_file:"},
	} {
		err := tt.cfg.Validate()
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%+v: %v, want %q", tt.cfg, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), testToken[1:]) {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}
