package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"chunktide/cache"
	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/devstack"
	"chunktide/embedder"
	"chunktide/pipeline"
	"chunktide/sink"
)

// world is a topic, a worker and an index, on embedded servers, the index
// also on the real one at CHUNKTIDE_TEST_QDRANT.
type world struct {
	t       *testing.T
	cfg     configs.Config
	encoder embedder.Encoder
	kafka   *kgo.Client
	qdrant  *qdrant.Client
	index   *sink.Sink
	cache   *cache.Cache
	version chunk.Version
}

const partitions = 3

// inEachWorld runs a test against every index server.
func inEachWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("embedded", func(t *testing.T) { test(t, newWorld(t, "")) })
	if addr := os.Getenv("CHUNKTIDE_TEST_QDRANT"); addr != "" {
		t.Run("real", func(t *testing.T) { test(t, newWorld(t, addr)) })
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newWorld(t *testing.T, addr string) *world {
	t.Helper()
	name := fmt.Sprintf("verify-%d", time.Now().UnixNano())
	stack, err := devstack.Start(t.Context(), devstack.Options{Topics: map[string]int32{name: partitions, name + ".dead-letters": 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	if addr == "" {
		addr = stack.QdrantAddr
	}
	cfg, err := configs.Load("", []string{
		"kafka.brokers=" + stack.KafkaBrokers[0], "kafka.topics=" + name, "kafka.group=" + name, "kafka.batch.events=20", "kafka.batch.linger=1ms", "kafka.batch.idle_linger=1ms",
		"kafka.fetch_max_wait=100ms", "embedder.encoder=bow", "qdrant.address=" + addr, "qdrant.index=" + name, "admin.address=",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cfg: cfg, encoder: embedder.NewBow("", nil)}
	if w.kafka, err = kgo.NewClient(kgo.SeedBrokers(stack.KafkaBrokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kafka.Close)
	if w.index, err = sink.Open(t.Context(), cfg.Qdrant, worker.ModelPin(w.encoder.Recipe()), quiet(), nil); err != nil {
		t.Fatal(err)
	}
	if w.cache, err = cache.New(cfg.Cache, w.encoder.Recipe().Digest(), w.encoder.Recipe().Dim, quiet(), nil); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	if w.qdrant, err = qdrant.NewClient(&qdrant.Config{Host: host, Port: number, SkipCompatibilityCheck: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.qdrant.DeleteCollection(context.Background(), w.index.Collection())
		_ = w.qdrant.Close()
		_ = w.index.Close()
	})
	return w
}

// publish writes one value to a partition; nil is a tombstone.
func (w *world) publish(partition int32, key, value []byte) {
	w.t.Helper()
	r := &kgo.Record{Topic: w.cfg.Kafka.Topics[0], Partition: partition, Key: key, Value: value}
	if err := w.kafka.ProduceSync(context.WithoutCancel(w.t.Context()), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// change publishes the next version of a chunk of document d; "" deletes it.
func (w *world) change(name, text string) {
	w.t.Helper()
	w.version++
	e := map[string]any{"op": "upsert", "source": "s", "document_id": "d", "chunk_id": name, "text": text, "version": w.version}
	if text == "" {
		e["op"] = "delete"
	}
	value, err := json.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(0, nil, value)
}

// work runs a worker until ctx ends.
func (w *world) work(ctx context.Context, cfg configs.Config) {
	line, err := worker.New(ctx, cfg, w.encoder, nil, quiet(), nil)
	if err != nil {
		w.t.Error(err)
		return
	}
	if err := errors.Join(line.Line.Run(ctx), line.Close(ctx)); err != nil && ctx.Err() == nil {
		w.t.Error(err)
	}
}

// joined waits until a worker is in the group.
func (w *world) joined() {
	w.t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for ; ; <-look.C {
		committed, err := consumer.Committed(w.t.Context(), w.cfg.Kafka, []string{w.cfg.Kafka.Group})
		if err != nil {
			w.t.Fatal(err)
		}
		if committed != nil {
			return
		}
	}
}

// drain runs a worker until all that is there now is indexed.
func (w *world) drain() {
	w.t.Helper()
	cfg := w.cfg
	cfg.Kafka.StopAtEnd = true
	w.work(w.t.Context(), cfg)
}

func (w *world) topic(wait time.Duration) *Topic {
	w.t.Helper()
	decoder, err := chunk.NewDecoder(w.cfg.Events)
	if err != nil {
		w.t.Fatal(err)
	}
	t, err := OpenTopic(w.t.Context(), TopicConfig{
		Kafka: w.cfg.Kafka, Decode: decoder.Decode, Wait: wait, Logger: quiet(),
		Committed: func(ctx context.Context) (map[string]map[int32]int64, error) {
			return consumer.Committed(ctx, w.cfg.Kafka, []string{w.cfg.Kafka.Group})
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

func (w *world) parts(source Source) Parts {
	return Parts{Source: source, Index: w.index, Encoder: w.encoder, Cache: w.cache, Logger: quiet()}
}

func (w *world) options() Options {
	o := DefaultOptions()
	o.Models, o.Sample, o.Dir = []string{w.encoder.Recipe().ModelVersion()}, 100_000, w.t.TempDir()
	return o
}

func (w *world) verify(source Source) Report {
	w.t.Helper()
	r, err := Run(w.t.Context(), w.parts(source), w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) repair(source Source, r Report) {
	w.t.Helper()
	if err := Repair(w.t.Context(), pipeline.DefaultConfig(), w.parts(source), r.Named); err != nil {
		w.t.Fatal(err)
	}
	for _, d := range r.Named {
		if d.Refused != "" {
			w.t.Error(d)
		}
	}
}

// points is everything in the collection, byte for byte.
func (w *world) points() map[string][]byte {
	w.t.Helper()
	out := map[string][]byte{}
	var offset *qdrant.PointId
	for {
		answer, err := w.qdrant.GetPointsClient().Scroll(w.t.Context(), &qdrant.ScrollPoints{
			CollectionName: w.index.Collection(), Offset: offset, WithPayload: qdrant.NewWithPayload(true), WithVectors: qdrant.NewWithVectors(true),
		})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range answer.GetResult() {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
			if err != nil {
				w.t.Fatal(err)
			}
			out[p.GetId().GetUuid()] = b
		}
		if offset = answer.GetNextPageOffset(); offset == nil {
			return out
		}
	}
}

func id(name string) *qdrant.PointId { return qdrant.NewIDUUID(chunk.NewID("s", "d", name).String()) }

// damage changes the index behind everyone's back.
func (w *world) damage(operations ...*qdrant.PointsUpdateOperation) {
	w.t.Helper()
	_, err := w.qdrant.UpdateBatch(w.t.Context(), &qdrant.UpdateBatchPoints{
		CollectionName: w.index.Collection(), Wait: qdrant.PtrOf(true), Operations: operations,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// set changes payload fields: those of _ct, or the point's own.
func set(name string, own bool, fields map[string]any) *qdrant.PointsUpdateOperation {
	o := &qdrant.PointsUpdateOperation_SetPayload{
		Payload: qdrant.NewValueMap(fields), PointsSelector: qdrant.NewPointsSelector(id(name)),
	}
	if own {
		o.Key = qdrant.PtrOf("_ct")
	}
	return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_SetPayload_{SetPayload: o}}
}

func remove(name string) *qdrant.PointsUpdateOperation {
	return removePoint(chunk.NewID("s", "d", name))
}

func removePoint(point chunk.ID) *qdrant.PointsUpdateOperation {
	return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_DeletePoints_{
		DeletePoints: &qdrant.PointsUpdateOperation_DeletePoints{Points: qdrant.NewPointsSelector(qdrant.NewIDUUID(point.String()))},
	}}
}

func (w *world) vector(name, text string) *qdrant.PointsUpdateOperation {
	w.t.Helper()
	e, err := w.encoder.Encode(w.t.Context(), []string{text})
	if err != nil {
		w.t.Fatal(err)
	}
	return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_UpdateVectors_{
		UpdateVectors: &qdrant.PointsUpdateOperation_UpdateVectors{Points: []*qdrant.PointVectors{{
			Id: id(name), Vectors: qdrant.NewVectorsMap(map[string]*qdrant.Vector{"text": qdrant.NewVectorDense(e[0].Vector)}),
		}}},
	}}
}

func blind(name string) *qdrant.PointsUpdateOperation {
	return &qdrant.PointsUpdateOperation{Operation: &qdrant.PointsUpdateOperation_DeleteVectors_{
		DeleteVectors: &qdrant.PointsUpdateOperation_DeleteVectors{
			PointsSelector: qdrant.NewPointsSelector(id(name)), Vectors: &qdrant.VectorsSelector{Names: []string{"text"}},
		},
	}}
}
