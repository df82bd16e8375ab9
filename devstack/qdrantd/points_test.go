package qdrantd

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
)

// asJSON is a payload in one line, keys in order.
func asJSON(t testing.TB, payload map[string]*pb.Value) string {
	t.Helper()
	read, err := readPayload(payload)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func vectorOf(p *pb.RetrievedPoint) []float32 {
	return p.GetVectors().GetVectors().GetVectors()["text"].GetDense().GetData()
}

func TestUpsertReplacesTheWholePoint(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	upsertAll(t, client, with(1, map[string]any{"a": 1, "n": nil, "f": 1.5}, 3, 4))
	p := one(t, client, 1)
	if got := asJSON(t, p.GetPayload()); got != `{"a":1,"f":1.5,"n":null}` || !slices.Equal(vectorOf(p), []float32{3, 4}) {
		t.Errorf("stored %s %v", got, vectorOf(p))
	}
	upsertAll(t, client, bare(1, map[string]any{"b": 2}))
	p = one(t, client, 1)
	if got := asJSON(t, p.GetPayload()); got != `{"b":2}` || len(p.GetVectors().GetVectors().GetVectors()) != 0 {
		t.Errorf("after a vectorless upsert %s %v", got, p.GetVectors())
	}
	hits, err := client.Query(t.Context(), &pb.QueryPoints{CollectionName: coll, Using: pb.PtrOf("text"), Query: pb.NewQuery(1, 1)})
	if err != nil || len(hits) != 0 {
		t.Errorf("the old vector is found: %v, %v", hits, err)
	}
	upsertAll(t, client, with(1, map[string]any{"first": true}, 1, 1), with(1, map[string]any{"last": true}, 2, 2))
	if got := asJSON(t, one(t, client, 1).GetPayload()); got != `{"last":true}` {
		t.Errorf("of two points with one id %s is stored", got)
	}
}

func TestUpsertRefuses(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	create(t, client, "anonymous", dense(4, pb.Distance_Cosine))
	vectors := func(name string, v ...float32) *pb.Vectors {
		return pb.NewVectorsMap(map[string]*pb.Vector{name: pb.NewVectorDense(v)})
	}
	id := pb.NewIDNum(1)
	for _, c := range []struct {
		collection string
		point      *pb.PointStruct
		code       codes.Code
		message    string
	}{
		{"none", bare(1, nil), codes.NotFound, "Not found: Collection `none` doesn't exist!"},
		{"", bare(1, nil), codes.InvalidArgument, "must be from 1 to 255 characters]"},
		{"anonymous", &pb.PointStruct{Id: id, Vectors: pb.NewVectors(1, 2, 3)}, codes.InvalidArgument, "Wrong input: Vector dimension error: expected dim: 4, got 3"},
		{coll, &pb.PointStruct{Id: id, Vectors: vectors("text", 1, 2, 3)}, codes.InvalidArgument, "Wrong input: Vector dimension error: expected dim: 2, got 3 for vector 'text'"},
		{coll, &pb.PointStruct{Id: id, Vectors: vectors("image", 1, 2)}, codes.InvalidArgument, "Wrong input: Not existing vector name error: image"},
		{coll, &pb.PointStruct{Id: id, Vectors: pb.NewVectors(1, 2)}, codes.InvalidArgument, "Wrong input: Not existing vector name error: "},
		{coll, &pb.PointStruct{Id: id, Vectors: vectors("text")}, codes.InvalidArgument, "dense vector must not be empty"},
		{coll, &pb.PointStruct{Id: id}, codes.InvalidArgument, "Expected some vectors"},
		{coll, &pb.PointStruct{Id: id, Vectors: &pb.Vectors{}}, codes.InvalidArgument, "No Vector Provided"},
		{coll, &pb.PointStruct{Vectors: vectors("text", 1, 2)}, codes.InvalidArgument, "Empty ID is not allowed"},
		{coll, &pb.PointStruct{Id: pb.NewIDUUID("nonsense"), Vectors: vectors("text", 1, 2)}, codes.InvalidArgument, "Unable to parse UUID: nonsense"},
		{coll, &pb.PointStruct{Id: id, Vectors: vectors("text", 1, 2), Payload: map[string]*pb.Value{"x": pb.NewValueDouble(math.NaN())}}, codes.InvalidArgument, "cannot convert to json number"},
	} {
		_, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: c.collection, Wait: pb.PtrOf(true), Points: []*pb.PointStruct{c.point}})
		wantError(t, err, c.code, c.message)
	}
	_, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll})
	wantError(t, err, codes.InvalidArgument, "Bad request: Empty update request")
	// One bad point of many: nothing is applied.
	_, err = client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Wait: pb.PtrOf(true), Points: []*pb.PointStruct{with(5, nil, 1, 2), with(6, nil, 1)}})
	wantError(t, err, codes.InvalidArgument, "got 1 for vector 'text'")
	if n := count(t, client, nil); n != 0 {
		t.Errorf("%d points after refusals", n)
	}
}

// The real server takes both; the client has to look after itself.
func TestNaNAndZeroVectorsAreAccepted(t *testing.T) {
	client := serve(t, Options{})
	create(t, client, coll, dense(2, pb.Distance_Cosine))
	nan := float32(math.NaN())
	upsertAll(t, client, &pb.PointStruct{Id: pb.NewIDNum(1), Vectors: pb.NewVectors(nan, 1)},
		&pb.PointStruct{Id: pb.NewIDNum(2), Vectors: pb.NewVectors(0, 0)}, &pb.PointStruct{Id: pb.NewIDNum(3), Vectors: pb.NewVectors(3, 4)})
	if v := one(t, client, 2).GetVectors().GetVector().GetDense().GetData(); !slices.Equal(v, []float32{0, 0}) {
		t.Errorf("zero vector %v", v)
	}
	if v := one(t, client, 3).GetVectors().GetVector().GetDense().GetData(); !slices.Equal(v, []float32{0.6, 0.8}) {
		t.Errorf("cosine stores %v, want the unit vector", v)
	}
}

