package service

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"chunktide/embedder"
)

const ask = `{"model":"docs","input":"a query"}`

func withAlias(ttl time.Duration) func(*Config) {
	return func(c *Config) { c.Aliases, c.AliasTTL = []string{"docs"}, ttl }
}

// An alias is looked up once for all who come within its time.
func TestAnAliasIsRememberedForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := embedder.NewBow("a", nil), embedder.NewBow("b", nil)
		x := &index{delay: 100 * time.Millisecond}
		x.promote("docs", a.Recipe())
		s := start(t, withAlias(2*time.Second), x, a, b)
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() {
				w := post(t.Context(), s, "/v1/embeddings", ask)
				if got := read(t, w).Model; got != "a" || w.Header().Get(HeaderCollection) != "docs--a" {
					t.Errorf("answered by %q of %q", got, w.Header().Get(HeaderCollection))
				}
			})
		}
		calls.Wait()
		if x.count() != 1 {
			t.Errorf("the index was asked %d times, want once", x.count())
		}
		x.promote("docs", b.Recipe())
		time.Sleep(1800 * time.Millisecond) // within 2 s of the question
		if got := read(t, post(t.Context(), s, "/v1/embeddings", ask)).Model; got != "a" {
			t.Errorf("within the time: answered by %q", got)
		}
		time.Sleep(200 * time.Millisecond)
		if got := read(t, post(t.Context(), s, "/v1/embeddings", ask)).Model; got != "b" || x.count() != 2 {
			t.Errorf("after the time: answered by %q, asked %d times", got, x.count())
		}
	})
}

// stale counts the answers under load by a recipe that the alias had left more
// than bound before the request came.
func stale(t *testing.T, ttl, bound time.Duration) (wrong, answers int64) {
	synctest.Test(t, func(t *testing.T) {
		recipes := []*embedder.Bow{embedder.NewBow("a", nil), embedder.NewBow("b", nil)}
		x := &index{delay: 30 * time.Millisecond}
		x.promote("docs", recipes[0].Recipe())
		slow := &gated{SequenceEncoder: recipes[0], before: takes(20 * time.Millisecond)}
		s := start(t, withAlias(ttl), x, slow, recipes[1])

		// left is when each recipe was last the one that the alias served.
		var mu sync.Mutex
		left := map[string]time.Time{"b": time.Now()}
		lastServed := func(name string) time.Time {
			mu.Lock()
			defer mu.Unlock()
			if at, ok := left[name]; ok {
				return at
			}
			return time.Now()
		}
		ctx, stop := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		var bad, all atomic.Int64
		for i := range 8 {
			callers.Go(func() {
				for ctx.Err() == nil {
					came := time.Now()
					w := post(t.Context(), s, "/v1/embeddings", ask)
					got := read(t, w)
					if w.Code != http.StatusOK || got.Model != w.Header().Get(HeaderVersion) {
						t.Errorf("%d %s", w.Code, w.Body)
						return
					}
					all.Add(1)
					if came.Sub(lastServed(got.Model)) > bound {
						bad.Add(1)
					}
					time.Sleep(time.Duration(3+i) * time.Millisecond)
				}
			})
		}
		for i := range 10 {
			time.Sleep(777 * time.Millisecond)
			old, now := recipes[i%2], recipes[(i+1)%2]
			mu.Lock()
			x.promote("docs", now.Recipe())
			left[old.Recipe().Name] = time.Now()
			delete(left, now.Recipe().Name)
			mu.Unlock()
		}
		stop()
		callers.Wait()
		wrong, answers = bad.Load(), all.Load()
	})
	return wrong, answers
}

// A promotion under load: no answer is by a recipe that the alias had left
// longer ago than the bound says. The control remembers longer, and is seen.
func TestAPromotedAliasIsFollowedUnderLoad(t *testing.T) {
	for _, ttl := range []time.Duration{0, 300 * time.Millisecond} {
		if wrong, answers := stale(t, ttl, ttl); wrong != 0 || answers < 300 {
			t.Errorf("alias_ttl %s: %d of %d answers were by a recipe that the alias had left", ttl, wrong, answers)
		}
	}
	if wrong, answers := stale(t, 600*time.Millisecond, 300*time.Millisecond); wrong == 0 {
		t.Errorf("the control saw none of %d answers come too late", answers)
	}
}

// Without the index there is no answer, rather than a guess; and one again as
// soon as it is back.
func TestNoGuessWithoutTheIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := embedder.NewBow("a", nil)
		x := &index{}
		x.promote("docs", a.Recipe())
		s := start(t, withAlias(time.Second), x, a)
		expect := func(when string, status int) {
			t.Helper()
			w := post(t.Context(), s, "/v1/embeddings", ask)
			if w.Code != status || (status == http.StatusServiceUnavailable) != (w.Header().Get("Retry-After") != "") || strings.Contains(w.Body.String(), "10.0.0.7") {
				t.Errorf("%s: %d %s", when, w.Code, w.Body)
			}
		}
		expect("all is well", http.StatusOK)
		x.fail(errors.New("dial 10.0.0.7: refused"))
		expect("the index is away, but was asked just now", http.StatusOK)
		time.Sleep(time.Second)
		expect("the index is away", http.StatusServiceUnavailable)
		x.fail(nil)
		expect("the index is back", http.StatusOK)
		x.delay = time.Hour
		time.Sleep(time.Second)
		expect("the index hangs", http.StatusServiceUnavailable)
		// Whoever names the recipe does not need the index.
		if w := post(t.Context(), s, "/v1/embeddings", `{"model":"a","input":"a query"}`); w.Code != http.StatusOK {
			t.Errorf("by name: %d %s", w.Code, w.Body)
		}
	})
}

func TestAnAliasWhoseRecipeIsNotLoaded(t *testing.T) {
	a := embedder.NewBow("a", nil)
	x := &index{}
	x.promote("docs", embedder.NewBow("elsewhere", nil).Recipe())
	s := start(t, func(c *Config) { c.Aliases = []string{"docs", "gone"}; c.DefaultModel = "docs" }, x, a)
	for _, request := range []string{ask, `{"input":"the default is the alias"}`} {
		w := post(t.Context(), s, "/v1/embeddings", request)
		got := read(t, w).Error
		if w.Code != http.StatusServiceUnavailable || got.Code != codeNotLoaded || !strings.Contains(got.Message, "docs serves elsewhere") || !strings.Contains(got.Message, "serve.models") {
			t.Errorf("%d %+v", w.Code, got)
		}
	}
	w := post(t.Context(), s, "/v1/embeddings", `{"model":"gone","input":"x"}`)
	if got := read(t, w).Error; w.Code != http.StatusNotFound || !strings.Contains(got.Message, "no alias gone") {
		t.Errorf("%d %+v", w.Code, got)
	}
	// A name that is no alias of ours does not trouble the index.
	before := x.count()
	if w := post(t.Context(), s, "/v1/embeddings", `{"model":"other","input":"x"}`); w.Code != http.StatusNotFound || x.count() != before {
		t.Errorf("%d, and the index was asked %d times", w.Code, x.count()-before)
	}
}
