package chunk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DecoderConfig says what the records look like and what to make of them.
type DecoderConfig struct {
	// Format is native, debezium or cloudevents; auto tells them apart by
	// their shape.
	Format string `mapstructure:"format"`
	// DefaultSource is the source of events that name none. Empty: the topic.
	// It must not change for a corpus, since it is part of every id.
	DefaultSource string `mapstructure:"default_source"`
	// Identity is chunk_id (the producer's names are the identity) or content
	// (the text is, within its document: the same text there is one point,
	// whatever its chunk_id).
	Identity string `mapstructure:"identity"`
	// OnEmpty is what an upsert without text does: delete the chunk, or go to
	// the dead letters (dead_letter).
	OnEmpty string `mapstructure:"on_empty"`
	// Versions is auto (an event's own; of an upsert without, one made of its
	// record's timestamp and offset, while deletes are versionless), required
	// (an event without goes to the dead letters, but for tombstones) or record
	// (always made of timestamp and offset). A corpus must keep to one kind: a
	// version made of a timestamp is higher than any counter.
	Versions string `mapstructure:"versions"`
	// Debezium maps columns to fields.
	Debezium DebeziumFields `mapstructure:"debezium"`
	Limits   Limits         `mapstructure:"limits"`
}

// DebeziumFields names the columns of the captured table.
type DebeziumFields struct {
	// DocumentID and ChunkID are the columns that name the chunk: strings, or
	// whole numbers.
	DocumentID string `mapstructure:"document_id"`
	ChunkID    string `mapstructure:"chunk_id"`
	// Text is the column of what is encoded.
	Text string `mapstructure:"text"`
	// Metadata is a column with a JSON object, as such or written as a string.
	// Empty: there is none.
	Metadata string `mapstructure:"metadata"`
	// Position is the column of the chunk's place in its document, a whole
	// number. Empty: there is none.
	Position string `mapstructure:"position"`
	// Source is a column. Empty: events.default_source, else the topic.
	Source string `mapstructure:"source"`
	// Version is a path in the envelope (source.lsn) or "column:NAME". A
	// column is the better one where the table has it, and then a delete is
	// versionless: the row that is gone holds the version of its last state.
	// docs/CDC.md says what a snapshot needs of source.lsn.
	Version string `mapstructure:"version"`
	// SnapshotBehind lowers the version of a snapshot's rows (op r) by so much, in
	// the version's unit: bytes of the log for source.lsn. It must reach from the
	// snapshot back to the first change of the oldest transaction that was open
	// then, else rows that such a one changed stay as they were. The word all is
	// below every change, and right where the topic lacks none since its first
	// snapshot; it also takes rows whose version is null, as those of incremental
	// snapshots are. 0 takes snapshots as they are. It counts whenever a record is
	// read, so all who read the topic must have the same. docs/CDC.md says which.
	SnapshotBehind SnapshotBehind `mapstructure:"snapshot_behind"`
	// UnavailableValue is the connector's unavailable.value.placeholder.
	UnavailableValue string `mapstructure:"unavailable_value"`
}

// Limits bound what one event may hold.
type Limits struct {
	// RecordBytes bounds a record's key and value, each.
	RecordBytes int `mapstructure:"record_bytes"`
	// TextBytes bounds the text.
	TextBytes int `mapstructure:"text_bytes"`
	// MetadataBytes bounds the keys and strings of the metadata, with 8 for
	// every other value.
	MetadataBytes int `mapstructure:"metadata_bytes"`
	// NameBytes bounds source, document_id and chunk_id, each.
	NameBytes int `mapstructure:"name_bytes"`
	// JSONDepth bounds the nesting of objects and arrays.
	JSONDepth int `mapstructure:"json_depth"`
}

// The values of DecoderConfig's choices.
const (
	FormatAuto        = "auto"
	FormatNative      = "native"
	FormatDebezium    = "debezium"
	FormatCloudEvents = "cloudevents"

	IdentityChunkID = "chunk_id"
	IdentityContent = "content"

	OnEmptyDelete     = "delete"
	OnEmptyDeadLetter = "dead_letter"

	VersionsAuto     = "auto"
	VersionsRequired = "required"
	VersionsRecord   = "record"
)

// DefaultDecoderConfig takes every format, with columns named like the fields.
func DefaultDecoderConfig() DecoderConfig {
	return DecoderConfig{
		Format: FormatAuto, Identity: IdentityChunkID, OnEmpty: OnEmptyDelete, Versions: VersionsAuto,
		Debezium: DebeziumFields{
			DocumentID: "document_id", ChunkID: "chunk_id", Text: "text", Metadata: "metadata", Position: "position",
			Version: "source.lsn", UnavailableValue: "__debezium_unavailable_value",
		},
		Limits: Limits{RecordBytes: 8 << 20, TextBytes: 1 << 20, MetadataBytes: 256 << 10, NameBytes: 1 << 10, JSONDepth: 64},
	}
}

// columnPrefix marks a version that stands in the row, not in the envelope.
const columnPrefix = "column:"

