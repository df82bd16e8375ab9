package ceiling

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chunktide/embedder"
	"chunktide/embedder/tune"
)

// settings are the defaults, changed by the environment: for a GPU
// CHUNKTIDE_TEST_PROVIDER, CHUNKTIDE_TEST_MODEL_DIR and
// CHUNKTIDE_TEST_ONNXRUNTIME.
func settings() embedder.Config {
	cfg := embedder.DefaultConfig()
	if p := os.Getenv("CHUNKTIDE_TEST_PROVIDER"); p != "" {
		cfg.Provider = p
	}
	cfg.ModelDir, cfg.ONNXRuntimeLibrary = os.Getenv("CHUNKTIDE_TEST_MODEL_DIR"), os.Getenv("CHUNKTIDE_TEST_ONNXRUNTIME")
	return cfg
}

// corpus is texts of mixed lengths in batches of about 16,384 tokens: mean 50
// tokens, 95th percentile 180, as documentation has them.
func corpus(batches int) [][]string {
	list := strings.Fields("the index keeps a vector of every chunk and model in its log while readers ask for documents " +
		"that producers changed since morning offset partition commit replay batch tokens pooling cosine distance")
	rng := rand.New(rand.NewPCG(3, 4))
	out := make([][]string, batches)
	for i := range out {
		for range 330 {
			words := make([]string, int(min(max(math.Exp(3.2+1.15*rng.NormFloat64()), 1), 240)))
			for k := range words {
				words[k] = list[rng.IntN(len(list))]
			}
			out[i] = append(out[i], strings.Join(words, " "))
		}
	}
	return out
}

func openBoth(tb testing.TB, cfg embedder.Config) (embedder.Encoder, *Bare) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs what `make setup` fetches")
	}
	e, err := embedder.New(tb.Context(), cfg, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	bare, err := Open(cfg, 0, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := bare.Close(); err != nil {
			tb.Error(err)
		}
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e, bare
}

func pack(tb testing.TB, e embedder.Encoder, bare *Bare, batches [][]string) *Packed {
	tb.Helper()
	var sequences [][]int64
	for _, texts := range batches {
		for _, s := range texts {
			ids, err := e.TokenIDs(s)
			if err != nil {
				tb.Fatal(err)
			}
			sequences = append(sequences, ids)
		}
	}
	p, err := bare.Pack(sequences)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// Both sides do the same work, and no run of the ceiling holds padding.
func TestBothDoTheSameTokens(t *testing.T) {
	cfg := embedder.DefaultConfig()
	cfg.ModelDir = "../../embedder/testdata/tiny"
	e, bare := openBoth(t, cfg)
	batches := corpus(1)
	p := pack(t, e, bare, batches)
	want := 0
	for _, s := range batches[0] {
		want += e.Tokens(s)
	}
	padded := 0
	for _, r := range p.runs {
		padded += r.texts * r.width
		if r.texts*r.width > 512 && r.texts > 1 {
			t.Errorf("a run of %d × %d", r.texts, r.width)
		}
	}
	if p.Tokens != want || padded != want {
		t.Errorf("%d tokens in runs of %d, want %d", p.Tokens, padded, want)
	}
	if _, err := bare.Run(p); err != nil {
		t.Error(err)
	}
	if _, err := Encode(context.Background(), e, batches, 2); err != nil {
		t.Error(err)
	}
}

// batchesOfRound is how many batches of 16,384 tokens a side encodes in one round.
const batchesOfRound = 2

// BenchmarkCeiling prints ratio, the encoder's share of the ceiling: the
// median of the rounds, of which -benchtime 7x makes seven. Beside it stands
// cpu-ratio, the same of the time that the processors worked for us: it does
// not see idle lanes, and other processes disturb it less.
func BenchmarkCeiling(b *testing.B) {
	cfg := settings()
	for _, inFlight := range []int{1, 2} {
		b.Run(fmt.Sprintf("calls=%d", inFlight), func(b *testing.B) {
			e, bare := openBoth(b, cfg)
			batches := corpus(batchesOfRound)
			p := pack(b, e, bare, batches)
			busy := watchGPU(b, cfg)
			var ratios, work, encoder, ceiling []float64
			round := func(order bool) {
				var times, cpu [2]time.Duration
				for _, side := range map[bool][]int{false: {0, 1}, true: {1, 0}}[order] {
					var err error
					cpu[side] = -cpuTime()
					if side == 0 {
						times[0], err = bare.Run(p)
					} else {
						times[1], err = Encode(context.Background(), e, batches, inFlight)
					}
					cpu[side] += cpuTime()
					if err != nil {
						b.Fatal(err)
					}
				}
				work = append(work, cpu[0].Seconds()/cpu[1].Seconds())
				ratios = append(ratios, times[0].Seconds()/times[1].Seconds())
				ceiling = append(ceiling, float64(p.Tokens)/times[0].Seconds())
				encoder = append(encoder, float64(p.Tokens)/times[1].Seconds())
			}
			round(false) // warms up
			ratios, work, ceiling, encoder = nil, nil, nil, nil
			for i := 0; b.Loop(); i++ {
				round(i%2 == 1)
			}
			b.ReportMetric(tune.Median(ratios), "ratio")
			b.ReportMetric(slices.Min(ratios), "ratio-min")
			b.ReportMetric(slices.Max(ratios), "ratio-max")
			b.ReportMetric(tune.Median(work), "cpu-ratio")
			b.ReportMetric(tune.Median(ceiling), "bare-tokens/s")
			b.ReportMetric(tune.Median(encoder), "tokens/s")
			if share, ok := busy(); ok {
				b.ReportMetric(share, "gpu-busy-%")
			}
		})
	}
}

// cpuTime is what this process has had of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// watchGPU has nvidia-smi sample how busy the first GPU is; the function it
// returns stops it and gives the mean over both sides.
func watchGPU(b *testing.B, cfg embedder.Config) func() (percent float64, ok bool) {
	if cfg.Provider == embedder.ProviderCPU {
		return func() (float64, bool) { return 0, false }
	}
	cmd := exec.CommandContext(b.Context(), "nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits",
		"--loop-ms=100", fmt.Sprintf("--id=%d", cfg.Devices[0]))
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		b.Fatalf("nvidia-smi, which comes with the driver, tells how busy the GPU is: %v", err)
	}
	return func() (float64, bool) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return meanOfLines(out.String())
	}
}

func meanOfLines(out string) (mean float64, ok bool) {
	n := 0
	for line := range strings.Lines(out) {
		v, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
		if err != nil {
			continue // the last line may be cut off
		}
		mean, n = mean+v, n+1
	}
	return mean / float64(max(n, 1)), n > 0
}

func TestMeanOfLines(t *testing.T) {
	if mean, ok := meanOfLines("90\n 100\n[N/A]\n"); !ok || mean != 95 {
		t.Errorf("%v, %v", mean, ok)
	}
	if _, ok := meanOfLines(""); ok {
		t.Error("no samples have a mean")
	}
}
