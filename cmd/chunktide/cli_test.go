package main

import (
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/devstack"
)

// stack is the embedded servers with settings that point to them.
func stack(t *testing.T) (settings []string) {
	t.Helper()
	s, err := devstack.Start(t.Context(), devstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return []string{
		"kafka.brokers=" + strings.Join(s.KafkaBrokers, ","), "kafka.topics=chunks", "kafka.group=g",
		"kafka.create_topics.enabled=true", "kafka.create_topics.replication=1", "kafka.create_topics.partitions=2",
		"embedder.encoder=bow", "cache.url=" + s.RedisURL, "qdrant.address=" + s.QdrantAddr, "admin.address=127.0.0.1:0",
	}
}

func withSettings(settings []string, args ...string) []string {
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	return args
}

// The life of a chunk by the command line alone: published, worked on, found.
func TestPublishRunSearch(t *testing.T) {
	settings := stack(t)
	events := `{"op":"upsert","source":"docs","document_id":"handbook","chunk_id":"a","text":"apples and pears","version":1}
{"op":"upsert","source":"docs","document_id":"handbook","chunk_id":"b","text":"bolts and nuts","version":1}
{"op":"upsert","source":"docs","document_id":"handbook","chunk_id":"b","text":"nuts without bolts","version":2}
`
	code, out, errs := command(t, events, withSettings(settings, "publish", "-o", "json")...)
	if code != exitDone || !strings.Contains(out, `"events": 3`) {
		t.Fatalf("publish: exit %d, %s %s", code, out, errs)
	}
	// A worker that reads to the end and stops.
	if code, _, errs = command(t, "", withSettings(slices.Concat(settings, []string{"kafka.stop_at_end=true"}), "run")...); code != exitDone {
		t.Fatalf("run: exit %d, %s", code, errs)
	}
	code, out, errs = command(t, "", withSettings(settings, "search", "-o", "json", "-n", "1", "nuts without bolts")...)
	var hits []struct {
		Score                 float64
		Document_id, Chunk_id string
		Text                  string
		Version               int
		Model_version         string
	}
	if err := json.Unmarshal([]byte(out), &hits); err != nil || code != exitDone {
		t.Fatalf("search: exit %d, %v in %s; %s", code, err, out, errs)
	}
	if len(hits) != 1 || hits[0].Chunk_id != "b" || hits[0].Version != 2 || hits[0].Model_version != "demo-bow-v1" || hits[0].Score < 0.99 {
		t.Errorf("found %+v", hits)
	}
	if code, out, errs = command(t, "", withSettings(settings, "search", "apples")...); code != exitDone || !strings.Contains(out, "docs/handbook/a") {
		t.Errorf("search as text: exit %d, %s %s", code, out, errs)
	}
	// Another model is refused, by the searcher and by the worker.
	other := slices.Concat(settings, []string{"embedder.model_name=another"})
	for _, args := range [][]string{{"search", "x"}, {"run"}} {
		if code, _, errs := command(t, "", withSettings(other, args...)...); code != exitFailed || !strings.Contains(errs, "cannot be compared") {
			t.Errorf("%v with another model: exit %d, %s", args, code, errs)
		}
	}
}

func TestPublishStopsAtABadLine(t *testing.T) {
	settings := stack(t)
	events := `{"op":"upsert","document_id":"d","chunk_id":"a","text":"one","version":1}

{"op":"upsert","document_id":"d","chunk_id":"b","text":"secret words","version":0}
`
	code, _, errs := command(t, events, withSettings(settings, "publish")...)
	if code != exitFailed || !strings.Contains(errs, "line 3") || !strings.Contains(errs, "version") || strings.Contains(errs, "secret words") {
		t.Errorf("exit %d, %s", code, errs)
	}
	long := withSettings(append(settings, "events.limits.record_bytes=50"), "publish")
	if code, _, errs := command(t, events, long...); code != exitFailed || !strings.Contains(errs, "line 1") || !strings.Contains(errs, "record_bytes") {
		t.Errorf("a long line: exit %d, %s", code, errs)
	}
	if code, _, errs := command(t, "", withSettings(settings, "publish", filepath.Join(t.TempDir(), "none"))...); code != exitFailed || errs == "" {
		t.Errorf("a missing file: exit %d, %s", code, errs)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	settings := stack(t)
	code, out, errs := command(t, "", withSettings(settings, "doctor")...)
	if code != exitDone || strings.Contains(out, "failed") || strings.Contains(out, "warning") {
		t.Errorf("all is well: exit %d\n%s%s", code, out, errs)
	}
	broken := slices.Concat(settings, []string{"kafka.create_topics.enabled=false", "cache.url=redis://127.0.0.1:1/0"})
	code, out, _ = command(t, "", withSettings(broken, "doctor", "-o", "json")...)
	var findings []finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	status := map[string]string{}
	for _, f := range findings {
		status[f.Check] = f.Status
	}
	if code != exitFailed || status["kafka"] != "failed" || status["cache"] != "warning" || status["qdrant"] != "ok" || status["model"] != "ok" {
		t.Errorf("exit %d, %v", code, status)
	}
	gone := slices.Concat(settings, []string{"qdrant.address=127.0.0.1:1", "embedder.encoder=onnx", "embedder.model_dir=" + t.TempDir()})
	if code, out, _ = command(t, "", withSettings(gone, "doctor")...); code != exitFailed || !strings.Contains(out, "model") {
		t.Errorf("exit %d, %s", code, out)
	}
}

// Every metric of the design is there from the start, under its name.
func TestWorkerExportsItsMetricsAtZero(t *testing.T) {
	settings := stack(t)
	cfg, err := configs.Load("", settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	encoder, err := newEncoder(t.Context(), cfg, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(t.Context(), cfg, encoder, nil, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range families {
		have[f.GetName()] = true
	}
	for _, name := range []string{
		"freshness_seconds", "stage_duration_seconds", "batch_events", "batch_tokens", "padding_ratio", "events_total",
		"cache_lookups_total", "model_calls_saved_total", "tokens_encoded_total", "tokens_saved_total", "dead_letters_total",
		"fenced_writes_total", "build_info",
	} {
		if !have["chunktide_"+name] {
			t.Errorf("chunktide_%s is not exported", name)
		}
	}
}
