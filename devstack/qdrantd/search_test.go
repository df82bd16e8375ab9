package qdrantd

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
)

func shown(hits []*pb.ScoredPoint) string {
	s := ""
	for _, h := range hits {
		s += fmt.Sprintf("%d:%.3g ", h.GetId().GetNum(), h.GetScore())
	}
	return s
}

func TestDistances(t *testing.T) {
	client := serve(t, Options{})
	for _, c := range []struct {
		distance  pb.Distance
		want      string
		threshold float32
		above     string
	}{
		{pb.Distance_Cosine, "1:1 3:0.894 2:0 ", 0.5, "1:1 3:0.894 "},
		{pb.Distance_Dot, "3:4 1:2 2:0 ", 2, "3:4 "},
		{pb.Distance_Euclid, "1:1 2:1.41 3:3.61 ", 1.2, "1:1 "},
		{pb.Distance_Manhattan, "1:1 2:2 3:5 ", 1, ""},
	} {
		name := c.distance.String()
		create(t, client, name, dense(2, c.distance))
		_, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: name, Wait: wait, Points: []*pb.PointStruct{
			{Id: pb.NewIDNum(2), Vectors: pb.NewVectors(0, 1)}, {Id: pb.NewIDNum(1), Vectors: pb.NewVectors(2, 0)}, {Id: pb.NewIDNum(3), Vectors: pb.NewVectors(4, 2)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		query := func(threshold *float32) string {
			hits, err := client.Query(t.Context(), &pb.QueryPoints{CollectionName: name, Query: pb.NewQuery(1, 0), ScoreThreshold: threshold})
			if err != nil {
				t.Fatal(err)
			}
			return shown(hits)
		}
		if got := query(nil); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if got := query(&c.threshold); got != c.above {
			t.Errorf("%s beyond %g: %s, want %s", name, c.threshold, got, c.above)
		}
	}
}

func TestQuery(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	for id := range uint64(30) {
		upsertAll(t, client, with(id, map[string]any{"n": int(id), "even": id%2 == 0}, float32(id), 1))
	}
	upsertAll(t, client, bare(99, map[string]any{"n": 99}))
	query := func(req *pb.QueryPoints) ([]*pb.ScoredPoint, error) {
		req.CollectionName = coll
		if req.Using == nil {
			req.Using = pb.PtrOf("text")
		}
		return client.Query(t.Context(), req)
	}
	one := pb.NewQuery(1, 0)
	for _, c := range []struct {
		what string
		req  *pb.QueryPoints
		want string
	}{
		{"default limit", &pb.QueryPoints{Query: one}, "29:29 28:28 27:27 26:26 25:25 24:24 23:23 22:22 21:21 20:20 "},
		{"limit and offset", &pb.QueryPoints{Query: one, Limit: pb.PtrOf(uint64(2)), Offset: pb.PtrOf(uint64(3))}, "26:26 25:25 "},
		{"offset beyond the end", &pb.QueryPoints{Query: one, Offset: pb.PtrOf(uint64(100))}, ""},
		{"filter", &pb.QueryPoints{Query: one, Limit: pb.PtrOf(uint64(2)), Filter: must(pb.NewMatchBool("even", true))}, "28:28 26:26 "},
		{"filter by ids", &pb.QueryPoints{Query: one, Filter: must(pb.NewHasID(pb.NewIDNum(3), pb.NewIDNum(4), pb.NewIDNum(99)))}, "4:4 3:3 "},
		{"by id, without itself", &pb.QueryPoints{Query: pb.NewQueryID(pb.NewIDNum(2)), Limit: pb.PtrOf(uint64(2)), Filter: must(pb.NewRange("n", &pb.Range{Lt: pb.PtrOf(4.0)}))}, "3:7 1:3 "},
		{"no query: by id", &pb.QueryPoints{Limit: pb.PtrOf(uint64(3)), Offset: pb.PtrOf(uint64(1))}, "1:1 2:1 3:1 "},
	} {
		hits, err := query(c.req)
		if err != nil || shown(hits) != c.want {
			t.Errorf("%s: %s, want %s (%v)", c.what, shown(hits), c.want, err)
		}
	}
	for _, c := range []struct {
		req     *pb.QueryPoints
		code    codes.Code
		message string
	}{
		{&pb.QueryPoints{Query: pb.NewQuery(1)}, codes.InvalidArgument, "Wrong input: Vector dimension error: expected dim: 2, got 1"},
		{&pb.QueryPoints{Query: one, Using: pb.PtrOf("image")}, codes.InvalidArgument, "Wrong input: Not existing vector name error: image"},
		{&pb.QueryPoints{Query: one, Limit: pb.PtrOf(uint64(0))}, codes.InvalidArgument, "[limit: value 0 invalid, must be 1 or larger]"},
		{&pb.QueryPoints{Query: pb.NewQueryID(pb.NewIDNum(77))}, codes.NotFound, "Not found: No point with id 77 found"},
		{&pb.QueryPoints{Query: pb.NewQueryID(pb.NewIDNum(99))}, codes.NotFound, "for point not found"},
	} {
		_, err := query(c.req)
		wantError(t, err, c.code, c.message)
	}
	hits, err := query(&pb.QueryPoints{Query: one, Limit: pb.PtrOf(uint64(1)), WithPayload: pb.NewWithPayload(true), WithVectors: pb.NewWithVectors(true)})
	if err != nil || hits[0].GetPayload()["n"].GetIntegerValue() != 29 || hits[0].GetVectors().GetVectors().GetVectors()["text"].GetDense().GetData()[0] != 29 {
		t.Errorf("with payload and vectors: %v, %v", hits, err)
	}
}

func TestOlderSearchAndBatches(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	for id := range uint64(3) {
		upsertAll(t, client, with(id, nil, float32(id), 1))
	}
	search := &pb.SearchPoints{CollectionName: coll, Vector: []float32{1, 0}, VectorName: pb.PtrOf("text"), Limit: 2}
	points := client.GetPointsClient()
	single, err := points.Search(t.Context(), search)
	if err != nil || shown(single.GetResult()) != "2:2 1:1 " {
		t.Errorf("search: %v, %v", single, err)
	}
	batch, err := points.SearchBatch(t.Context(), &pb.SearchBatchPoints{CollectionName: coll, SearchPoints: []*pb.SearchPoints{search, search}})
	if err != nil || len(batch.GetResult()) != 2 || shown(batch.GetResult()[1].GetResult()) != "2:2 1:1 " {
		t.Errorf("search batch: %v, %v", batch, err)
	}
	queries, err := client.QueryBatch(t.Context(), &pb.QueryBatchPoints{CollectionName: coll, QueryPoints: []*pb.QueryPoints{
		{CollectionName: coll, Query: pb.NewQuery(1, 0), Using: pb.PtrOf("text"), Limit: pb.PtrOf(uint64(1))},
		{CollectionName: coll, Query: pb.NewQuery(-1, 0), Using: pb.PtrOf("text"), Limit: pb.PtrOf(uint64(1))},
	}})
	if err != nil || shown(queries[0].GetResult()) != "2:2 " || shown(queries[1].GetResult()) != "0:0 " {
		t.Errorf("query batch: %v, %v", queries, err)
	}
	search.Limit = 0
	_, err = points.Search(t.Context(), search)
	wantError(t, err, codes.InvalidArgument, "[limit: value 0 invalid, must be 1 or larger]")
}

// The heap, the workers and the order of ties agree with sorting everything.
func TestNearestEqualsSorting(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	m, err := readDistance(pb.Distance_Dot)
	if err != nil {
		t.Fatal(err)
	}
	c := newCollection(config{vectors: []vectorConfig{{size: 2, metric: m}}})
	var all []hit
	query := []float32{1, 2}
	for i := range 3 * pointsPerWorker {
		// Few values make many ties.
		p := &point{id: pointID{number: uint64(i)}, vectors: [][]float32{{float32(random.IntN(5)), float32(random.IntN(5))}}}
		if i == 17 {
			p.vectors[0][0] = float32(math.NaN())
		}
		c.put(p)
		all = append(all, hit{p, dot(query, p.vectors[0])})
	}
	slices.SortFunc(all, compareHits)
	for _, k := range []int{0, 1, 10, 5000, len(all) + 5} {
		got := c.nearest(&scoring{query: query, metric: m}, k)
		if len(got) != min(k, len(all)) {
			t.Fatalf("%d hits of %d", len(got), k)
		}
		for i, h := range got {
			if h.point != all[i].point {
				t.Fatalf("k=%d: hit %d is point %s, want %s", k, i, h.point.id, all[i].point.id)
			}
		}
	}
}

func BenchmarkSearch100k384(b *testing.B) {
	m, err := readDistance(pb.Distance_Cosine)
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	vector := func() []float32 {
		v := make([]float32, 384)
		for i := range v {
			v[i] = random.Float32() - 0.5
		}
		return v
	}
	c := newCollection(config{vectors: []vectorConfig{{size: 384, metric: m}}})
	for i := range 100_000 {
		c.put(&point{id: pointID{number: uint64(i)}, vectors: [][]float32{m.prepare(vector())}})
	}
	q := &search{limit: 10}
	query := vector()
	for b.Loop() {
		if _, err := c.scored(q, query, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpsert256(b *testing.B) {
	for _, fenced := range []bool{false, true} {
		b.Run(fmt.Sprintf("fenced=%v", fenced), func(b *testing.B) {
			client := serve(b, Options{})
			create(b, client, coll, pb.NewVectorsConfigMap(map[string]*pb.VectorParams{"text": {Size: 32, Distance: pb.Distance_Cosine}}))
			ver := 0
			for b.Loop() {
				ver++
				points := make([]*pb.PointStruct, 256)
				for i := range points {
					points[i] = with(uint64(i), map[string]any{"ver": ver}, make([]float32, 32)...)
				}
				req := &pb.UpsertPoints{CollectionName: coll, Wait: wait, Points: points}
				if fenced {
					req.UpdateFilter = fence(points)
				}
				if _, err := client.Upsert(context.Background(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
