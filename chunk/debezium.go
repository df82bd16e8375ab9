package chunk

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// envelope decodes Debezium's {"before", "after", "op", "source", "ts_ms"}.
// Source: Debezium's documentation of the connectors' change events.
func (m *message) envelope(o object) ([]Event, error) {
	if m.noChange(o) {
		return nil, nil
	}
	op, edit, err := operation("op", o["op"])
	if err != nil {
		return nil, err
	}
	before, err := row(o, "before")
	if err != nil {
		return nil, err
	}
	after, err := row(o, "after")
	if err != nil {
		return nil, err
	}
	source, err := row(o, "source")
	if err != nil {
		return nil, err
	}
	current := after
	if op == Delete {
		current = before
	}
	if current == nil {
		return nil, Permanentf(ReasonNoIdentity, "the change holds no row: a delete needs before (a primary key, or REPLICA IDENTITY FULL), others need after")
	}
	at, err := firstTime(m.time, source["ts_ms"], o["ts_ms"])
	if err != nil {
		return nil, err
	}
	v, err := m.envelopeVersion(op, o, source, current)
	if err != nil {
		return nil, err
	}
	return m.change(op, edit, current, before, v, at)
}

func row(o object, key string) (object, error) {
	switch v := o[key].(type) {
	case nil:
		return nil, nil
	case object:
		return v, nil
	default:
		return nil, wrongType(key, v, "an object")
	}
}

// columnVersion reads a version from a row. The column of a row that is gone
// holds the version of its last state, and a delete with that version would
// lose against it; or no version at all, where the log has the key alone.
func columnVersion(op Op, row object, column string) (Version, error) {
	if op == Delete {
		return 0, nil
	}
	return version(column, row[column])
}

// envelopeVersion reads the version from where the settings say.
func (m *message) envelopeVersion(op Op, o, source, current object) (Version, error) {
	path := m.decoder.cfg.Debezium.Version
	if column, ok := strings.CutPrefix(path, columnPrefix); ok {
		return columnVersion(op, current, column)
	}
	holder, key := o, path
	if field, ok := strings.CutPrefix(path, "source."); ok {
		holder, key = source, field
	}
	value, ok := holder[key]
	if !ok {
		return 0, nil
	}
	return m.decoder.cfg.Debezium.SnapshotBehind.version(path, value, o["op"])
}

// flattened decodes what Debezium's ExtractNewRecordState leaves: the row, with
// __op, __deleted and the added fields beside it.
func (m *message) flattened(o object) ([]Event, error) {
	op, edit := Upsert, false
	if value, ok := o["__op"]; ok && value != nil {
		var err error
		if op, edit, err = operation("__op", value); err != nil {
			return nil, err
		}
	}
	if deleted := o["__deleted"]; deleted == true || deleted == "true" {
		op = Delete
	}
	at, err := firstTime(m.time, o["__source_ts_ms"], o["__ts_ms"])
	if err != nil {
		return nil, err
	}
	v, err := m.flattenedVersion(op, o)
	if err != nil {
		return nil, err
	}
	return m.change(op, edit, o, nil, v, at)
}

func (m *message) flattenedVersion(op Op, o object) (Version, error) {
	path := m.decoder.cfg.Debezium.Version
	if column, ok := strings.CutPrefix(path, columnPrefix); ok {
		return columnVersion(op, o, column)
	}
	// add.fields names source.lsn either __source_lsn or __lsn.
	for _, key := range []string{"__" + strings.ReplaceAll(path, ".", "_"), "__" + path[strings.LastIndex(path, ".")+1:]} {
		if value, ok := o[key]; ok {
			behind := m.decoder.cfg.Debezium.SnapshotBehind
			if behind > 0 && o["__op"] == nil && op != Delete {
				return 0, Permanentf(ReasonBadVersion, "__op is missing, so nothing tells a snapshot's row from a change (events.debezium.snapshot_behind): add op to the connector's add.fields")
			}
			return behind.version(key, value, o["__op"])
		}
	}
	return 0, nil
}

// firstTime is the first of several millisecond clocks that is set.
func firstTime(otherwise time.Time, clocks ...any) (time.Time, error) {
	for _, c := range clocks {
		switch v := c.(type) {
		case nil:
			continue
		case json.Number:
			ms, err := strconv.ParseInt(v.String(), 10, 64)
			if err != nil {
				return time.Time{}, Permanentf(ReasonWrongType, "ts_ms is not a whole number of milliseconds")
			}
			if ms > 0 {
				return time.UnixMilli(ms).UTC(), nil
			}
		default:
			return time.Time{}, wrongType("ts_ms", v, "a whole number of milliseconds")
		}
	}
	return otherwise, nil
}

