package consumer

import "time"

const (
	// window is over how much time with a backlog the rate is measured.
	window = 60 // seconds
	// assumedRate stands in for a measured one until something has become
	// durable. It is that of a slow machine with long texts, so that a backlog
	// is rather thought longer than it is.
	assumedRate = 10 // events a second
)

// meter measures how fast a backlog becomes durable. Only time with a backlog
// counts: how long there was nothing to do says nothing about how fast it
// would have been done. It has no clock of its own, and is not safe for
// concurrent use.
type meter struct {
	at     time.Time // of the last note
	behind bool      // there has been a backlog since
	// worked is the time with a backlog so far, moved how much of it there was
	// when something last became durable.
	worked, moved time.Duration
	// seconds holds what became durable in each of the last seconds of worked.
	seconds [window]struct{ second, events int64 }
}

// note says that so many events have become durable since the last note, and
// whether there is a backlog from now on.
func (m *meter) note(now time.Time, durable int64, behind bool) {
	if m.behind {
		m.worked += max(0, now.Sub(m.at))
	}
	m.at, m.behind = now, behind
	if durable <= 0 {
		return
	}
	m.moved = m.worked
	second := int64(m.worked / time.Second)
	slot := &m.seconds[second%window]
	if slot.second != second {
		slot.second, slot.events = second, 0
	}
	slot.events += durable
}

// rate is the events a second that became durable in the window that ends at a
// time of the clock of worked; 0 if there were none.
func (m *meter) rate(end time.Duration) float64 {
	second := int64(end / time.Second)
	first := max(0, second-window+1)
	var events int64
	for _, s := range m.seconds {
		if s.second >= first && s.second <= second {
			events += s.events
		}
	}
	took := (end - time.Duration(first)*time.Second).Seconds()
	if events == 0 || took <= 0 {
		return 0
	}
	return float64(events) / took
}

// drain is the seconds until a backlog of events is durable. It goes by the
// rate up to when something last became durable, and adds how long nothing has
// since, so that it grows while the worker is stuck: who has waited for so
// long for others to come back will probably wait as long again. It is finite.
func (m *meter) drain(events int64) float64 {
	if events <= 0 {
		return 0
	}
	rate := m.rate(m.moved)
	if rate <= 0 {
		rate = assumedRate
	}
	return float64(events)/rate + (m.worked - m.moved).Seconds()
}

// mean is the mean of the tokens of a record, of those that were lately read.
type mean struct{ tokens, records float64 }

// lately is how many records it takes for those before to weigh a third.
const lately = 4096

// newMean begins with what a batch is laid out for; the first records outweigh
// it.
func newMean(b Batch) mean { return mean{float64(b.Tokens) / float64(max(1, b.Events)), 1} }

func (m *mean) add(tokens int) {
	const keep = 1 - 1./lately
	m.tokens, m.records = m.tokens*keep+float64(tokens), m.records*keep+1
}

func (m *mean) value() float64 { return m.tokens / m.records }
