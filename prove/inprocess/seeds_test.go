//go:build synctests

package inprocess

import (
	"maps"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"chunktide/pipeline"
	"chunktide/prove/history"
)

func TestMain(m *testing.M) {
	// Thousands of short lives make much garbage and keep little.
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

const (
	events = 2000
	// few chunks see many states each, and more of them in one batch.
	chunks      = 32
	perDocument = 4
)

func shape(events int) history.Shape {
	s := history.DefaultShape(events, chunks, partitions)
	s.PerDocument = perDocument
	return s
}

// number of an environment variable; otherwise if it is not set.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestSeeds is everything at once: each seed draws its workers, its groups and
// what goes wrong with each of the three servers.
func TestSeeds(t *testing.T) {
	first, n := uint64(1), setting(t, "CHUNKTIDE_TEST_SEEDS", 500)
	if testing.Short() {
		n = min(n, 20)
	}
	if os.Getenv("CHUNKTIDE_TEST_SEED") != "" {
		first, n = setting(t, "CHUNKTIDE_TEST_SEED", 1), 1
	}
	var mu sync.Mutex
	sum := report{Faults: map[string]int{}}
	began := time.Now()
	t.Run("seed", func(t *testing.T) {
		for seed := first; seed < first+n; seed++ {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				r := inBubble(t, func(t *testing.T) report { return everything(t, seed) })
				if r.broken() != nil {
					t.Errorf("%s\nrun it again: CHUNKTIDE_TEST_SEED=%d go test -race -tags synctests -run TestSeeds ./prove/inprocess", r.String(), seed)
				}
				t.Logf("%d commits, %s by the bubble's clock", r.Commits, r.Took.Round(time.Second))
				mu.Lock()
				defer mu.Unlock()
				sum.Calls, sum.Again, sum.Commits = sum.Calls+r.Calls, sum.Again+r.Again, sum.Commits+r.Commits
				for k, c := range r.Faults {
					sum.Faults[k] += c
				}
			})
		}
	})
	total := 0
	for c := range maps.Values(sum.Faults) {
		total += c
	}
	t.Logf("%d seeds of %d events in %s: %d faults, %d commits, %d texts encoded, %d of them again%s",
		n, events, time.Since(began).Round(time.Second), total, sum.Commits, sum.Calls, sum.Again, table(sum.Faults))
}

// draw is a die that depends on the seed and on what it is thrown for.
func (w *world) draw(what string, sides int) int { return int(w.number(what, 0) % uint64(sides)) }

// everything is the life of one seed.
func everything(t *testing.T, seed uint64) report {
	w := newWorld(t, seed, shape(events))
	w.kafka.Batch.Events = []int{96, 128, 192, 256}[w.draw("batch", 4)]
	// The embedded broker's wait for members that are gone begins anew with each
	// that joins, which a real one's does not. Those that are left join again
	// when they have waited for this and 15 s more: three of them must not keep
	// the wait going for ever.
	w.kafka.RebalanceTimeout, w.kafka.Heartbeat = 7*time.Second, time.Second
	w.cache.MemoryBytes = []int64{0, 1 << 20}[w.draw("memory", 2)]
	w.poison(1+w.draw("poison", 3), nil)
	w.index.some(float64(w.draw("index", 4))*.1, indexFaults()...)
	w.index.someReads(.05)
	w.plan = w.misfortune
	for _, name := range []string{"a", "b", "c"}[:1+w.draw("workers", 3)] {
		w.start(name, workers)
	}
	const portions = 4
	for i := range portions {
		w.publish(live, len(w.history.Records)/portions+1)
		if i == portions/2 {
			w.company()
		}
		w.mishaps(i)
	}
	if w.draw("replay", 10) == 0 && w.settled() {
		w.replay(workers)
	}
	return w.finish()
}

