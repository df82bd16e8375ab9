package chaos

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// counter answers every line with how many it has had, over all connections.
func counter(t *testing.T) (addr string, lines *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	lines = &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					fmt.Fprintln(c, lines.Add(1))
				}
			}()
		}
	}()
	return l.Addr().String(), lines
}

func startProxy(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := newProxy(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.lead(target)
	return p
}

type caller struct {
	net.Conn
	in *bufio.Reader
}

func call(t *testing.T, p *Proxy) *caller {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &caller{c, bufio.NewReader(c)}
}

func (c *caller) ask() (string, error) {
	if _, err := fmt.Fprintln(c, "x"); err != nil {
		return "", err
	}
	return c.in.ReadString('\n')
}

func TestProxyPassesOn(t *testing.T) {
	addr, _ := counter(t)
	c := call(t, startProxy(t, addr))
	for want := range 3 {
		if got, err := c.ask(); err != nil || got != fmt.Sprintln(want+1) {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// The answer is lost, the request was carried out: nobody can tell the client
// whether it was.
func TestProxyLosesTheAnswerToWhatWasDone(t *testing.T) {
	addr, lines := counter(t)
	p := startProxy(t, addr)
	c := call(t, p)
	if _, err := c.ask(); err != nil {
		t.Fatal(err)
	}
	fault := &trouble{kind: LoseAnswer}
	p.begin(fault)
	if got, err := c.ask(); err == nil {
		t.Errorf("answered %q", got)
	}
	if lines.Load() != 2 || fault.hits.Load() != 1 {
		t.Errorf("%d requests reached the server, %d answers were lost; want 2 and 1", lines.Load(), fault.hits.Load())
	}
	p.end()
	if got, err := call(t, p).ask(); err != nil || got != "3\n" {
		t.Errorf("%q, %v after the fault", got, err)
	}
}

func TestProxyCuts(t *testing.T) {
	addr, lines := counter(t)
	p := startProxy(t, addr)
	c := call(t, p)
	if _, err := c.ask(); err != nil {
		t.Fatal(err)
	}
	fault := &trouble{kind: Cut}
	p.begin(fault)
	if _, err := c.ask(); err == nil {
		t.Error("an open connection was not cut")
	}
	if _, err := call(t, p).ask(); err == nil {
		t.Error("a new connection was let through")
	}
	if lines.Load() != 1 || fault.hits.Load() == 0 {
		t.Errorf("%d requests, %d hits", lines.Load(), fault.hits.Load())
	}
	p.end()
	if _, err := call(t, p).ask(); err != nil {
		t.Error("after the cut:", err)
	}
}

func TestProxyDelays(t *testing.T) {
	addr, _ := counter(t)
	p := startProxy(t, addr)
	c := call(t, p)
	fault := &trouble{kind: Delay, delay: 50 * time.Millisecond}
	p.begin(fault)
	began := time.Now()
	if _, err := c.ask(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 100*time.Millisecond || fault.hits.Load() != 2 {
		t.Errorf("%v, %d pieces delayed; want 100ms, there and back", took, fault.hits.Load())
	}
}

// A proxy whose server is away looks like that server, and is well when it is
// back.
func TestProxyOfAServerThatIsAway(t *testing.T) {
	p := startProxy(t, "127.0.0.1:1")
	if _, err := call(t, p).ask(); err == nil {
		t.Error("somebody answered")
	}
	addr, _ := counter(t)
	p.lead(addr)
	if _, err := call(t, p).ask(); err != nil {
		t.Error(err)
	}
}
