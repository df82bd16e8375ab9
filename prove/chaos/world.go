package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/devstack/realservers"
)

// sessionTimeout is how long the group waits for a silent worker.
const sessionTimeout = 6 * time.Second

// world is everything that runs.
type world struct {
	plan   Plan
	dir    string
	broker *realservers.Broker
	redis  *realservers.RedisServer
	// qdrant is nil if the server is somebody else's.
	qdrant *realservers.Command
	index  *index

	kafka *kgo.Client
	admin *kadm.Client
	cache *goredis.Client

	// live are the workers of the stream; backfills follow.
	live, backfills []*worker
	proxies         []*Proxy
	topic           string
}

// config is what a run is made of beside its plan.
type config struct {
	Config
	dir string
}

// build compiles the programs of the run.
func build(ctx context.Context, dir string, unfenced bool) (worker, qdrantd string, err error) {
	worker, qdrantd = filepath.Join(dir, "chunktide"), filepath.Join(dir, "qdrantd")
	tags := ""
	if unfenced {
		tags = "chunktide_unfenced"
	}
	err = errors.Join(
		realservers.Build(ctx, worker, "chunktide/cmd/chunktide", tags),
		realservers.Build(ctx, qdrantd, realservers.QdrantdPackage, ""),
	)
	return worker, qdrantd, err
}

