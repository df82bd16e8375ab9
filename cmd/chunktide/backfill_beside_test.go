package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"chunktide/chunk"
	"chunktide/embedder"
	lives "chunktide/prove/history"
)

// publishHistory writes the records of a history to the topic.
func (d *desk) publishHistory(records []lives.Record) {
	d.t.Helper()
	client := newClient(d.t, d.cfg, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	batch := make([]*kgo.Record, len(records))
	for i, r := range records {
		batch[i] = &kgo.Record{Topic: d.cfg.Kafka.Topics[0], Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Time}
	}
	if err := client.ProduceSync(d.t.Context(), batch...).FirstErr(); err != nil {
		d.t.Fatal(err)
	}
}

// stored is the whole index, read with Qdrant's own client.
func (d *desk) stored() (points []lives.Stored) {
	d.t.Helper()
	conn, err := grpc.NewClient(d.stack.QdrantAddr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	answer, err := qdrant.NewPointsClient(conn).Scroll(d.t.Context(), &qdrant.ScrollPoints{
		CollectionName: "desk", Limit: qdrant.PtrOf(uint32(1 << 20)), WithPayload: qdrant.NewWithPayload(true), WithVectors: qdrant.NewWithVectors(true),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, p := range answer.GetResult() {
		f := p.GetPayload()
		own := f["_ct"].GetStructValue().GetFields()
		id, err := chunk.ParseID(p.GetId().GetUuid())
		if err != nil {
			d.t.Fatal(err)
		}
		points = append(points, lives.Stored{
			ID: id, Source: f["source"].GetStringValue(), DocumentID: f["document_id"].GetStringValue(), ChunkID: f["chunk_id"].GetStringValue(),
			Version: own["ver"].GetIntegerValue(), Tombstone: own["tomb"].GetBoolValue(), Text: f["text"].GetStringValue(),
			Vector: p.GetVectors().GetVectors().GetVectors()["text"].GetDense().GetData(),
		})
	}
	return points
}

func bowVector(t *testing.T) func(string) []float32 {
	encoder := embedder.NewBow("", nil)
	return func(text string) []float32 {
		e, err := encoder.Encode(t.Context(), []string{text})
		if err != nil {
			t.Fatal(err)
		}
		return e[0].Vector
	}
}

// A table is read at some moment and backfilled beside the live worker, or long
// after it, while the live events edit and delete the same chunks. Whatever
// comes first, the index ends in the fold of the log: nothing newer is
// overwritten, and nothing comes back. In the control the rows get a version
// from after they were read.
func TestABackfillBesideTheLiveWorkerChangesNothingNewer(t *testing.T) {
	const events, read = 2000, 1000
	for name, tt := range map[string]struct {
		// asOf strips the rows of their versions.
		asOf        int
		after, good bool
	}{
		"own versions, beside":   {good: true},
		"own versions, after":    {good: true, after: true},
		"as of, beside":          {good: true, asOf: read},
		"as of, after":           {good: true, asOf: read, after: true},
		"control: stamped late":  {asOf: 2 * events, after: true},
		"control: a little late": {asOf: read + read/2, after: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				// Every eighth document has deletes without versions, beside which only
				// rows with the versions of the stream are safe.
				shape := lives.DefaultShape(events, 600, 3)
				shape.Malformed, shape.Refused = 0, 0
				if tt.asOf > 0 {
					shape.PerDocument = 100
				}
				h := lives.New(seed, shape)
				d := newDesk(t, "kafka.batch.events=20", "backfill.batch.events=20")
				args := []string{"backfill", rowsOf(t, lives.Snapshot(seed, shape, read), tt.asOf > 0)}
				if tt.asOf > 0 {
					args = append(args, fmt.Sprint("--as-of=", tt.asOf))
				}
				d.publishHistory(h.Records)
				var both sync.WaitGroup
				both.Go(func() { d.must("", "run", "--set", "kafka.stop_at_end=true") })
				if tt.after {
					both.Wait()
				}
				both.Go(func() { d.must("", args...) })
				both.Wait()

				verdict := d.judge(h, tt.asOf, read)
				if verdict.Good() != tt.good {
					t.Errorf("seed %d: %s", seed, verdict)
				}
				if !tt.good && verdict.Stale+verdict.Resurrected == 0 {
					t.Errorf("seed %d: the control is bad for another reason: %s", seed, verdict)
				}
			}
		})
	}
}

// judge compares the index with the fold of the log. A row that carries the
// version of the reading is the state that it was read from.
func (d *desk) judge(h *lives.History, asOf, read int) lives.Verdict {
	d.t.Helper()
	points := d.stored()
	for i := range points {
		want := h.Want[points[i].ID]
		if asOf > 0 && points[i].Version == int64(asOf) && want.Text == points[i].Text && want.Version <= int64(read) {
			points[i].Version = want.Version
		}
	}
	return h.Compare(points, bowVector(d.t))
}

// What docs/OPERATIONS.md says of streams whose deletes have no versions: rows
// that are stamped with the time of their reading may bring back what such a
// delete has removed since, and a replay of the stream from then on removes it
// again.
func TestDeletesWithoutVersionsNeedAReplayAfterABackfill(t *testing.T) {
	const events, read = 2000, 1000
	shape := lives.DefaultShape(events, 600, 3)
	shape.Malformed, shape.Refused = 0, 0
	h := lives.New(1, shape)
	d := newDesk(t)
	d.publishHistory(h.Records)
	d.catchUp()
	d.must("", "backfill", rowsOf(t, lives.Snapshot(1, shape, read), true), fmt.Sprint("--as-of=", read))
	before := d.judge(h, read, read)
	if before.Resurrected == 0 || before.Lost+before.Stale+before.Doubled+before.WrongVector > 0 {
		t.Errorf("before the replay: %s", before)
	}
	at := shape.Start.Add(read * time.Millisecond).UTC().Format(time.RFC3339)
	d.must("", "replay", "--yes", "--to", at)
	d.catchUp()
	if after := d.judge(h, read, read); !after.Good() {
		t.Errorf("after the replay: %s", after)
	}
}

// rowsOf writes rows to a file, without their versions and operations if they
// are to be those of a table that has none.
func rowsOf(t *testing.T, rows []lives.Record, bare bool) string {
	t.Helper()
	var lines strings.Builder
	for _, r := range rows {
		line := r.Value
		if bare {
			var fields map[string]any
			if err := json.Unmarshal(line, &fields); err != nil {
				t.Fatal(err)
			}
			delete(fields, "op")
			delete(fields, "version")
			var err error
			if line, err = json.Marshal(fields); err != nil {
				t.Fatal(err)
			}
		}
		lines.Write(line)
		lines.WriteByte('\n')
	}
	path := filepath.Join(t.TempDir(), "table.jsonl")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
