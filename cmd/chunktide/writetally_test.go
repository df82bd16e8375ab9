package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// writeTally stands before the index and counts how often each record was
// written to it, and by whom. Its events must be upserts of a chunk each.
type writeTally struct {
	// slow is what each write takes, so that there is always one in flight.
	slow   time.Duration
	mu     sync.Mutex
	writes map[int32]map[int64]int // partition → offset → times
	// writer is the connection that wrote a partition last, moves how often
	// that changed.
	writer map[int32]string
	moves  map[int32]int
	last   map[int32]time.Time
	pause  pauses // since they were last asked for
	// lastOfAll is when anything was written.
	lastOfAll time.Time
	// holding keeps the answers back of writes that were applied; held says
	// whose.
	holding chan struct{}
	held    map[string]bool
}

// pauses are the longest times without a write: of a partition, of one while
// it changed hands, and of all.
type pauses struct{ partition, handover, all time.Duration }

func (p pauses) String() string {
	return fmt.Sprintf("%s while a partition changed hands, %s of any partition, %s of all", p.handover.Round(time.Millisecond),
		p.partition.Round(time.Millisecond), p.all.Round(time.Millisecond))
}

func newWriteTally() *writeTally {
	return &writeTally{
		writes: map[int32]map[int64]int{}, writer: map[int32]string{}, moves: map[int32]int{},
		last: map[int32]time.Time{}, held: map[string]bool{},
	}
}

func (y *writeTally) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	answer, err := handler(ctx, req)
	if update, ok := req.(*qdrant.UpdateBatchPoints); ok && err == nil {
		<-time.After(y.slow)
		who, _ := peer.FromContext(ctx)
		if hold := y.note(update, who.Addr.String()); hold != nil {
			<-hold
		}
	}
	return answer, err
}

// note counts a write; it returns what its answer has to wait for, if it must.
func (y *writeTally) note(update *qdrant.UpdateBatchPoints, who string) <-chan struct{} {
	y.mu.Lock()
	defer y.mu.Unlock()
	now := time.Now()
	if !y.lastOfAll.IsZero() {
		y.pause.all = max(y.pause.all, now.Sub(y.lastOfAll))
	}
	y.lastOfAll = now
	for _, op := range update.GetOperations() {
		for _, p := range op.GetUpsert().GetPoints() {
			own := p.GetPayload()["_ct"].GetStructValue().GetFields()
			y.count(int32(own["partition"].GetIntegerValue()), own["offset"].GetIntegerValue(), who, now)
		}
	}
	if y.holding == nil {
		return nil
	}
	y.held[who] = true
	return y.holding
}

func (y *writeTally) count(p int32, offset int64, who string, now time.Time) {
	if y.writes[p] == nil {
		y.writes[p] = map[int64]int{}
	}
	y.writes[p][offset]++
	if last, ok := y.last[p]; ok {
		y.pause.partition = max(y.pause.partition, now.Sub(last))
		if y.writer[p] != who {
			y.moves[p]++
			y.pause.handover = max(y.pause.handover, now.Sub(last))
		}
	}
	y.writer[p], y.last[p] = who, now
}

// hold keeps back the answers of all writes from now on, until the returned
// function is called.
func (y *writeTally) hold() (release func()) {
	y.mu.Lock()
	defer y.mu.Unlock()
	holding := make(chan struct{})
	y.holding = holding
	return func() {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.holding = nil
		close(holding)
	}
}

// holds is how many writers wait for an answer.
func (y *writeTally) holds() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.held)
}

// writers is how many different ones the partitions have now.
func (y *writeTally) writers() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	who := slices.Sorted(maps.Values(y.writer))
	return len(slices.Compact(who))
}

// pauses returns the longest since it was last called.
func (y *writeTally) pauses() pauses {
	y.mu.Lock()
	defer y.mu.Unlock()
	p := y.pause
	y.pause = pauses{}
	return p
}

// repeated counts, for each partition, the records written more than once, and
// returns how many records were written at all.
func (y *writeTally) repeated() (again map[int32]int, written int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	again = map[int32]int{}
	for p, offsets := range y.writes {
		written += len(offsets)
		for _, n := range offsets {
			if n > 1 {
				again[p]++
			}
		}
	}
	return again, written
}
