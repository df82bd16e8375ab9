package backfill

import (
	"sync"
	"time"
)

// Counts are what became of events.
type Counts struct {
	// Events were read, and are durable or rejected now.
	Events int64 `json:"events"`
	// Stored states are in the index; the others were superseded, older than
	// what it holds, or rejected.
	Stored   int64 `json:"stored"`
	Stale    int64 `json:"stale"`
	Rejected int64 `json:"rejected"`
	// Encoded texts went through the model, with so many tokens.
	Encoded int64 `json:"encoded"`
	Tokens  int64 `json:"tokens"`
}

// Meter measures a run. It is safe for concurrent use.
type Meter struct {
	price float64
	now   func() time.Time
	start time.Time

	mu     sync.Mutex
	counts Counts
}

// NewMeter starts the clock. Price is for a million tokens.
func NewMeter(price float64) *Meter {
	return &Meter{price: price, now: time.Now, start: time.Now()}
}

// Add counts what was done since the last Add.
func (m *Meter) Add(c Counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Events += c.Events
	m.counts.Stored += c.Stored
	m.counts.Stale += c.Stale
	m.counts.Rejected += c.Rejected
	m.counts.Encoded += c.Encoded
	m.counts.Tokens += c.Tokens
}

// Reading is what a meter shows.
type Reading struct {
	Counts
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	Cost            float64 `json:"cost"`
	// Part is how much of the input is done, 0 to 1, and Left what that lets
	// expect of the rest if it is like what this run has done; both are nil where
	// the input's size is not known, or nothing was done yet.
	Part *float64 `json:"part,omitempty"`
	Left *Left    `json:"left,omitempty"`
}

// Left is an estimate.
type Left struct {
	Events  int64   `json:"events"`
	Tokens  int64   `json:"tokens"`
	Cost    float64 `json:"cost"`
	Seconds float64 `json:"seconds"`
}

// Read shows what was done until now. Done and total are how far the input is,
// in any unit; before is where this run began.
func (m *Meter) Read(done, before, total int64) Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := Reading{Counts: m.counts, Seconds: m.now().Sub(m.start).Seconds()}
	r.Cost = m.cost(float64(r.Tokens))
	if r.Seconds > 0 {
		r.EventsPerSecond, r.TokensPerSecond = float64(r.Events)/r.Seconds, float64(r.Tokens)/r.Seconds
	}
	if total <= 0 {
		return r
	}
	part := float64(done) / float64(total)
	r.Part = &part
	if done <= before {
		return r
	}
	ratio := float64(max(0, total-done)) / float64(done-before)
	r.Left = &Left{
		Events: int64(ratio * float64(r.Events)), Tokens: int64(ratio * float64(r.Tokens)),
		Cost: m.cost(ratio * float64(r.Tokens)), Seconds: ratio * r.Seconds,
	}
	return r
}

// Cost is the price of so many tokens.
func (m *Meter) cost(tokens float64) float64 { return tokens / 1e6 * m.price }
