package main

import (
	"context"
	"strings"
	"testing"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/deadletter"
	"chunktide/sink"
)

// Where a vector came from, and what the log says it should be, in the states
// that a chunk can be in.
func TestWhy(t *testing.T) {
	d := newDesk(t)
	d.settings = append(d.settings, "cache.url="+d.stack.RedisURL)
	event := func(name, text, version string) string {
		return `{"op":"upsert","source":"s","document_id":"d","chunk_id":"` + name + `","text":"` + text + `","version":` + version + "}\n"
	}
	ask := func(want string, args ...string) explained {
		t.Helper()
		code, out, errs := d.do("", append([]string{"why", "-o", "json"}, args...)...)
		if out == "" {
			t.Fatalf("%q: exit %d: %s", args, code, errs)
		}
		e := decodeJSON[explained](t, out)
		if e.Log != nil && (e.Log.Answer != want || (code == exitDone) != e.Log.Right) {
			t.Errorf("%q: exit %d, %q, want %q: %s", args, code, e.Log.Answer, want, out)
		}
		return e
	}
	d.must(event("a", "secret words", "1")+event("a", "secret words", "2")+event("b", "others", "1")+
		`{"op":"delete","source":"s","document_id":"d","chunk_id":"b","version":2}`, "publish")
	d.catchUp()

	e := ask("level", "s/d/a")
	id := chunk.NewID("s", "d", "a").String()
	if p := e.Point; e.ID != id || p.Version != 2 || p.Topic != "docs" || p.Hash != chunk.HashText("secret words").String() || p.ModelVersion == "" || p.Values == 0 {
		t.Errorf("%+v", e.Point)
	}
	if r := e.Record; !r.There || r.Op != "upsert" || r.SameText == nil || !*r.SameText || r.Key == "" {
		t.Errorf("%+v", e.Record)
	}
	if e.Cached.Now == nil || !*e.Cached.Now || e.Log.Events != 2 || e.Log.Want.Version != 2 {
		t.Errorf("%+v %+v", e.Cached, e.Log)
	}
	d.stack.Redis.FlushAll()
	if e := ask("level", id); e.Cached.Now == nil || *e.Cached.Now {
		t.Errorf("the cache is empty, and says %+v", e.Cached)
	}
	if e := ask("level", "--source", "s", "--document", "d", "--chunk", "b"); !e.Point.Tombstone || e.Log.Want.Op != "delete" {
		t.Errorf("%+v %+v", e.Point, e.Log)
	}
	if e := ask("", id, "--no-log"); e.Log != nil || e.Point == nil {
		t.Errorf("%+v", e)
	}
	text := d.must("", "why", "s/d/a")
	for _, want := range []string{"VERDICT", "level", "its text is the one that was encoded", "topic docs, partition", "is not in Redis now", "version 2"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q: %s", want, text)
		}
	}
	for _, out := range []string{text, d.must("", "why", "s/d/a", "-o", "json")} {
		if strings.Contains(out, "secret words") {
			t.Errorf("the text is told: %s", out)
		}
	}
	if out := d.must("", "why", "s/d/a", "--text"); !strings.Contains(out, "secret words") {
		t.Errorf("asked for the text, and told %s", out)
	}
	ask("unknown", "s/d/nobody")

	// Published, and no worker has read it.
	d.must(event("a", "newer", "3")+event("c", "new", "1"), "publish")
	if e := ask("pending", "s/d/a"); e.Log.Want.Version != 3 || e.Log.Want.State != "not committed yet" {
		t.Errorf("%+v", e.Log)
	}
	ask("pending", "s/d/c")
	d.catchUp()
	ask("level", "s/d/c")
	if e := ask("older than the log", "s/d/a", "--since", "-1ns"); e.Log.Events != 0 {
		t.Errorf("%+v", e.Log)
	}

	// Refused before it was an event: the key names it.
	d.must(event("a", strings.Repeat("long ", 10), "4")+event("x", strings.Repeat("long ", 10), "1"), "publish")
	d.must("", "run", "--set", "kafka.stop_at_end=true", "--set", "events.limits.text_bytes=20")
	strict := []string{"--set", "events.limits.text_bytes=20"}
	if e := ask("in the dead letters", append(strict, "s/d/a")...); len(e.Letters) != 1 || e.Letters[0].Reason != "too_large" {
		t.Errorf("%+v", e.Letters)
	}
	if e := ask("in the dead letters", append(strict, "s/d/x")...); e.Point != nil || len(e.Letters) != 1 {
		t.Errorf("%+v", e)
	}
	// And as an event, by another's settings.
	ask("in the dead letters", "s/d/a")
	d.must("", "dlq", "redrive", "--all", "--yes")
	d.catchUp()
	if e := ask("level", "s/d/a"); e.Point.Version != 4 || !strings.Contains(e.Record.From, "docs.dead-letters:0:") || e.Letters[0].Redriven == nil {
		t.Errorf("%+v %+v", e.Point, e.Record)
	}

	// Somebody's hand in the database.
	one := []*qdrant.PointId{qdrant.NewIDUUID(chunk.NewID("s", "d", "c").String())}
	client := d.client()
	if _, err := client.Delete(context.Background(), &qdrant.DeletePoints{CollectionName: d.index, Wait: qdrant.PtrOf(true), Points: qdrant.NewPointsSelector(one...)}); err != nil {
		t.Fatal(err)
	}
	if e := ask("missing", "s/d/c"); e.Point != nil {
		t.Errorf("%+v", e)
	}
	ask("missing", chunk.NewID("s", "d", "c").String())

	// A cache that is away is not an empty one.
	d.settings = append(d.settings, "cache.url=redis://127.0.0.1:1")
	if e := ask("level", id); e.Cached.Now != nil || e.Cached.Error == "" {
		t.Errorf("%+v", e.Cached)
	}
}

