package chunk

import (
	"strings"
	"time"
	"unicode"
)

// draft is an event of any format before the rules that all formats share.
type draft struct {
	op Op
	// edit says that the producer called it a change of what exists.
	edit                    bool
	source, document, chunk string
	position                int64
	text                    string
	textUnchanged           bool
	metadata                map[string]any
	version                 Version
	time                    time.Time
	before                  string // the text that it replaces or removes
	hasBefore               bool
	// versionless is a delete of what precedes it: its source has no version
	// for deletes, whatever the settings ask of events.
	versionless bool
}

// native decodes {"op", "source", "document_id", "chunk_id", "position",
// "text", "metadata", "version", "ts", "before"}.
func (m *message) native(o object) ([]Event, error) {
	d := m.decoder
	var f draft
	var err error
	if f.op, f.edit, err = operation("op", o["op"]); err != nil {
		return nil, err
	}
	if f.source, err = d.name(o, "source", false); err != nil {
		return nil, err
	}
	if f.document, err = d.name(o, "document_id", m.bare); err != nil {
		return nil, err
	}
	if f.chunk, err = d.name(o, "chunk_id", m.bare); err != nil {
		return nil, err
	}
	if f.position, err = position(o, "position"); err != nil {
		return nil, err
	}
	if f.text, err = text(o, "text"); err != nil {
		return nil, err
	}
	if f.version, err = version("version", o["version"]); err != nil {
		return nil, err
	}
	if f.time, err = m.timestamp(o, "ts"); err != nil {
		return nil, err
	}
	switch v := o["metadata"].(type) {
	case nil:
	case object:
		if f.metadata, err = d.metadata("metadata", v); err != nil {
			return nil, err
		}
	case string:
		if !m.bare {
			return nil, wrongType("metadata", v, "an object")
		}
		if f.metadata, err = m.columnMetadata(o, "metadata"); err != nil {
			return nil, err
		}
	default:
		return nil, wrongType("metadata", v, "an object")
	}
	switch v := o["before"].(type) {
	case nil:
	case object:
		f.hasBefore = has(v, "text")
		if f.before, err = text(v, "text"); err != nil {
			return nil, err
		}
	default:
		return nil, wrongType("before", v, "an object")
	}
	return m.finish(f)
}

func operation(field string, value any) (op Op, edit bool, err error) {
	name, ok := value.(string)
	if !ok {
		if value == nil {
			return 0, false, Permanentf(ReasonUnknownOp, "%s is missing: want upsert or delete", field)
		}
		return 0, false, wrongType(field, value, "a string")
	}
	switch name {
	case "upsert", "add", "create", "c", "r":
		return Upsert, false, nil
	case "edit", "update", "u":
		return Upsert, true, nil
	case "delete", "d":
		return Delete, false, nil
	case "t":
		return 0, false, Permanentf(ReasonUnknownOp, "%s is a truncate, which names no chunk: delete the documents one by one", field)
	default:
		return 0, false, Permanentf(ReasonUnknownOp, "%s is not known: want upsert (add, create, edit, update, c, u, r) or delete (d)", field)
	}
}

// timestamp reads an optional RFC 3339 time.
func (m *message) timestamp(o object, key string) (time.Time, error) {
	s, err := text(o, key)
	if err != nil || s == "" {
		return m.time, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, Permanentf(ReasonWrongType, "%s is not a time like 2026-01-31T12:00:00Z (RFC 3339)", key)
	}
	return t, nil
}

