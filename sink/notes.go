package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/qdrant/go-client/qdrant"
)

// What stands in a collection's metadata beside the pin. Qdrant merges an
// update at the top level and a null removes its key, so who writes different
// keys need not know of each other.
const (
	// noteIndex names the index that the collection belongs to.
	noteIndex = "index"
	// notePrevious is what the alias pointed to before; see [Admin.Rollback].
	notePrevious = "previous"
	// noteDropping announces a drop; see [Admin.Drop].
	noteDropping = "dropping"
	// noteGroup with a group's name is there if the group feeds the collection.
	noteGroup = "group/"
)

// pinned are the keys that say what the vectors are; they never change.
func pinned(key string) bool {
	_, ok := Model{}.pin()[key]
	return ok || key == noteIndex
}

// Notes returns the metadata of a collection beside the pin, as JSON has it.
func (a *Admin) Notes(ctx context.Context, collection string) (map[string]any, error) {
	info, err := a.info(ctx, collection)
	if err != nil {
		return nil, err
	}
	return notesOf(info.GetConfig().GetMetadata()), nil
}

// Note merges notes into the metadata of a collection: each key replaces the
// one of its name, and a nil removes it. The keys of the pin are refused. Of
// two writers of one key the later wins.
func (a *Admin) Note(ctx context.Context, collection string, notes map[string]any) error {
	return a.note(ctx, collection, notes)
}

func (c *client) note(ctx context.Context, collection string, notes map[string]any) error {
	for key := range notes {
		if pinned(key) {
			return fmt.Errorf("metadata %s of collection %s says what its vectors are and cannot be changed: make another collection", key, collection)
		}
	}
	values, err := qdrant.TryValueMap(notes)
	if err != nil {
		return fmt.Errorf("metadata of collection %s: %w", collection, err)
	}
	return c.do(ctx, opEnsure, func(ctx context.Context) error {
		_, err := c.collect.Update(ctx, &qdrant.UpdateCollection{CollectionName: collection, Metadata: values})
		return err
	})
}

func notesOf(metadata map[string]*qdrant.Value) map[string]any {
	notes := map[string]any{}
	for key, value := range metadata {
		if !pinned(key) {
			notes[key] = plain(value)
		}
	}
	return notes
}

func groupsOf(metadata map[string]*qdrant.Value) []string {
	groups := []string{}
	for key := range metadata {
		if group, ok := strings.CutPrefix(key, noteGroup); ok {
			groups = append(groups, group)
		}
	}
	slices.Sort(groups)
	return groups
}
