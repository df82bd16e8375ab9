package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"chunktide/chunk"
	"chunktide/embedder"
)

// The test binary is the command as well: tests that need a worker as a
// process of its own start themselves with asCommand set. The other variables
// name a word; the worker's encoder does what they say at a text that has it.
// The last names a file, to which each text is added that is encoded.
const (
	asCommand = "CHUNKTIDE_TEST_AS_COMMAND"
	killAt    = "CHUNKTIDE_TEST_KILL_AT"
	hangAt    = "CHUNKTIDE_TEST_HANG_AT"
	encodeLog = "CHUNKTIDE_TEST_ENCODE_LOG"
)

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(runProcess(faultyEncoder))
	}
	os.Exit(m.Run())
}

// faultyEncoder puts the faults that the environment asks for around e.
func faultyEncoder(e embedder.Encoder) embedder.Encoder {
	if word := os.Getenv(killAt); word != "" {
		// As a fault in a native library does: nothing can be deferred.
		e = tripwire{e, word, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }}
	}
	if word := os.Getenv(hangAt); word != "" {
		e = tripwire{e, word, func() { select {} }}
	}
	if path := os.Getenv(encodeLog); path != "" {
		e = logged{e, path}
	}
	return e
}

// logged adds the texts to a file, a line each, before they are encoded.
type logged struct {
	embedder.Encoder
	path string
}

func (l logged) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	file, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.WriteString(strings.Join(texts, "\n") + "\n"); err != nil {
		return nil, err
	}
	return l.Encoder.Encode(ctx, texts)
}

// tripwire does something before a text with a word in it is encoded.
type tripwire struct {
	embedder.Encoder
	word string
	do   func()
}

func (w tripwire) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	for _, text := range texts {
		if strings.Contains(text, w.word) {
			w.do()
		}
	}
	return w.Encoder.Encode(ctx, texts)
}

// command runs the command line inside the test.
func command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &app{io: stdio{strings.NewReader(stdin), &out, &errs}})
	return code, out.String(), errs.String()
}

func TestTextbookDemoPrintsTheTextbooksLines(t *testing.T) {
	const want = `model version pinned to index : demo-bow-v1
chunks ingested               : 480
unique chunks                 : 8
embed calls (no cache)        : 480
embed calls (with cache)      : 8
cache hit rate                : 98.3%
model calls saved by cache    : 472 (98.3%)
model-call reduction          : 60.0x fewer calls
sample record id / version    : 473980868949 / demo-bow-v1
id 6234797bfd3b written 120 times, all identical vector: True
`
	code, out, errs := command(t, "", "demo", "--textbook")
	if code != exitDone || out != want {
		t.Errorf("exit %d\n%s\nwant\n%s\nstderr: %s", code, out, want, errs)
	}
}

// The main job, with the real model, small.
func TestDemoEndsLevel(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the model; runs without -short")
	}
	code, out, errs := command(t, "", "demo", "--chunks", "60", "-o", "json")
	if code != exitDone {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var fields map[string]float64
	if err := json.Unmarshal([]byte(out), &fields); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for name, want := range map[string]float64{
		"chunks": 60, "replay_model_calls": 0, "lost": 0, "stale": 0, "doubled": 0,
		"live_chunks": 60 - demoChanges, "points": 60 - demoChanges,
	} {
		if got, ok := fields[name]; !ok || got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"unique", "model_calls", "tokens_per_second", "freshness_p50_seconds", "freshness_p99_seconds"} {
		if fields[name] <= 0 {
			t.Errorf("%s = %v, want a measurement", name, fields[name])
		}
	}
}

func TestUsageErrorsExitWithTwo(t *testing.T) {
	for _, args := range [][]string{
		{}, {"nonsense"}, {"run", "extra"}, {"search"}, {"demo", "--chunks", "3"}, {"version", "-o", "xml"},
		{"run", "--set", "nonsense"}, {"run", "--set", "kafka.grup=x"}, {"search", "--limit", "0", "x"}, {"demo", "--no-such-flag"},
	} {
		code, out, errs := command(t, "", args...)
		if code != exitUsage || errs == "" {
			t.Errorf("%q: exit %d, stdout %q, stderr %q; want %d and a message", args, code, out, errs, exitUsage)
		}
	}
}

func TestEverySettingsProblemIsReportedAtOnce(t *testing.T) {
	_, _, errs := command(t, "", "run", "--set", "pipeline.drain_timeout=0s", "--set", "log.format=xml", "--set", "kafka.batch.linger=-1s")
	for _, key := range []string{"kafka.topics", "kafka.group", "pipeline.drain_timeout", "log.format", "kafka.batch.linger"} {
		if !strings.Contains(errs, key) {
			t.Errorf("%s is not named in:\n%s", key, errs)
		}
	}
}

func TestEncodeAnswersLineByLine(t *testing.T) {
	code, out, errs := command(t, "plain words\n{\"text\":\"plain words\"}\n", "encode", "--set", "embedder.encoder=bow")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != exitDone || len(lines) != 2 || lines[0] != lines[1] || !strings.HasPrefix(lines[0], `{"vector":[`) {
		t.Errorf("exit %d, %q, stderr %s", code, out, errs)
	}
	code, out, errs = command(t, "one\n{broken\n", "encode", "--set", "embedder.encoder=bow")
	if code != exitFailed || !strings.Contains(errs, "line 2") {
		t.Errorf("exit %d, stdout %q, stderr %q; want it to name line 2", code, out, errs)
	}
}
