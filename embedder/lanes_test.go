package embedder

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/chunk"
)

// fakeModel gives each text a vector that is made of its ids alone. A run
// takes a millisecond for each padded token, in the bubble's time.
type fakeModel struct {
	mu   sync.Mutex
	runs []run
	busy time.Duration
	room int // padded tokens; 0: no bound
	fail func(r run) error
}

const fakeHidden = 2

func (m *fakeModel) run(ctx context.Context, r run, use func([]float32)) error {
	m.mu.Lock()
	m.runs = append(m.runs, r)
	m.busy += time.Duration(r.padded()) * time.Millisecond
	m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(r); err != nil {
			return err
		}
	}
	if m.room > 0 && r.padded() > m.room {
		return fmt.Errorf("Error running network: Non-zero status code returned while running Attention node. Name:'a' Status Message: "+
			"bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size %d", 4*r.padded())
	}
	select {
	case <-time.After(time.Duration(r.padded()) * time.Millisecond):
	case <-ctx.Done():
		return errors.New("terminated")
	}
	out := make([]float32, r.padded()*fakeHidden)
	for i, t := range r.texts {
		for j, id := range t.ids {
			at := (i*r.length + j) * fakeHidden
			out[at], out[at+1] = float32(id), float32(len(t.ids))
		}
	}
	use(out)
	return nil
}

func (m *fakeModel) close() error { return nil }

// lengthWords makes a text of n letters n tokens, each with the id n.
type lengthWords struct{}

func (lengthWords) Encode(dst []int64, text string, most int) ([]int64, int) {
	if strings.HasPrefix(text, "!") {
		panic("the tokenizer's bug")
	}
	for range min(len(text), most) {
		dst = append(dst, int64(len(text)))
	}
	return dst, len(text)
}
func (lengthWords) Count(text string) int { return len(text) }
func (lengthWords) PadID() int64          { return 0 }
func (lengthWords) VocabSize() int        { return 1 }

// fakeONNX is an encoder over fake models, with so many lanes on each.
func fakeONNX(lanes int, limits shapes, models ...*fakeModel) *ONNX {
	cfg := DefaultConfig()
	cfg.Threads, cfg.Devices = lanes, make([]int, len(models))
	e := &ONNX{
		cfg: cfg, words: lengthWords{}, shapes: limits, metrics: newMetrics(nil),
		sig:    signature{hidden: fakeHidden},
		recipe: Recipe{Pooling: PoolMean, MaxTokens: limits.longest, Overflow: OverflowTruncate, Dim: fakeHidden},
	}
	for _, m := range models {
		e.models = append(e.models, m)
	}
	e.prepare(nil)
	return e
}

func letters(n int) string { return strings.Repeat("x", n) }

func cpuShapes(budget, longest, lanes int) shapes {
	return shapes{budget: budget, texts: 1 << 30, step: 1, longest: longest, perRun: cpuPerRun, lanes: lanes, least: max(budget/8, 1)}
}

// Each text gets its own vector, in its own place, whatever the shapes, the
// lanes, and the memory are.
func TestResultsGoToTheirOwnTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		for range 300 {
			limits := shapes{budget: 64 + rng.IntN(600), texts: 1 + rng.IntN(40), step: 1 + rng.IntN(9), longest: 64, perRun: rng.IntN(100), lanes: 1 + rng.IntN(4), least: 1 + rng.IntN(100)}
			m := &fakeModel{}
			if rng.IntN(2) == 0 {
				m.room = 64 + rng.IntN(300)
			}
			e := fakeONNX(limits.lanes, limits, m)
			texts := make([]string, rng.IntN(200))
			for i := range texts {
				texts[i] = letters(rng.IntN(80)) // some are empty, some too long
			}
			out, err := e.Encode(t.Context(), texts)
			var refused *chunk.Rejected
			if err != nil && !errors.As(err, &refused) {
				t.Fatalf("%+v: %v", limits, err)
			}
			for i, s := range texts {
				switch {
				case s == "":
					if refused == nil || refused.Texts[i] == nil || out[i].Vector != nil {
						t.Fatalf("%+v: the empty text %d was not refused", limits, i)
					}
				case out[i].Vector == nil || out[i].Vector[0] != float32(len(s)) || out[i].Tokens != min(len(s), 64) || out[i].Truncated != (len(s) > 64):
					t.Fatalf("%+v: text %d of %d letters has %+v", limits, i, len(s), out[i])
				}
			}
		}
	})
}

