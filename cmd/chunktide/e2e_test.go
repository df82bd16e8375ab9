package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/devstack/godocs"
	"chunktide/devstack/qdrantd"
	"chunktide/devstack/realservers"
	"chunktide/embedder"
	"chunktide/sink"
)

// gate holds writes to the index once it is shut, so that whoever writes is
// caught in the middle of a batch.
type gate struct {
	shut    atomic.Bool
	waiting chan struct{}
	opened  chan struct{}
}

func (g *gate) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if g.shut.Load() && strings.HasSuffix(info.FullMethod, "/UpdateBatch") {
		g.waiting <- struct{}{}
		<-g.opened
	}
	return handler(ctx, req)
}

// process is `chunktide run` as a process of its own.
type process struct {
	*exec.Cmd
	log *bytes.Buffer
}

func startWorker(t *testing.T, settings []string) *process {
	t.Helper()
	return startAs(t, os.Args[0], settings)
}

func startAs(t *testing.T, bin string, settings []string) *process {
	t.Helper()
	return startCommand(t, bin, withSettings(settings, "run")...)
}

func newCommand(bin string, args ...string) *process {
	p := &process{Cmd: exec.Command(bin, args...), log: &bytes.Buffer{}}
	p.Env = append(os.Environ(), asCommand+"=1")
	p.Stderr = p.log
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p
}

// startCommand starts a command as a process of its own.
func startCommand(t *testing.T, bin string, args ...string) *process {
	t.Helper()
	p := newCommand(bin, args...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if t.Failed() {
			t.Logf("worker %d:\n%s", p.Process.Pid, p.log)
		}
	})
	return p
}

// Two workers on real Kafka and real Redis share a topic; one is killed in
// the middle of a batch. The index must equal the fold of the log.
func TestAKilledWorkerLosesNothing(t *testing.T) {
	kafkaAddr, redisURL := os.Getenv("CHUNKTIDE_TEST_KAFKA"), os.Getenv("CHUNKTIDE_TEST_REDIS")
	if kafkaAddr == "" {
		kafkaAddr = realservers.RunKafka(t, realservers.KafkaOptions{}).Addr
	}
	if redisURL == "" {
		redisURL = realservers.RunRedis(t, realservers.RedisOptions{}).URL()
	}
	name := fmt.Sprintf("e2e-%d-%d", os.Getpid(), time.Now().UnixNano())
	g := &gate{waiting: make(chan struct{}, 100), opened: make(chan struct{})}
	qdrantAddr := os.Getenv("CHUNKTIDE_TEST_QDRANT")
	if qdrantAddr == "" {
		server, err := qdrantd.Start(qdrantd.Options{Addr: "127.0.0.1:0", Interceptor: g.intercept})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		qdrantAddr = server.Addr()
	} else {
		close(g.opened) // a real server cannot be held; it is killed in mid-stream
	}
	settings := []string{
		"kafka.brokers=" + kafkaAddr, "kafka.topics=" + name, "kafka.group=" + name, "kafka.session_timeout=6s", "kafka.heartbeat=500ms",
		"kafka.create_topics.enabled=true", "kafka.create_topics.replication=1", "kafka.create_topics.partitions=6",
		"kafka.batch.events=40", "embedder.encoder=bow", "cache.url=" + redisURL, "cache.prefix=" + name,
		"qdrant.address=" + qdrantAddr, "qdrant.index=" + name, "admin.address=",
	}
	cfg, err := configs.Load("", settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	dropIndexAfter(t, cfg.Qdrant)
	history := newHistory(3000, 400)
	history.publish(t, settings, cfg)

	first, second := startWorker(t, settings), startWorker(t, settings)
	index := watchIndex(t, cfg)
	waitUntil(t, "a part of the stream is stored", func() bool { n, _ := index.Live(t.Context()); return n > 50 })
	if os.Getenv("CHUNKTIDE_TEST_QDRANT") == "" {
		g.shut.Store(true)
		<-g.waiting // both workers are caught in a write
		<-g.waiting
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CHUNKTIDE_TEST_QDRANT") == "" {
		g.shut.Store(false)
		close(g.opened)
	}
	admin := newAdmin(t, cfg)
	waitUntil(t, "the other worker has committed everything", func() bool { return admin.lag(t) == 0 })
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("the stopped worker: %v", err)
	}
	history.compare(t, index)
	if got := admin.deadLetters(t); got != history.malformed {
		t.Errorf("%d different records in the dead letters, want %d", got, history.malformed)
	}
}

// history is a random life of a corpus, and what it should end in.
type history struct {
	corpus    *corpus
	lines     bytes.Buffer
	malformed int
}

