package backfill

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"chunktide/chunk"
)

// Reject is a line of the rejects file.
type Reject struct {
	Place  string       `json:"place"`
	Stage  string       `json:"stage"` // decode, encode or index
	Reason chunk.Reason `json:"reason"`
	Error  string       `json:"error"`
	// Row is the row, where it is JSON: what is to be mended and read again.
	// Bytes are those of one that is not, in base64.
	Row   json.RawMessage `json:"row,omitempty"`
	Bytes []byte          `json:"bytes,omitempty"`
	At    time.Time       `json:"at"`
}

// Rejects is the file of the rows that could not be indexed. It is made with
// the first of them, readable by its owner only, since it holds their texts;
// an earlier one is added to. A row whose batch was cut short by a kill may
// stand in it twice. It is used by one goroutine at a time.
type Rejects struct {
	path string
	file *os.File
	now  func() time.Time
}

// NewRejects names the file.
func NewRejects(path string) *Rejects { return &Rejects{path: path, now: time.Now} }

// Path is the file's name, whether it is there or not.
func (r *Rejects) Path() string { return r.path }

// add makes rejects durable.
func (r *Rejects) add(rejects []Reject) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the rejects (--rejects names another file): %w", err)
		}
	}()
	if r.file == nil {
		if r.file, err = os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	var lines []byte
	for i := range rejects {
		rejects[i].At = r.now().UTC()
		line, err := json.Marshal(&rejects[i])
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	if _, err := r.file.Write(lines); err != nil {
		return err
	}
	return r.file.Sync()
}

// Close closes the file.
func (r *Rejects) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

func newReject(place Place, raw []byte, stage string, err error) Reject {
	reason, _ := chunk.ReasonOf(err)
	reject := Reject{Place: place.String(), Stage: stage, Reason: reason, Error: err.Error()}
	if json.Valid(raw) {
		reject.Row = raw
	} else {
		reject.Bytes = raw
	}
	return reject
}