// An earlier call goes first; what its tail leaves free goes to the next.
func TestCallsShareTheLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeModel{}
		e := fakeONNX(2, cpuShapes(100, 100, 2), m)
		texts := func(n, length int) []string {
			out := make([]string, n)
			for i := range out {
				out[i] = letters(length)
			}
			return out
		}
		first, second := texts(200, 10), texts(200, 5)
		start := time.Now()
		var done [2]time.Duration
		var wg sync.WaitGroup
		wg.Go(func() { encode(t, e, first...); done[0] = time.Since(start) })
		synctest.Wait()
		wg.Go(func() { encode(t, e, second...); done[1] = time.Since(start) })
		wg.Wait()

		whole := time.Duration(200*10+200*5) * time.Millisecond / 2 // of two lanes that never idle
		if done[1] > whole*102/100 {
			t.Errorf("two calls took %v, and without an idle lane %v", done[1], whole)
		}
		// The second call's runs begin when the first has none left to begin.
		seen := false
		for i, r := range m.runs {
			second := len(r.texts[0].ids) == 5
			if seen && !second {
				t.Fatalf("run %d of the first call began after one of the second", i)
			}
			seen = seen || second
		}
		if alone := 1000 * time.Millisecond; done[0] > alone*105/100 {
			t.Errorf("the first call took %v beside a second, and would take %v alone", done[0], alone)
		}
	})
}

// A call alone leaves no lane idle for long, however few its texts are. The
// control has no smaller runs at the end.
func TestTheTailIsBalanced(t *testing.T) {
	idle := func(least int) float64 {
		var worst float64
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 9))
			for range 40 {
				m := &fakeModel{}
				limits := cpuShapes(512, 256, 4)
				limits.least = least
				e := fakeONNX(4, limits, m)
				texts := make([]string, 120+rng.IntN(200))
				for i := range texts {
					texts[i] = letters(1 + rng.IntN(100))
				}
				start := time.Now()
				encode(t, e, texts...)
				worst = max(worst, 1-m.busy.Seconds()/4/time.Since(start).Seconds())
			}
		})
		return worst
	}
	if with, without := idle(64), idle(512); with > 0.03 || without < 2*with {
		t.Errorf("lanes are idle for %.1f %% of a call, and %.1f %% if its last runs are as large as the others", 100*with, 100*without)
	}
}

// A call that gives up neither keeps a lane nor its place in the queue.
func TestALaneIsNeverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeModel{}
		e := fakeONNX(2, cpuShapes(100, 100, 2), m)
		broken := errors.New("a kernel failed")
		m.fail = func(r run) error {
			switch len(r.texts[0].ids) {
			case 13:
				return broken
			case 14:
				panic("a bug")
			}
			return nil
		}
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Millisecond)
				defer cancel()
				texts := make([]string, 30)
				for k := range texts {
					texts[k] = letters(1 + (i+k)%12)
				}
				if i%5 == 0 {
					texts[3] = letters(13 + i%2)
				}
				defer func() { _ = recover() }()
				_, _ = e.Encode(ctx, texts)
			})
		}
		wg.Wait()
		if len(e.lanes.free) != 2 || len(e.lanes.waiting) != 0 {
			t.Fatalf("%d lanes are free, and %d wait", len(e.lanes.free), len(e.lanes.waiting))
		}
		encode(t, e, letters(3))
	})
}

// Panics reach the caller, who takes them for one text's refusal.
func TestPanicsReachTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeModel{fail: func(r run) error {
			if len(r.texts[0].ids) == 13 {
				panic("the model's bug")
			}
			return nil
		}}
		e := fakeONNX(2, cpuShapes(100, 100, 2), m)
		for bad, want := range map[string]string{letters(13): "the model's bug", "!" + letters(4*tokenizeBytes): "the tokenizer's bug"} {
			func() {
				defer func() {
					if got := recover(); got != want {
						t.Errorf("recovered %v, want %s", got, want)
					}
				}()
				_, _ = e.Encode(t.Context(), []string{letters(40), letters(50), letters(60), bad, letters(1)})
			}()
		}
	})
}
