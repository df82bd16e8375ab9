package bench

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	qd "github.com/qdrant/go-client/qdrant"
	"github.com/twmb/franz-go/pkg/kadm"
	"google.golang.org/protobuf/proto"

	"chunktide/bench/scaling"
	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/embedder"
)

// Measure takes the sizes that docs/SCALING.md starts from.
func Measure(ctx context.Context, s *Stage, o Options) (m scaling.Sizes, err error) {
	n := o.sized(4000)
	topic, cfg, encoder, err := s.filled(ctx, "sizes", n, nil)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, encoder.Close()) }()
	m.Cores, m.ModelVersion, m.RedisBytes = runtime.NumCPU(), encoder.Recipe().ModelVersion(), map[string]float64{}
	if err := s.eventSizes(ctx, topic, n, encoder, &m); err != nil {
		return m, err
	}
	o.say("  %d events: %.0f bytes each, %.0f in the log", n, m.EventBytes, m.KafkaBytes)
	if m.TokensPerSecond, err = endToEnd(ctx, cfg, encoder, n, settled.textTokens); err != nil {
		return m, err
	}
	if m.PayloadBytes, err = s.payload(ctx, cfg.Qdrant.Index); err != nil {
		return m, err
	}
	o.say("  %.0f tokens/s through the model; %.0f bytes of payload beside the text", m.TokensPerSecond, m.PayloadBytes)
	if m.EventsPerSecond, err = s.replayed(ctx, cfg, encoder, n, o); err != nil {
		return m, err
	}
	o.say("  %.0f events/s with every vector cached", m.EventsPerSecond)
	for _, kind := range []struct {
		dim   int
		dtype string
	}{{384, "fp32"}, {384, "fp16"}, {768, "fp32"}, {1024, "fp32"}} {
		bytes, err := s.vectorInRedis(ctx, kind.dim, kind.dtype, o.sized(50_000))
		if err != nil {
			return m, err
		}
		m.RedisBytes[fmt.Sprintf("%d %s", kind.dim, kind.dtype)] = bytes
		o.say("  %d %s: %.0f bytes a vector in Redis", kind.dim, kind.dtype, bytes)
	}
	return m, nil
}

// eventSizes weighs a topic's records before they are compressed, and what
// they take in the log.
func (s *Stage) eventSizes(ctx context.Context, topic string, n int, encoder embedder.Encoder, m *scaling.Sizes) error {
	var events, texts, tokens int
	for i := range n {
		e := distinct(i)
		r, err := s.record(topic, partitions, i, e)
		if err != nil {
			return err
		}
		ids, err := encoder.TokenIDs(s.text(e.text))
		if err != nil {
			return err
		}
		events, texts, tokens = events+len(r.Key)+len(r.Value), texts+len(s.text(e.text)), tokens+len(ids)
	}
	logs, err := kadm.NewClient(s.client).DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return err
	}
	var held int64
	logs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if p.Topic == topic {
				held += p.Size
			}
		})
	})
	if held == 0 {
		return fmt.Errorf("the broker says nothing of the size of topic %s", topic)
	}
	each := func(sum int) float64 { return float64(sum) / float64(n) }
	m.EventBytes, m.TextBytes, m.TextTokens, m.KafkaBytes = each(events), each(texts), each(tokens), each(int(held))
	return nil
}

// payload weighs the payloads of an index, less their texts.
func (s *Stage) payload(ctx context.Context, index string) (float64, error) {
	client, err := s.qdrant()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	points, err := client.Scroll(ctx, &qd.ScrollPoints{CollectionName: index, Limit: qd.PtrOf(uint32(1000)), WithPayload: qd.NewWithPayload(true)})
	if err != nil || len(points) == 0 {
		return 0, fmt.Errorf("read %d points of %s: %w", len(points), index, err)
	}
	var sum, texts int
	for _, p := range points {
		sum += proto.Size(&qd.PointStruct{Payload: p.GetPayload()})
		texts += len(p.GetPayload()["text"].GetStringValue())
	}
	return float64(sum-texts) / float64(len(points)), nil
}

// replayed is the rate of a worker that finds every vector in the cache, where
// the first so many texts are.
func (s *Stage) replayed(ctx context.Context, cfg configs.Config, encoder embedder.Encoder, texts int, o Options) (float64, error) {
	n := o.sized(40_000)
	topic, err := s.topic(ctx, "replayed", partitions, n, func(i int) edit { return edit{chunk: i, text: i % texts, at: time.Now()} })
	if err != nil {
		return 0, err
	}
	cfg.Kafka.Topics, cfg.Kafka.Group, cfg.Qdrant.Index = []string{topic}, s.name("run"), s.name("run")
	return endToEnd(ctx, cfg, encoder, n, settled.count)
}

// vectorInRedis is what the server's memory grows by for each of n vectors.
func (s *Stage) vectorInRedis(ctx context.Context, dim int, dtype string, n int) (float64, error) {
	cfg := cache.DefaultConfig()
	cfg.URL, cfg.Prefix, cfg.DType, cfg.MemoryBytes = chunk.Secret(s.Redis.URL()), s.name("sizes")+":", dtype, 0
	c, err := cache.New(cfg, [32]byte{1}, dim, quiet(), nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	before, err := s.redisMemory(ctx)
	if err != nil {
		return 0, err
	}
	const round = 256
	for first := 0; first < n; first += round {
		hashes, embeddings := make([]chunk.Hash, round), make([]chunk.Embedding, round)
		for i := range hashes {
			hashes[i] = sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(first+i)))
			embeddings[i] = chunk.Embedding{Vector: make([]float32, dim), Tokens: 1}
			embeddings[i].Vector[i%dim] = 1
		}
		c.Put(ctx, hashes, embeddings)
	}
	after, err := s.redisMemory(ctx)
	stored := (n + round - 1) / round * round
	return float64(after-before) / float64(stored), err
}

// redisMemory asks in Redis's inline protocol.
func (s *Stage) redisMemory(ctx context.Context) (int64, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Redis.Addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "INFO memory\r\nQUIT\r\n"); err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(answer)) {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, errors.New("redis says nothing of its memory")
}