func newHistory(events, chunks int) *history {
	rng := rand.New(rand.NewPCG(1, 2))
	h := &history{corpus: newCorpus(), malformed: 7}
	for i := range events {
		p := godocs.Passage{Document: fmt.Sprint("doc", rng.IntN(chunks)/10), Chunk: fmt.Sprint(rng.IntN(chunks)), Text: fmt.Sprintf("words %d of chunk %d", rng.IntN(200), i%7)}
		c := h.corpus.upsert(p)
		if rng.IntN(6) == 0 {
			c = h.corpus.delete(p)
		}
		h.corpus.note(c)
		line, _ := json.Marshal(c)
		h.lines.Write(append(line, '\n'))
	}
	return h
}

// publish writes the history by the command, and malformed records beside it.
func (h *history) publish(t *testing.T, settings []string, cfg configs.Config) {
	t.Helper()
	args := []string{"publish"}
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	if code, _, errs := command(t, h.lines.String(), args...); code != exitDone {
		t.Fatalf("publish: exit %d: %s", code, errs)
	}
	client := newClient(t, cfg)
	for i := range h.malformed {
		r := &kgo.Record{Topic: cfg.Kafka.Topics[0], Key: []byte{byte(i)}, Value: []byte(`{"op":"frobnicate"}`)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *history) compare(t *testing.T, index *sink.Reader) {
	t.Helper()
	lost, stale, doubled, err := h.corpus.compare(t.Context(), index)
	if err != nil || lost+stale+doubled != 0 {
		t.Errorf("lost %d, stale %d, doubled %d, %v", lost, stale, doubled, err)
	}
	if live, err := index.Live(t.Context()); err != nil || live != h.corpus.live() {
		t.Errorf("%d points live, %v; want %d", live, err, h.corpus.live())
	}
}

func newClient(t *testing.T, cfg configs.Config, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	options, err := consumer.ClientOptions(cfg.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(append(options, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// adminClient looks at the group and the dead letters from outside.
type adminClient struct {
	cfg    configs.Config
	client *kadm.Client
}

func newAdmin(t *testing.T, cfg configs.Config) *adminClient {
	t.Helper()
	client := kadm.NewClient(newClient(t, cfg))
	// The broker may be somebody's own.
	t.Cleanup(func() {
		topics := append([]string{cfg.Kafka.DeadLetters()}, cfg.Kafka.Topics...)
		if _, err := client.DeleteTopics(context.Background(), topics...); err != nil {
			t.Error(err)
		}
	})
	return &adminClient{cfg, client}
}

// lag is how many records the group has not committed, or -1 while that
// cannot be said.
func (a *adminClient) lag(t *testing.T) int64 {
	ends, err := a.client.ListEndOffsets(t.Context(), a.cfg.Kafka.Topics...)
	if err != nil {
		return -1
	}
	committed, err := a.client.FetchOffsets(t.Context(), a.cfg.Kafka.Group)
	if err != nil {
		return -1
	}
	var lag int64
	ends.Each(func(o kadm.ListedOffset) {
		if c, ok := committed.Lookup(o.Topic, o.Partition); ok && c.Err == nil {
			lag += o.Offset - max(0, c.At)
		} else {
			lag += o.Offset
		}
	})
	return lag
}

// deadLetters counts the different records that the dead letters came from.
func (a *adminClient) deadLetters(t *testing.T) int {
	t.Helper()
	topic := a.cfg.Kafka.DeadLetters()
	ends, err := a.client.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	client := newClient(t, a.cfg, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	origins := map[string]bool{}
	for read := int64(0); read < total; {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			origin := ""
			for _, h := range r.Headers {
				if h.Key == consumer.HeaderPartition || h.Key == consumer.HeaderOffset {
					origin += string(h.Value) + "/"
				}
			}
			origins[origin] = true
		})
	}
	return len(origins)
}

// watchIndex opens the index as a reader, once a worker has made it.
func watchIndex(t *testing.T, cfg configs.Config) *sink.Reader {
	t.Helper()
	pin := worker.ModelPin(embedder.NewBow("", nil).Recipe())
	var index *sink.Reader
	waitUntil(t, "a worker has made the index", func() bool {
		var err error
		index, err = sink.OpenReader(t.Context(), cfg.Qdrant, pin, slog.New(slog.DiscardHandler), nil)
		return err == nil
	})
	t.Cleanup(func() { _ = index.Close() })
	return index
}

// dropIndexAfter removes an index when the test ends: the server may be
// somebody's own.
func dropIndexAfter(t *testing.T, cfg sink.Config) {
	t.Helper()
	host, port, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: number, SkipCompatibilityCheck: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		names, err := client.ListCollections(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, name := range names {
			if strings.HasPrefix(name, cfg.Index+"--") {
				// Its aliases go with it.
				if err := client.DeleteCollection(context.Background(), name); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// waitUntil looks again and again until something outside this process holds.
func waitUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(90 * time.Second); !holds(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}