// finish applies the rules that all formats share.
func (m *message) finish(f draft) ([]Event, error) {
	cfg := &m.decoder.cfg
	if f.source == "" {
		f.source = cfg.DefaultSource
	}
	if f.source == "" {
		f.source = m.record.Topic
	}
	if f.source == "" {
		return nil, Permanentf(ReasonNoIdentity, "source is missing: name it in the row, or set events.default_source to what the live events have")
	}
	if f.document == "" {
		return nil, Permanentf(ReasonNoIdentity, "document_id is missing: it says which document the chunk belongs to")
	}
	if len(f.text) > cfg.Limits.TextBytes {
		return nil, Permanentf(ReasonTooLarge, "text has %d bytes, the limit is %d (events.limits.text_bytes): split it into smaller chunks",
			len(f.text), cfg.Limits.TextBytes)
	}
	if f.op == Upsert && f.chunk == "" {
		// Before an empty text makes a delete of it, which would be the document's.
		return nil, Permanentf(ReasonNoIdentity, "chunk_id is missing: it says which chunk of the document this is")
	}
	if f.op == Upsert && !f.textUnchanged && blank(f.text) {
		if cfg.OnEmpty == OnEmptyDeadLetter {
			return nil, Permanentf(ReasonEmptyText, "text is empty: there is nothing to encode (events.on_empty is dead_letter)")
		}
		// What was there before the text became empty is what is deleted.
		f.op, f.text = Delete, f.before
	}
	if f.chunk == "" {
		f.op = DeleteDocument
	}
	var err error
	if f.version, err = m.version(f); err != nil {
		return nil, err
	}
	if cfg.Identity == IdentityContent && f.op != DeleteDocument {
		return m.byContent(f)
	}
	e := m.event(f)
	e.ID = NewID(f.source, f.document, f.chunk)
	if f.op == DeleteDocument {
		e.ID = NewDocumentID(f.source, f.document)
	}
	return []Event{e}, nil
}

// blank texts have nothing to encode.
func blank(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return !unicode.IsSpace(r) }) < 0
}

func (m *message) event(f draft) Event {
	e := Event{
		Op: f.op, Source: f.source, DocumentID: f.document, ChunkID: f.chunk,
		Version: f.version, Time: f.time, Origin: m.record.Origin,
	}
	if f.op == Upsert {
		e.Position, e.Metadata, e.TextUnchanged = f.position, f.metadata, f.textUnchanged
		if !f.textUnchanged {
			e.Text = f.text
		}
	}
	return e
}

// version is the event's own, or what the settings say instead.
func (m *message) version(f draft) (Version, error) {
	policy := m.decoder.cfg.Versions
	switch {
	case m.row:
		return m.rowVersion(f.version)
	case policy == VersionsRecord:
	case f.version != 0:
		return f.version, nil
	case policy == VersionsRequired && !f.versionless:
		return 0, Permanentf(ReasonBadVersion, "version is missing (events.versions is required): send a number that grows with each change of the chunk")
	case f.op != Upsert:
		return 0, nil
	}
	v, ok := FallbackVersion(m.record.Timestamp, m.record.Offset)
	if !ok {
		return 0, Permanentf(ReasonBadVersion, "no version can be made of the record's timestamp, which must lie between 1970 and 2039: send versions")
	}
	return v, nil
}

// byContent is identity: content. The id follows the text, so a change names
// two points: the one it removes and the one it adds.
func (m *message) byContent(f draft) ([]Event, error) {
	noBefore := Permanentf(ReasonNoBefore,
		"the event does not say which text it replaces or removes (before), and with events.identity: content nothing else names the point")
	remove := m.event(f)
	remove.Op, remove.Position, remove.Metadata, remove.Text, remove.TextUnchanged = Delete, 0, nil, "", false
	remove.ID = NewContentID(f.source, f.document, f.before)
	if f.op == Delete {
		switch {
		case f.text != "":
			remove.ID = NewContentID(f.source, f.document, f.text)
		case f.before == "":
			return nil, noBefore
		}
		return []Event{remove}, nil
	}
	add := m.event(f)
	if f.textUnchanged {
		if f.before == "" {
			return nil, noBefore
		}
		add.ID = remove.ID
		return []Event{add}, nil
	}
	add.ID = NewContentID(f.source, f.document, f.text)
	switch {
	case f.edit && !f.hasBefore:
		return nil, noBefore
	case f.before == "" || f.before == f.text:
		return []Event{add}, nil
	}
	return []Event{remove, add}, nil
}
