package console

import (
	"time"

	"chunktide/cost"
)

// snapshot is what the page draws.
type snapshot struct {
	Sequence uint64    `json:"seq"`
	At       time.Time `json:"at"`
	// Started is the process's start in seconds since 1970; null if it does not
	// tell. The page begins anew when it is another.
	Started number `json:"started"`
	Version string `json:"version"`
	Model   string `json:"model"`
	Index   string `json:"index"`
	// Unwell and Unready say why the worker is not alive, or could not do its
	// work now; "" if it is and could.
	Unwell  string `json:"unwell"`
	Unready string `json:"unready"`
	// Window is the seconds that the rates are over, RecentWindow those that
	// "recent" is; 0 while there is nothing to compare with.
	Window       float64            `json:"window"`
	RecentWindow float64            `json:"recent_window"`
	Metrics      map[string]*family `json:"metrics"`
	// MetricsError says what could not be read of them.
	MetricsError string  `json:"metrics_error,omitempty"`
	Objective    float64 `json:"objective"`
	// Within is the share of changes that were searchable within the objective.
	Within       number `json:"within"`
	WithinRecent number `json:"within_recent"`
	Money        *money `json:"money"`
	Search       bool   `json:"search"`
	// IndexFacts and DeadLetters are older than the rest: see their At.
	IndexFacts  fact[*Index]       `json:"index_facts"`
	DeadLetters fact[[]DeadLetter] `json:"dead_letters"`
}

// money is what the tokens cost since the worker started; decimal, for people.
type money struct {
	PerMillion string `json:"per_million"`
	Spent      string `json:"spent"`
	Saved      string `json:"saved"`
}

// point is one second of the past, for the curves.
type point struct {
	At     time.Time `json:"at"`
	Events number    `json:"events"` // a second
	Tokens number    `json:"tokens"` // encoded, a second
	Lag    number    `json:"lag"`
}

const (
	metricEvents      = "chunktide_events_total"
	metricEncoded     = "chunktide_tokens_encoded_total"
	metricTokensSaved = "chunktide_tokens_saved_total"
	metricLag         = "chunktide_consumer_lag"
	metricBuild       = "chunktide_build_info"
	metricFreshness   = "chunktide_freshness_seconds"
)

// The past that is compared with: seconds for rates, so that they are neither
// nervous nor late, and a minute for histograms, so that they have something
// to show.
const (
	rateWindow   = 10 * time.Second
	recentWindow = time.Minute
	historyKept  = 5 * time.Minute
)

// past keeps the samples of the last minute and the points of the last five,
// oldest first.
type past struct {
	samples []*sample
	points  []point
}

// add has s compared with what came before, and keeps it.
func (p *past) add(s *sample) (window, recent float64) {
	for len(p.samples) > 0 && s.at.Sub(p.samples[0].at) > recentWindow+rateWindow/2 {
		p.samples = p.samples[1:]
	}
	for len(p.points) > 0 && s.at.Sub(p.points[0].At) > historyKept {
		p.points = p.points[1:]
	}
	if n := len(p.samples); n > 0 {
		last, from := p.samples[n-1], p.samples[n-1]
		for i := n - 1; i >= 0 && s.at.Sub(p.samples[i].at) <= rateWindow+rateWindow/10; i-- {
			from = p.samples[i]
		}
		window, recent = s.at.Sub(from.at).Seconds(), s.at.Sub(p.samples[0].at).Seconds()
		s.since(from, p.samples[0])
		took := number(s.at.Sub(last.at).Seconds())
		p.points = append(p.points, point{
			At: s.at, Events: increase(last, s, metricEvents) / took, Tokens: increase(last, s, metricEncoded) / took, Lag: s.get(metricLag),
		})
	}
	p.samples = append(p.samples, s)
	return window, recent
}

// increase is unknown where a counter began anew.
func increase(before, after *sample, name string) number {
	d := after.get(name) - before.get(name)
	if d < 0 {
		return unknown
	}
	return d
}

// fill puts the numbers into a snapshot.
func (s *snapshot) fill(from *sample, price *cost.Price) {
	s.At, s.Metrics = from.at, from.families
	s.Started = from.get(metricStart)
	s.Version, s.Model = from.label(metricBuild, "version"), from.label(metricBuild, "model_version")
	if fresh := from.find(metricFreshness, ""); fresh != nil {
		s.Within = fresh.within(s.Objective)
		s.WithinRecent = fresh.Recent.within(s.Objective)
	} else {
		s.Within, s.WithinRecent = unknown, unknown
	}
	encoded, saved := from.get(metricEncoded), from.get(metricTokensSaved)
	if price == nil || !encoded.known() || !saved.known() {
		return
	}
	s.Money = &money{PerMillion: price.PerMillionTokens().String(), Spent: price.Of(int64(encoded)).String(), Saved: price.Of(int64(saved)).String()}
}
