//go:build synctests

package inprocess

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// cable is a worker's way to one server. It can be cut for good, as when the
// process is killed, without a word to the server; interrupted, so that new
// connections work; or frozen for a while, as when the process is stopped and
// goes on later believing that nothing happened.
type cable struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	conns []net.Conn
	torn  bool
	until time.Time
}

var errCut = errors.New("the cable is cut")

func (c *cable) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.torn {
		_ = conn.Close()
		return nil, errCut
	}
	c.conns = append(c.conns, conn)
	return wire{conn, c}, nil
}

func (c *cable) cut() {
	c.mu.Lock()
	c.torn = true
	c.mu.Unlock()
	c.interrupt()
}

func (c *cable) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

func (c *cable) freeze(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(d)
}

func (c *cable) thaw() {
	c.mu.Lock()
	until := c.until
	c.mu.Unlock()
	time.Sleep(time.Until(until))
}

type wire struct {
	net.Conn
	cable *cable
}

func (w wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.cable.thaw()
	return n, err
}

func (w wire) Write(b []byte) (int, error) {
	w.cable.thaw()
	return w.Conn.Write(b)
}
