package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chunktide/chunk"
	"chunktide/configs"
	"chunktide/devstack/godocs"
	"chunktide/sink"
)

// demoChanges is how many chunks are edited, and how many deleted.
const demoChanges = 10

// The questions of the demo: the first is answered by the corpus, the second
// only once a chunk was edited, the third until the chunk that answers it is
// deleted.
const (
	questionKept    = "How do I read a whole file into memory?"
	questionEdited  = "What should I do when the coffee machine on the third floor is out of beans?"
	questionDeleted = "How can I compare two strings ignoring upper and lower case?"
	answerEdited    = "When the coffee machine on the third floor runs out of beans, ask the reception for a new bag and refill it."
)

func (a *app) docsDemo(ctx context.Context, chunks int, keep keeping) (err error) {
	passages, err := godocs.Take(ctx, chunks)
	if err != nil {
		return err
	}
	d, err := a.newDemo(ctx, func(*configs.Config) {})
	if d != nil {
		defer func() { err = errors.Join(err, d.close(ctx)) }()
	}
	if err != nil {
		return err
	}
	d.say("Kafka, Redis and Qdrant run inside this process; the model is %s.\n", d.encoder.Recipe().ModelVersion())
	result := demoResult{Chunks: len(passages)}
	if err := d.load(ctx, passages, &result); err != nil {
		return err
	}
	if err := d.live(ctx, passages, &result); err != nil {
		return err
	}
	c := d.tally.now()
	result.ModelCalls, result.HitRate = c.encoded, 1-float64(c.encoded)/float64(c.upserts)

	var events int
	if result.ReplayModelCalls, events, err = d.replay(ctx); err != nil {
		return err
	}
	d.say("\nReplayed the topic from its start: %d events, %d model calls.\n", events, result.ReplayModelCalls)
	if err := d.verify(ctx, &result); err != nil {
		return err
	}
	if err := a.printDemo(result); err != nil {
		return err
	}
	if !result.level() {
		return errors.New("the index does not equal the corpus")
	}
	if keep.on {
		return d.keep(ctx, passages, keep)
	}
	return nil
}

// load publishes the corpus and waits until it is searchable.
func (d *demo) load(ctx context.Context, passages []godocs.Passage, result *demoResult) error {
	d.say("Loading %d chunks of the Go standard library's documentation …", len(passages))
	unique := map[string]bool{}
	changes := make([]change, len(passages))
	for i, p := range passages {
		unique[p.Text] = true
		changes[i] = d.corpus.upsert(p)
	}
	result.Unique = len(unique)
	start, shown := time.Now(), d.app.progress()
	if err := d.publish(ctx, changes...); err != nil {
		return err
	}
	tick := func(c counts) {
		shown.show("  %d of %d chunks searchable, %.0f tokens/s", c.events, len(changes), float64(c.tokens)/time.Since(start).Seconds())
	}
	if err := d.settled(ctx, len(changes), tick); err != nil {
		return err
	}
	took, c := time.Since(start), d.tally.now()
	result.TokensPerSecond = float64(c.tokens) / took.Seconds()
	shown.done("  %d chunks searchable after %s: %d model calls, %d tokens", c.events, seconds(took), c.encoded, c.tokens)
	return nil
}

// live edits and deletes chunks one by one, as an editor would, and asks the
// questions before and after.
func (d *demo) live(ctx context.Context, passages []godocs.Passage, result *demoResult) error {
	questions := []string{questionKept, questionEdited, questionDeleted}
	d.say("\nThree questions, before any change:")
	before, err := d.ask(ctx, questions)
	if err != nil {
		return err
	}
	// The best answer to the third question goes; what to edit is spread over
	// the rest of the corpus.
	victims := pick(passages, before[2].ID, before[0].ID)
	settled := len(d.tally.now().freshness)
	d.say("\nEditing %d chunks (edit → searchable, as a reader sees it):", demoChanges)
	for i, p := range victims[:demoChanges] {
		if p.Text = fmt.Sprintf("%s\n\nEdited for the demo, edit number %d.", p.Text, i+1); i == 0 {
			p.Text = answerEdited
		}
		took, err := d.untilSearchable(ctx, d.corpus.upsert(p))
		if err != nil {
			return err
		}
		d.say("  %-44s %s", p.Document+" "+p.Chunk, seconds(took))
	}
	d.say("\nDeleting %d chunks (delete → gone):", demoChanges)
	for _, p := range victims[demoChanges:] {
		took, err := d.untilGone(ctx, d.corpus.delete(p), p.Text)
		if err != nil {
			return err
		}
		d.say("  %-44s %s", p.Document+" "+p.Chunk, seconds(took))
	}
	if err := d.settled(ctx, len(passages)+2*demoChanges, func(counts) {}); err != nil {
		return err
	}
	fresh := d.tally.now().freshness[settled:]
	result.FreshnessP50, result.FreshnessP99 = percentile(fresh, .5).Seconds(), percentile(fresh, .99).Seconds()
	d.say("\nThe same questions, after:")
	_, err = d.ask(ctx, questions)
	return err
}

