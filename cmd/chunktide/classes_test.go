package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The kinds of change that docs/OPERATIONS.md tells what to do about, each with
// the commands that it gives.

// library publishes documents of four chunks and has them indexed. It returns
// what it published.
func (d *desk) library(documents int) string {
	d.t.Helper()
	var lines strings.Builder
	for i := range 4 * documents {
		fmt.Fprintf(&lines, `{"op":"upsert","source":"wiki","document_id":"page-%d","chunk_id":"%d","text":"paragraph %d of page %d","version":%d}`+"\n",
			i/4, i%4, i%4, i/4, i+1)
	}
	d.must(lines.String(), "publish")
	d.catchUp()
	return lines.String()
}

// texts are those of the living chunks that the index serves, by names.
func (d *desk) texts() map[string]string {
	d.t.Helper()
	out := map[string]string{}
	for _, p := range d.scroll(d.index) {
		payload := p.GetPayload()
		if !payload["_ct"].GetStructValue().GetFields()["tomb"].GetBoolValue() {
			out[payload["document_id"].GetStringValue()+"/"+payload["chunk_id"].GetStringValue()] = payload["text"].GetStringValue()
		}
	}
	return out
}

func TestOnePageIsEdited(t *testing.T) {
	d := newDesk(t)
	d.library(50)
	before := d.points(d.index)
	d.must(`{"op":"upsert","source":"wiki","document_id":"page-7","chunk_id":"1","text":"a better paragraph","version":1001}`+"\n", "publish")
	if n := d.catchUp(); n != 1 {
		t.Errorf("%d texts were encoded for one edited chunk", n)
	}
	changed := 0
	for id, point := range d.points(d.index) {
		if before[id] != point {
			changed++
		}
	}
	if got := d.texts()["page-7/1"]; changed != 1 || got != "a better paragraph" {
		t.Errorf("%d points changed, the chunk is %q", changed, got)
	}
	d.must("", "index", "verify")
}

func TestADocumentIsDeleted(t *testing.T) {
	d := newDesk(t)
	d.library(50)
	d.must(`{"op":"delete","source":"wiki","document_id":"page-7","version":1001}`+"\n", "publish")
	if n := d.catchUp(); n != 0 {
		t.Errorf("a delete encoded %d texts", n)
	}
	texts := d.texts()
	for name := range texts {
		if strings.HasPrefix(name, "page-7/") {
			t.Errorf("%s is still there", name)
		}
	}
	if len(texts) != 49*4 {
		t.Errorf("%d chunks are left, want %d", len(texts), 49*4)
	}
	d.must("", "index", "verify")
}

func TestTheModelIsReplacedByOneOfAnotherDimension(t *testing.T) {
	if testing.Short() {
		t.Skip("needs ONNX Runtime; runs without -short")
	}
	d := newDesk(t, "embedder.encoder=onnx", tinyModel)
	d.library(20)
	served, old := d.collection(), d.points(d.index)
	settings := d.settings
	d.settings = append(slices.Clone(settings), "embedder.encoder=bow")
	// Why it cannot go into the collection that is there.
	code, _, errs := d.do("", "run", "--set", "qdrant.collection="+served, "--set", "kafka.stop_at_end=true")
	if code != exitFailed || !strings.Contains(errs, "model") {
		t.Errorf("a worker of another model was let into the collection: exit %d, %s", code, errs)
	}
	d.must("", "migrate", "plan")
	d.must("", "migrate", "start", "--once")
	if d.collection() != served {
		t.Fatal("the alias moved before the promotion")
	}
	d.must("", "migrate", "promote")
	if now := d.collection(); now == served {
		t.Error("the alias did not move")
	}
	if n := len(d.texts()); n != 80 {
		t.Errorf("the new collection has %d chunks, want 80", n)
	}
	d.must("", "search", "paragraph")
	d.settings = settings
	if code, _, _ := d.do("", "search", "paragraph"); code != exitFailed {
		t.Error("a query of the old model was let into the new collection")
	}
	for id, point := range d.points(served) {
		if old[id] != point {
			t.Fatalf("point %s of the old collection was changed", id)
		}
	}
}

func TestTenThousandDocumentsAreImportedOvernight(t *testing.T) {
	d := newDesk(t)
	there := d.library(10)
	var rows strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&rows, `{"source":"wiki","document_id":"import-%d","chunk_id":"0","text":"imported document %d","version":%d}`+"\n", i, i, 2000+i)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "import.jsonl")
	for path, lines := range map[string]string{file: rows.String(), filepath.Join(dir, "there.jsonl"): there} {
		if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if dry := d.survey(file); dry.Adds != 10_000 || dry.Seconds == nil {
		t.Errorf("the dry run says %+v", dry)
	}
	if r, errs := d.backfill(exitDone, file); r.Stored != 10_000 {
		t.Errorf("%+v: %s", r, errs)
	}
	var status indexStatus
	if err := json.Unmarshal([]byte(d.must("", "index", "status", "-o", "json")), &status); err != nil || status.Points != 10_040 {
		t.Errorf("the index has %d chunks, want 10,040 (%v)", status.Points, err)
	}
	d.must("", "index", "verify", "--files", filepath.Join(dir, "*.jsonl"))
}
