package qdrantd

import (
	"context"
	"math"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
)

// search is what every way to ask for the nearest points comes down to.
type search struct {
	// vector is the query, or point is the one whose vector is the query.
	vector []float32
	point  *pb.PointId
	// order is a query that is no vector: by a payload field, or by id.
	order *pb.OrderBy
	byID  bool

	using         string
	filter        *pb.Filter
	threshold     *float32
	offset, limit uint64
	payload       payloadSelector
	vectors       vectorSelector
	lookup        *pb.LookupLocation
}

func (s *pointsService) Search(_ context.Context, req *pb.SearchPoints) (*pb.SearchResponse, error) {
	begin := time.Now()
	q, err := readSearch(req)
	if err != nil {
		return nil, err
	}
	hits, err := s.run(req.GetCollectionName(), q)
	if err != nil {
		return nil, err
	}
	return &pb.SearchResponse{Result: hits, Time: seconds(begin)}, nil
}

func (s *pointsService) SearchBatch(_ context.Context, req *pb.SearchBatchPoints) (*pb.SearchBatchResponse, error) {
	begin := time.Now()
	if err := firstError(checkName(req.GetCollectionName()), atLeastOne("timeout", req.Timeout)); err != nil {
		return nil, err
	}
	answer := &pb.SearchBatchResponse{}
	for _, one := range req.GetSearchPoints() {
		q, err := readSearch(one)
		if err != nil {
			return nil, err
		}
		hits, err := s.run(req.GetCollectionName(), q)
		if err != nil {
			return nil, err
		}
		answer.Result = append(answer.Result, &pb.BatchResult{Result: hits})
	}
	answer.Time = seconds(begin)
	return answer, nil
}

func readSearch(req *pb.SearchPoints) (*search, error) {
	if err := firstError(checkName(req.GetCollectionName()), atLeastOne("limit", &req.Limit), atLeastOne("timeout", req.Timeout)); err != nil {
		return nil, err
	}
	if req.GetSparseIndices() != nil {
		return nil, unimplemented("sparse vectors")
	}
	payload, err := readPayloadSelector(req.GetWithPayload(), false)
	return &search{
		vector: req.GetVector(), using: req.GetVectorName(), filter: req.GetFilter(), threshold: req.ScoreThreshold,
		offset: req.GetOffset(), limit: req.GetLimit(), payload: payload, vectors: readVectorSelector(req.GetWithVectors()),
	}, err
}

func (s *pointsService) Query(_ context.Context, req *pb.QueryPoints) (*pb.QueryResponse, error) {
	begin := time.Now()
	q, err := readQuery(req)
	if err != nil {
		return nil, err
	}
	hits, err := s.run(req.GetCollectionName(), q)
	if err != nil {
		return nil, err
	}
	return &pb.QueryResponse{Result: hits, Time: seconds(begin)}, nil
}

func (s *pointsService) QueryBatch(_ context.Context, req *pb.QueryBatchPoints) (*pb.QueryBatchResponse, error) {
	begin := time.Now()
	if err := firstError(checkName(req.GetCollectionName()), atLeastOne("timeout", req.Timeout)); err != nil {
		return nil, err
	}
	answer := &pb.QueryBatchResponse{}
	for _, one := range req.GetQueryPoints() {
		q, err := readQuery(one)
		if err != nil {
			return nil, err
		}
		hits, err := s.run(req.GetCollectionName(), q)
		if err != nil {
			return nil, err
		}
		answer.Result = append(answer.Result, &pb.BatchResult{Result: hits})
	}
	answer.Time = seconds(begin)
	return answer, nil
}

func readQuery(req *pb.QueryPoints) (*search, error) {
	if err := firstError(checkName(req.GetCollectionName()), atLeastOne("limit", req.Limit), atLeastOne("timeout", req.Timeout)); err != nil {
		return nil, err
	}
	if len(req.GetPrefetch()) > 0 {
		return nil, unimplemented("prefetch")
	}
	payload, err := readPayloadSelector(req.GetWithPayload(), false)
	if err != nil {
		return nil, err
	}
	q := &search{
		using: req.GetUsing(), filter: req.GetFilter(), threshold: req.ScoreThreshold, offset: req.GetOffset(),
		limit: orDefault(req.Limit, defaultLimit), payload: payload, vectors: readVectorSelector(req.GetWithVectors()),
		lookup: req.GetLookupFrom(),
	}
	if req.GetQuery() == nil {
		q.byID = true
		return q, nil
	}
	return q, q.readVariant(req.GetQuery())
}

