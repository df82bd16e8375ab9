package cache

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"chunktide/chunk"
	"chunktide/devstack/realservers"
)

func TestMain(m *testing.M) {
	LogClient(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// clock stands still until it is moved.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(0, c.nanos.Load()) }
func (c *clock) move(d time.Duration) { c.nanos.Add(int64(d)) }

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), words)
}

// patient is a cache on a clock of the test's.
func patient(t *testing.T, url string, change ...func(*Config)) (*Cache, *clock, *logged) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.URL = chunk.Secret(url)
	cfg.MemoryBytes = 0
	cfg.Timeout = 10 * time.Second
	for _, f := range change {
		f(&cfg)
	}
	clk, log := &clock{}, &logged{}
	c, err := newCache(cfg, testDigest, testDim, slog.New(slog.NewTextHandler(log, nil)), nil, clk.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, clk, log
}

func up(c *Cache) bool { return testutil.ToFloat64(c.metrics.up) == 1 }

// Redis goes and comes back: Get misses and Put returns, without an error and
// without asking while the breaker is open.
func outage(t *testing.T, url string, down, back func()) {
	c, clk, log := patient(t, url)
	hashes, es := embeddings(3)
	want := c.Put(t.Context(), hashes, es)
	wantSame(t, "before", c.Get(t.Context(), hashes), want)
	down()
	none := make([]chunk.Embedding, 3)
	for range 10 {
		wantSame(t, "get without Redis", c.Get(t.Context(), hashes), none)
		wantSame(t, "put without Redis", c.Put(t.Context(), hashes, es), want)
	}
	if up(c) || log.count("Redis does not answer") != 1 {
		t.Errorf("up: %v; log:\n%s", up(c), &log.b)
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Error("Ping is content")
	}
	clk.move(time.Second)
	c.Get(t.Context(), hashes) // a probe that fails
	if up(c) {
		t.Error("up after a probe that failed")
	}
	back()
	wantSame(t, "get before the pause is over", c.Get(t.Context(), hashes), none)
	clk.move(2 * time.Second) // twice the first pause
	c.Get(t.Context(), hashes)
	if !up(c) || log.count("Redis answers again") != 1 {
		t.Errorf("up: %v; log:\n%s", up(c), &log.b)
	}
	c.Put(t.Context(), hashes, es)
	wantSame(t, "after", c.Get(t.Context(), hashes), want)
	if got := counter(t, c, failed); got != 3*12 {
		t.Errorf("%d lookups counted as errors, want 36", got)
	}
}

