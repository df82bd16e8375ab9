package cache

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"chunktide/chunk"
	"chunktide/devstack/certs"
)

func TestDefaultConfigIsValidAndNeedsNoRedis(t *testing.T) {
	c, err := New(DefaultConfig(), testDigest, testDim, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	hashes, es := embeddings(3)
	c.Put(t.Context(), hashes[:2], es[:2])
	wantSame(t, "get", c.Get(t.Context(), hashes), []chunk.Embedding{es[0], es[1], {}})
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	bad := Config{
		URL: "http://example.com", DType: "int8", MemoryBytes: -1, TTL: -1, Timeout: 0,
		TLS: TLS{KeyFile: "key.pem"}, Breaker: Breaker{MaxRetry: -1},
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, key := range []string{
		"url:", "dtype:", "memory_bytes:", "ttl:", "timeout:", "tls.cert_file:", "breaker.failures:", "breaker.retry:", "breaker.max_retry:",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+key) {
			t.Errorf("%s is not reported in\n%v", key, err)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, tc := range []struct {
		url   string
		addrs []string
		err   string
	}{
		{"redis://h", []string{"h:6379"}, ""},
		{"redis://user:p%40ss@h:1/2?pool_size=3", []string{"h:1"}, ""},
		{"rediss://[::1]:7", []string{"[::1]:7"}, ""},
		{"unix:///run/redis.sock?db=1", []string{"/run/redis.sock"}, ""},
		{"redis+cluster://a:1?addr=b:2&addr=c:3", []string{"a:1", "b:2", "c:3"}, ""},
		{"rediss+cluster://a:1", []string{"a:1"}, ""},
		{"redis+sentinel://a:26379/1?master_name=m&addr=b:2", []string{"a:26379", "b:2"}, ""},
		{"redis+sentinel://a:26379", nil, "master_name"},
		{"redis+sentinel://a?master_name=m", nil, "port"},
		{"redis+replica://a", nil, "unknown scheme"},
		{"unix+cluster:///a", nil, "unknown scheme"},
		{"localhost:6379", nil, "unknown scheme"},
		{"localhost", nil, "unknown scheme"},
		{"redis://h?no_such=1", nil, "no_such"},
		{"redis://h/one", nil, "database"},
		{"redis://:hunter2/x@h", nil, "percent-encode"},
		{"redis://u:12/hunter2@h:1", nil, "percent-encode"},
		{"redis://h:1/%zzhunter2", nil, "percent-encode"},
	} {
		to, err := parseURL(chunk.Secret(tc.url))
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.HasPrefix(err.Error(), "url: ") {
				t.Errorf("%s: error %v, want one with %q", tc.url, err, tc.err)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.url, err)
		} else if got := to.addresses(); !slices.Equal(got, tc.addrs) || to.tls() != strings.HasPrefix(tc.url, "rediss") {
			t.Errorf("%s: addresses %v, TLS %v", tc.url, got, to.tls())
		}
	}
}

// No option of the URL undoes what the cache relies on.
func TestEveryClientHeedsDeadlinesAndNeverRetries(t *testing.T) {
	const spoil = "max_retries=5&protocol=3"
	for _, url := range []string{
		"redis://127.0.0.1:1?" + spoil,
		"redis+sentinel://127.0.0.1:1?master_name=m&" + spoil,
		"redis+cluster://127.0.0.1:1?" + spoil,
	} {
		to, err := parseURL(chunk.Secret(url))
		if err != nil {
			t.Fatal(err)
		}
		cfg := DefaultConfig()
		cfg.Username, cfg.Password = "tide", "secret"
		client, err := newClient(cfg, to)
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		// A client rewrites -1 to 0 in the options that it was given.
		var deadline bool
		var retries, dials, protocol int
		var user, password string
		switch {
		case to.single != nil:
			o := to.single
			deadline, retries, dials, protocol, user, password = o.ContextTimeoutEnabled, o.MaxRetries, o.DialerRetries, o.Protocol, o.Username, o.Password
		case to.sentinel != nil:
			o := to.sentinel
			deadline, retries, dials, protocol, user, password = o.ContextTimeoutEnabled, o.MaxRetries, o.DialerRetries, o.Protocol, o.Username, o.Password
		default:
			o := to.cluster
			deadline, retries, dials, protocol, user, password = o.ContextTimeoutEnabled, o.MaxRetries, o.DialerRetries, o.Protocol, o.Username, o.Password
		}
		if !deadline || retries > 0 || dials != 1 || protocol != 2 || user != "tide" || password != "secret" {
			t.Errorf("%s: deadlines %v, retries %d, dials %d, protocol %d, user %q", url, deadline, retries, dials, protocol, user)
		}
	}
}

func TestConfigKeepsSecrets(t *testing.T) {
	cfg := DefaultConfig()
	cfg.URL, cfg.Password = "redis://:hunter2@h", "hunter2"
	if s := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(s, "hunter2") {
		t.Error(s)
	}
}

func TestTLS(t *testing.T) {
	a := certs.New(t)
	certFile, keyFile := a.IssueFor("both", nil, "redis.test")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	m := miniredis.NewMiniRedis()
	err = m.StartTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: a.Pool, ClientAuth: tls.RequireAndVerifyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	full := TLS{CAFile: a.CAFile, CertFile: certFile, KeyFile: keyFile, ServerName: "redis.test"}
	for name, tc := range map[string]struct {
		change func(*TLS)
		ok     bool
	}{
		"mutual":            {func(*TLS) {}, true},
		"no client":         {func(c *TLS) { c.CertFile, c.KeyFile = "", "" }, false},
		"unknown authority": {func(c *TLS) { c.CAFile = "" }, false},
		"another name":      {func(c *TLS) { c.ServerName = "other.test" }, false},
		"no name":           {func(c *TLS) { c.ServerName = "" }, false}, // it is an address in the URL
	} {
		cfg := DefaultConfig()
		cfg.URL, cfg.TLS = chunk.Secret("rediss://"+m.Addr()), full
		tc.change(&cfg.TLS)
		c, err := New(cfg, testDigest, testDim, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ping(t.Context()); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
	cfg := DefaultConfig()
	cfg.URL, cfg.TLS = chunk.Secret("redis://"+m.Addr()), full
	if _, err := New(cfg, testDigest, testDim, nil, nil); err == nil || !strings.Contains(err.Error(), "write rediss") {
		t.Errorf("TLS without rediss: %v", err)
	}
	cfg.URL, cfg.TLS.CAFile = "rediss://h", keyFile
	if _, err := New(cfg, testDigest, testDim, nil, nil); err == nil || !strings.Contains(err.Error(), "tls.ca_file") {
		t.Errorf("a key for a CA: %v", err)
	}
}
