package chunk

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func decoder(t testing.TB, change func(*DecoderConfig)) *Decoder {
	t.Helper()
	cfg := DefaultDecoderConfig()
	if change != nil {
		change(&cfg)
	}
	d, err := NewDecoder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var recordTime = time.UnixMilli(1_795_439_291_480).UTC()

func rec(value string) Record {
	r := Record{Origin: Origin{Topic: "topic", Partition: 3, Offset: 5}, Timestamp: recordTime}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

func TestNativeEvents(t *testing.T) {
	full := `{"op":%q,"source":"docs","document_id":"handbook","chunk_id":"intro","position":4,"text":"Hello.",
		"metadata":{"n":1,"f":1.5,"big":9007199254740993,"deep":{"a":[true,null]}},"version":123,"ts":"2026-01-02T03:04:05.5Z","extra":1}`
	want := Event{
		Op: Upsert, ID: NewID("docs", "handbook", "intro"), Source: "docs", DocumentID: "handbook", ChunkID: "intro", Position: 4, Text: "Hello.",
		Metadata: map[string]any{"n": int64(1), "f": 1.5, "big": int64(9007199254740993), "deep": map[string]any{"a": []any{true, nil}}},
		Version:  123, Time: time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC), Origin: Origin{"topic", 3, 5},
	}
	d := decoder(t, nil)
	for _, op := range []string{"upsert", "add", "edit", "create", "update", "c", "u", "r"} {
		got, err := d.Decode(rec(fmt.Sprintf(full, op)))
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("%s: %+v, %v", op, got, err)
		}
	}
	gone := Event{
		Op: Delete, ID: want.ID, Source: "docs", DocumentID: "handbook", ChunkID: "intro",
		Version: 123, Time: want.Time, Origin: want.Origin,
	}
	for _, op := range []string{"delete", "d"} {
		got, err := d.Decode(rec(fmt.Sprintf(full, op)))
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], gone) {
			t.Errorf("%s: %+v, %v", op, got, err)
		}
	}
}

// goodInput is a native event that is taken, and what it says.
type goodInput struct {
	name, value string
	change      func(*DecoderConfig)
	want        Event
}

func goodInputs() []goodInput {
	fallback := Version(recordTime.UnixMilli())*4096 + 5
	return []goodInput{
		{"no source, version or time", `{"op":"upsert","document_id":"d","chunk_id":"c","text":"x"}`, nil,
			Event{Op: Upsert, Source: "topic", ChunkID: "c", Text: "x", Version: fallback}},
		{"a source from the settings", `{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","version":1}`,
			func(c *DecoderConfig) { c.DefaultSource = "s" }, Event{Op: Upsert, Source: "s", ChunkID: "c", Text: "x", Version: 1}},
		{"nulls are absent", `{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","version":null,"ts":null,"metadata":null,"position":null,"source":null}`,
			nil, Event{Op: Upsert, Source: "topic", ChunkID: "c", Text: "x", Version: fallback}},
		{"a versionless delete", `{"op":"delete","document_id":"d","chunk_id":"c"}`, nil, Event{Op: Delete, Source: "topic", ChunkID: "c"}},
		{"a document's delete", `{"op":"delete","document_id":"d","version":9}`, nil, Event{Op: DeleteDocument, Source: "topic", Version: 9}},
		{"empty chunk_id is none", `{"op":"delete","document_id":"d","chunk_id":"","version":9}`, nil, Event{Op: DeleteDocument, Source: "topic", Version: 9}},
		{"null text deletes", `{"op":"upsert","document_id":"d","chunk_id":"c","text":null,"version":9}`, nil, Event{Op: Delete, Source: "topic", ChunkID: "c", Version: 9}},
		{"empty text deletes", `{"op":"upsert","document_id":"d","chunk_id":"c","text":"","version":9}`, nil, Event{Op: Delete, Source: "topic", ChunkID: "c", Version: 9}},
		{"blank text deletes", `{"op":"upsert","document_id":"d","chunk_id":"c","text":" \n\t ","version":9}`, nil, Event{Op: Delete, Source: "topic", ChunkID: "c", Version: 9}},
		{"fields that a transaction marker has, too", `{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","version":1,"status":"END","id":"7","ts_ms":1,"event_count":2}`,
			nil, Event{Op: Upsert, Source: "topic", ChunkID: "c", Text: "x", Version: 1}},
		{"record versions", `{"op":"delete","document_id":"d","chunk_id":"c","version":9}`,
			func(c *DecoderConfig) { c.Versions = VersionsRecord }, Event{Op: Delete, Source: "topic", ChunkID: "c", Version: fallback}},
	}
}

