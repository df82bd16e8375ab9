package embedder

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// encodeFor is how long a minute's and a half worth of requests take under a
// budget, and how many were sent.
func encodeFor(t *testing.T, change func(*Config)) (took time.Duration, calls int) {
	t.Helper()
	s := &fakeService{}
	synctest.Test(t, func(t *testing.T) {
		r := openRemote(t, s, APIOpenAI, change)
		before, began := s.count(), time.Now()
		for range 90 {
			if _, err := r.Encode(t.Context(), []string{"a text of some twenty bytes"}); err != nil {
				t.Fatal(err)
			}
		}
		took, calls = time.Since(began), s.count()-before
	})
	return took, calls
}

func TestRequestsKeepWithinTheirBudget(t *testing.T) {
	took, calls := encodeFor(t, func(c *Config) { c.Remote.RequestsPerMinute = 60 })
	if calls != 90 || took < 75*time.Second || took > 91*time.Second {
		t.Errorf("90 requests at 60 a minute took %v (%d sent)", took, calls)
	}
	took, _ = encodeFor(t, func(c *Config) { c.Remote.TokensPerMinute, c.Remote.RequestTokens = 600, 100 })
	if took < time.Minute {
		t.Errorf("some 1,500 tokens at 600 a minute took %v", took)
	}
	// The control: without a budget nothing waits.
	if took, _ := encodeFor(t, nil); took > time.Second {
		t.Errorf("without a budget it took %v", took)
	}
}

func TestTheStartEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeService{model: NewBow("", nil), fault: times(1<<30, func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := newRemote(ctx, remoteConfig(t, APIOpenAI, nil), s, nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestABudgetBelowOneRequestIsRefused(t *testing.T) {
	cfg := remoteConfig(t, APIOpenAI, nil)
	cfg.Remote.TokensPerMinute = cfg.Remote.RequestTokens - 1
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "remote.tokens_per_minute") {
		t.Errorf("Validate = %v", err)
	}
}
