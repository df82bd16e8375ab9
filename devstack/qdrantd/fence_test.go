package qdrantd

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"
)

// The fence is a conditional upsert: a stored point is replaced unless its
// version is at least that of the one that comes, each point with a version of
// its own.
func fence(points []*pb.PointStruct) *pb.Filter {
	var atLeast []*pb.Condition
	for _, p := range points {
		ver := float64(p.GetPayload()["ver"].GetIntegerValue())
		atLeast = append(atLeast, pb.NewFilterAsCondition(&pb.Filter{Must: []*pb.Condition{
			pb.NewHasID(p.GetId()), pb.NewRange("ver", &pb.Range{Gte: &ver}),
		}}))
	}
	return &pb.Filter{MustNot: []*pb.Condition{pb.NewFilterAsCondition(&pb.Filter{Should: atLeast})}}
}

func version(t testing.TB, client *pb.Client, id uint64) string {
	t.Helper()
	p := one(t, client, id)
	if p == nil {
		return "absent"
	}
	v, ok := p.GetPayload()["ver"]
	if !ok {
		return "none"
	}
	return fmt.Sprint(v.GetIntegerValue())
}

func TestFence(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	versioned := func(id uint64, ver int) *pb.PointStruct {
		return with(id, map[string]any{"ver": ver}, 1, 2)
	}
	upsertAll(t, client, versioned(1, 5), bare(2, nil), versioned(3, 5), versioned(4, 5))
	points := []*pb.PointStruct{versioned(1, 6), versioned(2, 1), versioned(3, 5), versioned(4, 4), versioned(5, 1)}
	result, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Wait: wait, Points: points, UpdateFilter: fence(points)})
	if err != nil || result.GetStatus() != pb.UpdateStatus_Completed {
		t.Fatalf("%v, %v", result, err)
	}
	for id, want := range map[uint64]string{1: "6", 2: "1", 3: "5", 4: "5", 5: "1"} {
		if got := version(t, client, id); got != want {
			t.Errorf("point %d has version %s, want %s", id, got, want)
		}
	}
	// That the equal one was skipped shows in the point's own version.
	before := scrollVersions(t, client)
	if _, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Wait: wait, Points: points, UpdateFilter: fence(points)}); err != nil {
		t.Fatal(err)
	}
	if after := scrollVersions(t, client); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("a repeated write touched points: %v, then %v", before, after)
	}
}

func scrollVersions(t testing.TB, client *pb.Client) []uint64 {
	t.Helper()
	hits, err := client.Query(t.Context(), &pb.QueryPoints{CollectionName: coll, Limit: pb.PtrOf(uint64(100))})
	if err != nil {
		t.Fatal(err)
	}
	versions := make([]uint64, len(hits))
	for i, h := range hits {
		versions[i] = h.GetVersion()
	}
	return versions
}

// Beyond 2^53 neighbours are one number, so a version there may be refused
// without a word. It is why versions end below.
func TestFenceComparesDoubles(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	for _, c := range []struct {
		id           uint64
		stored, next int64
		replaced     bool
	}{{1, 1<<53 - 2, 1<<53 - 1, true}, {2, 1 << 53, 1<<53 + 1, false}} {
		upsertAll(t, client, bare(c.id, map[string]any{"ver": c.stored}))
		points := []*pb.PointStruct{bare(c.id, map[string]any{"ver": c.next})}
		if _, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: coll, Wait: wait, Points: points, UpdateFilter: fence(points)}); err != nil {
			t.Fatal(err)
		}
		if got := version(t, client, c.id) == fmt.Sprint(c.next); got != c.replaced {
			t.Errorf("%d after %d: replaced %v", c.next, c.stored, got)
		}
	}
}

// race lets writers send the versions of the same points, each in an order of
// its own, and returns how many points end below the highest.
func race(t *testing.T, fenced bool) (stale int) {
	t.Helper()
	const writers, ids, rounds = 4, 100, 25
	client := serve(t, Options{})
	named(t, client)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(w)))
			for _, round := range random.Perm(rounds) {
				points := make([]*pb.PointStruct, ids)
				for i := range points {
					points[i] = bare(uint64(i), map[string]any{"ver": round*writers + w + 1})
				}
				req := &pb.UpsertPoints{CollectionName: coll, Wait: wait, Points: points}
				if fenced {
					req.UpdateFilter = fence(points)
				}
				if _, err := client.Upsert(t.Context(), req); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	highest := must(pb.NewMatchInt("ver", writers*rounds))
	return ids - int(count(t, client, highest))
}

func TestRacingWritersLeaveNothingStale(t *testing.T) {
	t.Run("fenced", func(t *testing.T) {
		if stale := race(t, true); stale != 0 {
			t.Errorf("%d points are stale", stale)
		}
	})
	// The control: without the fence the last writer wins, whatever it brings.
	t.Run("plain", func(t *testing.T) {
		if stale := race(t, false); stale == 0 {
			t.Error("nothing is stale: the race tests nothing")
		}
	})
}