func TestNativeDefaults(t *testing.T) {
	for _, tt := range goodInputs() {
		tt.want.DocumentID, tt.want.Origin, tt.want.Time = "d", rec("").Origin, recordTime
		tt.want.ID = NewID(tt.want.Source, "d", tt.want.ChunkID)
		if tt.want.Op == DeleteDocument {
			tt.want.ID = NewDocumentID(tt.want.Source, "d")
		}
		got, err := decoder(t, tt.change).Decode(rec(tt.value))
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], tt.want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", tt.name, got, err, tt.want)
		}
	}
}

// badInput is a value that is refused, and why.
type badInput struct {
	name, value string
	change      func(*DecoderConfig)
	reason      Reason
	says        string
}

func badInputs() []badInput {
	event := func(fields string) string {
		return `{"op":"upsert","document_id":"d","chunk_id":"c","text":"x",` + fields + `}`
	}
	required := func(c *DecoderConfig) { c.Versions = VersionsRequired }
	deadLetter := func(c *DecoderConfig) { c.OnEmpty = OnEmptyDeadLetter }
	small := func(c *DecoderConfig) {
		c.Limits = Limits{RecordBytes: 200, TextBytes: 10, MetadataBytes: 20, NameBytes: 5, JSONDepth: 4}
	}
	content := func(c *DecoderConfig) { c.Identity = IdentityContent }
	return []badInput{
		{"no JSON", "hello", nil, ReasonBrokenJSON, "byte"},
		{"cut off", `{"op":"upsert"`, nil, ReasonBrokenJSON, "too early"},
		{"two values", `{"op":"delete"} {}`, nil, ReasonBrokenJSON, "more follows"},
		{"an array", `[]`, nil, ReasonWrongType, "array"},
		{"null", `null`, nil, ReasonWrongType, "null"},
		{"no UTF-8", "{\"op\":\"\xff\"}", nil, ReasonInvalidUTF8, "UTF-8"},
		{"no event", `{"foo":1}`, nil, ReasonUnknownFormat, "native"},
		{"no op", `{"document_id":"d","op":null}`, nil, ReasonUnknownOp, "missing"},
		{"strange op", `{"op":"frobnicate","document_id":"d"}`, nil, ReasonUnknownOp, "upsert"},
		{"op of another type", `{"op":1}`, nil, ReasonWrongType, "op is a number"},
		{"no document", `{"op":"upsert","chunk_id":"c","text":"x"}`, nil, ReasonNoIdentity, "document_id"},
		{"no chunk", `{"op":"upsert","document_id":"d","text":"x"}`, nil, ReasonNoIdentity, "chunk_id"},
		{"no chunk, and no text, which is no document's delete", `{"op":"upsert","document_id":"d","text":""}`, nil, ReasonNoIdentity, "chunk_id"},
		{"document of another type", `{"op":"upsert","document_id":5,"chunk_id":"c","text":"x"}`, nil, ReasonWrongType, "document_id is a number, want a string"},
		{"text of another type", `{"op":"upsert","document_id":"d","chunk_id":"c","text":{}}`, nil, ReasonWrongType, "text is an object"},
		{"metadata of another type", event(`"metadata":[]`), nil, ReasonWrongType, "metadata is an array"},
		{"metadata beyond doubles", event(`"metadata":{"x":1e999}`), nil, ReasonWrongType, "double"},
		{"reserved key", event(`"metadata":{"_ct":1}`), nil, ReasonReservedKey, "_ct"},
		{"position below 0", event(`"position":-1`), nil, ReasonWrongType, "position"},
		{"position with a fraction", event(`"position":1.5`), nil, ReasonWrongType, "position"},
		{"version 0", event(`"version":0`), nil, ReasonBadVersion, "not positive"},
		{"version below 0", event(`"version":-5`), nil, ReasonBadVersion, "not positive"},
		{"version with a fraction", event(`"version":1.5`), nil, ReasonBadVersion, "not an integer"},
		{"version with an exponent", event(`"version":1e3`), nil, ReasonBadVersion, "not an integer"},
		{"version 2^53", event(`"version":9007199254740992`), nil, ReasonBadVersion, "too large"},
		{"version 2^64", event(`"version":18446744073709551616`), nil, ReasonBadVersion, "too large"},
		{"version as a string", event(`"version":"5"`), nil, ReasonWrongType, "version is a string"},
		{"no version where required", `{"op":"delete","document_id":"d","chunk_id":"c"}`, required, ReasonBadVersion, "events.versions"},
		{"time that is none", event(`"ts":"yesterday"`), nil, ReasonWrongType, "RFC 3339"},
		{"empty text", `{"op":"upsert","document_id":"d","chunk_id":"c","text":"  "}`, deadLetter, ReasonEmptyText, "on_empty"},
		{"too deep", event(`"metadata":` + strings.Repeat(`{"a":`, 5) + "1" + strings.Repeat("}", 5)), small, ReasonTooDeep, "json_depth"},
		{"a bomb of brackets", strings.Repeat("[", 1<<20), nil, ReasonTooDeep, "json_depth"},
		{"long record", event(`"extra":"` + strings.Repeat("x", 200) + `"`), small, ReasonTooLarge, "record_bytes"},
		{"long text", `{"op":"upsert","document_id":"d","chunk_id":"c","text":"12345678901"}`, small, ReasonTooLarge, "text_bytes"},
		{"long metadata", event(`"metadata":{"a":"12345678901234567890"}`), small, ReasonTooLarge, "metadata_bytes"},
		{"long name", `{"op":"upsert","document_id":"123456","chunk_id":"c","text":"x"}`, small, ReasonTooLarge, "name_bytes"},
		{"another specversion", `{"specversion":"0.3","data":{}}`, nil, ReasonUnknownFormat, "specversion"},
		{"a CloudEvent without data", `{"specversion":"1.0"}`, nil, ReasonUnknownFormat, "no data"},
		{"an edit by content without before", `{"op":"edit","document_id":"d","chunk_id":"c","text":"x"}`, content, ReasonNoBefore, "before"},
		{"a delete by content without text", `{"op":"delete","document_id":"d","chunk_id":"c"}`, content, ReasonNoBefore, "before"},
	}
}

