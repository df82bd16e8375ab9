//go:build synctests

package inprocess

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chunktide/prove/history"
)

// scenario is one fault, the safety that it proves, and what breaks without.
type scenario struct {
	name string
	// proves is the safety that the control takes out.
	proves string
	shape  func(*history.Shape)
	// run is the script, up to where everything must settle.
	run func(w *world)
	// remove takes the safety out, before the run.
	remove func(w *world)
	// breaks are the violations of which the control must show at least one.
	breaks []string
	// met is a fault that must have come; else the scenario is void.
	met string
}

const scenarioSeed = 7

var workers = group{"workers", live}

// play runs a scenario, or its control.
func play(t *testing.T, sc scenario, control bool) report {
	t.Helper()
	return inBubble(t, func(t *testing.T) report {
		s := shape(800)
		s.Texts = 2 // so that contents repeat
		if sc.shape != nil {
			sc.shape(&s)
		}
		seed := setting(t, "CHUNKTIDE_TEST_SEED", scenarioSeed)
		w := newWorld(t, seed, s)
		if control {
			w.patience = 8 * time.Minute
			sc.remove(w)
		}
		sc.run(w)
		return w.finish()
	})
}

func TestScenarios(t *testing.T) {
	for _, sc := range slices.Concat(indexScenarios(), kafkaScenarios(), orderScenarios(), redisScenarios()) {
		t.Run(strings.ReplaceAll(sc.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			r := play(t, sc, false)
			if r.broken() != nil {
				t.Errorf("%s: %s", sc.name, r.String())
			}
			if n := r.met(sc.met); n == 0 {
				t.Errorf("%s: the fault never came, the scenario is void; what came:%s", sc.name, table(r.Faults))
			}
			c := play(t, sc, true)
			if c.met(sc.met) == 0 {
				t.Errorf("%s: the fault never came to the control", sc.name)
			}
			if !slices.ContainsFunc(c.broken(), func(b string) bool { return slices.Contains(sc.breaks, b) }) {
				t.Errorf("%s: without this safety (%s) none of %q breaks, so nothing is proved: %s", sc.name, sc.proves, sc.breaks, c.String())
			}
			t.Logf("%s: met %d times and held; without %s: %s", sc.name, r.met(sc.met), sc.proves, strings.Join(c.broken(), ", "))
		})
	}
}

// met counts the faults whose names begin so.
func (r *report) met(prefix string) (n int) {
	for name, c := range r.Faults {
		if strings.HasPrefix(name, prefix) {
			n += c
		}
	}
	return n
}

// all publishes everything that is left.
func (w *world) all() { w.publish(live, len(w.history.Records)) }

// portions publishes the log in parts, with something after each of them.
func (w *world) portions(n int, then func(i int)) {
	for i := range n {
		w.publish(live, len(w.history.Records)/n+1)
		then(i)
	}
}

// mustSettle is settled, for the middle of a script.
func (w *world) mustSettle() {
	if !w.settled() {
		w.t.Logf("%d records are not committed in the middle of the script", w.behind())
	}
}

// covering are the violations that a write taken for done shows.
func covering() []string { return []string{lost, stale, uncovered} }

// falling are the violations that an old write over a newer one shows.
func falling() []string { return []string{regressed, stale} }

func withoutFence(w *world)   { w.index.unfenced = true }
func withoutOutcome(w *world) { w.index.lenient = true }

const (
	theFence   = "the version fence in the index"
	theOutcome = "the check of a write's outcome"
)

