package admin

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"chunktide/devstack/certs"
)

// started serves the port, and is reached with what cfg says.
func started(t *testing.T, cfg Config) (url string) {
	t.Helper()
	addr, err := Serve(t.Context(), cfg, everything())
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := net.SplitHostPort(cfg.Address)
	cfg.Address = net.JoinHostPort(host, port)
	return cfg.URL()
}

// status asks as cfg's commands do; 0 if there was no answer.
func status(t *testing.T, cfg Config, url string) int {
	t.Helper()
	client, err := cfg.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		if strings.Contains(err.Error(), testToken) {
			t.Errorf("the error tells the token: %v", err)
		}
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestTLS(t *testing.T) {
	a, other := certs.New(t), certs.New(t)
	certFile, keyFile := a.Issue("server")
	cfg := Config{Address: "127.0.0.1:0", Token: testToken, TLS: TLS{CertFile: certFile, KeyFile: keyFile, CAFile: a.CAFile}}
	url := started(t, cfg)
	if !strings.HasPrefix(url, "https://") {
		t.Fatal(url)
	}
	wrong, stranger, named, noToken := cfg, cfg, cfg, cfg
	wrong.Token, noToken.Token = "wrong", ""
	stranger.TLS.CAFile, named.TLS.ServerName = other.CAFile, "else.test"
	for name, tt := range map[string]struct {
		cfg  Config
		url  string
		code int
	}{
		"as it is":          {cfg, url, http.StatusOK},
		"wrong token":       {wrong, url, http.StatusUnauthorized},
		"no token":          {noToken, url, http.StatusUnauthorized},
		"unknown authority": {stranger, url, 0},
		"wrong name":        {named, url, 0},
		"in clear":          {cfg, strings.Replace(url, "https", "http", 1), http.StatusBadRequest},
	} {
		if got := status(t, tt.cfg, tt.url+"/metrics"); got != tt.code {
			t.Errorf("%s: %d, want %d", name, got, tt.code)
		}
	}
}

func TestMutualTLS(t *testing.T) {
	a, other := certs.New(t), certs.New(t)
	certFile, keyFile := a.Issue("server")
	cfg := Config{Address: "127.0.0.1:0", TLS: TLS{CertFile: certFile, KeyFile: keyFile, ClientCAFile: a.CAFile, CAFile: a.CAFile}}
	url := started(t, cfg)
	bare, foreign := cfg, cfg
	bare.TLS.ClientCAFile = "" // then it shows none
	foreign.TLS.CertFile, foreign.TLS.KeyFile = other.Issue("client")
	for name, tt := range map[string]struct {
		cfg              Config
		metrics, healthz int
	}{
		"its own":         {cfg, http.StatusOK, http.StatusServiceUnavailable},
		"none":            {bare, http.StatusForbidden, http.StatusServiceUnavailable},
		"somebody else's": {foreign, 0, 0},
	} {
		if got := status(t, tt.cfg, url+"/metrics"); got != tt.metrics {
			t.Errorf("%s: /metrics %d, want %d", name, got, tt.metrics)
		}
		if got := status(t, tt.cfg, url+"/healthz"); got != tt.healthz {
			t.Errorf("%s: /healthz %d, want %d", name, got, tt.healthz)
		}
	}
}

// A certificate is rotated by replacing its files.
func TestANewCertificateIsServed(t *testing.T) {
	old, next := certs.New(t), certs.New(t)
	certFile, keyFile := old.Issue("server")
	cfg := Config{Address: "127.0.0.1:0", TLS: TLS{CertFile: certFile, KeyFile: keyFile, CAFile: old.CAFile}}
	url := started(t, cfg)
	after := cfg
	after.TLS.CAFile = next.CAFile
	if status(t, cfg, url+"/metrics") != http.StatusOK || status(t, after, url+"/metrics") != 0 {
		t.Fatal("before the rotation")
	}
	move(t, next, "server", certFile, keyFile)
	if status(t, after, url+"/metrics") != http.StatusOK || status(t, cfg, url+"/metrics") != 0 {
		t.Error("after the rotation the old certificate is served")
	}
}

func TestTheTokenFollowsNoRedirection(t *testing.T) {
	var got string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer elsewhere.Close()
	from := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer from.Close()
	cfg := Config{Address: "127.0.0.1:1", Token: testToken}
	if code := status(t, cfg, from.URL); code != http.StatusFound || got != "" {
		t.Errorf("%d, the other server got %q", code, got)
	}
	if code := status(t, cfg, elsewhere.URL); code != http.StatusOK || got != "Bearer "+testToken {
		t.Errorf("the control: %d, %q", code, got)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	cfg := Config{Address: "127.0.0.1:0", TLS: TLS{CertFile: "no", KeyFile: "no"}}
	if _, err := Serve(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.HasPrefix(err.Error(), "admin.tls.cert_file") {
		t.Error(err)
	}
	if _, err := (Config{TLS: TLS{CAFile: "no"}}).Client(); err == nil || !strings.HasPrefix(err.Error(), "admin.tls.ca_file") {
		t.Error(err)
	}
}

func TestURL(t *testing.T) {
	tls := TLS{CertFile: "c", KeyFile: "k"}
	for want, cfg := range map[string]Config{
		"":                      {},
		"http://127.0.0.1:9470": DefaultConfig(),
		"http://localhost:1":    {Address: ":1"},
		"https://localhost:1":   {Address: "0.0.0.0:1", TLS: tls},
		"https://[::1]:1":       {Address: "[::1]:1", TLS: tls},
		"http://worker:1":       {Address: "worker:1"},
	} {
		if got := cfg.URL(); got != want {
			t.Errorf("%s: %q, want %q", cfg.Address, got, want)
		}
	}
}

// move puts a certificate of the authority where another one was.
func move(t *testing.T, from *certs.Authority, name, certFile, keyFile string) {
	t.Helper()
	nextCert, nextKey := from.Issue(name)
	for source, target := range map[string]string{nextKey: keyFile, nextCert: certFile} {
		if err := os.Rename(source, target); err != nil {
			t.Fatal(err)
		}
	}
}