func (q *search) readVariant(given *pb.Query) error {
	switch v := given.GetVariant().(type) {
	case *pb.Query_OrderBy:
		q.order = v.OrderBy
		return nil
	case *pb.Query_Nearest:
		switch input := v.Nearest.GetVariant().(type) {
		case *pb.VectorInput_Dense:
			q.vector = input.Dense.GetData()
			return nil
		case *pb.VectorInput_Id:
			q.point = input.Id
			return nil
		case nil:
			return invalid("VectorInput variant is missing")
		default:
			return unimplemented("queries by sparse, multi- or inferred vectors")
		}
	case nil:
		return invalid("Query variant is missing")
	default:
		return unimplemented("queries other than nearest and order_by")
	}
}

// run answers a search from the collection that the name stands for now.
func (s *pointsService) run(name string, q *search) ([]*pb.ScoredPoint, error) {
	c, err := s.store.resolve(name)
	if err != nil {
		return nil, err
	}
	if err := q.vectors.check(&c.cfg); err != nil {
		return nil, err
	}
	var except *pointID
	query := q.vector
	if q.point != nil {
		if query, except, err = s.reference(c, q); err != nil {
			return nil, err
		}
	}
	switch {
	case q.byID:
		return c.scoredPage(q)
	case q.order != nil:
		return c.scoredOrder(q)
	default:
		return c.scored(q, query, except)
	}
}

// reference finds the vector of the point that a query names, in this
// collection or in the one to look it up in. A point of this collection is not
// its own neighbour.
func (s *pointsService) reference(c *collection, q *search) ([]float32, *pointID, error) {
	id, err := readID(q.point)
	if err != nil {
		return nil, nil, err
	}
	except, using := &id, q.using
	if q.lookup != nil {
		if c, err = s.store.resolve(q.lookup.GetCollectionName()); err != nil {
			return nil, nil, err
		}
		except = nil
		if q.lookup.VectorName != nil {
			using = q.lookup.GetVectorName()
		}
	}
	found := c.findAll([]pointID{id})
	if len(found) == 0 {
		return nil, nil, noPoint(id)
	}
	i := c.cfg.vector(using)
	if i < 0 {
		return nil, nil, noVector(using)
	}
	if found[0].vectors[i] == nil {
		return nil, nil, notFound("Vector with name %q for point not found", using)
	}
	return found[0].vectors[i], except, nil
}

func (c *collection) scored(q *search, query []float32, except *pointID) ([]*pb.ScoredPoint, error) {
	i := c.cfg.vector(q.using)
	if i < 0 {
		return nil, noVector(q.using)
	}
	v := c.cfg.vectors[i]
	if len(query) != v.size {
		return nil, wrongSize(v.size, len(query))
	}
	prepared := v.metric.prepare(append([]float32(nil), query...))
	hits, err := func() ([]hit, error) {
		c.mu.RLock()
		defer c.mu.RUnlock()
		f, err := c.compile(q.filter)
		if err != nil {
			return nil, err
		}
		s := &scoring{query: prepared, position: i, metric: v.metric, filter: f, except: except, threshold: q.threshold}
		return c.nearest(s, reach(q)), nil
	}()
	if err != nil {
		return nil, err
	}
	hits = hits[min(q.offset, uint64(len(hits))):]
	result := make([]*pb.ScoredPoint, len(hits))
	for j, h := range hits {
		result[j] = q.scoredPoint(&c.cfg, h.point, v.metric.score(h.score))
	}
	return result, nil
}

// reach is how many hits there must be to skip offset and have limit.
func reach(q *search) int {
	if q.offset > math.MaxInt32 || q.limit > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(q.offset + q.limit)
}

func (q *search) scoredPoint(cfg *config, p *point, score float32) *pb.ScoredPoint {
	return &pb.ScoredPoint{Id: p.id.proto(), Version: p.version, Score: score, Payload: q.payload.of(p), Vectors: q.vectors.of(cfg, p)}
}

// scoredPage answers a query without a query: the points by id.
func (c *collection) scoredPage(q *search) ([]*pb.ScoredPoint, error) {
	page, _, err := c.page(nil, reach(q), q.filter)
	if err != nil {
		return nil, err
	}
	var result []*pb.ScoredPoint
	for _, p := range page[min(q.offset, uint64(len(page))):] {
		result = append(result, q.scoredPoint(&c.cfg, p, 1))
	}
	return result, nil
}

func (c *collection) scoredOrder(q *search) ([]*pb.ScoredPoint, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	page, err := c.order(q.order, q.filter, reach(q))
	if err != nil {
		return nil, err
	}
	var result []*pb.ScoredPoint
	for _, o := range page[min(q.offset, uint64(len(page))):] {
		scored := q.scoredPoint(&c.cfg, o.point, 1)
		scored.OrderValue = o.shown
		result = append(result, scored)
	}
	return result, nil
}
