// Package admin is the HTTP port of a Chunktide program for those who run it:
// /metrics, /healthz and /readyz, profiles, and whatever else is mounted on it.
//
// Nothing of the program's work depends on it: a port that is slow, flooded or
// closed holds up no batch. Every connection and request is bounded. Whoever
// cannot show what [Config] asks for learns whether the program is well, and
// nothing else.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"chunktide/hostport"
	"chunktide/tlsfiles"
)

// What one caller may take. A handler that answers for longer, such as a
// stream, lifts the write deadline of its own connection ([http.ResponseController]).
const (
	headerTimeout = 5 * time.Second // for a request's headers, and for TLS's handshake
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second // between requests
	headerBytes   = 16 << 10
	bodyBytes     = 1 << 20
	// Further connections wait until one ends.
	maxConnections = 128
)

// Options are what the port shows.
type Options struct {
	Metrics prometheus.Gatherer
	// Health is nil while the program is alive and moving. Kubernetes restarts
	// the worker on an error. Without a function it is always well; so is Ready.
	// Why it is not well is told to those who may read the metrics.
	Health func() error
	// Ready is nil while the program is able to do its work now. Nothing routes
	// to a worker, so that this is for people and roll-outs.
	Ready func() error
	// Routes are further handlers, each under its pattern (see
	// [http.ServeMux]). They are protected as /metrics is, but AnonymousMetrics
	// does not open them.
	Routes map[string]http.Handler
	// Public are handlers that anybody may ask, so they must tell nothing of the
	// program: a page that asks for the token, say.
	Public map[string]http.Handler
	Logger *slog.Logger
}

// Serve serves the port until ctx ends, and returns the address it listens
// on. It reads the certificate files.
func Serve(ctx context.Context, cfg Config, o Options) (net.Addr, error) {
	var conf *tls.Config
	if cfg.TLS.enabled() {
		var err error
		files := tlsfiles.Server{CertFile: cfg.TLS.CertFile, KeyFile: cfg.TLS.KeyFile, ClientCAFile: cfg.TLS.ClientCAFile}
		conf, err = files.Config(func(err error) {
			o.Logger.Warn("the admin port's certificate was replaced by one that cannot be used; the former one stays", "error", err)
		})
		if err != nil {
			return nil, fmt.Errorf("admin.tls.%w", err)
		}
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics and health (admin.address %s; empty turns them off): %w", cfg.Address, err)
	}
	serve(ctx, listener, conf, cfg, o)
	o.Logger.Info("serving metrics and health", "address", listener.Addr().String(), "tls", conf != nil, "token", cfg.Token != "")
	if host, _, err := net.SplitHostPort(cfg.Address); err == nil && !hostport.IsLocal(host) && cfg.Token != "" && conf == nil {
		o.Logger.Warn("admin.token crosses the network in clear: set admin.tls, or see to it that nobody can read it on the way")
	}
	return listener.Addr(), nil
}

// serve serves on listener until ctx ends.
func serve(ctx context.Context, listener net.Listener, conf *tls.Config, cfg Config, o Options) {
	bounded := netutil.LimitListener(listener, maxConnections)
	if conf != nil {
		bounded = tls.NewListener(bounded, conf)
	}
	server := &http.Server{
		Handler:           o.handler(cfg),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerBytes,
		ErrorLog:       slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(bounded); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("the admin port stopped serving", "error", err)
		}
	}()
}

func (o Options) handler(cfg Config) http.Handler {
	g := guard{cfg}
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})
	if cfg.AnonymousMetrics {
		mux.Handle("GET /metrics", metrics)
	} else {
		mux.Handle("GET /metrics", g.protect(metrics))
	}
	mux.HandleFunc("GET /healthz", g.probe(o.Health))
	mux.HandleFunc("GET /readyz", g.probe(o.Ready))
	if cfg.Pprof {
		// Without cmdline: settings may stand on a command line, secrets among them.
		// A profile of some seconds lifts the write deadline by itself.
		mux.Handle("GET /debug/pprof/", g.protect(http.HandlerFunc(pprof.Index)))
		mux.Handle("GET /debug/pprof/profile", g.protect(http.HandlerFunc(pprof.Profile)))
		mux.Handle("GET /debug/pprof/trace", g.protect(http.HandlerFunc(pprof.Trace)))
		mux.Handle("GET /debug/pprof/symbol", g.protect(http.HandlerFunc(pprof.Symbol)))
	}
	for pattern, handler := range o.Routes {
		mux.Handle(pattern, g.protect(handler))
	}
	for pattern, handler := range o.Public {
		mux.Handle(pattern, handler)
	}
	return g.admit(mux)
}

func (g guard) probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		var err error
		if check != nil {
			err = check()
		}
		switch {
		case err == nil:
			fmt.Fprintln(w, "ok")
		case g.refusal(r) != nil:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, "not now; why is told to those who send the token (admin.token)")
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
		}
	}
}
