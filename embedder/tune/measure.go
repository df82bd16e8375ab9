package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"

	"chunktide/embedder"
)

// meanTokens is the mean length of the mixed texts, like that of paragraphs
// of documentation; the 95th percentile is about 180.
const meanTokens = 50

type tuner struct {
	cfg       embedder.Config
	open      Open
	o         Options
	maxTokens int
	report    Report
}

func (t *tuner) tell(format string, args ...any) {
	if t.o.Progress != nil {
		t.o.Progress(fmt.Sprintf(format, args...))
	}
}

func (t *tuner) gpu() bool { return t.cfg.Provider != embedder.ProviderCPU }

// size chooses what was left open, for the machine and the model.
func (t *tuner) size() error {
	err := t.with(t.cfg, func(e embedder.Encoder) error {
		t.report.ModelVersion = e.Recipe().ModelVersion()
		t.maxTokens = e.Recipe().MaxTokens
		return nil
	})
	if err != nil {
		return err
	}
	cores := runtime.GOMAXPROCS(0)
	def := Options{Batches: []int{1, 2, 4, 8, 16, 32, 64}, Lengths: []int{32, 128}, Threads: []int{1, cores / 2, cores},
		RunTokens: []int{256, 512, 1024, 2048}, Windows: []int{1024, 2048, 4096, 8192, 16384}}
	if t.gpu() {
		def = Options{Batches: []int{1, 4, 16, 64, 256, 1024}, Lengths: []int{32, 128}, Threads: []int{1, 2, 4},
			RunTokens: []int{4096, 16384, 32768, 65536}, Windows: []int{4096, 16384, 32768, 65536, 131072}}
	}
	if t.cfg.Encoder != embedder.EncoderONNX {
		def.Threads, def.RunTokens = nil, nil // it has none
	}
	for _, list := range []struct{ given, other *[]int }{
		{&t.o.Batches, &def.Batches}, {&t.o.Lengths, &def.Lengths}, {&t.o.Threads, &def.Threads},
		{&t.o.RunTokens, &def.RunTokens}, {&t.o.Windows, &def.Windows},
	} {
		if len(*list.given) == 0 {
			*list.given = *list.other
		}
		*list.given = slices.Compact(slices.Sorted(slices.Values(*list.given)))
		*list.given = slices.DeleteFunc(*list.given, func(n int) bool { return n < 1 })
	}
	if t.maxTokens > 0 {
		tooLong := func(n int) bool { return n > t.maxTokens }
		if t.o.Lengths = slices.DeleteFunc(t.o.Lengths, tooLong); len(t.o.Lengths) == 0 {
			t.o.Lengths = []int{t.maxTokens}
		}
		t.o.RunTokens = slices.DeleteFunc(t.o.RunTokens, func(n int) bool { return n < t.maxTokens })
	}
	return nil
}

// with opens an encoder and closes it again.
func (t *tuner) with(cfg embedder.Config, do func(embedder.Encoder) error) (err error) {
	e, err := t.open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return do(e)
}

// seconds is how long a call takes.
func seconds(ctx context.Context, e embedder.Encoder, texts []string) (float64, error) {
	start := time.Now()
	if _, err := e.Encode(ctx, texts); err != nil {
		return 0, fmt.Errorf("encode %d texts: %w", len(texts), err)
	}
	return max(time.Since(start).Seconds(), 1e-9), nil
}

// tokensFor is how many tokens of mixed texts tell candidates apart: several
// runs for each of many lanes.
func (t *tuner) tokensFor() int { return t.o.Windows[len(t.o.Windows)/2] }

func (t *tuner) chooseThreads(ctx context.Context) (err error) {
	t.report.Threads, err = t.compare(ctx, "embedder.threads", t.o.Threads, func(cfg *embedder.Config, n int) { cfg.Threads = n })
	if len(t.report.Threads) > 0 {
		t.cfg.Threads = smallestNear(t.report.Threads).Value
		t.report.Choice.Threads = t.cfg.Threads
	}
	return err
}

func (t *tuner) chooseRunTokens(ctx context.Context) (err error) {
	t.report.RunTokens, err = t.compare(ctx, "embedder.run_tokens", t.o.RunTokens, func(cfg *embedder.Config, n int) { cfg.RunTokens = n })
	if len(t.report.RunTokens) > 0 {
		t.cfg.RunTokens = smallestNear(t.report.RunTokens).Value
		t.report.Choice.RunTokens = t.cfg.RunTokens
	}
	return err
}

