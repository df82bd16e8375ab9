package qdrantd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
)

// Facet counts the points by the values of a field, the most frequent first. A
// point counts once for each of its values. The field needs an index of
// keywords, integers, booleans or UUIDs, as in the real server.
func (s *pointsService) Facet(_ context.Context, req *pb.FacetCounts) (*pb.FacetResponse, error) {
	begin := time.Now()
	if err := firstError(checkName(req.GetCollectionName()), atLeastOne("timeout", req.Timeout)); err != nil {
		return nil, err
	}
	p, err := parsePath(req.GetKey())
	if err != nil {
		return nil, err
	}
	c, err := s.store.resolve(req.GetCollectionName())
	if err != nil {
		return nil, err
	}
	counts, err := c.facet(p, req.GetFilter())
	if err != nil {
		return nil, err
	}
	hits := make([]*pb.FacetHit, 0, len(counts))
	for value, n := range counts {
		hits = append(hits, &pb.FacetHit{Value: facetValue(value), Count: n})
	}
	slices.SortFunc(hits, func(a, b *pb.FacetHit) int {
		return cmp.Or(cmp.Compare(b.GetCount(), a.GetCount()), cmp.Compare(fmt.Sprint(a.GetValue()), fmt.Sprint(b.GetValue())))
	})
	limit := min(orDefault(req.Limit, defaultLimit), uint64(len(hits)))
	return &pb.FacetResponse{Hits: hits[:limit], Time: seconds(begin)}, nil
}

func (c *collection) facet(p path, given *pb.Filter) (map[any]uint64, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	schema := c.indexes[p.String()].GetDataType()
	switch schema {
	case pb.PayloadSchemaType_Keyword, pb.PayloadSchemaType_Integer, pb.PayloadSchemaType_Bool, pb.PayloadSchemaType_Uuid:
	default:
		return nil, badInput("No appropriate index for faceting: `%s`. Please create one to facet on this field. Check https://qdrant.tech/documentation/concepts/indexing/#payload-index to see which payload schemas support Match conditions", p)
	}
	f, err := c.compile(given)
	if err != nil {
		return nil, err
	}
	counts := map[any]uint64{}
	for _, candidate := range c.matching(f) {
		for value := range distinct(schema, p.values(candidate.payload)) {
			counts[value]++
		}
	}
	return counts, nil
}

func distinct(schema pb.PayloadSchemaType, values []any) map[any]struct{} {
	set := map[any]struct{}{}
	for _, value := range values {
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, v := range list {
			if fits(schema, v) {
				set[v] = struct{}{}
			}
		}
	}
	return set
}

func facetValue(value any) *pb.FacetValue {
	switch v := value.(type) {
	case int64:
		return &pb.FacetValue{Variant: &pb.FacetValue_IntegerValue{IntegerValue: v}}
	case bool:
		return &pb.FacetValue{Variant: &pb.FacetValue_BoolValue{BoolValue: v}}
	default:
		return &pb.FacetValue{Variant: &pb.FacetValue_StringValue{StringValue: fmt.Sprint(v)}}
	}
}