func TestWithoutWaitIsAcknowledged(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	write := func(p *pb.PointStruct) (*pb.UpdateResult, error) {
		return client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Points: []*pb.PointStruct{p}})
	}
	// Operations are executed in order, so behind one that is waited for.
	settle := func() { upsertAll(t, client, bare(9, nil)) }
	result, err := write(with(1, nil, 1, 2))
	settle()
	if err != nil || result.GetStatus() != pb.UpdateStatus_Acknowledged || one(t, client, 1) == nil {
		t.Errorf("%v, %v", result, err)
	}
	if _, err = write(with(2, nil, 1)); err == nil {
		t.Error("a wrong dimension is told whether or not anybody waits")
	}
	p := bare(3, nil)
	p.Vectors = pb.NewVectorsMap(map[string]*pb.Vector{"none": pb.NewVector(1)})
	result, err = write(p)
	settle()
	if err != nil || result.GetStatus() != pb.UpdateStatus_Acknowledged || one(t, client, 3) != nil {
		t.Errorf("what fails later is not told: %v, %v", result, err)
	}
}

func TestOperationIDsCount(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	var ids []uint64
	for i := range 3 {
		result, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Wait: pb.PtrOf(true), Points: []*pb.PointStruct{bare(uint64(i), nil)}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, result.GetOperationId())
	}
	if !slices.Equal(ids, []uint64{ids[0], ids[0] + 1, ids[0] + 2}) {
		t.Errorf("operation ids %v", ids)
	}
}

func TestGet(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	upsertAll(t, client, with(1, map[string]any{"a": map[string]any{"b": 1, "c": 2}, "d": []any{map[string]any{"e": 1, "f": 2}}}, 1, 2), bare(2, nil))
	get := func(payload *pb.WithPayloadSelector, vectors *pb.WithVectorsSelector, ids ...uint64) []*pb.RetrievedPoint {
		req := &pb.GetPoints{CollectionName: coll, WithPayload: payload, WithVectors: vectors}
		for _, id := range ids {
			req.Ids = append(req.Ids, pb.NewIDNum(id))
		}
		points, err := client.Get(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return points
	}
	if points := get(nil, nil, 2, 9, 1, 2); len(points) != 2 || points[0].GetId().GetNum() != 2 || len(points[1].GetPayload()) != 0 || points[1].GetVectors() != nil {
		t.Errorf("plain get: %v", points)
	}
	for _, c := range []struct {
		selector *pb.WithPayloadSelector
		want     string
	}{
		{pb.NewWithPayload(false), `null`},
		{pb.NewWithPayload(true), `{"a":{"b":1,"c":2},"d":[{"e":1,"f":2}]}`},
		{pb.NewWithPayloadInclude("a.b"), `{"a":{"b":1}}`},
		{pb.NewWithPayloadInclude("a", "d[].e"), `{"a":{"b":1,"c":2},"d":[{"e":1}]}`},
		{pb.NewWithPayloadInclude("none"), `null`},
		{pb.NewWithPayloadExclude("a.b", "d"), `{"a":{"c":2}}`},
		{pb.NewWithPayloadExclude("d[].e"), `{"a":{"b":1,"c":2},"d":[{"f":2}]}`},
	} {
		if got := asJSON(t, get(c.selector, nil, 1)[0].GetPayload()); got != c.want {
			t.Errorf("%v gives %s, want %s", c.selector, got, c.want)
		}
	}
	if v := vectorOf(get(nil, pb.NewWithVectorsInclude("text"), 1)[0]); !slices.Equal(v, []float32{1, 2}) {
		t.Errorf("vector by name %v", v)
	}
	_, err := client.Get(t.Context(), &pb.GetPoints{CollectionName: coll, Ids: []*pb.PointId{pb.NewIDNum(1)}, WithVectors: pb.NewWithVectorsInclude("image")})
	wantError(t, err, codes.InvalidArgument, "Wrong input: Not existing vector name error: image")
}

func TestUpdateModes(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	write := func(mode pb.UpdateMode, who string) {
		_, err := client.Upsert(t.Context(), &pb.UpsertPoints{
			CollectionName: coll, Wait: pb.PtrOf(true), UpdateMode: &mode,
			Points: []*pb.PointStruct{bare(1, map[string]any{"by": who}), bare(2, map[string]any{"by": who})},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	by := func(id uint64) string { return one(t, client, id).GetPayload()["by"].GetStringValue() }
	upsertAll(t, client, bare(1, map[string]any{"by": "first"}))
	write(pb.UpdateMode_UpdateOnly, "update")
	if by(1) != "update" || one(t, client, 2) != nil {
		t.Error("update_only inserts, or does not update")
	}
	write(pb.UpdateMode_InsertOnly, "insert")
	if by(1) != "update" || by(2) != "insert" {
		t.Errorf("insert_only: %s, %s", by(1), by(2))
	}
	write(pb.UpdateMode_Upsert, "upsert")
	if by(1) != "upsert" || by(2) != "upsert" {
		t.Errorf("upsert: %s, %s", by(1), by(2))
	}
}
