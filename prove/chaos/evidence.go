package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"chunktide/prove/history"
)

// keepEvidence writes what a finding has to be explained by beside the logs:
// the index as it was read, and what was published where.
func (r *run) keepEvidence(points []history.Stored) error {
	places := r.published.places()
	return errors.Join(
		writeLines(filepath.Join(r.dir, "index.jsonl"), len(points), func(i int) any {
			p := points[i]
			p.Vector = nil
			return p
		}),
		writeLines(filepath.Join(r.dir, "records.jsonl"), len(r.history.Records), func(i int) any {
			h := r.history.Records[i]
			return struct {
				Place      string
				Key, Value string
				Kind       history.Kind
			}{places[i], string(h.Key), string(h.Value), h.Kind}
		}),
	)
}

// places is where each record lies, as partition@offset.
func (p *published) places() map[int]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	places := make(map[int]string, len(p.records))
	for at, i := range p.records {
		places[i] = fmt.Sprintf("%d@%d", at.partition, at.offset)
	}
	return places
}

func writeLines(path string, n int, line func(i int) any) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	out := bufio.NewWriter(f)
	encoder := json.NewEncoder(out)
	var errs []error
	for i := range n {
		errs = append(errs, encoder.Encode(line(i)))
	}
	if err := errors.Join(append(errs, out.Flush(), f.Close())...); err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	return nil
}
