package cost

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// fakeWorker has a worker's metrics on a real registry.
type fakeWorker struct {
	calls, tokens           *prometheus.CounterVec
	callsSaved, tokensSaved prometheus.Counter
	url                     string
}

// newFakeWorker serves one that has run for an hour.
func newFakeWorker(t *testing.T) *fakeWorker {
	t.Helper()
	w := &fakeWorker{
		calls:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricCalls, Help: "x"}, []string{"kind"}),
		tokens:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricEncoded, Help: "x"}, []string{"kind"}),
		callsSaved:  prometheus.NewCounter(prometheus.CounterOpts{Name: metricCallsSaved, Help: "x"}),
		tokensSaved: prometheus.NewCounter(prometheus.CounterOpts{Name: metricTokensSaved, Help: "x"}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricBuild, Help: "x"}, []string{"version", "model_version"})
	build.WithLabelValues("1.2.3", "mini@0123456789ab").Set(1)
	start := prometheus.NewGauge(prometheus.GaugeOpts{Name: metricStart, Help: "x"})
	// By the worker's clock, which is a day behind ours.
	now := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	start.Set(float64(now.Add(-time.Hour).UnixMilli()) / 1000)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(w.calls, w.tokens, w.callsSaved, w.tokensSaved, build, start)
	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		metrics.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL + "/metrics"
	return w
}

func (w *fakeWorker) work(calls, tokens, saved, tokensSaved float64) {
	w.calls.WithLabelValues("document").Add(calls - 1)
	w.calls.WithLabelValues("query").Inc()
	w.tokens.WithLabelValues("document").Add(tokens - 7)
	w.tokens.WithLabelValues("query").Add(7)
	w.callsSaved.Add(saved)
	w.tokensSaved.Add(tokensSaved)
}

func TestObserveARealRegistry(t *testing.T) {
	w := newFakeWorker(t)
	w.work(100, 50_000, 300, 150_000)
	first, err := Fetch(t.Context(), http.DefaultClient, w.url)
	if err != nil {
		t.Fatal(err)
	}
	price := PerThousand(big.NewRat(1, 50))
	s := SinceStart(first, &price)
	// 50 and 150 thousands at 0.02, and 24 times of that in a day.
	if first.Model != "mini@0123456789ab" || s.Seconds != 3600 || s.Calls != 100 || s.CallsSaved != 300 || s.TokensEncoded != 50_000 || s.TokensSaved != 150_000 ||
		s.Spent.String() != "1.00" || s.Saved.String() != "3.00" || s.Day.Spent.String() != "24.00" || s.Day.Saved.String() != "72.00" ||
		s.Day.TokensEncoded.String() != "1,200,000.00" || s.Day.TokensSaved.String() != "3,600,000.00" {
		text, _ := json.Marshal(s)
		t.Errorf("since the start: %s", text)
	}
	w.work(2, 1000, 1, 500)
	second, err := Fetch(t.Context(), http.DefaultClient, w.url)
	if err != nil {
		t.Fatal(err)
	}
	second.Read = first.Read.Add(10 * time.Second)
	b, err := Between(first, second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Calls != 2 || b.TokensEncoded != 1000 || b.CallsSaved != 1 || b.TokensSaved != 500 || b.Spent != nil || b.Saved != nil ||
		b.Day.TokensEncoded.String() != "8,640,000.00" || b.Day.Spent != nil {
		t.Errorf("between the readings: %+v", b)
	}
	if _, err := Between(second, first, nil); !errors.Is(err, ErrRestarted) {
		t.Errorf("counters that fall: %v", err)
	}
	second.Started = second.Started.Add(time.Minute)
	if _, err := Between(first, second, nil); !errors.Is(err, ErrRestarted) {
		t.Errorf("a later start: %v", err)
	}
}

func TestWorkersAddUp(t *testing.T) {
	price := PerThousand(big.NewRat(1, 10))
	start := time.Now()
	one := SinceStart(Counters{Calls: 1, TokensEncoded: 1000, CallsSaved: 2, TokensSaved: 500, Started: start, Now: start.Add(time.Hour)}, &price)
	two := SinceStart(Counters{Calls: 10, TokensEncoded: 4000, CallsSaved: 20, TokensSaved: 2000, Started: start, Now: start.Add(2 * time.Hour)}, &price)
	sum := one.Plus(two)
	// 0.10 in one hour and 0.40 in two are 2.40 and 4.80 in a day.
	if sum.Seconds != 7200 || sum.Calls != 11 || sum.TokensEncoded != 5000 || sum.CallsSaved != 22 || sum.TokensSaved != 2500 ||
		sum.Spent.String() != "0.50" || sum.Saved.String() != "0.25" || sum.Day.Spent.String() != "7.20" || sum.Day.Saved.String() != "3.60" {
		t.Errorf("both: %+v, %+v", sum, sum.Day)
	}
	// A worker whose start is not known, or just now, has no rate; nor has the sum.
	for _, young := range []Counters{{Calls: 1, Now: start}, {Calls: 1, Started: start, Now: start.Add(time.Second / 2)}} {
		if s := SinceStart(young, &price); s.Calls != 1 || s.Day != nil || one.Plus(s).Day != nil {
			t.Errorf("without a time: %+v", s)
		}
	}
}

// A proxy may drop the lines that tell the types.
func TestFetchWithoutTypes(t *testing.T) {
	c, err := parse(strings.NewReader(strings.Join([]string{
		metricCalls + `{kind="document"} 3`, metricCalls + `{kind="query"} 1`, metricCallsSaved + " 5", metricEncoded + " 6", metricTokensSaved + " 7",
		metricStart + " 1.5e9", "",
	}, "\n")))
	if err != nil || c.Calls != 4 || c.CallsSaved != 5 || c.TokensEncoded != 6 || c.TokensSaved != 7 || c.Started.Unix() != 1_500_000_000 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestFetchSaysWhatIsWrong(t *testing.T) {
	answers := map[string]struct{ body, want string }{
		"/other":  {"# TYPE up gauge\nup 1\n", metricEncoded},
		"/html":   {"<html>hello</html>", "text format"},
		"/broken": {metricEncoded + " many\n", "text format"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, ok := answers[r.URL.Path]; ok {
			fmt.Fprint(w, a.body)
			return
		}
		http.NotFound(w, r)
	}))
	for path, a := range answers {
		if _, err := Fetch(t.Context(), http.DefaultClient, server.URL+path); err == nil || !strings.Contains(err.Error(), a.want) {
			t.Errorf("%s: %v, want it to name %s", path, err, a.want)
		}
	}
	if _, err := Fetch(t.Context(), http.DefaultClient, server.URL+"/none"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("not found: %v", err)
	}
	server.Close()
	if _, err := Fetch(t.Context(), http.DefaultClient, server.URL); err == nil || !strings.Contains(err.Error(), "admin.address") {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := Fetch(t.Context(), http.DefaultClient, "://"); err == nil {
		t.Error("no URL was accepted")
	}
}
