package service

import (
	"errors"
	"fmt"
	"net"
	"time"

	"chunktide/chunk"
	"chunktide/embedder"
	"chunktide/hostport"
)

// Config says how `chunktide serve` listens, what it loads, and what it
// admits.
type Config struct {
	// Address is host:port. It is loopback unless you say otherwise.
	Address string `mapstructure:"address"`
	// APIKey is what callers must send as a bearer token; /health and /metrics
	// need none. Empty asks for nothing.
	APIKey chunk.Secret `mapstructure:"api_key"`
	// AllowUnauthenticated serves another address than loopback without a key.
	AllowUnauthenticated bool `mapstructure:"allow_unauthenticated"`
	TLS                  TLS  `mapstructure:"tls"`

	// Models are loaded beside the one of the embedder section, each with that
	// section's keys and defaults: while an index moves to another model, the
	// old and the new one.
	Models []embedder.Config `mapstructure:"models"`
	// DefaultModel answers requests that name none: a model_version, a model's
	// name, or an alias. Empty: the one of the embedder section.
	DefaultModel string `mapstructure:"default_model"`
	// Aliases are the aliases of the index that a request may name as its
	// model. Empty: qdrant.index.
	Aliases []string `mapstructure:"aliases"`
	// AliasTTL is how long what an alias serves is remembered, and so how long
	// after a promotion the old recipe may still answer. 0 asks every time.
	AliasTTL time.Duration `mapstructure:"alias_ttl"`
	// AliasTimeout bounds the asking; then the answer is 503.
	AliasTimeout time.Duration `mapstructure:"alias_timeout"`

	// Linger is how long a text waits for others to share its batch, when the
	// encoder is idle.
	Linger time.Duration `mapstructure:"linger"`
	// BatchTokens closes a batch. On a CPU a few times embedder.run_tokens; on a
	// GPU at least that.
	BatchTokens int `mapstructure:"batch_tokens"`
	// InFlight is how many batches of documents of a model are with the encoder
	// at once: two, so that it never waits for the next. Of queries there is one.
	InFlight int `mapstructure:"in_flight"`
	// QueueTokens bounds what waits, for each kind and model.
	QueueTokens int `mapstructure:"queue_tokens"`

	// Requests bounds the requests under way; more get 429.
	Requests int `mapstructure:"requests"`
	// RequestBytes, RequestTexts and RequestTokens bound one request.
	RequestBytes  int `mapstructure:"request_bytes"`
	RequestTexts  int `mapstructure:"request_texts"`
	RequestTokens int `mapstructure:"request_tokens"`
	// RequestTimeout is how long a request may take, waiting included; then the
	// answer is 503.
	RequestTimeout time.Duration `mapstructure:"request_timeout"`
	// DrainTimeout is for the requests under way, after SIGTERM.
	DrainTimeout time.Duration `mapstructure:"drain_timeout"`
}

// TLS turns on HTTPS where both files are given, in PEM.
type TLS struct {
	// CertFile and KeyFile are the service's own.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
}

// DefaultConfig suits callers on this machine and a model on the CPU.
func DefaultConfig() Config {
	return Config{
		Address:  "127.0.0.1:9471",
		AliasTTL: 2 * time.Second, AliasTimeout: 2 * time.Second,
		Linger: 2 * time.Millisecond, BatchTokens: 4096, InFlight: 2, QueueTokens: 262144,
		Requests: 512, RequestBytes: 8 << 20, RequestTexts: 2048, RequestTokens: 131072,
		RequestTimeout: 60 * time.Second, DrainTimeout: 25 * time.Second,
	}
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	host, _, err := net.SplitHostPort(c.Address)
	switch {
	case err != nil:
		bad("address: %q is not host:port", c.Address)
	case c.APIKey == "" && !c.AllowUnauthenticated && !hostport.IsLocal(host):
		bad("api_key: is empty, and %s can be reached from other machines: set it, or serve.allow_unauthenticated if you must", c.Address)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls.cert_file, tls.key_file: give both or neither")
	}
	for i, m := range c.Models {
		if m.Encoder == embedder.EncoderRemote {
			bad("models: entry %d: a service of services would hide which recipe answered: load the model itself", i+1)
			continue
		}
		if err := m.Validate(); err != nil {
			bad("models: entry %d: %w", i+1, err)
		}
	}
	for i, name := range c.Aliases {
		if name == "" {
			bad("aliases: entry %d is empty", i+1)
		}
	}
	for _, n := range []struct {
		key          string
		value, least int64
	}{
		{"alias_ttl", int64(c.AliasTTL), 0}, {"alias_timeout", int64(c.AliasTimeout), 1}, {"linger", int64(c.Linger), 0},
		{"batch_tokens", int64(c.BatchTokens), 1}, {"in_flight", int64(c.InFlight), 1}, {"requests", int64(c.Requests), 1},
		{"request_bytes", int64(c.RequestBytes), 1}, {"request_texts", int64(c.RequestTexts), 1},
		{"request_tokens", int64(c.RequestTokens), 1}, {"request_timeout", int64(c.RequestTimeout), 1},
		{"drain_timeout", int64(c.DrainTimeout), 1},
	} {
		if n.value < n.least {
			bad("%s: must be at least %d", n.key, n.least)
		}
	}
	if c.QueueTokens < c.RequestTokens {
		bad("queue_tokens: must be at least request_tokens (%d), or such a request would never find room", c.RequestTokens)
	}
	return errors.Join(errs...)
}
