package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"chunktide/chunk"
	"chunktide/tracing/otlptest"
)

const traceID = "0af7651916cd43dd8448eb211c80319c"

func parent(t *testing.T, flags string) chunk.Trace {
	t.Helper()
	p, ok := chunk.ParseTrace("00-" + traceID + "-b7ad6b7169203331-" + flags)
	if !ok {
		t.Fatal("no trace")
	}
	return p
}

func TestSpansArriveOverOTLP(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{ProtocolGRPC, ProtocolHTTP} {
		c := otlptest.Start(t)
		cfg := DefaultConfig()
		cfg.Protocol, cfg.Endpoint, cfg.Headers, cfg.Version = protocol, c.GRPC, "x-key=secret, x-more=a=b", "v9"
		if protocol == ProtocolHTTP {
			cfg.Endpoint = c.HTTP
		}
		tracing, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		sent, end := tracing.Publish(parent(t, "01"), "docs")
		end(nil)
		if err := tracing.Close(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		spans := c.Wait(ctx, traceID, 1)
		cancel()
		if len(spans) != 1 || spans[0].GetName() != "publish" || string(spans[0].GetSpanId()) != string(sent.SpanID[:]) {
			t.Errorf("%s: %v, want the span %s", protocol, spans, sent)
		}
		if c.Header("x-key") != "secret" || c.Header("x-more") != "a=b" || c.Resource("service.name") != "chunktide" || c.Resource("service.version") != "v9" {
			t.Errorf("%s: headers %q %q, from %q %q", protocol, c.Header("x-key"), c.Header("x-more"), c.Resource("service.name"), c.Resource("service.version"))
		}
	}
}

func TestWhoIsTraced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ratio  float64
		parent chunk.Trace
		spans  int
		same   bool // the producer's trace goes on
	}{
		"recorded by the producer":     {0, parent(t, "01"), 1, true},
		"not recorded by the producer": {1, parent(t, "00"), 0, true},
		"no trace":                     {0, chunk.Trace{}, 0, false},
		"no trace, all are begun":      {1, chunk.Trace{}, 1, false},
	} {
		exporter := tracetest.NewInMemoryExporter()
		cfg := DefaultConfig()
		cfg.Exporter, cfg.SampleRatio = keep{exporter}, c.ratio
		tracing, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		sent, end := tracing.Publish(c.parent, "docs")
		end(errors.New("x"))
		if err := tracing.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(exporter.GetSpans()); n != c.spans || (sent.TraceID == parent(t, "01").TraceID) != c.same || sent.Sampled() != (c.spans > 0) {
			t.Errorf("%s: %d spans, %s is sent along; want %d", name, n, sent, c.spans)
		}
	}
}

// keep leaves what was exported where it is at the end.
type keep struct{ *tracetest.InMemoryExporter }

func (keep) Shutdown(context.Context) error { return nil }

func TestOff(t *testing.T) {
	t.Parallel()
	tracing, err := Start(t.Context(), DefaultConfig(), nil)
	if err != nil || tracing.Tracer != nil || tracing.Roots {
		t.Fatalf("%+v, %v", tracing, err)
	}
	if sent, end := tracing.Publish(parent(t, "01"), "docs"); sent != parent(t, "01") {
		t.Errorf("%s is sent along, want what was given", sent)
	} else {
		end(nil)
	}
	if h := http.NotFoundHandler(); tracing.Handler(h) == nil {
		t.Error("no handler")
	}
	var none *Tracing
	if err := errors.Join(tracing.Close(t.Context()), none.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

// A collector that hangs holds up nothing, and the end only for a while.
func TestACollectorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		h := &hanging{released: make(chan struct{})}
		cfg.Exporter = h
		tracing, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 3 * queueSpans {
			_, end := tracing.Publish(parent(t, "01"), "docs")
			end(nil)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("%s for spans that nobody takes", took)
		}
		time.Sleep(time.Second)
		began = time.Now()
		if err := tracing.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > flushTimeout {
			t.Errorf("the end took %s", took)
		}
		if h.calls.Load() == 0 {
			t.Error("control: the collector was never asked")
		}
		close(h.released) // so that nothing of it outlives the test
		time.Sleep(time.Second)
	})
}

