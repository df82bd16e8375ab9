package qdrantd

import (
	"context"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
)

// Get returns the points that exist, each once, in the order of the request,
// without payload or vectors unless they are asked for.
func (s *pointsService) Get(_ context.Context, req *pb.GetPoints) (*pb.GetResponse, error) {
	begin := time.Now()
	ids, err := readIDs(req.GetIds())
	if err := firstError(checkName(req.GetCollectionName()), err); err != nil {
		return nil, err
	}
	payload, err := readPayloadSelector(req.GetWithPayload(), false)
	if err != nil {
		return nil, err
	}
	vectors := readVectorSelector(req.GetWithVectors())
	c, err := s.store.resolve(req.GetCollectionName())
	if err != nil {
		return nil, err
	}
	if err := vectors.check(&c.cfg); err != nil {
		return nil, err
	}
	found := c.findAll(ids)
	result := make([]*pb.RetrievedPoint, len(found))
	for i, p := range found {
		result[i] = retrieved(&c.cfg, p, payload, vectors)
	}
	return &pb.GetResponse{Result: result, Time: seconds(begin)}, nil
}

func (c *collection) findAll(ids []pointID) []*point {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []*point
	seen := make(map[pointID]bool, len(ids))
	for _, id := range ids {
		if p := c.find(id); p != nil && !seen[id] {
			seen[id] = true
			found = append(found, p)
		}
	}
	return found
}

// retrieved reads only what never changes of the collection, so it needs no
// lock.
func retrieved(cfg *config, p *point, payload payloadSelector, vectors vectorSelector) *pb.RetrievedPoint {
	return &pb.RetrievedPoint{Id: p.id.proto(), Payload: payload.of(p), Vectors: vectors.of(cfg, p)}
}

// Count is exact, whatever was asked for.
func (s *pointsService) Count(_ context.Context, req *pb.CountPoints) (*pb.CountResponse, error) {
	begin := time.Now()
	if err := checkName(req.GetCollectionName()); err != nil {
		return nil, err
	}
	c, err := s.store.resolve(req.GetCollectionName())
	if err != nil {
		return nil, err
	}
	n, err := c.count(req.GetFilter())
	if err != nil {
		return nil, err
	}
	return &pb.CountResponse{Result: &pb.CountResult{Count: uint64(n)}, Time: seconds(begin)}, nil
}

func (c *collection) count(given *pb.Filter) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	f, err := c.compile(given)
	if err != nil {
		return 0, err
	}
	if f == nil {
		return len(c.points), nil
	}
	return len(c.matching(f)), nil
}

const defaultLimit = 10

// Scroll pages through the points in the order of their ids, or of a payload
// field. A page by id names the point that the next one begins with.
func (s *pointsService) Scroll(_ context.Context, req *pb.ScrollPoints) (*pb.ScrollResponse, error) {
	begin := time.Now()
	if err := firstError(checkName(req.GetCollectionName()), atLeastOne("limit", req.Limit)); err != nil {
		return nil, err
	}
	payload, err := readPayloadSelector(req.GetWithPayload(), true)
	if err != nil {
		return nil, err
	}
	vectors := readVectorSelector(req.GetWithVectors())
	c, err := s.store.resolve(req.GetCollectionName())
	if err != nil {
		return nil, err
	}
	if err := vectors.check(&c.cfg); err != nil {
		return nil, err
	}
	limit := int(orDefault(req.Limit, defaultLimit))
	if req.GetOrderBy() != nil {
		return c.scrollOrdered(req, limit, payload, vectors, begin)
	}
	page, next, err := c.page(req.GetOffset(), limit, req.GetFilter())
	if err != nil {
		return nil, err
	}
	answer := &pb.ScrollResponse{NextPageOffset: next, Result: make([]*pb.RetrievedPoint, len(page))}
	for i, p := range page {
		answer.Result[i] = retrieved(&c.cfg, p, payload, vectors)
	}
	answer.Time = seconds(begin)
	return answer, nil
}

// page returns up to limit points in the order of their ids, and the id of the
// point after them.
func (c *collection) page(offset *pb.PointId, limit int, given *pb.Filter) ([]*point, *pb.PointId, error) {
	var start *pointID
	if offset != nil {
		id, err := readID(offset)
		if err != nil {
			return nil, nil, err
		}
		start = &id
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	f, err := c.compile(given)
	if err != nil {
		return nil, nil, err
	}
	var found []*point
	for _, id := range c.idsFrom(start) {
		p := c.find(id)
		if f != nil && !f.match(p) {
			continue
		}
		if len(found) == limit {
			return found, id.proto(), nil
		}
		found = append(found, p)
	}
	return found, nil, nil
}
