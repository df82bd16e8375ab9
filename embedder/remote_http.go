package embedder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
)

const (
	// answerBytes bounds what is read of an answer.
	answerBytes = 256 << 20
	// longestPause bounds what a service may ask for with Retry-After: it is
	// asked again after that, so that a mistake of its costs no day.
	longestPause = time.Minute
)

// LongestWait is how long an encoder may go without a sign of life though it is
// well: 0 for one that is not behind a network.
func (c Config) LongestWait() time.Duration {
	if c.Encoder != EncoderRemote {
		return 0
	}
	// The budget's pause may follow the service's.
	return c.Remote.Timeout + max(longestPause, 2*c.Remote.Retry.Max) + c.Remote.budgetPause()
}

// transientError is a failure that may pass.
type transientError struct {
	err   error
	after time.Duration // as the service wishes; 0: it said nothing
}

func (e *transientError) Error() string { return e.err.Error() }

func (e *transientError) Unwrap() error { return e.err }

// persist calls attempt until it succeeds, fails for good, or ctx ends. It is
// the one place where requests are repeated. Tokens are what each attempt takes
// of the budget.
func (r *Remote) persist(ctx context.Context, tokens int, attempt func(context.Context) error) error {
	wait := r.cfg.Remote.Retry.Initial
	for {
		if err := r.pause(ctx, r.resume()); err != nil {
			return err
		}
		if err := r.budget.wait(ctx, tokens); err != nil {
			return err
		}
		r.attempts.Add(1)
		limited, cancel := context.WithTimeout(ctx, r.cfg.Remote.Timeout)
		start := time.Now()
		err := attempt(limited)
		cancel()
		r.note(err, time.Since(start))
		var passing *transientError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w; the last answer was: %v", ctx.Err(), err) //nolint:errorlint // its class no longer counts
		case !errors.As(err, &passing):
			return err
		}
		pause := max(wait/2+rand.N(wait), min(passing.after, longestPause))
		if passing.after > 0 {
			r.hold(pause) // the wish is for all requests
		}
		r.logger.Warn("the encoder's service did not do it, trying again", "in", pause, "error", err)
		if err := r.pause(ctx, time.Now().Add(pause)); err != nil {
			return err
		}
		wait = min(2*wait, r.cfg.Remote.Retry.Max)
	}
}

// pause waits until a time.
func (r *Remote) pause(ctx context.Context, until time.Time) error {
	wait := time.Until(until)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hold keeps every request back for a while.
func (r *Remote) hold(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until := time.Now().Add(d); until.After(r.heldUntil) {
		r.heldUntil = until
	}
}

func (r *Remote) resume() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heldUntil
}

// note keeps what [Remote.Healthy] tells.
func (r *Remote) note(err error, took time.Duration) {
	var passing *transientError
	var refused *refusedError
	result := "failed"
	switch {
	case err == nil:
		result = "ok"
	case errors.As(err, &passing):
		result = "retried"
	case errors.As(err, &refused):
		result = "refused"
	}
	r.requests.WithLabelValues(result).Inc()
	r.seconds.Observe(took.Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case result != "retried":
		r.failing, r.lastErr = time.Time{}, nil
	case r.failing.IsZero():
		r.failing, r.lastErr = time.Now(), err
	default:
		r.lastErr = err
	}
}

// exchange sends one request and returns the body of a 200; every other
// outcome is classed here. Texts is how many texts the request holds.
func (r *Remote) exchange(ctx context.Context, method, path string, body []byte, texts int) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(r.cfg.Remote.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if key := r.cfg.Remote.APIKey; key != "" {
		req.Header.Set("Authorization", "Bearer "+key.Reveal())
	}
	// The trace that ctx is in, if it is in one.
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, nil, &transientError{err: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerBytes+1))
	switch {
	case err != nil:
		return nil, nil, &transientError{err: fmt.Errorf("read the answer: %w", err)}
	case len(answer) > answerBytes:
		return nil, nil, fmt.Errorf("the service at %s answered with more than %d bytes: lower embedder.remote.request_texts", r.cfg.Remote.URL, answerBytes)
	case resp.StatusCode == http.StatusOK:
		return answer, resp.Header, nil
	}
	return nil, nil, r.failure(resp, answer, texts)
}

// failure classes an answer that is not 200.
func (r *Remote) failure(resp *http.Response, body []byte, texts int) error {
	code := codeIn(body)
	said := func(advice string) error {
		return fmt.Errorf("the service at %s answered with HTTP status %d%s: %s", r.cfg.Remote.URL, resp.StatusCode, code, advice)
	}
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return said("check embedder.remote.api_key and its rights")
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		return said("check embedder.remote.url (without the endpoint), api and model")
	case s == http.StatusBadRequest || s == http.StatusRequestEntityTooLarge || s == http.StatusUnprocessableEntity || s == http.StatusFailedDependency:
		return refusal(s, texts, body)
	case s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s == http.StatusTooEarly || s >= http.StatusInternalServerError && s != http.StatusNotImplemented:
		return &transientError{err: said("it is waited for"), after: wishOf(resp.Header.Get("Retry-After"))}
	default:
		return said("that is no answer of an embedding service; check embedder.remote.url and api")
	}
}

// wishOf reads Retry-After: seconds, or a date.
func wishOf(value string) time.Duration {
	if seconds, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && seconds > 0 {
		return min(time.Duration(seconds), longestPause/time.Second) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