// pick chooses the chunks to edit and then those to delete: deleted is the
// first of the latter, and kept is not among them.
func pick(passages []godocs.Passage, deleted, kept chunk.ID) []godocs.Passage {
	var edits, deletes, rest []godocs.Passage
	for _, p := range passages {
		switch chunk.NewID(demoSource, p.Document, p.Chunk) {
		case deleted:
			deletes = append(deletes, p)
		case kept:
		default:
			rest = append(rest, p)
		}
	}
	for i := range 2*demoChanges - len(deletes) {
		p := rest[i*len(rest)/(2*demoChanges)]
		if len(edits) < demoChanges {
			edits = append(edits, p)
		} else {
			deletes = append(deletes, p)
		}
	}
	return append(edits, deletes...)
}

// ask shows the nearest chunk to each question and returns it.
func (d *demo) ask(ctx context.Context, questions []string) ([]sink.Hit, error) {
	best := make([]sink.Hit, len(questions))
	for i, q := range questions {
		hits, err := search(ctx, d.encoder, d.worker.Index, q, 1)
		if err != nil {
			return nil, err
		}
		if len(hits) == 0 {
			return nil, errors.New("the index holds no chunk to answer with")
		}
		best[i] = hits[0]
		d.say("  ? %s", q)
		d.say("%s", indent(fmt.Sprintf("%.2f  %s %s: %s", hits[0].Score, hits[0].DocumentID, hits[0].ChunkID, excerpt(hits[0].Text, 70))))
	}
	return best, nil
}

// lookEvery is how often the demo searches for a change that it published.
const lookEvery = 2 * time.Millisecond

// untilSearchable publishes an edit and searches for its text until it is
// found. It returns how long that took.
func (d *demo) untilSearchable(ctx context.Context, edit change) (time.Duration, error) {
	return d.publishAndLook(ctx, edit, edit.Text, func(hits []sink.Hit) bool {
		for _, h := range hits {
			if h.ID == edit.id() && int64(h.Version) == edit.Version {
				return true
			}
		}
		return false
	})
}

// untilGone publishes a delete and searches for the text it had until that
// chunk is not found any more.
func (d *demo) untilGone(ctx context.Context, del change, text string) (time.Duration, error) {
	return d.publishAndLook(ctx, del, text, func(hits []sink.Hit) bool {
		for _, h := range hits {
			if h.ID == del.id() {
				return false
			}
		}
		return true
	})
}

func (d *demo) publishAndLook(ctx context.Context, c change, text string, found func([]sink.Hit) bool) (time.Duration, error) {
	query, err := d.encoder.EncodeQuery(ctx, text)
	if err != nil {
		return 0, err
	}
	c.Time = time.Now()
	if err := d.publish(ctx, c); err != nil {
		return 0, err
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		hits, err := d.worker.Index.Search(ctx, query.Vector, 10)
		if err != nil {
			return 0, err
		}
		if found(hits) {
			return time.Since(c.Time), nil
		}
		select {
		case <-look.C:
		case <-d.ended:
			return 0, errors.Join(errors.New("the worker ended"), d.failed)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// verify compares the index with what was published.
func (d *demo) verify(ctx context.Context, result *demoResult) (err error) {
	index := d.worker.Index
	if result.Lost, result.Stale, result.Doubled, err = d.corpus.compare(ctx, index); err != nil {
		return err
	}
	live, err := index.Live(ctx)
	if err != nil {
		return err
	}
	result.Points, result.LiveChunks = live, d.corpus.live()
	return nil
}
