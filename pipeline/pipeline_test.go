package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/chunk"
)

func TestBatchBecomesTheHighestVersionOfEachChunk(t *testing.T) {
	type m = map[string]string
	// Whether a late event costs a model call depends on whether the batch
	// before it is durable yet.
	const either = -1
	var l log
	tests := []struct {
		name     string
		batches  [][]chunk.Event
		want     m
		encoded  int
		rejected int
	}{
		{"two chunks, one text, one model call", [][]chunk.Event{{l.put("a", "x", 1), l.put("b", "x", 1)}}, m{"a": "x", "b": "x"}, 1, 0},
		{"an edit in the same batch skips the text before it", [][]chunk.Event{{l.put("a", "x", 1), l.put("a", "y", 2)}}, m{"a": "y"}, 1, 0},
		{"arrival order does not matter", [][]chunk.Event{{l.put("a", "y", 2), l.put("a", "x", 1)}}, m{"a": "y"}, 1, 0},
		{"nor does it across batches", [][]chunk.Event{{l.put("a", "y", 2)}, {l.put("a", "x", 1)}}, m{"a": "y"}, either, 0},
		{"of one version the first stays", [][]chunk.Event{{l.put("a", "x", 1), l.put("a", "y", 1)}}, m{"a": "x"}, 1, 0},
		{"a delete ends it", [][]chunk.Event{{l.put("a", "x", 1)}, {l.del("a", 2)}}, m{}, 1, 0},
		{"a late upsert does not bring it back", [][]chunk.Event{{l.del("a", 2)}, {l.put("a", "x", 1)}}, m{}, either, 0},
		{"put and delete in one batch need no model", [][]chunk.Event{{l.put("a", "x", 1), l.del("a", 2)}}, m{}, 0, 0},
		{"a tombstone deletes what precedes it", [][]chunk.Event{{l.put("a", "x", 7)}, {l.tombstone("a")}}, m{}, 1, 0},
		{"in the same batch too, without a model call", [][]chunk.Event{{l.put("a", "x", 7), l.tombstone("a")}}, m{}, 0, 0},
		{"and the next version brings it back", [][]chunk.Event{{l.put("a", "x", 7), l.tombstone("a")}, {l.put("a", "z", 8)}}, m{"a": "z"}, 1, 0},
		{"in the same batch too (2)", [][]chunk.Event{{l.put("a", "x", 7), l.tombstone("a"), l.put("a", "z", 8)}}, m{"a": "z"}, 1, 0},
		{"an unchanged text keeps the stored one", [][]chunk.Event{{l.put("a", "x", 1)}, {l.unchanged("a", 2)}}, m{"a": "x"}, 1, 0},
		{"or the one before it in the batch", [][]chunk.Event{{l.put("a", "x", 1), l.unchanged("a", 2), l.unchanged("a", 3)}}, m{"a": "x"}, 1, 0},
		{"an unchanged text nobody knows is rejected", [][]chunk.Event{{l.unchanged("a", 2), l.put("b", "x", 1)}}, m{"b": "x"}, 1, 1},
		{"an unchanged text after a delete is rejected", [][]chunk.Event{{l.put("a", "x", 1), l.del("a", 2), l.unchanged("a", 3)}}, m{}, 0, 1},
		{"nor after a tombstone of the same batch", [][]chunk.Event{{l.put("a", "x", 1)}, {l.tombstone("a"), l.unchanged("a", 3)}}, m{}, 1, 1},
		{"unless a new text comes between", [][]chunk.Event{{l.put("a", "x", 1), l.tombstone("a"), l.put("a", "y", 2), l.unchanged("a", 3)}}, m{"a": "y"}, 1, 0},
		{"an empty batch is acknowledged", [][]chunk.Event{{}}, m{}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line := newLine(tt.batches...)
			if err := line.run(); err != nil {
				t.Fatal(err)
			}
			if got := line.sink.live(l.ids); !sameTexts(got, tt.want) {
				t.Errorf("index holds %v, want %v", got, tt.want)
			}
			if len(line.encoder.texts) != tt.encoded && tt.encoded != either {
				t.Errorf("%d model calls (%q), want %d", len(line.encoder.texts), line.encoder.texts, tt.encoded)
			}
			if len(line.source.rejected) != tt.rejected {
				t.Errorf("rejected %v, want %d", line.source.rejected, tt.rejected)
			}
			if line.source.acked != len(tt.batches) {
				t.Errorf("%d batches acknowledged, want %d", line.source.acked, len(tt.batches))
			}
		})
	}
}

