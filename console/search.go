package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Found is the answer to a search.
type Found struct {
	// Model is that of the query.
	Model string `json:"model"`
	Hits  []Hit  `json:"hits"`
}

// Hit is a chunk and where it comes from.
type Hit struct {
	Score      float64        `json:"score"`
	ID         string         `json:"id"`
	Source     string         `json:"source"`
	DocumentID string         `json:"document_id"`
	ChunkID    string         `json:"chunk_id"`
	Position   int64          `json:"position"`
	Text       string         `json:"text"`
	Metadata   map[string]any `json:"metadata,omitempty"`
	Version    int64          `json:"version"`
	Model      string         `json:"model_version"`
	Topic      string         `json:"topic"`
	Partition  int32          `json:"partition"`
	Offset     int64          `json:"offset"`
	EventTime  time.Time      `json:"event_ts"`
	IndexedAt  time.Time      `json:"indexed_at"`
	Tokens     int            `json:"tokens"`
	Truncated  bool           `json:"truncated"`
}

const (
	// maxSearches is how many run at once; the encoder has work of its own.
	maxSearches   = 2
	searchTimeout = 15 * time.Second
	queryBytes    = 16 << 10
	queryRunes    = 2000
	mostHits      = 50
)

func (c *Console) searches() bool { return c.o.Config.Search && c.o.Search != nil }

// serveSearch answers {"text": …, "limit": …} with a [Found].
func (c *Console) serveSearch(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		http.Error(w, "want application/json", http.StatusUnsupportedMediaType)
		return
	}
	query := struct {
		Text  string `json:"text"`
		Limit int    `json:"limit"`
	}{Limit: 5}
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, queryBytes))
	body.DisallowUnknownFields()
	if err := body.Decode(&query); err != nil || !errors.Is(second(body), io.EOF) {
		http.Error(w, `want {"text": "…", "limit": 5}, of at most 16 KiB`, http.StatusBadRequest)
		return
	}
	query.Text = strings.TrimSpace(query.Text)
	switch {
	case query.Text == "" || utf8.RuneCountInString(query.Text) > queryRunes:
		http.Error(w, "text: want 1 to 2000 characters", http.StatusBadRequest)
		return
	case query.Limit < 1 || query.Limit > mostHits:
		http.Error(w, "limit: want 1 to 50", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), searchTimeout)
	defer cancel()
	select {
	case c.searching <- struct{}{}:
		defer func() { <-c.searching }()
	case <-ctx.Done():
		http.Error(w, "other searches are under way; try again", http.StatusServiceUnavailable)
		return
	}
	found, err := c.o.Search(ctx, query.Text, query.Limit)
	if err != nil {
		// A person is looking; the reason helps, and holds neither text nor secret.
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if found.Hits == nil {
		found.Hits = []Hit{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(found)
}

func second(d *json.Decoder) error {
	_, err := d.Token()
	return err
}
