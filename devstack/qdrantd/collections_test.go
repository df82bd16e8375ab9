package qdrantd

import (
	"slices"
	"strings"
	"sync"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
)

func dense(size uint64, d pb.Distance) *pb.VectorsConfig {
	return pb.NewVectorsConfig(&pb.VectorParams{Size: size, Distance: d})
}

func TestCreateCollectionRefuses(t *testing.T) {
	client := serve(t, Options{})
	create(t, client, "there", dense(4, pb.Distance_Cosine))
	if err := client.CreateAlias(t.Context(), "alias", "there"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		vectors *pb.VectorsConfig
		code    codes.Code
		message string
	}{
		{"there", dense(4, pb.Distance_Cosine), codes.AlreadyExists, "Wrong input: Collection `there` already exists!"},
		{"alias", dense(4, pb.Distance_Cosine), codes.InvalidArgument, "Wrong input: Can't create collection with name alias. Alias with the same name already exists"},
		{"", dense(4, pb.Distance_Cosine), codes.InvalidArgument, "Validation error in body: [collection_name: value \"\" invalid, must be from 1 to 255 characters]"},
		{strings.Repeat("n", 256), dense(4, pb.Distance_Cosine), codes.InvalidArgument, "must be from 1 to 255 characters]"},
		{"a/b", dense(4, pb.Distance_Cosine), codes.InvalidArgument, "[collection_name: collection name cannot contain \"/\" char]"},
		{"a:b", dense(4, pb.Distance_Cosine), codes.InvalidArgument, "[collection_name: collection name cannot contain \":\" char]"},
		{"zero", dense(0, pb.Distance_Cosine), codes.InvalidArgument, "size: value 0 invalid, must be from 1 to 65536]"},
		{"big", dense(65537, pb.Distance_Cosine), codes.InvalidArgument, "size: value 65537 invalid, must be from 1 to 65536]"},
		{"distance", dense(4, 77), codes.InvalidArgument, "Malformed distance parameter, unexpected value: 77"},
	} {
		err := client.CreateCollection(t.Context(), &pb.CreateCollection{CollectionName: c.name, VectorsConfig: c.vectors})
		wantError(t, err, c.code, c.message)
	}
	if err := client.CreateCollection(t.Context(), &pb.CreateCollection{CollectionName: "empty"}); err != nil {
		t.Errorf("a collection without vectors: %v", err)
	}
}

