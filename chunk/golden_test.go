package chunk

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// golden is a record as kafkacat printed it: captured from Debezium 3.3.1 on
// PostgreSQL 15.
type golden struct {
	Topic     string
	Partition int32
	Offset    int64
	TS        int64
	Headers   []string
	Key       *string
	Payload   *string
}

func (g golden) record() Record {
	r := Record{Origin: Origin{Topic: g.Topic, Partition: g.Partition, Offset: g.Offset}, Timestamp: time.UnixMilli(g.TS).UTC()}
	if g.Key != nil {
		r.Key = []byte(*g.Key)
	}
	if g.Payload != nil {
		r.Value = []byte(*g.Payload)
	}
	for i := 0; i+1 < len(g.Headers); i += 2 {
		r.Headers = append(r.Headers, Header{Key: g.Headers[i], Value: []byte(g.Headers[i+1])})
	}
	return r
}

func goldens(t testing.TB) []Record {
	t.Helper()
	file, err := os.Open("testdata/debezium-postgres-events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var records []Record
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		records = append(records, g.record())
	}
	if len(records) != 15 {
		t.Fatalf("%d golden records, want 15", len(records))
	}
	return records
}

// want are the events of the golden records. bigText stands for the 20 kB one.
const (
	bigText       = "<big>"
	bigTextSHA256 = "4efee83a569a9250e6bfbccf5324921bb5aa3fb562bd7b3d95a343417dafef07"
)

func goldenWant() []Event {
	const synced = "The distributed embedding pipeline keeps the vector index synchronized."
	const reset = "To reset your password open settings and choose account recovery."
	en := map[string]any{"lang": "en"}
	intro := map[string]any{"lang": "en", "section": "intro"}
	none := map[string]any{}
	up := func(chunk string, pos int64, text string, meta map[string]any, lsn Version, ms int64) Event {
		return Event{Op: Upsert, ChunkID: chunk, Position: pos, Text: text, Metadata: meta, Version: lsn, Time: time.UnixMilli(ms).UTC()}
	}
	del := func(chunk string, lsn Version, ms int64) Event {
		return Event{Op: Delete, ChunkID: chunk, Version: lsn, Time: time.UnixMilli(ms).UTC()}
	}
	unchanged := up("big", 3, "", none, 26390992, 1795439326499)
	unchanged.TextUnchanged = true
	return []Event{
		up("intro", 0, synced, intro, 26367856, 1795439290880),
		up("faq-1", 1, reset, en, 26367856, 1795439290880),
		up("intro", 0, "The distributed embedding pipeline keeps the vector index in step with the corpus.", intro, 26367952, 1795439326490),
		up("big", 2, bigText, none, 26390704, 1795439326496),
		unchanged,
		up("tx-1", 4, "First row of one transaction.", none, 26391168, 1795439326500),
		up("tx-2", 5, "Second row of one transaction.", none, 26391360, 1795439326500),
		del("faq-1", 26391600, 1795439326503),
		del("faq-1", 0, 1795439327190),
		up("faq-2", 1, reset, en, 26391600, 1795439326503),
		del("tx-2", 26391928, 1795439326507),
		del("tx-2", 0, 1795439327190),
		del("null-text", 26392056, 1795439326511),
		up("unicode", 7, "Zażółć gęślą jaźń — 東京 🚀 ́ نص عربي", none, 26392280, 1795439326515),
		del("null-text", 26392568, 1795439326519),
	}
}

func checkGolden(t *testing.T, what string, records []Record) {
	t.Helper()
	d, err := NewDecoder(DefaultDecoderConfig())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range goldenWant() {
		got, err := d.Decode(records[i])
		if err != nil || len(got) != 1 {
			t.Errorf("%s, record %d: %d events, %v", what, i, len(got), err)
			continue
		}
		want.Source, want.DocumentID, want.Origin = "cdc.public.chunks", "handbook", records[i].Origin
		want.ID = NewID(want.Source, want.DocumentID, want.ChunkID)
		if want.Text == bigText {
			if hash := HashText(got[0].Text).String(); hash != bigTextSHA256 {
				t.Errorf("%s: the big text has SHA-256 %s, want %s", what, hash, bigTextSHA256)
			}
			want.Text = got[0].Text
		}
		if !reflect.DeepEqual(got[0], want) {
			t.Errorf("%s, record %d:\n got %+v\nwant %+v", what, i, got[0], want)
		}
	}
}

func TestDebeziumGoldens(t *testing.T) { checkGolden(t, "as captured", goldens(t)) }