func TestUnchangedTextRefreshesVersionAndKeepsTheVector(t *testing.T) {
	var l log
	line := newLine([]chunk.Event{l.put("a", "x", 1)}, []chunk.Event{l.unchanged("a", 9)})
	if err := line.run(); err != nil {
		t.Fatal(err)
	}
	st := line.sink.points[chunk.NewID("s", "d", "a")]
	if st.Version != 9 || st.Hash != chunk.HashText("x") || fmt.Sprint(st.Embedding.Vector) != fmt.Sprint(vectorOf("x")) {
		t.Errorf("stored %+v", st)
	}
}

func TestReplayWithAnEmptyCacheNeedsNoModel(t *testing.T) {
	var l log
	events := []chunk.Event{l.put("a", "x", 1), l.put("b", "y", 1), l.put("a", "z", 2)}
	line := newLine(events)
	if err := line.run(); err != nil {
		t.Fatal(err)
	}
	line.cache.m = nil
	line.encoder.texts = nil
	again := line.with(events)
	if err := again.run(); err != nil {
		t.Fatal(err)
	}
	if len(again.encoder.texts) != 0 {
		t.Errorf("the replay encoded %q, want nothing: the index holds it all", again.encoder.texts)
	}
	if r := again.reports[0]; r.Stale != 2 || r.Encoded != 0 {
		t.Errorf("report %+v, want 2 stale", r)
	}
	// A new version of a text that the index holds keeps its vector.
	moved := line.with([]chunk.Event{l.put("a", "z", 3)})
	if err := moved.run(); err != nil {
		t.Fatal(err)
	}
	if st := line.sink.points[chunk.NewID("s", "d", "a")]; st.Version != 3 || len(moved.encoder.texts) != 0 {
		t.Errorf("version %d after %d model calls, want 3 after none", st.Version, len(moved.encoder.texts))
	}
}

// panics does so where it is true.
func panics(of func(string) bool) func(string) bool {
	return func(text string) bool {
		if of(text) {
			panic("nobody thought of " + text)
		}
		return false
	}
}

func TestRefusedEventsDoNotTakeOthersAlong(t *testing.T) {
	bad := func(text string) bool { return strings.HasPrefix(text, "bad") }
	faults := map[string]func(*line){
		"the encoder names the text":   func(l *line) { l.encoder.refuse = bad },
		"the encoder fails as a whole": func(l *line) { l.encoder.poison = bad },
		"the index refuses the point":  func(l *line) { l.sink.refuse = func(p chunk.Point) bool { return bad(p.Text) } },
		"the encoder panics":           func(l *line) { l.encoder.poison = panics(bad) },
		"the index panics": func(l *line) {
			l.sink.refuse = func(p chunk.Point) bool { return panics(bad)(p.Text) }
		},
		"the encoder refuses, without cache": func(l *line) { l.encoder.refuse = bad; l.cache.off = true },
	}
	for name, inject := range faults {
		t.Run(name, func(t *testing.T) {
			var l log
			var events []chunk.Event
			want := map[string]string{}
			for i := range 50 {
				n := fmt.Sprint("c", i)
				events = append(events, l.put(n, "good "+n, 1))
				want[n] = "good " + n
			}
			// A refused edit leaves the good state before it, of the same batch.
			events = append(events, l.put("c7", "bad edit", 2), l.put("new", "bad one", 1))
			line := newLine(events)
			inject(line)
			if err := line.run(); err != nil {
				t.Fatal(err)
			}
			if got := line.sink.live(l.ids); !sameTexts(got, want) {
				t.Errorf("index holds %d chunks, c7=%q; want %d, c7=%q", len(got), got["c7"], len(want), want["c7"])
			}
			if len(line.source.rejected) != 2 || line.source.acked != 1 {
				t.Errorf("%d rejected, %d acknowledged; want 2, 1", len(line.source.rejected), line.source.acked)
			}
		})
	}
}

