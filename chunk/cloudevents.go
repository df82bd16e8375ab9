package chunk

import (
	"encoding/base64"
	"strings"
	"time"
)

// CloudEvents 1.0 (https://github.com/cloudevents/spec): the envelope names
// the event, data is a native or Debezium event. In Kafka's binary mode the
// envelope stands in the headers (ce_*) and the value is data.

const ceHeader = "ce_"

// cloudEventHeaders reads a binary-mode envelope; binary is false without one.
func (m *message) cloudEventHeaders() (binary bool, err error) {
	if f := m.decoder.cfg.Format; f != FormatAuto && f != FormatCloudEvents {
		return false, nil
	}
	attributes := object{}
	for _, h := range m.record.Headers {
		if name, ok := strings.CutPrefix(h.Key, ceHeader); ok {
			attributes[name] = string(h.Value)
		}
	}
	if !has(attributes, "specversion") {
		return false, nil
	}
	return true, m.cloudEvent(attributes)
}

// cloudEvent checks the attributes that matter here.
func (m *message) cloudEvent(attributes object) error {
	spec, err := text(attributes, "specversion")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(spec, "1.") {
		return Permanentf(ReasonUnknownFormat, "the CloudEvent has another specversion than 1.0")
	}
	// The extension for distributed tracing; whatever it is, it is no reason to
	// refuse the event.
	m.traceparent, _ = attributes[HeaderTrace].(string)
	at, err := text(attributes, "time")
	if err != nil || at == "" {
		return err
	}
	parsed, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return Permanentf(ReasonWrongType, "time of the CloudEvent is not a time like 2026-01-31T12:00:00Z (RFC 3339)")
	}
	m.time = parsed
	return nil
}

// unwrapCloudEvent returns the data of a structured-mode event, and everything
// else as it is.
func (m *message) unwrapCloudEvent(body object) (object, error) {
	format := m.decoder.cfg.Format
	if format != FormatAuto && format != FormatCloudEvents {
		return body, nil
	}
	if !has(body, "specversion") {
		if format == FormatCloudEvents {
			return nil, Permanentf(ReasonUnknownFormat, "the record is no CloudEvent: it has neither specversion nor ce_ headers (events.format is cloudevents)")
		}
		return body, nil
	}
	if err := m.cloudEvent(body); err != nil {
		return nil, err
	}
	switch data := body["data"].(type) {
	case object:
		return data, nil
	case string: // JSON inside a string, as some gateways send it
		return m.decoder.parse([]byte(data))
	case nil:
	default:
		return nil, wrongType("data", data, "an object")
	}
	encoded, err := text(body, "data_base64")
	if err != nil {
		return nil, err
	}
	if encoded == "" {
		return nil, Permanentf(ReasonUnknownFormat, "the CloudEvent has no data")
	}
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, Permanentf(ReasonWrongType, "data_base64 of the CloudEvent is not base64")
	}
	return m.decoder.parse(data)
}