func TestCollectionInfo(t *testing.T) {
	client := serve(t, Options{})
	vectors := pb.NewVectorsConfigMap(map[string]*pb.VectorParams{"text": {Size: 2, Distance: pb.Distance_Dot}})
	err := client.CreateCollection(t.Context(), &pb.CreateCollection{
		CollectionName: coll, VectorsConfig: vectors, Metadata: pb.NewValueMap(map[string]any{"model": "m@1", "dim": 2, "old": true}),
	})
	if err != nil {
		t.Fatal(err)
	}
	upsertAll(t, client, with(1, map[string]any{"n": 5}, 1, 0), bare(2, map[string]any{"n": "word"}))
	if _, err := client.CreateFieldIndex(t.Context(), &pb.CreateFieldIndexCollection{CollectionName: coll, Wait: pb.PtrOf(true), FieldName: "n", FieldType: pb.PtrOf(pb.FieldType_FieldTypeInteger)}); err != nil {
		t.Fatal(err)
	}
	err = client.UpdateCollection(t.Context(), &pb.UpdateCollection{
		CollectionName: coll, Metadata: pb.NewValueMap(map[string]any{"model": "m@2", "old": nil, "more": map[string]any{"a": 1}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := client.GetCollectionInfo(t.Context(), coll)
	if err != nil {
		t.Fatal(err)
	}
	if info.GetStatus() != pb.CollectionStatus_Green || info.GetPointsCount() != 2 {
		t.Errorf("status %v, %d points", info.GetStatus(), info.GetPointsCount())
	}
	params := info.GetConfig().GetParams().GetVectorsConfig().GetParamsMap().GetMap()["text"]
	if params.GetSize() != 2 || params.GetDistance() != pb.Distance_Dot {
		t.Errorf("vector %v", params)
	}
	metadata := info.GetConfig().GetMetadata()
	if _, kept := metadata["old"]; kept || metadata["model"].GetStringValue() != "m@2" || metadata["dim"].GetIntegerValue() != 2 || metadata["more"].GetStructValue() == nil {
		t.Errorf("metadata %v", metadata)
	}
	index := info.GetPayloadSchema()["n"]
	if index.GetDataType() != pb.PayloadSchemaType_Integer || index.GetPoints() != 1 {
		t.Errorf("index %v", index)
	}
}

func TestCollectionLifecycle(t *testing.T) {
	client := serve(t, Options{})
	create(t, client, "b", dense(4, pb.Distance_Dot))
	create(t, client, "a", dense(4, pb.Distance_Dot))
	if names, err := client.ListCollections(t.Context()); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("list %v, %v", names, err)
	}
	if err := client.CreateAlias(t.Context(), "x", "a"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": true, "x": true, "none": false} {
		if exists, err := client.CollectionExists(t.Context(), name); err != nil || exists != want {
			t.Errorf("%s exists: %v, %v", name, exists, err)
		}
	}
	answer, err := client.GetCollectionsClient().Delete(t.Context(), &pb.DeleteCollection{CollectionName: "a"})
	if err != nil || !answer.GetResult() {
		t.Errorf("delete: %v, %v", answer, err)
	}
	answer, err = client.GetCollectionsClient().Delete(t.Context(), &pb.DeleteCollection{CollectionName: "a"})
	if err != nil || answer.GetResult() {
		t.Errorf("delete what is gone: %v, %v", answer, err)
	}
	if aliases, err := client.ListAliases(t.Context()); err != nil || len(aliases) != 0 {
		t.Errorf("the alias outlived its collection: %v, %v", aliases, err)
	}
	_, err = client.GetCollectionInfo(t.Context(), "a")
	wantError(t, err, codes.NotFound, "Not found: Collection `a` doesn't exist!")
}

func TestAliases(t *testing.T) {
	client := serve(t, Options{})
	create(t, client, "one", dense(4, pb.Distance_Dot))
	create(t, client, "two", dense(4, pb.Distance_Dot))
	change := func(actions ...*pb.AliasOperations) error { return client.UpdateAliases(t.Context(), actions) }
	state := func() string {
		aliases, err := client.ListAliases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, a := range aliases {
			list = append(list, a.GetAliasName()+">"+a.GetCollectionName())
		}
		return strings.Join(list, " ")
	}
	for _, c := range []struct {
		what    string
		actions []*pb.AliasOperations
		code    codes.Code
		message string
		after   string
	}{
		{"create", []*pb.AliasOperations{pb.NewAliasCreate("live", "one")}, codes.OK, "", "live>one"},
		{"overwrite", []*pb.AliasOperations{pb.NewAliasCreate("live", "two")}, codes.OK, "", "live>two"},
		{"no collection", []*pb.AliasOperations{pb.NewAliasCreate("live", "none")}, codes.NotFound, "Not found: Collection `none` doesn't exist!", "live>two"},
		{"an alias is no target", []*pb.AliasOperations{pb.NewAliasCreate("other", "live")}, codes.NotFound, "Not found: Collection `live` doesn't exist!", "live>two"},
		{"a collection's name", []*pb.AliasOperations{pb.NewAliasCreate("one", "two")}, codes.AlreadyExists, "Wrong input: Collection `one` already exists!", "live>two"},
		{"rename", []*pb.AliasOperations{pb.NewAliasRename("live", "next")}, codes.OK, "", "next>two"},
		{"rename none", []*pb.AliasOperations{pb.NewAliasRename("live", "next")}, codes.NotFound, "Not found: Alias live does not exists!", "next>two"},
		{"delete none", []*pb.AliasOperations{pb.NewAliasDelete("live")}, codes.OK, "", "next>two"},
		{"in order", []*pb.AliasOperations{pb.NewAliasDelete("next"), pb.NewAliasCreate("a", "one"), pb.NewAliasRename("a", "b")}, codes.OK, "", "b>one"},
		{"what precedes a failure stays", []*pb.AliasOperations{pb.NewAliasCreate("c", "two"), pb.NewAliasCreate("d", "none")}, codes.NotFound, "doesn't exist!", "b>one c>two"},
	} {
		err := change(c.actions...)
		if c.code == codes.OK && err != nil {
			t.Errorf("%s: %v", c.what, err)
		} else if c.code != codes.OK {
			wantError(t, err, c.code, c.message)
		}
		if got := state(); got != c.after {
			t.Errorf("%s: aliases %q, want %q", c.what, got, c.after)
		}
	}
	if of, err := client.ListCollectionAliases(t.Context(), "two"); err != nil || !slices.Equal(of, []string{"c"}) {
		t.Errorf("aliases of two: %v, %v", of, err)
	}
	if of, err := client.ListCollectionAliases(t.Context(), "none"); err != nil || len(of) != 0 {
		t.Errorf("aliases of none: %v, %v", of, err)
	}
}

// While the alias goes back and forth between a full and another full
// collection, every search through it finds all points of one of them.
func TestAliasSwitchIsAtomicUnderSearch(t *testing.T) {
	client := serve(t, Options{})
	for i, name := range []string{"blue", "green"} {
		create(t, client, name, dense(2, pb.Distance_Dot))
		points := make([]*pb.PointStruct, 20)
		for j := range points {
			points[j] = &pb.PointStruct{Id: pb.NewIDNum(uint64(100*i + j)), Vectors: pb.NewVectors(1, float32(j))}
		}
		if _, err := client.Upsert(t.Context(), &pb.UpsertPoints{CollectionName: name, Wait: pb.PtrOf(true), Points: points}); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.CreateAlias(t.Context(), "live", "blue"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				hits, err := client.Query(t.Context(), &pb.QueryPoints{CollectionName: "live", Query: pb.NewQuery(1, 1), Limit: pb.PtrOf(uint64(50))})
				if err != nil || len(hits) != 20 {
					t.Errorf("%d hits during a switch, %v", len(hits), err)
					return
				}
				for _, h := range hits {
					if h.GetId().GetNum()/100 != hits[0].GetId().GetNum()/100 {
						t.Error("hits of both collections in one answer")
						return
					}
				}
			}
		})
	}
	for i := range 200 {
		target := []string{"green", "blue"}[i%2]
		if err := client.UpdateAliases(t.Context(), []*pb.AliasOperations{pb.NewAliasDelete("live"), pb.NewAliasCreate("live", target)}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}
