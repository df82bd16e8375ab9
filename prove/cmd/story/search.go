package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/devstack/godocs"
)

// liveSearch is readers who search without a pause. Each asks the encoder
// service for the vector of a chunk's own text, with the index's alias as the
// model, and searches the collection whose recipe the answer names. It must
// find that chunk, and nothing of another model.
type liveSearch struct {
	service string
	client  *qdrant.Client
	known   []godocs.Passage
	cancel  context.CancelFunc
	done    chan struct{}

	mu       sync.Mutex
	searches map[string]int // by model_version
	missing  int
	mixed    int
	failed   int
	lastErr  error
	slowest  time.Duration
}

func startSearch(ctx context.Context, service, address string, known []godocs.Passage) (*liveSearch, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	client, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: number, SkipCompatibilityCheck: true})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &liveSearch{service: service, client: client, known: known, cancel: cancel, done: make(chan struct{}), searches: map[string]int{}}
	go l.run(ctx)
	return l, nil
}

func (l *liveSearch) run(ctx context.Context) {
	defer close(l.done)
	for i := 0; ctx.Err() == nil; i++ {
		began := time.Now()
		model, missing, mixed, err := l.once(ctx, l.known[i%len(l.known)])
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		l.searches[model]++
		l.slowest = max(l.slowest, time.Since(began))
		switch {
		case err != nil:
			l.failed++
			l.lastErr = err
		case mixed:
			l.mixed++
		case missing:
			l.missing++
		}
		l.mu.Unlock()
	}
}

func (l *liveSearch) once(ctx context.Context, p godocs.Passage) (model string, missing, mixed bool, err error) {
	model, collection, vector, err := l.encode(ctx, p.Text)
	if err != nil {
		return "", false, false, err
	}
	hits, err := l.client.Query(ctx, &qdrant.QueryPoints{
		CollectionName: collection, Query: qdrant.NewQueryDense(vector), Using: qdrant.PtrOf("text"),
		Limit: qdrant.PtrOf(uint64(5)), WithPayload: qdrant.NewWithPayloadInclude("document_id", "chunk_id", "_ct"),
	})
	if err != nil {
		return model, false, false, err
	}
	missing = true
	for _, h := range hits {
		payload := h.GetPayload()
		if payload["_ct"].GetStructValue().GetFields()["model_version"].GetStringValue() != model {
			mixed = true
		}
		if payload["document_id"].GetStringValue() == p.Document && payload["chunk_id"].GetStringValue() == p.Chunk {
			missing = false
		}
	}
	return model, missing, mixed, nil
}

func (l *liveSearch) encode(ctx context.Context, text string) (model, collection string, vector []float32, err error) {
	body, err := json.Marshal(map[string]any{"model": indexName, "input": text, "input_type": "document"})
	if err != nil {
		return "", "", nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.service+"/v1/embeddings", bytes.NewReader(body))
	if err != nil {
		return "", "", nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Data []struct{ Embedding []float32 }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || len(answer.Data) != 1 {
		return "", "", nil, fmt.Errorf("the service answered with status %d: %w", resp.StatusCode, err)
	}
	return resp.Header.Get("Chunktide-Model-Version"), resp.Header.Get("Chunktide-Collection"), answer.Data[0].Embedding, nil
}

// stop ends them and says what they met.
func (l *liveSearch) stop() error {
	l.cancel()
	<-l.done
	_ = l.client.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed+l.mixed+l.missing > 0 {
		return fmt.Errorf("of the live searches %d failed (last: %w), %d found another model's chunks, and %d missed theirs", l.failed, l.lastErr, l.mixed, l.missing)
	}
	return nil
}

// count is how many searches there were so far, by model.
func (l *liveSearch) count() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for model, n := range l.searches {
		out[model] = n
	}
	return out
}
