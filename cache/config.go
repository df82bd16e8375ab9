package cache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"chunktide/chunk"
)

// Config says where vectors are kept and for how long.
type Config struct {
	// URL is where Redis is; empty keeps vectors in memory only. It takes go-redis's
	// query parameters (pool_size, dial_timeout, …), of which max_retries has no
	// effect: the breaker is the one place that tries again. The forms:
	//
	//	redis://user:password@host:6379/0        a single server; rediss:// for TLS
	//	unix:///run/redis/redis.sock?db=0        the same, by a socket
	//	redis+sentinel://host:26379/0?master_name=mymaster&addr=host2:26379
	//	redis+cluster://host:6379?addr=host2:6379
	//
	// rediss+sentinel:// and rediss+cluster:// use TLS. User and password in a
	// sentinel URL are Sentinel's own; those of the data nodes are Username and
	// Password below. It is a secret, because it may hold a password.
	URL chunk.Secret `mapstructure:"url"`
	// Username and Password, where set, replace those of the URL: a password
	// from a file or the environment needs no percent-encoding.
	Username string       `mapstructure:"username"`
	Password chunk.Secret `mapstructure:"password"`
	TLS      TLS          `mapstructure:"tls"`
	// Prefix begins every key.
	Prefix string `mapstructure:"prefix"`
	// TTL is how long Redis keeps a vector; zero leaves that to its
	// maxmemory-policy.
	TTL time.Duration `mapstructure:"ttl"`
	// DType is fp32 or fp16. fp16 halves the room and rounds every component
	// to 11 significant bits, also in the index: changing it changes vectors.
	DType string `mapstructure:"dtype"`
	// MemoryBytes bounds the memory tier, bookkeeping included; zero turns it
	// off.
	MemoryBytes int64 `mapstructure:"memory_bytes"`
	// Timeout bounds a round: one pipeline of at most 256 keys, with connecting
	// where that is needed.
	Timeout time.Duration `mapstructure:"timeout"`
	Breaker Breaker       `mapstructure:"breaker"`
	// Dial, when set, opens the connections in place of TCP: for a program that
	// embeds the worker, and for a server within the process. With a rediss URL
	// it has to do TLS itself.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `mapstructure:"-"`
}

// TLS has the settings beyond a rediss URL. Files hold PEM.
type TLS struct {
	// CAFile replaces the system's certificate authorities.
	CAFile string `mapstructure:"ca_file"`
	// CertFile and KeyFile are the client's, for mutual TLS.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
	// ServerName is expected in the server's certificate, instead of the host
	// in the URL.
	ServerName string `mapstructure:"server_name"`
}

// Breaker says when to stop asking Redis, and when to ask again.
type Breaker struct {
	// Failures in a row open the breaker.
	Failures int `mapstructure:"failures"`
	// Retry is the first pause; each failed probe doubles it up to MaxRetry.
	Retry    time.Duration `mapstructure:"retry"`
	MaxRetry time.Duration `mapstructure:"max_retry"`
}

// DefaultConfig keeps vectors in memory only; with a URL it suits a Redis in
// the same data centre.
func DefaultConfig() Config {
	return Config{
		Prefix:      "ct:",
		DType:       "fp32",
		MemoryBytes: 256 << 20,
		Timeout:     250 * time.Millisecond,
		Breaker:     Breaker{Failures: 3, Retry: time.Second, MaxRetry: 30 * time.Second},
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseDType(c.DType); err != nil {
		errs = append(errs, err)
	}
	if c.MemoryBytes < 0 {
		bad("memory_bytes: must not be negative (0 turns the memory tier off)")
	}
	if c.TTL < 0 || c.TTL > 0 && c.TTL < time.Millisecond {
		bad("ttl: must be 0 (for ever) or at least a millisecond")
	}
	if c.Timeout <= 0 {
		bad("timeout: must be positive")
	}
	if c.Breaker.Failures < 1 {
		bad("breaker.failures: must be at least 1")
	}
	if c.Breaker.Retry <= 0 {
		bad("breaker.retry: must be positive")
	}
	if c.Breaker.MaxRetry < c.Breaker.Retry {
		bad("breaker.max_retry: must not be below breaker.retry")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls.cert_file: goes together with tls.key_file")
	}
	if c.URL == "" {
		if c.Username != "" || c.Password != "" || c.TLS != (TLS{}) {
			bad("url: missing, but username, password or tls is set")
		}
		return errors.Join(errs...)
	}
	t, err := parseURL(c.URL)
	switch {
	case err != nil:
		errs = append(errs, err)
	case c.TLS != (TLS{}) && !t.tls():
		bad("tls: is set, but the url's scheme is without TLS: write rediss instead of redis")
	}
	return errors.Join(errs...)
}
