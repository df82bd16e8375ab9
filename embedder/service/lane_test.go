package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/chunk"
	"chunktide/embedder"
)

// documents is a request for n texts of so many words each.
func documents(t testing.TB, n, words int) string {
	t.Helper()
	texts := make([]string, n)
	for i := range texts {
		texts[i] = strings.TrimSpace(strings.Repeat(fmt.Sprintf("w%d ", i), words))
	}
	return body(t, map[string]any{"input": texts, "input_type": "document"})
}

// Callers that come together share a batch, and nobody waits longer than the
// linger for company.
func TestCallersShareBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		s := start(t, func(c *Config) { c.Linger, c.BatchTokens = 5*time.Millisecond, 100 }, nil, e)
		var calls sync.WaitGroup
		began := time.Now()
		for range 10 {
			calls.Go(func() {
				if w := post(t.Context(), s, "/v1/embeddings", `{"input":"three small words"}`); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		calls.Wait()
		if took := time.Since(began); len(e.batches) != 1 || len(e.batches[0]) != 10 || took != 5*time.Millisecond {
			t.Errorf("%d batches after %s, want one after the linger", len(e.batches), took)
		}
		// A full batch does not linger.
		began = time.Now()
		if w := post(t.Context(), s, "/v1/embeddings", documents(t, 10, 10)); w.Code != http.StatusOK || time.Since(began) != 0 {
			t.Errorf("%d after %s", w.Code, time.Since(began))
		}
	})
}

func TestBatchesKeepTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		s := start(t, func(c *Config) { c.BatchTokens = 100 }, nil, e)
		var calls sync.WaitGroup
		for _, n := range []int{1, 30, 7} {
			calls.Go(func() { post(t.Context(), s, "/v1/embeddings", documents(t, n, 17)) })
		}
		calls.Go(func() { post(t.Context(), s, "/v1/embeddings", documents(t, 1, 500)) }) // goes alone
		calls.Wait()
		texts := 0
		for _, b := range e.batches {
			texts += len(b)
			if tokens := tokensOf(b); tokens > 100 && len(b) > 1 {
				t.Errorf("a batch of %d tokens", tokens)
			}
		}
		if texts != 39 {
			t.Errorf("%d texts went through the encoder, want 39", texts)
		}
	})
}

// latency is how long a small request takes that comes while a big one of
// documents is under way, of which each batch takes a second.
func latency(t *testing.T, small string) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		e.before = takes(time.Second)
		s := start(t, func(c *Config) { c.BatchTokens, c.InFlight, c.RequestTimeout = 10, 1, time.Hour }, nil, e)
		var calls sync.WaitGroup
		calls.Go(func() {
			if w := post(t.Context(), s, "/v1/embeddings", documents(t, 1000, 1)); w.Code != http.StatusOK {
				t.Errorf("the big request: %d %s", w.Code, w.Body)
			}
		})
		time.Sleep(10500 * time.Millisecond)
		began := time.Now()
		if w := post(t.Context(), s, "/v1/embeddings", small); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		took = time.Since(began)
		calls.Wait()
	})
	return took
}

// A big caller holds up neither queries nor other callers' documents.
func TestABigCallerStarvesNobody(t *testing.T) {
	if took := latency(t, `{"input":"a"}`); took > 1100*time.Millisecond {
		t.Errorf("a query took %s beside a big request, want the time of its own batch", took)
	}
	if took := latency(t, `{"input":"a","input_type":"document"}`); took > 1600*time.Millisecond {
		t.Errorf("a document took %s beside a big request, want half a batch's time and its own", took)
	}
	// The control: a small request that is as far down the queue as the last
	// text of the big one takes as long as the rest of it.
	if took := latency(t, documents(t, 200, 1)); took < 20*time.Second {
		t.Errorf("200 documents took %s: the big request is no load", took)
	}
}

// Nothing starves: documents go on under a flood of queries.
func TestDocumentsGoOnUnderAFloodOfQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		e.before = takes(100 * time.Millisecond)
		s := start(t, func(c *Config) { c.BatchTokens, c.InFlight = 4, 1 }, nil, e)
		ctx, stop := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		for range 50 {
			flood.Go(func() {
				for ctx.Err() == nil {
					post(ctx, s, "/v1/embeddings", `{"input":"a query"}`)
				}
			})
		}
		began := time.Now()
		if w := post(t.Context(), s, "/v1/embeddings", documents(t, 8, 1)); w.Code != http.StatusOK || time.Since(began) > time.Second {
			t.Errorf("8 documents: %d after %s", w.Code, time.Since(began))
		}
		stop()
		flood.Wait()
	})
}

func TestAFullQueueSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		e.before = takes(10 * time.Second)
		s := start(t, func(c *Config) {
			c.BatchTokens, c.InFlight, c.QueueTokens, c.RequestTokens, c.RequestTimeout = 10, 1, 40, 40, time.Hour
		}, nil, e)
		var calls sync.WaitGroup
		// The first batch gives a speed of 1 token a second.
		for range 2 {
			calls.Go(func() { post(t.Context(), s, "/v1/embeddings", documents(t, 25, 1)) })
			synctest.Wait()
		}
		time.Sleep(11 * time.Second)
		w := post(t.Context(), s, "/v1/embeddings", documents(t, 30, 1))
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || read(t, w).Error.Code != codeBusy {
			t.Fatalf("%d, Retry-After %q, %s", w.Code, w.Header().Get("Retry-After"), w.Body)
		}
		after, err := time.ParseDuration(w.Header().Get("Retry-After") + "s")
		if err != nil || after < 10*time.Second || after > 30*time.Second {
			t.Errorf("to come back after %s, want half of what waits at a token a second", after)
		}
		// Queries have a queue of their own.
		if w := post(t.Context(), s, "/v1/embeddings", `{"input":"a"}`); w.Code != http.StatusOK {
			t.Errorf("a query: %d %s", w.Code, w.Body)
		}
		calls.Wait()
		if w := post(t.Context(), s, "/v1/embeddings", documents(t, 30, 1)); w.Code != http.StatusOK {
			t.Errorf("once there is room: %d %s", w.Code, w.Body)
		}
	})
}

func TestRequestsUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		e.before = takes(time.Second)
		s := start(t, func(c *Config) { c.Requests = 2 }, nil, e)
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() { post(t.Context(), s, "/v1/embeddings", `{"input":"a"}`) })
		}
		synctest.Wait()
		if w := post(t.Context(), s, "/v1/embeddings", `{"input":"a"}`); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		calls.Wait()
	})
}

// What a caller that went away had waiting is not encoded.
func TestACallerThatGoesAwayLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		e.before = takes(time.Second)
		s := start(t, func(c *Config) { c.BatchTokens, c.InFlight = 10, 1 }, nil, e)
		ctx, leave := context.WithCancel(t.Context())
		var call sync.WaitGroup
		call.Go(func() {
			if w := post(ctx, s, "/v1/embeddings", documents(t, 100, 1)); w.Code != statusGone {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
		time.Sleep(2500 * time.Millisecond)
		leave()
		call.Wait()
		if w := post(t.Context(), s, "/v1/embeddings", documents(t, 1, 1)); w.Code != http.StatusOK {
			t.Errorf("the next: %d", w.Code)
		}
		if n := len(e.batches); n != 4 { // three of the first, one of the second
			t.Errorf("%d batches were encoded, want 4", n)
		}
		if queued := s.models.loaded[0].documents.tokens; queued != 0 {
			t.Errorf("%d tokens still count as waiting", queued)
		}
	})
}

func TestARequestThatTakesTooLongIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		e.before = takes(time.Minute)
		s := start(t, func(c *Config) { c.RequestTimeout = time.Second }, nil, e)
		if w := post(t.Context(), s, "/v1/embeddings", `{"input":"a"}`); w.Code != http.StatusServiceUnavailable || read(t, w).Error.Code != codeTimeout {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// One caller's text that the model fails on is that caller's trouble only.
func TestAPoisonedTextHurtsItsOwnCallerOnly(t *testing.T) {
	refuse := func(_ context.Context, batch []embedder.Sequence) error {
		for _, s := range batch {
			if len(s.IDs) == 7 {
				return chunk.Permanentf(chunk.ReasonEncoderRefused, "the model failed")
			}
		}
		return nil
	}
	for name, before := range map[string]func(context.Context, []embedder.Sequence) error{
		"refuses": refuse,
		"panics": func(ctx context.Context, batch []embedder.Sequence) error {
			if refuse(ctx, batch) != nil {
				panic("a bug")
			}
			return nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := bow("a")
			e.before = before
			s := start(t, nil, nil, e)
			var calls sync.WaitGroup
			for i := range 20 {
				calls.Go(func() {
					want, text := http.StatusOK, "a text"
					if i == 13 {
						want, text = http.StatusUnprocessableEntity, "a b c d e f g"
					}
					if w := post(t.Context(), s, "/v1/embeddings", body(t, map[string]any{"input": text})); w.Code != want {
						t.Errorf("%s: request %d: %d %s, want %d", name, i, w.Code, w.Body, want)
					}
				})
			}
			calls.Wait()
		})
	}
}

// A failure that is nobody's fault is everybody's, and not taken for a text's.
func TestAFailureOfTheEncoderIsNoRefusal(t *testing.T) {
	e := bow("a")
	e.before = func(context.Context, []embedder.Sequence) error { return errors.New("secret internals") }
	s := start(t, nil, nil, e)
	w := post(t.Context(), s, "/v1/embeddings", `{"input":["a","b"]}`)
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Closing answers what was admitted, and admits no more.
func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		e.before = takes(time.Second)
		s := start(t, func(c *Config) { c.BatchTokens, c.InFlight = 10, 1 }, nil, e)
		var calls sync.WaitGroup
		calls.Go(func() {
			if w := post(t.Context(), s, "/v1/embeddings", documents(t, 50, 1)); w.Code != http.StatusOK {
				t.Errorf("what was admitted: %d %s", w.Code, w.Body)
			}
		})
		synctest.Wait()
		calls.Go(func() {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if w := post(t.Context(), s, "/v1/embeddings", `{"input":"a"}`); w.Code != http.StatusServiceUnavailable {
			t.Errorf("what came later: %d %s", w.Code, w.Body)
		}
		if w := get(t, s, "/health"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("/health: %d", w.Code)
		}
		calls.Wait()
	})
}

// A drain that takes too long is cut, and says so.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := bow("a")
		e.before = func(ctx context.Context, _ []embedder.Sequence) error {
			<-ctx.Done()
			return ctx.Err()
		}
		s := start(t, nil, nil, e)
		var calls sync.WaitGroup
		calls.Go(func() { post(t.Context(), s, "/v1/embeddings", `{"input":"a"}`) })
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		calls.Wait()
	})
}
