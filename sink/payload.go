package sink

import (
	"fmt"
	"time"

	"github.com/qdrant/go-client/qdrant"

	"chunktide/chunk"
)

// The layout of a point. The keys of text and metadata are settings.
const (
	vectorName  = "text"
	keySource   = "source"
	keyDocument = "document_id"
	keyChunk    = "chunk_id"
	keyPosition = "position"
	// keyOwn is the one object that belongs to Chunktide.
	keyOwn = "_ct"

	ownVersion   = "ver"
	ownTombstone = "tomb"
	ownHash      = "hash"
	ownModel     = "model_version"
	ownTopic     = "topic"
	ownPartition = "partition"
	ownOffset    = "offset"
	ownEventTime = "event_ts"
	ownIndexedAt = "indexed_at"
	ownTruncated = "truncated"
	ownTokens    = "tokens"

	pathVersion   = keyOwn + "." + ownVersion
	pathTombstone = keyOwn + "." + ownTombstone
)

func pointID(id chunk.ID) *qdrant.PointId { return qdrant.NewIDUUID(id.String()) }

// pointOverhead is the most that a point's id, the name of its vector and their
// tags and lengths take on the wire.
const pointOverhead = 128

// encode makes the stored form of a point, of values that it takes from v, and
// adds its size on the wire to v's. At is now, as it is to be stored.
func (s *Sink) encode(p *chunk.Point, at string, v *values) (*qdrant.PointStruct, error) {
	own := make(map[string]*qdrant.Value, 11)
	own[ownVersion], own[ownTombstone] = v.integer(int64(p.Version)), v.boolean(p.Op != chunk.Upsert)
	own[ownModel], own[ownIndexedAt] = v.text(s.model.Version), v.text(at)
	own[ownEventTime] = v.text(p.EventTime.UTC().Format(time.RFC3339Nano))
	if p.Origin.Topic != "" {
		own[ownTopic], own[ownPartition], own[ownOffset] = v.text(p.Origin.Topic), v.integer(int64(p.Origin.Partition)), v.integer(p.Origin.Offset)
	}
	payload := make(map[string]*qdrant.Value, 7)
	payload[keySource], payload[keyDocument] = v.text(p.Source), v.text(p.DocumentID)
	if p.Op != chunk.DeleteDocument {
		payload[keyChunk] = v.text(p.ChunkID)
	}
	// A point without vectors needs an empty map: without one the server takes
	// the request to be malformed.
	vectors := map[string]*qdrant.Vector{}
	if p.Op == chunk.Upsert {
		own[ownHash], own[ownTruncated], own[ownTokens] = v.text(p.Hash.String()), v.boolean(p.Embedding.Truncated), v.integer(int64(p.Embedding.Tokens))
		payload[keyPosition], payload[s.cfg.TextKey] = v.integer(p.Position), v.text(p.Text)
		metadata, err := v.of(p.Metadata)
		if err != nil {
			return nil, chunk.Permanent(chunk.ReasonIndexRefused, fmt.Errorf("metadata has a value that the index cannot hold: %w", err))
		}
		payload[s.cfg.MetadataKey] = metadata
		vectors[vectorName] = qdrant.NewVectorDense(p.Embedding.Vector)
	}
	payload[keyOwn] = v.object(own)
	for key := range payload {
		v.bytes += len(key)
	}
	v.bytes += pointOverhead + 4*len(p.Embedding.Vector)
	return &qdrant.PointStruct{Id: pointID(p.ID), Payload: payload, Vectors: qdrant.NewVectorsMap(vectors)}, nil
}

// Record is a stored point with its identity.
type Record struct {
	ID           chunk.ID       `json:"id"`
	Source       string         `json:"source"`
	DocumentID   string         `json:"document_id"`
	ChunkID      string         `json:"chunk_id"`
	Position     int64          `json:"position"`
	Text         string         `json:"text"`
	Metadata     map[string]any `json:"metadata"`
	Version      chunk.Version  `json:"version"`
	Tombstone    bool           `json:"tombstone"`
	Hash         chunk.Hash     `json:"-"`
	ModelVersion string         `json:"model_version"`
	Topic        string         `json:"topic"`
	Partition    int32          `json:"partition"`
	Offset       int64          `json:"offset"`
	EventTime    time.Time      `json:"event_ts"`
	IndexedAt    time.Time      `json:"indexed_at"`
	Tokens       int            `json:"tokens"`
	Truncated    bool           `json:"truncated"`
}

func (r *Record) origin() chunk.Origin {
	return chunk.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
}

// decode reads a payload. What it cannot read is zero: a point that somebody
// else wrote has no version, so any version replaces it.
func decode(cfg *Config, id *qdrant.PointId, payload map[string]*qdrant.Value) Record {
	own := payload[keyOwn].GetStructValue().GetFields()
	r := Record{
		Source: payload[keySource].GetStringValue(), DocumentID: payload[keyDocument].GetStringValue(),
		ChunkID: payload[keyChunk].GetStringValue(), Position: integer(payload[keyPosition]),
		Text: payload[cfg.TextKey].GetStringValue(), ModelVersion: own[ownModel].GetStringValue(),
		Version: chunk.Version(integer(own[ownVersion])), Tombstone: own[ownTombstone].GetBoolValue(),
		Topic: own[ownTopic].GetStringValue(), Partition: int32(integer(own[ownPartition])), Offset: integer(own[ownOffset]),
		Tokens: int(integer(own[ownTokens])), Truncated: own[ownTruncated].GetBoolValue(),
		EventTime: instant(own[ownEventTime]), IndexedAt: instant(own[ownIndexedAt]),
	}
	r.ID, _ = chunk.ParseID(id.GetUuid())
	r.Hash, _ = chunk.ParseHash(own[ownHash].GetStringValue())
	if m, ok := plain(payload[cfg.MetadataKey]).(map[string]any); ok {
		r.Metadata = m
	}
	return r
}

func instant(v *qdrant.Value) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, v.GetStringValue())
	return t
}

// plain converts a payload value to what encoding/json would make of it,
// integers kept.
func plain(v *qdrant.Value) any {
	switch k := v.GetKind().(type) {
	case *qdrant.Value_StringValue:
		return k.StringValue
	case *qdrant.Value_BoolValue:
		return k.BoolValue
	case *qdrant.Value_IntegerValue:
		return k.IntegerValue
	case *qdrant.Value_DoubleValue:
		return k.DoubleValue
	case *qdrant.Value_ListValue:
		list := make([]any, len(k.ListValue.GetValues()))
		for i, e := range k.ListValue.GetValues() {
			list[i] = plain(e)
		}
		return list
	case *qdrant.Value_StructValue:
		fields := make(map[string]any, len(k.StructValue.GetFields()))
		for name, e := range k.StructValue.GetFields() {
			fields[name] = plain(e)
		}
		return fields
	default:
		return nil
	}
}

// dense reads a vector in the old and the new form of the protocol.
func dense(v *qdrant.VectorOutput) []float32 {
	if d := v.GetDense(); d != nil {
		return d.GetData()
	}
	return v.GetData() //nolint:staticcheck // servers before 1.16 fill only this
}
