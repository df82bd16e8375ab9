package main

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

// probes are what the admin port asks the worker. Nil means well.
type probes struct {
	// health: alive and moving. Kubernetes restarts the worker on an error.
	health func() error
	// ready: able to do its work now. Nothing routes to a worker, so that this
	// is for people and roll-outs.
	ready func() error
}

// admin serves /metrics, /healthz and /readyz until ctx ends. It returns the
// address it listens on.
func admin(ctx context.Context, address string, metrics prometheus.Gatherer, p probes, logger *slog.Logger) (net.Addr, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics and health (admin.address %s; empty turns them off): %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", probe(p.health))
	mux.HandleFunc("GET /readyz", probe(p.ready))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the admin port stopped serving", "error", err)
		}
	}()
	return listener.Addr(), nil
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
