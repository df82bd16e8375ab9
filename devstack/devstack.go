// Package devstack runs Kafka, Redis and Qdrant inside this process, for the
// demo and the tests. They speak the real wire protocols on loopback ports, or
// on a network in memory, so that there is one code path to a server; they keep
// everything in memory and are no substitutes for the real ones in production.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/grpc"

	"chunktide/devstack/qdrantd"
)

// Options say what the servers start with.
type Options struct {
	// Topics are created with so many partitions each.
	Topics map[string]int32
	// Brokers is how many Kafka brokers there are; 0 is one.
	Brokers int
	// QdrantInterceptor sees every call to Qdrant; tests inject faults by it.
	QdrantInterceptor grpc.UnaryServerInterceptor
	Logger            *slog.Logger
	// Memory serves on a network in memory in place of loopback ports: then
	// [Stack.Dial] is the only way in, and everything may run in a bubble of
	// testing/synctest, where waiting costs no time.
	Memory bool
}

// Stack is a set of running servers. Its fields may be used to inject faults.
type Stack struct {
	Kafka  *kfake.Cluster
	Redis  *miniredis.Miniredis
	Qdrant *qdrantd.Server

	KafkaBrokers []string
	RedisURL     string
	// QdrantAddr is host:port of the gRPC port.
	QdrantAddr string

	memory *memory
}

// Start starts all three. It is quick: nothing waits.
func Start(_ context.Context, o Options) (s *Stack, err error) {
	s = &Stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	brokers := max(1, o.Brokers)
	kafka := []kfake.Opt{kfake.NumBrokers(brokers), kfake.ClusterID("devstack")}
	for topic, partitions := range o.Topics {
		kafka = append(kafka, kfake.SeedTopics(partitions, topic))
	}
	qdrant := qdrantd.Options{Addr: "127.0.0.1:0", Logger: o.Logger, Interceptor: o.QdrantInterceptor}
	if o.Memory {
		s.memory = newMemory()
		kafka = append(kafka, kfake.ListenFn(s.memory.kafka.Listen), kfake.Ports(s.memory.kafkaPorts(brokers)...))
		qdrant.Listener = s.memory.qdrant
	}
	if s.Kafka, err = kfake.NewCluster(kafka...); err != nil {
		return s, fmt.Errorf("start the embedded Kafka: %w", err)
	}
	s.KafkaBrokers = s.Kafka.ListenAddrs()
	if err = s.startRedis(); err != nil {
		return s, fmt.Errorf("start the embedded Redis: %w", err)
	}
	if s.Qdrant, err = qdrantd.Start(qdrant); err != nil {
		return s, fmt.Errorf("start the embedded Qdrant: %w", err)
	}
	s.QdrantAddr = s.Qdrant.Addr()
	if s.memory != nil {
		s.QdrantAddr = memoryQdrant
	}
	return s, nil
}

func (s *Stack) startRedis() error {
	s.Redis = miniredis.NewMiniRedis()
	if s.memory != nil {
		s.RedisURL = "redis://" + memoryRedis + "/0"
		return s.memory.serveRedis(s.Redis)
	}
	if err := s.Redis.StartAddr("127.0.0.1:0"); err != nil {
		return err
	}
	s.RedisURL = "redis://" + s.Redis.Addr() + "/0"
	return nil
}

// Dial connects to one of the servers by the address that the Stack names. It
// fits the Dial setting of every adapter.
func (s *Stack) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if s.memory == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return s.memory.dial(ctx, network, address)
}

// Close stops what was started.
func (s *Stack) Close() error {
	if s.Qdrant != nil {
		s.Qdrant.Close()
	}
	if s.memory != nil {
		s.memory.close()
	}
	if s.Redis != nil {
		s.Redis.Close()
	}
	if s.Kafka != nil {
		s.Kafka.Close()
	}
	return nil
}
