package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"chunktide/chunk"
	"chunktide/cmd/worker"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/migrate"
	"chunktide/sink"
	"chunktide/verify"
)

// verify is the gate of that name: the topic says what the new collection must
// hold where it was filled from there, and elsewhere the old collection does.
func (m *migrating) verify(patience time.Duration) func(context.Context, migrate.Found) (int, string, error) {
	return func(ctx context.Context, f migrate.Found) (int, string, error) {
		if f.Source == migrate.FromTopic {
			return m.againstTopic(ctx, f, patience)
		}
		return m.againstOld(ctx, f, patience)
	}
}

func (m *migrating) againstTopic(ctx context.Context, f migrate.Found, patience time.Duration) (n int, detail string, err error) {
	decoder, err := chunk.NewDecoder(m.cfg.Events)
	if err != nil {
		return 0, "", err
	}
	source, err := verify.OpenTopic(ctx, verify.TopicConfig{
		Kafka: m.cfg.Kafka, Decode: decoder.Decode, Wait: patience, Logger: m.logger,
		Committed: func(ctx context.Context) (map[string]map[int32]int64, error) {
			return consumer.Committed(ctx, m.cfg.Kafka, []string{f.Group})
		},
	})
	if err != nil {
		return 0, "", err
	}
	cfg := m.cfg.Qdrant
	cfg.Collection, cfg.Create = f.Collection.Name, false
	index, err := sink.Open(ctx, cfg, f.Collection.Model, m.logger, nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	options := verify.DefaultOptions()
	options.Models, options.Sample = []string{f.Collection.Model.Version}, 0
	for _, model := range f.Collection.Adopted {
		options.Models = append(options.Models, model.Version)
	}
	r, err := verify.Run(ctx, verify.Parts{Source: source, Index: index, Logger: m.logger}, options)
	if err != nil {
		return 0, "", err
	}
	detail = fmt.Sprintf("%s compared with %s of the topic, %s not applied yet", oneOrMore(r.Living, "chunk was", "chunks were"), numberOf(r.Events, "event"),
		oneOrMore(r.Pending, "of which is", "of which are"))
	for i, d := range r.Named {
		if i == migrateExamples {
			break
		}
		detail += "; " + d.String()
	}
	return r.Total(), detail, nil
}

// migrateExamples is how many differences are named.
const migrateExamples = 5

func (m *migrating) againstOld(ctx context.Context, f migrate.Found, patience time.Duration) (n int, detail string, err error) {
	from, err := sink.OpenStored(ctx, m.cfg.Qdrant, f.From, m.logger, nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := sink.OpenStored(ctx, m.cfg.Qdrant, f.Collection.Name, m.logger, nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	d, err := migrate.Level(ctx, from, to, patience)
	if err != nil {
		return 0, "", err
	}
	blind := 0
	if err := to.Blind(ctx, func(sink.Record) error { blind++; return nil }); err != nil {
		return 0, "", err
	}
	detail = fmt.Sprintf("%s compared with those of %s, %s no vector", oneOrMore(d.Living, "chunk was", "chunks were"), f.From, oneOrMore(blind, "has", "have"))
	if len(d.Examples) > 0 {
		detail += fmt.Sprintf("; such as %v", d.Examples)
	}
	return d.Count + blind, detail, nil
}

func (a *app) goldenQueries(path string, lineBytes int) ([]migrate.Query, error) {
	in := a.io.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usagef("--golden: %w", err)
		}
		defer f.Close()
		in = f
	}
	queries, err := migrate.ReadQueries(in, lineBytes)
	if err != nil {
		return nil, usagef("--golden %s: %w", path, err)
	}
	return queries, nil
}

// compare asks golden queries of both collections, each in vectors of its own
// model.
func (m *migrating) compare(ctx context.Context, queries []migrate.Query, k int, from, to sink.Collection) (c migrate.Comparison, err error) {
	before, closeBefore, err := m.searcher(ctx, from)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, closeBefore()) }()
	after, closeAfter, err := m.searcher(ctx, to)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, closeAfter()) }()
	return migrate.Compare(ctx, queries, k, before, after)
}

// searcher searches a collection with its model, which must be among the
// settings: embedder's, that one uncut, or one of serve.models.
func (m *migrating) searcher(ctx context.Context, c sink.Collection) (find migrate.Searcher, closeAll func() error, err error) {
	encoder, err := m.encoderOf(ctx, c.Model)
	if err != nil {
		return nil, nil, err
	}
	stored, err := sink.OpenStored(ctx, m.cfg.Qdrant, c.Name, m.logger, nil)
	if err != nil {
		return nil, nil, errors.Join(err, encoder.Close())
	}
	find = func(ctx context.Context, query string, k int) ([]chunk.ID, error) {
		e, err := encoder.EncodeQuery(ctx, query)
		if err != nil {
			return nil, err
		}
		hits, err := stored.SearchHere(ctx, e.Vector, k)
		return migrate.IDs(hits), err
	}
	return find, func() error { return errors.Join(stored.Close(), encoder.Close()) }, nil
}

func (m *migrating) encoderOf(ctx context.Context, model sink.Model) (embedder.Encoder, error) {
	whole := m.cfg.Embedder
	whole.Dimensions = 0
	cut := m.cfg.Embedder
	cut.Dimensions = model.Dim
	var known []string
	for _, cfg := range append([]embedder.Config{m.cfg.Embedder, whole, cut}, m.cfg.Serve.Models...) {
		encoder, err := embedder.New(ctx, cfg, m.logger, nil)
		if err != nil {
			known = append(known, err.Error())
			continue
		}
		if worker.ModelPin(encoder.Recipe()).Digest == model.Digest {
			return encoder, nil
		}
		known = append(known, encoder.Recipe().ModelVersion())
		if err := encoder.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("golden queries: %s is none of the models in the settings (%v): list it in serve.models", model.Version, known)
}