func TestRefusalOfEverythingIsFatal(t *testing.T) {
	var l log
	var batches [][]chunk.Event
	for i := range refusalsInARow {
		batches = append(batches, []chunk.Event{l.put(fmt.Sprint(i), "x", 1)})
	}
	line := newLine(batches...)
	line.sink.refuse = func(chunk.Point) bool { return true }
	err := line.run()
	if err == nil || !strings.Contains(err.Error(), "check the collection") {
		t.Errorf("Run = %v, want it to blame the collection", err)
	}
	if line.source.acked >= refusalsInARow {
		t.Errorf("the batch that gave it away was acknowledged")
	}
}

// Whatever fails, nothing that is not durable is acknowledged.
func TestNothingIsAcknowledgedUnlessDurable(t *testing.T) {
	faults := map[string]func(*line){
		"encoder": func(l *line) { l.encoder.err = errBroken },
		"index":   func(l *line) { l.sink.err = errBroken },
		"dead letters": func(l *line) {
			l.source.rejectFn = func() error { return errBroken }
			l.encoder.refuse = func(string) bool { return true }
		},
	}
	for name, inject := range faults {
		t.Run(name, func(t *testing.T) {
			var l log
			line := newLine([]chunk.Event{l.put("a", "x", 1)}, []chunk.Event{l.put("b", "y", 1)})
			inject(line)
			if err := line.run(); !errors.Is(err, errBroken) {
				t.Errorf("Run = %v, want the cause", err)
			}
			if line.source.acked != 0 {
				t.Errorf("%d batches acknowledged", line.source.acked)
			}
		})
	}
	// Control: the same batches without a fault are acknowledged.
	var l log
	line := newLine([]chunk.Event{l.put("a", "x", 1)}, []chunk.Event{l.put("b", "y", 1)})
	if err := line.run(); err != nil || line.source.acked != 2 {
		t.Errorf("without a fault: %v, %d acknowledged", err, line.source.acked)
	}
}

// A seeded log of edits, deletes and late events, cut into batches anywhere,
// crashed and replayed from anywhere, ends in the fold of the log.
func TestIndexEqualsTheFoldOfTheLog(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var l log
		var events []chunk.Event
		want, best := map[string]string{}, map[string]int64{}
		for i := range 60 {
			name := fmt.Sprint("c", rng.IntN(6))
			v := int64(1 + rng.IntN(40))
			text := fmt.Sprint("text ", rng.IntN(12))
			if rng.IntN(4) == 0 {
				text = ""
				events = append(events, l.del(name, v*64+int64(i)))
			} else {
				events = append(events, l.put(name, text, v*64+int64(i)))
			}
			if v*64+int64(i) > best[name] {
				best[name] = v*64 + int64(i)
				if want[name] = text; text == "" {
					delete(want, name)
				}
			}
		}
		line := newLine()
		for range 3 {
			from := rng.IntN(len(events))
			if line.sink.points == nil {
				from = 0
			}
			line = line.with(cut(rng, events[from:])...)
			line.cache.off = rng.IntN(3) == 0
			if err := line.run(); err != nil {
				t.Fatal(err)
			}
		}
		if got := line.sink.live(l.ids); !sameTexts(got, want) {
			t.Fatalf("seed %d: index holds %v, the log folds to %v", seed, got, want)
		}
	}
}