func TestBadInputHasItsReason(t *testing.T) {
	for _, tt := range badInputs() {
		got, err := decoder(t, tt.change).Decode(rec(tt.value))
		reason, ok := ReasonOf(err)
		if !ok || reason != tt.reason || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, error %v (%s); want %s saying %q", tt.name, got, err, reason, tt.reason, tt.says)
		}
	}
}

func TestTombstones(t *testing.T) {
	for _, tt := range []struct {
		name, key string
		source    string
		reason    Reason
	}{
		{"native key", `{"source":"s","document_id":"d","chunk_id":"c"}`, "s", ""},
		{"without a source", `{"document_id":"d","chunk_id":"c"}`, "topic", ""},
		{"integers from a database", `{"document_id":"d","chunk_id":7}`, "topic", ""},
		{"no key", ``, "", ReasonNoIdentity},
		{"a plain key", `abc`, "", ReasonNoIdentity},
		{"no chunk", `{"document_id":"d"}`, "", ReasonNoIdentity},
	} {
		r := rec("")
		if tt.key != "" {
			r.Key = []byte(tt.key)
		}
		got, err := decoder(t, nil).Decode(r)
		if reason, _ := ReasonOf(err); reason != tt.reason {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.reason)
			continue
		}
		if tt.reason == "" && (len(got) != 1 || got[0].Op != Delete || !got[0].Versionless() || got[0].Source != tt.source) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	// An empty value is no tombstone, and a broken one loses nothing silently.
	r := rec("")
	r.Value = []byte{}
	if _, err := decoder(t, nil).Decode(r); err == nil {
		t.Error("an empty value was taken for a tombstone")
	}
}

// contentInput is an event under identity: content, and the points it names.
type contentInput struct {
	value string
	want  map[ID]Op
}