// misfortune kills and freezes the first lives of a worker.
func (w *world) misfortune(worker string, life int) fate {
	var f fate
	if life >= 2 || w.number("lucky "+worker, life)%2 == 0 {
		return f
	}
	draw := w.number("fate "+worker, life)
	if draw%4 == 0 {
		return fate{freezes: time.Duration(40+draw/4%40) * time.Second, freezeNth: 1 + int(draw/1000%4)}
	}
	return fate{dies: steps()[draw/4%uint64(len(steps()))], nth: 2 + int(draw/1000%6)}
}

// company is another group on the same collection, or rows of a backfill that
// were read long before they are written.
func (w *world) company() {
	if w.draw("second group", 8) == 0 {
		w.tally.count("another group reads everything again")
		w.start("second", group{"second", live})
	}
	if w.draw("backfill", 5) == 0 {
		w.backfill(events / 4)
	}
}

// backfill publishes the living rows as they were after n events, for a worker
// of their own.
func (w *world) backfill(n int) {
	w.tally.count("a backfill writes old rows")
	rows := history.Snapshot(w.seed, w.shape, n)
	needs := needsOf(rows)
	for i := range rows {
		if w.index.poison[state{needs[i].id, needs[i].version}] {
			rows[i].Kind, needs[i].kind = history.Refused, history.Refused
		}
	}
	w.audit.mu.Lock() // it reads both at every commit
	w.logs[backfill], w.audit.needs[backfill] = newLog(rows), needs
	w.audit.mu.Unlock()
	w.publish(backfill, len(rows))
	w.start("backfill", group{"backfill", backfill})
}

// mishaps are a few things that happen to Kafka and Redis, some time apart.
func (w *world) mishaps(round int) {
	for k := range 2 {
		n := 10*round + k
		draw := w.number("kafka", n)
		faults := kafkaFaults()
		faults[draw%uint64(len(faults))].do(w, draw/100)
		time.Sleep(time.Duration(draw/1000%3000) * time.Millisecond)
		draw = w.number("redis", n)
		if fault := draw % 16; fault < uint64(len(redisFaults())) {
			redisFaults()[fault].do(w)
		}
		time.Sleep(time.Duration(draw/1000%10_000) * time.Millisecond)
	}
}

// replay resets the offsets of a group by half of the log, while it is empty.
func (w *world) replay(g group) {
	w.halt()
	w.tally.count("offsets reset by half of the log")
	cl := w.client()
	defer cl.Close()
	var offsets kadm.Offsets
	for p, records := range w.logs[g.topic].offsets {
		offsets.Add(kadm.Offset{Topic: g.topic, Partition: p, At: int64(len(records) / 2), LeaderEpoch: -1})
	}
	// A refusal that was meant for a worker may meet this commit.
	for kadm.NewClient(cl).CommitAllOffsets(w.t.Context(), g.name, offsets) != nil {
		time.Sleep(time.Second)
	}
	w.resume()
	w.start("replay", g)
}

// Without faults nothing goes wrong, and each text is encoded once. The control
// forgets its vectors.
func TestWithoutFaults(t *testing.T) {
	play := func(wrap func(*pipeline.Parts)) (r report, texts int) {
		r = inBubble(t, func(t *testing.T) report {
			s := shape(events)
			s.Texts = 2
			w := newWorld(t, 1, s)
			w.wrap = wrap
			w.all()
			w.start("a", workers)
			texts = len(w.history.Texts)
			return w.finish()
		})
		if broken := r.broken(); broken != nil || len(r.Surprises) > 0 {
			t.Error(r.String())
		}
		return r, texts
	}
	r, texts := play(nil)
	if r.Again > 0 || r.Calls > texts {
		t.Errorf("%d texts encoded, %d of them again; there are %d", r.Calls, r.Again, texts)
	}
	if r, _ := play(forgetAll); r.Again == 0 {
		t.Error("a worker that forgets every vector encodes no text again: nothing is counted")
	}
}
