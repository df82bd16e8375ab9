package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/configs"
	"chunktide/devstack/qdrantd"
	"chunktide/devstack/realservers"
)

const (
	scalePartitions = 8
	scaleBatch      = 32
	// window is what one worker may have in flight: four batches.
	window = 4 * scaleBatch
	// goingOn is what each partition must commit in each phase.
	goingOn = 30
)

// scaling is a steady stream of events, each of a chunk of its own, and an
// index that counts who writes them.
type scaling struct {
	cfg      configs.Config
	settings []string
	writes   *writeTally
	admin    *adminClient

	stop    context.CancelFunc
	running sync.WaitGroup
	sent    [scalePartitions]int64
}

func newScaling(t *testing.T, kafkaAddr string, more ...string) *scaling {
	t.Helper()
	s := &scaling{writes: newWriteTally()}
	s.writes.slow = 20 * time.Millisecond
	server, err := qdrantd.Start(qdrantd.Options{Interceptor: s.writes.intercept})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	name := fmt.Sprintf("scale-%d", time.Now().UnixNano())
	s.settings = append([]string{
		"kafka.brokers=" + kafkaAddr, "kafka.topics=" + name, "kafka.group=" + name, "kafka.session_timeout=6s", "kafka.heartbeat=500ms",
		"kafka.create_topics.enabled=true", "kafka.create_topics.replication=1", fmt.Sprint("kafka.create_topics.partitions=", scalePartitions),
		fmt.Sprint("kafka.batch.events=", scaleBatch), "kafka.batch.linger=10ms", "embedder.encoder=bow",
		"qdrant.address=" + server.Addr(), "qdrant.index=" + name, "admin.address=",
	}, more...)
	if s.cfg, err = configs.Load("", s.settings, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// stream publishes about 200 events a second, evenly to all partitions, until
// the test stops it.
func (s *scaling) stream(t *testing.T) {
	t.Helper()
	s.admin = newAdmin(t, s.cfg)
	client := newClient(t, s.cfg, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	s.running.Go(func() {
		beat := time.NewTicker(time.Second * scalePartitions / 200)
		defer beat.Stop()
		for version := 1; ; version++ {
			var records []*kgo.Record
			for p := range int32(scalePartitions) {
				line, err := json.Marshal(map[string]any{
					"op": "upsert", "document_id": fmt.Sprint("p", p), "chunk_id": fmt.Sprint(version), "version": version,
					"text": fmt.Sprintf("words %d of many", version%50),
				})
				if err != nil {
					t.Error(err)
				}
				records = append(records, &kgo.Record{Topic: s.cfg.Kafka.Topics[0], Partition: p, Value: line})
			}
			for _, r := range client.ProduceSync(context.WithoutCancel(ctx), records...) {
				if r.Err != nil {
					t.Error(r.Err)
					return
				}
				s.sent[r.Record.Partition]++
			}
			select {
			case <-beat.C:
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { stop(); s.running.Wait() })
}

// committed are the group's offsets, -1 where there is none.
func (s *scaling) committed(t *testing.T) (out [scalePartitions]int64) {
	t.Helper()
	offsets, err := s.admin.client.FetchOffsets(t.Context(), s.cfg.Kafka.Group)
	for p := range out {
		out[p] = -1
		if o, ok := offsets.Lookup(s.cfg.Kafka.Topics[0], int32(p)); err == nil && ok {
			out[p] = o.At
		}
	}
	return out
}

// settle waits until n workers share the partitions, and then until each has
// gone on. It reports the longest pauses until then.
func (s *scaling) settle(t *testing.T, n int) {
	t.Helper()
	waitUntil(t, fmt.Sprint("workers that write: ", n), func() bool { return s.writes.writers() == n })
	before := s.committed(t)
	waitUntil(t, "every partition has gone on", func() bool {
		now := s.committed(t)
		for p := range now {
			if now[p] < before[p]+goingOn {
				return false
			}
		}
		return true
	})
	t.Logf("until %d worked, the longest pauses were %s", n, s.writes.pauses())
}

// end stops the stream and lets the last worker get level and stop. Nothing may
// be missing.
func (s *scaling) end(t *testing.T, last *process) {
	t.Helper()
	s.stop()
	s.running.Wait()
	waitUntil(t, "everything is committed", func() bool { return s.admin.lag(t) == 0 })
	terminate(t, last)
	var sent int64
	for _, n := range s.sent {
		sent += n
	}
	_, written := s.writes.repeated()
	live, err := watchIndex(t, s.cfg).Live(t.Context())
	if err != nil || int64(written) != sent || int64(live) != sent {
		t.Errorf("%d events sent, %d written, %d live in the index, %v", sent, written, live, err)
	}
}

// terminate stops workers as Kubernetes does, all at once; each must say that
// it stopped well.
func terminate(t *testing.T, workers ...*process) {
	t.Helper()
	for _, w := range workers {
		if err := w.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range workers {
		if err := w.Wait(); err != nil {
			t.Errorf("a worker that was asked to stop: %v", err)
		}
	}
}

// From one worker to four and back, while the stream flows: every partition
// goes on, nothing is lost, and no event is handled twice, since all partitions
// change hands in order.
func TestScalingRepeatsNothing(t *testing.T) {
	broker := realservers.RunKafka(t, realservers.KafkaOptions{Properties: map[string]string{
		"group.consumer.min.heartbeat.interval.ms": "500", "group.consumer.heartbeat.interval.ms": "500",
	}})
	for name, protocol := range map[string]string{
		"cooperative-sticky": "kafka.balancer=cooperative-sticky", "next generation (KIP-848)": "kafka.next_gen=true",
	} {
		t.Run(name, func(t *testing.T) {
			s := newScaling(t, broker.Addr, protocol)
			first := startWorker(t, s.settings)
			watchIndex(t, s.cfg) // it has made the topic too, or is about to
			s.stream(t)
			s.settle(t, 1)
			var more []*process
			for range 3 {
				more = append(more, startWorker(t, s.settings))
			}
			s.settle(t, 4)
			terminate(t, more...)
			s.settle(t, 1)
			s.end(t, first)
			again, written := s.writes.repeated()
			t.Logf("%d events, %v moves of the %d partitions", written, total(s.writes.moves), scalePartitions)
			if total(s.writes.moves) < 6 {
				t.Errorf("only %d partitions moved: too few to show anything", total(s.writes.moves))
			}
			if len(again) > 0 {
				t.Errorf("events handled twice, by partition: %v", again)
			}
		})
	}
}

func total(counts map[int32]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// The control, and the bound: a worker that is killed, after its writes were
// applied and before it could commit, leaves events to be done twice, at most
// one window of each partition.
func TestAKilledWorkerRepeatsAtMostItsWindow(t *testing.T) {
	broker := realservers.RunKafka(t, realservers.KafkaOptions{})
	s := newScaling(t, broker.Addr)
	first := startWorker(t, s.settings)
	watchIndex(t, s.cfg)
	s.stream(t)
	s.settle(t, 1)
	second := startWorker(t, s.settings)
	s.settle(t, 2)
	release := s.writes.hold()
	waitUntil(t, "both wait for the answer to a write that was applied", func() bool { return s.writes.holds() == 2 })
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = second.Wait() // it was killed
	release()
	s.settle(t, 1)
	s.end(t, first)
	again, _ := s.writes.repeated()
	t.Logf("events handled twice, by partition: %v", again)
	if len(again) == 0 {
		t.Error("nothing was handled twice: this test cannot see it")
	}
	for p, n := range again {
		if n > window {
			t.Errorf("partition %d: %d events were handled twice, the window is %d", p, n, window)
		}
	}
	if moved := len(again); moved > scalePartitions/2 {
		t.Errorf("%d partitions were done twice, the killed worker had %d", moved, scalePartitions/2)
	}
}
