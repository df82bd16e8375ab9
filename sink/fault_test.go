package sink

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"chunktide/chunk"
)

// faulty is a server whose writes fail as the test scripts it: fault is called
// for each write with its number, from 1, and a way to let it through.
func faulty(t *testing.T, fault func(n int, write func() (any, error)) (any, error)) *Sink {
	t.Helper()
	var armed atomic.Bool
	var writes atomic.Int64
	addr := embedded(t, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !armed.Load() || !strings.HasSuffix(info.FullMethod, "/UpdateBatch") {
			return handler(ctx, req)
		}
		answer, err := fault(int(writes.Add(1)), func() (any, error) { return handler(ctx, req) })
		var limited retryLater
		if errors.As(err, &limited) {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("retry-after", limited.seconds))
			return nil, status.Error(codes.ResourceExhausted, "rate limit")
		}
		return answer, err
	})
	cfg := testConfig(addr)
	cfg.RequestTimeout = 2 * time.Second
	s := open(t, cfg, testModel("m"))
	armed.Store(true)
	return s
}

type retryLater struct{ seconds string }

func (retryLater) Error() string { return "later" }

func withStatus(answer any, s qdrant.UpdateStatus) (any, error) {
	for _, r := range answer.(*qdrant.UpdateBatchResponse).GetResult() {
		r.Status = s
	}
	return answer, nil
}

func TestTransientFaultsAreRetriedUntilDurable(t *testing.T) {
	for name, fault := range map[string]func(n int, write func() (any, error)) (any, error){
		"unavailable": func(n int, write func() (any, error)) (any, error) {
			if n < 4 {
				return nil, status.Error(codes.Unavailable, "restarting")
			}
			return write()
		},
		"applied, then the deadline": func(n int, write func() (any, error)) (any, error) {
			answer, err := write()
			if n < 3 {
				return nil, status.Error(codes.DeadlineExceeded, "too late")
			}
			return answer, err
		},
		"acknowledged only": func(n int, write func() (any, error)) (any, error) {
			if n < 3 {
				return withStatus(&qdrant.UpdateBatchResponse{Result: []*qdrant.UpdateResult{{}}}, qdrant.UpdateStatus_Acknowledged)
			}
			return write()
		},
		"wait timeout": func(n int, write func() (any, error)) (any, error) {
			answer, err := write()
			if n < 3 {
				return withStatus(answer, qdrant.UpdateStatus_WaitTimeout)
			}
			return answer, err
		},
		"fewer results than operations": func(n int, write func() (any, error)) (any, error) {
			if n < 3 {
				return &qdrant.UpdateBatchResponse{}, nil
			}
			return write()
		},
		"internal": func(n int, write func() (any, error)) (any, error) {
			if n < 3 {
				return nil, status.Error(codes.Internal, "shard is gone")
			}
			return write()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := faulty(t, fault)
			apply(t, s, upsert("a", "x", 1))
			want(t, s, "a", "x@1")
			if ok, _, err := s.Healthy(); !ok {
				t.Errorf("not healthy after all went well: %v", err)
			}
		})
	}
}

// Control: had a nil error counted as success, the write would be missing.
func TestControlAcknowledgedIsNotDurable(t *testing.T) {
	s := faulty(t, func(int, func() (any, error)) (any, error) {
		return withStatus(&qdrant.UpdateBatchResponse{Result: []*qdrant.UpdateResult{{}}}, qdrant.UpdateStatus_Acknowledged)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Apply(ctx, []chunk.Point{upsert("a", "x", 1)}); err == nil {
		t.Error("a write that was never done was reported durable")
	}
	want(t, s, "a", "")
}

func TestTheServersWishForAPauseIsHeeded(t *testing.T) {
	s := faulty(t, func(n int, write func() (any, error)) (any, error) {
		if n == 1 {
			return nil, retryLater{"7"}
		}
		return write()
	})
	var pauses []time.Duration
	s.sleep = func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil }
	apply(t, s, upsert("a", "x", 1))
	if len(pauses) != 1 || pauses[0] < 7*time.Second {
		t.Errorf("paused %v, the server asked for 7s", pauses)
	}
}

func TestFaultsThatDoNotPass(t *testing.T) {
	for name, tt := range map[string]struct {
		code      codes.Code
		permanent bool
		says      string
	}{
		"invalid point":   {codes.InvalidArgument, true, "bad"},
		"collection gone": {codes.NotFound, false, "dropped"},
		"bad key":         {codes.Unauthenticated, false, "qdrant.api_key"},
		"no rights":       {codes.PermissionDenied, false, "qdrant.api_key"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			s := faulty(t, func(int, func() (any, error)) (any, error) {
				calls++
				return nil, status.Error(tt.code, "bad")
			})
			err := s.Apply(t.Context(), []chunk.Point{upsert("a", "x", 1)})
			reason, permanent := chunk.ReasonOf(err)
			if err == nil || permanent != tt.permanent || (permanent && reason != chunk.ReasonIndexRefused) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v (permanent %t), want it to say %q", err, permanent, tt.says)
			}
			if calls != 1 {
				t.Errorf("tried %d times", calls)
			}
			// A refused point says nothing against the index.
			if ok, since, last := s.Healthy(); ok != tt.permanent || since.IsZero() != ok || (last == nil) != ok {
				t.Errorf("Healthy = %t, %v, %v after a failure", ok, since, last)
			}
		})
	}
}

func TestRetriesEndWithTheContext(t *testing.T) {
	s := faulty(t, func(int, func() (any, error)) (any, error) { return nil, status.Error(codes.Unavailable, "gone") })
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	s.sleep = func(ctx context.Context, _ time.Duration) error {
		if tries++; tries == 5 {
			cancel()
		}
		return ctx.Err()
	}
	before := s.Activity()
	if err := s.Apply(ctx, []chunk.Point{upsert("a", "x", 1)}); err == nil {
		t.Error("nil after the context ended")
	}
	if tries != 5 || s.Activity()-before != 5 {
		t.Errorf("%d pauses, %d attempts; want 5", tries, s.Activity()-before)
	}
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	s := faulty(t, func(n int, write func() (any, error)) (any, error) {
		if n < 12 {
			return nil, status.Error(codes.Unavailable, "gone")
		}
		return write()
	})
	s.cfg.Retry = Retry{Initial: 100 * time.Millisecond, Max: time.Second}
	var pauses []time.Duration
	s.sleep = func(_ context.Context, d time.Duration) error { pauses = append(pauses, d); return nil }
	apply(t, s, upsert("a", "x", 1))
	for i, d := range pauses {
		base := min(100*time.Millisecond<<i, time.Second)
		if d < base/2 || d > base*3/2 {
			t.Errorf("pause %d is %s, want %s give or take half", i, d, base)
		}
	}
}

// The API key comes with every request, beside the client's own interceptors.
func TestAPIKeyIsSent(t *testing.T) {
	var keys atomic.Int64
	addr := embedded(t, func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		if v := md.Get("api-key"); len(v) == 1 && v[0] == "k" {
			keys.Add(1)
		}
		return handler(ctx, req)
	})
	cfg := testConfig(addr)
	cfg.APIKey = "k"
	s := open(t, cfg, testModel("m"))
	apply(t, s, upsert("a", "x", 1))
	if keys.Load() != int64(s.Activity()) {
		t.Errorf("%d of %d requests had the key", keys.Load(), s.Activity())
	}
}
