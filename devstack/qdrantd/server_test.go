package qdrantd

import (
	"context"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestHealthCheckTellsAVersionTheClientAccepts(t *testing.T) {
	client := serve(t, Options{})
	reply, err := client.HealthCheck(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if reply.GetVersion() != "1.18.3" || !pb.IsCompatible("v1.17.1", reply.GetVersion()) {
		t.Errorf("version %q", reply.GetVersion())
	}
}

func TestAPIKey(t *testing.T) {
	s, err := Start(Options{APIKey: "right"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if _, err := dial(t, s.Addr(), "right").ListCollections(t.Context()); err != nil {
		t.Errorf("the right key: %v", err)
	}
	_, err = dial(t, s.Addr(), "wrong").ListCollections(t.Context())
	wantError(t, err, codes.Unauthenticated, "Invalid API key or JWT")
	_, err = dial(t, s.Addr(), "").ListCollections(t.Context())
	wantError(t, err, codes.Unauthenticated, "Must provide an API key or an Authorization bearer token")
	if _, err := dial(t, s.Addr(), "").HealthCheck(t.Context()); err != nil {
		t.Errorf("a health check without key: %v", err)
	}
}

// The interceptor can do what a network and a crashing server do: refuse before
// the write, and lose the answer after it.
func TestInterceptorInjectsFaults(t *testing.T) {
	fault := ""
	client := serve(t, Options{Interceptor: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if info.FullMethod != pb.Points_Upsert_FullMethodName || fault == "" {
			return handler(ctx, req)
		}
		if fault == "before" {
			return nil, status.Error(codes.Unavailable, "down")
		}
		if _, err := handler(ctx, req); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.DeadlineExceeded, "applied, but late")
	}})
	named(t, client)
	for id, c := range []struct {
		fault   string
		code    codes.Code
		applied bool
	}{{"before", codes.Unavailable, false}, {"after", codes.DeadlineExceeded, true}, {"", codes.OK, true}} {
		fault = c.fault
		_, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Wait: pb.PtrOf(true), Points: []*pb.PointStruct{bare(uint64(id), nil)}})
		if status.Code(err) != c.code {
			t.Errorf("fault %q: %v", c.fault, err)
		}
		if applied := one(t, client, uint64(id)) != nil; applied != c.applied {
			t.Errorf("fault %q: applied %v", c.fault, applied)
		}
	}
}

func TestWhatIsMissingSaysSo(t *testing.T) {
	client := embedded(t, Options{})
	named(t, client)
	_, err := client.GetSnapshotsClient().List(t.Context(), &pb.ListSnapshotsRequest{CollectionName: coll})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("snapshots: %v", err)
	}
	_, err = client.Query(t.Context(), &pb.QueryPoints{CollectionName: coll, Query: pb.NewQueryFusion(pb.Fusion_RRF)})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("fusion: %v", err)
	}
	_, err = client.Count(t.Context(), &pb.CountPoints{CollectionName: coll, Filter: must(pb.NewGeoRadius("a", 1, 1, 1))})
	wantError(t, err, codes.Unimplemented, "use a real one")
}

func TestStartOnATakenAddress(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if other, err := Start(Options{Addr: s.Addr()}); err == nil {
		other.Close()
		t.Error("two servers on one address")
	}
	s.Close() // twice is allowed
}

// A request larger than gRPC's usual 4 MiB is no reason to refuse it.
func TestLargeRequestsAndAnswers(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	big := make([]byte, 6<<20)
	for i := range big {
		big[i] = 'x'
	}
	upsertAll(t, client, bare(1, map[string]any{"text": string(big)}))
	points, err := client.GetPointsClient().Get(t.Context(), &pb.GetPoints{
		CollectionName: coll, Ids: []*pb.PointId{pb.NewIDNum(1)}, WithPayload: pb.NewWithPayload(true),
	}, grpc.MaxCallRecvMsgSize(32<<20))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(points.GetResult()[0].GetPayload()["text"].GetStringValue()); n != len(big) {
		t.Errorf("%d bytes came back", n)
	}
}

func TestOnlyThisMachineReachesIt(t *testing.T) {
	for addr, ok := range map[string]bool{"": true, "127.0.0.1:0": true, "localhost:0": true, ":0": false, "0.0.0.0:0": false, "[::]:0": false, "x": false} {
		s, err := Start(Options{Addr: addr})
		if (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
		if err == nil {
			s.Close()
		}
	}
}
