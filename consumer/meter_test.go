package consumer

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// clocked is a meter on the clock of a bubble.
type clocked struct {
	meter
	backlog int64
}

// after lets time pass, and then has events become durable and others arrive.
func (c *clocked) after(d time.Duration, durable, arrived int64) {
	time.Sleep(d)
	c.backlog += arrived - durable
	c.note(time.Now(), durable, c.backlog > 0)
}

func (c *clocked) now() (rate, drain float64) {
	c.after(0, 0, 0)
	return c.rate(c.worked), c.drain(c.backlog)
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) { // NaN too
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestDrainBeforeAnythingIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clocked
		rate, drain := c.now()
		near(t, "rate of nothing", rate, 0, 0)
		near(t, "drain of nothing", drain, 0, 0)
		c.after(0, 0, 1000)
		rate, drain = c.now()
		near(t, "rate before the first", rate, 0, 0)
		near(t, "assumed drain", drain, 1000/assumedRate, 0)
		c.after(20*time.Second, 0, 0)
		_, drain = c.now()
		near(t, "a start that takes its time", drain, 1000/assumedRate+20, 0)
	})
}

func TestDrainGoesByTheRateOfTheLastMinuteOfWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clocked
		c.after(0, 0, 1_000_000)
		for range 120 { // 100/s
			c.after(time.Second/2, 50, 0)
		}
		rate, drain := c.now()
		near(t, "rate", rate, 100, 2)
		near(t, "drain", drain, float64(c.backlog)/100, 200)
		for range 120 { // ten times faster: a minute later nothing else counts
			c.after(time.Second/2, 500, 0)
		}
		rate, _ = c.now()
		near(t, "faster rate", rate, 1000, 20)
	})
}

// A worker that has nothing to do for hours has not become slow.
func TestIdlenessDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clocked
		c.after(0, 0, 6000)
		for range 60 {
			c.after(time.Second, 100, 0)
		}
		before, drain := c.now()
		near(t, "drain when level", drain, 0, 0)
		c.after(5*time.Hour, 0, 0)
		rate, drain := c.now()
		near(t, "rate after hours", rate, before, 0)
		near(t, "drain after hours", drain, 0, 0)
		c.after(0, 0, 1000)
		_, drain = c.now()
		near(t, "drain of a new backlog", drain, 1000/before, 0.01)
	})
}

// The time that a stuck worker takes grows with every second, steadily, and is
// a number however long it lasts; the rate falls to nothing.
func TestDrainGrowsWhileNothingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clocked
		c.after(0, 0, 100_000)
		for range 30 {
			c.after(time.Second, 100, 0)
		}
		_, drain := c.now()
		for range 200 {
			c.after(time.Second, 0, 0)
			_, next := c.now()
			near(t, "a second more", next-drain, 1, 1e-6)
			drain = next
		}
		rate, _ := c.now()
		near(t, "rate of a stuck worker", rate, 0, 0)
		c.after(1000*time.Hour, 0, math.MaxInt32)
		if _, drain = c.now(); math.IsInf(drain, 0) || math.IsNaN(drain) || drain < 3_600_000 {
			t.Errorf("drain %v after 1000 hours", drain)
		}
		// It goes on: the hours that were lost are in the past.
		for range 60 {
			c.after(time.Second, 100, 0)
		}
		rate, drain = c.now()
		near(t, "rate after it goes on", rate, 100, 2)
		near(t, "drain after it goes on", drain, float64(c.backlog)/rate, 1)
	})
}

func TestMeanFollowsWhatWasRead(t *testing.T) {
	t.Parallel()
	m := newMean(Batch{Tokens: 16384, Events: 256})
	near(t, "before anything", m.value(), 64, 0)
	for range 200 {
		m.add(10)
	}
	near(t, "short texts", m.value(), 10, 0.5)
	for range 6 * lately {
		m.add(500)
	}
	near(t, "long texts since", m.value(), 500, 2)
	m = newMean(Batch{})
	near(t, "no bounds", m.value(), 0, 0)
}
