// Package otlptest is an OTLP collector for tests: on loopback, in process, over
// gRPC and HTTP. It keeps what it is sent.
package otlptest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	v1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Collector takes spans.
type Collector struct {
	collector.UnimplementedTraceServiceServer
	// GRPC and HTTP are the endpoints, as URLs.
	GRPC, HTTP string

	mu      sync.Mutex
	changed chan struct{}
	spans   []*v1.Span
	headers map[string]string
	service map[string]string
}

// Start serves until the test ends.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{changed: make(chan struct{}), headers: map[string]string{}, service: map[string]string{}}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	c.GRPC = "http://" + listener.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.post)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	c.HTTP = web.URL
	return c
}

// Export implements the gRPC service.
func (c *Collector) Export(ctx context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	given, _ := metadata.FromIncomingContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, values := range given {
		c.headers[http.CanonicalHeaderKey(name)] = values[0]
	}
	c.take(r)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (c *Collector) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, values := range r.Header {
		c.headers[name] = values[0]
	}
	c.take(&request)
	w.Header().Set("Content-Type", "application/x-protobuf")
	answer, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	_, _ = w.Write(answer)
}

func (c *Collector) take(r *collector.ExportTraceServiceRequest) {
	for _, resource := range r.GetResourceSpans() {
		for _, a := range resource.GetResource().GetAttributes() {
			c.service[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// Wait returns the spans of a trace (in hexadecimal) when there are so many, or
// what there is when ctx ends.
func (c *Collector) Wait(ctx context.Context, traceID string, n int) []*v1.Span {
	for {
		c.mu.Lock()
		var of []*v1.Span
		for _, s := range c.spans {
			if fmt.Sprintf("%x", s.GetTraceId()) == traceID {
				of = append(of, s)
			}
		}
		changed := c.changed
		c.mu.Unlock()
		if len(of) >= n {
			return of
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return of
		}
	}
}

// Header is a header as it last came, and Resource an attribute of the sender.
func (c *Collector) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headers[http.CanonicalHeaderKey(name)]
}

// Resource is an attribute of the sender.
func (c *Collector) Resource(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.service[key]
}

// Traces counts the traces that spans came of.
func (c *Collector) Traces() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := map[string]bool{}
	for _, s := range c.spans {
		ids[string(s.GetTraceId())] = true
	}
	return len(ids)
}
