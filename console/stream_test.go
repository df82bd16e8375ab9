package console

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gatherings counts how often it is asked.
type gatherings struct {
	mu sync.Mutex
	n  int
	prometheus.Gatherer
}

func (g *gatherings) Gather() ([]*dto.MetricFamily, error) {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
	return g.Gatherer.Gather()
}

func (g *gatherings) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

func newTestConsole(ctx context.Context, adjust func(*Options)) (*Console, *gatherings) {
	g := &gatherings{Gatherer: newCounted().reg}
	o := Options{Config: DefaultConfig(), Metrics: g, Alias: "docs", Logger: slog.New(slog.DiscardHandler)}
	if adjust != nil {
		adjust(&o)
	}
	return New(ctx, o), g
}

// reader is a browser: it takes what is written, or holds it up.
type reader struct {
	header http.Header
	mu     sync.Mutex
	all    bytes.Buffer
	code   int
	shut   chan struct{} // nil: takes everything
}

func (r *reader) Header() http.Header { return r.header }
func (r *reader) WriteHeader(code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code = code
}
func (r *reader) Flush() {}
func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	shut := r.shut
	r.mu.Unlock()
	if shut != nil {
		<-shut
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.Write(p)
}

func (r *reader) hold() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	shut := make(chan struct{})
	r.shut = shut
	return func() {
		r.mu.Lock()
		r.shut = nil
		r.mu.Unlock()
		close(shut)
	}
}

// snapshots are the sequence numbers that came, and the other events.
func (r *reader) snapshots(t *testing.T) (seqs []uint64, others []string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for event := range strings.SplitSeq(strings.TrimSuffix(r.all.String(), "\n\n"), "\n\n") {
		name, data := "", ""
		for line := range strings.SplitSeq(event, "\n") {
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				data = v
			}
		}
		if name != "snapshot" {
			others = append(others, name+" "+data)
			continue
		}
		var s struct{ Seq uint64 }
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		seqs = append(seqs, s.Seq)
	}
	return seqs, others
}

// watch has a browser read the stream until leave is called.
func watch(c *Console) (r *reader, leave func()) {
	r = &reader{header: http.Header{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.serveStream(r, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/stream", nil))
	}()
	return r, func() { cancel(); <-done }
}

func TestAStreamHasASnapshotEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		c, g := newTestConsole(ctx, nil)
		time.Sleep(time.Minute)
		if n := g.count(); n != 0 {
			t.Errorf("the metrics were read %d times while nobody watched", n)
		}
		first, leave := watch(c)
		time.Sleep(5*time.Second + time.Millisecond)
		second, leaveSecond := watch(c)
		time.Sleep(2 * time.Second)
		leave()
		if seqs, others := first.snapshots(t); fmt.Sprint(seqs) != "[1 2 3 4 5 6 7 8]" || fmt.Sprint(others) != "[history []]" {
			t.Errorf("the first reader has %v and %q", seqs, others)
		}
		leaveSecond()
		// The newest at once, with the past.
		seqs, others := second.snapshots(t)
		if fmt.Sprint(seqs) != "[6 7 8]" || len(others) != 1 || strings.Count(others[0], `"at"`) != 5 {
			t.Errorf("the second reader has %v and %q", seqs, others)
		}
		if n := g.count(); n != 8 {
			t.Errorf("for two readers the metrics were read %d times in 7 s", n)
		}
		time.Sleep(lingers + 2*sampleEvery)
		synctest.Wait()
		before := g.count()
		time.Sleep(time.Minute)
		if n := g.count(); n != before {
			t.Errorf("the metrics are read though nobody has watched for long")
		}
		// And again, for who comes then: not what was seen a minute ago.
		third, leaveThird := watch(c)
		time.Sleep(sampleEvery / 2)
		leaveThird()
		if seqs, _ := third.snapshots(t); len(seqs) != 1 || int(seqs[0]) != before+1 {
			t.Errorf("after a pause the reader has %v, %d came before", seqs, before)
		}
	})
}

func TestASlowReaderGetsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		c, _ := newTestConsole(ctx, nil)
		slow, leaveSlow := watch(c)
		quick, leaveQuick := watch(c)
		time.Sleep(sampleEvery / 2)
		release := slow.hold()
		time.Sleep(6 * sampleEvery)
		release()
		synctest.Wait()
		leaveSlow()
		leaveQuick()
		if seqs, _ := quick.snapshots(t); fmt.Sprint(seqs) != "[1 2 3 4 5 6 7]" {
			t.Errorf("beside a slow reader there are %v", seqs)
		}
		// The second was on its way when it was held.
		if seqs, _ := slow.snapshots(t); fmt.Sprint(seqs) != "[1 2 7]" {
			t.Errorf("the slow reader has %v", seqs)
		}
	})
}

