package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/devstack/godocs"
	"chunktide/devstack/qdrantd"
	"chunktide/devstack/realservers"
)

const (
	pressurePartitions = 6
	pressureEvents     = 2000 // and as many malformed ones
	hotEdits           = 100_000
	bombBytes          = 256 << 20
	hugeRecord         = 100 << 20
	pressureMemory     = 640 << 20
)

// pressure is everything that takes room, on one topic.
type pressure struct {
	t      *testing.T
	client *kgo.Client
	topic  string
	corpus *corpus
	// letters counts the records that must become dead letters.
	letters int
}

func (p *pressure) produce(records ...*kgo.Record) {
	p.t.Helper()
	for _, r := range records {
		r.Topic = p.topic
	}
	if err := p.client.ProduceSync(p.t.Context(), records...).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pressure) edit(name godocs.Passage) *kgo.Record {
	c := p.corpus.upsert(name)
	p.corpus.note(c)
	value, err := json.Marshal(c)
	if err != nil {
		p.t.Fatal(err)
	}
	return &kgo.Record{Key: []byte(name.Chunk), Value: value}
}

// flood is a stream of which every second record is malformed.
func (p *pressure) flood() {
	var records []*kgo.Record
	for i := range pressureEvents {
		good := p.edit(godocs.Passage{Document: "flood", Chunk: fmt.Sprint("c", i%500), Text: fmt.Sprintf("text %d of the flood", i%700)})
		good.Partition = int32(i % 500 % pressurePartitions)
		bad := &kgo.Record{Partition: good.Partition, Value: []byte(`{"op":"upsert","document_id":` + fmt.Sprint(i))}
		records = append(records, good, bad)
		p.letters++
	}
	// A key without a value that names no chunk.
	records = append(records, &kgo.Record{Key: []byte("no JSON")})
	p.letters++
	p.produce(records...)
}

// huge is one record of 100 MB, which no buffer was made for.
func (p *pressure) huge() {
	text := bytes.Repeat([]byte("word "), hugeRecord/5)
	value := append([]byte(`{"op":"upsert","document_id":"huge","chunk_id":"c","version":1,"text":"`), text...)
	p.produce(&kgo.Record{Partition: 0, Value: append(value, `"}`...)})
	p.letters++
}

// bombs unfold to many times what the worker may hold.
func (p *pressure) bombs(options []kgo.Opt) {
	p.t.Helper()
	client, err := kgo.NewClient(append(options, kgo.ProducerBatchCompression(kgo.GzipCompression()))...)
	if err != nil {
		p.t.Fatal(err)
	}
	defer client.Close()
	zeros := make([]byte, bombBytes)
	for partition := int32(1); partition < 4; partition++ {
		r := &kgo.Record{Topic: p.topic, Partition: partition, Value: zeros}
		if err := client.ProduceSync(p.t.Context(), r).FirstErr(); err != nil {
			p.t.Fatal(err)
		}
		p.letters++
	}
}

// hot is one chunk that is edited over and over.
func (p *pressure) hot() {
	records := make([]*kgo.Record, hotEdits)
	for i := range records {
		records[i] = p.edit(godocs.Passage{Document: "hot", Chunk: "hot", Text: fmt.Sprint("edit ", i)})
		records[i].Partition = 4
	}
	p.produce(records...)
}

