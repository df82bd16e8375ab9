// Package devstack runs Kafka, Redis and Qdrant inside this process, for the
// demo and the tests. They speak the real wire protocols on loopback ports, so
// that there is one code path to a server; they keep everything in memory and
// are no substitutes for the real ones in production.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/grpc"

	"chunktide/devstack/qdrantd"
)

// Options say what the servers start with.
type Options struct {
	// Topics are created with so many partitions each.
	Topics map[string]int32
	// QdrantInterceptor sees every call to Qdrant; tests inject faults by it.
	QdrantInterceptor grpc.UnaryServerInterceptor
	Logger            *slog.Logger
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
}

// Start starts all three. It is quick: nothing waits.
func Start(_ context.Context, o Options) (s *Stack, err error) {
	s = &Stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	kafka := []kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID("devstack")}
	for topic, partitions := range o.Topics {
		kafka = append(kafka, kfake.SeedTopics(partitions, topic))
	}
	if s.Kafka, err = kfake.NewCluster(kafka...); err != nil {
		return s, fmt.Errorf("start the embedded Kafka: %w", err)
	}
	s.KafkaBrokers = s.Kafka.ListenAddrs()
	s.Redis = miniredis.NewMiniRedis()
	if err = s.Redis.StartAddr("127.0.0.1:0"); err != nil {
		return s, fmt.Errorf("start the embedded Redis: %w", err)
	}
	s.RedisURL = "redis://" + s.Redis.Addr() + "/0"
	if s.Qdrant, err = qdrantd.Start(qdrantd.Options{Addr: "127.0.0.1:0", Logger: o.Logger, Interceptor: o.QdrantInterceptor}); err != nil {
		return s, fmt.Errorf("start the embedded Qdrant: %w", err)
	}
	s.QdrantAddr = s.Qdrant.Addr()
	return s, nil
}

// Close stops what was started.
func (s *Stack) Close() error {
	if s.Qdrant != nil {
		s.Qdrant.Close()
	}
	if s.Redis != nil {
		s.Redis.Close()
	}
	if s.Kafka != nil {
		s.Kafka.Close()
	}
	return nil
}
