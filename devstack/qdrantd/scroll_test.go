package qdrantd

import (
	"fmt"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
)

func TestScrollPagesInOrderOfIDs(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	uuid := func(n int) *pb.PointId { return pb.NewIDUUID(fmt.Sprintf("%08x-0000-0000-0000-000000000000", n)) }
	for _, id := range []*pb.PointId{uuid(2), pb.NewIDNum(1 << 63), uuid(1), pb.NewIDNum(7), uuid(0xf0000000)} {
		p := bare(0, map[string]any{"keep": true})
		p.Id = id
		upsertAll(t, client, p)
	}
	want := fmt.Sprint([]string{"7", "9223372036854775808", uuid(1).GetUuid(), uuid(2).GetUuid(), uuid(0xf0000000).GetUuid()})
	for _, limit := range []uint32{1, 2, 5, 100} {
		var got []string
		var offset *pb.PointId
		for {
			page, next, err := client.ScrollAndOffset(t.Context(), &pb.ScrollPoints{CollectionName: coll, Limit: &limit, Offset: offset, Filter: must(pb.NewMatchBool("keep", true))})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page {
				id, err := readID(p.GetId())
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, id.String())
			}
			if offset = next; offset == nil {
				break
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("pages of %d: %v, want %v", limit, got, want)
		}
	}
	_, err := client.Scroll(t.Context(), &pb.ScrollPoints{CollectionName: coll, Limit: pb.PtrOf(uint32(0))})
	wantError(t, err, codes.InvalidArgument, "[limit: value 0 invalid, must be 1 or larger]")
}

func TestScrollDefaults(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	for id := range uint64(12) {
		upsertAll(t, client, with(id, map[string]any{"a": 1}, 1, 2))
	}
	page, next, err := client.ScrollAndOffset(t.Context(), &pb.ScrollPoints{CollectionName: coll})
	if err != nil || len(page) != 10 || next.GetNum() != 10 || len(page[0].GetPayload()) != 1 || page[0].GetVectors() != nil {
		t.Errorf("%d points, next %v, first %v, %v", len(page), next, page[0], err)
	}
	// What was deleted is gone from the order, what was added is in it.
	if _, err := client.Delete(t.Context(), &pb.DeletePoints{CollectionName: coll, Wait: wait, Points: listed(0, 1, 2, 3, 4, 5, 6, 7, 8)}); err != nil {
		t.Fatal(err)
	}
	upsertAll(t, client, bare(5, nil))
	page, next, err = client.ScrollAndOffset(t.Context(), &pb.ScrollPoints{CollectionName: coll})
	if err != nil || len(page) != 4 || next != nil || page[0].GetId().GetNum() != 5 {
		t.Errorf("after changes: %v, %v, %v", page, next, err)
	}
}

func TestScrollByField(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	upsertAll(t, client, bare(1, map[string]any{"n": 3}), bare(2, map[string]any{"n": 1}), bare(3, map[string]any{"n": []any{2, 9}}), bare(4, nil))
	scroll := func(by *pb.OrderBy) (string, error) {
		by.Key = "n"
		points, err := client.Scroll(t.Context(), &pb.ScrollPoints{CollectionName: coll, OrderBy: by})
		s := ""
		for _, p := range points {
			s += fmt.Sprintf("%d=%d ", p.GetId().GetNum(), p.GetOrderValue().GetInt())
		}
		return s, err
	}
	_, err := scroll(&pb.OrderBy{})
	if err == nil {
		t.Error("ordering without an index is accepted")
	}
	if _, err := client.CreateFieldIndex(t.Context(), &pb.CreateFieldIndexCollection{CollectionName: coll, Wait: wait, FieldName: "n", FieldType: pb.PtrOf(pb.FieldType_FieldTypeInteger)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		by   *pb.OrderBy
		want string
	}{
		{&pb.OrderBy{}, "2=1 3=2 1=3 3=9 "},
		{&pb.OrderBy{Direction: pb.PtrOf(pb.Direction_Desc)}, "3=9 1=3 3=2 2=1 "},
		{&pb.OrderBy{StartFrom: pb.NewStartFromInt(2)}, "3=2 1=3 3=9 "},
		{&pb.OrderBy{Direction: pb.PtrOf(pb.Direction_Desc), StartFrom: pb.NewStartFromFloat(2.5)}, "3=2 2=1 "},
	} {
		if got, err := scroll(c.by); err != nil || got != c.want {
			t.Errorf("%v: %s, want %s (%v)", c.by, got, c.want, err)
		}
	}
}

func TestFacet(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	upsertAll(t, client, bare(1, map[string]any{"k": "a"}), bare(2, map[string]any{"k": []any{"b", "a", "b"}}), bare(3, map[string]any{"k": 1}))
	facet := func() ([]*pb.FacetHit, error) {
		return client.Facet(t.Context(), &pb.FacetCounts{CollectionName: coll, Key: "k"})
	}
	if _, err := facet(); err == nil {
		t.Error("a facet without an index is accepted")
	}
	if _, err := client.CreateFieldIndex(t.Context(), &pb.CreateFieldIndexCollection{CollectionName: coll, Wait: wait, FieldName: "k", FieldType: pb.PtrOf(pb.FieldType_FieldTypeKeyword)}); err != nil {
		t.Fatal(err)
	}
	hits, err := facet()
	if err != nil || len(hits) != 2 || hits[0].GetValue().GetStringValue() != "a" || hits[0].GetCount() != 2 || hits[1].GetCount() != 1 {
		t.Errorf("%v, %v", hits, err)
	}
}
