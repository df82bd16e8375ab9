package qdrantd

import (
	"slices"
	"sync"

	pb "github.com/qdrant/go-client/qdrant"
)

// vectorConfig is one named vector of a collection.
type vectorConfig struct {
	name   string // empty for the anonymous vector
	params *pb.VectorParams
	size   int
	metric metric
}

// config is what a collection was created with. All but metadata stays as it
// is.
type config struct {
	// vectors are in the order of their names. Their position is that of the
	// vector in [point.vectors].
	vectors []vectorConfig
	// request is kept for the settings that change nothing here and are only
	// told again.
	request  *pb.CreateCollection
	metadata map[string]any
}

// vector returns the position of a named vector, -1 if there is none.
func (c *config) vector(name string) int {
	return slices.IndexFunc(c.vectors, func(v vectorConfig) bool { return v.name == name })
}

// point is immutable once it is stored: a change stores another one. So a
// reader may keep it after it let the collection go.
type point struct {
	id      pointID
	version uint64
	// vectors holds nil for a vector that the point does not have.
	vectors [][]float32
	payload map[string]any
}

func (p *point) clone() *point {
	twin := *p
	twin.vectors = slices.Clone(p.vectors)
	return &twin
}

// collection is the points and what describes them.
type collection struct {
	mu  sync.RWMutex
	cfg config
	// points are in no order; slots says where each one is.
	points []*point
	slots  map[pointID]int
	// operations counts the writes: the number of the next one.
	operations uint64
	// indexes are the payload indexes by path.
	indexes map[string]*pb.PayloadSchemaInfo

	sorted sortedIDs
}

func newCollection(cfg config) *collection {
	return &collection{cfg: cfg, slots: map[pointID]int{}, indexes: map[string]*pb.PayloadSchemaInfo{}}
}

// find returns nil if there is no such point.
func (c *collection) find(id pointID) *point {
	slot, ok := c.slots[id]
	if !ok {
		return nil
	}
	return c.points[slot]
}

func (c *collection) put(p *point) {
	if slot, ok := c.slots[p.id]; ok {
		c.points[slot] = p
		return
	}
	c.slots[p.id] = len(c.points)
	c.points = append(c.points, p)
	c.sorted.stale = true
}

func (c *collection) remove(id pointID) {
	slot, ok := c.slots[id]
	if !ok {
		return
	}
	last := len(c.points) - 1
	c.points[slot] = c.points[last]
	c.slots[c.points[slot].id] = slot
	c.points[last] = nil
	c.points = c.points[:last]
	delete(c.slots, id)
	c.sorted.stale = true
}

// matching returns the points that a filter selects, in no order.
func (c *collection) matching(f *filter) []*point {
	if f == nil {
		return slices.Clone(c.points)
	}
	var found []*point
	if ids, ok := f.onlyIDs(); ok {
		for id := range ids {
			if p := c.find(id); p != nil && f.match(p) {
				found = append(found, p)
			}
		}
		return found
	}
	for _, p := range c.points {
		if f.match(p) {
			found = append(found, p)
		}
	}
	return found
}

// sortedIDs is the order that scrolls follow. Readers rebuild it when the set
// of points has changed since, so it has a lock of its own.
type sortedIDs struct {
	mu    sync.Mutex
	ids   []pointID
	stale bool
}

// from returns the ids in order, beginning with the first that is not below
// start. The caller must hold the collection for reading.
func (c *collection) idsFrom(start *pointID) []pointID {
	c.sorted.mu.Lock()
	defer c.sorted.mu.Unlock()
	if c.sorted.stale {
		ids := make([]pointID, len(c.points)) // not in place: readers hold the old ones
		for i, p := range c.points {
			ids[i] = p.id
		}
		slices.SortFunc(ids, compareIDs)
		c.sorted.ids, c.sorted.stale = ids, false
	}
	ids := c.sorted.ids
	if start != nil {
		i, _ := slices.BinarySearchFunc(ids, *start, compareIDs)
		ids = ids[i:]
	}
	return ids
}
