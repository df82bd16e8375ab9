package qdrantd

import (
	pb "github.com/qdrant/go-client/qdrant"
)

// givenPoint is a point of an upsert.
type givenPoint struct {
	id      pointID
	vectors givenVectors
	payload map[string]any
}

// upsert replaces whole points: what it does not bring, payload or vector, the
// point has no longer. Of two points with one id the last counts.
type upsert struct {
	points []givenPoint
	mode   pb.UpdateMode
	// condition lets only those points be replaced that it selects. Points
	// that do not exist are inserted whatever it says.
	condition *pb.Filter
	filter    *filter
}

func readUpsert(given []*pb.PointStruct, condition *pb.Filter, mode pb.UpdateMode) (operation, error) {
	u := &upsert{points: make([]givenPoint, len(given)), mode: mode, condition: condition}
	for i, g := range given {
		p, err := readPoint(g)
		if err != nil {
			return nil, err
		}
		u.points[i] = p
	}
	return u, nil
}

func readPoint(given *pb.PointStruct) (givenPoint, error) {
	payload, err := readPayload(given.GetPayload())
	if err != nil {
		return givenPoint{}, err
	}
	if given.GetVectors() == nil {
		return givenPoint{}, invalid("Expected some vectors")
	}
	vectors, err := readVectors(given.GetVectors())
	if err != nil {
		return givenPoint{}, err
	}
	if given.GetId() == nil {
		return givenPoint{}, invalid("Empty ID is not allowed")
	}
	id, err := readID(given.GetId())
	return givenPoint{id: id, vectors: vectors, payload: payload}, err
}

func (u *upsert) bind(c *collection) error {
	for _, p := range u.points {
		if err := p.vectors.checkSizes(&c.cfg); err != nil {
			return err
		}
	}
	if len(u.points) == 0 {
		return errEmptyUpdate()
	}
	var err error
	u.filter, err = c.compile(u.condition)
	return err
}

func errEmptyUpdate() error { return badRequest("Empty update request") }

func (u *upsert) apply(c *collection, version uint64) error {
	// Who may be written is decided before anything is, so that two points
	// with one id in the request do not see each other.
	allowed := make([]bool, len(u.points))
	for i, p := range u.points {
		allowed[i] = u.allows(c.find(p.id))
	}
	if err := checkFit(&c.cfg, u.points, allowed); err != nil {
		return err
	}
	for i, p := range u.points {
		if !allowed[i] {
			continue
		}
		stored := &point{id: p.id, version: version, payload: p.payload, vectors: make([][]float32, len(c.cfg.vectors))}
		p.vectors.into(&c.cfg, stored.vectors)
		c.put(stored)
	}
	return nil
}

// checkFit checks the vectors of those points that are going to be written.
func checkFit(cfg *config, points []givenPoint, allowed []bool) error {
	for i, p := range points {
		if !allowed[i] {
			continue
		}
		if err := p.vectors.checkFit(cfg); err != nil {
			return err
		}
	}
	return nil
}

// allows decides about a point by what is stored under its id, nil for nothing.
func (u *upsert) allows(stored *point) bool {
	switch {
	case stored == nil:
		return u.mode != pb.UpdateMode_UpdateOnly
	case u.mode == pb.UpdateMode_InsertOnly:
		return false
	default:
		return u.filter == nil || u.filter.match(stored)
	}
}
