package admin

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"chunktide/chunk"
	"chunktide/hostport"
)

// Config says where the HTTP port for metrics and health is, and who may ask
// there. /healthz and /readyz answer everybody, since who probes a worker has
// no secrets.
type Config struct {
	// Address is host:port; empty serves nothing. An address that other machines
	// reach needs Token, TLS.ClientCAFile or AnonymousMetrics.
	Address string `mapstructure:"address"`
	// Token is what callers send as a bearer token, at least 16 characters (openssl
	// rand -hex 32 makes one). The commands that read a worker's metrics send
	// it too. Without TLS it crosses the network in clear.
	Token chunk.Secret `mapstructure:"token"`
	// AnonymousMetrics serves /metrics to those who have neither token nor
	// certificate, where a network policy keeps others away. The rest of the port
	// stays closed to them.
	AnonymousMetrics bool `mapstructure:"anonymous_metrics"`
	// Pprof serves Go's profiles under /debug/pprof/, protected as /metrics is
	// without AnonymousMetrics. They show where time and memory go, and no data.
	Pprof bool `mapstructure:"pprof"`
	TLS   TLS  `mapstructure:"tls"`
}

// TLS turns on HTTPS where CertFile and KeyFile are given. Files hold PEM, and
// are read again when they change.
type TLS struct {
	// CertFile and KeyFile are the port's own.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
	// ClientCAFile asks callers for a certificate that these authorities signed
	// (mutual TLS), beside the token if there is one. Probes need none.
	ClientCAFile string `mapstructure:"client_ca_file"`
	// CAFile and ServerName are for commands that read the port: the authorities
	// to trust in place of the system's, and the name expected in the
	// certificate in place of the host. For mutual TLS they show the port's own
	// certificate.
	CAFile     string `mapstructure:"ca_file"`
	ServerName string `mapstructure:"server_name"`
}

func (t TLS) enabled() bool { return t.CertFile != "" }

// DefaultConfig is a port that only this machine reaches.
func DefaultConfig() Config { return Config{Address: "127.0.0.1:9470", Pprof: true} }

// leastToken is how short a token may be that other machines can guess at.
const leastToken = 16

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	if c.Address == "" {
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	host, port, err := net.SplitHostPort(c.Address)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		bad("address: %q is not host:port", c.Address)
		return errors.Join(errs...)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls.cert_file, tls.key_file: give both or neither")
	}
	if c.TLS.ClientCAFile != "" && !c.TLS.enabled() {
		bad("tls.client_ca_file: needs tls.cert_file and tls.key_file")
	}
	if hostport.IsLocal(host) {
		return errors.Join(errs...)
	}
	if c.Token == "" && c.TLS.ClientCAFile == "" && !c.AnonymousMetrics {
		bad("token: is empty, and %s can be reached from other machines: set it (or token_file), or tls.client_ca_file, "+
			"or admin.anonymous_metrics where a network policy keeps others away", c.Address)
	}
	if c.Token != "" && len(c.Token) < leastToken {
		bad("token: has fewer than %d characters, and %s can be reached from other machines: openssl rand -hex 32 makes one", leastToken, c.Address)
	}
	return errors.Join(errs...)
}