type hanging struct {
	calls    atomic.Int64
	released chan struct{}
}

func (h *hanging) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	h.calls.Add(1)
	select {
	case <-ctx.Done():
	case <-h.released:
	}
	return ctx.Err()
}
func (h *hanging) Shutdown(context.Context) error { return nil }

// A collector that is away costs one line, and one when it is back.
func TestFailuresAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	down := errors.New("connection refused")
	e := &failing{err: down}
	p := &patient{SpanExporter: e, logger: slog.New(slog.NewTextHandler(&log, nil))}
	for range 3 {
		if err := p.ExportSpans(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	e.err = nil
	for range 2 {
		_ = p.ExportSpans(t.Context(), nil)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "connection refused") || !strings.Contains(log.String(), "takes spans again") {
		t.Errorf("%d lines: %s", n, &log)
	}
}

type failing struct{ err error }

func (f *failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return f.err }
func (f *failing) Shutdown(context.Context) error                             { return nil }

func TestRequestsOfTracedCallersHaveASpan(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	cfg := DefaultConfig()
	cfg.Exporter, cfg.SampleRatio = keep{exporter}, 1
	tracing, err := Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var within []bool
	h := tracing.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		within = append(within, trace.SpanContextFromContext(r.Context()).IsSampled())
		http.Error(w, "busy", http.StatusServiceUnavailable)
	}))
	for _, header := range []string{parent(t, "01").String(), parent(t, "00").String(), "nonsense", ""} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/embeddings", nil)
		r.Header.Set("traceparent", header)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if err := tracing.Close(t.Context()); err != nil {
		t.Error(err)
	}
	spans := exporter.GetSpans()
	if len(spans) != 1 || spans[0].Parent.TraceID().String() != traceID || spans[0].Status.Code.String() != "Error" || len(within) != 4 || !within[0] || within[1] || within[2] || within[3] {
		t.Errorf("%d spans %+v, within %v", len(spans), spans, within)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"defaults":           {func(*Config) {}, ""},
		"grpc":               {func(c *Config) { c.Endpoint = "http://collector:4317" }, ""},
		"https with all":     {func(c *Config) { c.Endpoint, c.Headers, c.TLS.ServerName = "https://x:4317", "a=b,c=d", "y" }, ""},
		"http with a path":   {func(c *Config) { c.Endpoint, c.Protocol = "https://x/otlp/v1/traces", "http" }, ""},
		"key to this host":   {func(c *Config) { c.Endpoint, c.Headers = "http://127.0.0.1:4317", "a=b" }, ""},
		"no scheme":          {func(c *Config) { c.Endpoint = "collector:4317" }, "endpoint: want"},
		"a password":         {func(c *Config) { c.Endpoint = "https://u:p@x:4317" }, "no user"},
		"grpc with a path":   {func(c *Config) { c.Endpoint = "https://x/v1/traces" }, "is it http"},
		"key in clear":       {func(c *Config) { c.Endpoint, c.Headers = "http://x:4317", "a=b" }, "in clear"},
		"tls without https":  {func(c *Config) { c.Endpoint, c.TLS.CAFile = "http://x:4317", "ca.pem" }, "use https"},
		"half a certificate": {func(c *Config) { c.TLS.CertFile = "x" }, "both or neither"},
		"protocol":           {func(c *Config) { c.Protocol = "json" }, "protocol"},
		"ratio":              {func(c *Config) { c.SampleRatio = 1.5 }, "sample_ratio"},
		"headers":            {func(c *Config) { c.Headers = "hunter2" }, "want name=value"},
		"service":            {func(c *Config) { c.ServiceName = "" }, "service_name"},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, started := Start(t.Context(), cfg, slog.New(slog.DiscardHandler)); cfg.Endpoint != "" && c.want != "" && started == nil {
			t.Errorf("%s: it starts", name)
		}
	}
}
