//go:build synctests

package inprocess

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"github.com/qdrant/go-client/qdrant"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/chunk"
	"chunktide/prove/history"
)

// headerIndex bears a record's index into the log, also in its dead letter.
const headerIndex = "i"

// stored is what the index holds of a point, as the audit saw it last.
type stored struct {
	version   int64
	tombstone bool
}

// need is what must be so before a record's offset may be committed.
type need struct {
	kind history.Kind
	id   chunk.ID
	// version must be reached; for a delete without a version, must be a
	// tombstone's or be passed.
	version     int64
	versionless bool
}

// audit watches the index after every write, and the group's offsets at every
// commit.
type audit struct {
	w      *world
	names  map[[16]byte]string // topics by their ids
	needs  map[string][]need
	inflow kgo.Decompressor

	// mu is also held around every write, so that no other comes between a
	// write and the look at it, and where logs and needs are added.
	mu        sync.Mutex
	watch     history.Watch
	index     map[chunk.ID]stored
	letters   map[string]history.Letters
	checked   map[string]map[int32]int64 // by group: up to where all is covered
	commits   int
	uncovered []string
}

func newAudit(w *world) *audit {
	a := &audit{
		w: w, names: map[[16]byte]string{}, needs: map[string][]need{}, inflow: kgo.DefaultDecompressor(),
		index: map[chunk.ID]stored{}, letters: map[string]history.Letters{}, checked: map[string]map[int32]int64{},
	}
	for _, topic := range []string{live, backfill} {
		a.names[w.stack.Kafka.TopicInfo(topic).TopicID] = topic
		letters := topic + ".dead-letters"
		a.names[w.stack.Kafka.TopicInfo(letters).TopicID] = letters
		a.letters[letters] = history.Letters{}
	}
	a.needs[live] = needsOf(w.history.Records)
	w.stack.Kafka.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.stack.Kafka.KeepControl()
		a.commit(r.(*kmsg.OffsetCommitRequest))
		return nil, nil, false
	})
	w.stack.Kafka.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.stack.Kafka.KeepControl()
		a.produced(r.(*kmsg.ProduceRequest))
		return nil, nil, false
	})
	return a
}

// needsOf reads records as their producer meant them, without the worker's
// decoder.
func needsOf(records []history.Record) []need {
	needs := make([]need, len(records))
	last := map[chunk.ID]int64{} // versions by chunk, in the order of publication
	for i := range records {
		r := &records[i]
		n := need{kind: r.Kind}
		var names struct {
			Source     string `json:"source"`
			DocumentID string `json:"document_id"`
			ChunkID    string `json:"chunk_id"`
			Version    int64  `json:"version"`
		}
		body := r.Value
		if n.versionless = r.Value == nil; n.versionless {
			body = r.Key
		}
		if r.Kind != history.Malformed {
			if err := json.Unmarshal(body, &names); err != nil {
				panic(err) // the history made it
			}
			n.id, n.version = chunk.NewID(names.Source, names.DocumentID, names.ChunkID), names.Version
			switch {
			case names.ChunkID == "":
				n.id = chunk.NewDocumentID(names.Source, names.DocumentID)
				if n.version == 1 {
					n.version = 0 // nothing is older, so nothing is stored
				}
			case n.versionless:
				n.version = last[n.id]
			default:
				last[n.id] = n.version
			}
		}
		needs[i] = n
	}
	return needs
}

// met reports whether a record is done with. The mutex must be held.
func (a *audit) met(n need, letter bool) bool {
	s, ok := a.index[n.id]
	switch {
	case n.kind == history.Malformed:
		return letter
	case n.versionless:
		return !ok || s.version > n.version || s.version == n.version && s.tombstone
	case n.kind == history.Refused && letter:
		return true
	default:
		return s.version >= n.version
	}
}

// look reads the points of a write, past the network and its faults. The mutex
// must be held.
func (a *audit) look(r *qdrant.UpdateBatchPoints) {
	var ids []*qdrant.PointId
	for _, op := range r.GetOperations() {
		for _, p := range op.GetUpsert().GetPoints() {
			ids = append(ids, p.GetId())
		}
	}
	if len(ids) == 0 {
		return
	}
	answer, err := a.w.stack.Qdrant.Points().Get(a.w.t.Context(), &qdrant.GetPoints{
		CollectionName: r.GetCollectionName(), Ids: ids, WithPayload: qdrant.NewWithPayloadInclude("_ct"),
	})
	if err != nil {
		a.w.t.Errorf("look at the index: %v", err)
		return
	}
	for _, p := range answer.GetResult() {
		own := p.GetPayload()["_ct"].GetStructValue().GetFields()
		id, err := chunk.ParseID(p.GetId().GetUuid())
		if err != nil {
			a.w.t.Errorf("a point under %s: %v", p.GetId(), err)
			continue
		}
		s := stored{version: own["ver"].GetIntegerValue(), tombstone: own["tomb"].GetBoolValue()}
		a.watch.See(id, s.version)
		a.index[id] = s
	}
}

// commit checks an offset commit when it reaches the broker, whether or not it
// will be taken.
func (a *audit) commit(req *kmsg.OffsetCommitRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range req.Topics {
		topic := t.Topic
		if topic == "" {
			topic = a.names[t.TopicID]
		}
		l := a.w.logs[topic]
		if l == nil {
			continue
		}
		key := req.Group + " " + topic
		if a.checked[key] == nil {
			a.checked[key] = map[int32]int64{}
		}
		for _, p := range t.Partitions {
			a.commits++
			from := a.checked[key][p.Partition]
			for o := from; o < p.Offset; o++ {
				i := l.offsets[p.Partition][o]
				if !a.met(a.needs[topic][i], a.letters[topic+".dead-letters"][i]) {
					a.uncovered = append(a.uncovered, fmt.Sprintf("group %s committed %s/%d at %d, but record %d at %d is not done", req.Group, topic, p.Partition, p.Offset, i, o))
				}
			}
			a.checked[key][p.Partition] = max(from, p.Offset)
		}
	}
}

// produced notes the dead letters of a request. The broker handles requests one
// at a time, so a commit that comes after it was sent after it.
func (a *audit) produced(req *kmsg.ProduceRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range req.Topics {
		topic := t.Topic
		if topic == "" {
			topic = a.names[t.TopicID]
		}
		found := a.letters[topic]
		if found == nil {
			continue
		}
		for _, p := range t.Partitions {
			if err := a.batch(p.Records, found); err != nil {
				a.w.t.Errorf("read dead letters off the wire: %v", err)
			}
		}
	}
}

// batch reads the indexes that the records of a batch bear.
func (a *audit) batch(raw []byte, found history.Letters) error {
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		return err
	}
	body, err := a.inflow.Decompress(b.Records, kgo.CompressionCodecType(b.Attributes&7))
	if err != nil {
		return err
	}
	for range b.NumRecords {
		length, n := binary.Varint(body)
		if n <= 0 || int64(len(body)-n) < length {
			return fmt.Errorf("a record of %d bytes in %d", length, len(body))
		}
		var r kmsg.Record
		if err := r.ReadFrom(body[:n+int(length)]); err != nil {
			return err
		}
		body = body[n+int(length):]
		for _, h := range r.Headers {
			if i, err := strconv.Atoi(string(h.Value)); h.Key == headerIndex && err == nil {
				found[i] = true
			}
		}
	}
	return nil
}