// Over a connection: who does not read at all is left behind, and frees the
// place.
func TestWhoDoesNotReadIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		c, _ := newTestConsole(ctx, nil)
		near, far := net.Pipe()
		server := &http.Server{Handler: http.HandlerFunc(c.serveStream)}
		listener := &oneConn{conn: near, closed: make(chan struct{})}
		go func() { _ = server.Serve(listener) }()
		defer server.Close()
		fmt.Fprintf(far, "GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
		synctest.Wait()
		if n := c.watching(); n != 1 {
			t.Fatalf("%d watch", n)
		}
		time.Sleep(writeTimeout + time.Second)
		synctest.Wait()
		if n := c.watching(); n != 0 {
			t.Errorf("%d watch after %s without reading", n, writeTimeout)
		}
		far.Close()
	})
}

func (c *Console) watching() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watchers
}

// oneConn listens for a single connection.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (conn net.Conn, err error) {
	l.once.Do(func() { conn = l.conn })
	if conn == nil {
		<-l.closed
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

func TestNotTooManyWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		c, _ := newTestConsole(ctx, nil)
		var leave []func()
		for range maxStreams {
			_, l := watch(c)
			leave = append(leave, l)
		}
		synctest.Wait()
		more, leaveMore := watch(c)
		leaveMore()
		if more.code != http.StatusServiceUnavailable || more.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %d %v", more.code, more.header)
		}
		leave[0]()
		again, leaveAgain := watch(c)
		synctest.Wait()
		leaveAgain()
		if seqs, _ := again.snapshots(t); len(seqs) != 1 {
			t.Errorf("when one had gone, the next got %v", seqs)
		}
		for _, l := range leave[1:] {
			l()
		}
	})
}

// The server's limits for requests that end are not for a stream; the control
// is a wrapper that takes away the means to lift them.
func TestAStreamOutlivesTheServersLimits(t *testing.T) {
	for name, lifted := range map[string]bool{"lifted": true, "control": false} {
		ctx, stop := context.WithCancel(t.Context())
		c, _ := newTestConsole(ctx, nil)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !lifted {
				w = struct {
					http.ResponseWriter
					http.Flusher
				}{w, w.(http.Flusher)}
			}
			c.serveStream(w, r)
		}))
		server.Config.ReadTimeout, server.Config.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond
		server.Start()
		resp, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		snapshots := 0
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() && snapshots < 4 {
			if lines.Text() == "event: snapshot" {
				snapshots++
			}
		}
		resp.Body.Close()
		stop()
		server.Close()
		if ended := snapshots < 4; ended == lifted {
			t.Errorf("%s: %d snapshots came", name, snapshots)
		}
	}
}

// What must be asked for holds up no snapshot, and a question without an answer
// leaves what was known.
func TestFactsComeApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		turn := 0
		c, _ := newTestConsole(ctx, func(o *Options) {
			o.Index = func(ctx context.Context) (*Index, error) {
				if turn++; turn == 1 {
					return &Index{Alias: "docs"}, nil
				}
				<-ctx.Done()
				return nil, errors.New("Qdrant does not answer")
			}
			o.DeadLetters = func(ctx context.Context) ([]DeadLetter, error) { <-ctx.Done(); return nil, ctx.Err() }
			o.Ready = func() error { return errors.New("no partition is assigned") }
		})
		r, leave := watch(c)
		time.Sleep(askEvery + askTimeout + 2*time.Second)
		leave()
		if seqs, _ := r.snapshots(t); len(seqs) < 17 {
			t.Errorf("%d snapshots came while a question was waiting for its answer", len(seqs))
		}
		latest, _ := c.now()
		var s struct {
			Unready string
			Index   fact[*Index]       `json:"index_facts"`
			Letters fact[[]DeadLetter] `json:"dead_letters"`
		}
		if err := json.Unmarshal(latest.json, &s); err != nil {
			t.Fatal(err)
		}
		if s.Index.Value == nil || s.Index.Error != "Qdrant does not answer" || s.Index.At.IsZero() {
			t.Errorf("of the index it says %+v", s.Index)
		}
		if s.Letters.Error == "" || !s.Letters.At.IsZero() || s.Unready != "no partition is assigned" {
			t.Errorf("%+v", s)
		}
	})
}

func TestOneSnapshotForScripts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		c, _ := newTestConsole(ctx, func(o *Options) {
			o.Index = func(ctx context.Context) (*Index, error) {
				select {
				case <-time.After(3 * time.Second):
				case <-ctx.Done():
				}
				return &Index{Alias: "docs"}, nil
			}
		})
		w := httptest.NewRecorder()
		c.serveSnapshot(w, httptest.NewRequest(http.MethodGet, "/api/snapshot", nil))
		var s struct {
			Index  string
			Window float64
			Facts  fact[*Index] `json:"index_facts"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || s.Facts.Value == nil || s.Index != "docs" || s.Window == 0 {
			t.Errorf("%v: %s", err, w.Body)
		}
		if n := c.watching(); n != 0 {
			t.Errorf("%d watch after the answer", n)
		}
	})
}
