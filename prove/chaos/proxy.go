package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy stands between one worker and one server. It passes bytes on, both
// ways, until it is told otherwise.
//
// Shopify/toxiproxy does much the same. What it does not have decided against
// it: a count of what a fault has hit, without which a schedule is no evidence;
// and lifting a fault without waiting for a peer, who may be frozen.
type Proxy struct {
	listener net.Listener
	target   atomic.Pointer[string]
	fault    atomic.Pointer[trouble]
	// asked is true while the client has asked something that the server has
	// not answered.
	asked atomic.Bool

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
	copies sync.WaitGroup
}

// trouble is what a proxy does instead of its work.
type trouble struct {
	kind  Kind // Cut, Delay or LoseAnswer
	delay time.Duration
	// hits counts connections cut, pieces delayed, answers lost.
	hits atomic.Int64
}

// newProxy listens on a free port of loopback. It refuses everybody until it
// has a target.
func newProxy(ctx context.Context) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a proxy: %w", err)
	}
	p := &Proxy{listener: l, open: map[net.Conn]bool{}}
	p.copies.Go(p.accept)
	return p, nil
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

func (p *Proxy) lead(target string) { p.target.Store(&target) }

// begin starts a fault; a cut ends all connections at once.
func (p *Proxy) begin(t *trouble) {
	p.fault.Store(t)
	if t.kind != Cut {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		t.hits.Add(1)
		_ = c.Close()
	}
}

// end lifts the fault.
func (p *Proxy) end() { p.fault.Store(nil) }

// Close ends all connections and returns when nothing is left of them.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.copies.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.copies.Go(func() { p.serve(client) })
		}
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	target := p.target.Load()
	if t := p.fault.Load(); target == nil || (t != nil && t.kind == Cut) {
		if t != nil {
			t.hits.Add(1)
		}
		return
	}
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", *target)
	if err != nil {
		return // the server is down, and the client sees a connection that ends
	}
	defer server.Close()
	if !p.remember(client, server) {
		return
	}
	defer p.forget(client, server)
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, false) })
	both.Go(func() { p.copy(client, server, true) })
	both.Wait()
}

func (p *Proxy) remember(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for _, c := range conns {
		p.open[c] = true
		// What is still on its way is lost with the connection, as when a
		// machine goes away.
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	return true
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.open, c)
	}
}

// copy passes on what one side sends until either side ends; then both do.
func (p *Proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.asked.Store(!answers)
			if !p.pass(answers) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass lets the fault have its way with a piece; false ends the connection.
func (p *Proxy) pass(answer bool) bool {
	t := p.fault.Load()
	switch {
	case t == nil:
	case t.kind == Cut:
		t.hits.Add(1)
		return false
	case t.kind == LoseAnswer && answer:
		// The request went through and was carried out.
		t.hits.Add(1)
		return false
	case t.kind == Delay:
		t.hits.Add(1)
		time.Sleep(t.delay)
	}
	return true
}
