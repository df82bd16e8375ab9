package sink

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"chunktide/chunk"
	"chunktide/devstack/certs"
	"chunktide/devstack/qdrantd"
)

// secured is a Qdrant that wants a key, over TLS.
func secured(t *testing.T, conf *tls.Config) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf.NextProtos = []string{"h2"}
	s, err := qdrantd.Start(qdrantd.Options{Listener: tls.NewListener(listener, conf), APIKey: "right"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Addr()
}

func TestTLSAndKey(t *testing.T) {
	a, stranger := certs.New(t), certs.New(t)
	plain, mutual := secured(t, a.Server(false, "qdrant.test")), secured(t, a.Server(true))
	known := TLS{Enabled: true, CAFile: a.CAFile}
	with := func(from *certs.Authority) TLS {
		conf := known
		conf.CertFile, conf.KeyFile = from.Issue("worker")
		return conf
	}
	named := func(name string) TLS {
		conf := known
		conf.ServerName = name
		return conf
	}
	for name, tt := range map[string]struct {
		addr string
		key  chunk.Secret
		tls  TLS
		ok   bool
	}{
		"known":                 {plain, "right", known, true},
		"the name is right":     {plain, "right", named("qdrant.test"), true},
		"the name is wrong":     {plain, "right", named("else.test"), false},
		"an unknown authority":  {plain, "right", TLS{Enabled: true, CAFile: stranger.CAFile}, false},
		"the system's":          {plain, "right", TLS{Enabled: true}, false},
		"no TLS":                {plain, "right", TLS{}, false},
		"another key":           {plain, "hunter2", known, false},
		"no key":                {plain, "", known, false},
		"mutual":                {mutual, "right", with(a), true},
		"mutual, without":       {mutual, "right", known, false},
		"mutual, by a stranger": {mutual, "right", with(stranger), false},
	} {
		cfg := testConfig(tt.addr)
		cfg.APIKey, cfg.TLS = tt.key, tt.tls
		patience := 200 * time.Millisecond // a refused connection is tried again for ever
		if tt.ok {
			patience = time.Minute
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := Open(ctx, cfg, testModel("m"), quiet(), nil)
		if err == nil {
			err = s.Apply(ctx, []chunk.Point{upsert("a", "text", chunk.Version(1))})
			s.Close()
		}
		cancel()
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the key is told: %v", name, err)
		}
	}
}

// The key crosses no network in clear unless somebody says that it may.
func TestAKeyNeedsTLS(t *testing.T) {
	for _, tt := range []struct {
		address string
		tls     bool
		allow   bool
		ok      bool
	}{
		{"localhost:6334", false, false, true},
		{"127.0.0.1:6334", false, false, true},
		{"[::1]:6334", false, false, true},
		{"qdrant:6334", false, false, false},
		{"10.0.0.1:6334", false, false, false},
		{"localhost.example:6334", false, false, false},
		{"qdrant:6334", true, false, true},
		{"qdrant:6334", false, true, true},
	} {
		cfg := DefaultConfig()
		cfg.Address, cfg.APIKey, cfg.TLS.Enabled, cfg.AllowInsecureAPIKey = tt.address, "hunter2", tt.tls, tt.allow
		err := cfg.Validate()
		if (err == nil) != tt.ok || err != nil && (!strings.Contains(err.Error(), "api_key") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s, TLS %v, allowed %v: %v", tt.address, tt.tls, tt.allow, err)
		}
	}
}
