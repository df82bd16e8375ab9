package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"chunktide/cmd/worker"
	"chunktide/configs"
	"chunktide/console"
	"chunktide/consumer"
	"chunktide/embedder"
	"chunktide/migrate"
	"chunktide/sink"
)

// lettersShown is how many dead letters the console shows.
const lettersShown = 10

// newConsole is the console of a worker, and what closes it; nil where the
// settings want none.
func newConsole(ctx context.Context, cfg configs.Config, w *worker.Worker, encoder embedder.Encoder, metrics prometheus.Gatherer,
	logger *slog.Logger,
) (*console.Console, func() error, error) {
	if !cfg.Console.Enabled {
		return nil, func() error { return nil }, nil
	}
	// A connection of its own: what is asked for the page waits for no write.
	admin, err := sink.OpenAdmin(cfg.Qdrant, logger, nil)
	if err != nil {
		return nil, nil, err
	}
	var none priceFlags
	price, err := none.or(cfg.Backfill.PricePerMillionTokens)
	if err != nil {
		return nil, nil, errors.Join(err, admin.Close())
	}
	page := console.New(ctx, console.Options{
		Config: cfg.Console, Metrics: metrics, Alias: cfg.Qdrant.Index, Health: w.Line.Moving, Ready: w.Ready, Price: price,
		Index: func(ctx context.Context) (*console.Index, error) {
			return lookAtIndex(ctx, admin, cfg.Kafka, w.Index.Collection(), logger)
		},
		DeadLetters: func(ctx context.Context) ([]console.DeadLetter, error) {
			letters, err := consumer.LastLetters(ctx, cfg.Kafka, lettersShown, logger)
			return shownLetters(letters), err
		},
		Search: func(ctx context.Context, text string, limit int) (console.Found, error) {
			hits, err := search(ctx, encoder, w.Index, text, limit)
			return shownHits(encoder.Recipe().ModelVersion(), hits), err
		},
		Logger: logger,
	})
	return page, admin.Close, nil
}

func lookAtIndex(ctx context.Context, admin *sink.Admin, kafka consumer.Config, own string, logger *slog.Logger) (*console.Index, error) {
	list, err := admin.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &console.Index{Alias: admin.Index(), Collections: []console.Collection{}, Migrations: []console.Migration{}}
	for _, c := range list {
		out.Collections = append(out.Collections, console.Collection{
			Name: c.Name, Model: c.Model.Version, Dim: c.Model.Dim, Serving: c.Serving, Own: c.Name == own,
			Points: c.Points, Tombstones: c.Tombstones, VectorBytes: c.VectorBytes, Status: c.Status,
		})
	}
	if len(list) < 2 { // which is the rule; a migration makes a second
		return out, nil
	}
	running, err := migrate.New(admin, kafka, logger).Status(ctx)
	for _, m := range running {
		shown := console.Migration{
			From: m.From, To: m.Collection.Name, Phase: string(m.Phase), Begun: m.Begun, Source: string(m.Source), Lag: m.Lag, Members: m.Members,
			Points: m.Collection.Points, OldPoints: -1,
		}
		if m.Old != nil {
			shown.OldPoints = m.Old.Points
		}
		out.Migrations = append(out.Migrations, shown)
	}
	return out, err
}

func shownLetters(letters []consumer.Letter) []console.DeadLetter {
	out := make([]console.DeadLetter, len(letters))
	for i, l := range letters {
		out[i] = console.DeadLetter{
			Topic: l.Original.Topic, Partition: l.Original.Partition, Offset: l.Original.Offset,
			LetterPartition: l.Partition, LetterOffset: l.Offset,
			Reason: l.Reason, Stage: l.Stage, Message: l.Message, At: l.Timestamp, RecordAt: l.OriginalTime,
			KeyBytes: len(l.Key), ValueBytes: len(l.Value), Omitted: l.Omitted, Preview: console.Shape(l.Value),
		}
		if l.Omitted != "" && l.Value == nil {
			out[i].Preview = "not copied"
		}
	}
	return out
}

func shownHits(model string, hits []sink.Hit) console.Found {
	out := console.Found{Model: model, Hits: make([]console.Hit, len(hits))}
	for i, h := range hits {
		out.Hits[i] = console.Hit{
			Score: float64(h.Score), ID: h.ID.String(), Source: h.Source, DocumentID: h.DocumentID, ChunkID: h.ChunkID, Position: h.Position,
			Text: h.Text, Metadata: h.Metadata, Version: int64(h.Version), Model: h.ModelVersion,
			Topic: h.Topic, Partition: h.Partition, Offset: h.Offset, EventTime: h.EventTime, IndexedAt: h.IndexedAt,
			Tokens: h.Tokens, Truncated: h.Truncated,
		}
	}
	return out
}
