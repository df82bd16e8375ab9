package history

import (
	"fmt"
	"math"

	"chunktide/chunk"
)

// Stored is a point as the index holds it, a document's tombstone included.
type Stored struct {
	ID                          chunk.ID
	Source, DocumentID, ChunkID string
	Version                     int64
	Tombstone                   bool
	Text                        string
	// Vector is nil where there is none.
	Vector []float32
}

// Verdict counts where an index differs from what it must hold. The zero
// Verdict means that it does not.
type Verdict struct {
	// Lost chunks live and are not in the index.
	Lost int `json:"lost"`
	// Stale ones are there with another state than the last.
	Stale int `json:"stale"`
	// Doubled ones are there more than once, or were never published.
	Doubled int `json:"doubled"`
	// Resurrected ones were deleted and are there.
	Resurrected int `json:"resurrected"`
	// WrongVector counts vectors that are not those of their texts, and
	// tombstones that have one.
	WrongVector int `json:"wrong_vector"`
	// Examples are some of the differences, for people.
	Examples []string `json:"examples,omitempty"`
}

// Good reports whether there is no difference.
func (v Verdict) Good() bool {
	return v.Lost+v.Stale+v.Doubled+v.Resurrected+v.WrongVector == 0
}

func (v Verdict) String() string {
	return fmt.Sprintf("lost %d, stale %d, doubled %d, resurrected %d, wrong vectors %d %q",
		v.Lost, v.Stale, v.Doubled, v.Resurrected, v.WrongVector, v.Examples)
}

const maxExamples = 5

func (v *Verdict) count(n *int, format string, args ...any) {
	*n++
	if len(v.Examples) < maxExamples {
		v.Examples = append(v.Examples, fmt.Sprintf(format, args...))
	}
}

// Compare holds the whole content of an index against the fold of the log.
// encode gives the vector that a text must have; Qdrant normalises vectors
// under cosine, so they are compared by their angle.
func (h *History) Compare(points []Stored, encode func(text string) []float32) Verdict {
	var v Verdict
	seen := map[chunk.ID]bool{}
	vectors := map[string][]float32{}
	for i := range points {
		p := &points[i]
		if p.Tombstone {
			if len(p.Vector) > 0 {
				v.count(&v.WrongVector, "the tombstone of %s/%s has a vector", p.DocumentID, p.ChunkID)
			}
			continue
		}
		// By its names, not by its id: that the two agree is to be shown.
		id := chunk.NewID(p.Source, p.DocumentID, p.ChunkID)
		want, known := h.Want[id]
		switch {
		case seen[id] || !known || p.ID != id:
			v.count(&v.Doubled, "%s/%s stands under %s", p.DocumentID, p.ChunkID, p.ID)
		case !want.Living:
			v.count(&v.Resurrected, "%s/%s lives at version %d and was deleted at %d or later", p.DocumentID, p.ChunkID, p.Version, want.Version)
		case p.Version != want.Version || p.Text != want.Text:
			v.count(&v.Stale, "%s/%s has version %d, the last is %d", p.DocumentID, p.ChunkID, p.Version, want.Version)
		default:
			if vectors[p.Text] == nil {
				vectors[p.Text] = encode(p.Text)
			}
			if !sameDirection(p.Vector, vectors[p.Text]) {
				v.count(&v.WrongVector, "the vector of %s/%s is not that of its text", p.DocumentID, p.ChunkID)
			}
		}
		seen[id] = true
	}
	for id, want := range h.Want {
		if want.Living && !seen[id] {
			v.count(&v.Lost, "%s/%s, version %d", want.DocumentID, want.ChunkID, want.Version)
		}
	}
	return v
}

// sameDirection allows for what normalising in float32 costs.
func sameDirection(a, b []float32) bool {
	if len(a) != len(b) || len(a) == 0 {
		return false
	}
	var dot, aa, bb float64
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return dot/math.Sqrt(aa*bb) > 1-1e-6
}

// Watch notices stored versions that fall, which they never may. It is not
// safe for concurrent use.
type Watch struct {
	seen map[chunk.ID]int64
	// Regressed counts the falls.
	Regressed int
}

// See takes one look at a point.
func (w *Watch) See(id chunk.ID, version int64) {
	if w.seen == nil {
		w.seen = map[chunk.ID]int64{}
	}
	if version < w.seen[id] {
		w.Regressed++
	}
	w.seen[id] = version
}

// Letters are the records found in the dead letters, by index into Records.
type Letters map[int]bool

// Letters counts the records that must be in the dead letters and are missing,
// and those that are there and must not be.
func (h *History) Letters(found Letters) (missing, wrong int) {
	for i := range h.Records {
		switch kind := h.Records[i].Kind; {
		case kind == Malformed && !found[i]:
			missing++
		case kind == Valid && found[i]:
			wrong++
		}
	}
	return missing, wrong
}
