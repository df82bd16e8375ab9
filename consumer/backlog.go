package consumer

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Backlog is what lies between what is durable in the index and the end of the
// log, on the partitions of this member: nobody else's, and none of those that
// wait for an owner.
//
// Whoever scales workers needs to know how stale the index is going to be
// before it is level again, not how many records there are: a thousand short
// ones may take a second, or a minute. That is Drain. Adding workers divides
// both the events and what they take, up to one worker for each partition; so
// scale on the greatest Drain of the group's members. Where no worker runs
// there is no Backlog either: only the broker knows the group's lag then.
//
// Whoever is called at night needs a number that tells slow from stuck. Drain
// grows by more than a second each second while nothing becomes durable and
// Rate falls to 0; while the worker is merely slow Rate says how slow. Neither
// is ever infinite or no number.
type Backlog struct {
	// Partitions are those assigned, in order.
	Partitions []PartitionLag
	// Events are the offsets in all of them. A log from which compaction or a
	// transaction took some holds fewer records than offsets.
	Events int64
	// Tokens are those of the texts, for the model at most: what is cached,
	// stored already or superseded needs no call. Of records that were read they
	// are estimated as for batches; the others count as the mean of those that
	// were lately read.
	Tokens int64
	// Rate is how many events a second became durable in the last minute during
	// which there was a backlog; 0 before the first, and after a whole such
	// minute without any.
	Rate float64
	// Drain is in seconds: Events by Rate, as it was when something last became
	// durable, and how long nothing has since. 0 without a backlog. Before
	// anything was measured a slow machine is assumed, with 10 events a second.
	Drain float64
}

// PartitionLag is the backlog of one partition, in offsets.
type PartitionLag struct {
	Topic     string
	Partition int32
	Lag       int64
	// Durable is the offset before which everything is durable, or not for this
	// group; -1 while it is not known.
	Durable int64
}

// Backlog looks at what is known now. The end of the log is that of the last
// fetch, or of the last look at it, which is at most some ten seconds old while
// the brokers answer.
func (s *Source) Backlog() Backlog {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter(0)
	var b Backlog
	var unread, read int64
	for _, id := range sortedKeys(s.parts) {
		p := s.parts[id]
		lag := p.lag()
		b.Partitions = append(b.Partitions, PartitionLag{id.topic, id.partition, lag, p.from()})
		b.Events += lag
		unread += p.unread()
		for _, sp := range p.spans {
			read += int64(sp.tokens)
		}
	}
	for i := range s.former.items {
		read += int64(s.former.items[i].tokens)
	}
	b.Tokens = read + int64(float64(unread)*s.mean.value())
	b.Rate = s.progress.rate(s.progress.worked)
	b.Drain = s.progress.drain(b.Events)
	return b
}

// Lag is the number of offsets between what is durable and the end of the log
// as last seen, over this member's partitions.
func (s *Source) Lag() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lag()
}

func (s *Source) lag() int64 {
	var lag int64
	for _, p := range s.parts {
		lag += p.lag()
	}
	return lag
}

// meter notes that so many offsets have become durable, or that the backlog is
// another. The mutex must be held.
func (s *Source) meter(durable int64) { s.progress.note(time.Now(), durable, s.lag() > 0) }

// backlogMetrics show the backlog as it is when it is asked for, all of it of
// one moment. A partition's series is there while the partition is.
type backlogMetrics struct {
	source                                    *Source
	lag, durable, events, tokens, drain, rate *prometheus.Desc
}

func newBacklogMetrics(s *Source) *backlogMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &backlogMetrics{
		source: s,
		lag: desc("chunktide_consumer_lag",
			"Offsets between what is durable in the index and the end of the log, for each assigned partition.", "topic", "partition"),
		durable: desc("chunktide_durable_offset",
			"Offset before which everything in the partition is durable in the index or in the dead letters; it stands still while the partition is stuck.", "topic", "partition"),
		events: desc("chunktide_backlog_events",
			"Offsets between what is durable in the index and the end of the log, over the partitions of this worker."),
		tokens: desc("chunktide_backlog_tokens",
			"Estimate of the tokens of the backlog's texts: by text for records that were read, by the mean of those lately read for the rest."),
		drain: desc("chunktide_backlog_drain_seconds",
			"Seconds until the backlog is durable at the rate of the last minute of work; it grows while nothing becomes durable, and is 0 without a backlog. Scale on the group's greatest."),
		rate: desc("chunktide_drain_rate_events_per_second",
			"Events a second that became durable over the last minute during which there was a backlog; 0 after such a minute without any."),
	}
}

func (m *backlogMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.lag, m.durable, m.events, m.tokens, m.drain, m.rate} {
		to <- d
	}
}

func (m *backlogMetrics) Collect(to chan<- prometheus.Metric) {
	b := m.source.Backlog()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, p := range b.Partitions {
		partition := strconv.Itoa(int(p.Partition))
		gauge(m.lag, float64(p.Lag), p.Topic, partition)
		// A zero in place of what is not known would look like a step back.
		if p.Durable >= 0 {
			gauge(m.durable, float64(p.Durable), p.Topic, partition)
		}
	}
	gauge(m.events, float64(b.Events))
	gauge(m.tokens, float64(b.Tokens))
	gauge(m.drain, b.Drain)
	gauge(m.rate, b.Rate)
}
