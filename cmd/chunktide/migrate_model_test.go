package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"chunktide/embedder"
	"chunktide/migrate"
)

const tinyModel = "embedder.model_dir=../../embedder/testdata/tiny"

// tinyDesk has an index of the tiny model.
func tinyDesk(t *testing.T) (*desk, *history) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs ONNX Runtime; runs without -short")
	}
	d := newDesk(t, "embedder.encoder=onnx", tinyModel)
	h := newHistory(300, 50)
	h.publish(t, d.settings, d.cfg)
	if d.catchUp() == 0 {
		t.Fatal("nothing was encoded")
	}
	return d, h
}

// The vectors of the derived index are those of the model with fewer
// dimensions, bit for bit, and no text went through it; live edits do.
func TestAnIndexIsCutWithoutTheModel(t *testing.T) {
	d, _ := tinyDesk(t)
	if code, _, errs := d.do("", "migrate", "start", "--once", "--dimensions", "8"); code != exitUsage || !strings.Contains(errs, "embedder.matryoshka") {
		t.Errorf("a model that was not trained for it: exit %d, %s", code, errs)
	}
	const trained = "embedder.matryoshka=8,16"
	if code, _, errs := d.do("", "migrate", "start", "--once", "--dimensions", "8", "--set", trained, "--set", "embedder.prefix=passage: "); code != exitFailed || !strings.Contains(errs, "can be cut") {
		t.Errorf("vectors of another recipe: exit %d, %s", code, errs)
	}
	var plan migratePlan
	if err := json.Unmarshal([]byte(d.must("", "migrate", "plan", "--dimensions", "8", "--set", trained, "-o", "json")), &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Survey.ModelCalls != 0 || plan.Source != migrate.FromVectors || plan.VectorBytes*4 != plan.Served.VectorBytes {
		t.Errorf("the plan is %+v", plan)
	}
	d.encoded.Store(0)
	d.must("", "migrate", "start", "--once", "--dimensions", "8", "--set", trained)
	if n := d.encoded.Load(); n != 0 {
		t.Errorf("%d texts were encoded", n)
	}
	d.must(`{"op":"upsert","source":"s","document_id":"d","chunk_id":"live","text":"a live edit of the vector index","version":1}`, "publish")
	d.catchUp()
	d.encoded.Store(0)
	d.must("", "migrate", "start", "--once", "--dimensions", "8", "--set", trained)
	if n := d.encoded.Load(); n != 1 {
		t.Errorf("%d texts were encoded for one live edit", n)
	}
	cfg := d.cfg.Embedder
	cfg.Dimensions = 8
	small, err := embedder.NewONNX(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	points := d.scroll(d.migrations()[0].Collection.Name)
	living := 0
	for _, p := range points {
		if p.GetPayload()["_ct"].GetStructValue().GetFields()["tomb"].GetBoolValue() {
			continue
		}
		living++
		want, err := small.Encode(t.Context(), []string{p.GetPayload()["text"].GetStringValue()})
		if err != nil {
			t.Fatal(err)
		}
		got := p.GetVectors().GetVectors().GetVectors()["text"].GetDense().GetData()
		if fmt.Sprint(got) != fmt.Sprint(want[0].Vector) || len(got) != 8 {
			t.Fatalf("point %s has %v, the model gives %v", p.GetId().GetUuid(), got, want[0].Vector)
		}
	}
	if living < 20 {
		t.Errorf("only %d points were compared", living)
	}
	d.must("", "migrate", "promote")
}

// Another prefix is another model_version. The plan says what is to be
// encoded, and golden queries compare both.
func TestMigrateToAnotherPrefix(t *testing.T) {
	d, _ := tinyDesk(t)
	const prefix = "embedder.prefix=passage: "
	var plan migratePlan
	if err := json.Unmarshal([]byte(d.must("", "migrate", "plan", "--from", "collection", "--set", prefix, "--set", "backfill.price_per_million_tokens=2", "-o", "json")), &plan); err != nil {
		t.Fatal(err)
	}
	if s := plan.Survey; s.ModelCalls == 0 || s.Tokens == 0 || s.Cost != float64(s.Tokens)/1e6*2 || s.Seconds == nil || *s.TokensPerSecond <= 0 || plan.VectorBytes == 0 {
		t.Errorf("the plan is %+v with %+v", plan, plan.Survey)
	}
	d.encoded.Store(0)
	d.must("", "migrate", "start", "--once", "--from", "collection", "--set", prefix)
	if n := d.encoded.Load(); n != int64(plan.Survey.ModelCalls) {
		t.Errorf("%d texts were encoded, the plan said %d", n, plan.Survey.ModelCalls)
	}
	golden := `{"query": "words 3", "relevant": []}` + "\n" + `{"query": "chunk 5"}` + "\n"
	first := d.scroll(d.index)[0].GetPayload()
	golden += fmt.Sprintf(`{"query": %q, "relevant": [[%q, %q, %q]]}`, "words of a chunk", first["source"].GetStringValue(), first["document_id"].GetStringValue(), first["chunk_id"].GetStringValue())
	// The old model is not known.
	if code, _, errs := d.do(golden, "migrate", "promote", "--golden", "-", "--set", prefix); code != exitFailed || !strings.Contains(errs, "serve.models") {
		t.Errorf("without the old model: exit %d, %s", code, errs)
	}
	file := t.TempDir() + "/new.yaml"
	if err := os.WriteFile(file, []byte("serve:\n  models:\n    - encoder: onnx\n      model_dir: ../../embedder/testdata/tiny\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := d.do(golden, "migrate", "promote", "-c", file, "--golden", "-", "--min-overlap", "1", "--set", prefix, "-o", "json")
	var p migrate.Promotion
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err, errs)
	}
	if code != exitFailed || p.Promoted || p.Comparison == nil || p.Comparison.Queries != 3 || p.Comparison.Labelled != 1 || p.Comparison.Overlap >= 1 || p.Comparison.Overlap <= 0 {
		t.Errorf("exit %d, %+v, %+v", code, p, p.Comparison)
	}
	d.must(golden, "migrate", "promote", "-c", file, "--golden", "-", "--min-overlap", "0.01", "--max-drop", "1", "--set", prefix)
	if hits := d.must("", "search", "words", "--set", prefix); hits == "" {
		t.Error("nothing is found by the new model")
	}
	if code, _, _ := d.do("", "search", "words"); code != exitFailed {
		t.Error("the old model still searches")
	}
}

// A model that is declared compatible goes on in the old collection: nothing is
// encoded again but what is edited.
func TestACompatibleModelGoesOnInTheOldCollection(t *testing.T) {
	d := newDesk(t)
	d.must(`{"op":"upsert","document_id":"d","chunk_id":"a","text":"the first text","version":1}
{"op":"upsert","document_id":"d","chunk_id":"b","text":"another text","version":1}`, "publish")
	d.catchUp()
	if code, _, errs := d.do("", "migrate", "start", "--once", "--set", newModelSetting, "--set", "embedder.compatible_with=nonsense"); code != exitFailed || !strings.Contains(errs, "compatible_with") {
		t.Errorf("not declared: exit %d, %s", code, errs)
	}
	d.encoded.Store(0)
	out := d.must("", "migrate", "start", "--set", newModelSetting, "--set", "embedder.compatible_with="+embedder.BowName)
	if !strings.Contains(out, "new-bow") || d.encoded.Load() != 0 {
		t.Errorf("%d texts were encoded: %s", d.encoded.Load(), out)
	}
	d.settings = append(d.settings, newModelSetting)
	d.must(`{"op":"upsert","document_id":"d","chunk_id":"b","text":"another text, edited","version":2}`, "publish")
	d.must("", "replay", "--to", "earliest", "--yes")
	if n := d.catchUp(); n != 1 {
		t.Errorf("%d texts were encoded, want the edited one", n)
	}
	if _, models := d.living(d.index); models[embedder.BowName] != 1 || models["new-bow"] != 1 {
		t.Errorf("the index holds %v", models)
	}
	d.must("", "search", "first text")
	d.settings = d.settings[:len(d.settings)-1]
	if code, _, errs := d.do("", "search", "first text"); code != exitFailed || !strings.Contains(errs, "new-bow") {
		t.Errorf("queries of the old model: exit %d, %s", code, errs)
	}
}
