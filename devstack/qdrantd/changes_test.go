package qdrantd

import (
	"slices"
	"testing"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
)

var wait = pb.PtrOf(true)

func listed(ids ...uint64) *pb.PointsSelector {
	list := make([]*pb.PointId, len(ids))
	for i, id := range ids {
		list[i] = pb.NewIDNum(id)
	}
	return pb.NewPointsSelectorIDs(list)
}

func TestPayloadChanges(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	ctx := t.Context()
	set := func(key *string, payload map[string]any) func() error {
		return func() error {
			_, err := client.SetPayload(ctx, &pb.SetPayloadPoints{CollectionName: coll, Wait: wait, Payload: pb.NewValueMap(payload), Key: key, PointsSelector: listed(1)})
			return err
		}
	}
	remove := func(keys ...string) func() error {
		return func() error {
			_, err := client.DeletePayload(ctx, &pb.DeletePayloadPoints{CollectionName: coll, Wait: wait, Keys: keys, PointsSelector: listed(1)})
			return err
		}
	}
	for _, c := range []struct {
		what   string
		before map[string]any
		do     func() error
		want   string
	}{
		{"set merges, null removes", map[string]any{"a": 1, "b": 2}, set(nil, map[string]any{"b": nil, "c": 3}), `{"a":1,"c":3}`},
		{"set at a path", map[string]any{"a": map[string]any{"x": 1}}, set(pb.PtrOf("a"), map[string]any{"y": 2}), `{"a":{"x":1,"y":2}}`},
		{"set makes objects", map[string]any{"a": 1}, set(pb.PtrOf("a.b"), map[string]any{"y": 2}), `{"a":{"b":{"y":2}}}`},
		{"set in each element", map[string]any{"a": []any{map[string]any{"x": 1}, 7}}, set(pb.PtrOf("a[]"), map[string]any{"y": 2}), `{"a":[{"x":1,"y":2},{"y":2}]}`},
		{"set in one element", map[string]any{"a": []any{1, 2}}, set(pb.PtrOf("a[1]"), map[string]any{"y": 2}), `{"a":[1,{"y":2}]}`},
		{"delete keys", map[string]any{"a": 1, "b": map[string]any{"c": 1, "d": 2}}, remove("a", "b.c", "none"), `{"b":{"d":2}}`},
		{"delete elements", map[string]any{"a": []any{1, 2}, "b": []any{map[string]any{"c": 1}}}, remove("a[]", "b[].c"), `{"a":[],"b":[{}]}`},
		{"an element is not deleted by index", map[string]any{"a": []any{1, 2}}, remove("a[0]"), `{"a":[1,2]}`},
		{"overwrite", map[string]any{"a": 1}, func() error {
			_, err := client.OverwritePayload(ctx, &pb.SetPayloadPoints{CollectionName: coll, Wait: wait, Payload: pb.NewValueMap(map[string]any{"b": nil}), PointsSelector: listed(1)})
			return err
		}, `{"b":null}`},
		{"clear by filter", map[string]any{"a": 1}, func() error {
			_, err := client.ClearPayload(ctx, &pb.ClearPayloadPoints{CollectionName: coll, Wait: wait, Points: pb.NewPointsSelectorFilter(must(pb.NewMatchInt("a", 1)))})
			return err
		}, `null`},
	} {
		upsertAll(t, client, with(1, c.before, 1, 2))
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		p := one(t, client, 1)
		if got := asJSON(t, p.GetPayload()); got != c.want || !slices.Equal(vectorOf(p), []float32{1, 2}) {
			t.Errorf("%s: %s with vector %v, want %s", c.what, got, vectorOf(p), c.want)
		}
	}
}

func TestChangesOfMissingPoints(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	upsertAll(t, client, bare(1, nil))
	ctx := t.Context()
	_, err := client.SetPayload(ctx, &pb.SetPayloadPoints{CollectionName: coll, Wait: wait, Payload: pb.NewValueMap(map[string]any{"a": 1}), PointsSelector: listed(9, 1)})
	wantError(t, err, codes.NotFound, "Not found: No point with id 9 found")
	if got := asJSON(t, one(t, client, 1).GetPayload()); got != `{"a":1}` {
		t.Errorf("the point that exists: %s", got)
	}
	_, err = client.DeleteVectors(ctx, &pb.DeletePointVectors{CollectionName: coll, Wait: wait, PointsSelector: listed(9), Vectors: &pb.VectorsSelector{Names: []string{"text"}}})
	wantError(t, err, codes.NotFound, "No point with id 9 found")
	_, err = client.UpdateVectors(ctx, &pb.UpdatePointVectors{CollectionName: coll, Wait: wait, Points: []*pb.PointVectors{{Id: pb.NewIDNum(9), Vectors: with(9, nil, 1, 2).GetVectors()}}})
	wantError(t, err, codes.NotFound, "No point with id 9 found")
	if _, err = client.Delete(ctx, &pb.DeletePoints{CollectionName: coll, Wait: wait, Points: listed(9)}); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	for _, c := range []struct {
		selector *pb.PointsSelector
		message  string
	}{
		{nil, "points_selector is expected"}, {&pb.PointsSelector{}, "Malformed PointsSelector type"}, {listed(), "Bad request: Empty update request"},
	} {
		_, err := client.SetPayload(ctx, &pb.SetPayloadPoints{CollectionName: coll, Wait: wait, PointsSelector: c.selector})
		wantError(t, err, codes.InvalidArgument, c.message)
	}
}