func contentInputs() []contentInput {
	id := func(text string) ID { return NewContentID("topic", "d", text) }
	return []contentInput{
		{`{"op":"add","document_id":"d","chunk_id":"c","text":"x","version":1}`, map[ID]Op{id("x"): Upsert}},
		{`{"op":"edit","document_id":"d","chunk_id":"c","text":"y","before":{"text":"x"},"version":2}`, map[ID]Op{id("x"): Delete, id("y"): Upsert}},
		{`{"op":"edit","document_id":"d","chunk_id":"c","text":"y","before":{"text":"y"},"version":2}`, map[ID]Op{id("y"): Upsert}},
		{`{"op":"delete","document_id":"d","chunk_id":"c","text":"y","version":3}`, map[ID]Op{id("y"): Delete}},
		{`{"op":"delete","document_id":"d","chunk_id":"c","before":{"text":"y"},"version":3}`, map[ID]Op{id("y"): Delete}},
		{`{"op":"delete","document_id":"d","version":3}`, map[ID]Op{NewDocumentID("topic", "d"): DeleteDocument}},
	}
}

func TestIdentityByContent(t *testing.T) {
	d := decoder(t, func(c *DecoderConfig) { c.Identity = IdentityContent })
	for _, tt := range contentInputs() {
		events, err := d.Decode(rec(tt.value))
		got := map[ID]Op{}
		for _, e := range events {
			got[e.ID] = e.Op
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, %v", tt.value, got, err)
		}
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	bad := DecoderConfig{Format: "x", Identity: "x", OnEmpty: "x", Versions: "x", Debezium: DebeziumFields{Version: "source.ts_ns"}}
	err := bad.Validate()
	for _, key := range []string{"format:", "identity:", "on_empty:", "versions:", "debezium.document_id:", "debezium.version:", "limits.text_bytes:", "limits.json_depth:"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not reported in %v", key, err)
		}
	}
	if _, err := NewDecoder(bad); err == nil {
		t.Error("a decoder was made of it")
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range goldens(f) {
		f.Add(r.Key, r.Value, "ce_specversion", "1.0")
	}
	f.Add([]byte(`{"document_id":"d","chunk_id":"c"}`), []byte(`{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","version":1,"metadata":{"a":[1]}}`), "", "")
	f.Add([]byte(nil), []byte(`{"specversion":"1.0","data_base64":"e30="}`), "ce_time", "x")
	d := decoder(f, nil)
	byContent := decoder(f, func(c *DecoderConfig) { c.Identity = IdentityContent })
	f.Fuzz(func(t *testing.T, key, value []byte, header, content string) {
		r := Record{Origin: Origin{Topic: "t"}, Timestamp: recordTime, Key: key, Value: value, Headers: []Header{{header, []byte(content)}}}
		for _, d := range []*Decoder{d, byContent} {
			events, err := d.Decode(r)
			if err != nil {
				if _, ok := ReasonOf(err); !ok {
					t.Fatalf("error without a reason: %v", err)
				}
				continue
			}
			for i := range events {
				checkEvent(t, &events[i])
			}
		}
	})
}

func checkEvent(t *testing.T, e *Event) {
	switch {
	case e.Op == 0 || e.DocumentID == "" || e.Source == "":
		t.Errorf("event without op or identity: %+v", e)
	case (e.ChunkID == "") != (e.Op == DeleteDocument):
		t.Errorf("%s with chunk_id %q", e.Op, e.ChunkID)
	case !e.Version.Valid() && !e.Versionless():
		t.Errorf("version %d", e.Version)
	case (e.Op == Upsert) != (e.Text != "" || e.TextUnchanged):
		t.Errorf("%s with %d bytes of text, unchanged %t", e.Op, len(e.Text), e.TextUnchanged)
	case !utf8.ValidString(e.Text + e.DocumentID + e.ChunkID + e.Source):
		t.Error("invalid UTF-8 came through")
	}
}

func BenchmarkDecode(b *testing.B) {
	value := fmt.Sprintf(`{"op":"upsert","source":"docs","document_id":"handbook","chunk_id":"intro","position":4,"text":%q,
		"metadata":{"lang":"en","section":"intro","page":3},"version":123,"ts":"2026-01-02T03:04:05Z"}`, strings.Repeat("The index keeps level. ", 40))
	d := decoder(b, nil)
	r := rec(value)
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if _, err := d.Decode(r); err != nil {
			b.Fatal(err)
		}
	}
}
