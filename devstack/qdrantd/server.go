package qdrantd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	// The real server accepts compressed requests.
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
)

// Version is the version of Qdrant whose behaviour the server follows, and
// which its health check reports.
const Version = "1.18.3"

// Options configure a server. The zero value is a server without API key on a
// free port of 127.0.0.1.
type Options struct {
	// Addr is the loopback address to listen on; "127.0.0.1:0" if empty.
	Addr string
	// Listener, when set, is served in place of Addr: one of a network in
	// memory. The server closes it.
	Listener net.Listener
	// APIKey, when set, must come with every request (header api-key, or a
	// bearer token) except the health check.
	APIKey string
	// Logger gets one record for each failed request, on debug level, and for
	// each failure that a request without wait did not hear of. Nil discards.
	Logger *slog.Logger
	// Interceptor runs around every request that passed the API key check. It
	// is the place for fault injection: it may fail a request before the
	// handler sees it, fail it after it was applied, hold it, or change the
	// answer. It is called concurrently.
	Interceptor grpc.UnaryServerInterceptor
}

// Server is a running server. All its methods are safe for concurrent use.
type Server struct {
	grpc     *grpc.Server
	listener net.Listener
	served   chan struct{}
	points   *pointsService
}

// Start listens and serves until [Server.Close].
func Start(opts Options) (*Server, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	listener := opts.Listener
	if listener == nil {
		if err := onlyHere(opts.Addr); err != nil {
			return nil, err
		}
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", opts.Addr); err != nil {
			return nil, fmt.Errorf("embedded Qdrant: listen on %s: %w", opts.Addr, err)
		}
	}
	interceptors := []grpc.UnaryServerInterceptor{logFailures(log)}
	if opts.APIKey != "" {
		interceptors = append(interceptors, requireKey(opts.APIKey))
	}
	if opts.Interceptor != nil {
		interceptors = append(interceptors, opts.Interceptor)
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(interceptors...),
		// The real gRPC API limits neither.
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.MaxSendMsgSize(math.MaxInt32),
		// The Go client pings an idle connection every ten seconds; grpc-go
		// would take that for abuse and close it.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Millisecond, PermitWithoutStream: true}),
	)
	store := newStore()
	pb.RegisterQdrantServer(server, healthService{})
	pb.RegisterCollectionsServer(server, &collectionsService{store: store})
	points := &pointsService{store: store, log: log}
	pb.RegisterPointsServer(server, points)
	s := &Server{grpc: server, listener: listener, served: make(chan struct{}), points: points}
	go func() {
		defer close(s.served)
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			log.Error("embedded Qdrant stopped serving", "error", err)
		}
	}()
	return s, nil
}

// onlyHere refuses an address that other machines reach: the server bounds
// neither its memory nor its requests.
func onlyHere(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("embedded Qdrant: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("embedded Qdrant: %s can be reached from other machines; it is for tests on this one", addr)
	}
	return nil
}

// Addr is the host:port that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Points is the service behind the network and the interceptor, for a test that
// looks at what is stored while the interceptor holds or breaks every request.
func (s *Server) Points() pb.PointsServer { return s.points }

// Close stops the server as a kill would: connections break, requests in
// flight are cancelled, and everything stored is gone. It returns when no
// handler runs any more, and may be called again.
func (s *Server) Close() {
	s.grpc.Stop()
	<-s.served
}

type healthService struct{ pb.UnimplementedQdrantServer }

func (healthService) HealthCheck(context.Context, *pb.HealthCheckRequest) (*pb.HealthCheckReply, error) {
	return &pb.HealthCheckReply{Title: "qdrant - vector search engine", Version: Version}, nil
}
