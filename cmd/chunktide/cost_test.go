package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"chunktide/admin"
	"chunktide/cmd/worker"
	"chunktide/configs"
)

func TestCostPrintsTheTextbooksFigures(t *testing.T) {
	args := []string{"cost", "--chunks", "2e8", "--tokens", "220", "--rebuilds", "6", "--hit-rate", "0.15"}
	want := map[string]float64{"one_time": 880_000, "cumulative": 5_280_000, "one_time_cached": 748_000, "cumulative_cached": 4_488_000}
	for _, price := range [][]string{
		{"--price", "0.02"}, {"--price-per-million-tokens", "20"}, {"--gpu-tokens-per-second", "1e4", "--gpu-price-per-hour", "720"},
		{"--set", "backfill.price_per_million_tokens=7", "--price", "0.02"},
	} {
		code, out, errs := command(t, "", slices.Concat(args, price)...)
		if code != exitDone {
			t.Fatalf("%v: exit %d: %s", price, code, errs)
		}
		for _, figure := range []string{"880,000.00", "5,280,000.00", "748,000.00", "4,488,000.00"} {
			if !strings.Contains(out, figure) {
				t.Errorf("%v: %s does not stand in\n%s", price, figure, out)
			}
		}
		_, out, _ = command(t, "", slices.Concat(args, price, []string{"-o", "json"})...)
		got := map[string]any{}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%v: %s is %v, want %v", price, key, got[key], value)
			}
		}
	}
	code, out, errs := command(t, "", slices.Concat(args, []string{"--price", "0.02", "--training-cost", "2e6"})...)
	if code != exitDone || !strings.Contains(out, "3 rebuilds") || !strings.Contains(out, "89,126,560 chunks") || !strings.Contains(out, "2,488,000.00") {
		t.Errorf("break-even: exit %d\n%s%s", code, out, errs)
	}
	code, out, errs = command(t, "", "cost", "--chunks", "5", "--tokens", "5", "--price", "1", "--hit-rate", "1", "--training-cost", "1")
	if code != exitDone || !strings.Contains(out, "never pays") {
		t.Errorf("a rebuild that costs nothing: exit %d\n%s%s", code, out, errs)
	}
}

func TestCostUsage(t *testing.T) {
	corpus := []string{"cost", "--chunks", "10", "--tokens", "10"}
	for name, args := range map[string][]string{
		"--price":                 corpus,
		"one price":               append(corpus, "--price", "1", "--price-per-million-tokens", "1"),
		"go together":             append(corpus, "--gpu-price-per-hour", "1"),
		"above 0":                 append(corpus, "--gpu-tokens-per-second", "0", "--gpu-price-per-hour", "1"),
		"chunks: missing":         {"cost", "--price", "1"},
		"whole number":            {"cost", "--price", "1", "--chunks", "0.5", "--tokens", "1"},
		"15 % is 0.15":            append(corpus, "--price", "1", "--hit-rate", "15"),
		"no decimal number":       append(corpus, "--price", "cheap"),
		"accepts no|unknown comm": {"cost", "swep"},
		"--hit-rates":             {"cost", "sweep", "--hit-rates", "1"},
		"1 chunk":                 {"cost", "sweep", "--chunks", "0"},
		"--interval":              {"cost", "observe", "--interval", "-1s"},
		"--url":                   {"cost", "observe", "--set", "admin.address="},
	} {
		code, _, errs := command(t, "", args...)
		if code != exitUsage || !slices.ContainsFunc(strings.Split(name, "|"), func(s string) bool { return strings.Contains(errs, s) }) {
			t.Errorf("%v: exit %d, %q, want it to say %s", args, code, errs, name)
		}
	}
}