func TestVectorChanges(t *testing.T) {
	client := serve(t, Options{})
	create(t, client, coll, pb.NewVectorsConfigMap(map[string]*pb.VectorParams{
		"text": {Size: 2, Distance: pb.Distance_Dot}, "image": {Size: 1, Distance: pb.Distance_Dot},
	}))
	ctx := t.Context()
	both := map[string]*pb.Vector{"text": pb.NewVector(1, 2), "image": pb.NewVector(3)}
	for id := range uint64(3) {
		p := bare(id, map[string]any{"tomb": id == 1})
		p.Vectors = pb.NewVectorsMap(both)
		upsertAll(t, client, p)
	}
	names := func(id uint64) []string {
		var list []string
		for name := range one(t, client, id).GetVectors().GetVectors().GetVectors() {
			list = append(list, name)
		}
		slices.Sort(list)
		return list
	}
	// The second step of a fenced delete: by filter, and only tombstones.
	filter := must(pb.NewHasID(pb.NewIDNum(0), pb.NewIDNum(1), pb.NewIDNum(77)), pb.NewMatchBool("tomb", true))
	if _, err := client.DeleteVectors(ctx, &pb.DeletePointVectors{CollectionName: coll, Wait: wait, PointsSelector: pb.NewPointsSelectorFilter(filter), Vectors: &pb.VectorsSelector{Names: []string{"text"}}}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint64][]string{0: {"image", "text"}, 1: {"image"}, 2: {"image", "text"}} {
		if got := names(id); !slices.Equal(got, want) {
			t.Errorf("point %d has %v, want %v", id, got, want)
		}
	}
	update := &pb.UpdatePointVectors{CollectionName: coll, Wait: wait, UpdateFilter: must(pb.NewMatchBool("tomb", false))}
	for id := range uint64(2) {
		update.Points = append(update.Points, &pb.PointVectors{Id: pb.NewIDNum(id), Vectors: pb.NewVectorsMap(map[string]*pb.Vector{"text": pb.NewVector(8, 9)})})
	}
	if _, err := client.UpdateVectors(ctx, update); err != nil {
		t.Fatal(err)
	}
	if v := vectorOf(one(t, client, 0)); !slices.Equal(v, []float32{8, 9}) || !slices.Equal(names(0), []string{"image", "text"}) {
		t.Errorf("updated %v %v", v, names(0))
	}
	if got := names(1); !slices.Equal(got, []string{"image"}) {
		t.Errorf("the filter let a tombstone have a vector: %v", got)
	}
	_, err := client.DeleteVectors(ctx, &pb.DeletePointVectors{CollectionName: coll, Wait: wait, PointsSelector: listed(0), Vectors: &pb.VectorsSelector{Names: []string{"none"}}})
	wantError(t, err, codes.InvalidArgument, "Wrong input: Not existing vector name error: none")
}

