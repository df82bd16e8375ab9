package chaos

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	KillWorker   Kind = "worker killed"
	FreezeWorker Kind = "worker frozen beyond its session"
	ResetOffsets Kind = "offsets reset"
	KillRedis    Kind = "redis killed"
	FlushRedis   Kind = "redis flushed"
	FlipBit      Kind = "bit flipped in redis"
	KillBroker   Kind = "kafka killed"
	StopBroker   Kind = "kafka restarted"
	KillQdrant   Kind = "qdrant killed"
	Backfill     Kind = "backfill"
	Cut          Kind = "connection cut"
	Delay        Kind = "traffic delayed"
	LoseAnswer   Kind = "answer lost"
)

// Kinds are all kinds, in the order of a report.
func Kinds() []Kind {
	return []Kind{
		KillWorker, FreezeWorker, ResetOffsets, KillRedis, FlushRedis, FlipBit, KillBroker, StopBroker, KillQdrant,
		Backfill, Cut, Delay, LoseAnswer,
	}
}

// lane is a row of faults that follow each other; those of different lanes may
// overlap. What must never meet is in one lane: a group whose offsets are
// reset has to be empty, so no worker may be frozen then.
type lane string

const (
	workerLane   lane = "workers"
	brokerLane   lane = "broker"
	redisLane    lane = "redis"
	qdrantLane   lane = "qdrant"
	networkLane  lane = "network"
	backfillLane lane = "backfill"
)

func (k Kind) lane() lane {
	switch k {
	case KillWorker, FreezeWorker, ResetOffsets:
		return workerLane
	case KillBroker, StopBroker:
		return brokerLane
	case KillRedis, FlushRedis, FlipBit:
		return redisLane
	case KillQdrant:
		return qdrantLane
	case Backfill:
		return backfillLane
	default:
		return networkLane
	}
}

// server is one of the three that the workers need.
type server string

const (
	kafka  server = "kafka"
	redis  server = "redis"
	qdrant server = "qdrant"
)

func servers() []server { return []server{kafka, redis, qdrant} }

// Fault is one fault of a schedule. Which fields count depends on its kind.
type Fault struct {
	Kind Kind
	// At is how many records are published when it begins.
	At int
	// Worker is whom it hits.
	Worker int
	// Server is what the worker's connections lead to.
	Server server
	// For is how long it lasts, at least.
	For time.Duration
	// Shares say, for each partition, how much of what was committed stays so.
	Shares []float64
	// Bit chooses one of a value; it is taken modulo the value's length.
	Bit uint32
	// Behind is how many records before At a backfill has taken its snapshot.
	Behind int
}

// Plan says how big a run is.
type Plan struct {
	Events, Chunks, Texts int
	Partitions            int32
	Workers               int
	// Rate is how many records are published in a second, at most.
	Rate   int
	Faults map[Kind]int
	// DocumentDeletes, where set, is the share of deletes of whole documents.
	DocumentDeletes float64
	// Only are, for some kinds, the only parts of the stream in which they are
	// placed, in turn.
	Only map[Kind][]window
	// Spared is how many workers are neither killed nor frozen.
	Spared int
}

// window is a part of the stream, as fractions of it.
type window struct{ From, To float64 }

// FullPlan has the counts that the protocol asks for.
func FullPlan() Plan {
	return Plan{
		Events: 100_000, Chunks: 5_000, Texts: 200, Partitions: 12, Workers: 3, Rate: 220,
		Faults: map[Kind]int{
			KillWorker: 20, FreezeWorker: 10, ResetOffsets: 3, KillRedis: 5, FlushRedis: 3, FlipBit: 200,
			KillBroker: 2, StopBroker: 1, Backfill: 2, Cut: 40, Delay: 40, LoseAnswer: 40,
		},
	}
}

// Schedule is the faults of a run: those of a lane in the order of the stream.
type Schedule map[lane][]Fault

// newSchedule spreads the plan's faults over a stream of so many records.
func newSchedule(seed uint64, plan Plan, records int) Schedule {
	rng := rand.New(rand.NewPCG(seed, 11))
	s := Schedule{}
	for _, kind := range Kinds() {
		n := plan.Faults[kind]
		for i := range n {
			f := Fault{Kind: kind, At: plan.place(kind, rng, i, n, records)}
			f.draw(rng, plan)
			s[kind.lane()] = append(s[kind.lane()], f)
		}
	}
	for _, faults := range s {
		slices.SortStableFunc(faults, func(a, b Fault) int { return a.At - b.At })
	}
	return s
}

// place puts the i-th of n faults of a kind into the i-th part of the stream,
// anywhere in it. Its ends are left out: there must be something to disturb,
// and something that comes after.
func (p Plan) place(kind Kind, rng *rand.Rand, i, n, records int) int {
	const margin = .03
	at := margin + (1-2*margin)*(float64(i)+rng.Float64())/float64(n)
	if kind == Backfill {
		at = .4 + .02*float64(i) // the second begins while the first is going on
	}
	if parts := p.Only[kind]; len(parts) > 0 {
		w := parts[i%len(parts)]
		at = w.From + (w.To-w.From)*rng.Float64()
	}
	return max(1, int(at*float64(records)))
}

func (f *Fault) draw(rng *rand.Rand, plan Plan) {
	f.Worker = rng.IntN(plan.Workers)
	f.Server = servers()[rng.IntN(len(servers()))]
	f.For = time.Duration(300+rng.IntN(1200)) * time.Millisecond
	f.Bit = rng.Uint32()
	f.Behind = 1 + rng.IntN(1+f.At/2)
	f.Shares = make([]float64, plan.Partitions)
	for p := range f.Shares {
		// A part of the partitions goes back to its start.
		f.Shares[p] = max(0, 1.1*rng.Float64()-.1)
	}
	if f.Kind == KillWorker || f.Kind == FreezeWorker {
		f.Worker = plan.Spared + rng.IntN(plan.Workers-plan.Spared)
	}
}
