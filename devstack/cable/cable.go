// Package cable is a client's way to one server, which a test can cut or
// freeze: a process that is killed or stopped, as seen from the network,
// without a process.
package cable

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// ErrCut is what Dial answers after [Cable.Cut].
var ErrCut = errors.New("the cable is cut")

// Dialer opens a connection, as net.Dialer.DialContext does.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Cable holds the connections that were opened over it. Its methods may be
// called at any time from any goroutine.
type Cable struct {
	dial Dialer

	// latency is how long each write takes to get anywhere.
	latency time.Duration

	mu    sync.Mutex
	conns []net.Conn
	torn  bool
	until time.Time
}

// New cable; it opens its connections with dial.
func New(dial Dialer) *Cable { return &Cable{dial: dial} }

// Long makes a cable on which every write takes so long. In a bubble of
// testing/synctest a network in memory takes no time at all, and who asks
// again and again, without a pause, would do so for ever.
func Long(dial Dialer, latency time.Duration) *Cable { return &Cable{dial: dial, latency: latency} }

// Dial is a [Dialer] over the cable.
func (c *Cable) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.torn {
		_ = conn.Close()
		return nil, ErrCut
	}
	c.conns = append(c.conns, conn)
	return wire{conn, c}, nil
}

// Cut closes all connections and opens no other, as when the process is
// killed. The server is not told.
func (c *Cable) Cut() {
	c.mu.Lock()
	c.torn = true
	c.mu.Unlock()
	c.Interrupt()
}

// Interrupt closes all connections; new ones can be opened.
func (c *Cable) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// Freeze lets nothing through for a while, as when the process is stopped and
// goes on later, believing that nothing happened.
func (c *Cable) Freeze(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(d)
}

func (c *Cable) thaw() {
	c.mu.Lock()
	until := c.until
	c.mu.Unlock()
	time.Sleep(time.Until(until))
}

type wire struct {
	net.Conn
	cable *Cable
}

func (w wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.cable.thaw()
	return n, err
}

func (w wire) Write(b []byte) (int, error) {
	w.cable.thaw()
	time.Sleep(w.cable.latency)
	return w.Conn.Write(b)
}
