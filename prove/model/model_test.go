package model

import (
	"os"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// seeds is how many histories the protocol must survive; `make prove` asks for
// more.
func seeds(t *testing.T, otherwise uint64) uint64 {
	t.Helper()
	v := os.Getenv("CHUNKTIDE_TEST_SEEDS")
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("CHUNKTIDE_TEST_SEEDS: %v", err)
	}
	return n
}

// total is the sum over many histories.
type total struct {
	events int
	faults Faults
	// failed is the lowest seed that was violated.
	failed    uint64
	violation string
}

// add adds one history to the sum.
func (s *total) add(seed uint64, r Result) {
	s.events += r.Events
	sum, one := reflect.ValueOf(&s.faults).Elem(), reflect.ValueOf(r.Faults)
	for i := range sum.NumField() {
		sum.Field(i).SetInt(sum.Field(i).Int() + one.Field(i).Int())
	}
	if r.Violation != "" && (s.violation == "" || seed < s.failed) {
		s.failed, s.violation = seed, r.Violation
	}
}

// runAll runs seeds 0 … n-1 on all processors, or up to the first that is
// violated.
func runAll(n uint64, mutant Mutant) total {
	var (
		sum     total
		next    atomic.Uint64
		end     atomic.Uint64
		mu      sync.Mutex
		running sync.WaitGroup
	)
	end.Store(n)
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			var mine total
			for {
				seed := next.Add(1) - 1
				if seed >= end.Load() {
					break
				}
				r := Run(seed, mutant)
				mine.add(seed, r)
				for last := end.Load(); r.Violation != "" && seed < last && !end.CompareAndSwap(last, seed); {
					last = end.Load()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(mine.failed, Result{Violation: mine.violation, Events: mine.events, Faults: mine.faults})
		})
	}
	running.Wait()
	return sum
}

func TestTheProtocolHolds(t *testing.T) {
	n := seeds(t, 2000)
	sum := runAll(n, None)
	if sum.violation != "" {
		t.Fatalf("seed %d: %s", sum.failed, sum.violation)
	}
	t.Logf("%d seeds, %d events, no violation, %+v", n, sum.events, sum.faults)
	// A fault that never happens proves nothing.
	for i, v := 0, reflect.ValueOf(sum.faults); i < v.NumField(); i++ {
		if v.Field(i).Int() == 0 {
			t.Errorf("no history saw a fault of the kind %s", v.Type().Field(i).Name)
		}
	}
}

func TestEveryMutantDies(t *testing.T) {
	for _, m := range Mutants() {
		t.Run(string(m), func(t *testing.T) {
			sum := runAll(2000, m)
			if sum.violation == "" {
				t.Fatal("nobody notices that this rule is broken")
			}
			t.Logf("seed %d: %s", sum.failed, sum.violation)
		})
	}
}

func TestASeedIsOneHistory(t *testing.T) {
	seen := map[uint64]bool{}
	for seed := range uint64(100) {
		first, second := Run(seed, None), Run(seed, None)
		if first != second {
			t.Errorf("seed %d: %+v, then %+v", seed, first, second)
		}
		seen[first.Fingerprint] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 seeds are %d histories", len(seen))
	}
}
