package consumer

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
)

// A load balancer in front of brokers that are away takes every connection and
// closes it again. The client library takes that for TLS that is missing, which
// is fatal to it; to a worker that has been at work it is an outage like any
// other.
func TestABalancerWithoutBrokersIsWaitedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var away atomic.Bool
	var refused atomic.Int64
	cfg := w.config()
	cfg.options = nil
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !away.Load() {
			return w.net.DialContext(ctx, network, address)
		}
		if refused.Add(1) == 5 {
			away.Store(false)
		}
		here, there := net.Pipe()
		go func() {
			_, _ = there.Read(make([]byte, 1<<10))
			_ = there.Close()
		}()
		return here, nil
	}
	s := w.open(t, cfg)
	w.produce(t, 0, "one")
	next(t, s).Ack()
	w.waitCommitted(t, 0, 1)
	// The dead letter needs a connection of its own.
	away.Store(true)
	w.produce(t, 0, "bad two", "three")
	_, events := gather(t, s, 1)
	if got := texts(events); len(got) != 1 || got[0] != "three" {
		t.Errorf("read %q", got)
	}
	w.deadLetters(t, 1)
	if n := refused.Load(); n < 5 {
		t.Errorf("%d connections were refused: the outage did not happen", n)
	}
}
