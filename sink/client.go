package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"chunktide/chunk"
)

// client is a connection with the one place where requests are retried.
type client struct {
	cfg     Config
	logger  *slog.Logger
	metrics *metrics
	conn    *qdrant.Client
	points  qdrant.PointsClient
	collect qdrant.CollectionsClient
	// sleep waits between attempts; tests replace it.
	sleep func(ctx context.Context, d time.Duration) error

	attempts atomic.Uint64
	mu       sync.Mutex
	failing  time.Time // since when no attempt has succeeded; zero when well
	lastErr  error
}

// maxReceive admits a scroll page of many long texts.
const maxReceive = 256 << 20

// keepAliveTimeout is how many seconds a silent connection has to answer a
// ping. The client's own 2 cut the connection of a server that is merely busy
// with a big write.
const keepAliveTimeout = 20

func dial(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	host, portText, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.TLS.client()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive))}
	if cfg.APIKey != "" {
		// Given to the library, it would warn past our logger where there is no
		// TLS; Validate has decided about that.
		options = append(options, grpc.WithChainUnaryInterceptor(sendKey(cfg.APIKey)))
	}
	if cfg.Dial != nil {
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return cfg.Dial(ctx, "tcp", address)
		}))
	}
	conn, err := qdrant.NewClient(&qdrant.Config{
		Host: host, Port: port, UseTLS: tlsConfig != nil, TLSConfig: tlsConfig,
		// Doctor reports versions; a check here would log past our logger.
		SkipCompatibilityCheck: true,
		PoolSize:               1,
		KeepAliveTimeout:       keepAliveTimeout,
		GrpcOptions:            options,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to Qdrant at %s: %w", cfg.Address, err)
	}
	return &client{
		cfg: cfg, logger: logger, metrics: newMetrics(reg), conn: conn,
		points: conn.GetPointsClient(), collect: conn.GetCollectionsClient(), sleep: sleep,
	}, nil
}

func sendKey(key chunk.Secret) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return call(metadata.AppendToOutgoingContext(ctx, "api-key", key.Reveal()), method, req, reply, conn, opts...)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the connection.
func (c *client) Close() error { return c.conn.Close() }

// Activity counts attempts. While it rises the sink is alive, though it may
// not succeed.
func (c *client) Activity() uint64 { return c.attempts.Load() }

// Healthy tells whether the last attempt was answered, and if not, since when
// none has and what the last one met.
func (c *client) Healthy() (ok bool, since time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failing.IsZero(), c.failing, c.lastErr
}

// errUnfinished is a write whose outcome is not known, though the call itself
// succeeded.
var errUnfinished = errors.New("the server did not finish the write")

// do runs one request until it succeeds, fails for good, or ctx ends.
func (c *client) do(ctx context.Context, op string, request func(context.Context) error) error {
	wait := c.cfg.Retry.Initial
	for {
		err := c.attempt(ctx, op, request)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return c.unanswered(op, ctx.Err(), err)
		}
		pause, retry := retryAfter(err, wait)
		if !retry {
			return c.final(op, err)
		}
		c.metrics.retries.Inc()
		c.logger.Warn("Qdrant did not do it, trying again", "op", op, "in", pause, "error", err)
		if ended := c.sleep(ctx, pause); ended != nil {
			return c.unanswered(op, ended, err)
		}
		wait = min(2*wait, c.cfg.Retry.Max)
	}
}

// unanswered is the error of a request that ctx ended while it was tried. The
// class of the last attempt's error no longer counts.
func (c *client) unanswered(op string, ended, last error) error {
	advice := ""
	if errors.Is(ended, context.DeadlineExceeded) {
		advice = fmt.Sprintf("; is Qdrant up, and is it at qdrant.address, %s?", c.cfg.Address)
	}
	return fmt.Errorf("%s: %w; the last answer was: %s%s", op, ended, last.Error(), advice)
}

// attempt runs a request once, bounded by the request timeout.
func (c *client) attempt(ctx context.Context, op string, request func(context.Context) error) error {
	c.attempts.Add(1)
	limited, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	start := time.Now()
	err := request(limited)
	c.metrics.observe(op, err, time.Since(start))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil || status.Code(err) == codes.InvalidArgument:
		// A refusal is an answer, to one point; and it may quote the text.
		c.failing, c.lastErr = time.Time{}, nil
	case c.failing.IsZero():
		c.failing, c.lastErr = time.Now(), err
	default:
		c.lastErr = err
	}
	return err
}

// retryAfter says whether an error may pass, and how long to wait: the
// server's own wish, else the backoff with jitter, so that workers do not come
// back all at once.
func retryAfter(err error, backoff time.Duration) (time.Duration, bool) {
	jittered := backoff/2 + rand.N(backoff)
	var exhausted *qdrant.QdrantResourceExhaustedError
	if errors.As(err, &exhausted) {
		return max(jittered, time.Duration(exhausted.RetryAfterS)*time.Second), true
	}
	if errors.Is(err, errUnfinished) || errors.Is(err, context.DeadlineExceeded) {
		return jittered, true
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.DeadlineExceeded, codes.Canceled, codes.Aborted,
		codes.FailedPrecondition, codes.ResourceExhausted:
		return jittered, true
	default:
		return 0, false
	}
}

// final classes an error that no retry can mend.
func (c *client) final(op string, err error) error {
	switch status.Code(err) {
	case codes.InvalidArgument:
		return chunk.Permanent(chunk.ReasonIndexRefused, fmt.Errorf("%s: %w", op, err))
	case codes.NotFound:
		return fmt.Errorf("%s: %w: the collection or alias is gone; was it dropped while the worker ran? Start the worker again to make it anew, then replay", op, err)
	case codes.Unauthenticated, codes.PermissionDenied:
		return fmt.Errorf("%s: %w: check qdrant.api_key and its rights on the collection", op, err)
	case codes.Unimplemented:
		return fmt.Errorf("%s: %w: is qdrant.address the gRPC port of Qdrant 1.16 or newer?", op, err)
	default:
		return fmt.Errorf("%s: %w", op, err)
	}
}
