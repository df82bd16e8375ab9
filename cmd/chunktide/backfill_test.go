package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"chunktide/chunk"
	"chunktide/consumer"
	"chunktide/sink"
)

// backfill runs the command and reads its result.
func (d *desk) backfill(code int, args ...string) (r backfillResult, errs string) {
	d.t.Helper()
	d.encoded.Store(0)
	got, out, errs := d.do("", append([]string{"backfill", "-o", "json"}, args...)...)
	if got != code {
		d.t.Fatalf("backfill %q: exit %d, want %d: %s", args, got, code, errs)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil && code == exitDone {
		d.t.Fatalf("%v in %q", err, out)
	}
	return r, errs
}

// survey is a dry run.
func (d *desk) survey(args ...string) (s survey) {
	d.t.Helper()
	out := d.must("", append([]string{"backfill", "--dry-run", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		d.t.Fatalf("%v in %q", err, out)
	}
	return s
}

// states are what a collection, or an index, holds: version and text, or † for
// a tombstone, by source/document/chunk.
func (d *desk) states(collection string) map[string]string {
	d.t.Helper()
	stored, err := sink.OpenStored(d.t.Context(), d.cfg.Qdrant, collection, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	defer stored.Close()
	out := map[string]string{}
	err = stored.Events(d.t.Context(), chunk.ID{}, func(_ chunk.ID, e chunk.Event, err error) error {
		name := fmt.Sprint(e.Source, "/", e.DocumentID, "/", e.ChunkID)
		if _, twice := out[name]; twice {
			d.t.Errorf("%s is there twice", name)
		}
		out[name] = fmt.Sprintf("%d %s", e.Version, e.Text)
		if e.Op != chunk.Upsert {
			out[name] = fmt.Sprintf("%d †", e.Version)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// rowsFile is a file of n rows of two texts each three times, and a broken line
// after the fifth.
func rowsFile(t *testing.T, n int) string {
	t.Helper()
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"document_id":"d%d","chunk_id":"c%d","text":"words number %d of many"}`+"\n", i/10, i, i/3)
		if i == 4 {
			lines.WriteString("{broken\n")
		}
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBackfillOfAFile(t *testing.T) {
	d := newDesk(t, "backfill.batch.events=16", "backfill.price_per_million_tokens=1000000")
	path := rowsFile(t, 60)
	const at = "--as-of=2026-01-02T03:04:05Z"

	// Before: what it would do, and nothing is done.
	dry := d.survey(path, at)
	if dry.Records != 61 || dry.Malformed != 1 || dry.Adds != 60 || dry.ModelCalls != 20 || dry.Tokens != 100 || dry.Texts != 60 || dry.TextTokens != 300 ||
		dry.CacheHits != 0 || dry.Cost != 100 || dry.SampleTexts != 20 || *dry.TokensPerSecond <= 0 || *dry.Seconds <= 0 || !strings.Contains(dry.Examples[0], "rows.jsonl:6: ") {
		t.Errorf("the dry run says %+v", dry)
	}
	if _, err := sink.OpenStored(t.Context(), d.cfg.Qdrant, "desk", slog.New(slog.DiscardHandler), nil); err == nil {
		t.Error("the dry run has made the index")
	}
	if bounded := d.survey(path, at, "--max-tokens-per-second=10"); *bounded.Seconds != 10 {
		t.Errorf("100 tokens at 10/s take %f seconds", *bounded.Seconds)
	}

	// The run: everything but the broken line, which is told of by the rejects
	// and the exit status.
	code, out, errs := d.do("", "backfill", path, at, "-o", "json")
	var r backfillResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitFailed || !strings.Contains(errs, path+".rejects") {
		t.Fatalf("exit %d, %v in %q, %s", code, err, out, errs)
	}
	if r.Rows != 61 || r.RejectedRows != 1 || r.Events != 60 || r.Stored != 60 || r.Encoded != 20 || r.Tokens != 100 || r.Cost != 100 || !r.Finished {
		t.Errorf("%+v", r)
	}
	rejects, err := os.ReadFile(r.RejectsFile)
	if err != nil || strings.Count(string(rejects), "\n") != 1 || !strings.Contains(string(rejects), `"place":"`+path+`:6"`) {
		t.Errorf("%s, %v", rejects, err)
	}
	states := d.states("desk")
	if len(states) != 60 || !strings.HasSuffix(states["docs/d1/c12"], " words number 4 of many") {
		t.Errorf("%d states, one of them %q", len(states), states["docs/d1/c12"])
	}

	// After: the same again finds it done; a restart finds everything there.
	if dry := d.survey(path, at); dry.Unchanged != 60 || dry.ModelCalls != 0 || dry.Seconds != nil {
		t.Errorf("the dry run says %+v", dry)
	}
	if r, errs := d.backfill(exitFailed, path, at); d.encoded.Load() != 0 || !strings.Contains(errs, "--restart") {
		t.Errorf("%+v, %s", r, errs)
	}
	d.backfill(exitFailed, path, at, "--restart")
	if n := d.encoded.Load(); n != 0 {
		t.Errorf("a restart has encoded %d texts", n)
	}
}

func TestBackfillOfStandardInput(t *testing.T) {
	d := newDesk(t)
	out := d.must(`{"document_id":"d","chunk_id":"c","text":"some words","version":3}`, "backfill", "-", "-o", "json")
	if !strings.Contains(out, `"finished": true`) {
		t.Error(out)
	}
	if got := d.states("desk")["docs/d/c"]; got != "3 some words" {
		t.Errorf("%q", got)
	}
}

func TestBackfillSaysWhatIsWrong(t *testing.T) {
	d := newDesk(t)
	path := rowsFile(t, 60)
	d.must(`{"document_id":"d","chunk_id":"c","text":"some words","version":3}`, "backfill", "-")
	for says, args := range map[string][]string{
		"name one source":         {},
		"one source: files":       {path, "--topic"},
		"no such file":            {"no-such-file.jsonl"},
		"neither a version":       {path, "--as-of=yesterday"},
		"future":                  {path, "--as-of=2038-01-01T00:00:00Z"},
		"its versions are no":     {path, "--as-of=2026-01-02T03:04:05Z"}, // the index counts to 3
		"want jsonl or parquet":   {path, "--format=csv"},
		"is for files":            {"--topic", "--as-of=3"},
		"go to the dead letters":  {"--topic", "--rejects=x"},
		"is for --topic":          {path, "--group=x"},
		"it is that of the":       {"--topic", "--group=desk"},
		"it is the one to be":     {"--collection=" + d.collection()},
		"max_tokens_per_second: ": {path, "--max-tokens-per-second=-1"},
	} {
		if code, out, errs := d.do("", append([]string{"backfill"}, args...)...); code != exitUsage || !strings.Contains(errs, says) || out != "" {
			t.Errorf("%q: exit %d, %q, %q; want it to say %q", args, code, out, errs, says)
		}
	}
	// Rows without a version, and none given: not a file of rejects.
	if code, _, errs := d.do("", "backfill", path); code != exitFailed || !strings.Contains(errs, "--as-of") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if code, _, errs := d.do("", "backfill", "--collection=no-such-collection"); code != exitFailed || !strings.Contains(errs, "no-such-collection") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

// collection is what the index points to.
func (d *desk) collection() string {
	d.t.Helper()
	aliases, err := sink.OpenAliases(d.cfg.Qdrant, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	defer aliases.Close()
	name, _, err := aliases.Serving(d.t.Context(), "desk")
	if err != nil {
		d.t.Fatal(err)
	}
	return name
}

// drop removes a collection with its aliases, as somebody does by hand.
func (d *desk) drop(name string) {
	d.t.Helper()
	conn, err := grpc.NewClient(d.stack.QdrantAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := qdrant.NewCollectionsClient(conn).Delete(d.t.Context(), &qdrant.DeleteCollection{CollectionName: name}); err != nil {
		d.t.Fatal(err)
	}
}

// A new model gets its collection from the old one's texts, with every version
// and every delete, and without the topic.
func TestBackfillFromAnotherCollection(t *testing.T) {
	d := newDesk(t)
	h := newHistory(600, 80)
	h.publish(t, d.settings, d.cfg)
	d.must(`{"op":"delete","document_id":"doc1","version":100000}`, "publish")
	d.catchUp()
	old := d.collection()
	const next = "desk--next"
	into := []string{"--set", "embedder.model_name=next", "--set", "qdrant.collection=" + next}
	if dry := d.survey(append(into, "--collection="+old)...); dry.Adds == 0 || dry.Malformed != 0 || dry.ModelCalls == 0 {
		t.Errorf("the dry run says %+v", dry)
	}
	r, _ := d.backfill(exitDone, append(into, "--collection="+old)...)
	if r.Collection != next || r.Rows != int64(len(d.states(old))) || r.Encoded == 0 {
		t.Errorf("%+v", r)
	}
	got, want := d.states(next), d.states(old)
	tombs := 0
	for name, state := range want {
		if got[name] != state {
			t.Errorf("%s is %q, want %q", name, got[name], state)
		}
		if strings.HasSuffix(state, "†") {
			tombs++
		}
	}
	if len(got) != len(want) || tombs < 10 {
		t.Errorf("%d states for %d, %d of them tombstones", len(got), len(want), tombs)
	}
	if d.collection() != old {
		t.Error("the alias has moved")
	}
	// What was deleted stays deleted, though an old state comes late.
	d.must(`{"document_id":"doc1","chunk_id":"10","text":"an old text","version":99999}`, append(into, "backfill", "-")...)
	if got := d.states(next)["docs/doc1/10"]; !strings.HasSuffix(got, "†") {
		t.Errorf("a deleted chunk is back: %q", got)
	}
}

// Processes that read the topic share its partitions, and one that comes later
// finds nothing left.
func TestBackfillFromTheTopicIsShared(t *testing.T) {
	d := newDesk(t, "backfill.batch.events=20", "kafka.heartbeat=100ms")
	h := newHistory(2000, 300)
	h.publish(t, d.settings, d.cfg)
	if dry := d.survey("--topic"); dry.Events != 2000 || dry.Malformed != h.malformed || dry.ModelCalls == 0 {
		t.Errorf("the dry run says %+v", dry)
	}
	// Malformed records go to the dead letters; whose process met them fails.
	var each [2]backfillResult
	var codes [2]int
	var both sync.WaitGroup
	for i := range each {
		both.Go(func() {
			code, out, errs := d.do("", "backfill", "--topic", "-o", "json")
			codes[i] = code
			if err := json.Unmarshal([]byte(out), &each[i]); err != nil {
				t.Errorf("exit %d, %v in %q, %s", code, err, out, errs)
			}
		})
	}
	both.Wait()
	events, letters := each[0].Events+each[1].Events, each[0].RejectedRows+each[1].RejectedRows
	t.Logf("%d and %d events", each[0].Events, each[1].Events)
	if events < 2000 || letters < int64(h.malformed) {
		t.Errorf("%d events and %d dead letters in both", events, letters)
	}
	for i := range each {
		if (codes[i] == exitFailed) != (each[i].RejectedRows > 0) || !each[i].Finished || each[i].Group != each[0].Group {
			t.Errorf("exit %d: %+v", codes[i], each[i])
		}
	}
	h.compare(t, watchIndex(t, d.cfg))
	workers, err := consumer.OpenGroup(t.Context(), d.cfg.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer workers.Close()
	if lag, err := workers.Lag(t.Context()); err != nil || lag != int64(2000+h.malformed) {
		t.Errorf("the workers' group has moved: its lag is %d, %v", lag, err)
	}
	if r, _ := d.backfill(exitDone, "--topic"); r.Events != 0 {
		t.Errorf("a third one found %d events", r.Events)
	}
	// The collection is gone, and the group believes that it has read all.
	d.drop(d.collection())
	if code, _, errs := d.do("", "backfill", "--topic"); code != exitFailed || !strings.Contains(errs, "--restart") {
		t.Errorf("exit %d, %s", code, errs)
	}
	d.backfill(exitFailed, "--topic", "--restart")
	h.compare(t, watchIndex(t, d.cfg))
}
