package model

import "math/rand/v2"

const (
	partitions  = 3
	maxGroups   = 2
	workers     = 2 // of each group
	maxZombies  = 3 // of each group
	chunks      = 6
	chunksOfDoc = 3
	docs        = chunks / chunksOfDoc
	ids         = chunks + docs
	// cdcChunk is fed as a change-data-capture topic is: always on one
	// partition, in order, with versionless tombstones.
	cdcChunk = chunks - 1

	tooHigh = int64(1) << 53
	// onTop is where a fallback version stands beside small counters.
	onTop = int64(1) << 50
)

// docPoint is the id of a document's tombstone; 0 … chunks-1 are chunks.
func docPoint(d int) int { return chunks + d }

// world is the state of a history.
type world struct {
	rng    *rand.Rand
	mutant Mutant

	log     [partitions][]record
	counter [chunks]int64
	lastDoc [docs]int64
	values  int
	left    int // events to come

	// rows are those a backfill has read and not begun to write, loads those
	// being written.
	rows  []record
	loads []*load

	index   [ids]point
	delayed []request

	groups  int // that read the log into the one index
	commits [maxGroups][partitions]commit
	members [maxGroups][workers]*worker
	zombies [maxGroups][]*worker
	owner   [maxGroups][partitions]*worker
	letters map[ref]bool // that are durable

	// now counts steps.
	now int
	// parallel lets the batches of a worker end in any order.
	parallel bool
	// fading is a corpus of which much is deleted.
	fading bool
	// deadly lets the world kill over and over without progress; quarantine
	// must then hit innocent records. Else it stops one short of it.
	deadly bool
	// limit is how many deaths a record may cause.
	limit int
	// calm: all events are there, and only the network still fails.
	calm bool

	// What only the judge knows.
	promised [maxGroups][partitions]int // how far the offsets were judged
	owed     [ids]int64                 // the version that the index must not fall below
	deaths   [maxGroups][partitions]int // in a row, with this offset committed
	excused  [chunks]bool               // innocent, and rightly in quarantine

	faults    Faults
	violation string
}

// ref names a record as one group sees it.
type ref struct{ group, partition, offset int }

// commit is what a group holds for a partition.
type commit struct{ offset, attempts int }

func (w *world) fail(what string) {
	if w.violation == "" {
		w.violation = what
	}
}

// one says whether something happens that does so once in n times.
func (w *world) one(n int) bool { return w.rng.IntN(n) == 0 }
