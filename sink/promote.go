package sink

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chunktide/chunk"
)

// ErrAliasMoved means that the alias no longer pointed to what the caller had
// seen, and was left alone.
var ErrAliasMoved = errors.New("the alias has moved meanwhile")

// Qdrant can switch an alias in one step, but not on the condition that it
// still points where somebody saw it. The condition is made of what Qdrant does
// have: renaming an alias that is not there fails, and ends its request. So
// beside the index's alias stands a second one, the guard, whose name holds the
// digest of the collection that is served. A switch renames the guard of the
// collection that it expects; of two switches that expect the same, one finds
// its guard gone. The guard follows in the same request, so a search never sees
// anything between.

const guardMark = "--serving-"

func guardOf(index, collection string) string {
	digest := chunk.HashText(collection)
	return index + guardMark + hex.EncodeToString(digest[:shortDigest/2])
}

func isGuard(index, alias string) bool {
	rest, ok := strings.CutPrefix(alias, index+guardMark)
	return ok && len(rest) == shortDigest
}

// Promote lets the alias point to a collection of the index, in one step, on
// the condition that it points to expected ("" if there is no alias yet);
// [ErrAliasMoved] otherwise. What it pointed to is noted in the new one, for
// [Admin.Rollback]. To promote what is served already does nothing.
func (a *Admin) Promote(ctx context.Context, to, expected string) error {
	if err := a.fit(ctx, to); err != nil {
		return err
	}
	if err := a.still(ctx, expected); err != nil || to == expected {
		return err
	}
	// Before the switch: a crash between the two leaves a note too many, not
	// one too few.
	if err := a.note(ctx, to, map[string]any{notePrevious: expected}); err != nil {
		return fmt.Errorf("note in %s what was served before: %w", to, err)
	}
	return a.switchAlias(ctx, to, expected)
}

// Rollback lets the alias point to what it pointed to before the last
// promotion, on the condition that it points to expected.
func (a *Admin) Rollback(ctx context.Context, expected string) (to string, err error) {
	m, err := a.member(ctx, expected)
	if err != nil {
		return "", err
	}
	if to = m.metadata()[notePrevious].GetStringValue(); to == "" {
		return "", fmt.Errorf("collection %s is the first that index %s served: there is nothing to go back to", expected, a.cfg.Index)
	}
	if err := a.fit(ctx, to); err != nil {
		return "", err
	}
	return to, a.switchAlias(ctx, to, expected)
}

// fit checks that a collection may be served.
func (a *Admin) fit(ctx context.Context, collection string) error {
	m, err := a.member(ctx, collection)
	if err != nil {
		return err
	}
	if _, layout, _ := unpin(m.metadata()); layout != schema {
		return fmt.Errorf("collection %s has layout %d, this version knows layout %d: use the version of Chunktide that made it", collection, layout, schema)
	}
	if m.metadata()[noteDropping].GetBoolValue() {
		return fmt.Errorf("collection %s is being dropped: finish that (chunktide index drop %s), or promote another", collection, collection)
	}
	return nil
}

// still checks that the alias points where the caller saw it.
func (a *Admin) still(ctx context.Context, expected string) error {
	now, err := a.alias(ctx)
	if err != nil {
		return err
	}
	if now != expected {
		return a.moved(now)
	}
	return nil
}

func (a *Admin) moved(now string) error {
	if now == "" {
		now = "nothing"
	}
	return fmt.Errorf("%w: index %s is served by %s; look again (chunktide index list)", ErrAliasMoved, a.cfg.Index, now)
}

func (a *Admin) switchAlias(ctx context.Context, to, expected string) error {
	if err := a.guard(ctx, expected); err != nil {
		return err
	}
	if err := a.still(ctx, expected); err != nil {
		return err
	}
	old, next := guardOf(a.cfg.Index, expected), guardOf(a.cfg.Index, to)
	var actions []*qdrant.AliasOperations
	if expected != "" {
		actions = append(actions, qdrant.NewAliasRename(old, next))
	}
	actions = append(actions, qdrant.NewAliasCreate(a.cfg.Index, to), qdrant.NewAliasCreate(next, to))
	err := a.changeAliases(ctx, actions...)
	if status.Code(err) == codes.NotFound {
		// The guard is gone: by another's switch, or by an attempt of this one
		// whose answer was lost.
		if now, lookErr := a.alias(ctx); lookErr != nil || now != to {
			return errors.Join(a.moved(now), lookErr)
		}
		err = nil
	}
	if err != nil {
		return fmt.Errorf("let %s point to %s: %w", a.cfg.Index, to, err)
	}
	// Whoever drops announces it and then looks at the alias; this has moved
	// the alias and now looks for the announcement. One of the two sees it.
	if err := a.fit(ctx, to); err != nil {
		return errors.Join(err, a.switchBack(ctx, to, expected))
	}
	a.logger.Info("the index is served by another collection", "index", a.cfg.Index, "collection", to, "before", expected)
	return nil
}

