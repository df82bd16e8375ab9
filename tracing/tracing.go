// Package tracing sends spans to an OTLP collector, with OpenTelemetry's SDK.
//
// Nothing waits for it: spans go through a queue of bounded size, what does not
// fit is dropped, and a collector that is away costs log lines only. At the end
// what is queued is sent, for a few seconds at most.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"chunktide/chunk"
)

const (
	// queueSpans bounds what waits for the collector, of so many bytes each.
	queueSpans    = 8192
	spanBytes     = 2 << 10
	batchTimeout  = time.Second
	exportTimeout = 10 * time.Second
	// flushTimeout bounds the end.
	flushTimeout = 5 * time.Second
)

// Tracing is where spans go. The zero value sends none.
type Tracing struct {
	// Tracer makes the spans; nil if nothing is traced.
	Tracer trace.Tracer
	// Roots says that events without a trace may begin one.
	Roots    bool
	provider *sdktrace.TracerProvider
	logger   *slog.Logger
}

// Start begins to send; nothing is asked of the collector, which may come
// later. Without an endpoint it returns a Tracing that sends nothing.
func Start(ctx context.Context, cfg Config, logger *slog.Logger) (*Tracing, error) {
	if !cfg.Enabled() {
		return &Tracing{}, nil
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	exporter := cfg.Exporter
	if exporter == nil {
		var err error
		if exporter, err = cfg.connect(ctx); err != nil {
			return nil, fmt.Errorf("tracing: %w", err)
		}
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(cfg.resource(ctx)),
		// A producer's word counts; the ratio is for who has said nothing.
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))),
		sdktrace.WithBatcher(&patient{SpanExporter: exporter, logger: logger},
			sdktrace.WithMaxQueueSize(queueSpans), sdktrace.WithBatchTimeout(batchTimeout), sdktrace.WithExportTimeout(exportTimeout)),
	)
	if cfg.Endpoint != "" {
		logger.Info("tracing", "endpoint", cfg.Endpoint, "protocol", cfg.Protocol, "sample_ratio", cfg.SampleRatio)
	}
	return &Tracing{Tracer: provider.Tracer("chunktide"), Roots: cfg.SampleRatio > 0, provider: provider, logger: logger}, nil
}

// resource says who sends; OTEL_RESOURCE_ATTRIBUTES may say more.
func (c Config) resource(ctx context.Context) *resource.Resource {
	attributes := []attribute.KeyValue{attribute.String("service.name", c.ServiceName)}
	if c.Version != "" {
		attributes = append(attributes, attribute.String("service.version", c.Version))
	}
	if host, err := os.Hostname(); err == nil {
		attributes = append(attributes, attribute.String("service.instance.id", host+":"+strconv.Itoa(os.Getpid())))
	}
	// What is wrong in the variable is left out.
	r, _ := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithAttributes(attributes...))
	return r
}

func (c Config) connect(ctx context.Context) (*otlptrace.Exporter, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	headers, err := c.headers()
	if err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	conf, err := c.TLS.load()
	if err != nil {
		return nil, err
	}
	insecure := u.Scheme == "http"
	if c.Protocol == ProtocolHTTP {
		path := u.Path
		if path == "" || path == "/" {
			path = "/v1/traces"
		}
		options := []otlptracehttp.Option{
			otlptracehttp.WithEndpoint(u.Host), otlptracehttp.WithURLPath(path), otlptracehttp.WithHeaders(headers), otlptracehttp.WithTimeout(exportTimeout),
		}
		if insecure {
			return otlptracehttp.New(ctx, append(options, otlptracehttp.WithInsecure())...)
		}
		return otlptracehttp.New(ctx, append(options, otlptracehttp.WithTLSClientConfig(conf))...)
	}
	options := []otlptracegrpc.Option{
		otlptracegrpc.WithEndpoint(u.Host), otlptracegrpc.WithHeaders(headers), otlptracegrpc.WithTimeout(exportTimeout),
	}
	if insecure {
		return otlptracegrpc.New(ctx, append(options, otlptracegrpc.WithInsecure())...)
	}
	return otlptracegrpc.New(ctx, append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(conf)))...)
}

// Close sends what is queued, for a few seconds at most, and ends. What did
// not go out is lost, and told.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil || t.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	err := t.provider.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		// A collector that is away is no failure of the program.
		t.logger.Warn("the collector did not take the last spans in time; they are lost", "waited", flushTimeout)
		return nil
	}
	return err
}

// patient logs the first failure of several in a row, and the end of them. The
// SDK would print each, past the logger.
type patient struct {
	sdktrace.SpanExporter
	logger  *slog.Logger
	failing atomic.Bool
}

func (p *patient) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := p.SpanExporter.ExportSpans(ctx, spans)
	switch was := p.failing.Swap(err != nil); {
	case err != nil && !was:
		p.logger.Warn("the collector did not take the spans; they are dropped until it does", "spans", len(spans), "error", err)
	case err == nil && was:
		p.logger.Info("the collector takes spans again")
	}
	return nil
}

// Handler makes a server span of each request whose caller records its trace.
// Without tracing it returns next.
func (t *Tracing) Handler(next http.Handler) http.Handler {
	if t.Tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		if !trace.SpanContextFromContext(ctx).IsSampled() {
			next.ServeHTTP(w, r)
			return
		}
		ctx, span := t.Tracer.Start(ctx, "encode", trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path)))
		defer span.End()
		answer := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(answer, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", answer.code))
		if answer.code >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	})
}

// status remembers what was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Publish begins the span of a record that is published, as a child of a
// producer's trace or, if that is none, as one of its own. It returns the trace
// to send along, which is none if nobody records it, and the end of the span.
func (t *Tracing) Publish(parent chunk.Trace, topic string) (sent chunk.Trace, end func(error)) {
	if t == nil || t.Tracer == nil {
		return parent, func(error) {}
	}
	_, span := t.Tracer.Start(Remote(parent), "publish", trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "kafka"), attribute.String("messaging.operation.type", "send"), attribute.String("messaging.destination.name", topic)))
	if at := span.SpanContext(); at.IsSampled() {
		parent = chunk.Trace{TraceID: at.TraceID(), SpanID: at.SpanID(), Flags: byte(at.TraceFlags())}
	}
	return parent, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "not published")
		}
		span.End()
	}
}

// Remote is a context in a trace that came from elsewhere.
func Remote(t chunk.Trace) context.Context {
	return trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: t.TraceID, SpanID: t.SpanID, TraceFlags: trace.TraceFlags(t.Flags), Remote: true,
	}))
}
