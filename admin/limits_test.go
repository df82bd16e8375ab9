package admin

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// within serves the port on a network in memory, where time is the bubble's.
func within(t *testing.T, test func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		listener := bufconn.Listen(64 << 10)
		ctx, stop := context.WithCancel(t.Context())
		o := everything()
		o.Routes["GET /stream"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_ = control.SetWriteDeadline(time.Time{})
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "event\n")
				_ = control.Flush()
				select {
				case <-time.After(time.Minute):
				case <-r.Context().Done():
				}
			}
		})
		serve(ctx, listener, nil, Config{Address: "127.0.0.1:0", Pprof: true}, o)
		test(t, func() net.Conn {
			conn, err := listener.DialContext(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return conn
		})
		stop()
		synctest.Wait()
	})
}

const request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

// Whoever sends nothing, or too slowly, is not waited for.
func TestSlowCallersAreCutOff(t *testing.T) {
	for name, tt := range map[string]struct {
		send  func(net.Conn)
		after time.Duration
	}{
		"nothing":        {func(net.Conn) {}, headerTimeout},
		"half a request": {func(c net.Conn) { _, _ = io.WriteString(c, request[:20]) }, headerTimeout},
		"nothing more":   {func(c net.Conn) { _, _ = io.WriteString(c, request) }, idleTimeout},
		"a body never end": {func(c net.Conn) {
			_, _ = io.WriteString(c, "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
		}, readTimeout},
		"byte by byte": {func(c net.Conn) {
			for _, b := range []byte(request) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second) // the bubble's
			}
		}, headerTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(t *testing.T, dial func() net.Conn) {
				conn, start := dial(), time.Now()
				var sender sync.WaitGroup
				defer sender.Wait()
				defer conn.Close()
				sender.Go(func() { tt.send(conn) })
				_, _ = io.Copy(io.Discard, conn) // ends when the server closes
				// The idle time counts from the answer; the rest is exact.
				if took := time.Since(start); took < tt.after || took > tt.after+time.Second {
					t.Errorf("cut off after %s, want %s", took, tt.after)
				}
			})
		})
	}
}

// A handler that lifts its deadlines is left in peace: the control.
func TestStreamsGoOn(t *testing.T) {
	within(t, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		lines, events := bufio.NewScanner(conn), 0
		for events < 10 && lines.Scan() {
			if lines.Text() == "event" {
				events++
			}
		}
		if events != 10 {
			t.Errorf("%d events in ten minutes, %v", events, lines.Err())
		}
	})
}

// Those beyond the bound wait, and have their turn when others go.
func TestConnectionsAreBounded(t *testing.T) {
	within(t, func(t *testing.T, dial func() net.Conn) {
		var held []net.Conn
		for range maxConnections {
			held = append(held, dial())
		}
		synctest.Wait()
		late := make(chan net.Conn, 1)
		go func() { late <- dial() }() // returns when it is accepted
		synctest.Wait()
		select {
		case <-late:
			t.Errorf("more than %d connections are accepted", maxConnections)
		default:
		}
		began := time.Now()
		held[0].Close()
		conn := <-late
		defer conn.Close()
		if waited := time.Since(began); waited > 0 {
			t.Errorf("accepted %s after there was room: a held connection timed out", waited)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("not answered when there was room: %v", err)
		}
		resp.Body.Close()
		for _, c := range held {
			c.Close()
		}
	})
}
