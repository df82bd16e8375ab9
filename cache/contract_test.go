package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"chunktide/chunk"
	"chunktide/devstack/realservers"
)

// The contract holds on every kind of Redis.

func TestContractMiniredis(t *testing.T) {
	contract(t, chunk.Secret("redis://"+miniredis.RunT(t).Addr()))
}

func TestContractRedis(t *testing.T) {
	url := os.Getenv("CHUNKTIDE_TEST_REDIS")
	if url == "" {
		url = realservers.RunRedis(t, realservers.RedisOptions{}).URL()
	}
	contract(t, chunk.Secret(url))
}

func TestContractUnixSocket(t *testing.T) {
	s := realservers.RunRedis(t, realservers.RedisOptions{})
	contract(t, chunk.Secret("unix://"+s.Socket+"?db=3"))
}

func TestContractCluster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bus := l.Addr().(*net.TCPAddr).Port
	l.Close()
	s := realservers.RunRedis(t, realservers.RedisOptions{Args: []string{
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-announce-ip", "127.0.0.1",
	}})
	raw := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer raw.Close()
	if err := raw.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		info, err := raw.ClusterInfo(t.Context()).Result()
		if strings.Contains(info, "cluster_state:ok") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the cluster does not form: %v\n%s", err, info)
		}
	}
	// The documented least rights are enough here, too.
	acl(t, s.Addr, "setuser", "tide", "on", ">secret", "~cttest:*", "+get", "+set", "+del", "+ping", "+cluster|slots")
	contract(t, chunk.Secret("redis+cluster://tide:secret@"+s.Addr))
}

func TestContractSentinel(t *testing.T) {
	data, sentinel := miniredis.RunT(t), miniredis.RunT(t)
	data.RequireUserAuth("tide", "data-secret")
	sentinel.RequireUserAuth("watch", "sentinel-secret")
	err := sentinel.Server().Register("SENTINEL", func(c *server.Peer, _ string, args []string) {
		if strings.EqualFold(args[0], "get-master-addr-by-name") && args[1] == "mymaster" {
			c.WriteStrings([]string{data.Host(), data.Port()})
			return
		}
		c.WriteStrings(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	contract(t, chunk.Secret("redis+sentinel://watch:sentinel-secret@"+sentinel.Addr()+"/0?master_name=mymaster"),
		func(c *Config) { c.Username, c.Password = "tide", "data-secret" })
}

func acl(t *testing.T, addr string, args ...any) {
	t.Helper()
	raw := redis.NewClient(&redis.Options{Addr: addr})
	defer raw.Close()
	if err := raw.Do(t.Context(), append([]any{"acl"}, args...)...).Err(); err != nil {
		t.Fatal(err)
	}
}

const testDim = 24

// fixture makes caches on one Redis, under a prefix of its own.
type fixture struct {
	cfg Config
	raw redis.UniversalClient
}

func newFixture(t *testing.T, url chunk.Secret, change ...func(*Config)) *fixture {
	t.Helper()
	cfg := DefaultConfig()
	cfg.URL, cfg.Prefix = url, "cttest:"+rand.Text()+":"
	cfg.MemoryBytes = 0 // what is asked is asked of Redis
	cfg.Timeout = 10 * time.Second
	cfg.TTL = 10 * time.Minute // a Redis that is not ours shall not keep this
	for _, f := range change {
		f(&cfg)
	}
	to, err := parseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{cfg: cfg}
	if f.raw, err = newClient(cfg, to); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.removeKeys()
		f.raw.Close()
	})
	return f
}

// removeKeys leaves a Redis that is not ours as it was. What the test's user
// may not list expires by itself.
func (f *fixture) removeKeys() {
	ctx := context.Background()
	for keys := f.raw.Scan(ctx, 0, f.cfg.Prefix+"*", 1000).Iterator(); keys.Next(ctx); {
		f.raw.Del(ctx, keys.Val())
	}
}

// cache is a worker of its own: nothing in memory.
func (f *fixture) cache(t *testing.T, change ...func(*Config)) (*Cache, *prometheus.Registry) {
	t.Helper()
	cfg := f.cfg
	for _, change := range change {
		change(&cfg)
	}
	reg := prometheus.NewRegistry()
	c, err := New(cfg, testDigest, testDim, nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, reg
}

func embeddings(n int) ([]chunk.Hash, []chunk.Embedding) {
	hashes, es := make([]chunk.Hash, n), make([]chunk.Embedding, n)
	for i := range n {
		hashes[i] = chunk.HashText(fmt.Sprint("text ", i))
		es[i] = chunk.Embedding{Vector: unitVector(uint64(i), testDim), Tokens: i + 1, Truncated: i%3 == 0}
	}
	return hashes, es
}

func wantSame(t *testing.T, what string, got, want []chunk.Embedding) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d embeddings, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !same(got[i], want[i]) {
			t.Fatalf("%s: embedding %d is\n%v, want\n%v", what, i, got[i], want[i])
		}
	}
}

