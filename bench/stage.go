package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/configs"
	"chunktide/devstack/godocs"
	"chunktide/devstack/realservers"
	"chunktide/embedder"
)

// Stage is the servers that the measurements share.
type Stage struct {
	Kafka  *realservers.Broker
	Redis  *realservers.RedisServer
	Qdrant *realservers.Command
	// QdrantAddr is host:port of its gRPC port.
	QdrantAddr string
	// Chunktide is the path of the program.
	Chunktide string

	dir    string
	client *kgo.Client
	corpus []godocs.Passage
	number int // of names given
}

// Open starts everything in a new folder under dir.
func Open(ctx context.Context, dir string) (s *Stage, err error) {
	s = &Stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.dir, err = os.MkdirTemp(dir, "chunktide-bench-"); err != nil {
		return s, err
	}
	libs, err := realservers.KafkaLibs()
	if err != nil {
		return s, err
	}
	s.Chunktide = filepath.Join(s.dir, "chunktide")
	qdrantd := filepath.Join(s.dir, "qdrantd")
	err = errors.Join(
		realservers.Build(ctx, s.Chunktide, "chunktide/cmd/chunktide", ""),
		realservers.Build(ctx, qdrantd, realservers.QdrantdPackage, ""),
	)
	if err != nil {
		return s, err
	}
	if s.Kafka, err = realservers.StartKafka(ctx, s.dir, libs, realservers.KafkaOptions{Heap: "1g"}); err != nil {
		return s, err
	}
	if s.Redis, err = realservers.StartRedis(ctx, s.dir, realservers.RedisOptions{}); err != nil {
		return s, err
	}
	if s.Qdrant, s.QdrantAddr, err = realservers.StartQdrantd(ctx, s.dir, "qdrantd", qdrantd); err != nil {
		return s, err
	}
	if s.corpus, err = godocs.All(ctx); err != nil {
		return s, err
	}
	// Small batches: what a client reads ahead is whole batches, and it is to be
	// bounded by its settings and not by what was produced here.
	s.client, err = kgo.NewClient(kgo.SeedBrokers(s.Kafka.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(64<<10))
	return s, err
}

// Close stops what was started and removes what it left.
func (s *Stage) Close() error {
	if s.client != nil {
		s.client.Close()
	}
	var errs []error
	if s.Qdrant != nil {
		errs = append(errs, s.Qdrant.Kill())
	}
	if s.Redis != nil {
		errs = append(errs, s.Redis.Kill())
	}
	if s.Kafka != nil {
		errs = append(errs, s.Kafka.Kill())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// name is a new one for a topic, a group, an index and a cache.
func (s *Stage) name(what string) string {
	s.number++
	return fmt.Sprintf("%s-%d", what, s.number)
}

// settings are a worker's, with everything of its own.
func (s *Stage) settings(topic string) []string {
	own := s.name("run")
	return []string{
		"kafka.brokers=" + s.Kafka.Addr, "kafka.topics=" + topic, "kafka.group=" + own,
		"qdrant.address=" + s.QdrantAddr, "qdrant.index=" + own,
		"cache.url=" + s.Redis.URL(), "cache.prefix=" + own + ":", "admin.address=",
		"kafka.create_topics.enabled=true", "kafka.create_topics.replication=1",
	}
}

// config is [Stage.settings], changed by some more.
func (s *Stage) config(topic string, more ...string) (configs.Config, error) {
	return configs.Load("", append(s.settings(topic), more...), nil)
}

// filled is where most measurements begin: a topic of n passages, a worker's
// settings for it, and the model, which the caller closes.
func (s *Stage) filled(ctx context.Context, what string, n int, reg prometheus.Registerer) (topic string, cfg configs.Config, encoder embedder.Encoder, err error) {
	if topic, err = s.topic(ctx, what, partitions, n, distinct); err != nil {
		return topic, cfg, nil, err
	}
	if cfg, err = s.config(topic); err != nil {
		return topic, cfg, nil, err
	}
	encoder, err = embedder.New(ctx, cfg.Embedder, quiet(), reg)
	return topic, cfg, encoder, err
}

// partitions of a topic, where it does not matter.
const partitions = 8

// event is a change in the native form.
type event struct {
	Op       string `json:"op"`
	Document string `json:"document_id"`
	Chunk    string `json:"chunk_id"`
	Position int    `json:"position"`
	Text     string `json:"text"`
	Version  int64  `json:"version"`
	Time     string `json:"ts"`
}

// edit is one record to publish: the state of a chunk after n changes.
type edit struct {
	chunk, text int
	at          time.Time
}

// text is the nth of a stream of texts that all differ, of real ones.
func (s *Stage) text(n int) string {
	text := s.corpus[n%len(s.corpus)].Text
	if round := n / len(s.corpus); round > 0 {
		return "(" + strconv.Itoa(round) + ") " + text
	}
	return text
}

// record makes e the nth change of a topic.
func (s *Stage) record(topic string, partitions int32, n int, e edit) (*kgo.Record, error) {
	name := strconv.Itoa(e.chunk)
	value, err := json.Marshal(event{
		Op: "upsert", Document: strconv.Itoa(e.chunk / 20), Chunk: name, Position: e.chunk % 20, Text: s.text(e.text),
		Version: int64(n) + 1, Time: e.at.UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: topic, Partition: int32(e.chunk) % partitions, Key: []byte(name), Value: value}, nil
}

func (s *Stage) emptyTopic(ctx context.Context, what string, partitions int32) (string, error) {
	topic := s.name(what)
	if _, err := kadm.NewClient(s.client).CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		return "", fmt.Errorf("create topic %s: %w", topic, err)
	}
	return topic, nil
}

// topic makes one with n records; of says what the nth is.
func (s *Stage) topic(ctx context.Context, what string, partitions int32, n int, of func(n int) edit) (string, error) {
	topic, err := s.emptyTopic(ctx, what, partitions)
	if err != nil {
		return "", err
	}
	var failed error
	for i := range n {
		r, err := s.record(topic, partitions, i, of(i))
		if err != nil {
			return "", err
		}
		s.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err // promises are called one at a time, and before Flush returns
			}
		})
	}
	if err := s.client.Flush(ctx); err != nil {
		return "", err
	}
	return topic, failed
}

// distinct is a stream of chunks that differ, each with a text of its own.
func distinct(n int) edit { return edit{chunk: n, text: n, at: time.Now()} }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
