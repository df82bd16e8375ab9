package cost

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestStreamHasExactlySoManyDuplicates(t *testing.T) {
	for _, c := range []struct{ chunks, duplicates, words int }{{1000, 0, 5}, {1000, 150, 5}, {1000, 999, 2}, {1, 0, 30}, {7, 3, 4}} {
		s, err := NewStream(c.chunks, c.duplicates, c.words, 1)
		if err != nil {
			t.Fatal(err)
		}
		different := map[string]bool{}
		for _, text := range s.Texts {
			different[text] = true
			if n := len(strings.Fields(text)); n != c.words {
				t.Fatalf("%v: a text of %d words: %s", c, n, text)
			}
		}
		if len(s.Texts) != c.chunks || s.Distinct != c.chunks-c.duplicates || len(different) != s.Distinct {
			t.Errorf("%v: %d texts, %d of them different, and it says %d", c, len(s.Texts), len(different), s.Distinct)
		}
		again, _ := NewStream(c.chunks, c.duplicates, c.words, 1)
		other, _ := NewStream(c.chunks, c.duplicates, c.words, 2)
		if !slices.Equal(again.Texts, s.Texts) || c.words > 2 && c.chunks > 1 && slices.Equal(other.Texts, s.Texts) {
			t.Errorf("%v: the seed does not make the stream", c)
		}
	}
	for _, c := range []struct{ chunks, duplicates, words int }{{10, 10, 5}, {10, -1, 5}, {0, 0, 5}, {10, 5, 1}} {
		if _, err := NewStream(c.chunks, c.duplicates, c.words, 1); err == nil {
			t.Errorf("%v was accepted", c)
		}
	}
}