func counter(t *testing.T, c *Cache, o outcome) int {
	t.Helper()
	return int(testutil.ToFloat64(c.metrics.redis[o]))
}

func contract(t *testing.T, url chunk.Secret, change ...func(*Config)) {
	for name, test := range map[string]func(*testing.T, *fixture){
		"agree":      contractAgree,
		"misses":     contractMisses,
		"first wins": contractFirstWins,
		"corruption": contractCorruption,
		"many":       contractMany,
		"expiry":     contractExpiry,
		"ping":       contractPing,
	} {
		t.Run(name, func(t *testing.T) { test(t, newFixture(t, url, change...)) })
	}
}

// Put and every later Get agree bit for bit, in this worker and in others.
func contractAgree(t *testing.T, f *fixture) {
	for _, d := range []string{"fp32", "fp16"} {
		as := func(c *Config) { c.DType, c.Prefix = d, c.Prefix+d+":" }
		warm := func(c *Config) { c.MemoryBytes = 1 << 20 }
		hashes, es := embeddings(20)
		a, _ := f.cache(t, as, warm)
		put := a.Put(t.Context(), hashes, es)
		if d == "fp32" {
			wantSame(t, "put", put, es)
		} else if sameBits(put[0].Vector, es[0].Vector) {
			t.Error("fp16 did not round: the test proves nothing")
		}
		wantSame(t, d+" from memory", a.Get(t.Context(), hashes), put)
		if got := counter(t, a, hit); got != 0 {
			t.Errorf("Redis was asked for %d vectors that are in memory", got)
		}
		a.Forget()
		wantSame(t, d+" from Redis", a.Get(t.Context(), hashes), put)
		b, _ := f.cache(t, as)
		wantSame(t, d+" in another worker", b.Get(t.Context(), hashes), put)
		wantSame(t, d+" put again", b.Put(t.Context(), hashes, es), put)
		wantSame(t, d+" put as it came", b.Put(t.Context(), hashes, put), put)
		if got := counter(t, b, hit); got != 20 {
			t.Errorf("%d hits, want 20", got)
		}
	}
}

// Order and alignment survive misses, repetitions and embeddings without a
// vector.
func contractMisses(t *testing.T, f *fixture) {
	c, _ := f.cache(t)
	if got := c.Get(t.Context(), nil); len(got) != 0 {
		t.Errorf("nothing asked, got %v", got)
	}
	if got := c.Put(t.Context(), nil, nil); len(got) != 0 {
		t.Errorf("nothing put, got %v", got)
	}
	hashes, es := embeddings(6)
	es[1], es[4] = chunk.Embedding{}, chunk.Embedding{Tokens: 7}
	wantSame(t, "put", c.Put(t.Context(), hashes, es), es)
	es[4].Tokens = 0 // not kept
	asked := []int{5, 1, 0, 5, 4, 1, 3}
	var ask []chunk.Hash
	var want []chunk.Embedding
	for _, i := range asked {
		ask, want = append(ask, hashes[i]), append(want, es[i])
	}
	got := c.Get(t.Context(), ask)
	wantSame(t, "get", got, want)
	if &got[0].Vector[0] == &got[3].Vector[0] {
		t.Error("two answers share one vector")
	}
	if h, m := counter(t, c, hit), counter(t, c, miss); h != 4 || m != 3 {
		t.Errorf("%d hits and %d misses, want 4 and 3", h, m)
	}
	// A repeated hash is put once, and both get the first.
	h := chunk.HashText("repeated")
	twice := c.Put(t.Context(), []chunk.Hash{h, h}, []chunk.Embedding{es[2], es[3]})
	wantSame(t, "put twice", twice, []chunk.Embedding{es[2], es[2]})
}

// A vector in Redis is never overwritten: the late worker adopts it.
func contractFirstWins(t *testing.T, f *fixture) {
	warm := func(c *Config) { c.MemoryBytes = 1 << 20 }
	a, _ := f.cache(t, warm)
	b, _ := f.cache(t, warm)
	hashes, es := embeddings(3)
	a.Put(t.Context(), hashes[:2], es[:2])
	others := []chunk.Embedding{es[2], es[1], es[2]}
	want := []chunk.Embedding{es[0], es[1], es[2]}
	wantSame(t, "put", b.Put(t.Context(), hashes, others), want)
	wantSame(t, "get from memory", b.Get(t.Context(), hashes), want)
	b.Forget()
	wantSame(t, "get from Redis", b.Get(t.Context(), hashes), want)
	if got := int(testutil.ToFloat64(b.metrics.stores[present])); got != 2 {
		t.Errorf("%d were present, want 2", got)
	}
}

