package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"chunktide/devstack/godocs"
)

// spared chunks are never edited, so that readers know what they must find.
const spared = 200

// indexState is what `index status -o json` says.
type indexState struct {
	Collection string           `json:"collection"`
	Points     int              `json:"points"`
	Lag        map[string]int64 `json:"lag"`
}

// migrationState is what `migrate status -o json` says.
type migrationState struct {
	Phase      string
	Lag        int64
	Collection struct {
		Collection string
		Points     int
	}
}

// index is the first chapter: a corpus goes from a file to the topic, and a
// worker indexes it.
func (s *story) index(ctx context.Context) error {
	s.say("%d chunks of the Go standard library's documentation, as change events", s.chunks)
	passages, err := godocs.Take(ctx, s.chunks)
	if err != nil {
		return err
	}
	corpus := filepath.Join(s.dir, "corpus.jsonl")
	if err := writeCorpus(corpus, passages); err != nil {
		return err
	}
	if err := s.must(ctx, "publish", "-c", s.old, corpus); err != nil {
		return err
	}
	s.say("a worker reads them")
	if _, err := s.start(ctx, "worker", "run", "-c", s.old); err != nil {
		return err
	}
	if err := s.await(ctx, "the corpus is indexed", func() (bool, error) { return s.level(ctx, s.old, s.chunks) }); err != nil {
		return err
	}
	if err := s.must(ctx, "index", "status", "-c", s.old); err != nil {
		return err
	}
	s.live, err = startEdits(ctx, s.stack.KafkaBrokers, passages, spared, int64(len(passages)))
	return err
}

func writeCorpus(path string, passages []godocs.Passage) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	lines := json.NewEncoder(out)
	for i, p := range passages {
		if err := lines.Encode(event(p, "upsert", p.Text, int64(i+1))); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return errors.Join(out.Flush(), file.Close())
}

// level says whether the served collection has so many points and its group no
// lag. That there is no index yet is no error.
func (s *story) level(ctx context.Context, settings string, points int) (bool, error) {
	var state indexState
	if err := s.ask(ctx, &state, "index", "status", "-c", settings); err != nil {
		return false, ctx.Err()
	}
	for _, lag := range state.Lag {
		if lag > 0 {
			return false, nil
		}
	}
	return state.Points >= points && len(state.Lag) > 0, nil
}

// edit is the second: edits flow from now on, and readers search.
func (s *story) edit(ctx context.Context) error {
	s.say("from now on a chunk is edited or deleted every %s, and readers search without a pause, by the encoder service", editEvery)
	_, err := s.start(ctx, "serve", "serve", "-c", s.old)
	if err != nil {
		return err
	}
	if err := s.await(ctx, "the encoder serves", func() (bool, error) { return s.healthy(ctx) }); err != nil {
		return err
	}
	if s.readers, err = startSearch(ctx, s.serving, s.stack.QdrantAddr, s.live.passages[:spared]); err != nil {
		return err
	}
	return s.must(ctx, "search", "-c", s.old, "-n", "3", "how do I read a file line by line")
}

// migrate is the third: the second recipe's collection is filled; the process
// that does it is killed in the middle.
func (s *story) migrate(ctx context.Context) error {
	s.say("another recipe (a prefix before each text): another model_version, and every vector differs")
	if err := s.must(ctx, "migrate", "plan", "-c", s.new); err != nil {
		return err
	}
	filling, err := s.start(ctx, "migrate-1", "migrate", "start", "-c", s.new)
	if err != nil {
		return err
	}
	err = s.await(ctx, "a third is filled", func() (bool, error) {
		state, err := s.migration(ctx)
		return state.Collection.Points > s.chunks/3, err
	})
	if err != nil {
		return err
	}
	s.say("kill -9 in the middle of it")
	if err := filling.Kill(); err != nil {
		return err
	}
	if err := s.must(ctx, "migrate", "status", "-c", s.new); err != nil {
		return err
	}
	s.say("the same command goes on where it was")
	if _, err := s.start(ctx, "migrate-2", "migrate", "start", "-c", s.new); err != nil {
		return err
	}
	err = s.await(ctx, "it is level", func() (bool, error) {
		state, err := s.migration(ctx)
		return state.Collection.Points >= s.chunks && state.Lag < 50, err
	})
	if err != nil {
		return err
	}
	return s.must(ctx, "migrate", "status", "-c", s.new)
}

