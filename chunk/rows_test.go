package chunk

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestRowsAreStatesOrEvents(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := Event{
		Op: Upsert, ID: NewID("docs", "7", "intro"), Source: "docs", DocumentID: "7", ChunkID: "intro", Position: 2, Text: "Hello.",
		Metadata: map[string]any{"n": int64(1)}, Version: 50, Time: at,
	}
	gone := Event{Op: Delete, ID: want.ID, Source: "docs", DocumentID: "7", ChunkID: "intro", Version: 50, Time: at}
	debezium := func(c *DecoderConfig) { c.Format, c.Debezium.Text = FormatDebezium, "body" }
	for name, tt := range map[string]struct {
		value  string
		change func(*DecoderConfig)
		want   Event
	}{
		"bare":                        {`{"source":"docs","document_id":"7","chunk_id":"intro","position":2,"text":"Hello.","metadata":{"n":1}}`, nil, want},
		"numbers, metadata as text":   {`{"source":"docs","document_id":7,"chunk_id":"intro","position":2,"text":"Hello.","metadata":"{\"n\":1}"}`, nil, want},
		"a native event":              {`{"op":"update","source":"docs","document_id":"7","chunk_id":"intro","position":2,"text":"Hello.","metadata":{"n":1}}`, nil, want},
		"a Debezium event":            {`{"op":"r","before":null,"after":{"document_id":7,"chunk_id":"intro","position":2,"text":"Hello.","metadata":"{\"n\":1}"},"source":{}}`, func(c *DecoderConfig) { c.DefaultSource = "docs" }, want},
		"the mapped columns":          {`{"document_id":7,"chunk_id":"intro","position":2,"body":"Hello.","metadata":"{\"n\":1}"}`, func(c *DecoderConfig) { debezium(c); c.DefaultSource = "docs" }, want},
		"a CloudEvent":                {`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"op":"upsert","source":"docs","document_id":"7","chunk_id":"intro","position":2,"text":"Hello.","metadata":{"n":1}}}`, nil, want},
		"its own version":             {`{"source":"docs","document_id":"7","chunk_id":"intro","position":2,"text":"Hello.","metadata":{"n":1},"version":9}`, nil, withVersion(want, 9)},
		"versions of records only":    {`{"source":"docs","document_id":"7","chunk_id":"intro","position":2,"text":"Hello.","metadata":{"n":1},"version":9}`, func(c *DecoderConfig) { c.Versions = VersionsRecord }, want},
		"a delete has a version, too": {`{"op":"delete","source":"docs","document_id":"7","chunk_id":"intro"}`, nil, gone},
		"an empty text deletes":       {`{"source":"docs","document_id":"7","chunk_id":"intro","text":" "}`, nil, gone},
	} {
		got, err := decoder(t, tt.change).DecodeRow(Row{Value: []byte(tt.value), AsOf: 50, Time: at})
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], tt.want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, got, tt.want)
		}
	}
}

func withVersion(e Event, v Version) Event {
	e.Version = v
	return e
}

func TestMalformedRows(t *testing.T) {
	for name, tt := range map[string]struct {
		value  string
		reason Reason
	}{
		"no JSON":            {`{"document_id":`, ReasonBrokenJSON},
		"no object":          {`[1]`, ReasonWrongType},
		"nothing we know":    {`{"body":"x"}`, ReasonUnknownFormat},
		"no chunk":           {`{"source":"s","document_id":"d","text":"x","version":1}`, ReasonNoIdentity},
		"no source":          {`{"document_id":"d","chunk_id":"c","text":"x","version":1}`, ReasonNoIdentity},
		"a fraction":         {`{"source":"s","document_id":1.5,"chunk_id":"c","text":"x","version":1}`, ReasonWrongType},
		"metadata no object": {`{"source":"s","document_id":"d","chunk_id":"c","text":"x","version":1,"metadata":"[1]"}`, ReasonWrongType},
		"no version":         {`{"source":"s","document_id":"d","chunk_id":"c","text":"x"}`, ReasonBadVersion},
		"a delete without":   {`{"op":"delete","source":"s","document_id":"d","chunk_id":"c"}`, ReasonBadVersion},
	} {
		events, err := decoder(t, nil).DecodeRow(Row{Value: []byte(tt.value)})
		if reason, _ := ReasonOf(err); reason != tt.reason || len(events) > 0 {
			t.Errorf("%s: %v (%s), want %s", name, err, reason, tt.reason)
		}
	}
	_, err := decoder(t, nil).DecodeRow(Row{Value: []byte(`{"source":"s","document_id":"d","chunk_id":"c","text":"x"}`)})
	if !errors.Is(err, ErrNoVersion) {
		t.Errorf("a row without version is not known as such: %v", err)
	}
}

// What a row may say is what an event may say, and each has a version.
func FuzzDecodeRow(f *testing.F) {
	f.Add([]byte(`{"source":"s","document_id":7,"chunk_id":"c","text":"x","version":3,"metadata":"{\"a\":1}"}`), int64(0))
	f.Add([]byte(`{"op":"delete","document_id":"d"}`), int64(5))
	f.Add([]byte(`{"before":null,"after":{"document_id":1,"chunk_id":2,"text":"x"},"op":"r","source":{"lsn":4}}`), int64(5))
	f.Add([]byte(`{"specversion":"1.0","data":{"document_id":"d","chunk_id":"c","text":"x"}}`), int64(1))
	for _, r := range goldens(f) {
		f.Add(r.Value, int64(1))
	}
	var decoders []*Decoder
	for _, change := range []func(*DecoderConfig){
		func(c *DecoderConfig) { c.DefaultSource = "s" },
		func(c *DecoderConfig) { c.DefaultSource, c.Identity = "s", IdentityContent },
		func(c *DecoderConfig) { c.DefaultSource, c.Format = "s", FormatDebezium },
	} {
		decoders = append(decoders, decoder(f, change))
	}
	f.Fuzz(func(t *testing.T, value []byte, asOf int64) {
		r := Row{Value: value, AsOf: Version(asOf)}
		if asOf != 0 && !r.AsOf.Valid() {
			return
		}
		for _, d := range decoders {
			events, err := d.DecodeRow(r)
			if err != nil {
				if _, ok := ReasonOf(err); !ok {
					t.Fatalf("error without a reason: %v", err)
				}
				continue
			}
			for i := range events {
				checkEvent(t, &events[i])
				if !events[i].Version.Valid() {
					t.Errorf("version %d", events[i].Version)
				}
			}
		}
	})
}
