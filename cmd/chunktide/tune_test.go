package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chunktide/configs"
	"chunktide/embedder/tune"
)

func TestTuneWritesWhatItChose(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chunktide.yaml")
	const before = "# mine\nkafka:\n  # topics\n  topics: [t]\n\nembedder: {encoder: bow} # no model\n"
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	svg := filepath.Join(t.TempDir(), "tune.svg")
	args := []string{"tune", "--config", file, "--repeats", "1", "--batches", "1,4,16", "--lengths", "8,32", "--batch-tokens", "256,1024", "--svg", svg}
	code, out, errs := command(t, "", args...)
	if code != exitDone || errs != "" {
		t.Fatalf("exit %d, %s", code, errs)
	}
	for _, want := range []string{"demo-bow-v1", "ceiling 1/c", "texts of 8 tokens", "all, by tokens", "kafka.batch.tokens", "<- chosen", "| knee"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if picture, err := os.ReadFile(svg); err != nil || !strings.HasPrefix(string(picture), "<svg") {
		t.Errorf("no picture: %v", err)
	}
	if data, _ := os.ReadFile(file); string(data) != before {
		t.Error("the settings were changed though nobody asked for it")
	}

	code, out, errs = command(t, "", append(args, "-o", "json", "--write", file)...)
	var report tune.Report
	if err := json.Unmarshal([]byte(out), &report); code != exitDone || err != nil || len(report.Points) != 6 || report.Choice.BatchTokens == 0 {
		t.Fatalf("exit %d, %v, %s\n%s", code, err, errs, out)
	}
	cfg, err := configs.Load(file, nil, nil)
	if err != nil || cfg.Kafka.Batch.Tokens != report.Choice.BatchTokens || cfg.Kafka.Batch.Events != report.Choice.BatchEvents || cfg.Embedder.Encoder != "bow" {
		t.Errorf("%v: %+v, want %+v", err, cfg.Kafka.Batch, report.Choice)
	}
	if data, _ := os.ReadFile(file); !strings.Contains(string(data), "  # topics\n  topics: [t]\n\nembedder: {encoder: bow} # no model\n") {
		t.Errorf("the rest of the file changed:\n%s", data)
	}
}

func TestTuneTriesTheModelsSettings(t *testing.T) {
	if testing.Short() {
		t.Skip("needs what `make setup` fetches")
	}
	code, out, errs := command(t, "", "tune", "--set", "embedder.model_dir=../../embedder/testdata/tiny", "--repeats", "1", "--batches", "1,8",
		"--lengths", "16,1000", "--threads", "1,2", "--run-tokens", "8,64,256", "--batch-tokens", "256,1024", "-o", "json")
	var r tune.Report
	if err := json.Unmarshal([]byte(out), &r); code != exitDone || err != nil {
		t.Fatalf("exit %d, %v, %s", code, err, errs)
	}
	// The model reads 64 tokens: neither texts of 1000 nor runs of 8 are tried.
	if len(r.Threads) != 2 || len(r.RunTokens) != 2 || r.RunTokens[0].Value != 64 || len(r.Lengths) != 1 || r.Lengths[0].Tokens > 16 || r.Lengths[0].Tokens < 14 {
		t.Errorf("%+v", r)
	}
	// How a call's time divides into call and tokens is a measurement, and on a busy machine all may be the call's: there is a time.
	if r.Choice.Threads == 0 || r.Choice.RunTokens < 64 || r.Tokens.At(1) <= 0 {
		t.Errorf("%+v", r.Choice)
	}
}

func TestTuneSaysWhatItCannot(t *testing.T) {
	bow := []string{"tune", "--set", "embedder.encoder=bow", "--repeats", "1", "--batches", "1", "--lengths", "8", "--batch-tokens", "4096"}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--repeats", "0"}, exitUsage, "--repeats"},
		{[]string{"--latency", "-1s"}, exitUsage, "--latency"},
		{[]string{"--latency", "1ns"}, exitFailed, "latency bound"},
		{[]string{"--write", filepath.Join(t.TempDir(), "no", "such.yaml")}, exitFailed, "--write"},
		{[]string{"--svg", t.TempDir()}, exitFailed, "--svg"},
	} {
		code, _, errs := command(t, "", append(bow, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit %d, %s", c.args, code, errs)
		}
	}
}