// indexScenarios are about what Qdrant answers.
func indexScenarios() []scenario {
	var out []scenario
	for _, f := range []indexFault{unavailableBefore, exhausted, waitTimeout, acknowledged, halfBatch} {
		out = append(out, scenario{
			name: f.name, proves: theOutcome, breaks: covering(), met: f.name, remove: withoutOutcome,
			run: func(w *world) {
				w.index.some(.5, f)
				w.start("a", workers)
				w.all()
			},
		})
	}
	for _, f := range []indexFault{unavailableAfter, deadlineAfter, waitTimeoutLate} {
		out = append(out, scenario{
			name: f.name + ", beside a group that is behind", proves: theFence, breaks: falling(), met: f.name, remove: withoutFence,
			run: func(w *world) {
				w.index.some(.5, f)
				w.start("a", workers)
				w.all()
				w.mustSettle()
				w.start("b", group{"second", live})
			},
		})
	}
	return append(out, lateScenario(), poisonScenario())
}

// lateScenario: the first write reaches the index long after its worker died
// and another did everything again, and more.
func lateScenario() scenario {
	const late = "index: a write of a dead worker lands"
	return scenario{
		name: late, proves: theFence, breaks: falling(), met: late, remove: withoutFence,
		run: func(w *world) {
			w.plan = func(_ string, life int) fate {
				if life > 0 {
					return fate{}
				}
				return fate{dies: whileApply, nth: 1}
			}
			w.index.fault = func(n int, wr *write) (*answer, error) {
				if n > 0 {
					return wr.do()
				}
				w.tally.count(late)
				wr.later(5 * time.Minute)
				return hangs.do(n, wr)
			}
			w.start("a", workers)
			w.publish(live, 100)
			time.Sleep(time.Second)
			w.all()
		},
	}
}

func poisonScenario() scenario {
	return scenario{
		name: "index: a poisonous point among 256", proves: "the search for the culprit", breaks: covering(), met: "index: a poisonous point",
		remove: func(w *world) { w.wrap = swallowRefusals },
		run: func(w *world) {
			w.kafka.Batch.Events = 256
			half := len(w.history.Records) / 2
			w.poison(1, w.newestOf(half))
			w.index.some(0)
			w.start("a", workers)
			w.publish(live, half)
			w.mustSettle()
			w.all()
		},
	}
}

// orderScenarios are about workers that die, sleep, and read things again.
func orderScenarios() []scenario {
	out := []scenario{{
		name: "zombie", proves: theFence, breaks: falling(), met: "worker frozen", remove: withoutFence,
		run: func(w *world) {
			w.plan = func(worker string, life int) fate {
				if worker != "a" || life > 0 {
					return fate{}
				}
				return fate{freezes: 2 * time.Minute, freezeNth: 1}
			}
			w.start("a", workers)
			w.start("b", workers)
			time.Sleep(20 * time.Second) // both have joined
			w.publish(live, 200)
			time.Sleep(100 * time.Second) // a is given up, b has taken over
			w.all()
		},
	}, {
		name: "offsets reset", proves: theFence, breaks: falling(), met: "offsets reset", remove: withoutFence,
		run: func(w *world) {
			w.start("a", workers)
			w.all()
			w.mustSettle()
			w.replay(workers)
		},
	}, {
		name: "another group", proves: theFence, breaks: falling(), met: "another group", remove: withoutFence,
		run: func(w *world) {
			w.start("a", workers)
			w.all()
			w.mustSettle()
			w.tally.count("another group reads everything again")
			w.start("b", group{"second", live})
		},
	}, {
		name: "backfill", proves: theFence, breaks: falling(), met: "a backfill", remove: withoutFence,
		run: func(w *world) {
			w.start("a", workers)
			w.all()
			w.mustSettle()
			w.backfill(w.shape.Events / 4)
		},
	}}
	for _, s := range steps() {
		out = append(out, scenario{
			name: fmt.Sprint("killed ", s), proves: "the commit only after the acknowledgement", breaks: covering(), met: fmt.Sprint("worker killed ", s),
			remove: func(w *world) { w.wrap = ackInNext },
			run: func(w *world) {
				w.plan = func(_ string, life int) fate {
					if life >= 2 {
						return fate{}
					}
					return fate{dies: s, nth: 2}
				}
				w.start("a", workers)
				w.all()
			},
		})
	}
	return out
}
