package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/consumer"
	"chunktide/devstack"
	"chunktide/devstack/godocs"
)

const killerWord = "killer"

// supervise starts worker processes, one after the other, as Kubernetes would,
// until the group is level or so many have died. It returns the deaths.
func supervise(t *testing.T, settings []string, cfg configs.Config, most int) (deaths int, level bool) {
	t.Helper()
	admin := newAdmin(t, cfg)
	for deaths < most {
		w := startAs(t, os.Args[0], settings)
		ended := make(chan error, 1)
		go func() { ended <- w.Wait() }()
		alive := true
		waitUntil(t, "the worker dies, or everything is committed", func() bool {
			select {
			case err := <-ended:
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("the worker ended with %v:\n%s", err, w.log)
				}
				alive = false
				return true
			default:
				return admin.lag(t) == 0
			}
		})
		if alive {
			if err := w.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil {
				t.Errorf("the worker that was stopped ended with %v", err)
			}
			return deaths, true
		}
		deaths++
	}
	return deaths, false
}

// A text at which the encoder takes the whole process down kills some workers,
// and then lies in the dead letters, while its partition has gone on. Without
// counting deaths it kills for ever.
func TestATextThatKillsTheProcessIsQuarantined(t *testing.T) {
	for name, after := range map[string]int{"counted": 3, "control: not counted": 0} {
		t.Run(name, func(t *testing.T) {
			stack, err := devstack.Start(t.Context(), devstack.Options{Topics: map[string]int32{"docs": 2, "docs.dead-letters": 1}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = stack.Close() })
			t.Setenv(killAt, killerWord)
			settings := []string{
				"kafka.brokers=" + stack.KafkaBrokers[0], "kafka.topics=docs", "kafka.group=killed", "kafka.instance_id=one",
				fmt.Sprint("kafka.quarantine_after=", after), "kafka.batch.events=8",
				"embedder.encoder=bow", "qdrant.address=" + stack.QdrantAddr, "qdrant.index=killed", "admin.address=",
			}
			cfg, err := configs.Load("", settings, nil)
			if err != nil {
				t.Fatal(err)
			}
			good := publishWithKiller(t, cfg)
			deaths, level := supervise(t, settings, cfg, 10)
			t.Logf("%d workers died", deaths)
			if level != (after > 0) {
				t.Fatalf("the group is level: %v, after %d deaths", level, deaths)
			}
			if !level {
				return
			}
			lost, stale, doubled, err := good.compare(t.Context(), watchIndex(t, cfg))
			if err != nil || lost+stale+doubled != 0 {
				t.Errorf("lost %d, stale %d, doubled %d, %v", lost, stale, doubled, err)
			}
			if reason := onlyDeadLetter(t, cfg); reason != string(chunk.ReasonKilledWorkers) {
				t.Errorf("the dead letter's reason is %q", reason)
			}
		})
	}
}

// publishWithKiller publishes 40 chunks to two partitions, and a killer among
// them.
func publishWithKiller(t *testing.T, cfg configs.Config) *corpus {
	t.Helper()
	p := &pressure{t: t, topic: "docs", corpus: newCorpus(), client: newClient(t, cfg, kgo.RecordPartitioner(kgo.ManualPartitioner()))}
	var records []*kgo.Record
	for i := range 40 {
		r := p.edit(godocs.Passage{Document: "d", Chunk: fmt.Sprint("c", i), Text: fmt.Sprint("harmless words ", i)})
		r.Partition = int32(i % 2)
		records = append(records, r)
		if i == 17 {
			records = append(records, &kgo.Record{Partition: 1, Value: []byte(
				`{"op":"upsert","document_id":"d","chunk_id":"bad","version":1,"text":"a ` + killerWord + ` among them"}`)})
		}
	}
	p.produce(records...)
	return p.corpus
}

// onlyDeadLetter is the reason of the one dead letter that there must be.
func onlyDeadLetter(t *testing.T, cfg configs.Config) string {
	t.Helper()
	if n := newAdmin(t, cfg).deadLetters(t); n != 1 {
		t.Fatalf("%d dead letters, want one", n)
	}
	client := newClient(t, cfg, kgo.ConsumeTopics(cfg.Kafka.DeadLetters()))
	ctx, cancel := context.WithTimeout(t.Context(), worker.CloseTimeout)
	defer cancel()
	for _, r := range client.PollFetches(ctx).Records() {
		for _, h := range r.Headers {
			if h.Key == consumer.HeaderReason {
				return string(h.Value)
			}
		}
	}
	return ""
}