// Validate reports every setting that cannot work.
func (c DecoderConfig) Validate() error {
	var errs []error
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			errs = append(errs, fmt.Errorf("%s: %q is none of %s", key, value, strings.Join(allowed, ", ")))
		}
	}
	oneOf("format", c.Format, FormatAuto, FormatNative, FormatDebezium, FormatCloudEvents)
	oneOf("identity", c.Identity, IdentityChunkID, IdentityContent)
	oneOf("on_empty", c.OnEmpty, OnEmptyDelete, OnEmptyDeadLetter)
	oneOf("versions", c.Versions, VersionsAuto, VersionsRequired, VersionsRecord)
	for key, column := range map[string]string{
		"document_id": c.Debezium.DocumentID, "chunk_id": c.Debezium.ChunkID, "text": c.Debezium.Text, "version": strings.TrimPrefix(c.Debezium.Version, columnPrefix),
	} {
		if column == "" {
			errs = append(errs, fmt.Errorf("debezium.%s: name the column", key))
		}
	}
	errs = append(errs, c.validateSnapshotBehind())
	if strings.HasSuffix(c.Debezium.Version, "ts_ns") {
		errs = append(errs, fmt.Errorf("debezium.version: %s counts nanoseconds, which exceed 2^53; use source.lsn or source.ts_us", c.Debezium.Version))
	}
	for key, n := range map[string]int{
		"record_bytes": c.Limits.RecordBytes, "text_bytes": c.Limits.TextBytes, "metadata_bytes": c.Limits.MetadataBytes,
		"name_bytes": c.Limits.NameBytes, "json_depth": c.Limits.JSONDepth,
	} {
		if n <= 0 {
			errs = append(errs, fmt.Errorf("limits.%s: must be positive", key))
		}
	}
	return errors.Join(errs...)
}

// Decoder turns records into events. It is safe for concurrent use.
type Decoder struct{ cfg DecoderConfig }

// NewDecoder checks the settings.
func NewDecoder(cfg DecoderConfig) (*Decoder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Decoder{cfg: cfg}, nil
}

// Decode returns what a record says, in the order in which it applies: mostly
// one event, two where a record moves a chunk to another id, and none where it
// is no change of a chunk (heartbeats, transaction markers). Every error is
// permanent, and none holds a text.
func (d *Decoder) Decode(r Record) ([]Event, error) {
	if max(len(r.Value), len(r.Key)) > d.cfg.Limits.RecordBytes {
		return nil, Permanentf(ReasonTooLarge, "the record has %d bytes, the limit is %d (events.limits.record_bytes)",
			max(len(r.Value), len(r.Key)), d.cfg.Limits.RecordBytes)
	}
	m := &message{decoder: d, record: r, time: r.Timestamp}
	events, err := m.decode()
	if trace := m.traced(); trace.Valid() {
		for i := range events {
			events[i].Trace = trace
		}
	}
	return events, err
}

func (m *message) decode() ([]Event, error) {
	d, r := m.decoder, &m.record
	binary, err := m.cloudEventHeaders()
	if err != nil {
		return nil, err
	}
	if r.Value == nil {
		return m.tombstone()
	}
	body, err := d.parse(r.Value)
	if err != nil {
		return nil, err
	}
	if !binary {
		if body, err = m.unwrapCloudEvent(body); err != nil {
			return nil, err
		}
	}
	return m.events(body)
}

// message is one record on its way through the decoder.
type message struct {
	decoder *Decoder
	record  Record
	// time is the event's time unless the event knows better.
	time time.Time
	// traceparent is the CloudEvent's.
	traceparent string
	// row says that it is no record but a [Row]; bare that it is one without an
	// operation. asOf is the row's.
	row, bare bool
	asOf      Version
}

// events tells native and Debezium apart and decodes.
func (m *message) events(body object) ([]Event, error) {
	format := m.decoder.cfg.Format
	if payload, ok := body["payload"]; ok && has(body, "schema") && len(body) == 2 && format != FormatNative {
		inner, isObject := payload.(object)
		switch {
		case payload == nil:
			return m.tombstone()
		case !isObject:
			return nil, wrongType("payload", payload, "an object")
		}
		body = inner
	}
	_, sourceIsObject := body["source"].(object)
	switch {
	case format == FormatNative:
		return m.native(body)
	case has(body, "after") || sourceIsObject && (has(body, "op") || has(body, "before")):
		return m.envelope(body)
	case has(body, "__op") || has(body, "__deleted"):
		return m.flattened(body)
	case m.noChange(body):
		return nil, nil
	case format == FormatDebezium:
		return m.flattened(body)
	case has(body, "op"):
		return m.native(body)
	default:
		return nil, Permanentf(ReasonUnknownFormat,
			`the JSON is no known event: a native one has "op", a Debezium one "before" and "after" (or "__op"), a CloudEvent "specversion" and "data"`)
	}
}

// noChange recognises what Debezium writes beside changes of rows.
func (m *message) noChange(body object) bool {
	switch {
	case has(body, "ts_ms") && len(body) == 1: // heartbeat
		return true
	case body["status"] == "BEGIN" || body["status"] == "END": // transaction metadata
		// An event may have fields of its own, and a table columns, of those names.
		return has(body, "id") && has(body, "event_count") && !has(body, "op") && !has(body, m.decoder.cfg.Debezium.DocumentID)
	default:
		return body["op"] == "m" && has(body, "message") // logical decoding message
	}
}
