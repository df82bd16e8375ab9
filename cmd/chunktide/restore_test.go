package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/protobuf/proto"
)

// offsets are how far the group is, as the runbook has them noted before a
// snapshot is taken.
func (d *desk) offsets() string {
	d.t.Helper()
	var report statusReport
	_, out, errs := d.do("", "status", "-o", "json") // no worker runs, which it calls wrong
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Group.State == nil {
		d.t.Fatalf("status: %v: %s%s", err, out, errs)
	}
	var list []string
	for _, p := range report.Group.State.Partitions {
		list = append(list, fmt.Sprintf("%s:%d=%d", p.Topic, p.Partition, max(p.Committed, p.Start)))
	}
	return strings.Join(list, ",")
}

// restore brings a collection to the points that it had, and to no others, as
// recovering a snapshot into its name does.
func (d *desk) restore(collection string, had []*qdrant.RetrievedPoint) {
	d.t.Helper()
	client := d.client()
	var ids []*qdrant.PointId
	for _, p := range d.scroll(collection) {
		ids = append(ids, p.GetId())
	}
	wait := true
	if _, err := client.Delete(d.t.Context(), &qdrant.DeletePoints{CollectionName: collection, Wait: &wait, Points: qdrant.NewPointsSelectorIDs(ids)}); err != nil {
		d.t.Fatal(err)
	}
	var points []*qdrant.PointStruct
	for _, p := range had {
		vectors := map[string]*qdrant.Vector{}
		for name, v := range p.GetVectors().GetVectors().GetVectors() {
			vectors[name] = qdrant.NewVector(v.GetDense().GetData()...)
		}
		points = append(points, &qdrant.PointStruct{Id: p.GetId(), Payload: p.GetPayload(), Vectors: qdrant.NewVectorsMap(vectors)})
	}
	if _, err := client.Upsert(d.t.Context(), &qdrant.UpsertPoints{CollectionName: collection, Wait: &wait, Points: points}); err != nil {
		d.t.Fatal(err)
	}
}

// undated are the points without the time at which each was written.
func (d *desk) undated(collection string) map[string]string {
	d.t.Helper()
	out := map[string]string{}
	for _, p := range d.scroll(collection) {
		delete(p.GetPayload()["_ct"].GetStructValue().GetFields(), "indexed_at")
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
		if err != nil {
			d.t.Fatal(err)
		}
		out[p.GetId().GetUuid()] = string(data)
	}
	return out
}

// The runbook "restore from a snapshot, then replay": from the offsets that were
// noted before the snapshot the index is what it would be without the loss.
func TestARestoredSnapshotIsLevelAfterAReplay(t *testing.T) {
	d := newDesk(t)
	lines := strings.SplitAfter(newHistory(400, 60).lines.String(), "\n")
	d.must(strings.Join(lines[:200], ""), "publish")
	d.catchUp()
	noted := d.offsets()
	// More becomes durable between the note and the snapshot.
	d.must(strings.Join(lines[200:230], ""), "publish")
	d.catchUp()
	snapshot, old := d.scroll(d.index), d.undated(d.index)
	d.must(strings.Join(lines[230:], ""), "publish")
	d.catchUp()
	want := d.undated(d.index)
	if maps.Equal(old, want) {
		t.Fatal("nothing has changed since the snapshot: the test shows nothing")
	}

	d.restore(d.index, snapshot)
	if got := d.undated(d.index); !maps.Equal(got, old) {
		t.Fatal("the collection is not what it was at the snapshot")
	}
	// Control: without the replay it stays so, and verify says it.
	d.catchUp()
	if got := d.undated(d.index); !maps.Equal(got, old) {
		t.Error("the index has moved without a replay")
	}
	if code, out, _ := d.do("", "index", "verify", "--sample", "0"); code != exitFailed || !strings.Contains(out, "stale") {
		t.Errorf("verify of a restored index without a replay: exit %d, %s", code, out)
	}

	d.must("", "replay", "--to", noted, "--yes")
	d.catchUp()
	if got := d.undated(d.index); !maps.Equal(got, want) {
		t.Error("after the replay the index is not what it was before the loss")
	}
	if out := d.must("", "index", "verify"); !strings.Contains(out, "0      missing") {
		t.Errorf("verify after the replay: %s", out)
	}
}
