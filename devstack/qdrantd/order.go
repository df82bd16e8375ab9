package qdrantd

import (
	"cmp"
	"slices"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
)

// ordered is a point with one of its values of the field that orders.
type ordered struct {
	point *point
	value float64
	shown *pb.OrderValue
}

// scrollOrdered answers a scroll by a payload field. There is no next page: the
// client goes on with start_from. A point with several values comes once for
// each.
func (c *collection) scrollOrdered(req *pb.ScrollPoints, limit int, payload payloadSelector, vectors vectorSelector, begin time.Time) (*pb.ScrollResponse, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	page, err := c.order(req.GetOrderBy(), req.GetFilter(), limit)
	if err != nil {
		return nil, err
	}
	answer := &pb.ScrollResponse{Result: make([]*pb.RetrievedPoint, len(page))}
	for i, o := range page {
		answer.Result[i] = retrieved(&c.cfg, o.point, payload, vectors)
		answer.Result[i].OrderValue = o.shown
	}
	answer.Time = seconds(begin)
	return answer, nil
}

// order returns the first points by a field. The caller must hold the
// collection.
func (c *collection) order(by *pb.OrderBy, given *pb.Filter, limit int) ([]ordered, error) {
	p, err := parsePath(by.GetKey())
	if err != nil {
		return nil, err
	}
	start, hasStart, err := readStart(by.GetStartFrom())
	if err != nil {
		return nil, err
	}
	f, err := c.compile(given)
	if err != nil {
		return nil, err
	}
	index, ok := c.indexes[p.String()]
	if !ok || !orderable(index.GetDataType()) {
		return nil, badInput("No range index for `order_by` key: `%s`. Please create one to use `order_by`. Check https://qdrant.tech/documentation/concepts/indexing/#payload-index to see which payload schemas support Range conditions", p)
	}
	sign := 1
	if by.GetDirection() == pb.Direction_Desc {
		sign = -1
	}
	var all []ordered
	for _, candidate := range c.matching(f) {
		for _, o := range orderValues(index.GetDataType(), candidate, p) {
			if !hasStart || sign*cmp.Compare(o.value, start) >= 0 {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b ordered) int {
		return sign * cmp.Or(cmp.Compare(a.value, b.value), compareIDs(a.point.id, b.point.id))
	})
	return all[:min(limit, len(all))], nil
}

func orderable(schema pb.PayloadSchemaType) bool {
	return schema == pb.PayloadSchemaType_Integer || schema == pb.PayloadSchemaType_Float || schema == pb.PayloadSchemaType_Datetime
}

func readStart(given *pb.StartFrom) (float64, bool, error) {
	switch v := given.GetValue().(type) {
	case *pb.StartFrom_Float:
		return v.Float, true, nil
	case *pb.StartFrom_Integer:
		return float64(v.Integer), true, nil
	case *pb.StartFrom_Timestamp:
		return float64(v.Timestamp.AsTime().UnixMicro()), true, nil
	case *pb.StartFrom_Datetime:
		at, ok := parseTime(v.Datetime)
		if !ok {
			return 0, false, invalid("Malformed datetime: %s", v.Datetime)
		}
		return float64(at.UnixMicro()), true, nil
	default:
		return 0, false, nil
	}
}

// orderValues are the values of a point that the index holds.
func orderValues(schema pb.PayloadSchemaType, p *point, at path) []ordered {
	var found []ordered
	for _, value := range at.values(p.payload) {
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, v := range list {
			if fits(schema, v) {
				found = append(found, orderValue(schema, p, v))
			}
		}
	}
	return found
}

func orderValue(schema pb.PayloadSchemaType, p *point, value any) ordered {
	o := ordered{point: p}
	switch v := value.(type) {
	case int64:
		o.value = float64(v)
		o.shown = &pb.OrderValue{Variant: &pb.OrderValue_Int{Int: v}}
		if schema == pb.PayloadSchemaType_Float {
			o.shown = &pb.OrderValue{Variant: &pb.OrderValue_Float{Float: o.value}}
		}
	case float64:
		o.value = v
		o.shown = &pb.OrderValue{Variant: &pb.OrderValue_Float{Float: v}}
	case string:
		at, _ := parseTime(v)
		o.value = float64(at.UnixMicro())
		o.shown = &pb.OrderValue{Variant: &pb.OrderValue_Int{Int: at.UnixMicro()}}
	}
	return o
}
