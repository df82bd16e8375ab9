package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"

	"chunktide/configs"
	"chunktide/devstack/godocs"
	"chunktide/devstack/qdrantd"
	"chunktide/devstack/realservers"
)

// stuckWord is in the one text at which something hangs.
const stuckWord = "quicksand"

// silent is a corpus with one text at which a worker falls silent.
type silent struct {
	settings []string
	cfg      configs.Config
	history  *history
	admin    *adminClient
	// deaf makes the index hold back the answers to writes of that text, until
	// the caller has had enough; attempts counts them.
	deaf     atomic.Bool
	attempts atomic.Int64
}

// sessionTimeout is far longer than it takes to notice a stall: who goes on
// before it is over was told by the worker that left.
const sessionTimeout = time.Minute

func newSilent(t *testing.T, kafkaAddr string, more ...string) *silent {
	t.Helper()
	s := &silent{history: &history{corpus: newCorpus()}}
	server, err := qdrantd.Start(qdrantd.Options{Interceptor: s.intercept})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	name := fmt.Sprintf("silent-%d", time.Now().UnixNano())
	s.settings = append([]string{
		"kafka.brokers=" + kafkaAddr, "kafka.topics=" + name, "kafka.group=" + name,
		fmt.Sprint("kafka.session_timeout=", sessionTimeout), "kafka.heartbeat=500ms",
		"kafka.create_topics.enabled=true", "kafka.create_topics.replication=1", "kafka.create_topics.partitions=4",
		"kafka.batch.events=16", "embedder.encoder=bow", "qdrant.address=" + server.Addr(), "qdrant.index=" + name,
		"qdrant.request_timeout=500ms", "qdrant.retry.initial=50ms", "qdrant.retry.max=200ms", "admin.address=",
	}, more...)
	if s.cfg, err = configs.Load("", s.settings, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		p := godocs.Passage{Document: fmt.Sprint("d", i%20), Chunk: fmt.Sprint("c", i%60), Text: fmt.Sprintf("words %d of many", i)}
		if i == 150 {
			p = godocs.Passage{Document: "d", Chunk: "stuck", Text: "deep " + stuckWord}
		}
		c := s.history.corpus.upsert(p)
		s.history.corpus.note(c)
		line, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		s.history.lines.Write(append(line, '\n'))
	}
	s.history.publish(t, s.settings, s.cfg)
	s.admin = newAdmin(t, s.cfg)
	return s
}

func (s *silent) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if s.deaf.Load() && hasText(req, stuckWord) {
		s.attempts.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return handler(ctx, req)
}

// hasText reports whether a request writes a text with a word in it.
func hasText(req any, word string) bool {
	update, ok := req.(*qdrant.UpdateBatchPoints)
	if !ok {
		return false
	}
	for _, op := range update.GetOperations() {
		for _, p := range op.GetUpsert().GetPoints() {
			if strings.Contains(p.GetPayload()["text"].GetStringValue(), word) {
				return true
			}
		}
	}
	return false
}

// probed is a worker process with its admin port.
type probed struct {
	*process
	admin string
	ended chan struct{}
	err   error // what it ended with, once it has
}

func (s *silent) start(t *testing.T, more ...string) *probed {
	t.Helper()
	// A port that was free a moment ago: the process tells nobody which it took.
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &probed{admin: l.Addr().String(), ended: make(chan struct{})}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	w.process = startWorker(t, append(append(s.settings[:len(s.settings):len(s.settings)], more...), "admin.address="+w.admin))
	go func() { defer close(w.ended); w.err = w.Wait() }()
	t.Cleanup(func() { _ = w.Process.Kill(); <-w.ended })
	return w
}