// The same records in every wrapping that they may arrive in.
func TestDebeziumGoldensWrapped(t *testing.T) {
	wrap := func(change func(*Record)) []Record {
		records := goldens(t)
		for i := range records {
			change(&records[i])
		}
		return records
	}
	schema := func(payload []byte) []byte {
		return []byte(`{"schema":{"type":"struct","fields":[]},"payload":` + string(payload) + `}`)
	}
	checkGolden(t, "with schemas", wrap(func(r *Record) {
		r.Key = schema(r.Key)
		if r.Value != nil {
			r.Value = schema(r.Value)
		}
	}))
	checkGolden(t, "structured CloudEvent", wrap(func(r *Record) {
		if r.Value != nil {
			r.Value = []byte(`{"specversion":"1.0","id":"1","source":"/cdc","type":"x","data":` + string(r.Value) + `}`)
		}
	}))
	checkGolden(t, "CloudEvent, base64", wrap(func(r *Record) {
		if r.Value != nil {
			r.Value = []byte(`{"specversion":"1.0","id":"1","source":"/cdc","type":"x","data_base64":"` + base64.StdEncoding.EncodeToString(r.Value) + `"}`)
		}
	}))
	checkGolden(t, "binary CloudEvent", wrap(func(r *Record) {
		r.Headers = append(r.Headers, Header{"ce_specversion", []byte("1.0")}, Header{"ce_id", []byte("1")},
			Header{"ce_source", []byte("/cdc")}, Header{"ce_type", []byte("x")})
	}))
	checkGolden(t, "flattened", wrap(func(r *Record) {
		if r.Value != nil {
			r.Value = flatten(t, r.Value)
		}
	}))
}

