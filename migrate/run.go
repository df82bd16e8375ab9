package migrate

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"chunktide/consumer"
	"chunktide/sink"
)

// Work is what a run cannot do by itself.
type Work struct {
	// Model is the new recipe.
	Model sink.Model
	// Source is used where the migration is new; one that has begun keeps its
	// own.
	Source Source
	// Backfill fills collection to with what collection from holds, and goes on
	// where it was left. It returns nil when all of it is durable.
	Backfill func(ctx context.Context, s State, to string) error
	// Follow applies the topics to the collection, as a member of the group,
	// until ctx ends, or sooner if it has reason to. A partition without a commit
	// begins at its earliest record.
	Follow func(ctx context.Context, s State, to string) error
}

// Begin makes the new collection and notes the migration in it; where it has
// begun already, it returns that one.
func (m *Migration) Begin(ctx context.Context, w Work) (Found, error) {
	served, err := m.admin.Get(ctx, "")
	if err != nil {
		return Found{}, err
	}
	all, err := m.All(ctx)
	if err != nil {
		return Found{}, err
	}
	for _, f := range all {
		if f.Collection.Model.Digest == w.Model.Digest {
			return f, nil
		}
	}
	if served.Model.Digest == w.Model.Digest {
		return Found{}, fmt.Errorf("index %s is served by %s already: set embedder to the new model's settings, those of the index as it shall be",
			m.admin.Index(), served.Model.Version)
	}
	name, err := m.admin.Create(ctx, w.Model)
	if err != nil {
		return Found{}, err
	}
	c, err := m.admin.Get(ctx, name)
	if err != nil {
		return Found{}, err
	}
	if c.Points > 0 || len(c.Groups) > 0 {
		return Found{}, fmt.Errorf("collection %s is there already, with %d points and groups %v, and no migration made it: drop it first (chunktide index drop %s), "+
			"or promote it (chunktide index promote %s)", name, c.Points, c.Groups, name, name)
	}
	s := State{From: served.Name, Source: w.Source, Group: GroupFor(m.kafka.Group, w.Model), Begun: time.Now().UTC()}
	text, err := json.Marshal(s)
	if err != nil {
		return Found{}, err
	}
	if err := m.admin.Note(ctx, name, map[string]any{noteState: string(text)}); err != nil {
		return Found{}, fmt.Errorf("note the migration in %s: %w", name, err)
	}
	s.Phase = Created
	m.logger.Info("migration begun", "from", s.From, "to", name, "source", string(s.Source), "group", s.Group)
	return Found{s, c}, nil
}

// Run begins a migration or goes on with it, and follows the live topic until
// ctx ends or Follow returns.
func (m *Migration) Run(ctx context.Context, w Work) error {
	f, err := m.Begin(ctx, w)
	if err != nil {
		return err
	}
	s, to := f.State, f.Collection.Name
	if s.Phase == Created {
		if s.Phase, err = m.prepare(ctx, s, to); err != nil {
			return err
		}
	}
	if s.Phase == Backfilling {
		if err := w.Backfill(ctx, s, to); err != nil {
			return fmt.Errorf("fill %s from %s: %w", to, s.From, err)
		}
	}
	if s.Source != FromTopic {
		// Always: the group's offsets may have expired since.
		if err := m.handOver(ctx, s, to); err != nil {
			return err
		}
	}
	if s.Phase == Backfilling {
		if err := m.reach(ctx, to, Following); err != nil {
			return err
		}
		s.Phase = Following
	}
	return w.Follow(ctx, s, to)
}