func (s *story) migration(ctx context.Context) (migrationState, error) {
	var all []migrationState
	if err := s.ask(ctx, &all, "migrate", "status", "-c", s.new); err != nil {
		return migrationState{}, err
	}
	if len(all) == 0 {
		return migrationState{}, nil
	}
	return all[0], nil
}

// promote is the fourth: verified, and switched while it is searched.
func (s *story) promote(ctx context.Context) error {
	s.say("is the served index what the topic says, while edits flow?")
	if err := s.must(ctx, "index", "verify", "-c", s.old); err != nil {
		return err
	}
	golden := filepath.Join(s.dir, "golden.jsonl")
	if err := writeGolden(golden, s.live.passages[:spared]); err != nil {
		return err
	}
	s.say("the switch, while readers search: it happens only if the gates hold")
	if err := s.must(ctx, "migrate", "promote", "-c", s.new, "--golden", golden); err != nil {
		return err
	}
	if err := s.bothSearched(ctx, 2); err != nil {
		return err
	}
	return s.must(ctx, "search", "-c", s.new, "-n", "3", "how do I read a file line by line")
}

// writeGolden makes a query of each chunk's text, whose relevant chunk is
// itself.
func writeGolden(path string, passages []godocs.Passage) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(file)
	for _, p := range passages {
		err := lines.Encode(map[string]any{"query": p.Text, "relevant": [][]string{{"go", p.Document, p.Chunk}}})
		if err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return file.Close()
}

// bothSearched waits until readers have searched so many models.
func (s *story) bothSearched(ctx context.Context, models int) error {
	return s.await(ctx, "the readers have followed", func() (bool, error) { return len(s.readers.count()) >= models, nil })
}

// rollBack is the fifth: one switch back, since the old collection was kept
// level all the time.
func (s *story) rollBack(ctx context.Context) error {
	s.say("back again: the old collection was kept level all the time")
	if err := s.must(ctx, "migrate", "rollback", "-c", s.old, "--yes"); err != nil {
		return err
	}
	return s.must(ctx, "index", "verify", "-c", s.old)
}

// replay is the sixth: everything is read again, which changes nothing and
// costs no model call.
func (s *story) replay(ctx context.Context) error {
	s.say("a replay is refused while the group has members")
	if ok, err := s.try(ctx, "replay", "-c", s.old, "--to", "earliest", "--yes"); err != nil || ok {
		return errors.Join(err, errors.New("a replay beside a running worker was not refused"))
	}
	events, err := s.live.stop()
	if err != nil {
		return err
	}
	s.say("the edits stop (there were %d); the worker catches up and is stopped", events)
	if err := s.await(ctx, "the worker has caught up", func() (bool, error) { return s.level(ctx, s.old, s.chunks) }); err != nil {
		return err
	}
	if err := s.running[0].Stop(); err != nil {
		return err
	}
	var dry struct {
		Total struct {
			Events     int
			ModelCalls int `json:"model_calls"`
		}
	}
	if err := s.must(ctx, "replay", "-c", s.old, "--to", "earliest", "--dry-run"); err != nil {
		return err
	}
	if err := s.ask(ctx, &dry, "replay", "-c", s.old, "--to", "earliest", "--dry-run"); err != nil {
		return err
	}
	if dry.Total.ModelCalls != 0 || dry.Total.Events != s.chunks+events {
		return fmt.Errorf("the replay would be %d events and %d model calls, want %d and none", dry.Total.Events, dry.Total.ModelCalls, s.chunks+events)
	}
	if err := s.must(ctx, "replay", "-c", s.old, "--to", "earliest", "--yes"); err != nil {
		return err
	}
	return s.must(ctx, "run", "-c", s.old, "--set", "kafka.stop_at_end=true")
}

// ending is the last: the index still equals the topic, the readers never met
// an error, and the new collection is dropped.
func (s *story) ending(ctx context.Context) error {
	if err := s.must(ctx, "index", "verify", "-c", s.old); err != nil {
		return err
	}
	searches := s.readers.count()
	if err := s.readers.stop(); err != nil {
		return err
	}
	for model, n := range searches {
		s.say("live searches answered by %s: %d; none failed, none was mixed, none missed its chunk", model, n)
	}
	if err := s.must(ctx, "index", "list", "-c", s.old); err != nil {
		return err
	}
	for _, c := range s.running { // the new model's follower must not write on
		if err := c.Stop(); err != nil {
			return err
		}
	}
	return s.must(ctx, "migrate", "abort", "-c", s.new, "--yes")
}
