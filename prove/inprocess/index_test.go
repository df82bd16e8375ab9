//go:build synctests

package inprocess

import (
	"context"
	"sync"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// latency is the way to the index and back. It costs nothing by this clock,
// but lets workers overlap, and be killed, while a request is on its way.
const latency = 4 * time.Millisecond

// index stands between the workers and Qdrant.
type index struct {
	w *world
	// fault decides what becomes of the nth write; nil lets all through.
	fault func(n int, wr *write) (*qdrant.UpdateBatchResponse, error)
	// reads decides whether the nth read fails; nil lets all through.
	reads func(n int) error
	// unfenced is a control: writes lose their condition.
	unfenced bool
	// lenient is a control: whatever became of a write, the worker hears that
	// it was completed.
	lenient bool
	// poison are states that Qdrant refuses for good.
	poison map[state]bool

	mu             sync.Mutex
	written, asked int
	// late counts what is to be applied later. It is no WaitGroup: a write may be
	// put off, as the first one, while the end of all others is waited for.
	late    int
	applied sync.Cond
}

// write is a request of a worker to change the index.
type write struct {
	ctx     context.Context
	request *qdrant.UpdateBatchPoints
	handler grpc.UnaryHandler
	index   *index
}

func (x *index) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	switch r := req.(type) {
	case *qdrant.UpdateBatchPoints:
		return x.change(&write{ctx: ctx, request: r, handler: handler, index: x})
	case *qdrant.GetPoints, *qdrant.ScrollPoints:
		x.mu.Lock()
		n := x.asked
		x.asked++
		x.mu.Unlock()
		if x.reads != nil {
			if err := x.reads(n); err != nil {
				return nil, err
			}
		}
	}
	return handler(ctx, req)
}

func (x *index) change(wr *write) (any, error) {
	x.mu.Lock()
	n := x.written
	x.written++
	x.mu.Unlock()
	time.Sleep(latency)
	defer time.Sleep(latency)
	if x.fault == nil {
		return wr.apply(wr.request)
	}
	answer, err := x.fault(n, wr)
	if !x.lenient || status.Code(err) == codes.InvalidArgument {
		return answer, err
	}
	results := make([]*qdrant.UpdateResult, len(wr.request.GetOperations()))
	for i := range results {
		results[i] = &qdrant.UpdateResult{Status: qdrant.UpdateStatus_Completed}
	}
	return &qdrant.UpdateBatchResponse{Result: results}, nil
}

// do applies the whole request.
func (wr *write) do() (*qdrant.UpdateBatchResponse, error) { return wr.apply(wr.request) }

// apply changes the index, whoever still waits for it, and lets the audit look
// at the outcome before anybody else can change it again.
func (wr *write) apply(r *qdrant.UpdateBatchPoints) (*qdrant.UpdateBatchResponse, error) {
	if wr.index.unfenced {
		r = unfenced(r)
	}
	a := wr.index.w.audit
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, err := wr.handler(context.WithoutCancel(wr.ctx), r)
	a.look(r)
	if err != nil {
		return nil, err
	}
	return answer.(*qdrant.UpdateBatchResponse), nil
}

// later applies the request after a while, whether or not its worker lives.
func (wr *write) later(d time.Duration) {
	x := wr.index
	x.mu.Lock()
	x.late++
	x.mu.Unlock()
	go func() {
		time.Sleep(d)
		_, _ = wr.do() // nobody hears of it
		x.mu.Lock()
		x.late--
		x.mu.Unlock()
		x.applied.Broadcast()
	}()
}

// wait returns when nothing is to be applied later.
func (x *index) wait() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.late > 0 {
		x.applied.Wait()
	}
}

// half is the first operation only, and of that the first half of the points.
func (wr *write) half() *qdrant.UpdateBatchPoints {
	r := proto.CloneOf(wr.request)
	r.Operations = r.Operations[:1]
	if up := r.Operations[0].GetUpsert(); up != nil {
		up.Points = up.Points[:(len(up.Points)+1)/2]
	}
	return r
}

func unfenced(r *qdrant.UpdateBatchPoints) *qdrant.UpdateBatchPoints {
	r = proto.CloneOf(r)
	for _, op := range r.GetOperations() {
		if up := op.GetUpsert(); up != nil {
			up.UpdateFilter = nil
		}
	}
	return r
}

// exhausted is the answer of a server that limits its clients.
func (wr *write) exhausted() error {
	_ = grpc.SetTrailer(wr.ctx, metadata.Pairs("retry-after", "3"))
	return status.Error(codes.ResourceExhausted, "rate limit")
}

// withStatus is an answer without an error that says something else than done.
func (wr *write) withStatus(s qdrant.UpdateStatus) *qdrant.UpdateBatchResponse {
	results := make([]*qdrant.UpdateResult, len(wr.request.GetOperations()))
	for i := range results {
		results[i] = &qdrant.UpdateResult{Status: s}
	}
	return &qdrant.UpdateBatchResponse{Result: results}
}
