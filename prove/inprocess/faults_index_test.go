//go:build synctests

package inprocess

import (
	"encoding/json"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chunktide/chunk"
	"chunktide/prove/history"
)

type answer = qdrant.UpdateBatchResponse

// indexFault is one way in which a write goes wrong.
type indexFault struct {
	name string
	do   func(n int, wr *write) (*answer, error)
}

var (
	unavailableBefore = indexFault{"index: unavailable, nothing applied", func(int, *write) (*answer, error) {
		return nil, status.Error(codes.Unavailable, "restarting")
	}}
	unavailableAfter = indexFault{"index: unavailable after applying", func(_ int, wr *write) (*answer, error) {
		if _, err := wr.do(); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.Unavailable, "the connection broke")
	}}
	exhausted = indexFault{"index: resource exhausted, with the time to wait", func(_ int, wr *write) (*answer, error) {
		return nil, wr.exhausted()
	}}
	deadlineAfter = indexFault{"index: deadline exceeded after applying", func(_ int, wr *write) (*answer, error) {
		if _, err := wr.do(); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.DeadlineExceeded, "too late")
	}}
	hangs = indexFault{"index: no answer, applied long after the caller gave up", func(n int, wr *write) (*answer, error) {
		wr.later(31*time.Second + time.Duration(wr.index.w.number("late", n)%120)*time.Second)
		<-wr.ctx.Done()
		return nil, status.FromContextError(wr.ctx.Err()).Err()
	}}
	waitTimeout = indexFault{"index: WaitTimeout without an error, nothing applied", func(_ int, wr *write) (*answer, error) {
		return wr.withStatus(qdrant.UpdateStatus_WaitTimeout), nil
	}}
	waitTimeoutLate = indexFault{"index: WaitTimeout without an error, applied later", func(n int, wr *write) (*answer, error) {
		wr.later(time.Duration(wr.index.w.number("late", n)%60) * time.Second)
		return wr.withStatus(qdrant.UpdateStatus_WaitTimeout), nil
	}}
	acknowledged = indexFault{"index: Acknowledged without an error, nothing applied", func(_ int, wr *write) (*answer, error) {
		return wr.withStatus(qdrant.UpdateStatus_Acknowledged), nil
	}}
	halfBatch = indexFault{"index: unavailable after half of the batch", func(_ int, wr *write) (*answer, error) {
		if _, err := wr.apply(wr.half()); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.Unavailable, "killed in the middle")
	}}
)

func indexFaults() []indexFault {
	return []indexFault{
		unavailableBefore, unavailableAfter, exhausted, deadlineAfter, hangs,
		waitTimeout, waitTimeoutLate, acknowledged, halfBatch,
	}
}

// some lets a share of the writes meet one of the faults.
func (x *index) some(share float64, faults ...indexFault) {
	x.fault = func(n int, wr *write) (*answer, error) {
		if wr.poisoned() {
			x.w.tally.count("index: a poisonous point among the good ones")
			return nil, status.Error(codes.InvalidArgument, "point refused")
		}
		draw := x.w.number("write", n)
		if float64(draw%1000) >= share*1000 {
			return wr.do()
		}
		f := faults[draw/1000%uint64(len(faults))]
		x.w.tally.count(f.name)
		return f.do(n, wr)
	}
}

// someReads makes a share of the reads fail for now.
func (x *index) someReads(share float64) {
	x.reads = func(n int) error {
		if float64(x.w.number("read", n)%1000) >= share*1000 {
			return nil
		}
		x.w.tally.count("index: a read unavailable")
		return status.Error(codes.Unavailable, "restarting")
	}
}

// state is one state of one chunk.
type state struct {
	id      chunk.ID
	version int64
}

// poison makes the index refuse the states of n records for good. It takes
// states that are not the last of their chunks, so that the fold of the log is
// the same without them; fits narrows the choice, nil does not.
func (w *world) poison(n int, fits func(record int) bool) {
	records := w.history.Records
	byKey := map[string]bool{} // chunks whose deletes have no version build on what precedes them
	for i := range records {
		byKey[string(records[i].Key)] = byKey[string(records[i].Key)] || records[i].Value == nil
	}
	needs := w.audit.needs[live]
	w.index.poison = map[state]bool{}
	for k := 0; len(w.index.poison) < n; k++ {
		i := int(w.number("poison", k) % uint64(len(records)))
		var e struct {
			Op      string `json:"op"`
			ChunkID string `json:"chunk_id"`
		}
		s := state{needs[i].id, needs[i].version}
		if records[i].Kind != history.Valid || byKey[string(records[i].Key)] || s.version >= w.history.Want[s.id].Version {
			continue
		}
		if fits != nil && !fits(i) {
			continue
		}
		if err := json.Unmarshal(records[i].Value, &e); err != nil || e.Op != "upsert" || e.ChunkID == "" {
			continue
		}
		w.index.poison[s] = true
		for j := range needs { // and its duplicates
			if needs[j].id == s.id && needs[j].version == s.version {
				records[j].Kind, needs[j].kind = history.Refused, history.Refused
			}
		}
	}
}

// newestOf tells the records that are the newest of their chunks among the
// first n. If no others are published, nothing keeps them from the index.
func (w *world) newestOf(n int) func(record int) bool {
	needs := w.audit.needs[live]
	newest := map[chunk.ID]int64{}
	for _, need := range needs[:n] {
		newest[need.id] = max(newest[need.id], need.version)
	}
	return func(i int) bool { return i < n && needs[i].version == newest[needs[i].id] }
}

// poisoned reports whether a write holds a state that the index refuses.
func (wr *write) poisoned() bool {
	if len(wr.index.poison) == 0 {
		return false
	}
	for _, op := range wr.request.GetOperations() {
		for _, p := range op.GetUpsert().GetPoints() {
			id, err := chunk.ParseID(p.GetId().GetUuid())
			v := p.GetPayload()["_ct"].GetStructValue().GetFields()["ver"].GetIntegerValue()
			if err == nil && wr.index.poison[state{id, v}] {
				return true
			}
		}
	}
	return false
}
