package tune

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/chunk"
	"chunktide/embedder"
)

func TestFitFindsTheLine(t *testing.T) {
	x := []float64{1, 2, 4, 8, 16, 32, 64}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, want := range []Line{{T0: 0.005, C: 0.0001}, {T0: 0, C: 0.01}, {T0: 1e-4, C: 3}, {T0: 0.2, C: 0}} {
		var y, noisy []float64
		for _, v := range x {
			y = append(y, want.At(v))
			noisy = append(noisy, want.At(v)*(1+0.02*(2*rng.Float64()-1)))
		}
		if got := Fit(x, y); math.Abs(got.T0-want.T0) > 1e-9 || math.Abs(got.C-want.C) > 1e-9 || got.Error > 1e-6 {
			t.Errorf("%+v, want %+v", got, want)
		}
		got := Fit(x, noisy)
		for _, v := range x {
			if off := math.Abs(got.At(v)-want.At(v)) / want.At(v); off > 0.04 {
				t.Errorf("with 2 %% of noise the fit of %+v is %.1f %% off at %v", want, 100*off, v)
			}
		}
		if got.T0 < 0 || got.C < 0 || got.Error > 0.05 {
			t.Errorf("%+v", got)
		}
	}
	if got := Fit([]float64{4, 4}, []float64{2, 2}); got.T0 != 0 || math.Abs(got.C-0.5) > 1e-12 {
		t.Errorf("one batch only: %+v", got)
	}
	// A line that bends the other way has no negative t0.
	if got := Fit([]float64{1, 2, 4}, []float64{1, 2.5, 6}); got.T0 != 0 || got.C <= 0 {
		t.Errorf("%+v", got)
	}
}

func TestKnee(t *testing.T) {
	gpu := Line{T0: 0.003, C: 0.0001}
	for _, c := range []struct {
		line    Line
		latency float64
		want    int
		bound   bool
	}{
		{gpu, 0, 570, false}, // 19 × 30
		{gpu, 1, 570, false},
		{gpu, 0.013, 100, true},
		{gpu, 0.002, 0, true},
		{Line{C: 0.01}, 0, 1, false},
		{Line{T0: 1}, 0, 1, false},
	} {
		got, bound := c.line.Knee(c.latency)
		if got != c.want || bound != c.bound {
			t.Errorf("%+v under %v: %d, %v; want %d, %v", c.line, c.latency, got, bound, c.want, c.bound)
		}
		if !bound && c.line.C > 0 {
			share := func(x int) float64 { return float64(x) / c.line.At(float64(x)) * c.line.C }
			if share(got) < 0.95-1e-9 || got > 1 && share(got-1) >= 0.95 {
				t.Errorf("%+v: %d is not the smallest batch within 5 %%: %v", c.line, got, share(got))
			}
		}
	}
}

// clockEncoder takes the time that its law says, in the bubble's clock.
type clockEncoder struct {
	cfg    embedder.Config
	law    func(cfg embedder.Config, texts, tokens int) time.Duration
	closed *int
}

