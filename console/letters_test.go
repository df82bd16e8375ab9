package console

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestShapes(t *testing.T) {
	for value, want := range map[string]string{
		`{"op":"upsert","text":"a secret","version":7,"metadata":{"a":1,"b":[2]},"tags":["x"],"ok":true,"none":null}`: `{op: text of 6, text: text of 8, version: 7, metadata: object of 2, tags: list of 1, ok: true, none: null}`,
		`{"text":"grüße"}`:           `{text: text of 5}`,
		`{}`:                         `{}`,
		`{"op":"upsert","text":"cut`: `{op: text of 6, text: …} — broken after byte 21`,
		`{"op":"upsert" "text"}`:     `{op: text of 6} — broken after byte 15`,
		`{"a b":1,"":2}`:             `{a name of 3 bytes: 1, a name of 0 bytes: 2}`,
		`["a secret"]`:               `a list, no object`,
		`"a secret"`:                 `a text of 8, no object`,
		`null`:                       `null, no object`,
		`12`:                         `a single value, no object`,
		`a secret`:                   `no JSON, from byte 0 of 8`,
		"\xff\xfe":                   `bytes that are no text, from byte 0 of 2`,
		``:                           `an empty value`,
		`{} {}`:                      `{}, and more behind it`,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1}`: `{a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1, and 2 more}`,
		`{"n":123456789012345678901234567890123}`:                                               `{n: a number of 33 digits}`,
	} {
		// Whether the colon before a text that is cut off counts as read differs between Go 1.26 (byte 22) and 1.27.
		if got := strings.ReplaceAll(Shape([]byte(value)), "byte 22", "byte 21"); got != want {
			t.Errorf("%s\n got %s\nwant %s", value, got, want)
		}
	}
	if got := Shape(nil); got != "no value (a tombstone)" {
		t.Errorf("nil: %s", got)
	}
	if got := Shape(make([]byte, shapeBytes+1)); got != "1048577 bytes, too many to look at" {
		t.Errorf("large: %s", got)
	}
}

// No preview holds what a text says, whatever the record looks like.
func FuzzShape(f *testing.F) {
	const secret = "zQ7 secret text <b>"
	for _, s := range []string{`{"op":"upsert","text":"%"}`, `{"text":"%`, `{"%":1}`, `["%"]`, `"%"`, `%`, `{"a":{"%":"%"}}`, `{"text":"%"} %`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, form string) {
		quoted, _ := json.Marshal(secret)
		for _, s := range []string{secret, strings.Trim(string(quoted), `"`)} {
			got := Shape([]byte(strings.ReplaceAll(form, "%", s)))
			if strings.Contains(got, "secret") && !strings.Contains(form, "secret") {
				t.Errorf("%q tells %q", form, got)
			}
			if len(got) > 2000 || strings.ContainsAny(got, "<>\n") {
				t.Errorf("%q has the preview %q", form, got)
			}
		}
	})
}
