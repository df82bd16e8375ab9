package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"chunktide/embedder"
	"chunktide/embedder/service"
)

// Whoever sends nothing, or too slowly, is not waited for. The time is the
// bubble's.
func TestServeCutsSlowCallersOff(t *testing.T) {
	cfg := service.DefaultConfig()
	send := func(text string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, text) }
	}
	for name, tt := range map[string]struct {
		send  func(net.Conn)
		after time.Duration
	}{
		"nothing":               {send(""), serveHeaderTimeout},
		"half a header":         {send("POST /embed HTTP/1.1\r\nHo"), serveHeaderTimeout},
		"half a body":           {send("POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"), cfg.RequestTimeout},
		"nothing, after it all": {send("POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"), serveIdleTimeout},
		"byte by byte": {func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, serveHeaderTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := bufconn.Listen(64 << 10)
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						http.Error(w, "too slow", http.StatusRequestTimeout)
					}
				})
				server := newServer(cfg, handler, slog.New(slog.DiscardHandler))
				var goroutines sync.WaitGroup
				defer goroutines.Wait()
				defer server.Close()
				goroutines.Go(func() { _ = server.Serve(listener) })
				conn, err := listener.DialContext(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				start := time.Now()
				goroutines.Go(func() { tt.send(conn) })
				_, _ = io.Copy(io.Discard, conn) // ends when the server closes
				if took := time.Since(start); took < tt.after || took > tt.after+time.Second {
					t.Errorf("cut off after %s, want %s", took, tt.after)
				}
			})
		})
	}
}

// Callers beyond the bound wait, and have their turn when one goes. Where the
// bound is higher, the control, nobody waits.
func TestServeBoundsItsConnections(t *testing.T) {
	const callers = connectionsPerRequest
	for name, tt := range map[string]struct {
		requests int
		waits    bool
	}{
		"as many as are let in": {1, true},
		"fewer":                 {2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call := servedInMemory(t, tt.requests)
				var first *caller
				for i := range callers {
					c := call()
					if !c.answered() {
						t.Fatalf("caller %d of %d is not answered", i+1, callers)
					}
					if first == nil {
						first = c
					}
				}
				late := call()
				if got := late.answered(); got == tt.waits {
					t.Errorf("with %d connections open one more is answered: %t", callers, got)
				}
				// Now, and not when the server has had enough of idle callers.
				start := time.Now()
				first.hangUp()
				if !late.answered() || time.Since(start) != 0 {
					t.Error("one connection was closed, and the one that came next is not answered")
				}
			})
		})
	}
}

// servedInMemory runs the service until the test ends, on a network in memory,
// where time is the bubble's. It returns what calls it.
func servedInMemory(t *testing.T, requests int) (call func() *caller) {
	t.Helper()
	cfg := service.DefaultConfig()
	cfg.Requests = requests
	s, err := service.New(cfg, service.Options{Encoders: []embedder.SequenceEncoder{embedder.NewBow("", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(64 << 10)
	ctx, stop := context.WithCancel(context.Background())
	var goroutines sync.WaitGroup
	goroutines.Go(func() {
		if err := listenOn(ctx, listener, cfg, s, s, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		goroutines.Wait()
	})
	return func() *caller {
		c := &caller{}
		ctx, cancel := context.WithCancel(ctx)
		goroutines.Go(func() { c.ask(ctx, listener) })
		c.hangUp = cancel
		return c
	}
}

// caller asks once and keeps its connection.
type caller struct {
	hangUp context.CancelFunc
	status atomic.Int64
}

func (c *caller) ask(ctx context.Context, listener *bufconn.Listener) {
	conn, err := listener.DialContext(ctx) // returns when it is accepted
	if err != nil {
		return
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return
	}
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		resp.Body.Close()
		c.status.Store(int64(resp.StatusCode))
	}
	<-ctx.Done()
}

// answered waits until nothing more can happen without time going by.
func (c *caller) answered() bool {
	synctest.Wait()
	return c.status.Load() == http.StatusOK
}
