package chunk

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestIDsNeverCollide(t *testing.T) {
	ids := map[ID]string{}
	for name, id := range map[string]ID{
		"ab,c,d": NewID("ab", "c", "d"), "a,bc,d": NewID("a", "bc", "d"), "a,b,cd": NewID("a", "b", "cd"), "a,b,": NewID("a", "b", ""),
		"document": NewDocumentID("a", "b"), "document 2": NewDocumentID("ab", ""), "content": NewContentID("a", "b", "cd"), "content 2": NewContentID("a", "b", ""),
	} {
		if other, ok := ids[id]; ok {
			t.Errorf("%s and %s share id %s", name, other, id)
		}
		ids[id] = name
	}
}

// The id of a chunk must never change: it is what lies in people's indexes.
func TestIDIsPinned(t *testing.T) {
	const want = "7d357a40-9503-9e38-df22-f42fc182da86"
	id := NewID("docs", "handbook", "intro")
	if id.String() != want {
		t.Errorf("id %s, want %s", id, want)
	}
	for _, form := range []string{want, strings.ToUpper(want), strings.ReplaceAll(want, "-", "")} {
		if got, err := ParseID(form); err != nil || got != id {
			t.Errorf("ParseID(%q) = %s, %v", form, got, err)
		}
	}
	if text, err := json.Marshal(id); err != nil || string(text) != `"`+want+`"` {
		t.Errorf("as JSON it is %s, %v", text, err)
	}
	var back ID
	if err := json.Unmarshal([]byte(`"`+want+`"`), &back); err != nil || back != id {
		t.Errorf("from JSON it is %s, %v", back, err)
	}
	for _, bad := range []string{"", "1", want + "0", "7d357a409503-9e38-df22-f42f-c182da86", strings.Repeat("g", 32)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) took it", bad)
		}
	}
}

func TestHashRoundTrip(t *testing.T) {
	h := HashText("")
	if h.String() != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("SHA-256 of nothing is %s", h)
	}
	if got, err := ParseHash(h.String()); err != nil || got != h {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "ab", strings.Repeat("x", 64)} {
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("ParseHash(%q) took it", bad)
		}
	}
}

func TestVersionBounds(t *testing.T) {
	for s, want := range map[string]Version{"1": 1, "9007199254740991": MaxVersion} {
		if v, err := ParseVersion(s); err != nil || v != want || !v.Valid() {
			t.Errorf("%s: %d, %v", s, v, err)
		}
	}
	for _, s := range []string{"0", "-1", "9007199254740992", "99999999999999999999", "1.0", "1e3", "x", ""} {
		if v, err := ParseVersion(s); err == nil {
			t.Errorf("%s: %d, want an error", s, v)
		}
	}
}

func TestFallbackVersions(t *testing.T) {
	at := time.UnixMilli(1_795_439_291_480)
	a, _ := FallbackVersion(at, 10)
	b, _ := FallbackVersion(at, 11)
	c, _ := FallbackVersion(at.Add(time.Millisecond), 0)
	if a >= b || b >= c || !c.Valid() {
		t.Errorf("%d, %d, %d do not rise", a, b, c)
	}
	if _, ok := FallbackVersion(time.Date(2039, 9, 7, 15, 47, 35, 0, time.UTC), 0); !ok {
		t.Error("refused in September 2039 already")
	}
	for name, at := range map[string]time.Time{"2040": time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC), "epoch": time.UnixMilli(0), "zero": {}} {
		if v, ok := FallbackVersion(at, 0); ok {
			t.Errorf("%s: %d", name, v)
		}
	}
}

func TestErrorClasses(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", Permanentf(ReasonTooDeep, "too deep"))
	if reason, ok := ReasonOf(err); !ok || reason != ReasonTooDeep {
		t.Errorf("%s, %t", reason, ok)
	}
	if _, ok := ReasonOf(errors.New("other")); ok {
		t.Error("any error is permanent")
	}
	refused := &Rejected{Texts: map[int]error{7: errors.New("b"), 3: errors.New("a")}}
	if got := refused.Error(); got != "2 texts refused; text 3: a" {
		t.Error(got)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	const password = "hunter2"
	holder := struct{ Password Secret }{password}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "password", holder.Password, "holder", holder)
	asJSON, _ := json.Marshal(holder)
	for name, out := range map[string]string{
		"%v": fmt.Sprintf("%v", holder), "%+v": fmt.Sprintf("%+v", holder), "%#v": fmt.Sprintf("%#v", holder),
		"%s": fmt.Sprintf("%s", holder), "%q": fmt.Sprintf("%q", holder.Password), "%x": fmt.Sprintf("%x", holder.Password),
		"json": string(asJSON), "slog": logged.String(),
	} {
		if strings.Contains(out, password) || strings.Contains(out, fmt.Sprintf("%x", password)) {
			t.Errorf("%s prints the secret: %s", name, out)
		}
	}
	if holder.Password.Reveal() != password || Secret("").String() != "" {
		t.Error("Reveal or the empty secret is wrong")
	}
}
