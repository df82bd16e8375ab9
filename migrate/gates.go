package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"chunktide/sink"
)

// Gate is one condition of a promotion.
type Gate struct {
	Name string `json:"gate"`
	OK   bool   `json:"ok"`
	// Detail says what was seen, and what is asked for.
	Detail string `json:"detail"`
}

// Checks are the conditions of a promotion.
type Checks struct {
	// MaxLag is how many records the new collection may be behind the topic.
	MaxLag int64
	// Verify counts the differences between the collection and its source; none
	// may be left.
	Verify func(ctx context.Context, f Found) (differences int, detail string, err error)
	// Compare searches both collections; nil where no queries are given, and
	// then nothing is asked of it.
	Compare func(ctx context.Context, from, to sink.Collection) (Comparison, error)
	// MinOverlap is the least overlap@k, MaxDrop the most by which recall@k and
	// nDCG@k may fall.
	MinOverlap, MaxDrop float64
}

// ErrGate means that a gate does not hold, and nothing was changed.
var ErrGate = errors.New("not promoted: a gate does not hold")

// Promotion is what was seen, and what became of it.
type Promotion struct {
	Found
	Gates      []Gate      `json:"gates"`
	Comparison *Comparison `json:"comparison,omitempty"`
	Promoted   bool        `json:"promoted"`
}

// Promote lets the alias point to the new collection, in one step, if every
// gate holds: it is filled, its group is hardly behind, it equals its source,
// and searches find what they found before, or better. It returns what it saw
// with [ErrGate] too. Name is the new collection's, or "" for the only one.
func (m *Migration) Promote(ctx context.Context, name string, c Checks) (p Promotion, err error) {
	if p.Found, err = m.one(ctx, name, func(f Found) bool { return f.Phase != Promoted }); err != nil {
		return p, err
	}
	if p.Phase == Promoted {
		return p, fmt.Errorf("collection %s is served already", p.Collection.Name)
	}
	if p.Phase != Following {
		p.Gates = []Gate{{Name: "filled", Detail: fmt.Sprintf("the migration is %s; let chunktide migrate start go on", p.Phase)}}
		return p, ErrGate
	}
	p.Gates = []Gate{{Name: "filled", OK: true, Detail: "from the " + string(p.Source)}}
	for _, gate := range []func(context.Context, *Promotion, Checks) (Gate, error){m.lagGate, m.verifyGate} {
		g, err := gate(ctx, &p, c)
		if err != nil {
			return p, err
		}
		p.Gates = append(p.Gates, g)
	}
	if c.Compare != nil {
		if err := m.compareGates(ctx, &p, c); err != nil {
			return p, err
		}
	}
	for _, g := range p.Gates {
		if !g.OK {
			return p, fmt.Errorf("%w: %s: %s", ErrGate, g.Name, g.Detail)
		}
	}
	text, err := json.Marshal(p.Gates)
	if err != nil {
		return p, err
	}
	if err := m.admin.Note(ctx, p.Collection.Name, map[string]any{noteGates: string(text)}); err != nil {
		return p, err
	}
	if err := m.admin.Promote(ctx, p.Collection.Name, p.From); err != nil {
		return p, err
	}
	p.Promoted, p.Phase = true, Promoted
	return p, nil
}

func (m *Migration) lagGate(ctx context.Context, p *Promotion, c Checks) (Gate, error) {
	lag, err := m.lag(ctx, p.Group)
	return Gate{
		Name: "lag", OK: lag <= c.MaxLag,
		Detail: fmt.Sprintf("group %s is %d records behind, at most %d are allowed", p.Group, lag, c.MaxLag),
	}, err
}

func (m *Migration) lag(ctx context.Context, group string) (int64, error) {
	g, err := m.group(ctx, group)
	if err != nil {
		return 0, err
	}
	defer g.Close()
	return g.Lag(ctx)
}

func (m *Migration) verifyGate(ctx context.Context, p *Promotion, c Checks) (Gate, error) {
	n, detail, err := c.Verify(ctx, p.Found)
	if err != nil {
		return Gate{}, fmt.Errorf("verify %s: %w", p.Collection.Name, err)
	}
	return Gate{Name: "verify", OK: n == 0, Detail: fmt.Sprintf("%d differences; %s", n, detail)}, nil
}

func (m *Migration) compareGates(ctx context.Context, p *Promotion, c Checks) error {
	old, err := m.admin.Get(ctx, p.From)
	if err != nil {
		return err
	}
	seen, err := c.Compare(ctx, old, p.Collection)
	if err != nil {
		return fmt.Errorf("compare searches in %s and %s: %w", p.From, p.Collection.Name, err)
	}
	p.Comparison = &seen
	p.Gates = append(p.Gates, Gate{
		Name: "overlap", OK: seen.Overlap >= c.MinOverlap,
		Detail: fmt.Sprintf("overlap@%d is %.3f over %d queries, at least %.3f is asked for", seen.K, seen.Overlap, seen.Queries, c.MinOverlap),
	})
	if seen.Labelled == 0 {
		return nil
	}
	for _, metric := range []struct {
		name     string
		old, new float64
	}{{"recall", seen.Old.Recall, seen.New.Recall}, {"nDCG", seen.Old.NDCG, seen.New.NDCG}} {
		p.Gates = append(p.Gates, Gate{
			Name: metric.name, OK: metric.old-metric.new <= c.MaxDrop,
			Detail: fmt.Sprintf("%s@%d is %.3f, before it was %.3f, over %d labelled queries; a fall of %.3f is allowed", metric.name, seen.K, metric.new, metric.old, seen.Labelled, c.MaxDrop),
		})
	}
	return nil
}

