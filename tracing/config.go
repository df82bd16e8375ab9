package tracing

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"chunktide/chunk"
	"chunktide/hostport"
	"chunktide/tlsfiles"
)

// The protocols of OTLP.
const (
	ProtocolGRPC = "grpc"
	ProtocolHTTP = "http"
)

// Config says where spans go; without an endpoint nothing is traced.
type Config struct {
	// Endpoint is the URL of an OTLP collector: http://collector:4317,
	// https://otlp.example.com:443. https means TLS. Empty: nothing is traced.
	Endpoint string `mapstructure:"endpoint"`
	// Protocol is grpc (mostly port 4317) or http (protobuf, mostly port 4318,
	// under /v1/traces unless the endpoint has a path).
	Protocol string `mapstructure:"protocol"`
	// Headers are sent with every request, as name=value with commas between
	// them: what a hosted collector asks for as its key. They need https, but to
	// this machine.
	Headers chunk.Secret `mapstructure:"headers"`
	TLS     TLS          `mapstructure:"tls"`
	// SampleRatio is the share of the events without a traceparent that are
	// traced all the same, from 0 to 1. An event with one is traced if its
	// producer records its trace, and only then.
	SampleRatio float64 `mapstructure:"sample_ratio"`
	// ServiceName is what the traces say they come from (service.name).
	ServiceName string `mapstructure:"service_name"`

	// Version is the program's.
	Version string `mapstructure:"-"`
	// Exporter, when set, takes the spans in place of Endpoint: for a program
	// that embeds the worker.
	Exporter sdktrace.SpanExporter `mapstructure:"-"`
}

// TLS has the settings beyond an https endpoint. Files hold PEM.
type TLS struct {
	// CAFile replaces the system's certificate authorities.
	CAFile string `mapstructure:"ca_file"`
	// CertFile and KeyFile are the client's, for mutual TLS.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
	// ServerName is expected in the server's certificate instead of the host of
	// the endpoint.
	ServerName string `mapstructure:"server_name"`
}

// DefaultConfig traces nothing.
func DefaultConfig() Config { return Config{Protocol: ProtocolGRPC, ServiceName: "chunktide"} }

// Enabled reports whether anything is traced.
func (c Config) Enabled() bool { return c.Endpoint != "" || c.Exporter != nil }

// MemoryBytes is what spans that wait may take.
func (c Config) MemoryBytes() int64 {
	if !c.Enabled() {
		return 0
	}
	return queueSpans * spanBytes
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Protocol != ProtocolGRPC && c.Protocol != ProtocolHTTP {
		bad("protocol: %q is neither grpc nor http", c.Protocol)
	}
	if !(c.SampleRatio >= 0 && c.SampleRatio <= 1) || math.IsNaN(c.SampleRatio) {
		bad("sample_ratio: must be from 0 to 1")
	}
	if c.ServiceName == "" {
		bad("service_name: name the service")
	}
	if _, err := c.headers(); err != nil {
		bad("headers: %w", err)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls.cert_file, tls.key_file: give both or neither")
	}
	if c.Endpoint == "" {
		return errors.Join(errs...)
	}
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		bad("endpoint: want http://HOST:PORT or https://HOST:PORT")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		bad("endpoint: must hold no user, query or fragment; a key goes to tracing.headers")
	case c.Protocol == ProtocolGRPC && strings.Trim(u.Path, "/") != "":
		bad("endpoint: has a path, and the protocol grpc knows none: is it http that you mean?")
	case u.Scheme == "http" && c.Headers != "" && !hostport.IsLocal(u.Hostname()):
		bad("headers: would cross the network in clear: use https")
	case u.Scheme == "http" && c.TLS != (TLS{}):
		bad("tls: is given, but the endpoint is http: use https")
	}
	return errors.Join(errs...)
}

// headers are name=value pairs. Its error quotes none of them.
func (c Config) headers() (map[string]string, error) {
	if c.Headers == "" {
		return nil, nil
	}
	out := map[string]string{}
	for pair := range strings.SplitSeq(c.Headers.Reveal(), ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" {
			return nil, errors.New("want name=value, with commas between them")
		}
		out[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return out, nil
}

func (t TLS) load() (*tls.Config, error) {
	files := tlsfiles.Client{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	conf, err := files.Config()
	if err != nil {
		return nil, fmt.Errorf("tls.%w", err)
	}
	return conf, nil
}
