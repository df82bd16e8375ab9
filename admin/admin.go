// Package admin is the HTTP port of a Chunktide program for those who run it:
// /metrics, /healthz and /readyz, and whatever else is mounted on it.
//
// Nothing of the program's work depends on it: a port that is slow, flooded or
// closed holds up no batch.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config says where the HTTP port for metrics and health is.
type Config struct {
	// Address is host:port; empty serves nothing. It has no authentication, so
	// it is loopback unless you say otherwise.
	Address string `mapstructure:"address"`
}

// DefaultConfig is a port that only this machine reaches.
func DefaultConfig() Config { return Config{Address: "127.0.0.1:9470"} }

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	if c.Address == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("address: %q is not host:port", c.Address)
	}
	return nil
}

// Options are what the port shows.
type Options struct {
	Metrics prometheus.Gatherer
	// Health is nil while the program is alive and moving. Kubernetes restarts
	// the worker on an error. Without a function it is always well; so is Ready.
	Health func() error
	// Ready is nil while the program is able to do its work now. Nothing routes
	// to a worker, so that this is for people and roll-outs.
	Ready func() error
	// Routes are further handlers, each under its pattern (see
	// [http.ServeMux]). They are protected as /metrics is.
	Routes map[string]http.Handler
	// Public are handlers that anybody may ask, so they must tell nothing of the
	// program: a page that asks for the token, say.
	Public map[string]http.Handler
	Logger *slog.Logger
}

// Serve serves the port until ctx ends, and returns the address it listens
// on.
func Serve(ctx context.Context, cfg Config, o Options) (net.Addr, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics and health (admin.address %s; empty turns them off): %w", cfg.Address, err)
	}
	server := &http.Server{
		Handler: o.mux(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("the admin port stopped serving", "error", err)
		}
	}()
	o.Logger.Info("serving metrics and health", "address", listener.Addr().String())
	return listener.Addr(), nil
}

func (o Options) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", probe(o.Health))
	mux.HandleFunc("GET /readyz", probe(o.Ready))
	for pattern, handler := range o.Routes {
		mux.Handle(pattern, handler)
	}
	for pattern, handler := range o.Public {
		mux.Handle(pattern, handler)
	}
	return mux
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if check == nil {
			fmt.Fprintln(w, "ok")
			return
		}
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
