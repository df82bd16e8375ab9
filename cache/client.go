package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"

	"chunktide/chunk"
	"chunktide/tlsfiles"
)

// target is a parsed URL: exactly one of the three is set.
type target struct {
	single   *redis.Options
	sentinel *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

const urlForms = "redis://host:6379/0, rediss://…, unix:///path, " +
	"redis+sentinel://host:26379/0?master_name=NAME or redis+cluster://host:6379"

// parseURL never quotes the URL in an error: it may hold a password.
func parseURL(secret chunk.Secret) (target, error) {
	raw := secret.Reveal()
	u, err := url.Parse(raw)
	// An unescaped / or @ in a password ends up in the path.
	if err != nil || strings.Contains(u.Path, "@") {
		return target{}, errors.New("url: not a URL (percent-encode special characters of a password, " +
			"or set it as password); write " + urlForms)
	}
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	plain := scheme + raw[len(u.Scheme):]
	var t target
	switch {
	case kind == "" && (scheme == "redis" || scheme == "rediss" || scheme == "unix"):
		t.single, err = redis.ParseURL(plain)
	case kind == "sentinel" && (scheme == "redis" || scheme == "rediss"):
		if u.Port() == "" {
			return target{}, errors.New("url: name Sentinel's port, as in redis+sentinel://host:26379/0?master_name=NAME")
		}
		t.sentinel, err = redis.ParseFailoverURL(plain)
		if err == nil && t.sentinel.MasterName == "" {
			err = errors.New("master_name is missing: add ?master_name=NAME")
		}
	case kind == "cluster" && (scheme == "redis" || scheme == "rediss"):
		t.cluster, err = redis.ParseClusterURL(plain)
	default:
		return target{}, fmt.Errorf("url: unknown scheme; write %s", urlForms)
	}
	if err != nil {
		return target{}, fmt.Errorf("url: %w", err)
	}
	return t, nil
}

func (t target) tls() bool {
	switch {
	case t.single != nil:
		return t.single.TLSConfig != nil
	case t.sentinel != nil:
		return t.sentinel.TLSConfig != nil
	default:
		return t.cluster.TLSConfig != nil
	}
}

// addresses names where Redis is, without credentials.
func (t target) addresses() []string {
	switch {
	case t.single != nil:
		return []string{t.single.Addr}
	case t.sentinel != nil:
		return t.sentinel.SentinelAddrs
	default:
		return t.cluster.Addrs
	}
}

// newClient connects lazily. All clients:
//
//   - heed the context's deadline on reads and writes, which go-redis by
//     itself does not;
//   - do not retry or dial again: the next round does. (A cluster client
//     follows redirections within the round.)
//   - speak RESP2 without CLIENT SETINFO: nothing here needs more, and an ACL
//     user gets by with four commands.
func newClient(c Config, t target) (redis.UniversalClient, error) {
	secure, err := c.TLS.load()
	if err != nil {
		return nil, err
	}
	switch {
	case t.single != nil:
		o := t.single
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol = true, true, 2
		o.MaxRetries, o.DialerRetries = -1, 1
		o.PipelinePoolSize = -1
		c.credentials(&o.Username, &o.Password)
		c.TLS.apply(secure, o.TLSConfig)
		o.Dialer = c.Dial
		return redis.NewClient(o), nil
	case t.sentinel != nil:
		o := t.sentinel
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol = true, true, 2
		o.MaxRetries, o.DialerRetries = -1, 1
		o.PipelinePoolSize = -1
		c.credentials(&o.Username, &o.Password)
		c.TLS.apply(secure, o.TLSConfig)
		o.Dialer = c.Dial
		return redis.NewFailoverClient(o), nil
	default:
		o := t.cluster
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol = true, true, 2
		o.MaxRetries, o.DialerRetries = -1, 1
		o.PipelinePoolSize = -1
		c.credentials(&o.Username, &o.Password)
		c.TLS.apply(secure, o.TLSConfig)
		o.Dialer = c.Dial
		return redis.NewClusterClient(o), nil
	}
}

func (c Config) credentials(username, password *string) {
	if c.Username != "" {
		*username = c.Username
	}
	if c.Password != "" {
		*password = c.Password.Reveal()
	}
}

// load reads the files.
func (t TLS) load() (*tls.Config, error) {
	files := tlsfiles.Client{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile}
	conf, err := files.Config()
	if err != nil {
		return nil, fmt.Errorf("tls.%w", err)
	}
	return conf, nil
}

// apply sets what was loaded on the TLS settings that came from the URL, if it
// has any.
func (t TLS) apply(loaded, to *tls.Config) {
	if to == nil {
		return
	}
	to.MinVersion = loaded.MinVersion
	to.RootCAs, to.GetClientCertificate = loaded.RootCAs, loaded.GetClientCertificate
	if t.ServerName != "" {
		to.ServerName = t.ServerName
	}
}

// LogClient sends what the Redis client library itself reports (mostly failed
// connections, which the cache has logged once already) to logger at debug
// level, instead of to standard error. The library has one logger for the whole
// process: call it once, before [New].
func LogClient(logger *slog.Logger) { redis.SetLogger(clientLog{logger}) }

type clientLog struct{ logger *slog.Logger }

func (l clientLog) Printf(ctx context.Context, format string, args ...any) {
	l.logger.DebugContext(ctx, fmt.Sprintf(format, args...), "library", "go-redis")
}
