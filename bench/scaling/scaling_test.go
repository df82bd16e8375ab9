package scaling

import (
	"os"
	"strings"
	"testing"
)

var sizes = Sizes{
	Cores: 2, ModelVersion: "m@1", TextBytes: 400, TextTokens: 100, EventBytes: 600, KafkaBytes: 300, PayloadBytes: 500,
	RedisBytes: map[string]float64{"384 fp32": 2000}, TokensPerSecond: 1000, EventsPerSecond: 10_000,
}

func TestPlanByHand(t *testing.T) {
	a := Assumptions{
		Dimensions: 384, Tokens: 100, Daily: .864, Peak: 2, HitRate: .5, BackfillHours: 10,
		Replication: 2, KafkaReplication: 3, NodeGiB: 1, Load: .5,
	}
	// A million chunks change 0.864 times a day: ten a second, at the peak
	// twenty; half of them go through the model, at 100 tokens each.
	want := map[string]string{
		"changes/s at the peak":                  "20",
		"tokens/s to encode":                     "1,000",
		"workers, model on their cores":          "2",       // half of 1000 tokens/s each
		"to fill it in a day: tokens/s":          "1,389",   // 50e6 tokens in 36,000 s
		"workers for that, on their cores":       "3",       // 1389/500
		"workers for that, model in a service":   "1",       // 27.8 events/s of 5000
		"partitions":                             "12",      //
		"the topic, compacted, on all brokers":   "1.35 GB", // 300·1.5·3
		"Qdrant: vectors in memory":              "2.3 GB",  // 384·4·1.5 = 2304
		"Qdrant: int8 in memory, floats on disk": "576 MB",  //
		"Qdrant: disk, a replica":                "3.2 GB",  // 2304 + 500 + 400
		"Qdrant: nodes, floats in memory":        "10",      // 2.304e9/(0.5 GiB) = 4.29, twice
		"Qdrant: nodes, int8 in memory":          "4",       // 1.07 → 2, twice
		"Qdrant: shards":                         "10",      // twice five
		"Redis: every vector, fp32":              "2 GB",    //
		"Redis: nodes for that":                  "4",       // 3.7
		"disk of index verify, spilled":          "99 MB",   //
	}
	got := map[string]string{}
	for _, f := range Plan(sizes, a, 1e6) {
		got[f.Name] = f.Values[0]
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %q, want %q", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d figures, want %d: %v", len(got), len(want), got)
	}
}

// More is never less, and ten thousand times the chunks takes ten thousand
// times the room.
func TestPlanGrows(t *testing.T) {
	for _, f := range Plan(sizes, DefaultAssumptions(), 1e6, 1e8, 1e10) {
		if len(f.Values) != 3 || f.Formula == "" {
			t.Errorf("%s: %v, %q", f.Name, f.Values, f.Formula)
		}
	}
}

// docs/SCALING.md says what its measurements and this package say.
func TestPageIsCurrent(t *testing.T) {
	const docs = "../../docs"
	page, err := os.ReadFile(docs + "/SCALING.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := Page(docs)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != want {
		t.Error("docs/SCALING.md is not what docs/scaling.json makes of it: go run ./bench/cmd/scaling")
	}
	if !strings.Contains(want, "| 10⁶ | 10⁸ | 10¹⁰ |") {
		t.Error("there is no table for three sizes")
	}
	if _, err := between(string(page), "nothing", ""); err == nil {
		t.Error("a page without marks was filled in")
	}
}

func TestFigures(t *testing.T) {
	for got, want := range map[string]string{
		rate(0.0234): "0.023", rate(5.78): "5.8", rate(1234567): "1,234,567", count(11.2): "12",
		size(1.5e6): "2 MB", size(2.304e9): "2.3 GB", size(23.04e12): "23 TB", grouped(999): "999", grouped(1000): "1,000",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
