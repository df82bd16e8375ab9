package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Counters are what a worker counted since it started.
type Counters struct {
	// Model is the worker's model_version.
	Model string
	// Calls are the texts that went through the model, queries included, and
	// TokensEncoded their tokens.
	Calls, TokensEncoded int64
	// CallsSaved are the upserts that needed no call. TokensSaved are the tokens
	// of those whose text was looked at: an upsert that was superseded within
	// its batch saved a call, and its tokens were never counted.
	CallsSaved, TokensSaved int64
	// Started is when the worker's process did, by its own clock, and Now when
	// it answered. Started is zero where the process does not tell.
	Started, Now time.Time
	// Read is when the answer was here, by the clock of this process.
	Read time.Time
}

// The names of the metrics that are read.
const (
	metricCalls       = "chunktide_model_calls_total"
	metricCallsSaved  = "chunktide_model_calls_saved_total"
	metricEncoded     = "chunktide_tokens_encoded_total"
	metricTokensSaved = "chunktide_tokens_saved_total"
	metricBuild       = "chunktide_build_info"
	metricStart       = "process_start_time_seconds"
)

// maxAnswer bounds what is read of an answer; a worker's is some 50 kB.
const maxAnswer = 16 << 20

// Fetch reads the metrics of a worker: the URL is that of its /metrics.
func Fetch(ctx context.Context, client *http.Client, url string) (Counters, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Counters{}, fmt.Errorf("read metrics: %w", err)
	}
	request.Header.Set("Accept", "text/plain; version=0.0.4")
	response, err := client.Do(request)
	if err != nil {
		return Counters{}, fmt.Errorf("read metrics (does the worker run, and is this its admin.address?): %w", err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest:
		return Counters{}, fmt.Errorf("read metrics from %s: %s; give the worker's admin.token and admin.tls here too", url, response.Status)
	default:
		return Counters{}, fmt.Errorf("read metrics from %s: %s; give the URL of a worker's /metrics", url, response.Status)
	}
	c, err := parse(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Counters{}, fmt.Errorf("read metrics from %s: %w", url, err)
	}
	c.Read = time.Now()
	// Both times by the worker's clock, which need not be ours.
	if c.Now, err = http.ParseTime(response.Header.Get("Date")); err != nil {
		c.Now = c.Read
	}
	return c, nil
}