// flatten does what Debezium's ExtractNewRecordState does, with
// delete.handling.mode=rewrite and add.fields=op,source.lsn,source.ts_ms.
func flatten(t testing.TB, value []byte) []byte {
	var e struct {
		Before, After map[string]json.RawMessage
		Op            string
		Source        struct {
			LSN json.RawMessage `json:"lsn"`
			TS  json.RawMessage `json:"ts_ms"`
		}
	}
	if err := json.Unmarshal(value, &e); err != nil {
		t.Fatal(err)
	}
	row := e.After
	deleted := `"false"`
	if e.Op == "d" {
		row, deleted = e.Before, `"true"`
	}
	row["__deleted"], row["__op"] = json.RawMessage(deleted), json.RawMessage(`"`+e.Op+`"`)
	row["__source_lsn"], row["__source_ts_ms"] = e.Source.LSN, e.Source.TS
	out, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDebeziumBesideRows(t *testing.T) {
	d, _ := NewDecoder(DefaultDecoderConfig())
	for name, value := range map[string]string{
		"heartbeat":   `{"ts_ms":1795439291068}`,
		"transaction": `{"status":"BEGIN","id":"734:1","event_count":null,"data_collections":null,"ts_ms":1795439291068}`,
		"message":     `{"op":"m","ts_ms":1,"source":{"lsn":1},"message":{"prefix":"p","content":"Zm9v"}}`,
	} {
		if events, err := d.Decode(Record{Value: []byte(value)}); err != nil || len(events) != 0 {
			t.Errorf("%s: %v, %v; want nothing", name, events, err)
		}
	}
}

// A table may have columns that Debezium's transaction markers have as fields.
func TestARowIsNoTransactionMarker(t *testing.T) {
	d := decoder(t, func(c *DecoderConfig) { c.Format = FormatDebezium })
	events, err := d.Decode(rec(`{"document_id":"d","chunk_id":"c","text":"x","status":"END","id":7,"ts_ms":1,"event_count":2}`))
	if err != nil || len(events) != 1 || events[0].Op != Upsert {
		t.Errorf("%+v, %v; want an upsert", events, err)
	}
}

func TestDebeziumKeyChangeInOneRecord(t *testing.T) {
	d, _ := NewDecoder(DefaultDecoderConfig())
	value := `{"before":{"document_id":"d","chunk_id":"old","text":"x"},"after":{"document_id":"d","chunk_id":7,"text":"x"},
		"op":"u","source":{"lsn":99,"ts_ms":1000}}`
	events, err := d.Decode(Record{Origin: Origin{Topic: "t"}, Value: []byte(value)})
	if err != nil || len(events) != 2 {
		t.Fatalf("%v, %v", events, err)
	}
	if events[0].Op != Delete || events[0].ChunkID != "old" || events[0].Version != 99 {
		t.Errorf("first %+v, want the delete of the old key", events[0])
	}
	if events[1].Op != Upsert || events[1].ChunkID != "7" || events[1].Version != 99 {
		t.Errorf("then %+v, want the upsert under the new key", events[1])
	}
}

// A deleted row's version column holds the version of the state that is to go:
// the delete must not be compared with it.
func TestADeleteHasNoVersionInAColumn(t *testing.T) {
	for name, value := range map[string]string{
		"envelope":  `{"before":{"document_id":"d","chunk_id":"c","text":"x","v":7},"after":null,"op":"d","source":{"lsn":99}}`,
		"flattened": `{"document_id":"d","chunk_id":"c","text":"x","v":7,"__deleted":"true","__op":"d"}`,
		"the key alone, with what the column has in place of nothing": `{"before":{"document_id":"d","chunk_id":"c","text":null,"v":0},"after":null,"op":"d","source":{"lsn":99}}`,
		"the key alone, flattened":                                    `{"document_id":"d","chunk_id":"c","v":0,"__deleted":"true"}`,
	} {
		for _, versions := range []string{VersionsAuto, VersionsRequired} {
			d := decoder(t, func(c *DecoderConfig) { c.Debezium.Version, c.Versions = "column:v", versions })
			events, err := d.Decode(rec(value))
			if err != nil || len(events) != 1 || events[0].Op != Delete || !events[0].Versionless() {
				t.Errorf("%s, versions %s: %+v, %v; want a versionless delete", name, versions, events, err)
			}
		}
	}
	// Control: an upsert has the column's version, and a log position counts for
	// deletes as well.
	d := decoder(t, func(c *DecoderConfig) { c.Debezium.Version = "column:v" })
	events, err := d.Decode(rec(`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x","v":7},"op":"u","source":{"lsn":99}}`))
	if err != nil || len(events) != 1 || events[0].Version != 7 {
		t.Errorf("an upsert: %+v, %v; want version 7", events, err)
	}
	events, err = decoder(t, nil).Decode(rec(`{"before":{"document_id":"d","chunk_id":"c","text":"x","v":7},"after":null,"op":"d","source":{"lsn":99}}`))
	if err != nil || len(events) != 1 || events[0].Version != 99 {
		t.Errorf("a delete in the log: %+v, %v; want version 99", events, err)
	}
}

func TestDebeziumErrors(t *testing.T) {
	d, _ := NewDecoder(DefaultDecoderConfig())
	for _, tt := range []struct {
		value  string
		reason Reason
	}{
		{`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"r","source":{"lsn":null}}`, ReasonBadVersion},
		{`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x"},"op":"c","source":{"lsn":9007199254740992}}`, ReasonBadVersion},
		{`{"before":null,"after":null,"op":"d","source":{"lsn":1}}`, ReasonNoIdentity},
		{`{"before":null,"after":null,"op":"t","source":{"lsn":1}}`, ReasonUnknownOp},
		{`{"before":null,"after":[],"op":"c","source":{"lsn":1}}`, ReasonWrongType},
		{`{"before":null,"after":{"document_id":"d","chunk_id":null,"text":"x"},"op":"c","source":{"lsn":1}}`, ReasonNoIdentity},
		{`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x","metadata":"{"},"op":"c","source":{"lsn":1}}`, ReasonBrokenJSON},
		{`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":"x","metadata":"__debezium_unavailable_value"},"op":"u","source":{"lsn":1}}`, ReasonTextUnavailable},
		{`{"before":null,"after":{"document_id":"d","chunk_id":"c","text":5},"op":"c","source":{"lsn":1}}`, ReasonWrongType},
	} {
		_, err := d.Decode(Record{Value: []byte(tt.value)})
		if reason, ok := ReasonOf(err); !ok || reason != tt.reason {
			t.Errorf("%s: %v (%s), want %s", tt.value, err, reason, tt.reason)
		}
	}
}

func TestErrorsNeverShowTheText(t *testing.T) {
	const secret = "the quick brown fox"
	d, _ := NewDecoder(DefaultDecoderConfig())
	for _, value := range []string{
		`{"op":"upsert","document_id":"d","chunk_id":"c","text":"` + secret + `","version":0}`,
		`{"op":"` + secret + `","document_id":"d","chunk_id":"c"}`,
		`{"op":"upsert","text":"` + secret + `"`,
		`{"op":"upsert","document_id":"d","chunk_id":"c","ts":"` + secret + `"}`,
		secret,
	} {
		if _, err := d.Decode(Record{Value: []byte(value)}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: error %v", value, err)
		}
	}
}
