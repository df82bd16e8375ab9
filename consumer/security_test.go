package consumer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"chunktide/devstack/certs"
)

// tcp is a cluster on loopback TCP, and a config for it.
func tcp(t *testing.T, opts ...kfake.Opt) Config {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.SeedTopics(1, letters), kfake.GroupMinSessionTimeout(time.Second),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := DefaultConfig()
	cfg.Brokers, cfg.Topics, cfg.Group = c.ListenAddrs(), []string{topic}, group
	return cfg
}

// joins reports whether a worker gets as far as having its partition.
func joins(t *testing.T, cfg Config) error {
	t.Helper()
	c, cancel := timeout(t, 10*time.Second)
	defer cancel()
	s, err := New(c, cfg, decode, words, quiet(), nil)
	if err != nil {
		return err
	}
	defer shut(t, s)
	eventually(t, "joined", func() bool { return len(s.Assigned()[topic]) == 1 })
	return nil
}

func TestSASL(t *testing.T) {
	t.Parallel()
	const password = "correct horse"
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			cfg := tcp(t, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "worker", password))
			cfg.SASL = SASL{Mechanism: mechanism, Username: "worker", Password: password}
			if err := joins(t, cfg); err != nil {
				t.Fatal(err)
			}
			cfg.SASL.Password = "battery staple"
			if err := joins(t, cfg); err == nil || strings.Contains(err.Error(), "staple") || !strings.Contains(err.Error(), "check brokers, sasl and tls") {
				t.Errorf("with a wrong password: %v", err)
			}
			cfg.SASL = SASL{}
			if err := joins(t, cfg); err == nil {
				t.Error("joined without SASL")
			}
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a := certs.New(t)
	clientCert, clientKey := a.Issue("client")
	ca := a.CAFile
	tests := []struct {
		name   string
		mutual bool
		tls    TLS
		ok     bool
	}{
		{"the authority is known", false, TLS{Enabled: true, CAFile: ca}, true},
		{"the authority is unknown", false, TLS{Enabled: true}, false},
		{"no TLS", false, TLS{}, false},
		{"any certificate, on loopback", false, TLS{Enabled: true, InsecureSkipVerify: true}, true},
		{"the name is right", false, TLS{Enabled: true, CAFile: ca, ServerName: "kafka.test"}, true},
		{"the name is wrong", false, TLS{Enabled: true, CAFile: ca, ServerName: "else.test"}, false},
		{"mutual", true, TLS{Enabled: true, CAFile: ca, CertFile: clientCert, KeyFile: clientKey}, true},
		{"mutual, without a certificate", true, TLS{Enabled: true, CAFile: ca}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conf := a.Server(tt.mutual, "kafka.test")
			cfg := tcp(t, kfake.TLS(conf))
			cfg.TLS = tt.tls
			if err := joins(t, cfg); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCertificateFiles(t *testing.T) {
	t.Parallel()
	ca, dir := certs.New(t).CAFile, t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, conf := range map[string]TLS{
		"tls.ca_file: open":            {Enabled: true, CAFile: filepath.Join(dir, "absent")},
		"tls.ca_file: no certificate":  {Enabled: true, CAFile: junk},
		"tls.cert_file, key_file: tls": {Enabled: true, CAFile: ca, CertFile: junk, KeyFile: junk},
	} {
		cfg := DefaultConfig()
		cfg.TLS = conf
		if _, err := ClientOptions(cfg); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("got %v, want %q", err, key)
		}
	}
}
