package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// entry is one thing to encode: a text, or tokens where ids is not nil.
type entry struct {
	text string
	ids  []int64
}

// limits bound what is read of one request.
type limits struct{ texts, tokens int }

// readEntries reads what OpenAI calls input and TEI inputs: a string, a list
// of strings, a list of tokens (which is one entry), or a list of such lists.
// It stops at the first that is too much.
func readEntries(raw json.RawMessage, param string, max limits) (entries []entry, err error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, invalid(param, "%s is missing: want a string, a list of strings, a list of tokens, or a list of such lists", param)
	}
	if raw[0] == '"' {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, invalid(param, "%s is no string", param)
		}
		return []entry{{text: text}}, nil
	}
	if raw[0] != '[' {
		return nil, invalid(param, "%s is neither a string nor a list", param)
	}
	elements := json.NewDecoder(bytes.NewReader(raw))
	_, _ = elements.Token() // the bracket
	first := firstOf(raw[1:])
	if first == '-' || first >= '0' && first <= '9' {
		ids, err := readIDs(elements, param, max.tokens)
		return []entry{{ids: ids}}, err
	}
	tokens := 0
	for elements.More() {
		if len(entries) == max.texts {
			return nil, tooLarge(param, "%s has more than %d entries (serve.request_texts)", param, max.texts)
		}
		e, err := readElement(elements, first, param, max.tokens-tokens)
		if err != nil {
			return nil, err
		}
		tokens += len(e.ids)
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, invalid(param, "%s is empty", param)
	}
	return entries, nil
}

// firstOf is the first byte that is not white space.
func firstOf(raw []byte) byte {
	if rest := bytes.TrimLeft(raw, " \t\r\n"); len(rest) > 0 {
		return rest[0]
	}
	return 0
}

// readElement reads a string, or a list of tokens, whichever the first
// element was.
func readElement(elements *json.Decoder, first byte, param string, room int) (entry, error) {
	if first == '"' {
		var text *string
		if err := elements.Decode(&text); err != nil || text == nil {
			return entry{}, invalid(param, "%s begins with a string, and must hold strings only", param)
		}
		return entry{text: *text}, nil
	}
	if first != '[' {
		return entry{}, invalid(param, "%s must hold strings, tokens or lists of tokens", param)
	}
	if open, err := elements.Token(); err != nil || open != json.Delim('[') {
		return entry{}, invalid(param, "%s begins with a list of tokens, and must hold such lists only", param)
	}
	ids, err := readIDs(elements, param, room)
	if err != nil {
		return entry{}, err
	}
	_, err = elements.Token() // the closing bracket
	return entry{ids: ids}, err
}

// readIDs reads numbers up to the end of their list.
func readIDs(elements *json.Decoder, param string, room int) ([]int64, error) {
	ids := []int64{}
	for elements.More() {
		var id *int64
		if err := elements.Decode(&id); err != nil || id == nil {
			return nil, invalid(param, "%s: a token must be a whole number", param)
		}
		if len(ids) == room {
			return nil, tooLarge(param, "%s has more tokens than serve.request_tokens admits", param)
		}
		ids = append(ids, *id)
	}
	return ids, nil
}

// decodeBody reads one JSON object with no field that is unknown: a field that
// asks for another vector than the one it would get must not go unnoticed.
func decodeBody(body io.Reader, v any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something after the object")
			if more != nil {
				err = more
			}
		}
	}
	return bodyProblem(err)
}