// No corruption is ever a hit, all of it is deleted and counted, and what
// stood beside it is found.
func contractCorruption(t *testing.T, f *fixture) {
	hashes, es := embeddings(1)
	hash, e := hashes[0], es[0]
	for _, d := range []string{"fp32", "fp16"} {
		as := func(c *Config) { c.DType, c.Prefix, c.MemoryBytes = d, c.Prefix+d+":", 1<<20 }
		c, _ := f.cache(t, as)
		other := chunk.HashText("beside it")
		put := c.Put(t.Context(), []chunk.Hash{other}, es)
		n := 0
		for name, value := range corruptions(t, c.codec, hash, e) {
			if err := f.raw.Set(t.Context(), c.Key(hash), value, time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			c.Forget()
			got := c.Get(t.Context(), []chunk.Hash{hash, other})
			n++
			if got[0].Vector != nil {
				t.Fatalf("%s: a hit", name)
			}
			if !same(got[1], put[0]) {
				t.Fatalf("%s: its neighbour is %v", name, got[1])
			}
			if err := f.raw.Get(t.Context(), c.Key(hash)).Err(); !errors.Is(err, redis.Nil) {
				t.Fatalf("%s was not deleted: %v", name, err)
			}
		}
		if got := counter(t, c, corrupt); got != n || n < 500 {
			t.Errorf("%d counted as corrupt of %d", got, n)
		}
		// Found on a Put, it is neither adopted nor left.
		if err := f.raw.Set(t.Context(), c.Key(hash), "junk", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		got := c.Put(t.Context(), hashes, es)
		c.Forget()
		wantSame(t, "put again", c.Put(t.Context(), hashes, es), got)
		c.Forget()
		wantSame(t, "get", c.Get(t.Context(), hashes), got)
	}
}

// More keys than a round takes.
func contractMany(t *testing.T, f *fixture) {
	hashes, es := embeddings(2*roundKeys + 7)
	a, _ := f.cache(t)
	a.Put(t.Context(), hashes, es)
	b, _ := f.cache(t)
	wantSame(t, "get", b.Get(t.Context(), hashes), es)
	if got := int(testutil.ToFloat64(a.metrics.stores[written])); got != len(hashes) {
		t.Errorf("%d written, want %d", got, len(hashes))
	}
}

func contractExpiry(t *testing.T, f *fixture) {
	// The test's user may not ask for the TTL, so it has one key expire.
	c, _ := f.cache(t, func(c *Config) { c.TTL = 30 * time.Millisecond })
	forever, _ := f.cache(t, func(c *Config) { c.TTL, c.Prefix = 0, c.Prefix+"forever:" })
	hashes, es := embeddings(1)
	c.Put(t.Context(), hashes, es)
	forever.Put(t.Context(), hashes, es)
	if strings.HasPrefix(t.Name(), "TestContractMiniredis") || strings.HasPrefix(t.Name(), "TestContractSentinel") {
		t.Log("miniredis's clock stands still: see TestTTL")
		return
	}
	for deadline := time.Now().Add(10 * time.Second); c.Get(t.Context(), hashes)[0].Vector != nil; {
		if time.Now().After(deadline) {
			t.Fatal("it does not expire")
		}
	}
	if forever.Get(t.Context(), hashes)[0].Vector == nil {
		t.Error("the one without a TTL is gone, too")
	}
}

func contractPing(t *testing.T, f *fixture) {
	c, _ := f.cache(t)
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTTL(t *testing.T) {
	m := miniredis.RunT(t)
	f := newFixture(t, chunk.Secret("redis://"+m.Addr()))
	hashes, es := embeddings(2)
	for i, ttl := range []time.Duration{0, time.Hour} {
		c, _ := f.cache(t, func(c *Config) { c.TTL = ttl })
		c.Put(t.Context(), hashes[i:i+1], es[i:i+1])
		if got := m.TTL(c.Key(hashes[i])); got != ttl {
			t.Errorf("TTL %v, want %v", got, ttl)
		}
	}
	// Ping leaves nothing behind.
	c, _ := f.cache(t)
	before := m.Keys()
	if err := c.Ping(t.Context()); err != nil || !slices.Equal(m.Keys(), before) {
		t.Errorf("keys %v became %v (%v)", before, m.Keys(), err)
	}
}
