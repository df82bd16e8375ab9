//go:build synctests

package inprocess

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/chunk"
	"chunktide/prove/history"
)

// report is what is known at the end of a run.
type report struct {
	history.Verdict
	// Regressed counts stored versions that fell.
	Regressed int
	// Uncovered are offsets that were committed too early.
	Uncovered []string
	// Missing records are not in the dead letters, Wrong ones are.
	Missing, Wrong int
	// Stuck says that not all was committed in the end: Behind records were
	// not.
	Stuck  bool
	Behind int
	// Surprises are ends of workers that nobody killed.
	Surprises []error

	Calls, Again int // of the model, and how many of them for known texts
	Commits      int
	Took         time.Duration // by the bubble's clock
	Faults       map[string]int
}

// broken names what does not hold; nil if all does.
func (r *report) broken() []string {
	var out []string
	add := func(n int, what string) {
		if n > 0 {
			out = append(out, what)
		}
	}
	add(r.Lost, lost)
	add(r.Stale, stale)
	add(r.Doubled, doubled)
	add(r.Resurrected, resurrected)
	add(r.WrongVector, wrongVector)
	add(r.Regressed, regressed)
	add(len(r.Uncovered), uncovered)
	add(r.Missing, letterMissing)
	add(r.Wrong, letterWrong)
	if r.Stuck {
		out = append(out, stuck)
	}
	return out
}

// What can be broken.
const (
	lost          = "a chunk was lost"
	stale         = "a chunk is stale"
	doubled       = "a chunk is doubled"
	resurrected   = "a deleted chunk lives"
	wrongVector   = "a vector is not that of its text"
	regressed     = "a stored version fell"
	uncovered     = "an offset was committed too early"
	letterMissing = "a dead letter is missing"
	letterWrong   = "a good record is in the dead letters"
	stuck         = "not all was committed in the end"
)

func (r *report) String() string {
	uncovered := r.Uncovered[:min(len(r.Uncovered), 3)]
	return fmt.Sprintf("%s: %s; %d stored versions fell; %d offsets too early %q; %d dead letters missing, %d wrong; %d records behind; ends %v",
		strings.Join(r.broken(), ", "), r.Verdict, r.Regressed, len(r.Uncovered), uncovered, r.Missing, r.Wrong, r.Behind, r.Surprises)
}

// judge compares what is there with what must be.
func (w *world) judge(r *report) {
	r.Verdict = w.history.Compare(w.content(), w.vector)
	r.Missing, r.Wrong = w.history.Letters(w.deadLetters())
	w.audit.mu.Lock()
	r.Regressed, r.Uncovered, r.Commits = w.audit.watch.Regressed, w.audit.uncovered, w.audit.commits
	w.audit.mu.Unlock()
	r.Calls, r.Again = w.encoder.counted()
	r.Faults = w.tally.all()
	r.Took = time.Since(w.began)
}

// vector is what a text must have.
func (w *world) vector(text string) []float32 {
	e, err := w.encoder.vectors(context.Background(), []string{text})
	if err != nil {
		w.t.Errorf("encode a text of the history: %v", err)
		return nil
	}
	return e[0].Vector
}

// content is the whole index, read past the network.
func (w *world) content() []history.Stored {
	points := w.stack.Qdrant.Points()
	var out []history.Stored
	var offset *qdrant.PointId
	for {
		answer, err := points.Scroll(w.t.Context(), &qdrant.ScrollPoints{
			CollectionName: w.sink.Index, Offset: offset, Limit: qdrant.PtrOf(uint32(10_000)),
			WithPayload: qdrant.NewWithPayload(true), WithVectors: qdrant.NewWithVectors(true),
		})
		if err != nil {
			w.t.Errorf("read the index: %v", err)
			return nil
		}
		for _, p := range answer.GetResult() {
			own := p.GetPayload()["_ct"].GetStructValue().GetFields()
			id, err := chunk.ParseID(p.GetId().GetUuid())
			if err != nil {
				w.t.Errorf("a point under %s: %v", p.GetId(), err)
			}
			s := history.Stored{
				ID: id, Source: p.GetPayload()["source"].GetStringValue(), DocumentID: p.GetPayload()["document_id"].GetStringValue(),
				ChunkID: p.GetPayload()["chunk_id"].GetStringValue(), Version: own["ver"].GetIntegerValue(),
				Tombstone: own["tomb"].GetBoolValue(), Text: p.GetPayload()["text"].GetStringValue(),
			}
			if v := p.GetVectors().GetVectors().GetVectors()["text"]; v != nil {
				s.Vector = v.GetDense().GetData()
			}
			out = append(out, s)
		}
		if offset = answer.GetNextPageOffset(); offset == nil {
			return out
		}
	}
}

// deadLetters reads the dead letters of the live topic from the log.
func (w *world) deadLetters() history.Letters {
	found := history.Letters{}
	end := w.stack.Kafka.PartitionInfo(letters, 0).HighWatermark
	if end == 0 {
		return found
	}
	cl := w.client(kgo.ConsumeTopics(letters))
	defer cl.Close()
	for last := int64(-1); last < end-1; {
		fetches := cl.PollFetches(w.t.Context())
		if err := fetches.Err(); err != nil {
			w.t.Errorf("read the dead letters: %v", err)
			return found
		}
		fetches.EachRecord(func(r *kgo.Record) {
			last = r.Offset
			for _, h := range r.Headers {
				if i, err := strconv.Atoi(string(h.Value)); h.Key == headerIndex && err == nil {
					found[i] = true
				}
			}
		})
	}
	return found
}

// tally counts faults by their kind.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func newTally() *tally { return &tally{counts: map[string]int{}} }

func (t *tally) count(kind string) { t.add(kind, 1) }

func (t *tally) add(kind string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > 0 {
		t.counts[kind] += n
	}
}

func (t *tally) all() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

func table(counts map[string]int) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "\n%8d  %s", counts[k], k)
	}
	return b.String()
}
