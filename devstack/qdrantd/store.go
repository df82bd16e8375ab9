package qdrantd

import (
	"slices"
	"sync"
)

// store is all that the server holds. A name is a collection or an alias,
// never both.
//
// Locks are taken in one order, store then collection, and never held together:
// a request resolves its name, lets the store go and then works on the
// collection, so that a switch of an alias never waits for a search.
type store struct {
	mu          sync.RWMutex
	collections map[string]*collection
	aliases     map[string]string // alias → collection
}

func newStore() *store {
	return &store{collections: map[string]*collection{}, aliases: map[string]string{}}
}

// resolve finds a collection by its name or by an alias.
func (s *store) resolve(name string) (*collection, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if target, ok := s.aliases[name]; ok {
		name = target
	}
	c, ok := s.collections[name]
	if !ok {
		return nil, noCollection(name)
	}
	return c, nil
}

// create adds an empty collection.
func (s *store) create(name string, cfg config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.collections[name]; ok {
		return alreadyExists("Collection `%s` already exists!", name)
	}
	if _, ok := s.aliases[name]; ok {
		return badInput("Can't create collection with name %s. Alias with the same name already exists", name)
	}
	s.collections[name] = newCollection(cfg)
	return nil
}

// drop removes a collection and its aliases, and says whether there was one.
// An alias is no name to drop a collection by.
func (s *store) drop(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for alias, target := range s.aliases {
		if target == name {
			delete(s.aliases, alias)
		}
	}
	_, ok := s.collections[name]
	delete(s.collections, name)
	return ok
}

// names lists the collections in order.
func (s *store) names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.collections))
	for name := range s.collections {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// aliasesOf lists the aliases of a collection, or all with an empty name, as
// pairs of alias and collection, in order.
func (s *store) aliasesOf(collection string) [][2]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var pairs [][2]string
	for alias, target := range s.aliases {
		if collection == "" || target == collection {
			pairs = append(pairs, [2]string{alias, target})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return pairs
}

// changeAliases runs fn with the store to itself, so that nobody sees half of
// what it changes.
func (s *store) changeAliases(fn func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn()
}