func cut(rng *rand.Rand, events []chunk.Event) [][]chunk.Event {
	var out [][]chunk.Event
	for len(events) > 0 {
		n := min(len(events), 1+rng.IntN(12))
		out, events = append(out, events[:n]), events[n:]
	}
	return out
}

func TestStopDrainsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		line := newLine([]chunk.Event{l.put("a", "x", 1)}, []chunk.Event{l.put("b", "y", 1)})
		line.source.live = true
		line.sink.block = make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- line.pipeline().Run(ctx) }()
		synctest.Wait()
		stop()
		synctest.Wait() // stopping, with two batches in flight
		close(line.sink.block)
		if err := <-done; err != nil {
			t.Errorf("Run = %v after a graceful stop", err)
		}
		if line.source.acked != 2 {
			t.Errorf("%d of 2 batches in flight were drained", line.source.acked)
		}
	})
}

// A source works out from MaxInFlight which records a worker can have died of.
func TestTheSourceIsAheadByMaxInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		const batches = 3 * chunk.MaxInFlight
		line := newLine()
		for i := range batches {
			id := strconv.Itoa(i)
			line.source.batches = append(line.source.batches, []chunk.Event{l.put(id, "text "+id, 1)})
		}
		line.sink.block = make(chan struct{})
		done := make(chan error)
		go func() { done <- line.run() }()
		synctest.Wait()
		if ahead := batches - len(line.source.batches); ahead != chunk.MaxInFlight {
			t.Errorf("%d batches are handed out while none is durable, want %d", ahead, chunk.MaxInFlight)
		}
		close(line.sink.block)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestDrainThatTakesTooLongIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		line := newLine([]chunk.Event{l.put("a", "x", 1)})
		line.source.live = true
		line.sink.block = make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- line.pipeline().Run(ctx) }()
		synctest.Wait()
		start := time.Now()
		stop()
		if err := <-done; err == nil || !strings.Contains(err.Error(), "drain_timeout") {
			t.Errorf("Run = %v, want it to name drain_timeout", err)
		}
		if took := time.Since(start); took != line.cfg.DrainTimeout {
			t.Errorf("gave up after %s, want %s", took, line.cfg.DrainTimeout)
		}
		if line.source.acked != 0 {
			t.Error("a batch that was given up was acknowledged")
		}
	})
}

func TestStallEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		line := newLine([]chunk.Event{l.put("a", "x", 1)})
		line.source.live = true
		line.encoder.block = make(chan struct{}) // deaf to its context, as a foreign library is
		p := line.pipeline()
		start := time.Now()
		err := p.Run(t.Context())
		if !errors.Is(err, ErrStalled) {
			t.Errorf("Run = %v, want ErrStalled", err)
		}
		if took := time.Since(start); took < line.cfg.StallTimeout || took > 2*line.cfg.StallTimeout {
			t.Errorf("noticed after %s, the timeout is %s", took, line.cfg.StallTimeout)
		}
		if p.Moving() == nil {
			t.Error("Moving is nil in a stalled pipeline")
		}
		close(line.encoder.block)
	})
}

// The control to the one above: being idle is no stall, nor is a sink that
// retries.
func TestIdleAndRetryingAreNoStall(t *testing.T) {
	for name, busy := range map[string]bool{"idle": false, "retrying": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l log
				line := newLine()
				var retries uint64
				if busy {
					line.source.batches = [][]chunk.Event{{l.put("a", "x", 1)}}
					line.sink.block = make(chan struct{})
				}
				line.source.live = true
				p := New(line.cfg, Parts{
					Source: line.source, Encoder: line.encoder, Cache: line.cache, Sink: line.sink,
					Activity: func() uint64 { retries++; return retries }, Logger: line.pipeline().logger,
				})
				ctx, stop := context.WithTimeout(t.Context(), 20*line.cfg.StallTimeout)
				defer stop()
				err := p.Run(ctx)
				if errors.Is(err, ErrStalled) {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}
