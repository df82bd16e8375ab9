package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// OpenExisting opens the collection that cfg.Collection names, for whoever
// reads or mends it: it must be there, and of the model; the alias does not
// matter.
func OpenExisting(ctx context.Context, cfg Config, model Model, logger *slog.Logger, reg prometheus.Registerer) (*Sink, error) {
	cfg.Create = false
	s, err := newSink(cfg, model, logger, reg)
	if err != nil {
		return nil, err
	}
	if err := s.ensureCollection(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("index %s: %w", cfg.Index, err), s.Close())
	}
	return s, nil
}
