// Package certs makes certificates for tests: an authority, and leaves that it
// signed, as PEM files and as what a server within the test needs.
package certs

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
	"testing"
	"time"
)

// Authority signs the certificates of one test. Its methods may be called from
// any goroutine, but for two files of one name at once.
type Authority struct {
	// CAFile holds its own certificate.
	CAFile string
	// Pool has that certificate alone.
	Pool *x509.CertPool

	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority whose files are gone after the test.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir(), key: newKey(t), Pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := a.sign(template, template, a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Pool.AddCert(a.cert)
	a.CAFile = a.write("ca.crt", "CERTIFICATE", der)
	return a
}

// Issue writes name.crt and name.key: a certificate for a server or a client,
// of 127.0.0.1, localhost and the given names. A second one of the same name
// replaces the first.
func (a *Authority) Issue(name string, dnsNames ...string) (certFile, keyFile string) {
	a.t.Helper()
	return a.IssueFor(name, []net.IP{net.IPv4(127, 0, 0, 1)}, append(dnsNames, "localhost")...)
}

// IssueFor is [Authority.Issue] for the given addresses and names only.
func (a *Authority) IssueFor(name string, addresses []net.IP, dnsNames ...string) (certFile, keyFile string) {
	a.t.Helper()
	der, key := a.leaf(name, addresses, dnsNames)
	return a.write(name+".crt", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", marshal(a.t, key))
}

// Server is what a server within the test presents: a certificate as of
// [Authority.Issue], without files. With mutual it wants one of this authority
// from its clients.
func (a *Authority) Server(mutual bool, dnsNames ...string) *tls.Config {
	a.t.Helper()
	der, key := a.leaf("server", []net.IP{net.IPv4(127, 0, 0, 1)}, append(dnsNames, "localhost"))
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	if mutual {
		conf.ClientCAs, conf.ClientAuth = a.Pool, tls.RequireAndVerifyClientCert
	}
	return conf
}

func (a *Authority) leaf(name string, addresses []net.IP, dnsNames []string) (der []byte, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key = newKey(a.t)
	return a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: addresses, DNSNames: dnsNames,
	}, a.cert, key), key
}

func marshal(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// write replaces the file in one step, as rotations do.
func (a *Authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	next := path + ".next"
	if err := os.WriteFile(next, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		a.t.Fatal(err)
	}
	return path
}
