package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

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
