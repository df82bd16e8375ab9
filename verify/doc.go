// Package verify compares an index with its source, names what differs, and
// mends it: the sweep that finds what no log tells, at the price of a read.
//
// What it guarantees:
//
//   - The source is folded as the pipeline and the sink would: the highest
//     version of each chunk, the first of equal ones, deletes of documents, and
//     deletes without a version. Where the order of arrival decides (equal
//     versions on two partitions), each outcome that is possible counts as right.
//   - Memory is bounded, whatever the size of the corpus: the events are spilled
//     to disk in 256 files by document, without their texts, and index and
//     source are compared by 65,536 digests that do not depend on order. Only
//     where two differ the points are looked at one by one.
//   - The live workers go on. The source ends where it stood at the start, the
//     index is read when the workers have reached that end or were waited for in
//     vain, and what is newer, or changes during the look, is no difference.
//   - A repair writes only in place of the very state that was seen to be wrong
//     (see [chunktide/sink.Sink.Replace]): a live write that comes between wins,
//     and what is right is not touched.
//
// What it cannot see: metadata and position of a chunk are not compared, and
// vectors are compared for a sample only. A tombstone that is missing is no
// difference: nothing is searchable by it, and a new collection starts
// without any.
package verify

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"chunktide/chunk"
	"chunktide/pipeline"
	"chunktide/sink"
)

// Kind is what is wrong with a point.
type Kind string

// The kinds.
const (
	// Missing chunks live in the source and are not to be found in the index:
	// there is no point, a tombstone, or a point without a vector.
	Missing Kind = "missing"
	// Stale ones are there with another version or text than the last.
	Stale Kind = "stale"
	// Orphan ones live in the index and the source does not know them.
	Orphan Kind = "orphan"
	// WrongModel ones bear another model_version than the collection.
	WrongModel Kind = "wrong_model"
	// Deleted ones were deleted in the source, and their text or vector is
	// still there.
	Deleted Kind = "deleted"
	// Misassigned ones have a vector that is not that of their text; only a
	// sample is looked at.
	Misassigned Kind = "misassigned"
)

// Kinds lists every kind, so that each metric series exists from the start.
func Kinds() []Kind { return []Kind{Missing, Stale, Orphan, WrongModel, Deleted, Misassigned} }

// Index is the collection to verify; *sink.Sink implements it.
type Index interface {
	Outline(ctx context.Context, visit func(sink.Record) error) error
	Remains(ctx context.Context, visit func(sink.Record) error) error
	Blind(ctx context.Context, visit func(sink.Record) error) error
	Read(ctx context.Context, ids []chunk.ID, content bool) (map[chunk.ID]chunk.Stored, error)
	Look(ctx context.Context, ids []chunk.ID) (map[chunk.ID]sink.Record, error)
	Replace(ctx context.Context, points []chunk.Point, seen map[chunk.ID]chunk.Stored) error
}

var _ Index = (*sink.Sink)(nil)

// Options say how closely to look.
type Options struct {
	// Models are the model_versions that points may bear.
	Models []string
	// Sample is how many vectors are encoded again and compared; 0 is none.
	Sample int
	// MinCosine is the least similarity that a vector may have to the one that
	// its text has now, at most 1.
	MinCosine float64
	// Seed makes the sample; the same seed takes the same points.
	Seed uint64
	// Limit is how many differences are kept to be named and mended; of those
	// beyond only the number is told.
	Limit int
	// Dir is where the files lie while it runs; empty is the system's folder
	// for such. They take about 100 bytes for each event of the source.
	Dir string
}

// DefaultOptions suit a corpus of millions of chunks.
func DefaultOptions() Options {
	return Options{Sample: 100, MinCosine: 0.99, Limit: 100_000}
}

// Parts are what a look needs. Encoder is needed for a sample and a repair,
// Cache for a repair.
type Parts struct {
	Source  Source
	Index   Index
	Encoder pipeline.Encoder
	Cache   pipeline.Cache
	Logger  *slog.Logger
}

// Difference is one point that is not as it must be.
type Difference struct {
	Kind       Kind     `json:"kind"`
	ID         chunk.ID `json:"-"`
	Point      string   `json:"id"`
	Source     string   `json:"source"`
	DocumentID string   `json:"document_id"`
	ChunkID    string   `json:"chunk_id"`
	// Want is the version that the source has, 0 for none; Have the one that
	// the index holds, 0 for none.
	Want chunk.Version `json:"want_version"`
	Have chunk.Version `json:"have_version"`
	// Cosine is set for a misassigned vector.
	Cosine float64 `json:"cosine,omitempty"`
	// Refused says why a repair could not be made.
	Refused string `json:"refused,omitempty"`

	suspect suspect
}

// String names a difference on one line.
func (d Difference) String() string {
	s := fmt.Sprintf("%s %s/%s/%s: version %d, the source has %d", d.Kind, d.Source, d.DocumentID, d.ChunkID, d.Have, d.Want)
	switch {
	case d.Kind == Misassigned:
		s = fmt.Sprintf("%s %s/%s/%s: cosine %.3f", d.Kind, d.Source, d.DocumentID, d.ChunkID, d.Cosine)
	case d.Refused != "":
		s += "; refused: " + d.Refused
	}
	return s
}

// Report is what a look has found.
type Report struct {
	// Begun is when, Seconds how long.
	Begun   time.Time `json:"begun"`
	Seconds float64   `json:"seconds"`
	Counts
	// Points were seen in the index, Living of them are no tombstones.
	Points int `json:"points"`
	Living int `json:"living"`
	// Cells are the digests that differed, of 65,536.
	Cells int `json:"differing_digests"`
	// Newer points have a state from after the end of the source; Ahead ones a
	// version that the source no longer has, or never had: compaction, a
	// backfill. Forgotten ones are older than the beginning of the log. None of
	// the three is a difference.
	Newer     int `json:"newer"`
	Ahead     int `json:"ahead"`
	Forgotten int `json:"forgotten"`
	// Pending events are in the source, and no worker has committed them yet.
	Pending int `json:"pending"`
	// Sampled vectors were encoded again; LeastCosine is the worst.
	Sampled     int     `json:"sampled"`
	LeastCosine float64 `json:"least_cosine"`
	// Differences are counted by kind, all of them.
	Differences map[Kind]int `json:"differences"`
	// Named are the differences, Options.Limit at most.
	Named []Difference `json:"named"`
}

// Counts are what a source holds.
type Counts struct {
	Events    int `json:"events"`
	Malformed int `json:"malformed"`
	// Refused are in the dead letters; whether they reached the index is left
	// open.
	Refused int `json:"dead_letters"`
}

// Total is the number of all differences.
func (r *Report) Total() (n int) {
	for _, k := range r.Differences {
		n += k
	}
	return n
}
