package model

import (
	"os"
	"strconv"
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

func TestTheProtocolHolds(t *testing.T) {
	events, faults := 0, 0
	n := seeds(t, 2000)
	for seed := range n {
		r := Run(seed, None)
		events += r.Events
		faults += r.Faults
		if r.Violation != "" {
			t.Fatalf("seed %d: %s", seed, r.Violation)
		}
	}
	t.Logf("%d seeds, %d events, %d faults, no violation", n, events, faults)
}

func TestEveryMutantDies(t *testing.T) {
	for _, m := range Mutants() {
		t.Run(string(m), func(t *testing.T) {
			for seed := range uint64(2000) {
				if r := Run(seed, m); r.Violation != "" {
					t.Logf("seed %d: %s", seed, r.Violation)
					return
				}
			}
			t.Error("nobody notices that this rule is broken")
		})
	}
}
