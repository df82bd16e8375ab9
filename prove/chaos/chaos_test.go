package chaos

import (
	"slices"
	"strings"
	"testing"

	"chunktide/devstack/realservers"
)

// logger is a test's log as a writer.
type logger struct{ t *testing.T }

func (l logger) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func runPlan(t *testing.T, c Config) *Report {
	t.Helper()
	realservers.RequireKafka(t)
	realservers.RequireRedis(t)
	c.Progress = logger{t} // its folder is kept if something is wrong
	if HaveQdrantCommand() {
		c.Plan.Faults[KillQdrant] = 1
	}
	report, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	report.Print(&text)
	t.Log("\n" + text.String())
	for _, f := range slices.Concat(report.Failures, report.Unclean, report.Disturbed) {
		t.Log(f)
	}
	return report
}

// The short form of `make chaos`: the same code, smaller counts.
func TestTheIndexSurvivesChaos(t *testing.T) {
	report := runPlan(t, Config{Seed: 1, Plan: Plan{
		Events: 9000, Chunks: 900, Texts: 20, Partitions: 6, Workers: 3, Rate: 250,
		Faults: map[Kind]int{
			KillWorker: 3, FreezeWorker: 1, ResetOffsets: 1, KillRedis: 1, FlushRedis: 1, FlipBit: 20,
			KillBroker: 1, Backfill: 1, Cut: 4, Delay: 4, LoseAnswer: 4,
		},
	}})
	for _, wrong := range report.Wrong() {
		t.Error(wrong)
	}
}

// Control: without the fence the same kind of run must leave traces.
func TestControlChaosWithoutTheFence(t *testing.T) {
	report := runPlan(t, Config{Seed: 1, Unfenced: true, Plan: Plan{
		Events: 3000, Chunks: 300, Texts: 20, Partitions: 6, Workers: 3, Rate: 400,
		Faults: map[Kind]int{KillWorker: 1, ResetOffsets: 1, LoseAnswer: 2},
	}})
	if !report.Caught() {
		t.Errorf("nothing is stale, resurrected or fallen: %+v", report.Verdict)
	}
}