// change makes events of a row and, where it is known, the row before.
func (m *message) change(op Op, edit bool, current, before object, v Version, at time.Time) ([]Event, error) {
	f, err := m.rowDraft(current)
	if err != nil {
		return nil, err
	}
	f.op, f.edit, f.version, f.time = op, edit, v, at
	f.versionless = op == Delete && strings.HasPrefix(m.decoder.cfg.Debezium.Version, columnPrefix)
	if f.chunk == "" {
		// A row is a chunk, so a row without its id is no document's delete.
		return nil, Permanentf(ReasonNoIdentity, "column %s is missing or null: it says which chunk the row is (events.debezium.chunk_id)", m.decoder.cfg.Debezium.ChunkID)
	}
	if op != Upsert || before == nil {
		return m.finish(f)
	}
	old, err := m.rowDraft(before)
	if err != nil {
		return nil, err
	}
	if !old.textUnchanged && old.text != "" {
		f.before, f.hasBefore = old.text, true
	}
	events, err := m.finish(f)
	if err != nil || old.document == "" || old.chunk == "" || (old.document == f.document && old.chunk == f.chunk && old.source == f.source) {
		return events, err
	}
	// The row got another key: what it was called before is gone.
	gone := draft{op: Delete, source: old.source, document: old.document, chunk: old.chunk, text: old.text, version: v, time: at}
	removed, err := m.finish(gone)
	if err != nil {
		return nil, err
	}
	return append(removed, events...), nil
}

// rowDraft reads the mapped columns of a row.
func (m *message) rowDraft(row object) (draft, error) {
	d, columns := m.decoder, &m.decoder.cfg.Debezium
	var f draft
	var err error
	for _, c := range []string{columns.DocumentID, columns.ChunkID, columns.Metadata} {
		if c != "" && row[c] == columns.UnavailableValue {
			return f, Permanentf(ReasonTextUnavailable, "column %s was left out because it did not change; only the text may be: set REPLICA IDENTITY FULL on the table", c)
		}
	}
	if columns.Source != "" {
		if f.source, err = d.name(row, columns.Source, true); err != nil {
			return f, err
		}
	}
	if f.document, err = d.name(row, columns.DocumentID, true); err != nil {
		return f, err
	}
	if f.chunk, err = d.name(row, columns.ChunkID, true); err != nil {
		return f, err
	}
	if f.position, err = position(row, columns.Position); err != nil {
		return f, err
	}
	if f.text, err = text(row, columns.Text); err != nil {
		return f, err
	}
	if f.text == columns.UnavailableValue && f.text != "" {
		f.text, f.textUnchanged = "", true
	}
	f.metadata, err = m.columnMetadata(row, columns.Metadata)
	return f, err
}

// columnMetadata reads a column that holds a JSON object, as such or as text.
func (m *message) columnMetadata(row object, column string) (map[string]any, error) {
	d := m.decoder
	switch v := row[column].(type) {
	case nil:
		return nil, nil
	case object:
		return d.metadata(column, v)
	case string:
		if v == "" {
			return nil, nil
		}
		o, err := d.parse([]byte(v))
		if err != nil {
			reason, _ := ReasonOf(err)
			return nil, Permanentf(reason, "column %s: %v", column, err)
		}
		return d.metadata(column, o)
	default:
		return nil, wrongType("column "+column, v, "a JSON object")
	}
}

// tombstone decodes a record without value: the key names what is gone.
func (m *message) tombstone() ([]Event, error) {
	if m.record.Key == nil {
		return nil, Permanentf(ReasonNoIdentity, "the record has neither value nor key, so it names no chunk")
	}
	key, err := m.decoder.parse(m.record.Key)
	if err != nil {
		return nil, Permanentf(ReasonNoIdentity, `a tombstone's key must be a JSON object like {"document_id": "…", "chunk_id": "…"}: %v`, err)
	}
	if payload, ok := key["payload"].(object); ok && has(key, "schema") {
		key = payload
	}
	f := draft{op: Delete, versionless: true, time: m.time}
	columns := &m.decoder.cfg.Debezium
	for _, part := range []struct {
		into          *string
		field, mapped string
	}{{&f.source, "source", columns.Source}, {&f.document, "document_id", columns.DocumentID}, {&f.chunk, "chunk_id", columns.ChunkID}} {
		for _, name := range []string{part.field, part.mapped} {
			if *part.into == "" && name != "" {
				if *part.into, err = m.decoder.name(key, name, true); err != nil {
					return nil, err
				}
			}
		}
	}
	if f.document == "" || f.chunk == "" {
		return nil, Permanentf(ReasonNoIdentity, "the key of the tombstone lacks document_id or chunk_id, so it names no chunk")
	}
	return m.finish(f)
}
