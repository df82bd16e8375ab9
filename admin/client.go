package admin

import (
	"fmt"
	"net"
	"net/http"

	"chunktide/tlsfiles"
)

// URL is where the port of this configuration is reached from this machine,
// without a slash at the end. It is empty where there is none.
func (c Config) URL() string {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	scheme := "http"
	if c.TLS.enabled() {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Client is for those who read the port, or that of another worker of the same
// settings: it sends the token, and shows the certificate for mutual TLS. It
// follows no redirections, which could lead the token elsewhere, and goes
// through no proxy.
func (c Config) Client() (*http.Client, error) {
	files := tlsfiles.Client{CAFile: c.TLS.CAFile, ServerName: c.TLS.ServerName}
	if c.TLS.ClientCAFile != "" {
		files.CertFile, files.KeyFile = c.TLS.CertFile, c.TLS.KeyFile
	}
	conf, err := files.Config()
	if err != nil {
		return nil, fmt.Errorf("admin.tls.%w", err)
	}
	return &http.Client{
		Transport: &bearer{token: c.Token.Reveal(), next: &http.Transport{
			TLSClientConfig: conf, TLSHandshakeTimeout: headerTimeout, ResponseHeaderTimeout: writeTimeout,
			MaxResponseHeaderBytes: headerBytes, IdleConnTimeout: idleTimeout,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// bearer adds the token.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context()) // a round trip must not change its request
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (b *bearer) CloseIdleConnections() {
	if t, ok := b.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}
