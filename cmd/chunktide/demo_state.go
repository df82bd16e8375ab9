package main

import (
	"context"
	"fmt"
	"time"

	"chunktide/chunk"
	"chunktide/devstack/godocs"
	"chunktide/sink"
)

// change is a native event, as a producer writes it.
type change struct {
	Op         string         `json:"op"`
	Source     string         `json:"source"`
	DocumentID string         `json:"document_id"`
	ChunkID    string         `json:"chunk_id"`
	Position   int            `json:"position"`
	Text       string         `json:"text,omitempty"`
	Metadata   map[string]any `json:"metadata,omitempty"`
	Version    int64          `json:"version"`
	Time       time.Time      `json:"ts"`
}

func (c change) id() chunk.ID { return chunk.NewID(c.Source, c.DocumentID, c.ChunkID) }

// corpus is what the index should hold: the fold of all that was published.
type corpus struct {
	version int64
	last    map[chunk.ID]change
}

func newCorpus() *corpus { return &corpus{last: map[chunk.ID]change{}} }

// upsert is the next event for a passage; so is delete.
func (c *corpus) upsert(p godocs.Passage) change {
	c.version++
	return change{
		Op: "upsert", Source: demoSource, DocumentID: p.Document, ChunkID: p.Chunk, Position: p.Position,
		Text: p.Text, Metadata: p.Metadata, Version: c.version, Time: time.Now(),
	}
}

func (c *corpus) delete(p godocs.Passage) change {
	c.version++
	return change{
		Op: "delete", Source: demoSource, DocumentID: p.Document, ChunkID: p.Chunk, Version: c.version, Time: time.Now(),
	}
}

func (c *corpus) note(ch change) {
	if old, ok := c.last[ch.id()]; !ok || ch.Version > old.Version {
		c.last[ch.id()] = ch
	}
}

func (c *corpus) live() int {
	n := 0
	for _, ch := range c.last {
		if ch.Op == "upsert" {
			n++
		}
	}
	return n
}

// scroller is an index to read through.
type scroller interface {
	Scroll(ctx context.Context, visit func(sink.Record) error) error
}

// compare reads the whole index and counts where it differs from the corpus.
func (c *corpus) compare(ctx context.Context, index scroller) (lost, stale, doubled int, err error) {
	seen := map[chunk.ID]bool{}
	err = index.Scroll(ctx, func(r sink.Record) error {
		if r.Tombstone {
			return nil
		}
		id := chunk.NewID(r.Source, r.DocumentID, r.ChunkID)
		if seen[id] {
			doubled++
		}
		seen[id] = true
		want, known := c.last[id]
		if !known || want.Op != "upsert" || int64(r.Version) != want.Version || r.Text != want.Text || r.Hash != chunk.HashText(want.Text) {
			stale++
		}
		return nil
	})
	if err != nil {
		return 0, 0, 0, fmt.Errorf("read the index through: %w", err)
	}
	for id, ch := range c.last {
		if ch.Op == "upsert" && !seen[id] {
			lost++
		}
	}
	return lost, stale, doubled, nil
}
