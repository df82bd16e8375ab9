package consumer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// authority issues certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, nil
	a.issue("ca", template)
	return a
}

// issue writes name.crt and name.key; the first one signs all others.
func (a *authority) issue(name string, template *x509.Certificate) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.key == nil {
		a.key = key
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	a.write(certFile, "CERTIFICATE", der)
	a.write(keyFile, "PRIVATE KEY", secret)
	return certFile, keyFile
}

func (a *authority) write(file, kind string, der []byte) {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func leaf(serial int64, names ...string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    names,
	}
}

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
	a := newAuthority(t)
	server := leaf(2, "kafka.test")
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	serverCert, serverKey := a.issue("server", server)
	clientCert, clientKey := a.issue("client", leaf(3))
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	ca := filepath.Join(a.dir, "ca.crt")
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
			conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, ClientCAs: pool}
			if tt.mutual {
				conf.ClientAuth = tls.RequireAndVerifyClientCert
			}
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
	a := newAuthority(t)
	ca := filepath.Join(a.dir, "ca.crt")
	junk := filepath.Join(a.dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, conf := range map[string]TLS{
		"tls.ca_file: open":                {Enabled: true, CAFile: filepath.Join(a.dir, "absent")},
		"tls.ca_file: no certificate":      {Enabled: true, CAFile: junk},
		"tls.cert_file, tls.key_file: tls": {Enabled: true, CAFile: ca, CertFile: junk, KeyFile: junk},
	} {
		cfg := DefaultConfig()
		cfg.TLS = conf
		if _, err := ClientOptions(cfg); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("got %v, want %q", err, key)
		}
	}
}
