package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	qd "github.com/qdrant/go-client/qdrant"
	goredis "github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/devstack/godocs"
	"chunktide/devstack/realservers"
)

const (
	topic      = "chunks"
	partitions = 4
	minTexts   = 1000 // several of the worker's batches, or there is nothing between the first and the last
	look       = 20 * time.Millisecond
	// patience is how long a turn may stand still before it is given up.
	patience = 2 * time.Minute
)

// contender is a program that reads the topic and writes an index.
type contender struct {
	name, bin string
	// args are its arguments, in a turn of that name.
	args func(s *servers, turn string) []string
}

// pythonLoop polls so many records at a time; what is polled together can be
// sorted by length.
func pythonLoop(python, script, model string, polled int) contender {
	return contender{fmt.Sprintf("Python, %d", polled), python, func(s *servers, turn string) []string {
		return []string{script, s.broker.Addr, topic, turn, "redis://" + s.redis.Addr, s.qdrantAddress, "bench", model, strconv.Itoa(polled)}
	}}
}

func chunktideWorker(name, bin, model, library string) contender {
	return contender{name, bin, func(s *servers, turn string) []string {
		args := []string{"run"}
		for _, set := range []string{
			"kafka.brokers=" + s.broker.Addr, "kafka.topics=" + topic, "kafka.group=" + turn,
			"kafka.create_topics.enabled=true", "kafka.create_topics.replication=1",
			"embedder.model_dir=" + model, "embedder.onnxruntime_library=" + library, "cache.url=redis://" + s.redis.Addr,
			"qdrant.address=" + s.qdrantAddress, "qdrant.index=bench", "admin.address=127.0.0.1:0",
		} {
			args = append(args, "--set", set)
		}
		return args
	}}
}

// servers are what all contenders share.
type servers struct {
	dir, qdrantd  string
	broker        *realservers.Broker
	redis         *realservers.RedisServer
	qdrantAddress string // of this turn
}

func startServers(ctx context.Context, dir, qdrantd string) (*servers, error) {
	s := &servers{dir: dir, qdrantd: qdrantd}
	libs, err := realservers.KafkaLibs()
	if err != nil {
		return s, err
	}
	if s.broker, err = realservers.StartKafka(ctx, dir, libs, realservers.KafkaOptions{}); err != nil {
		return s, err
	}
	s.redis, err = realservers.StartRedis(ctx, dir, realservers.RedisOptions{})
	return s, err
}

func (s *servers) close() error {
	var errs []error
	if s.redis != nil {
		errs = append(errs, s.redis.Kill())
	}
	if s.broker != nil {
		errs = append(errs, s.broker.Kill())
	}
	return errors.Join(errs...)
}

// publish writes n different texts of the demo's corpus to the topic.
func (s *servers) publish(ctx context.Context, n int) (int, error) {
	all, err := godocs.All(ctx)
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(p godocs.Passage) bool {
		again := seen[p.Text]
		seen[p.Text] = true
		return again
	})
	if n > len(all) {
		return 0, fmt.Errorf("-texts %d: the corpus has %d different ones", n, len(all))
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Addr), kgo.DefaultProduceTopic(topic), kgo.UnknownTopicRetries(-1))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		return 0, fmt.Errorf("create topic %s: %w", topic, err)
	}
	records := make([]*kgo.Record, n)
	for i := range records {
		p := all[i*len(all)/n]
		value, err := json.Marshal(map[string]any{
			"op": "upsert", "source": "go", "document_id": p.Document, "chunk_id": p.Chunk, "position": p.Position, "text": p.Text, "version": i + 1,
		})
		if err != nil {
			return 0, err
		}
		records[i] = &kgo.Record{Key: []byte(p.Document + "\x00" + p.Chunk), Value: value}
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return 0, fmt.Errorf("publish the texts: %w", err)
	}
	return n, nil
}

// turn is what one turn measured.
type turn struct {
	rate float64 // texts a second
	cpu  float64 // seconds of processor time a text; 0: not known
}

// turn lets c index everything, from an empty cache into an empty index.
func (s *servers) turn(ctx context.Context, c contender, name string, texts int) (t turn, err error) {
	cache := goredis.NewClient(&goredis.Options{Addr: s.redis.Addr})
	defer cache.Close()
	if err := cache.FlushAll(ctx).Err(); err != nil {
		return t, fmt.Errorf("empty Redis: %w", err)
	}
	var qdrant *realservers.Command
	if qdrant, s.qdrantAddress, err = realservers.StartQdrantd(ctx, s.dir, "qdrantd-"+name, s.qdrantd); err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, qdrant.Kill()) }()
	index, err := connect(s.qdrantAddress)
	if err != nil {
		return t, err
	}
	defer index.Close()
	program, err := realservers.StartCommand(ctx, s.dir, realservers.CommandOptions{
		Name: "contender-" + name, Bin: c.bin, Args: c.args(s, name), Env: environment(),
	})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, program.Kill()) }()
	return watch(ctx, program, texts, func() uint64 { return indexed(ctx, index) })
}

// environment is ours without settings of Chunktide's.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "CHUNKTIDE_") })
}

// watch measures from the first tenth of the texts to the last text.
func watch(ctx context.Context, program *realservers.Command, texts int, count func() uint64) (t turn, err error) {
	var from mark
	at, moved := uint64(0), time.Now()
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	for {
		select {
		case <-program.Ended():
			return t, fmt.Errorf("it ended: %w: %s", program.Err(), program.LogTail())
		case <-ctx.Done():
			return t, ctx.Err()
		case <-ticks.C:
		}
		n := count()
		if n != at {
			at, moved = n, time.Now()
		}
		if time.Since(moved) > patience {
			return t, fmt.Errorf("it stands still at %d of %d texts: %s", at, texts, program.LogTail())
		}
		if from.texts == 0 && at >= uint64(texts)/10 {
			from = mark{at, time.Now(), processorTime(program.PID())}
		}
		if at >= uint64(texts) {
			if from.texts >= at {
				return t, errors.New("the first texts that could be found were all of them; more are needed to measure: raise -texts")
			}
			done := float64(at - from.texts)
			t.rate = done / time.Since(from.time).Seconds()
			t.cpu = (processorTime(program.PID()) - from.cpu).Seconds() / done
			return t, nil
		}
	}
}

type mark struct {
	texts uint64
	time  time.Time
	cpu   time.Duration
}

// processorTime is what the process has used, where the system shows it as
// Linux does (proc(5): fields 14 and 15 of stat, in hundredths of a second).
func processorTime(pid int) time.Duration {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func connect(address string) (*qd.Client, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	return qd.NewClient(&qd.Config{Host: host, Port: port, SkipCompatibilityCheck: true})
}

// indexed is how many points there are, in the collection or behind the alias
// bench; none while neither exists.
func indexed(ctx context.Context, index *qd.Client) uint64 {
	n, err := index.Count(ctx, &qd.CountPoints{CollectionName: "bench", Exact: qd.PtrOf(true)})
	if err != nil {
		return 0
	}
	return n
}
