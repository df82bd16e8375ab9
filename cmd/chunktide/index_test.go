package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/devstack"
)

// indexWorld is a corpus of ten chunks on embedded servers, indexed by a worker
// that ends when it has read everything.
type indexWorld struct {
	t        *testing.T
	index    string
	settings []string
	lines    string
}

func newIndexWorld(t *testing.T) *indexWorld {
	t.Helper()
	stack, err := devstack.Start(t.Context(), devstack.Options{Topics: map[string]int32{"docs": 2, "docs.dead-letters": 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	address := stack.QdrantAddr
	if real := os.Getenv("CHUNKTIDE_TEST_QDRANT"); real != "" {
		address = real
	}
	w := &indexWorld{t: t, index: fmt.Sprint("handbook-", time.Now().UnixNano())}
	w.settings = []string{
		"kafka.brokers=" + stack.KafkaBrokers[0], "kafka.topics=docs", "kafka.group=workers", "kafka.stop_at_end=true",
		"qdrant.address=" + address, "qdrant.index=" + w.index, "embedder.encoder=bow", "admin.address=",
	}
	cfg, err := configs.Load("", w.settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	dropIndexAfter(t, cfg.Qdrant)
	for i := range 10 {
		w.lines += fmt.Sprintf(`{"op":"upsert","source":"s","document_id":"d","chunk_id":"c%d","text":"text number %d","version":1}`+"\n", i, i)
	}
	w.must(w.lines, "publish")
	w.must("", "run")
	return w
}

// run is a command with the world's settings, and more of them behind --set.
func (w *indexWorld) run(stdin string, args ...string) (int, string, string) {
	w.t.Helper()
	for _, s := range w.settings {
		args = append(args[:len(args):len(args)], "--set", s)
	}
	return command(w.t, stdin, args...)
}

func (w *indexWorld) must(stdin string, args ...string) string {
	w.t.Helper()
	code, out, errs := w.run(stdin, args...)
	if code != exitDone {
		w.t.Fatalf("%q: exit %d: %s%s", args, code, out, errs)
	}
	return out
}

func decodeJSON[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// damage changes a point behind everyone's back.
func (w *indexWorld) damage(collection string, do func(c *qdrant.Client, collection string) error) {
	w.t.Helper()
	cfg, err := configs.Load("", w.settings, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	host, number, err := net.SplitHostPort(cfg.Qdrant.Address)
	if err != nil {
		w.t.Fatal(err)
	}
	port, err := strconv.Atoi(number)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: port, SkipCompatibilityCheck: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if err := do(c, collection); err != nil {
		w.t.Fatal(err)
	}
}

func removePoint(name string) func(*qdrant.Client, string) error {
	return func(c *qdrant.Client, collection string) error {
		_, err := c.Delete(context.Background(), &qdrant.DeletePoints{
			CollectionName: collection, Wait: qdrant.PtrOf(true),
			Points: qdrant.NewPointsSelector(qdrant.NewIDUUID(chunk.NewID("s", "d", name).String())),
		})
		return err
	}
}

// The life of an index by its commands: look, verify, a second collection,
// promote, roll back, drop.
func TestIndexCommands(t *testing.T) {
	w := newIndexWorld(t)
	status := decodeJSON[indexStatus](t, w.must("", "index", "status", "-o", "json"))
	first := status.Name
	if status.Points != 10 || !status.Serving || status.Lag["workers"] != 0 || len(status.Lag) != 1 || status.Verified != nil {
		t.Errorf("%+v", status)
	}
	if out := w.must("", "index", "verify"); !strings.Contains(out, "10 points, 10 of them alive, against 10 events") {
		t.Error(out)
	}
	if out := w.must("", "index", "status"); !strings.Contains(out, "0 differences in 10 points") || !strings.Contains(out, "lag of workers") {
		t.Error(out)
	}

	second := decodeJSON[switched](t, w.must("", "index", "create", "-o", "json", "--set", "embedder.model_name=another")).Collection
	if list := w.must("", "index", "list"); !regexp.MustCompile(`(?m)^\* +`+first).MatchString(list) || !strings.Contains(list, second) {
		t.Error(list)
	}
	refused := func(want string, code int, args ...string) {
		t.Helper()
		got, out, errs := w.run("n\n", args...)
		if got != code || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d, %s%s; want %d and %q", args, got, out, errs, code, want)
		}
	}
	refused("the alias "+w.index+" points to", exitFailed, "index", "drop", first, "--yes")
	refused("has no collection nonsense", exitFailed, "index", "promote", "nonsense")
	refused("nothing to go back to", exitFailed, "index", "rollback")
	refused("nothing was changed", exitFailed, "index", "drop", second)
	refused("name a command", exitUsage, "index")
	refused("unknown command", exitUsage, "index", "frobnicate")
	refused("accepts 1 arg", exitUsage, "index", "promote")

	w.must("", "index", "promote", second)
	if s := decodeJSON[indexStatus](t, w.must("", "index", "status", "-o", "json")); s.Name != second || s.Previous != first {
		t.Errorf("%+v", s)
	}
	// The worker of the old model goes on with its own collection.
	w.must(strings.ReplaceAll(w.lines, `"version":1`, `"version":2`), "publish")
	w.must("", "run")
	if s := decodeJSON[indexStatus](t, w.must("", "index", "status", first, "-o", "json")); s.Lag["workers"] != 0 || s.Serving {
		t.Errorf("%+v", s)
	}
	w.must("", "index", "verify", "--collection", first)
	// One of another model must not share its group.
	refused("kafka.group", exitFailed, "run", "--set", "embedder.model_name=another")
	if out := w.must("", "index", "rollback"); !strings.Contains(out, first) {
		t.Error(out)
	}
	w.must("", "index", "drop", second, "--yes")
	if list := w.must("", "index", "list"); strings.Contains(list, second) || !strings.Contains(list, first) {
		t.Error(list)
	}
}

func TestIndexVerifyRepairs(t *testing.T) {
	w := newIndexWorld(t)
	collection := decodeJSON[indexStatus](t, w.must("", "index", "status", "-o", "json")).Name
	file := filepath.Join(t.TempDir(), "corpus.jsonl")
	rows := strings.Replace(w.lines, `"chunk_id":"c9"`, `"chunk_id":"c8"`, 1) // the file does not have c9
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	w.damage(collection, removePoint("c3"))
	code, out, errs := w.run("", "index", "verify", "-o", "json")
	found := decodeJSON[verifyResult](t, out)
	if code != exitFailed || found.Total() != 1 || found.Differences["missing"] != 1 || found.Named[0].ChunkID != "c3" || found.Named[0].Want != 1 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if s := decodeJSON[indexStatus](t, w.must("", "index", "status", "-o", "json")); s.Verified == nil || s.Verified.Total != 1 || s.Verified.Differences["missing"] != 1 {
		t.Errorf("%+v", s.Verified)
	}
	// What deletes asks first.
	code, out, errs = w.run("no\n", "index", "verify", "--files", file, "--repair")
	if code != exitFailed || !strings.Contains(errs, "nothing was changed") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	mended := decodeJSON[verifyResult](t, w.must("", "index", "verify", "--repair", "-o", "json"))
	if mended.Total() != 0 || mended.Before["missing"] != 1 || mended.Points != 10 {
		t.Errorf("%+v", mended)
	}
	if out := w.must("", "index", "verify", "--files", file, "--repair", "--yes"); !strings.Contains(out, "(1 before the repair)") {
		t.Error(out)
	}
	for args, want := range map[string]string{
		"--as-of=3": "are for --files", "--files=-": "read more than once", "--sample=-1": "--sample",
		"--watch=1h --repair": "give --yes", "--min-cosine=2": "--min-cosine",
	} {
		code, _, errs := w.run("", append([]string{"index", "verify"}, strings.Fields(args)...)...)
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %s", args, code, errs)
		}
	}
}

// synced lets a command log while the test reads.
type synced struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A watch goes on, and its gauges tell what it finds.
func TestIndexVerifyWatches(t *testing.T) {
	w := newIndexWorld(t)
	collection := decodeJSON[indexStatus](t, w.must("", "index", "status", "-o", "json")).Name
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, errs synced
	args := []string{"index", "verify", "--watch", "50ms"}
	for _, s := range append(w.settings, "admin.address=127.0.0.1:0", "log.level=info") {
		args = append(args, "--set", s)
	}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, &app{io: stdio{strings.NewReader(""), &out, &errs}}) }()
	address := regexp.MustCompile(`serving metrics and health" address=(\S+)`)
	scrape := func() string {
		m := address.FindStringSubmatch(errs.String())
		if m == nil {
			return ""
		}
		answer, err := http.Get("http://" + m[1] + "/metrics")
		if err != nil {
			return ""
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return ""
		}
		return string(body)
	}
	divergence := func(kind string, n int) string {
		return fmt.Sprintf("chunktide_index_divergence{kind=%q} %d\n", kind, n)
	}
	waitUntil(t, "a look has ended", func() bool { return strings.Contains(out.String(), "10 of them alive") })
	body := scrape()
	for _, kind := range []string{"missing", "stale", "orphan", "wrong_model", "deleted", "misassigned"} {
		if !strings.Contains(body, divergence(kind, 0)) {
			t.Errorf("%s is not there at zero:\n%s", kind, body)
		}
	}
	w.damage(collection, removePoint("c3"))
	waitUntil(t, "the missing chunk shows", func() bool { return strings.Contains(scrape(), divergence("missing", 1)) })
	stop()
	if code := <-ended; code != exitDone {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}
