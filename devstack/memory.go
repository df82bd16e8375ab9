package devstack

import (
	"context"
	"fmt"
	"net"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/grpc/test/bufconn"
)

// Names on the network in memory. They are addresses, so that no client asks
// a resolver.
const (
	memoryQdrant    = "127.0.0.1:6334"
	memoryRedis     = "127.0.0.1:6379"
	memoryKafkaPort = 9092
)

// pipeBytes is how much a connection holds that was written and not read. An
// unbuffered pipe would not do: a client that still writes its pipeline does
// not read the answers to the beginning of it.
const pipeBytes = 64 << 10

// memory is a network without sockets. Whoever waits on it waits on a channel
// or a condition, which is what testing/synctest can see.
type memory struct {
	kafka  kfake.VirtualNetwork
	redis  *bufconn.Listener
	qdrant *bufconn.Listener
	// served is closed when nobody accepts connections to Redis any more; nil
	// if nobody ever did.
	served chan struct{}
}

func newMemory() *memory {
	return &memory{redis: bufconn.Listen(pipeBytes), qdrant: bufconn.Listen(pipeBytes)}
}

func (m *memory) kafkaPorts(n int) []int {
	ports := make([]int, n)
	for i := range ports {
		ports[i] = memoryKafkaPort + i
	}
	return ports
}

// serveRedis starts a server that has no listener, and hands it connections.
func (m *memory) serveRedis(r *miniredis.Miniredis) error {
	first, err := r.Dial() // this is how such a server starts
	if err != nil {
		return err
	}
	server := r.Server()
	m.served = make(chan struct{})
	go func() {
		defer close(m.served)
		for {
			conn, err := m.redis.Accept()
			if err != nil {
				return
			}
			server.ServeConn(conn)
		}
	}()
	return first.Close()
}

func (m *memory) dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch address {
	case memoryQdrant:
		return m.qdrant.DialContext(ctx)
	case memoryRedis:
		return m.redis.DialContext(ctx)
	}
	conn, err := m.kafka.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("network in memory: %w", err)
	}
	return conn, nil
}

// close refuses connections from now on.
func (m *memory) close() {
	_, _ = m.redis.Close(), m.qdrant.Close() // neither can fail
	if m.served != nil {
		<-m.served
	}
}