// prepare captures what must be captured before anything is read, and returns
// the phase that this leads to.
func (m *Migration) prepare(ctx context.Context, s State, to string) (Phase, error) {
	// Offsets that the group has from before (of a collection of the same model
	// that was dropped) would skip what the new collection lacks.
	group, err := m.group(ctx, s.Group)
	if err != nil {
		return "", err
	}
	defer group.Close()
	if err := group.Delete(ctx); err != nil {
		// Another process may have gone on in the meantime, and be a member.
		again, lookErr := m.one(ctx, to, nil)
		if lookErr == nil && again.Phase != Created {
			return again.Phase, nil
		}
		return "", fmt.Errorf("the group's offsets are from before and must go: stop its members: %w", err)
	}
	next := Following
	if s.Source != FromTopic {
		next = Backfilling
		if err := m.capture(ctx, s, to); err != nil {
			return "", err
		}
	}
	return next, m.reach(ctx, to, next)
}

// positions are offsets by topic and partition.
type positions map[string]map[int32]int64

func (p positions) set(topic string, partition int32, offset int64) {
	if p[topic] == nil {
		p[topic] = map[int32]int64{}
	}
	p[topic][partition] = offset
}

// capture notes, for each partition, an offset up to which the old collection
// is level: what one of its groups has committed. What comes later may be
// missed by a reading that begins after this, and is read from the topic.
func (m *Migration) capture(ctx context.Context, s State, to string) error {
	old, err := m.admin.Get(ctx, s.From)
	if err != nil {
		return err
	}
	at := positions{}
	for _, name := range groupsOr(old, m.kafka.Group) {
		moves, err := m.plan(ctx, name, "latest")
		if err != nil {
			return err
		}
		for _, mv := range moves {
			// Each group applies everything; the one that has come furthest will do.
			at.set(mv.Topic, mv.Partition, max(at[mv.Topic][mv.Partition], mv.From, mv.Start))
		}
	}
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	if err := m.admin.Note(ctx, to, map[string]any{notePosition + rand.Text(): string(text)}); err != nil {
		return fmt.Errorf("note where the live events go on: %w", err)
	}
	return nil
}

func (m *Migration) plan(ctx context.Context, group, target string) ([]consumer.Move, error) {
	g, err := m.group(ctx, group)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	t, err := consumer.ParseTarget(target, time.Now())
	if err != nil {
		return nil, err
	}
	return g.Plan(ctx, t)
}

// handOver commits the lowest captured offset of each partition for which the
// group has none yet.
func (m *Migration) handOver(ctx context.Context, s State, to string) error {
	notes, err := m.admin.Notes(ctx, to)
	if err != nil {
		return err
	}
	lowest := positions{}
	captures := 0
	for key, value := range notes {
		if !strings.HasPrefix(key, notePosition) {
			continue
		}
		var at positions
		text, _ := value.(string)
		if err := json.Unmarshal([]byte(text), &at); err != nil {
			return fmt.Errorf("the position %s in the metadata of %s is not understood: %w", key, to, err)
		}
		captures++
		for topic, partitions := range at {
			for partition, offset := range partitions {
				if known, ok := lowest[topic][partition]; ok {
					offset = min(offset, known)
				}
				lowest.set(topic, partition, offset)
			}
		}
	}
	if captures == 0 {
		return fmt.Errorf("the metadata of %s says that it is being filled, but not where the live events go on: abort the migration and begin anew", to)
	}
	moves, err := m.plan(ctx, s.Group, "latest")
	if err != nil {
		return err
	}
	var begin []consumer.Move
	for _, mv := range moves {
		offset, captured := lowest[mv.Topic][mv.Partition]
		switch {
		case mv.From >= 0 || !captured:
		case offset < mv.Start:
			return fmt.Errorf("topic %s partition %d: the live events go on at offset %d, and the log begins at %d by now: "+
				"what lies between is lost to the new collection; raise the topic's retention, abort the migration and begin anew", mv.Topic, mv.Partition, offset, mv.Start)
		default:
			mv.To = offset
			begin = append(begin, mv)
		}
	}
	group, err := m.group(ctx, s.Group)
	if err != nil {
		return err
	}
	defer group.Close()
	_, err = group.Commit(ctx, begin)
	return err
}
