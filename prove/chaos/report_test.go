package chaos

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/consumer"
	"chunktide/prove/history"
)

func goodReport() Report {
	return Report{Fenced: true, Looks: 9, Faults: []Injected{{KillWorker, 3, 3, 0}, {Cut, 4, 2, 5}}}
}

// A report that cannot be made to say no proves nothing.
func TestReportIsAgainstEachViolation(t *testing.T) {
	good := goodReport()
	if !good.Good() || good.Caught() {
		t.Fatalf("a good report has %v against it", good.Wrong())
	}
	for want, damage := range map[string]func(*Report){
		"1 lost":                    func(r *Report) { r.Lost = 1 },
		"1 stale":                   func(r *Report) { r.Stale = 1 },
		"1 doubled":                 func(r *Report) { r.Doubled = 1 },
		"1 resurrected":             func(r *Report) { r.Resurrected = 1 },
		"1 regressed":               func(r *Report) { r.Regressed = 1 },
		"1 wrong vectors":           func(r *Report) { r.WrongVector = 1 },
		"1 dead letters missing":    func(r *Report) { r.LettersMissing = 1 },
		"1 dead letters wrong":      func(r *Report) { r.LettersWrong = 1 },
		"2 of 3 times worker":       func(r *Report) { r.Faults[0].Injected = 2 },
		"1 of 4 times connection":   func(r *Report) { r.Faults[1].Injected = 1 },
		"nobody watched":            func(r *Report) { r.Looks = 0 },
		"1 stops that were not cle": func(r *Report) { r.Unclean = []string{"worker-1"} },
	} {
		r := goodReport()
		damage(&r)
		if wrong := r.Wrong(); len(wrong) != 1 || !strings.HasPrefix(wrong[0], want) {
			t.Errorf("%v against it, want %q", wrong, want)
		}
		var text strings.Builder
		if r.Print(&text); !strings.Contains(text.String(), "VIOLATED: "+want) {
			t.Errorf("printed as\n%s", &text)
		}
	}
}

func TestControlIsCaughtByWhatTheFencePrevents(t *testing.T) {
	for _, verdict := range []history.Verdict{{Stale: 1}, {Resurrected: 1}} {
		if r := (Report{Verdict: verdict}); !r.Caught() {
			t.Errorf("%+v is not caught", verdict)
		}
	}
	if r := (Report{Regressed: 1}); !r.Caught() {
		t.Error("a fallen version is not caught")
	}
	// What the fence is not for shows nothing about it.
	if r := (Report{Verdict: history.Verdict{Lost: 1}, LettersMissing: 1}); r.Caught() {
		t.Error("a lost chunk is taken for the fence's work")
	}
}

func TestStallsCountFromTheLastProgressWhileThereIsLag(t *testing.T) {
	var s stalls
	at := func(second int, lag, committed int64, err error) {
		s.see(time.Unix(int64(second), 0), lag, committed, err)
	}
	at(1, 10, 0, nil)
	at(2, 10, 5, nil) // progress
	at(4, 10, 5, nil)
	at(6, 0, 0, errors.New("no answer")) // nobody knows, so it counts
	at(9, 10, 6, nil)
	if s.longest != 4*time.Second {
		t.Errorf("longest %v, want 4s", s.longest)
	}
	at(20, 0, 16, nil)
	at(99, 0, 16, nil) // idle is no stall
	at(100, 10, 3, nil)
	if s.longest != 4*time.Second {
		t.Errorf("longest %v, want 4s", s.longest)
	}
}

func TestOriginOfADeadLetter(t *testing.T) {
	letter := func(topic, partition, offset string) *kgo.Record {
		return &kgo.Record{Headers: []kgo.RecordHeader{
			{Key: consumer.HeaderTopic, Value: []byte(topic)}, {Key: consumer.HeaderPartition, Value: []byte(partition)},
			{Key: consumer.HeaderOffset, Value: []byte(offset)},
		}}
	}
	if at, ok := origin(letter("t", "3", "77"), "t"); !ok || at != (place{3, 77}) {
		t.Errorf("%v, %v", at, ok)
	}
	for _, bad := range []*kgo.Record{letter("other", "3", "77"), letter("t", "x", "77"), letter("t", "3", ""), {}} {
		if at, ok := origin(bad, "t"); ok {
			t.Errorf("%v of %v", at, bad.Headers)
		}
	}
}

// samplesOf makes a soak of 100 samples in which each size goes as told.
func samplesOf(of map[string]func(at float64) float64) (samples []sizes) {
	for i := range 100 {
		s := sizes{at: float64(i) / 100}
		for name, size := range of {
			s[name] = size(s[at])
		}
		samples = append(samples, s)
	}
	return samples
}

func TestSoakFindsGrowth(t *testing.T) {
	growing := func(x float64) float64 { return 1000 * (1 + .1*x) }
	shrinking := func(x float64) float64 { return 1000 * (1 - .2*x) }
	level := func(x float64) float64 { return 1000 + 20*math.Sin(1000*x) }
	few := func(x float64) float64 { return 12 + math.Round(x) } // one more of a dozen
	for name, c := range map[string]struct {
		size func(float64) float64
		bad  bool
	}{
		"worker-0 resident bytes": {growing, true}, "worker-1 resident bytes": {shrinking, false}, "worker-0 goroutines": {level, false},
		"worker-0 open files": {few, false}, "redis keys": {shrinking, true}, "qdrant points": {level, false},
		"redis used bytes": {func(float64) float64 { return math.NaN() }, true},
	} {
		got, err := compare(samplesOf(map[string]func(float64) float64{name: c.size}))
		if err != nil || len(got) != 1 || got[0].Bad != c.bad {
			t.Errorf("%s: %+v, %v; want bad: %v", name, got, err, c.bad)
		}
	}
	if _, err := compare(samplesOf(map[string]func(float64) float64{"redis keys": level})[:60]); err == nil {
		t.Error("a soak without an end was compared")
	}
}