func TestOutageMiniredis(t *testing.T) {
	m := miniredis.RunT(t)
	outage(t, "redis://"+m.Addr(), m.Close, func() {
		if err := m.Restart(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOutageRedis(t *testing.T) {
	s := realservers.RunRedis(t, realservers.RedisOptions{})
	outage(t, s.URL(), func() {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}, func() {
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// While Redis is away, the memory tier goes on.
func TestMemoryOutlivesRedis(t *testing.T) {
	m := miniredis.RunT(t)
	c, _, _ := patient(t, "redis://"+m.Addr(), func(c *Config) { c.MemoryBytes = 1 << 20 })
	m.Close()
	hashes, es := embeddings(3)
	c.Put(t.Context(), hashes, es)
	wantSame(t, "get", c.Get(t.Context(), hashes), es)
}

func TestFlushAll(t *testing.T) {
	m := miniredis.RunT(t)
	c, _, _ := patient(t, "redis://"+m.Addr(), func(c *Config) { c.MemoryBytes = 1 << 20 })
	hashes, es := embeddings(3)
	c.Put(t.Context(), hashes, es)
	m.FlushAll()
	wantSame(t, "from memory", c.Get(t.Context(), hashes), es)
	c.Forget()
	wantSame(t, "from Redis", c.Get(t.Context(), hashes), make([]chunk.Embedding, 3))
	c.Put(t.Context(), hashes, es)
	c.Forget()
	wantSame(t, "put again", c.Get(t.Context(), hashes), es)
	if !up(c) {
		t.Error("an empty Redis is taken for one that is down")
	}
}

// blackHole accepts connections and never answers.
func blackHole(t *testing.T) (addr string, accepted *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				for _, conn := range held {
					conn.Close()
				}
				return
			}
			accepted.Add(1)
			held = append(held, conn)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), accepted
}

func TestTimeoutBoundsARound(t *testing.T) {
	addr, accepted := blackHole(t)
	const timeout = 50 * time.Millisecond
	c, clk, _ := patient(t, "redis://"+addr+"?read_timeout=5s", func(c *Config) { c.Timeout = timeout })
	hashes, es := embeddings(3)
	for i := range 3 {
		began := time.Now()
		wantSame(t, "get", c.Get(t.Context(), hashes), make([]chunk.Embedding, 3))
		if took := time.Since(began); took < timeout || took > timeout+2*time.Second {
			t.Errorf("round %d took %v with a timeout of %v", i, took, timeout)
		}
	}
	if up(c) {
		t.Error("the breaker is closed after three timeouts")
	}
	asked := accepted.Load()
	for range 100 {
		c.Get(t.Context(), hashes)
		wantSame(t, "put", c.Put(t.Context(), hashes, es), es)
	}
	if got := accepted.Load(); got != asked {
		t.Errorf("%d connections while the breaker is open", got-asked)
	}
	clk.move(time.Second)
	c.Put(t.Context(), hashes, es) // does not probe
	if got := accepted.Load(); got != asked {
		t.Errorf("%d connections for a Put while the breaker is open", got-asked)
	}
	c.Get(t.Context(), hashes)
	if got := accepted.Load(); got != asked+1 {
		t.Errorf("%d connections for a probe", got-asked)
	}
}

// The control: a client without ContextTimeoutEnabled waits for its own
// timeout instead of the round's.
func TestDeadlineNeedsContextTimeout(t *testing.T) {
	addr, _ := blackHole(t)
	const own = 400 * time.Millisecond
	client := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: own, MaxRetries: -1})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := client.Get(ctx, "key").Err(); err == nil {
		t.Fatal("a black hole answered")
	}
	if took := time.Since(began); took < own {
		t.Errorf("took %v: go-redis heeds deadlines by itself now; ContextTimeoutEnabled may go", took)
	}
}

// A caller that gives up says nothing about Redis.
func TestCancelledCallsDoNotOpenTheBreaker(t *testing.T) {
	m := miniredis.RunT(t)
	c, _, _ := patient(t, "redis://"+m.Addr())
	hashes, es := embeddings(2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		wantSame(t, "get", c.Get(ctx, hashes), make([]chunk.Embedding, 2))
		wantSame(t, "put", c.Put(ctx, hashes, es), es)
	}
	if !up(c) {
		t.Error("the breaker is open")
	}
}

// A Redis that is full answers lookups, so it is not taken for one that is
// down, and the log says once what is wrong.
func TestRedisThatTakesNoWrites(t *testing.T) {
	s := realservers.RunRedis(t, realservers.RedisOptions{})
	c, _, log := patient(t, s.URL())
	raw := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer raw.Close()
	hashes, es := embeddings(4)
	c.Put(t.Context(), hashes[:2], es[:2])
	limit := func(bytes string) {
		t.Helper()
		if err := raw.ConfigSet(t.Context(), "maxmemory", bytes).Err(); err != nil {
			t.Fatal(err)
		}
	}
	limit("1")
	for range 5 {
		wantSame(t, "put", c.Put(t.Context(), hashes[2:], es[2:]), es[2:])
	}
	wantSame(t, "get", c.Get(t.Context(), hashes[:2]), es[:2])
	if !up(c) || log.count("takes no vectors") != 1 {
		t.Errorf("up: %v; log:\n%s", up(c), &log.b)
	}
	if err := c.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "maxmemory-policy") {
		t.Errorf("Ping: %v", err)
	}
	limit("0")
	c.Put(t.Context(), hashes, es)
	wantSame(t, "get", c.Get(t.Context(), hashes), es)
	if log.count("takes vectors again") != 1 {
		t.Errorf("log:\n%s", &log.b)
	}
}

// The documented rights are enough, and one fewer is not.
func TestACLUser(t *testing.T) {
	s := realservers.RunRedis(t, realservers.RedisOptions{})
	hashes, es := embeddings(2)
	user := func(name string, rules ...any) (*Cache, *logged) {
		acl(t, s.Addr, append([]any{"setuser", name, "on", ">a /secret@:", "~ct:*"}, rules...)...)
		c, _, log := patient(t, s.URL(), func(c *Config) { c.Username, c.Password = name, "a /secret@:" })
		return c, log
	}
	c, _ := user("enough", "+get", "+set", "+del", "+ping")
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	c.Put(t.Context(), hashes, es)
	wantSame(t, "get", c.Get(t.Context(), hashes), es)
	for _, missing := range []string{"get", "set", "del", "ping"} {
		c, _ := user("without-"+missing, "+get", "+set", "+del", "+ping", "-"+missing)
		if err := c.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "+get +set +del +ping") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	wrong, _, log := patient(t, s.URL(), func(c *Config) { c.Username, c.Password = "enough", "hunter2" })
	err := wrong.Ping(t.Context())
	if err == nil || !strings.Contains(err.Error(), "cache.password") {
		t.Errorf("wrong password: %v", err)
	}
	for range 5 {
		wrong.Get(t.Context(), hashes)
		wrong.Put(t.Context(), hashes, es)
	}
	if up(wrong) || log.count("Redis does not answer") != 1 {
		t.Errorf("up: %v, though nobody may log in; log:\n%s", up(wrong), &log.b)
	}
	if n, m := counter(t, wrong, failed), testutil.ToFloat64(wrong.metrics.stores[unwritten]); n != 10 || m != 10 {
		t.Errorf("%d lookups and %v stores counted as errors, want 10 each", n, m)
	}
	if strings.Contains(err.Error(), "hunter2") || log.count("hunter2") > 0 {
		t.Error("the password is in the log or the error")
	}
}