// sweepRows runs a sweep on the embedded servers.
func sweepRows(t *testing.T, args ...string) (code int, rows []map[string]float64, errs string) {
	t.Helper()
	code, out, errs := command(t, "", append([]string{"cost", "sweep", "--words", "12", "-o", "json"}, args...)...)
	var result struct {
		Rows []map[string]float64 `json:"rows"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("exit %d: %v in %q; %s", code, err, out, errs)
	}
	return code, result.Rows, errs
}

// More texts than a batch has, so that duplicates meet in batches, between
// batches in flight, and in the cache.
func TestSweepCallsTheModelOnceForEachText(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "sweep.svg")
	code, rows, errs := sweepRows(t, "--chunks", "1000", "--hit-rates", "0,0.15,0.9", "--svg", svg)
	if code != exitDone {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for i, want := range []map[string]float64{
		// A text has twelve tokens, at 0.02 for a thousand.
		{"hit_rate": 0, "chunks": 1000, "calls": 1000, "predicted": 1000, "saved_dollars": 0},
		{"hit_rate": 0.15, "chunks": 1000, "calls": 850, "predicted": 850, "saved_dollars": 0.036},
		{"hit_rate": 0.9, "chunks": 1000, "calls": 100, "predicted": 100, "saved_dollars": 0.216},
	} {
		for key, value := range want {
			if rows[i][key] != value {
				t.Errorf("row %d: %s is %v, want %v", i, key, rows[i][key], value)
			}
		}
	}
	if picture, err := os.ReadFile(svg); err != nil || !strings.Contains(string(picture), "<svg") {
		t.Errorf("the plot: %v", err)
	}
	code, rows, errs = sweepRows(t, "--chunks", "10", "--hit-rates", "0.5", "--svg", t.TempDir())
	if code != exitFailed || rows[0]["calls"] != 5 || !strings.Contains(errs, "--svg") {
		t.Errorf("a plot that cannot be written: exit %d, %v, %s", code, rows, errs)
	}
	code, out, errs := command(t, "", "cost", "sweep", "--words", "12", "--chunks", "10", "--hit-rates", "0.25")
	if code != exitDone || !strings.Contains(out, "~0.3") || !strings.Contains(out, "whole number of chunks") || !strings.Contains(out, "| (1−h)·C") {
		t.Errorf("as text, rounded: exit %d\n%s%s", code, out, errs)
	}
}

// The control: a cache that forgets everything at once. Duplicates are then
// found only among the texts that are in the pipeline together.
func TestSweepFailsWithACacheThatForgets(t *testing.T) {
	code, rows, errs := sweepRows(t, "--chunks", "1000", "--hit-rates", "0.5", "--redis=false", "--set", "cache.memory_bytes=0")
	if code != exitFailed || rows[0]["calls"] <= rows[0]["predicted"] || rows[0]["predicted"] != 500 || !strings.Contains(errs, "computed again") {
		t.Errorf("exit %d, %v: %s", code, rows, errs)
	}
}

// What observe reads off a real worker is what its stream took.
func TestObserveARealWorker(t *testing.T) {
	settings := append(stack(t), "kafka.stop_at_end=true")
	events := ""
	for i := range 30 { // ten texts of three words, each three times
		events += fmt.Sprintf(`{"op":"upsert","document_id":"d","chunk_id":"%d","text":"passage number %d","version":1}`+"\n", i, i%10)
	}
	if code, _, errs := command(t, events, withSettings(settings, "publish")...); code != exitDone {
		t.Fatalf("publish: %s", errs)
	}
	cfg, err := configs.Load("", settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	reg, logger := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	reg.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	encoder, err := newEncoder(t.Context(), cfg, logger, reg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(t.Context(), cfg, encoder, nil, logger, reg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Line.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	address, err := admin.Serve(t.Context(), admin.Config{Address: "127.0.0.1:0", Token: "sesame"}, admin.Options{Metrics: reg, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	at := "admin.address=" + address.String()
	if code, _, errs := command(t, "", "cost", "observe", "--interval", "0", "--set", at); code != exitFailed || !strings.Contains(errs, "admin.token") {
		t.Errorf("without the token: exit %d, %s", code, errs)
	}
	code, out, errs := command(t, "", "cost", "observe", "--interval", "0", "--set", at, "--set", "admin.token=sesame",
		"--set", "backfill.price_per_million_tokens=1e6", "-o", "json")
	var got struct {
		Workers        int      `json:"workers"`
		Model_versions []string `json:"model_versions"`
		Since_start    struct {
			Calls, Calls_saved, Tokens_encoded, Tokens_saved, Spent, Saved float64
		} `json:"since_start"`
		Interval any `json:"interval"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitDone {
		t.Fatalf("exit %d, %v in %s; %s", code, err, out, errs)
	}
	s := got.Since_start
	if got.Workers != 1 || !slices.Equal(got.Model_versions, []string{"demo-bow-v1"}) || got.Interval != nil ||
		s.Calls != 10 || s.Calls_saved != 20 || s.Tokens_encoded != 30 || s.Tokens_saved != 60 || s.Spent != 30 || s.Saved != 60 {
		t.Errorf("observed %+v", got)
	}
}

func TestObserveOverAnInterval(t *testing.T) {
	// Each reading finds a thousand tokens more.
	fake := func(start float64) string {
		var readings atomic.Int64
		reg := prometheus.NewRegistry()
		for name, step := range map[string]float64{
			"chunktide_model_calls_total": 10, "chunktide_model_calls_saved_total": 5,
			"chunktide_tokens_encoded_total": 1000, "chunktide_tokens_saved_total": 500,
		} {
			reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: "x"}, func() float64 {
				return start + step*float64(readings.Load())
			}))
		}
		handler := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			readings.Add(1)
			handler.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	code, out, errs := command(t, "", "cost", "observe", "--interval", "1ms", "--url", fake(0), "--url", fake(1e6), "--price", "1", "-o", "json")
	var got map[string]map[string]any
	flat := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(out), &flat); err != nil || code != exitDone {
		t.Fatalf("exit %d, %v in %s; %s", code, err, out, errs)
	}
	maps.DeleteFunc(flat, func(key string, _ json.RawMessage) bool { return key != "interval" && key != "since_start" })
	text, _ := json.Marshal(flat)
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	now, since := got["interval"], got["since_start"]
	if now["tokens_encoded"] != 2000. || now["tokens_saved"] != 1000. || now["calls"] != 20. || now["spent"] != 2. || now["saved"] != 1. || now["per_day"] == nil {
		t.Errorf("between: %v", now)
	}
	if since["tokens_encoded"] != 1_004_000. || since["spent"] != 1004. || since["per_day"] != nil {
		t.Errorf("since the start: %v", since)
	}
	code, out, errs = command(t, "", "cost", "observe", "--interval", "1ms", "--url", fake(0))
	if code != exitDone || !strings.Contains(out, "now") || strings.Contains(out, "money") {
		t.Errorf("as text, without a price: exit %d\n%s%s", code, out, errs)
	}
	code, out, errs = command(t, "", "cost", "observe", "--interval", "1ms", "--url", fake(0), "--price", "1")
	if code != exitDone || !strings.Contains(out, "money") || !strings.Contains(out, "2.00") {
		t.Errorf("as text, with one: exit %d\n%s%s", code, out, errs)
	}
	if code, _, errs = command(t, "", "cost", "observe", "--url", fake(0)+"/", "--url", "http://127.0.0.1:1/metrics", "--interval", "0"); code != exitFailed || !strings.Contains(errs, "127.0.0.1:1") {
		t.Errorf("one that is away: exit %d, %s", code, errs)
	}
}
