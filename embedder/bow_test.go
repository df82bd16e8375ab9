package embedder

import (
	"context"
	"errors"
	"math"
	"testing"

	"chunktide/chunk"
)

// The buckets were computed by the textbook's Python.
func TestBowVectors(t *testing.T) {
	b := NewBow("", nil)
	for text, want := range map[string]map[int]float64{
		"To reset your password open settings and choose account recovery.": {
			41: .316228, 47: .316228, 49: .316228, 56: .316228, 79: .316228, 81: .316228, 95: .316228, 105: .316228, 120: .316228, 153: .316228,
		},
		"Ünïcode\x1cSPLITS on\u2003it it": {36: .377964, 80: .377964, 112: .377964, 240: .755929},
	} {
		out, err := b.Encode(context.Background(), []string{text})
		if err != nil {
			t.Fatal(err)
		}
		if len(out[0].Vector) != 256 || out[0].Tokens != b.Tokens(text) {
			t.Errorf("%q: %d values, %d tokens", text, len(out[0].Vector), out[0].Tokens)
		}
		for i, v := range out[0].Vector {
			if math.Abs(float64(v)-want[i]) > 1e-6 {
				t.Errorf("%q: value %d is %v, want %v", text, i, v, want[i])
			}
		}
	}
	if r := b.Recipe(); r.ModelVersion() != "demo-bow-v1" || r.Dim != 256 {
		t.Errorf("recipe %+v", r)
	}
}

func TestBowRejectsNoWords(t *testing.T) {
	b := NewBow("", nil)
	out, err := b.Encode(context.Background(), []string{"one", " \n ", "two"})
	var rejected *chunk.Rejected
	if !errors.As(err, &rejected) || len(rejected.Texts) != 1 {
		t.Fatalf("error %v", err)
	}
	if reason, _ := chunk.ReasonOf(rejected.Texts[1]); reason != chunk.ReasonBadVector {
		t.Errorf("reason %s", reason)
	}
	if len(out) != 3 || out[0].Vector == nil || out[1].Vector != nil || out[2].Vector == nil {
		t.Error("the other texts were not served in their places")
	}
	if _, err := b.EncodeQuery(context.Background(), ""); err == nil {
		t.Error("a query without words was encoded")
	}
}
