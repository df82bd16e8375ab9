package chunk

import (
	"errors"
	"time"
)

// Row is one row of a table, or one line of a file: the state of a chunk at
// some time, or a change event of any format that [Decoder.Decode] takes.
type Row struct {
	// Value is a JSON object. A bare row has the fields of a native event but
	// for op, and is an upsert. Since it comes from a table, its document_id
	// and chunk_id may be whole numbers, and its metadata may be an object
	// written as a string.
	Value []byte
	// AsOf is the version of a row that has none of its own: one that every
	// change since the row was read exceeds. Zero: there is none, and such a
	// row is malformed.
	AsOf Version
	// Time is when a row changed that does not say it itself: not later than the
	// row was read. The zero Time: not known.
	Time time.Time
}

// ErrNoVersion is the cause of the error for a row without a version, where
// there is no [Row.AsOf] either.
var ErrNoVersion = errors.New("the row has no version of its own, and none was given for those without: name a version or a time that lies before the rows were read (--as-of)")

// DecodeRow is [Decoder.Decode] for what does not come from Kafka: every event
// has a version, a delete too, since there is no log that says what preceded
// it. Under versions: record the row's own version counts for nothing, as it
// does in the stream. A source must be named, by the row or the settings,
// since the id depends on it and there is no topic to stand in.
func (d *Decoder) DecodeRow(r Row) ([]Event, error) {
	if len(r.Value) > d.cfg.Limits.RecordBytes {
		return nil, Permanentf(ReasonTooLarge, "the row has %d bytes, the limit is %d (events.limits.record_bytes)",
			len(r.Value), d.cfg.Limits.RecordBytes)
	}
	m := &message{decoder: d, time: r.Time, row: true, asOf: r.AsOf}
	body, err := d.parse(r.Value)
	if err != nil {
		return nil, err
	}
	if body, err = m.unwrapCloudEvent(body); err != nil {
		return nil, err
	}
	if m.bare = d.isBare(body); m.bare {
		body["op"] = "upsert"
		return m.native(body)
	}
	return m.events(body)
}

// isBare tells a row from an event. Under format: debezium a row has the mapped
// columns, which the flattened form reads as well.
func (d *Decoder) isBare(body object) bool {
	if d.cfg.Format == FormatDebezium || !has(body, "document_id") {
		return false
	}
	for _, mark := range []string{"op", "after", "before", "__op", "__deleted"} {
		if has(body, mark) {
			return false
		}
	}
	return true
}

// rowVersion is the version of a row: its own, else that of the time when it
// was read.
func (m *message) rowVersion(own Version) (Version, error) {
	if own != 0 && m.decoder.cfg.Versions != VersionsRecord {
		return own, nil
	}
	if m.asOf == 0 {
		return 0, Permanent(ReasonBadVersion, ErrNoVersion)
	}
	return m.asOf, nil
}
