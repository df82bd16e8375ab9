package devstack

import (
	"context"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
)

// Each server answers the client that the worker uses, on loopback.
func TestStackServesAllThree(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stack, err := Start(ctx, Options{Topics: map[string]int32{"chunks": 3, "dead": 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, addr := range append([]string{stack.QdrantAddr, stack.Redis.Addr()}, stack.KafkaBrokers...) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("%s is no loopback address: %v", addr, err)
		}
	}
	askKafka(ctx, t, stack)
	askRedis(ctx, t, stack)
	askQdrant(ctx, t, stack)
}

// The same three on a network in memory, where a bubble's clock goes on.
func TestStackInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stack, err := Start(t.Context(), Options{Topics: map[string]int32{"chunks": 3, "dead": 1}, Brokers: 2, Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(stack.KafkaBrokers); n != 2 {
			t.Errorf("%d brokers, want 2", n)
		}
		began := time.Now()
		time.Sleep(time.Hour)
		askKafka(t.Context(), t, stack)
		askRedis(t.Context(), t, stack)
		askQdrant(t.Context(), t, stack)
		if passed := time.Since(began); passed < time.Hour {
			t.Errorf("the clock says that %s passed", passed)
		}
		if err := stack.Close(); err != nil {
			t.Error(err)
		}
		if _, err := stack.Dial(t.Context(), "tcp", stack.QdrantAddr); err == nil {
			t.Error("a stack that is closed lets clients in")
		}
	})
}

func askKafka(ctx context.Context, t *testing.T, stack *Stack) {
	client, err := kgo.NewClient(kgo.SeedBrokers(stack.KafkaBrokers...), kgo.Dialer(stack.Dial))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]int{"chunks": 3, "dead": 1} {
		if got := len(topics[topic].Partitions); got != want {
			t.Errorf("%s has %d partitions, want %d", topic, got, want)
		}
	}
}

func askRedis(ctx context.Context, t *testing.T, stack *Stack) {
	opts, err := redis.ParseURL(stack.RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	opts.Dialer = stack.Dial
	client := redis.NewClient(opts)
	defer client.Close()
	if err := client.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	if v, err := stack.Redis.Get("k"); err != nil || v != "v" {
		t.Errorf("the handle sees %q, %v", v, err)
	}
}

func askQdrant(ctx context.Context, t *testing.T, stack *Stack) {
	host, port, err := net.SplitHostPort(stack.QdrantAddr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	dial := grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return stack.Dial(ctx, "tcp", address) })
	client, err := pb.NewClient(&pb.Config{Host: host, Port: n, PoolSize: 1, SkipCompatibilityCheck: true, GrpcOptions: []grpc.DialOption{dial}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.HealthCheck(ctx); err != nil {
		t.Error(err)
	}
}