// An argument with more slashes than two means what the index has, if that is
// one chunk.
func TestWhyIsToldWhichChunk(t *testing.T) {
	t.Parallel()
	cfg, err := configs.Load("", []string{"kafka.topics=docs"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content := cfg
	content.Events.Identity = chunk.IdentityContent
	for _, c := range []struct {
		o    whyOptions
		arg  string
		cfg  configs.Config
		want int // candidates; 0 is an error
	}{
		{arg: "s/d/c", want: 1}, {arg: "s/d/c/e", want: 3}, {arg: "s/d/c/e/f", want: 6}, {arg: "s//c/", want: 0}, {arg: "s/d", want: 0}, {arg: "", want: 0},
		{arg: chunk.NewID("s", "d", "c").String(), want: 1}, {o: whyOptions{document: "d", chunk: "c/e"}, want: 1}, {o: whyOptions{document: "d"}, want: 1},
		{o: whyOptions{chunk: "c"}, want: 0}, {o: whyOptions{document: "d"}, arg: "s/d/c", want: 0}, {arg: strings.Repeat("x/", 40), want: 0},
		{arg: "s/d/c", cfg: content, want: 0}, {arg: chunk.NewID("s", "d", "c").String(), cfg: content, want: 1},
	} {
		if c.cfg.Kafka.Topics == nil {
			c.cfg = cfg
		}
		got, err := candidates(c.o, c.arg, c.cfg)
		if len(got) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%+v %q: %v, %v; want %d", c.o, c.arg, got, err, c.want)
		}
	}
	two := cfg
	two.Kafka.Topics = []string{"a", "b"}
	if _, err := candidates(whyOptions{document: "d"}, "", two); err == nil {
		t.Error("of two topics neither is the source")
	}
	two.Events.DefaultSource = "s"
	if got, err := candidates(whyOptions{document: "d", chunk: "c"}, "", two); err != nil || got[0].id != chunk.NewID("s", "d", "c") {
		t.Errorf("%v, %v", got, err)
	}

	names, err := candidates(whyOptions{}, "s/d/c/e", cfg)
	if err != nil {
		t.Fatal(err)
	}
	have := func(which ...named) map[chunk.ID]sink.Record {
		m := map[chunk.ID]sink.Record{}
		for _, n := range which {
			m[n.id] = sink.Record{}
		}
		return m
	}
	if got, err := choose(names, have(newNamed("s", "d/c", "e"))); err != nil || got.document != "d/c" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := choose(names, have(newNamed("s", "d/c", "e"), newNamed("s/d", "c", "e"))); err == nil || !strings.Contains(err.Error(), `--document "d/c"`) {
		t.Errorf("two are there: %v", err)
	}
	if _, err := choose(names, nil); err == nil {
		t.Error("none is there")
	}
	if got, err := choose(names[:1], nil); err != nil || got != names[0] {
		t.Errorf("%v, %v", got, err)
	}
}

func TestKeysNameChunks(t *testing.T) {
	t.Parallel()
	who := newNamed("s", "d", "7")
	for key, want := range map[string]bool{
		`{"source":"s","document_id":"d","chunk_id":"7"}`: true,
		`{"document_id":"d","chunk_id":7}`:                true,
		`{"source":"x","document_id":"d","chunk_id":"7"}`: false,
		`{"source":"s","document_id":"d"}`:                false,
		`{"source":"s","document_id":"d","chunk_id":"8"}`: false,
		`{"source":"s"}`: false, "": false, "7": false, `{"document_id":"d","chunk_id":"7`: false,
	} {
		if got := keyNames(key, who); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
	if keyNames(`{"document_id":""}`, named{}) {
		t.Error("a chunk without names is named")
	}
	if newestOpen([]deadletter.Letter{{Redriven: &deadletter.Redriven{}}}) != nil {
		t.Error("a redriven letter is open")
	}
}

func FuzzKeyNames(f *testing.F) {
	f.Add(`{"source":"s","document_id":"d","chunk_id":"7"}`)
	f.Add(`{"document_id":1e99,"chunk_id":[{}]}`)
	f.Fuzz(func(_ *testing.T, key string) { keyNames(key, newNamed("s", "d", "7")) })
}