func TestUpdateBatch(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	ctx := t.Context()
	upsertAll(t, client, bare(3, map[string]any{"old": true}), bare(4, nil), bare(5, map[string]any{"x": 1}))
	results, err := client.UpdateBatch(ctx, &pb.UpdateBatchPoints{CollectionName: coll, Wait: wait, Operations: []*pb.PointsUpdateOperation{
		pb.NewPointsUpdateUpsert(&pb.PointsUpdateOperation_PointStructList{Points: []*pb.PointStruct{with(1, map[string]any{"a": 1}, 1, 2), with(2, nil, 3, 4)}}),
		pb.NewPointsUpdateSetPayload(&pb.PointsUpdateOperation_SetPayload{PointsSelector: listed(1), Payload: pb.NewValueMap(map[string]any{"b": 2})}),
		pb.NewPointsUpdateDeletePayload(&pb.PointsUpdateOperation_DeletePayload{PointsSelector: listed(1), Keys: []string{"a"}}),
		pb.NewPointsUpdateDeleteVectors(&pb.PointsUpdateOperation_DeleteVectors{PointsSelector: listed(2), Vectors: &pb.VectorsSelector{Names: []string{"text"}}}),
		pb.NewPointsUpdateUpdateVectors(&pb.PointsUpdateOperation_UpdateVectors{Points: []*pb.PointVectors{{Id: pb.NewIDNum(4), Vectors: with(4, nil, 5, 6).GetVectors()}}}),
		pb.NewPointsUpdateOverwritePayload(&pb.PointsUpdateOperation_OverwritePayload{PointsSelector: listed(4), Payload: pb.NewValueMap(map[string]any{"new": true})}),
		pb.NewPointsUpdateClearPayload(&pb.PointsUpdateOperation_ClearPayload{Points: listed(5)}),
		pb.NewPointsUpdateDeletePoints(&pb.PointsUpdateOperation_DeletePoints{Points: pb.NewPointsSelectorFilter(must(pb.NewMatchBool("old", true)))}),
	}})
	if err != nil || len(results) != 8 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, r := range results {
		if r.GetStatus() != pb.UpdateStatus_Completed || i > 0 && r.GetOperationId() != results[i-1].GetOperationId()+1 {
			t.Errorf("result %d: %v", i, r)
		}
	}
	for id, want := range map[uint64]string{1: `{"b":2}`, 2: `null`, 4: `{"new":true}`, 5: `null`} {
		if got := asJSON(t, one(t, client, id).GetPayload()); got != want {
			t.Errorf("point %d has %s, want %s", id, got, want)
		}
	}
	if one(t, client, 3) != nil || vectorOf(one(t, client, 2)) != nil || !slices.Equal(vectorOf(one(t, client, 4)), []float32{5, 6}) {
		t.Error("deletes or vectors of the batch are missing")
	}
	// A failure in the middle: what precedes it is applied, the rest is not.
	_, err = client.UpdateBatch(ctx, &pb.UpdateBatchPoints{CollectionName: coll, Wait: wait, Operations: []*pb.PointsUpdateOperation{
		pb.NewPointsUpdateUpsert(&pb.PointsUpdateOperation_PointStructList{Points: []*pb.PointStruct{bare(10, nil)}}),
		pb.NewPointsUpdateUpsert(&pb.PointsUpdateOperation_PointStructList{Points: []*pb.PointStruct{with(11, nil, 1)}}),
		pb.NewPointsUpdateUpsert(&pb.PointsUpdateOperation_PointStructList{Points: []*pb.PointStruct{bare(12, nil)}}),
	}})
	wantError(t, err, codes.InvalidArgument, "expected dim: 2, got 1 for vector 'text'")
	if one(t, client, 10) == nil || one(t, client, 11) != nil || one(t, client, 12) != nil {
		t.Error("a failing batch applied other operations than the first")
	}
	_, err = client.UpdateBatch(ctx, &pb.UpdateBatchPoints{CollectionName: coll, Operations: []*pb.PointsUpdateOperation{{}}})
	wantError(t, err, codes.InvalidArgument, "Operation is missing")
	if _, err = client.UpdateBatch(ctx, &pb.UpdateBatchPoints{CollectionName: coll}); err == nil {
		t.Error("an empty batch is accepted")
	}
}

func TestFieldIndexes(t *testing.T) {
	client := serve(t, Options{})
	named(t, client)
	upsertAll(t, client, bare(1, map[string]any{"t": "The Quick fox"}), bare(2, map[string]any{"t": "quicksand"}))
	index := func(req *pb.CreateFieldIndexCollection) error {
		req.CollectionName, req.Wait = coll, wait
		_, err := client.CreateFieldIndex(t.Context(), req)
		return err
	}
	quick := must(pb.NewMatchText("t", "quick"))
	if n := count(t, client, quick); n != 1 {
		t.Errorf("substrings, case counts: %d, want 1 (quicksand)", n)
	}
	if err := index(&pb.CreateFieldIndexCollection{FieldName: "t", FieldType: pb.PtrOf(pb.FieldType_FieldTypeText)}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, client, must(pb.NewMatchText("t", "fox quick"))); n != 1 {
		t.Errorf("words in any order: %d, want 1", n)
	}
	if n := count(t, client, must(pb.NewMatchPhrase("t", "fox quick"))); n != 0 {
		t.Errorf("a phrase has an order: %d", n)
	}
	if _, err := client.DeleteFieldIndex(t.Context(), &pb.DeleteFieldIndexCollection{CollectionName: coll, Wait: wait, FieldName: "t"}); err != nil {
		t.Fatal(err)
	}
	if info, err := client.GetCollectionInfo(t.Context(), coll); err != nil || len(info.GetPayloadSchema()) != 0 {
		t.Errorf("schema %v, %v", info.GetPayloadSchema(), err)
	}
	wantError(t, index(&pb.CreateFieldIndexCollection{FieldName: "a"}), codes.InvalidArgument, "cannot convert field_type")
	wantError(t, index(&pb.CreateFieldIndexCollection{FieldName: "a b", FieldType: pb.PtrOf(pb.FieldType_FieldTypeBool)}), codes.InvalidArgument, "Invalid json path: 'a b'")
	wantError(t, index(&pb.CreateFieldIndexCollection{FieldName: "a", FieldType: pb.PtrOf(pb.FieldType_FieldTypeBool), FieldIndexParams: pb.NewPayloadIndexParamsInt(&pb.IntegerIndexParams{})}),
		codes.InvalidArgument, "field_type (Bool) and field_index_params do not match")
}