// compare measures each candidate, in turns.
func (t *tuner) compare(ctx context.Context, name string, values []int, set func(*embedder.Config, int)) ([]Candidate, error) {
	times := make([][]float64, len(values))
	tokens := make([]int, len(values))
	for round := range t.o.Repeats {
		for i, value := range values {
			t.tell("%s %d, round %d of %d", name, value, round+1, t.o.Repeats)
			cfg := t.cfg
			set(&cfg, value)
			err := t.with(cfg, func(e embedder.Encoder) error {
				texts, n := mixed(e, t.tokensFor())
				if _, err := seconds(ctx, e, texts[:min(len(texts), 8)]); err != nil { // warms up
					return err
				}
				s, err := seconds(ctx, e, texts)
				times[i], tokens[i] = append(times[i], s), n
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s %d: %w", name, value, err)
			}
		}
	}
	return candidates(values, times, tokens), nil
}

func candidates(values []int, times [][]float64, tokens []int) []Candidate {
	out := make([]Candidate, len(values))
	for i, v := range values {
		s := Median(times[i])
		out[i] = Candidate{Value: v, Seconds: s, TokensPerSecond: float64(tokens[i]) / s}
	}
	return out
}

// measureGrid measures t(B) for each length, and fits it.
func (t *tuner) measureGrid(ctx context.Context) error {
	return t.with(t.cfg, func(e embedder.Encoder) error {
		times := map[[2]int][]float64{}
		exact := make([]int, len(t.o.Lengths))
		for round := range t.o.Repeats + 1 { // the first warms up
			t.tell("batches of %v texts of %v tokens, round %d of %d", t.o.Batches, t.o.Lengths, round, t.o.Repeats)
			for i, length := range t.o.Lengths {
				var text string
				text, exact[i] = ofLength(e, length)
				for _, batch := range t.o.Batches {
					s, err := seconds(ctx, e, slices.Repeat([]string{text}, batch))
					if err != nil {
						return err
					}
					if key := [2]int{i, batch}; round > 0 {
						times[key] = append(times[key], s)
					}
				}
			}
		}
		var allX, allY []float64
		for i, length := range exact {
			var x, y []float64
			for _, batch := range t.o.Batches {
				s := Median(times[[2]int{i, batch}])
				t.report.Points = append(t.report.Points, Point{Texts: batch, Tokens: length, Seconds: s})
				x, y = append(x, float64(batch)), append(y, s)
				allX, allY = append(allX, float64(batch*length)), append(allY, s)
			}
			f := LengthFit{Tokens: length, Line: Fit(x, y)}
			f.Knee, f.Bound = f.Line.Knee(t.o.Latency.Seconds())
			t.report.Lengths = append(t.report.Lengths, f)
		}
		t.report.Tokens = Fit(allX, allY)
		t.report.KneeTokens, _ = t.report.Tokens.Knee(t.o.Latency.Seconds())
		return nil
	})
}

// measureWindows measures calls of mixed texts, padding and all.
func (t *tuner) measureWindows(ctx context.Context) error {
	return t.with(t.cfg, func(e embedder.Encoder) error {
		times := make([][]float64, len(t.o.Windows))
		tokens := make([]int, len(t.o.Windows))
		for round := range t.o.Repeats {
			t.tell("batches of %v tokens of mixed texts, round %d of %d", t.o.Windows, round+1, t.o.Repeats)
			for i, window := range t.o.Windows {
				texts, n := mixed(e, window)
				s, err := seconds(ctx, e, texts)
				if err != nil {
					return err
				}
				times[i], tokens[i] = append(times[i], s), n
			}
		}
		t.report.Windows = candidates(t.o.Windows, times, tokens)
		return nil
	})
}

// vocabulary is common words: one token each in most tokenizers.
var vocabulary = strings.Fields("the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were all her she there would their")

// ofLength is a text of so many tokens, or the most that is not more.
func ofLength(e embedder.Encoder, tokens int) (text string, exact int) {
	var words []string
	for range tokens {
		words = append(words, vocabulary[len(words)%len(vocabulary)])
	}
	for len(words) > 1 && e.Tokens(strings.Join(words, " ")) > tokens {
		words = words[:len(words)-1]
	}
	text = strings.Join(words, " ")
	return text, e.Tokens(text)
}

// mixed is texts of mixed lengths, log-normal, of so many tokens in all or a
// little more; the same each time.
func mixed(e embedder.Encoder, tokens int) (texts []string, exact int) {
	rng := rand.New(rand.NewPCG(3, 4))
	for exact < tokens {
		n := int(min(max(math.Exp(3.2+1.15*rng.NormFloat64()), 1), 240, float64(tokens-exact)))
		words := make([]string, max(n, 1))
		for i := range words {
			words[i] = vocabulary[rng.IntN(len(vocabulary))]
		}
		text := strings.Join(words, " ")
		texts, exact = append(texts, text), exact+max(e.Tokens(text), 1)
	}
	return texts, exact
}
