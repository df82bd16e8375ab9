// Package tlsfiles makes TLS settings of PEM files, for clients and for
// servers, and follows the files: certificates are rotated by replacing them,
// and whoever connects next gets the new ones.
//
// Errors begin with the name of the setting that is wrong, without its section.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Client names the files of a client; all of them may be empty.
type Client struct {
	// CAFile replaces the system's certificate authorities. It is read once.
	CAFile string
	// CertFile and KeyFile are the client's own, for mutual TLS. Where they
	// cannot be read again, the former ones stay in use.
	CertFile, KeyFile string
	// ServerName is expected in the server's certificate instead of the host
	// that was dialled.
	ServerName string
}

// Config reads the files.
func (c Client) Config() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pool, err := authorities(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		conf.RootCAs = pool
	}
	if c.CertFile == "" {
		return conf, nil
	}
	pair, err := follow(func() (*tls.Certificate, error) { return keyPair(c.CertFile, c.KeyFile) }, c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		current, _ := pair.get()
		return current, nil
	}
	return conf, nil
}

// Server names the files of a server.
type Server struct {
	// CertFile and KeyFile are the server's own. Both are needed.
	CertFile, KeyFile string
	// ClientCAFile holds the authorities that sign the clients' certificates. A
	// certificate that a client shows must be of theirs; whether one must be
	// shown is up to whoever answers, see [tls.ConnectionState].VerifiedChains.
	ClientCAFile string
}

// Config reads the files. Refused is told when they changed and cannot be
// used: the former ones stay in use. It may be called from any goroutine.
func (s Server) Config(refused func(error)) (*tls.Config, error) {
	paths := []string{s.CertFile, s.KeyFile}
	if s.ClientCAFile != "" {
		paths = append(paths, s.ClientCAFile)
	}
	conf, err := follow(s.read, paths...)
	if err != nil {
		return nil, err
	}
	first, _ := conf.get()
	outer := first.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current, err := conf.get()
		if err != nil {
			refused(err)
		}
		return current, nil
	}
	return outer, nil
}

func (s Server) read() (*tls.Config, error) {
	pair, err := keyPair(s.CertFile, s.KeyFile)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*pair},
		// A resumed session would outlive the authority that let its client in.
		SessionTicketsDisabled: true,
	}
	if s.ClientCAFile != "" {
		if conf.ClientCAs, err = authorities(s.ClientCAFile); err != nil {
			return nil, fmt.Errorf("client_ca_file: %w", err)
		}
		conf.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return conf, nil
}

func keyPair(certFile, keyFile string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file, key_file: %w", err)
	}
	return &pair, nil
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s; it must be PEM", file)
	}
	return pool, nil
}

// followed is what was read from files, and is read again when they change.
type followed[T any] struct {
	read  func() (T, error)
	paths []string

	mu    sync.Mutex
	seen  []stamp
	value T
}

// stamp tells a file from the one that replaced it. Kubernetes replaces a link
// to the folder, which shows in both.
type stamp struct {
	modified time.Time
	size     int64
}

func follow[T any](read func() (T, error), paths ...string) (*followed[T], error) {
	f := &followed[T]{read: read, paths: paths, seen: stamps(paths)}
	var err error
	f.value, err = read()
	return f, err
}

// get is the last value that could be read. An error says that the files have
// changed since and cannot be used; it comes once for each change.
func (f *followed[T]) get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Before they are read: what changes meanwhile is seen the next time.
	now := stamps(f.paths)
	if slices.Equal(now, f.seen) {
		return f.value, nil
	}
	f.seen = now
	value, err := f.read()
	if err != nil {
		return f.value, err
	}
	f.value = value
	return f.value, nil
}

func stamps(paths []string) []stamp {
	out := make([]stamp, len(paths))
	for i, path := range paths {
		if info, err := os.Stat(path); err == nil {
			out[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return out
}
