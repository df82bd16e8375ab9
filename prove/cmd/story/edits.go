package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"chunktide/devstack/godocs"
)

// liveEdits changes chunks all the time: most are edited, some deleted, some
// new. It never touches the first of them, so that readers know what they must
// find.
type liveEdits struct {
	client   *kgo.Client
	passages []godocs.Passage
	spared   int
	cancel   context.CancelFunc
	done     chan struct{}

	mu      sync.Mutex
	version int64
	events  int
	err     error
}

// editEvery is the pace of live edits.
const editEvery = 200 * time.Millisecond

func event(p godocs.Passage, op, text string, version int64) map[string]any {
	return map[string]any{
		"op": op, "source": "go", "document_id": p.Document, "chunk_id": p.Chunk, "position": p.Position,
		"text": text, "metadata": p.Metadata, "version": version, "ts": time.Now(),
	}
}

func startEdits(ctx context.Context, brokers []string, passages []godocs.Passage, spared int, version int64) (*liveEdits, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topicName))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &liveEdits{client: client, passages: passages, spared: spared, version: version, cancel: cancel, done: make(chan struct{})}
	go l.run(ctx)
	return l, nil
}

func (l *liveEdits) run(ctx context.Context) {
	defer close(l.done)
	rng := rand.New(rand.NewPCG(1, 2))
	tick := time.NewTicker(editEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		p := l.passages[l.spared+rng.IntN(len(l.passages)-l.spared)]
		l.mu.Lock()
		l.version++
		change := event(p, "upsert", fmt.Sprintf("%s (edited: %d)", p.Text, l.version), l.version)
		if rng.IntN(10) == 0 {
			change = event(p, "delete", "", l.version)
			delete(change, "text")
		}
		l.mu.Unlock()
		value, err := json.Marshal(change)
		if err == nil {
			err = l.client.ProduceSync(ctx, &kgo.Record{Key: []byte(p.Document + "/" + p.Chunk), Value: value}).FirstErr()
		}
		l.mu.Lock()
		if err == nil {
			l.events++
		} else if ctx.Err() == nil {
			l.err = err
		}
		l.mu.Unlock()
	}
}

// stop ends them, and tells how many there were.
func (l *liveEdits) stop() (events int, err error) {
	l.cancel()
	<-l.done
	l.client.Close()
	return l.events, l.err
}
