package migrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/devstack"
	"chunktide/embedder"
	"chunktide/sink"
)

// world is an index with a topic, and what goes wrong on the way.
type world struct {
	t     *testing.T
	cfg   configs.Config
	admin *sink.Admin
	cl    *kgo.Client
	// fail is called before each change of a collection's metadata and before
	// each write of points; its error is the answer.
	fail atomic.Pointer[func(method string) error]
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	stack, err := devstack.Start(t.Context(), devstack.Options{
		Topics: map[string]int32{"docs": 2, "docs.dead-letters": 1},
		QdrantInterceptor: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
			if fail := w.fail.Load(); fail != nil && (method == "Update" || method == "UpdateBatch" || method == "Create") {
				if err := (*fail)(method); err != nil {
					return nil, err
				}
			}
			return handler(ctx, req)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	w.cfg, err = configs.Load("", []string{
		"kafka.brokers=" + stack.KafkaBrokers[0], "kafka.topics=docs", "kafka.group=workers", "kafka.stop_at_end=true",
		"qdrant.address=" + stack.QdrantAddr, "qdrant.index=world",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.admin, err = sink.OpenAdmin(w.cfg.Qdrant, quiet(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.admin.Close() })
	options, err := consumer.ClientOptions(w.cfg.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	if w.cl, err = kgo.NewClient(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cl.Close)
	return w
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// bow are encoders whose names are their model_versions.
func bow(name string) *embedder.Bow { return embedder.NewBow(name, nil) }

func (w *world) migration() *Migration { return New(w.admin, w.cfg.Kafka, quiet()) }

// publish writes an event to a partition; a nil text is a Kafka tombstone.
func (w *world) publish(partition int32, name string, version int, text *string) {
	w.t.Helper()
	r := &kgo.Record{Topic: "docs", Partition: partition, Key: []byte(`{"source":"s","document_id":"d","chunk_id":"` + name + `"}`)}
	if text != nil {
		r.Value = fmt.Appendf(nil, `{"op":"upsert","source":"s","document_id":"d","chunk_id":%q,"text":%q,"version":%d}`, name, *text, version)
	}
	if err := w.cl.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) upsert(partition int32, name string, version int, text string) {
	w.t.Helper()
	w.publish(partition, name, version, &text)
}

// catchUp runs a worker of a model to the end of the topic.
func (w *world) catchUp(ctx context.Context, encoder embedder.Encoder, group, collection string) error {
	cfg := w.cfg
	cfg.Kafka.Group, cfg.Qdrant.Collection = group, collection
	x, err := worker.New(ctx, cfg, encoder, nil, quiet(), nil)
	if err != nil {
		return err
	}
	return errors.Join(x.Line.Run(ctx), x.Close(ctx))
}

func (w *world) old() {
	w.t.Helper()
	if err := w.catchUp(w.t.Context(), bow("old"), "workers", ""); err != nil {
		w.t.Fatal(err)
	}
}

// copier fills a collection from another: what package backfill does, in few
// words, and without its checkpoints.
func (w *world) copier(encoder embedder.Encoder) func(context.Context, State, string) error {
	return func(ctx context.Context, s State, to string) (err error) {
		old, err := w.admin.Get(ctx, s.From)
		if err != nil {
			return err
		}
		cfg := w.cfg.Qdrant
		cfg.Collection = s.From
		from, err := sink.OpenWritten(ctx, cfg, old.Model, quiet(), nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, from.Close()) }()
		cfg.Collection = to
		into, err := sink.Open(ctx, cfg, worker.ModelPin(encoder.Recipe()), quiet(), nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, into.Close()) }()
		return from.Scroll(ctx, func(r sink.Record) error {
			p := chunk.Point{
				ID: r.ID, Op: chunk.Upsert, Source: r.Source, DocumentID: r.DocumentID, ChunkID: r.ChunkID, Version: r.Version,
				Origin: chunk.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, EventTime: r.EventTime, Text: r.Text, Hash: r.Hash,
			}
			if r.Tombstone {
				p.Op = chunk.Delete
			} else {
				e, err := encoder.Encode(ctx, []string{r.Text})
				if err != nil {
					return err
				}
				p.Embedding = e[0]
			}
			return into.Apply(ctx, []chunk.Point{p})
		})
	}
}

func (w *world) work(encoder embedder.Encoder, source Source) Work {
	return Work{
		Model: worker.ModelPin(encoder.Recipe()), Source: source, Backfill: w.copier(encoder),
		Follow: func(ctx context.Context, s State, to string) error { return w.catchUp(ctx, encoder, s.Group, to) },
	}
}

// texts are the living chunks of a collection by name, each with its model.
func (w *world) texts(collection string) map[string]string {
	w.t.Helper()
	c, err := w.admin.Get(w.t.Context(), collection)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := w.cfg.Qdrant
	cfg.Collection = c.Name
	index, err := sink.OpenWritten(w.t.Context(), cfg, c.Model, quiet(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer index.Close()
	out := map[string]string{}
	err = index.Scroll(w.t.Context(), func(r sink.Record) error {
		if !r.Tombstone {
			out[r.ChunkID] = fmt.Sprintf("%s v%d %s", r.Text, r.Version, r.ModelVersion)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// failAt has the n-th change fail for good, and all that follow, as if the
// process had died there.
func (w *world) failAt(n int) (happened *atomic.Bool) {
	var count atomic.Int64
	happened = &atomic.Bool{}
	f := func(string) error {
		if count.Add(1) < int64(n) {
			return nil
		}
		happened.Store(true)
		return status.Error(codes.PermissionDenied, "killed here")
	}
	w.fail.Store(&f)
	return happened
}

func (w *world) heal() { w.fail.Store(nil) }

// level is the gate that the tests ask.
func level(w *world) func(context.Context, Found) (int, string, error) {
	return func(_ context.Context, f Found) (int, string, error) {
		old, is := w.texts(f.From), w.texts(f.Collection.Name)
		n := 0
		for name, text := range old {
			if is[name] != strings.Replace(text, "old", f.Collection.Model.Version, 1) {
				n++
			}
		}
		return n + max(0, len(is)-len(old)), "old against new", nil
	}
}