// A stream that is half malformed, a record of 100 MB, decompression bombs, a
// key without a value and 100,000 edits of one chunk: every partition goes on,
// the index is right, and the worker stays within limits.memory. In the
// control the bombs are let unfold, and it does not.
func TestMemoryStaysBoundedUnderPressure(t *testing.T) {
	kafka := realservers.RunKafka(t, realservers.KafkaOptions{Heap: "1g", Properties: map[string]string{
		"message.max.bytes": fmt.Sprint(hugeRecord + 1<<20), "socket.request.max.bytes": fmt.Sprint(hugeRecord + 2<<20),
	}})
	server, err := qdrantd.Start(qdrantd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	name := fmt.Sprintf("pressure-%d", time.Now().UnixNano())
	settings := []string{
		"kafka.brokers=" + kafka.Addr, "kafka.topics=" + name, "kafka.create_topics.enabled=true", "kafka.create_topics.replication=1",
		fmt.Sprint("kafka.create_topics.partitions=", pressurePartitions), "embedder.encoder=bow", "qdrant.address=" + server.Addr(), "admin.address=",
		"cache.memory_bytes=33554432", "log.level=error",
	}
	worker := buildWorker(t)
	bounded := slices.Concat(settings, []string{"kafka.group=" + name, "qdrant.index=" + name, fmt.Sprint("limits.memory=", pressureMemory)})
	p := fillUnderPressure(t, bounded)
	peak := runUnderPressure(t, worker, bounded, p)
	t.Logf("peak %d MiB, limit %d MiB", peak>>20, pressureMemory>>20)
	if peak > pressureMemory {
		t.Errorf("the worker took %d MiB, the limit is %d MiB", peak>>20, pressureMemory>>20)
	}
	control := slices.Concat(settings, []string{"kafka.group=" + name + "-control", "qdrant.index=" + name + "-control", "kafka.decompress_max_bytes=1073741824"})
	if peak := runUnderPressure(t, worker, control, nil); peak < pressureMemory {
		t.Errorf("the bombs are none: unfolded they take the worker to %d MiB only", peak>>20)
	}
}

func fillUnderPressure(t *testing.T, settings []string) *pressure {
	t.Helper()
	cfg, err := configs.Load("", settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(cfg.Kafka.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedBytes(1 << 30),
		kgo.ProducerBatchMaxBytes(bombBytes + 1<<20), kgo.BrokerMaxWriteBytes(bombBytes + 2<<20), kgo.ProducerBatchCompression(kgo.NoCompression()),
	}
	p := &pressure{t: t, topic: cfg.Kafka.Topics[0], corpus: newCorpus(), client: newClient(t, cfg, options...)}
	if _, err := consumer.EnsureTopics(t.Context(), p.client, cfg.Kafka); err != nil {
		t.Fatal(err)
	}
	p.flood()
	p.huge()
	p.bombs(options)
	p.hot()
	// Behind all of it, so that each partition shows that it went on.
	for i := range int32(pressurePartitions) {
		r := p.edit(godocs.Passage{Document: "last", Chunk: fmt.Sprint("last", i), Text: "the last words"})
		r.Partition = i
		p.produce(r)
	}
	return p
}

// runUnderPressure runs one worker until all is committed and returns the most
// memory that it held. With p it compares the index.
func runUnderPressure(t *testing.T, worker string, settings []string, p *pressure) (peak int64) {
	t.Helper()
	cfg, err := configs.Load("", settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := startAs(t, worker, settings)
	admin := newAdmin(t, cfg)
	waitUntil(t, "everything is committed", func() bool {
		if err := w.Process.Signal(syscall.Signal(0)); err != nil {
			t.Fatalf("the worker ended: %v\n%s", err, w.log)
		}
		return admin.lag(t) == 0
	})
	peak = peakBytes(t, w.Process.Pid)
	if p != nil {
		lost, stale, doubled, err := p.corpus.compare(t.Context(), watchIndex(t, cfg))
		if err != nil || lost+stale+doubled != 0 {
			t.Errorf("lost %d, stale %d, doubled %d, %v", lost, stale, doubled, err)
		}
		if got := admin.deadLetters(t); got != p.letters {
			t.Errorf("%d dead letters, want %d", got, p.letters)
		}
	}
	if err := w.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(); err != nil {
		t.Errorf("the worker ended with %v\n%s", err, w.log)
	}
	return peak
}

// buildWorker compiles the command as users have it: the test binary may carry
// the race detector, whose shadow drowns what is to be measured.
func buildWorker(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "chunktide")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the worker: %v\n%s", err, out)
	}
	return bin
}

// peakBytes is the most that a process has held resident.
func peakBytes(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	var kB int64
	_, line, _ := bytes.Cut(data, []byte("VmHWM:"))
	if _, err := fmt.Sscan(string(line), &kB); err != nil {
		t.Fatal(err)
	}
	return kB << 10
}
