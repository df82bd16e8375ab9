// Package migrate replaces the model of an index: vectors of two models cannot
// be compared, so the new ones go into a collection of their own, which is
// filled and kept level beside the one that is served, until one switch of the
// alias lets the searches go there.
//
// What it guarantees:
//
//   - The served collection is not touched, and its workers go on: at every
//     moment the alias points to one collection, of one model, that is level
//     with the topic. After the promotion the old one is kept level by the same
//     workers, so that [Migration.Rollback] is one switch back.
//   - The state of a migration lies in the metadata of the new collection and
//     shares its fate. A process may be killed at any point; [Migration.Run] goes
//     on where it was. Several may run at once.
//   - Nothing falls between the old text and the live events: where the new
//     collection is filled from the old one, the position from which the live
//     events are followed was captured before the first point was read, and is
//     one that the old collection was level with.
//   - A promotion happens only if the gates hold: see [Migration.Promote].
//
// # Why the live events wait for the backfill
//
// Versions make it harmless to write an old state late, but a delete without a
// version (a Kafka tombstone) removes only what is there when it comes. Followed
// too early it would find nothing, and the old collection's text, read before
// the delete, would stay for ever.
package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"chunktide/consumer"
	"chunktide/sink"
)

// Phase is how far a migration has come.
type Phase string

// The phases, in order.
const (
	// Created: the new collection is there, and empty.
	Created Phase = "created"
	// Backfilling: it is being filled from the old one.
	Backfilling Phase = "backfilling"
	// Following: a consumer group of its own brings it level and keeps it so.
	// One that is filled from the topic is in this phase from the beginning.
	Following Phase = "following"
	// Promoted: it is the one that is served.
	Promoted Phase = "promoted"
)

// Source is where the new collection's texts come from.
type Source string

// The sources.
const (
	// FromTopic reads the topic from its earliest record.
	FromTopic Source = "topic"
	// FromCollection reads the text that the old collection stores.
	FromCollection Source = "collection"
	// FromVectors cuts the vectors that the old collection stores.
	FromVectors Source = "vectors"
)

// State is what is known of a migration. It lies in the new collection's
// metadata.
type State struct {
	// From is the collection that was served when it began.
	From   string `json:"from"`
	Source Source `json:"source"`
	// Group is the consumer group that keeps the new collection level: that of
	// the workers of the new model.
	Group string    `json:"group"`
	Begun time.Time `json:"begun"`
	// Phase is not part of the note: each phase that was reached is one by
	// itself, and that of a served collection is [Promoted].
	Phase Phase `json:"phase"`
}

// The notes in the collection's metadata. Of two writers of one note the later
// wins, so what two processes may write at once is written under two names, or
// is the same.
const (
	noteState = "migration"
	// notePhase with a phase is when it was reached. So a process that is late
	// cannot set back what another has reached.
	notePhase = "migration/phase/"
	// notePosition with a random name is one capture of the topics' positions.
	// Each process that begins to fill the collection has made one before. The
	// lowest of all counts.
	notePosition = "migration/position/"
	// noteGates are the gates of the last promotion.
	noteGates = "migration/gates"
)

// stateOf reads the state from a collection's notes; ok is false where there
// is none.
func stateOf(c *sink.Collection) (s State, ok bool, err error) {
	text, ok := c.Notes[noteState].(string)
	if !ok {
		return s, false, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, false, fmt.Errorf("the migration noted in the metadata of %s is not understood; use the version of Chunktide that began it: %w", c.Name, err)
	}
	s.Phase = Created
	for _, p := range []Phase{Backfilling, Following} {
		if c.Notes[notePhase+string(p)] != nil {
			s.Phase = p
		}
	}
	if c.Serving {
		s.Phase = Promoted
	}
	return s, true, nil
}

// Migration looks at the migrations of one index and moves them on.
type Migration struct {
	admin  *sink.Admin
	kafka  consumer.Config
	logger *slog.Logger
}

// New uses an index's admin and the settings of Kafka; their group is that of
// the workers of the old model, or of the new one.
func New(admin *sink.Admin, kafka consumer.Config, logger *slog.Logger) *Migration {
	return &Migration{admin: admin, kafka: kafka, logger: logger}
}

// Found is a migration with its collection.
type Found struct {
	State
	Collection sink.Collection `json:"collection"`
}

// ErrNone means that the index has no such migration.
var ErrNone = errors.New("the index has no migration under way: begin one with chunktide migrate start")

// All are the migrations of the index, in the order of their collections'
// names.
func (m *Migration) All(ctx context.Context) ([]Found, error) {
	list, err := m.admin.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, c := range list {
		s, ok, err := stateOf(&c)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, Found{s, c})
		}
	}
	return out, nil
}

// one is the migration that a name means, or the only one that fits.
func (m *Migration) one(ctx context.Context, name string, fits func(Found) bool) (Found, error) {
	all, err := m.All(ctx)
	if err != nil {
		return Found{}, err
	}
	var found []Found
	for _, f := range all {
		if name == f.Collection.Name || name == "" && fits(f) {
			found = append(found, f)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Found{}, fmt.Errorf("the index has %d migrations: say which with --collection (%s, %s, …)", len(found), found[0].Collection.Name, found[1].Collection.Name)
	case name != "":
		return Found{}, fmt.Errorf("collection %s belongs to no migration: %w", name, ErrNone)
	default:
		return Found{}, ErrNone
	}
}

// reach notes that a phase has been reached.
func (m *Migration) reach(ctx context.Context, collection string, p Phase) error {
	if err := m.admin.Note(ctx, collection, map[string]any{notePhase + string(p): time.Now().UTC().Format(time.RFC3339)}); err != nil {
		return fmt.Errorf("note that the migration is %s: %w", p, err)
	}
	m.logger.Info("the migration is "+string(p), "collection", collection)
	return nil
}

// groupSuffix is what GroupFor has added.
var groupSuffix = regexp.MustCompile(`--[0-9a-f]{12}$`)

// GroupFor is the consumer group of the workers of a model. It does not change
// when base is already such a group, of this model or another.
func GroupFor(base string, model sink.Model) string {
	return groupSuffix.ReplaceAllString(base, "") + "--" + model.Digest[:min(12, len(model.Digest))]
}

// group opens a consumer group of the topics.
func (m *Migration) group(ctx context.Context, name string) (*consumer.Group, error) {
	cfg := m.kafka
	cfg.Group = name
	return consumer.OpenGroup(ctx, cfg)
}