// Status is how a migration stands.
type Status struct {
	Found
	// Old is the collection that it replaces; nil once that was dropped.
	Old *sink.Collection `json:"old,omitempty"`
	// Lag is how far the new collection's group is behind, OldLag the old one's.
	Lag    int64 `json:"lag"`
	OldLag int64 `json:"old_lag"`
	// Members are how many workers the new collection has.
	Members int `json:"members"`
}

// Status tells how each migration of the index stands.
func (m *Migration) Status(ctx context.Context) ([]Status, error) {
	all, err := m.All(ctx)
	if err != nil {
		return nil, err
	}
	list, err := m.admin.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Status, 0, len(all))
	for _, f := range all {
		s := Status{Found: f}
		for i := range list {
			if list[i].Name == f.From {
				s.Old = &list[i]
			}
		}
		if s.Lag, err = m.lag(ctx, f.Group); err != nil {
			return nil, err
		}
		if s.Old != nil {
			if s.OldLag, err = m.lagOf(ctx, *s.Old); err != nil {
				return nil, err
			}
		}
		if s.Members, err = m.members(ctx, f.Group); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (m *Migration) members(ctx context.Context, group string) (int, error) {
	g, err := m.group(ctx, group)
	if err != nil {
		return 0, err
	}
	defer g.Close()
	members, err := g.Members(ctx)
	return len(members), err
}

// lagOf is how far the best of a collection's groups is behind.
func (m *Migration) lagOf(ctx context.Context, c sink.Collection) (int64, error) {
	best := int64(-1)
	for _, group := range groupsOr(c, m.kafka.Group) {
		lag, err := m.lag(ctx, group)
		if err != nil {
			return 0, err
		}
		if best < 0 || lag < best {
			best = lag
		}
	}
	return best, nil
}

// groupsOr are the groups that feed a collection; one that was made before
// they were noted is taken to be fed by group.
func groupsOr(c sink.Collection, group string) []string {
	if len(c.Groups) == 0 {
		return []string{group}
	}
	return c.Groups
}

// Rolled is what a rollback saw and did.
type Rolled struct {
	// From was served, To is.
	From string `json:"from"`
	To   string `json:"to"`
	// Lag is how far To is behind the topic.
	Lag int64 `json:"lag"`
}

// ErrBehind means that the old collection was not kept level.
var ErrBehind = errors.New("the old collection is behind")

// Rollback lets the alias point to the old collection again, in one step. It
// refuses with [ErrBehind] if that is more than maxLag records behind the
// topic; a negative maxLag allows any.
func (m *Migration) Rollback(ctx context.Context, maxLag int64) (r Rolled, err error) {
	f, err := m.one(ctx, "", func(f Found) bool { return f.Phase == Promoted })
	if errors.Is(err, ErrNone) {
		return r, errors.New("what the index serves was not promoted by a migration: see chunktide index rollback")
	}
	if err != nil {
		return r, err
	}
	r.From = f.Collection.Name
	old, err := m.admin.Get(ctx, f.From)
	if err != nil {
		return r, err
	}
	if r.Lag, err = m.lagOf(ctx, old); err != nil {
		return r, err
	}
	if maxLag >= 0 && r.Lag > maxLag {
		return r, fmt.Errorf("%w: %s lacks %d records of the topic: start its workers (kafka.group %v), or allow it with --max-lag", ErrBehind, old.Name, r.Lag, old.Groups)
	}
	r.To, err = m.admin.Rollback(ctx, f.Collection.Name)
	return r, err
}

// Abort drops the new collection and its group. It refuses a collection that
// is served, and a group that has members.
func (m *Migration) Abort(ctx context.Context, name string) (Found, error) {
	f, err := m.one(ctx, name, func(f Found) bool { return f.Phase != Promoted })
	if err != nil {
		return f, err
	}
	if f.Phase == Promoted {
		return f, fmt.Errorf("collection %s is served: roll it back first (chunktide migrate rollback)", f.Collection.Name)
	}
	group, err := m.group(ctx, f.Group)
	if err != nil {
		return f, err
	}
	defer group.Close()
	// The group first: once the collection is gone, nothing tells its name.
	if err := group.Delete(ctx); err != nil {
		return f, fmt.Errorf("stop its workers (chunktide migrate start) first: %w", err)
	}
	return f, m.admin.Drop(ctx, f.Collection.Name)
}
