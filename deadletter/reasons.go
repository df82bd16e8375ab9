package deadletter

import "chunktide/chunk"

// Advice is what is known of a reason. docs/EVENTS.md has the same table, and a
// test holds them together.
type Advice struct {
	Reason chunk.Reason `json:"reason"`
	// Happened and Do are Markdown, on one line.
	Happened string `json:"what_happened"`
	Do       string `json:"what_to_do"`
}

// Reasons tells of every reason, in the order of the docs.
func Reasons() []Advice {
	return []Advice{
		{chunk.ReasonBrokenJSON, "not JSON, or more than one value", "one JSON object in a record"},
		{chunk.ReasonInvalidUTF8, "bytes that are no text", "write UTF-8"},
		{chunk.ReasonWrongType, "a field of another JSON type, or out of its range", "see the message"},
		{chunk.ReasonUnknownFormat, "JSON, but of no known shape", "a field like `op` is missing, or `events.format` is another"},
		{chunk.ReasonUnknownOp, "an operation that is not in the list; a truncate", "`upsert` or `delete`; instead of a truncate, delete documents one by one"},
		{chunk.ReasonNoIdentity, "`document_id` or `chunk_id` is missing, or a tombstone's key names no chunk", "name the chunk"},
		{chunk.ReasonBadVersion, "below 1, 2^53 or more, a fraction; or none where one is required", "a whole number from 1 to below 2^53 that grows with each change"},
		{chunk.ReasonReservedKey, "`metadata` has a key `_ct`", "rename it"},
		{chunk.ReasonTooDeep, "nested deeper than `events.limits.json_depth`", "flatten it"},
		{chunk.ReasonTooLarge, "over one of the limits, or a record batch that unfolds too far", "cut the text into smaller chunks"},
		{chunk.ReasonEmptyText, "no text, and `events.on_empty` is `dead_letter`", "send a delete"},
		{chunk.ReasonTextUnavailable, "a text left out as unchanged, which the index does not hold; or another column left out", "`REPLICA IDENTITY FULL`, or a backfill"},
		{chunk.ReasonNoBefore, "`events.identity: content`, and the event does not say which text it replaces or removes", "send `before`"},
		{chunk.ReasonTooManyTokens, "longer than the model reads, and `embedder.overflow` is `error`", "cut the text"},
		{chunk.ReasonEncoderRefused, "the encoder failed on this text and on no other", "look at the text"},
		{chunk.ReasonBadVector, "the model made NaN, infinity or zeros of it", "look at the text; try another precision"},
		{chunk.ReasonIndexRefused, "Qdrant calls the point invalid", "see the message"},
		{chunk.ReasonPanicked, "our code panicked on it", "report it: a bug"},
		{chunk.ReasonKilledWorkers, "workers died one after the other with it alone in flight", "look at the text; report it"},
	}
}

// AdviceOn is false for a reason that no worker gives.
func AdviceOn(reason string) (Advice, bool) {
	for _, a := range Reasons() {
		if string(a.Reason) == reason {
			return a, true
		}
	}
	return Advice{}, false
}