func parse(in io.Reader) (Counters, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(in)
	if err != nil {
		return Counters{}, fmt.Errorf("this is not Prometheus' text format: %w", err)
	}
	var c Counters
	var missing []string
	for name, into := range map[string]*int64{
		metricCalls: &c.Calls, metricCallsSaved: &c.CallsSaved, metricEncoded: &c.TokensEncoded, metricTokensSaved: &c.TokensSaved,
	} {
		if families[name] == nil {
			missing = append(missing, name)
		}
		for _, m := range families[name].GetMetric() {
			*into += int64(value(m))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return c, fmt.Errorf("there is no %s: is this the admin port of chunktide run?", strings.Join(missing, ", "))
	}
	for _, m := range families[metricBuild].GetMetric() {
		c.Model = label(m, "model_version")
	}
	for _, m := range families[metricStart].GetMetric() {
		if start := value(m); start > 0 {
			c.Started = time.UnixMilli(int64(1000 * start))
		}
	}
	return c, nil
}

// value is a metric's, also where something in between has dropped its type.
func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// Span is what was encoded and saved in a time.
type Span struct {
	// Seconds is how long it was; of several workers the longest.
	Seconds       float64 `json:"seconds"`
	Calls         int64   `json:"calls"`
	CallsSaved    int64   `json:"calls_saved"`
	TokensEncoded int64   `json:"tokens_encoded"`
	TokensSaved   int64   `json:"tokens_saved"`
	// Spent and Saved are money; nil without a price.
	Spent *Amount `json:"spent,omitempty"`
	Saved *Amount `json:"saved,omitempty"`
	// Day is what a day takes at this rate; nil where the time is not known.
	Day *Day `json:"per_day,omitempty"`
}

// Day is a rate.
type Day struct {
	TokensEncoded Amount  `json:"tokens_encoded"`
	TokensSaved   Amount  `json:"tokens_saved"`
	Spent         *Amount `json:"spent,omitempty"`
	Saved         *Amount `json:"saved,omitempty"`
}

// ErrRestarted says that a worker is another one than in the reading before.
var ErrRestarted = errors.New("the worker restarted between the readings: its counters began anew; observe again")

// SinceStart is what a worker did since it started. A nil price gives no money.
func SinceStart(c Counters, price *Price) Span {
	up := c.Now.Sub(c.Started)
	if c.Started.IsZero() || up < time.Second { // which is as exact as Now is
		up = 0
	}
	return span(c, up, price)
}

// wobble is how far the start of one and the same process may be from itself:
// Linux derives it from a clock that is being set.
const wobble = 5 * time.Second

// Between is what a worker did between two readings of it.
func Between(before, after Counters, price *Price) (Span, error) {
	d := Counters{
		Calls: after.Calls - before.Calls, CallsSaved: after.CallsSaved - before.CallsSaved,
		TokensEncoded: after.TokensEncoded - before.TokensEncoded, TokensSaved: after.TokensSaved - before.TokensSaved,
	}
	if min(d.Calls, d.CallsSaved, d.TokensEncoded, d.TokensSaved) < 0 || after.Started.Sub(before.Started).Abs() > wobble {
		return Span{}, ErrRestarted
	}
	return span(d, after.Read.Sub(before.Read), price), nil
}

func span(c Counters, took time.Duration, price *Price) Span {
	s := Span{
		Seconds: took.Seconds(), Calls: c.Calls, TokensEncoded: c.TokensEncoded, CallsSaved: c.CallsSaved, TokensSaved: c.TokensSaved,
	}
	if price != nil {
		spent, saved := price.Of(c.TokensEncoded), price.Of(c.TokensSaved)
		s.Spent, s.Saved = &spent, &saved
	}
	if took <= 0 {
		return s
	}
	factor := big.NewRat(int64(24*time.Hour), int64(took))
	perDay := func(a *Amount) *Amount {
		if a == nil {
			return nil
		}
		return &Amount{mul(a.Rat(), factor)}
	}
	s.Day = &Day{
		TokensEncoded: Amount{mul(new(big.Rat).SetInt64(c.TokensEncoded), factor)},
		TokensSaved:   Amount{mul(new(big.Rat).SetInt64(c.TokensSaved), factor)},
		Spent:         perDay(s.Spent), Saved: perDay(s.Saved),
	}
	return s
}

// Plus is the sum of two workers. Its Day is nil if that of either is.
func (s Span) Plus(o Span) Span {
	sum := Span{
		Seconds: max(s.Seconds, o.Seconds), Calls: s.Calls + o.Calls, TokensEncoded: s.TokensEncoded + o.TokensEncoded,
		CallsSaved: s.CallsSaved + o.CallsSaved, TokensSaved: s.TokensSaved + o.TokensSaved,
		Spent: both(s.Spent, o.Spent), Saved: both(s.Saved, o.Saved),
	}
	if s.Day != nil && o.Day != nil {
		sum.Day = &Day{
			TokensEncoded: s.Day.TokensEncoded.Plus(o.Day.TokensEncoded), TokensSaved: s.Day.TokensSaved.Plus(o.Day.TokensSaved),
			Spent: both(s.Day.Spent, o.Day.Spent), Saved: both(s.Day.Saved, o.Day.Saved),
		}
	}
	return sum
}

func both(a, b *Amount) *Amount {
	if a == nil || b == nil {
		return nil
	}
	sum := a.Plus(*b)
	return &sum
}