// newWorld starts the servers and makes the topics. What it returns has to be
// closed, also after an error.
func newWorld(ctx context.Context, c config) (*world, error) {
	w := &world{plan: c.Plan, dir: c.dir, topic: "chaos"}
	libs, err := realservers.KafkaLibs()
	if err != nil {
		return w, err
	}
	bin, qdrantd, err := build(ctx, c.dir, c.Unfenced)
	if err != nil {
		return w, err
	}
	places := c.Plan.Workers + c.Plan.Faults[Backfill]
	advertise := make([]string, places)
	routes := make([]map[server]*Proxy, places)
	for i := range places {
		routes[i] = map[server]*Proxy{}
		for _, s := range servers() {
			if routes[i][s], err = newProxy(ctx); err != nil {
				return w, err
			}
			w.proxies = append(w.proxies, routes[i][s])
		}
		advertise[i] = routes[i][kafka].Addr()
	}
	if w.broker, err = realservers.StartKafka(ctx, c.dir, libs, realservers.KafkaOptions{Advertise: advertise}); err != nil {
		return w, err
	}
	if w.redis, err = realservers.StartRedis(ctx, c.dir, realservers.RedisOptions{}); err != nil {
		return w, err
	}
	if err := w.startQdrant(ctx, qdrantd, c.dir); err != nil {
		return w, err
	}
	for i, r := range routes {
		r[kafka].lead(w.broker.Listeners[i])
		r[redis].lead(w.redis.Addr)
		r[qdrant].lead(w.index.address)
	}
	w.cache = goredis.NewClient(&goredis.Options{Addr: w.redis.Addr})
	if w.kafka, err = kgo.NewClient(kgo.SeedBrokers(w.broker.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		return w, fmt.Errorf("connect to kafka: %w", err)
	}
	w.admin = kadm.NewClient(w.kafka)
	return w, w.place(ctx, bin, routes)
}

// place makes the topics, and the workers that will read them.
func (w *world) place(ctx context.Context, bin string, routes []map[server]*Proxy) error {
	var topics []string
	for i, r := range routes {
		name, topic := fmt.Sprintf("worker-%d", i), w.topic
		if i >= w.plan.Workers {
			name = fmt.Sprintf("backfill-%d", i-w.plan.Workers)
			topic = name
		}
		if i == 0 || topic != w.topic {
			topics = append(topics, topic, deadLetters(topic))
			if err := w.createTopics(ctx, topic); err != nil {
				return err
			}
		}
		worker := newWorker(name, bin, w.dir, r, w.settings(name, topic, r))
		worker.topic = topic
		if topic == w.topic {
			w.live = append(w.live, worker)
		} else {
			w.backfills = append(w.backfills, worker)
		}
	}
	// A topic is made some time before everybody is told of it.
	err := poll(ctx, time.Minute, func() (bool, error) {
		details, err := w.admin.ListTopics(ctx, topics...)
		return err == nil, errors.Join(err, details.Error())
	})
	if err != nil {
		return fmt.Errorf("wait for the topics: %w", err)
	}
	return nil
}

// createTopics makes a topic, and that of its dead letters.
func (w *world) createTopics(ctx context.Context, topic string) error {
	for name, partitions := range map[string]int32{topic: w.plan.Partitions, deadLetters(topic): 1} {
		if _, err := w.admin.CreateTopic(ctx, partitions, 1, nil, name); err != nil {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	return nil
}

func deadLetters(topic string) string { return topic + ".dead-letters" }

// settings makes a worker small and quick to notice things; what protects the
// index has no setting.
func (w *world) settings(name, topic string, route map[server]*Proxy) []string {
	return []string{
		"kafka.brokers=" + route[kafka].Addr(), "kafka.topics=" + topic, "kafka.group=" + topic, "kafka.client_id=" + name,
		"kafka.dead_letter_topic=" + deadLetters(topic), "kafka.session_timeout=" + sessionTimeout.String(), "kafka.heartbeat=500ms",
		"kafka.rebalance_timeout=10s", "kafka.fetch_max_wait=500ms", "kafka.batch.events=64",
		"embedder.encoder=bow",
		// Next to no memory tier, so that Redis is asked and its faults matter.
		"cache.url=" + "redis://" + route[redis].Addr(), "cache.prefix=chaos:", "cache.memory_bytes=65536",
		"cache.breaker.retry=200ms", "cache.breaker.max_retry=2s",
		"qdrant.address=" + route[qdrant].Addr(), "qdrant.index=" + w.index.name, "qdrant.request_timeout=3s",
		"qdrant.retry.initial=50ms", "qdrant.retry.max=1s",
		"pipeline.drain_timeout=5s", "admin.address=127.0.0.1:0", "log.format=json",
	}
}

// The variables by which a run uses a Qdrant other than the embedded one.
const (
	qdrantAddress = "CHUNKTIDE_TEST_QDRANT"     // host:port of its gRPC port
	qdrantCommand = "CHUNKTIDE_TEST_QDRANT_CMD" // what starts it there
)

// HaveQdrantCommand says whether Qdrant is a program that may be killed: the
// embedded one keeps nothing.
func HaveQdrantCommand() bool { return os.Getenv(qdrantCommand) != "" }

func (w *world) startQdrant(ctx context.Context, qdrantd, dir string) (err error) {
	address, command := os.Getenv(qdrantAddress), strings.Fields(os.Getenv(qdrantCommand))
	switch {
	case len(command) > 0 && address == "":
		return fmt.Errorf("%s starts a Qdrant, but %s does not say where it listens: set it to host:port", qdrantCommand, qdrantAddress)
	case len(command) > 0:
		if w.index, err = newIndex(address); err != nil {
			return err
		}
		w.qdrant, err = realservers.StartCommand(ctx, dir, realservers.CommandOptions{
			Name: "qdrant", Bin: command[0], Args: command[1:], Ready: w.index.serves,
		})
		return err
	case address != "":
		w.index, err = newIndex(address)
		return err
	}
	if w.qdrant, address, err = realservers.StartQdrantd(ctx, dir, "qdrantd", qdrantd); err != nil {
		return err
	}
	w.index, err = newIndex(address)
	return err
}

// qdrantName says which Qdrant it is; the embedded one is not the real one.
func (w *world) qdrantName(ctx context.Context) string {
	if os.Getenv(qdrantAddress) == "" {
		return "embedded, after " + w.index.version(ctx)
	}
	return w.index.version(ctx)
}

// workers are all of them.
func (w *world) workers() []*worker { return append(append([]*worker{}, w.live...), w.backfills...) }

// close ends everything. It reports nothing: the run is over, and what remains
// belongs to processes that die with us.
func (w *world) close(ctx context.Context) {
	for _, worker := range w.workers() {
		worker.kill()
	}
	if w.index != nil {
		_ = w.index.drop(context.WithoutCancel(ctx))
	}
	if w.cache != nil {
		_ = w.cache.Close()
	}
	if w.kafka != nil {
		w.kafka.Close()
	}
	for _, p := range w.proxies {
		p.Close()
	}
	if w.qdrant != nil {
		_ = w.qdrant.Kill()
	}
	if w.redis != nil {
		_ = w.redis.Kill()
	}
	if w.broker != nil {
		_ = w.broker.Kill()
	}
}
