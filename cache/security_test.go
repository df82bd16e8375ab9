package cache

import (
	"strings"
	"testing"

	"chunktide/chunk"
	"chunktide/devstack/certs"
	"chunktide/devstack/realservers"
)

// A real server, over mutual TLS, with a user of the documented rights.
func TestContractMutualTLS(t *testing.T) {
	a := certs.New(t)
	certFile, keyFile := a.Issue("redis")
	s := realservers.RunRedis(t, realservers.RedisOptions{TLS: &realservers.RedisTLS{CertFile: certFile, KeyFile: keyFile, ClientCAFile: a.CAFile}})
	acl(t, s.Addr, "setuser", "tide", "on", ">secret", "~cttest:*", "~ct:*", "resetchannels", "-@all", "+get", "+set", "+del", "+ping")
	own := TLS{CAFile: a.CAFile}
	own.CertFile, own.KeyFile = a.Issue("worker")
	contract(t, chunk.Secret("rediss://tide:secret@"+s.TLSAddr), func(c *Config) { c.TLS = own })

	stranger := certs.New(t)
	foreign := own
	foreign.CertFile, foreign.KeyFile = stranger.Issue("worker")
	for name, tt := range map[string]struct {
		url string
		tls TLS
		ok  bool
	}{
		"as it is":             {"rediss://tide:secret@" + s.TLSAddr, own, true},
		"no certificate":       {"rediss://tide:secret@" + s.TLSAddr, TLS{CAFile: a.CAFile}, false},
		"a stranger's":         {"rediss://tide:secret@" + s.TLSAddr, foreign, false},
		"an unknown authority": {"rediss://tide:secret@" + s.TLSAddr, TLS{CAFile: stranger.CAFile, CertFile: own.CertFile, KeyFile: own.KeyFile}, false},
		"another name":         {"rediss://tide:secret@" + s.TLSAddr, TLS{CAFile: a.CAFile, CertFile: own.CertFile, KeyFile: own.KeyFile, ServerName: "else.test"}, false},
		"another password":     {"rediss://tide:hunter2@" + s.TLSAddr, own, false},
		"in clear":             {"redis://tide:secret@" + s.TLSAddr, TLS{}, false},
	} {
		c, _, log := patient(t, tt.url, func(c *Config) { c.TLS = tt.tls })
		err := c.Ping(t.Context())
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error()+log.b.String(), "hunter2") {
			t.Errorf("%s: the password is told: %v", name, err)
		}
	}
}
