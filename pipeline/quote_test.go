package pipeline

import (
	"errors"
	"strings"
	"testing"

	"chunktide/chunk"
)

func TestErrorsQuoteNoText(t *testing.T) {
	const text = "the quick brown fox jumps over the lazy dog"
	refused := func(said string) error { return chunk.Permanent(chunk.ReasonIndexRefused, errors.New(said)) }
	for _, tt := range []struct {
		text, said string
		kept       bool
	}{
		{text, "wrong vector dimension: expected 384, got 3", true},
		{text, "the quick brow", true}, // less than can be told from chance
		{text, "", true},
		{"", "anything at all, but no text", true},
		{"dog", "no such dog", true},
		{text, "bad value " + text, false},
		{text, `bad value "fox jumps over the lazy"…`, false},
		{"hunter2hunter2", "bad value hunter2hunter2!", false},
		{"ein Text mit Ümlauten und mehr", "schlecht: mit Ümlauten und", false},
	} {
		got := withoutText(refused(tt.said), tt.text)
		reason, ok := chunk.ReasonOf(got)
		if kept := got.Error() == refused(tt.said).Error(); kept != tt.kept || !ok || reason != chunk.ReasonIndexRefused {
			t.Errorf("%q of %q became %q (%s)", tt.said, tt.text, got, reason)
		}
	}
}

func FuzzErrorsQuoteNoText(f *testing.F) {
	f.Add("some text that is long enough", "before ", 3, 24)
	f.Fuzz(func(t *testing.T, text, before string, from, to int) {
		if from < 0 || to > len(text) || to-from < quoteLength {
			return
		}
		err := withoutText(chunk.Permanentf(chunk.ReasonIndexRefused, "%s%s", before, text[from:to]), text)
		if quoted := text[from:to]; strings.Contains(err.Error(), quoted) && !errors.Is(err, errQuotes) {
			t.Errorf("%q quotes %q", err, text)
		}
	})
}
