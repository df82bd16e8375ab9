package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"

	"chunktide/backfill"
	"chunktide/configs"
	"chunktide/devstack"
	"chunktide/sink"
)

// chunkTally stands before the index and counts how often each chunk is
// written. From so many writes on it keeps the answers back.
type chunkTally struct {
	mu      sync.Mutex
	writes  map[string]int
	total   int
	holdAt  int
	holding chan struct{} // closed when it begins to hold
	release chan struct{}
}

func newChunkTally(holdAt int) *chunkTally {
	return &chunkTally{writes: map[string]int{}, holdAt: holdAt, holding: make(chan struct{}), release: make(chan struct{})}
}

func (y *chunkTally) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	answer, err := handler(ctx, req)
	if update, ok := req.(*qdrant.UpdateBatchPoints); ok && err == nil && y.note(update) {
		<-y.release
	}
	return answer, err
}

// note counts a write; it reports whether its answer is to be kept back.
func (y *chunkTally) note(update *qdrant.UpdateBatchPoints) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	before := y.total
	for _, op := range update.GetOperations() {
		for _, p := range op.GetUpsert().GetPoints() {
			y.writes[p.GetPayload()["chunk_id"].GetStringValue()]++
			y.total++
		}
	}
	if before < y.holdAt && y.total >= y.holdAt {
		close(y.holding)
	}
	select {
	case <-y.release:
		return false
	default:
		return y.total >= y.holdAt
	}
}

// again is how many of the first n chunks were written more than once.
func (y *chunkTally) again(n int) (again int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for i := range n {
		if y.writes[fmt.Sprint("c", i)] > 1 {
			again++
		}
	}
	return again
}

// newWatchedDesk is a desk behind whose index something watches, with a Redis.
func newWatchedDesk(t *testing.T, y *chunkTally, settings ...string) *desk {
	t.Helper()
	stack, err := devstack.Start(t.Context(), devstack.Options{QdrantInterceptor: y.intercept})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	d := &desk{t: t, stack: stack}
	d.settings = append([]string{
		"embedder.encoder=bow", "cache.url=" + stack.RedisURL, "qdrant.address=" + stack.QdrantAddr, "qdrant.index=desk",
	}, settings...)
	if d.cfg, err = configs.Load("", d.settings, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// reached is the one checkpoint in the collection's metadata.
func (d *desk) reached() (r backfill.Reached) {
	d.t.Helper()
	admin, err := sink.OpenAdmin(d.cfg.Qdrant, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	defer admin.Close()
	notes, err := admin.Notes(d.t.Context(), d.collection())
	if err != nil {
		d.t.Fatal(err)
	}
	for key, value := range notes {
		text, ok := value.(string)
		if !strings.HasPrefix(key, "backfill/") || !ok {
			continue
		}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			d.t.Fatal(err)
		}
	}
	return r
}

// A backfill is killed when writes were applied and not yet answered. The next
// one begins behind what was acknowledged, and neither encodes nor writes any
// of that again. The control forgets the checkpoint, and writes it all again.
func TestAKilledBackfillGoesOnWhereItWas(t *testing.T) {
	const (
		rows, batch = 1000, 20
		acked       = 380 // the batches before the one that is held
	)
	for name, restart := range map[string]bool{"checkpoint": false, "control: without it": true} {
		t.Run(name, func(t *testing.T) {
			tally := newChunkTally(acked + batch)
			d := newWatchedDesk(t, tally, fmt.Sprint("backfill.batch.events=", batch))
			dir := t.TempDir()
			log, path := filepath.Join(dir, "encoded"), filepath.Join(dir, "rows.jsonl")
			t.Setenv(encodeLog, log)
			var lines strings.Builder
			for i := range rows {
				fmt.Fprintf(&lines, `{"source":"s","document_id":"d","chunk_id":"c%d","text":"text number %d","version":%d}`+"\n", i, i, i+1)
			}
			if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			args := withSettings(d.settings, "backfill", path, "-o", "json")
			first := startCommand(t, os.Args[0], args...)
			<-tally.holding
			waitUntil(t, "the checkpoint stands behind what was answered", func() bool { return d.reached().Rows == acked })
			if err := first.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = first.Wait() // it was killed
			close(tally.release)

			if restart {
				args = append(args, "--restart")
			}
			second := finishCommand(t, args...)
			var r backfillResult
			if err := json.Unmarshal(second, &r); err != nil {
				t.Fatalf("%v in %q", err, second)
			}
			encodedAgain, encodedTwice := encodedMoreThanOnce(t, log, acked)
			writtenAgain := tally.again(acked)
			t.Logf("second run: %d rows and %d events; of what was acknowledged %d written and %d encoded again; %d texts encoded twice in all",
				r.Rows-r.ResumedAt, r.Events, writtenAgain, encodedAgain, encodedTwice)
			if !r.Finished || r.Rows != rows || len(d.states("desk")) != rows {
				t.Errorf("%+v, %d states", r, len(d.states("desk")))
			}
			if encodedAgain > 0 || encodedTwice > 4*batch {
				t.Error("more was encoded twice than the batches in flight")
			}
			switch {
			case restart && (writtenAgain != acked || r.Events != rows || r.ResumedAt != 0):
				t.Errorf("the control wrote %d chunks again, and went through %d events: this test cannot see it", writtenAgain, r.Events)
			case !restart && (writtenAgain > 0 || r.ResumedAt != acked || r.Events != rows-acked):
				t.Errorf("%d acknowledged chunks were written again, and it began at row %d with %d events", writtenAgain, r.ResumedAt, r.Events)
			}
		})
	}
}

// finishCommand runs a command as a process of its own to its end.
func finishCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	p := newCommand(os.Args[0], args...)
	out, err := p.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, p.log)
	}
	return out
}

// encodedMoreThanOnce counts the texts that stand twice in the log: of the
// first n, and of all.
func encodedMoreThanOnce(t *testing.T, log string, n int) (first, all int) {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, text := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		times[text]++
	}
	for text, k := range times {
		number := 0
		if _, err := fmt.Sscanf(text, "text number %d", &number); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if k > 1 {
			all++
			if number < n {
				first++
			}
		}
	}
	return first, all
}
