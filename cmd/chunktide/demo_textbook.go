package main

import (
	"context"
	"crypto/sha1" //nolint:gosec // the example's own chunk ids; nothing is secured by it
	"encoding/hex"
	"errors"
	"fmt"

	"chunktide/configs"
	"chunktide/devstack/godocs"
	"chunktide/embedder"
	"chunktide/sink"
)

// The textbook's corpus: twelve lines of a document, of which two stand in it
// more than once, and forty such documents.
const (
	textbookBoilerplate = "All rights reserved. Confidential internal document."
	textbookFAQ         = "To reset your password open settings and choose account recovery."
	textbookRepeats     = 40
	textbookBatch       = 64
	textbookModel       = "demo-bow-v1"
)

func textbookLines() []string {
	const b, f = textbookBoilerplate, textbookFAQ
	return []string{
		"The distributed embedding pipeline keeps the vector index synchronized.", b,
		"Batched GPU inference amortizes kernel launch over many chunks at once.", f,
		"Idempotent writes use content addressed ids so retries never duplicate.", b,
		"Offline backfill re-embeds the whole corpus when the model version bumps.", f,
		"Incremental embedding handles only the chunks that changed since last run.", b, f,
		"The vector store is queried by the retrieval layer that the agents call.",
	}
}

// textbookID is the example's content address: the first twelve hexadecimal
// digits of SHA-1.
func textbookID(text string) string {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])[:12]
}

func (a *app) textbookDemo(ctx context.Context) (err error) {
	d, err := a.newDemo(ctx, func(cfg *configs.Config) {
		cfg.Embedder = embedder.DefaultConfig()
		cfg.Embedder.Encoder, cfg.Embedder.ModelName = "bow", textbookModel
		cfg.Kafka.Batch.Events = textbookBatch
	})
	if d != nil {
		defer func() { err = errors.Join(err, d.close(ctx)) }()
	}
	if err != nil {
		return err
	}
	lines := textbookLines()
	var changes []change
	for range textbookRepeats {
		for i, text := range lines {
			changes = append(changes, d.corpus.upsert(godocs.Passage{Document: "textbook", Chunk: textbookID(text), Position: i, Text: text}))
		}
	}
	if err := d.publish(ctx, changes...); err != nil {
		return err
	}
	if err := d.settled(ctx, len(changes), func(counts) {}); err != nil {
		return err
	}
	return d.printTextbook(ctx, textbookID(lines[0]), textbookID(textbookBoilerplate))
}

// printTextbook prints the example's ten lines from what the pipeline counted
// and the index holds.
func (d *demo) printTextbook(ctx context.Context, sample, repeated string) error {
	pin, err := d.worker.Index.Pin(ctx)
	if err != nil {
		return err
	}
	records := map[string]sink.Record{}
	err = d.worker.Index.Scroll(ctx, func(r sink.Record) error {
		records[r.ChunkID] = r
		return nil
	})
	if err != nil {
		return err
	}
	c := d.tally.now()
	saved := c.upserts - c.encoded
	identical := "False"
	if len(d.tally.vectors[repeated]) == 1 {
		identical = "True"
	}
	share := 100 * float64(saved) / float64(c.upserts)
	rows := []struct{ label, value string }{
		{"model version pinned to index", pin.Version},
		{"chunks ingested", fmt.Sprint(c.events)},
		{"unique chunks", fmt.Sprint(len(records))},
		{"embed calls (no cache)", fmt.Sprint(c.upserts)},
		{"embed calls (with cache)", fmt.Sprint(c.encoded)},
		{"cache hit rate", fmt.Sprintf("%.1f%%", share)},
		{"model calls saved by cache", fmt.Sprintf("%d (%.1f%%)", saved, share)},
		{"model-call reduction", fmt.Sprintf("%.1fx fewer calls", float64(c.upserts)/float64(c.encoded))},
		{"sample record id / version", records[sample].ChunkID + " / " + records[sample].ModelVersion},
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(d.app.io.out, "%-30s: %s\n", r.label, r.value); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(d.app.io.out, "id %s written %d times, all identical vector: %s\n", repeated, d.tally.written[repeated], identical)
	return err
}
