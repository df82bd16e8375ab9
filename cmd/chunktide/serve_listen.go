package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"chunktide/embedder/service"
	"chunktide/tlsfiles"
)

// What one caller of the service may take; its requests have bounds of their
// own in [service.Config].
const (
	serveHeaderTimeout = 10 * time.Second
	serveIdleTimeout   = 2 * time.Minute
	serveHeaderBytes   = 16 << 10
	// connectionsPerRequest is how many connections are accepted for each request
	// that may be under way: clients keep idle ones. Further ones wait.
	connectionsPerRequest = 4
)

func newServer(cfg service.Config, handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: serveHeaderTimeout, ReadTimeout: cfg.RequestTimeout,
		WriteTimeout: 2 * cfg.RequestTimeout, IdleTimeout: serveIdleTimeout, MaxHeaderBytes: serveHeaderBytes,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// listen serves s, by way of handler, until ctx ends, and then what is under
// way.
func listen(ctx context.Context, cfg service.Config, s *service.Service, handler http.Handler, logger *slog.Logger) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return fmt.Errorf("serve.address %s: %w", cfg.Address, err)
	}
	return listenOn(ctx, listener, cfg, s, handler, logger)
}

// listenOn is listen, on a listener that is open. It closes it.
func listenOn(ctx context.Context, listener net.Listener, cfg service.Config, s *service.Service, handler http.Handler, logger *slog.Logger) error {
	at := listener.Addr().String()
	listener = netutil.LimitListener(listener, connectionsPerRequest*cfg.Requests)
	scheme := "http"
	if cfg.TLS.CertFile != "" {
		conf, err := tlsfiles.Server{CertFile: cfg.TLS.CertFile, KeyFile: cfg.TLS.KeyFile}.Config(func(err error) {
			logger.Warn("the service's certificate was replaced by one that cannot be used; the former one stays", "error", err)
		})
		if err != nil {
			return errors.Join(fmt.Errorf("serve.tls.%w", err), listener.Close())
		}
		listener = tls.NewListener(listener, conf)
		scheme = "https"
	}
	server := newServer(cfg, handler, logger)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	logger.Info("serving embeddings", "url", scheme+"://"+at, "aliases", cfg.Aliases)
	select {
	case err := <-failed:
		return fmt.Errorf("serve.address %s: %w", cfg.Address, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer cancel()
	if err := errors.Join(server.Shutdown(drain), s.Close(drain)); err != nil {
		return fmt.Errorf("stopped with requests under way (serve.drain_timeout %s): %w", cfg.DrainTimeout, err)
	}
	logger.Info("service stopped: every request was answered")
	return nil
}
