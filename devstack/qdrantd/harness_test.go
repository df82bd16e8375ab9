package qdrantd

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// realServer names a real Qdrant, host:port, that the tests run against instead
// of the embedded one: whatever differs is a bug of the embedded one. It must
// hold no collections, so that no test can destroy any.
const realServer = "CHUNKTIDE_TEST_QDRANT_EMPTY"

// serve returns a client of a fresh server, over TCP.
func serve(t testing.TB, opts Options) *pb.Client {
	t.Helper()
	if addr := os.Getenv(realServer); addr != "" && opts.Interceptor == nil && opts.APIKey == "" {
		return fresh(t, addr)
	}
	return embedded(t, opts)
}

func embedded(t testing.TB, opts Options) *pb.Client {
	t.Helper()
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return dial(t, s.Addr(), opts.APIKey)
}

// fresh is a client of a real server, which is empty before the test and after.
func fresh(t testing.TB, addr string) *pb.Client {
	t.Helper()
	client := dial(t, addr, "")
	names, err := client.ListCollections(t.Context())
	if err != nil || len(names) > 0 {
		t.Fatalf("%s=%s: want an empty server, it has %v (%v)", realServer, addr, names, err)
	}
	t.Cleanup(func() {
		names, err := client.ListCollections(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, name := range names {
			if err := client.DeleteCollection(context.Background(), name); err != nil {
				t.Error(err)
			}
		}
	})
	return client
}

func dial(t testing.TB, addr, key string) *pb.Client {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	client, err := pb.NewClient(&pb.Config{Host: host, Port: n, APIKey: key, PoolSize: 1,
		// A test binary does not know the version of its client.
		SkipCompatibilityCheck: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

const coll = "chunks"

// named creates the collection with one named vector "text" of two dimensions.
func named(t testing.TB, client *pb.Client) {
	t.Helper()
	create(t, client, coll, pb.NewVectorsConfigMap(map[string]*pb.VectorParams{"text": {Size: 2, Distance: pb.Distance_Dot}}))
}

func create(t testing.TB, client *pb.Client, name string, vectors *pb.VectorsConfig) {
	t.Helper()
	if err := client.CreateCollection(t.Context(), &pb.CreateCollection{CollectionName: name, VectorsConfig: vectors}); err != nil {
		t.Fatal(err)
	}
}

// bare is a point of the collection without vectors.
func bare(id uint64, payload map[string]any) *pb.PointStruct {
	return &pb.PointStruct{Id: pb.NewIDNum(id), Payload: pb.NewValueMap(payload), Vectors: pb.NewVectorsMap(map[string]*pb.Vector{})}
}

func with(id uint64, payload map[string]any, vector ...float32) *pb.PointStruct {
	p := bare(id, payload)
	p.Vectors = pb.NewVectorsMap(map[string]*pb.Vector{"text": pb.NewVectorDense(vector)})
	return p
}

func upsertAll(t testing.TB, client *pb.Client, points ...*pb.PointStruct) {
	t.Helper()
	result, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Wait: pb.PtrOf(true), Points: points})
	if err != nil {
		t.Fatal(err)
	}
	if result.GetStatus() != pb.UpdateStatus_Completed {
		t.Fatalf("status %v, want Completed", result.GetStatus())
	}
}

// one returns a stored point with everything, nil if there is none.
func one(t testing.TB, client *pb.Client, id uint64) *pb.RetrievedPoint {
	t.Helper()
	points, err := client.Get(context.Background(), &pb.GetPoints{
		CollectionName: coll, Ids: []*pb.PointId{pb.NewIDNum(id)}, WithPayload: pb.NewWithPayload(true), WithVectors: pb.NewWithVectors(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(points) == 0 {
		return nil
	}
	return points[0]
}

func count(t testing.TB, client *pb.Client, f *pb.Filter) uint64 {
	t.Helper()
	n, err := client.Count(context.Background(), &pb.CountPoints{CollectionName: coll, Filter: f, Exact: pb.PtrOf(true)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantError checks the code and the end of the message.
func wantError(t testing.TB, err error, code codes.Code, message string) {
	t.Helper()
	if status.Code(err) != code || !strings.HasSuffix(err.Error(), message) {
		t.Errorf("error %v, want %v: …%s", err, code, message)
	}
}