func (e clockEncoder) Encode(ctx context.Context, texts []string) ([]chunk.Embedding, error) {
	tokens := 0
	for _, s := range texts {
		tokens += e.Tokens(s)
	}
	select {
	case <-time.After(e.law(e.cfg, len(texts), tokens)):
		return make([]chunk.Embedding, len(texts)), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
func (e clockEncoder) EncodeQuery(context.Context, string) (chunk.Embedding, error) {
	return chunk.Embedding{}, errors.New("not asked for")
}
func (e clockEncoder) Tokens(text string) int { return min(len(strings.Fields(text))+2, 256) }
func (e clockEncoder) TokenIDs(string) ([]int64, error) {
	return nil, errors.New("not asked for")
}
func (e clockEncoder) Recipe() embedder.Recipe {
	return embedder.Recipe{Name: "clock", Encoder: embedder.EncoderBow, MaxTokens: 256}
}
func (e clockEncoder) Close() error { *e.closed++; return nil }

// accelerator has 4 ms for a call and 10 µs for a token; run_tokens beyond
// 1024 cost it 20 %, and a second thread makes it a third faster.
func accelerator(cfg embedder.Config, _, tokens int) time.Duration {
	per := 10 * time.Microsecond
	if cfg.RunTokens > 1024 {
		per = per * 12 / 10
	}
	if cfg.Threads > 1 {
		per = per * 2 / 3
	}
	return 4*time.Millisecond + time.Duration(tokens)*per
}

func tuneClock(t *testing.T, change func(*Options)) (r Report, err error) {
	synctest.Test(t, func(t *testing.T) {
		opened, closed := 0, 0
		open := func(cfg embedder.Config) (embedder.Encoder, error) {
			opened++
			return clockEncoder{cfg: cfg, law: accelerator, closed: &closed}, nil
		}
		o := Options{Threads: []int{4, 2, 1}, RunTokens: []int{128, 512, 1024, 4096}, Windows: []int{1024, 4096, 16384, 65536}, Repeats: 3}
		if change != nil {
			change(&o)
		}
		r, err = Run(t.Context(), embedder.DefaultConfig(), open, o)
		if opened != closed {
			t.Errorf("%d encoders were opened and %d closed", opened, closed)
		}
	})
	return r, err
}

func TestRunFindsTheLawAndChooses(t *testing.T) {
	r, err := tuneClock(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	per := accelerator(embedder.Config{Threads: 2}, 0, 1e6).Seconds() / 1e6
	if math.Abs(r.Tokens.T0-0.004) > 1e-5 || math.Abs(r.Tokens.C-per)/per > 0.01 || r.Tokens.Error > 0.01 {
		t.Errorf("per token %+v, want t0 4 ms and c %v", r.Tokens, per)
	}
	if len(r.Lengths) != 2 || r.Lengths[0].Tokens != 32 || math.Abs(r.Lengths[0].C-32*per)/per > 0.5 || r.Lengths[0].Knee < 300 {
		t.Errorf("%+v", r.Lengths)
	}
	// 2 threads are as good as 4; a run cannot hold a text of 256 in 128
	// tokens; the knee lies at 11,400 tokens.
	if r.Choice.Threads != 2 || r.Choice.RunTokens != 512 || r.Choice.BatchTokens != 16384 || r.Choice.BatchEvents != 16384/meanTokens {
		t.Errorf("%+v", r.Choice)
	}
	if r.ModelVersion != "clock" || r.KneeTokens < 11_000 || r.KneeTokens > 12_000 {
		t.Errorf("%s, knee %d", r.ModelVersion, r.KneeTokens)
	}
}

func TestNoChoiceExceedsTheLatency(t *testing.T) {
	r, err := tuneClock(t, func(o *Options) { o.Latency = 50 * time.Millisecond })
	if err != nil || r.Choice.BatchTokens != 4096 {
		t.Errorf("%v, %+v", err, r.Choice)
	}
	for _, l := range r.Lengths {
		if !l.Bound || l.At(float64(l.Knee)) > 0.05 {
			t.Errorf("%+v takes %v", l, l.At(float64(l.Knee)))
		}
	}
	_, err = tuneClock(t, func(o *Options) { o.Latency = time.Millisecond })
	if !errors.Is(err, ErrLatency) || !strings.Contains(err.Error(), "1024 tokens") {
		t.Errorf("%v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		closed := 0
		_, err := Run(ctx, embedder.DefaultConfig(), func(cfg embedder.Config) (embedder.Encoder, error) {
			return clockEncoder{cfg: cfg, law: accelerator, closed: &closed}, nil
		}, Options{Repeats: 1000})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
	broken := errors.New("no model")
	if _, err := Run(t.Context(), embedder.DefaultConfig(), func(embedder.Config) (embedder.Encoder, error) { return nil, broken }, Options{}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestPlots(t *testing.T) {
	r, err := tuneClock(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.ModelVersion = "<odd> & name"
	text := r.Text(60, 12)
	for _, want := range []string{"a texts of 32 tokens", "b texts of 128 tokens", "tokens/s", "----", "|", "b"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if lines := strings.Split(text, "\n"); slices.ContainsFunc(lines, func(l string) bool { return len([]rune(l)) > 90 }) {
		t.Errorf("a line is longer than a terminal:\n%s", text)
	}
	svg, points := r.SVG(), 0
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF { //nolint:errorlint // the decoder returns it bare
			break
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			points++
		}
	}
	if want := len(r.Points) + len(r.Lengths); points != want || !strings.Contains(svg, "ceiling") || strings.Contains(svg, "NaN") {
		t.Errorf("%d points, want %d", points, want)
	}
	// Little was measured: nothing to divide by.
	one := Report{Points: []Point{{Texts: 1, Tokens: 8, Seconds: 1}}, Tokens: Line{C: 0.125}}
	if s := one.Text(20, 5) + one.SVG(); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
		t.Error(s)
	}
}