// probe asks the admin port; 0 if it does not answer.
func (w *probed) probe(t *testing.T, path string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// awaitProbe waits until a probe answers with a status, and returns what it
// says. The worker must not end before.
func (w *probed) awaitProbe(t *testing.T, path string, status int) (text string) {
	t.Helper()
	waitUntil(t, fmt.Sprint(path, " is ", status), func() bool {
		var got int
		got, text = w.probe(t, path)
		select {
		case <-w.ended:
			t.Fatalf("the worker ended (%v) before %s was %d", w.err, path, status)
		default:
		}
		return got == status
	})
	return text
}

func TestAWorkerThatFallsSilent(t *testing.T) {
	broker := realservers.RunKafka(t, realservers.KafkaOptions{})
	for name, test := range map[string]func(*testing.T, string){
		"with a stuck model leaves":              testAStuckModelLeaves,
		"control: without the watchdog it stays": testWithoutTheWatchdogItStays,
		"before a deaf index is not ready":       testADeafIndexShowsOnReadiness,
	} {
		t.Run(name, func(t *testing.T) { test(t, broker.Addr) })
	}
}

// A model that never returns from a text: the watchdog turns /healthz red, the
// worker leaves its group and exits with 1 and a hint, and another goes on at
// once, long before the session times out. Nothing is lost.
func testAStuckModelLeaves(t *testing.T, kafkaAddr string) {
	s := newSilent(t, kafkaAddr)
	t.Setenv(hangAt, stuckWord)
	stuck := s.start(t, "pipeline.stall_timeout=3s")
	if text := stuck.awaitProbe(t, "/healthz", http.StatusServiceUnavailable); !strings.Contains(text, "stalled") {
		t.Errorf("/healthz says %q", text)
	}
	t.Setenv(hangAt, "") // as if it was the fault of that machine
	other := s.start(t)
	<-stuck.ended
	left := time.Now()
	var exit *exec.ExitError
	if !errors.As(stuck.err, &exit) || exit.ExitCode() != exitFailed {
		t.Fatalf("the stuck worker ended with %v", stuck.err)
	}
	for _, hint := range []string{"stalled", "the embed stage", "pipeline.stall_timeout"} {
		if !strings.Contains(stuck.log.String(), hint) {
			t.Errorf("its last words do not say %q", hint)
		}
	}
	waitUntil(t, "the other has committed everything", func() bool { return s.admin.lag(t) == 0 })
	took := time.Since(left)
	t.Logf("the other was level %s after the stuck one had left", took.Round(time.Millisecond))
	if took > sessionTimeout/2 {
		t.Errorf("it took %s: the group waited for the session of the one that left", took)
	}
	s.stop(t, other)
}

// stop ends the last worker and compares.
func (s *silent) stop(t *testing.T, w *probed) {
	t.Helper()
	if err := w.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if <-w.ended; w.err != nil {
		t.Errorf("the worker that was asked to stop: %v", w.err)
	}
	s.history.compare(t, watchIndex(t, s.cfg))
}

// The control: with a watchdog that sleeps, the same worker keeps its
// partitions, looks alive, and nothing moves for as long as one cares to look.
func testWithoutTheWatchdogItStays(t *testing.T, kafkaAddr string) {
	s := newSilent(t, kafkaAddr)
	t.Setenv(hangAt, stuckWord)
	w := s.start(t, "pipeline.stall_timeout=1h")
	w.awaitProbe(t, "/healthz", http.StatusOK)
	lag, since := int64(-1), time.Now()
	waitUntil(t, "nothing was committed for three times the other test's stall_timeout", func() bool {
		if now := s.admin.lag(t); now != lag {
			lag, since = now, time.Now()
		}
		return lag >= 0 && time.Since(since) > 9*time.Second
	})
	if lag == 0 {
		t.Error("all was committed: the worker was not stuck at all")
	}
	if status, text := w.probe(t, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz is %d: %s", status, text)
	}
}

// An index that answers no write is no stall: each attempt ends with
// qdrant.request_timeout and is repeated. Restarting would not help, so that
// /healthz stays green; /readyz tells. When the index answers, the worker goes
// on.
func testADeafIndexShowsOnReadiness(t *testing.T, kafkaAddr string) {
	s := newSilent(t, kafkaAddr)
	const stall = 2 * time.Second
	s.deaf.Store(true)
	w := s.start(t, fmt.Sprint("pipeline.stall_timeout=", stall))
	waitUntil(t, "a write is not answered", func() bool { return s.attempts.Load() > 0 })
	begin := time.Now()
	w.awaitProbe(t, "/readyz", http.StatusServiceUnavailable)
	waitUntil(t, "many attempts have failed", func() bool { return s.attempts.Load() > 8 })
	if took := time.Since(begin); took < 2*stall {
		t.Fatalf("that took %s: too short to prove that the watchdog heeds attempts", took)
	}
	text := w.awaitProbe(t, "/readyz", http.StatusServiceUnavailable)
	if !strings.Contains(text, "the index has not answered since") {
		t.Errorf("/readyz says %q", text)
	}
	if status, text := w.probe(t, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz is %d: %s", status, text)
	}
	s.deaf.Store(false)
	w.awaitProbe(t, "/readyz", http.StatusOK)
	waitUntil(t, "everything is committed", func() bool { return s.admin.lag(t) == 0 })
	s.stop(t, w)
}