func TestParseRates(t *testing.T) {
	for s, want := range map[string]string{
		"0:0.9:0.1":    "0 1/10 1/5 3/10 2/5 1/2 3/5 7/10 4/5 9/10", // added up as float64 this ends before 0.9
		"0.2:0.5:0.2":  "1/5 2/5",
		"0":            "0",
		"0, 0.15,0.99": "0 3/20 99/100",
	} {
		rates, err := ParseRates(s)
		var got []string
		for _, r := range rates {
			got = append(got, r.RatString())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s is %v (%v), want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "1", "0:1:0.1", "0.5:0.1:0.1", "0:0.5:0", "0:0.5", "a:b:c", "0:0.9:0.0001", "-0.1", "0:0.9:-0.1"} {
		if rates, err := ParseRates(s); err == nil {
			t.Errorf("%q was read as %v", s, rates)
		}
	}
}

// memoirs is a pipeline that remembers the texts it has seen, the last capacity
// of them: an ideal one where that is enough.
type memoirs struct{ capacity int }

func (m memoirs) run(_ context.Context, s Stream) (Measured, error) {
	var out Measured
	var known []string
	for _, text := range s.Texts {
		tokens := int64(len(strings.Fields(text)))
		out.Stored, out.Tokens = out.Stored+1, out.Tokens+tokens
		if slices.Contains(known, text) {
			continue
		}
		out.Calls, out.TokensEncoded = out.Calls+1, out.TokensEncoded+tokens
		if known = append(known, text); len(known) > m.capacity {
			known = known[1:]
		}
	}
	return out, nil
}

func config(t *testing.T, chunks int, rates string) SweepConfig {
	t.Helper()
	parsed, err := ParseRates(rates)
	if err != nil {
		t.Fatal(err)
	}
	return SweepConfig{Chunks: chunks, Words: 10, Rates: parsed, Seed: 1, Price: PerThousand(big.NewRat(1, 2))}
}

func TestSweepEqualsThePrediction(t *testing.T) {
	var each []int
	rows, err := Sweep(t.Context(), config(t, 200, "0:0.9:0.3"), memoirs{200}.run, func(r Row) { each = append(each, r.Calls) })
	if err != nil {
		t.Fatal(err)
	}
	// A duplicate saves ten tokens, and a thousand of them half a dollar.
	want := []struct {
		rate  float64
		calls int
		saved string
	}{{0, 200, "0.00"}, {.3, 140, "0.30"}, {.6, 80, "0.60"}, {.9, 20, "0.90"}}
	if len(rows) != len(want) || len(each) != len(want) {
		t.Fatalf("%d rows, told of %d", len(rows), len(each))
	}
	for i, w := range want {
		if r := rows[i]; r.HitRate != w.rate || r.Calls != w.calls || r.Predicted != w.calls || r.Saved.String() != w.saved || r.Rounded || r.Stored != 200 {
			t.Errorf("row %d is %+v, want %+v", i, r, w)
		}
	}
	if err := rows.Check(); err != nil {
		t.Error(err)
	}
	// The control: a cache that forgets.
	rows, err = Sweep(t.Context(), config(t, 200, "0,0.9"), memoirs{3}.run, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = rows.Check()
	if rows[0].Calls != 200 || rows[1].Calls <= rows[1].Predicted || err == nil || !strings.Contains(err.Error(), "hit rate 0.9:") || strings.Contains(err.Error(), "hit rate 0:") {
		t.Errorf("a cache that forgets: %+v, %v", rows, err)
	}
	// Another: chunks that are left out look like hits.
	rows, err = Sweep(t.Context(), config(t, 200, "0.5"), func(context.Context, Stream) (Measured, error) {
		return Measured{Calls: 99, Stored: 199}, nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err = rows.Check(); err == nil || !strings.Contains(err.Error(), "left out") || !strings.Contains(err.Error(), "199 of 200") {
		t.Errorf("chunks that were left out: %v", err)
	}
}

func TestARateThatIsNoWholeNumberOfChunksIsRoundedAndSaid(t *testing.T) {
	rows, err := Sweep(t.Context(), config(t, 10, "0.14,0.15,0.2,0.94"), memoirs{10}.run, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		rate    float64
		calls   int
		rounded bool
	}{{.1, 9, true}, {.2, 8, true}, {.2, 8, false}, {.9, 1, true}} {
		if r := rows[i]; r.HitRate != want.rate || r.Predicted != want.calls || r.Calls != want.calls || r.Rounded != want.rounded {
			t.Errorf("row %d is %+v, want %+v", i, r, want)
		}
	}
	// 0.96 of 10 chunks are all of them, and then none is the first.
	if _, err := Sweep(t.Context(), config(t, 10, "0.96"), memoirs{10}.run, nil); err == nil || !strings.Contains(err.Error(), "a text of its own") {
		t.Errorf("nothing but duplicates: %v", err)
	}
	broken := errors.New("broken")
	if _, err := Sweep(t.Context(), config(t, 10, "0"), func(context.Context, Stream) (Measured, error) { return Measured{}, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("a run that fails: %v", err)
	}
}

func TestPlotsShowTheRows(t *testing.T) {
	rows := Rows{
		{HitRate: 0, Chunks: 10, Calls: 10, Predicted: 10, Saved: NewAmount(big.NewRat(0, 1))},
		{HitRate: .5, Chunks: 10, Calls: 7, Predicted: 5, Saved: NewAmount(big.NewRat(3, 1))},
	}
	want := "     0 │██████████| 10\n" +
		"   0.5 │█████|█░░░  7\n" +
		"     h └──────────\n"
	if got := rows.Bars(10); !strings.HasPrefix(got, want) {
		t.Errorf("drew\n%swant\n%s", got, want)
	}
	picture, err := rows.SVG()
	if err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(bytes.NewReader(picture))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
	for _, text := range []string{"Model calls", "(1−h)·C", "measured", "hit rate h", "Saved"} {
		if !strings.Contains(string(picture), text) {
			t.Errorf("%q does not stand in the picture", text)
		}
	}
}
