package qdrantd

import (
	"slices"

	pb "github.com/qdrant/go-client/qdrant"
)

// selection is the points that an operation is about: listed or filtered.
type selection struct {
	ids    []pointID
	listed bool
	given  *pb.Filter
	filter *filter
}

func readSelection(given *pb.PointsSelector, missing string) (selection, error) {
	if given == nil {
		return selection{}, invalid("%s", missing)
	}
	switch g := given.GetPointsSelectorOneOf().(type) {
	case *pb.PointsSelector_Points:
		ids, err := readIDs(g.Points.GetIds())
		return selection{ids: ids, listed: true}, err
	case *pb.PointsSelector_Filter:
		if g.Filter == nil {
			return selection{given: &pb.Filter{}}, nil
		}
		return selection{given: g.Filter}, nil
	default:
		return selection{}, invalid("Malformed PointsSelector type")
	}
}

func (s *selection) bind(c *collection) error {
	if s.listed && len(s.ids) == 0 {
		return errEmptyUpdate()
	}
	var err error
	s.filter, err = c.compile(s.given)
	return err
}

// points returns the selected points that exist, each once, and the first of
// the listed ones that does not, if there is one.
func (s *selection) points(c *collection) (found []*point, missing error) {
	if !s.listed {
		return c.matching(s.filter), nil
	}
	seen := make(map[pointID]bool, len(s.ids))
	for _, id := range s.ids {
		p := c.find(id)
		switch {
		case p == nil && missing == nil:
			missing = noPoint(id)
		case p != nil && !seen[id]:
			seen[id] = true
			found = append(found, p)
		}
	}
	return found, missing
}

// change is an operation that stores another version of each selected point.
type change struct {
	selection
	// check runs once before the first point, if there is one.
	check func(cfg *config) error
	// edit changes the copy of a point that takes its place.
	edit func(p *point)
}

func (ch *change) bind(c *collection) error { return ch.selection.bind(c) }

// apply changes those points that exist before it complains of one that does
// not, as the real server does.
func (ch *change) apply(c *collection, version uint64) error {
	found, missing := ch.points(c)
	if ch.check != nil && len(found) > 0 {
		if err := ch.check(&c.cfg); err != nil {
			return err
		}
	}
	for _, p := range found {
		twin := p.clone()
		twin.version = version
		ch.edit(twin)
		c.put(twin)
	}
	return missing
}

func readSetPayload(given *pb.PointsSelector, fields map[string]*pb.Value, at *string) (operation, error) {
	var where path
	if at != nil {
		var err error
		if where, err = parsePath(*at); err != nil {
			return nil, err
		}
	}
	payload, err := readPayload(fields)
	if err != nil {
		return nil, err
	}
	s, err := readSelection(given, "points_selector is expected")
	return &change{selection: s, edit: func(p *point) {
		switch {
		case at != nil:
			p.payload = mergedAt(p.payload, where, payload)
		case p.payload == nil: // the nulls stay, as in the real server
			p.payload = orEmpty(payload)
		default:
			p.payload = merged(p.payload, payload)
		}
	}}, err
}

func readOverwritePayload(given *pb.PointsSelector, fields map[string]*pb.Value) (operation, error) {
	payload, err := readPayload(fields)
	if err != nil {
		return nil, err
	}
	s, err := readSelection(given, "points_selector is expected")
	return &change{selection: s, edit: func(p *point) { p.payload = orEmpty(payload) }}, err
}

func readDeletePayload(given *pb.PointsSelector, keys []string) (operation, error) {
	paths, err := readPaths(keys)
	if err != nil {
		return nil, err
	}
	s, err := readSelection(given, "points_selector is expected")
	return &change{selection: s, edit: func(p *point) {
		for _, at := range paths {
			p.payload = without(p.payload, at)
		}
	}}, err
}

func readClearPayload(given *pb.PointsSelector) (operation, error) {
	s, err := readSelection(given, "PointSelector is missing")
	return &change{selection: s, edit: func(p *point) { p.payload = nil }}, err
}

func readDeleteVectors(given *pb.PointsSelector, vectors *pb.VectorsSelector) (operation, error) {
	s, err := readSelection(given, "points_selector is expected")
	if err != nil {
		return nil, err
	}
	if vectors == nil {
		return nil, invalid("vectors is expected")
	}
	names := slices.Compact(slices.Sorted(slices.Values(vectors.GetNames())))
	var positions []int
	return &change{
		selection: s,
		check: func(cfg *config) error {
			for _, name := range names {
				i := cfg.vector(name)
				if i < 0 {
					return noVector(name)
				}
				positions = append(positions, i)
			}
			return nil
		},
		edit: func(p *point) {
			for _, i := range positions {
				p.vectors[i] = nil
			}
		},
	}, nil
}

// removal deletes points. One that is not there is as good as deleted.
type removal struct{ selection }

func readDelete(given *pb.PointsSelector) (operation, error) {
	s, err := readSelection(given, "PointSelector is missing")
	return &removal{s}, err
}

func (r *removal) apply(c *collection, _ uint64) error {
	found, _ := r.points(c)
	for _, p := range found {
		c.remove(p.id)
	}
	return nil
}

// vectorUpdate replaces some vectors of points and leaves the others.
type vectorUpdate struct {
	points    []givenPoint
	condition *pb.Filter
	filter    *filter
}

func readUpdateVectors(given []*pb.PointVectors, condition *pb.Filter) (operation, error) {
	u := &vectorUpdate{points: make([]givenPoint, len(given)), condition: condition}
	for i, g := range given {
		if g.GetId() == nil {
			return nil, invalid("id is expected")
		}
		id, err := readID(g.GetId())
		if err != nil {
			return nil, err
		}
		if g.GetVectors() == nil {
			return nil, invalid("vectors is expected")
		}
		vectors, err := readVectors(g.GetVectors())
		if err != nil {
			return nil, err
		}
		u.points[i] = givenPoint{id: id, vectors: vectors}
	}
	return u, nil
}

func (u *vectorUpdate) bind(c *collection) error {
	if len(u.points) == 0 {
		return errEmptyUpdate()
	}
	var err error
	u.filter, err = c.compile(u.condition)
	return err
}

func (u *vectorUpdate) apply(c *collection, version uint64) error {
	allowed := make([]bool, len(u.points))
	var missing error
	for i, p := range u.points {
		stored := c.find(p.id)
		allowed[i] = stored != nil && (u.filter == nil || u.filter.match(stored))
		if stored == nil && missing == nil {
			missing = noPoint(p.id)
		}
	}
	// What is not written is not looked at.
	if err := checkFit(&c.cfg, u.points, allowed); err != nil {
		return err
	}
	for i, p := range u.points {
		if allowed[i] {
			twin := c.find(p.id).clone()
			twin.version = version
			p.vectors.into(&c.cfg, twin.vectors)
			c.put(twin)
		}
	}
	return missing
}