// switchBack undoes a switch to a collection that is being dropped, also if it
// and with it the alias are gone already.
func (a *Admin) switchBack(ctx context.Context, from, to string) error {
	old, next := guardOf(a.cfg.Index, from), guardOf(a.cfg.Index, to)
	if to == "" {
		return a.changeAliases(ctx, qdrant.NewAliasDelete(a.cfg.Index), qdrant.NewAliasDelete(old))
	}
	serve := []*qdrant.AliasOperations{qdrant.NewAliasCreate(a.cfg.Index, to), qdrant.NewAliasCreate(next, to)}
	err := a.changeAliases(ctx, append([]*qdrant.AliasOperations{qdrant.NewAliasRename(old, next)}, serve...)...)
	if status.Code(err) != codes.NotFound {
		return err
	}
	if now, err := a.alias(ctx); err != nil || now != "" {
		return err // somebody else let it point elsewhere
	}
	return a.changeAliases(ctx, serve...)
}

// guard makes the guard of a collection, where older versions, a hand or a
// crash left none.
func (a *Admin) guard(ctx context.Context, collection string) error {
	if collection == "" {
		return nil
	}
	aliases, err := a.aliases(ctx)
	if err != nil {
		return err
	}
	if now := targetOf(a.cfg.Index, aliases); now != collection {
		return a.moved(now)
	}
	own := guardOf(a.cfg.Index, collection)
	var others []*qdrant.AliasOperations
	for _, alias := range aliases {
		switch name := alias.GetAliasName(); {
		case name == own && alias.GetCollectionName() == collection:
			return nil
		case name != own && isGuard(a.cfg.Index, name):
			// Renamed, not deleted: if it belongs to a switch that comes between,
			// this fails.
			others = append(others, qdrant.NewAliasRename(name, own))
		}
	}
	err = a.changeAliases(ctx, append(others, qdrant.NewAliasCreate(own, collection))...)
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.NotFound:
		now, lookErr := a.alias(ctx)
		return errors.Join(a.moved(now), lookErr)
	default:
		return fmt.Errorf("guard the alias %s: %w", a.cfg.Index, err)
	}
}

// Drop removes a collection of the index with all that it holds. It refuses
// one that an alias points to, and also if one comes to point to it meanwhile.
func (a *Admin) Drop(ctx context.Context, collection string) error {
	m, err := a.member(ctx, collection)
	if err != nil {
		return err
	}
	if err := m.unserved(); err != nil {
		return err
	}
	// Deleting a collection takes its aliases along, so a promotion between the
	// look and the deed would leave readers with nothing; see switchAlias.
	if err := a.note(ctx, collection, map[string]any{noteDropping: true}); err != nil {
		return fmt.Errorf("announce the drop of %s: %w", collection, err)
	}
	if m, err = a.member(ctx, collection); err != nil {
		return err
	}
	if err := m.unserved(); err != nil {
		return errors.Join(err, a.note(ctx, collection, map[string]any{noteDropping: nil}))
	}
	err = a.do(ctx, opEnsure, func(ctx context.Context) error {
		_, err := a.collect.Delete(ctx, &qdrant.DeleteCollection{CollectionName: collection})
		return err
	})
	if err != nil {
		return fmt.Errorf("drop collection %s: %w", collection, err)
	}
	a.logger.Info("collection dropped", "collection", collection)
	return nil
}

func (m *member) unserved() error {
	if len(m.aliases) > 0 {
		return fmt.Errorf("collection %s is what the alias %s points to: promote another first (chunktide index promote)", m.name, strings.Join(m.aliases, ", "))
	}
	return nil
}

func (c *client) changeAliases(ctx context.Context, actions ...*qdrant.AliasOperations) error {
	return c.do(ctx, opEnsure, func(ctx context.Context) error {
		_, err := c.collect.UpdateAliases(ctx, &qdrant.ChangeAliases{Actions: actions})
		return err
	})
}
