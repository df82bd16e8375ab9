package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/qdrant/go-client/qdrant"
)

// reader is what searching and reading need.
type reader struct {
	*client
	model      Model
	collection string
}

// Reader searches an index.
type Reader struct{ reader }

// Sink writes to one collection. Reading through it reads that collection;
// searching follows the alias.
type Sink struct {
	reader

	// Tests take the safeties out, to see that they are needed.
	unfenced, unchecked bool
}

// Collection is the name of the collection that is written to.
func (c *reader) Collection() string { return c.collection }

// Open connects a worker: it makes the collection and the alias where they are
// absent, and refuses a collection of another model. It never moves the alias:
// when another model was promoted, a worker of the old one goes on with the
// collection that it has, so that a rollback finds it current. Many workers may
// open one index at once. It tries until ctx ends if Qdrant does not answer.
func Open(ctx context.Context, cfg Config, model Model, logger *slog.Logger, reg prometheus.Registerer) (*Sink, error) {
	s, err := newSink(cfg, model, logger, reg)
	if err != nil {
		return nil, err
	}
	if err := s.ensure(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("index %s: %w", cfg.Index, err), s.Close())
	}
	return s, nil
}

func newSink(cfg Config, model Model, logger *slog.Logger, reg prometheus.Registerer) (*Sink, error) {
	c, err := dial(cfg, logger, reg)
	if err != nil {
		return nil, err
	}
	collection := cfg.Collection
	if collection == "" {
		collection = model.collection(cfg.Index)
	}
	return &Sink{reader: reader{client: c, model: model, collection: collection}, unfenced: fenceOff}, nil
}

// OpenReader connects a searcher; it changes nothing, and refuses an index of
// another model.
func OpenReader(ctx context.Context, cfg Config, model Model, logger *slog.Logger, reg prometheus.Registerer) (*Reader, error) {
	c, err := dial(cfg, logger, reg)
	if err != nil {
		return nil, err
	}
	r := &Reader{reader{client: c, model: model}}
	if err := r.resolve(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("index %s: %w", cfg.Index, err), r.Close())
	}
	return r, nil
}

// ErrNoCollection means that the collection is not there yet.
var ErrNoCollection = errors.New("there is no such collection yet")

// OpenWritten connects to the collection that a worker with these settings
// would write to, to read it; it changes nothing. [ErrNoCollection] means that
// the worker would make it.
func OpenWritten(ctx context.Context, cfg Config, model Model, logger *slog.Logger, reg prometheus.Registerer) (*Reader, error) {
	s, err := newSink(cfg, model, logger, reg)
	if err != nil {
		return nil, err
	}
	if err := s.look(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("index %s: %w", cfg.Index, err), s.Close())
	}
	return &Reader{reader{client: s.client, model: model, collection: s.collection}}, nil
}

func (s *Sink) look(ctx context.Context) error {
	if _, err := s.choose(ctx); err != nil {
		return err
	}
	exists, err := s.exists(ctx, s.collection)
	if err != nil {
		return err
	}
	if !exists {
		return ErrNoCollection
	}
	info, err := s.info(ctx, s.collection)
	if err != nil {
		return err
	}
	return s.model.verify(s.collection, info)
}

// resolve finds the collection behind the alias and checks its model.
func (c *reader) resolve(ctx context.Context) error {
	target, err := c.alias(ctx)
	if err != nil {
		return err
	}
	if target == "" {
		return errors.New("there is no such alias: start a worker (chunktide run) to make it, or check qdrant.index")
	}
	c.collection = target
	info, err := c.info(ctx, target)
	if err != nil {
		return err
	}
	if err := c.model.verify(target, info); err != nil {
		return err
	}
	if newest := queried(info.GetConfig().GetMetadata()); newest.Digest != c.model.Digest {
		return fmt.Errorf("collection %s is written to by %s by now, and queries of %s may not find its vectors: encode queries with %s", target, newest.Version, c.model.Version, newest.Version)
	}
	return nil
}

// ensure chooses the collection, makes what is absent and verifies what is
// there.
func (s *Sink) ensure(ctx context.Context) error {
	target, err := s.choose(ctx)
	if err != nil {
		return err
	}
	if err := s.ensureCollection(ctx); err != nil {
		return err
	}
	if s.cfg.Group != "" {
		if err := s.note(ctx, s.collection, map[string]any{noteGroup + s.cfg.Group: true}); err != nil {
			return fmt.Errorf("note the group in the metadata of collection %s: %w", s.collection, err)
		}
	}
	if target == "" {
		return s.createAlias(ctx)
	}
	return nil
}

func (s *Sink) ensureCollection(ctx context.Context) error {
	exists, err := s.exists(ctx, s.collection)
	if err != nil {
		return err
	}
	if !exists {
		if err := s.create(ctx); err != nil {
			return err
		}
	}
	info, err := s.info(ctx, s.collection)
	if err != nil {
		return err
	}
	if err := s.model.verify(s.collection, info); err != nil {
		return err
	}
	return s.indexPayload(ctx, info)
}

func (c *client) exists(ctx context.Context, collection string) (yes bool, err error) {
	err = c.do(ctx, opEnsure, func(ctx context.Context) error {
		answer, err := c.collect.CollectionExists(ctx, &qdrant.CollectionExistsRequest{CollectionName: collection})
		yes = answer.GetResult().GetExists()
		return err
	})
	return yes, err
}

func (c *client) info(ctx context.Context, collection string) (info *qdrant.CollectionInfo, err error) {
	err = c.do(ctx, opEnsure, func(ctx context.Context) error {
		answer, err := c.collect.Get(ctx, &qdrant.GetCollectionInfoRequest{CollectionName: collection})
		info = answer.GetResult()
		return err
	})
	return info, err
}

// alias returns the collection that the index points to, or "".
func (c *client) alias(ctx context.Context) (collection string, err error) {
	return c.target(ctx, c.cfg.Index)
}

func (s *Sink) create(ctx context.Context) error {
	if !s.cfg.Create {
		return fmt.Errorf("collection %s does not exist: make it, or set qdrant.create", s.collection)
	}
	metadata := s.model.pin()
	metadata[noteIndex] = qdrant.NewValueString(s.cfg.Index)
	err := s.do(ctx, opEnsure, func(ctx context.Context) error {
		_, err := s.collect.Create(ctx, &qdrant.CreateCollection{
			CollectionName: s.collection,
			VectorsConfig: qdrant.NewVectorsConfigMap(map[string]*qdrant.VectorParams{vectorName: {
				Size: uint64(s.model.Dim), Distance: qdrant.Distance_Cosine, OnDisk: &s.cfg.OnDisk,
			}}),
			ShardNumber: &s.cfg.Shards, ReplicationFactor: &s.cfg.ReplicationFactor, Metadata: metadata,
		})
		return err
	})
	if err == nil {
		s.logger.Info("collection created", "collection", s.collection, "model_version", s.model.Version)
		return nil
	}
	// Another worker was first, which is as good; what it made is verified.
	if exists, lookErr := s.exists(ctx, s.collection); lookErr == nil && exists {
		return nil
	}
	return fmt.Errorf("create collection %s: %w", s.collection, err)
}

// payloadIndexes are what the fence and the deletes of documents ask for.
func payloadIndexes() map[string]qdrant.FieldType {
	return map[string]qdrant.FieldType{
		pathVersion: qdrant.FieldType_FieldTypeInteger, pathTombstone: qdrant.FieldType_FieldTypeBool,
		keyDocument: qdrant.FieldType_FieldTypeKeyword, keySource: qdrant.FieldType_FieldTypeKeyword,
	}
}

func (s *Sink) indexPayload(ctx context.Context, info *qdrant.CollectionInfo) error {
	for field, kind := range payloadIndexes() {
		if _, ok := info.GetPayloadSchema()[field]; ok {
			continue
		}
		err := s.do(ctx, opEnsure, func(ctx context.Context) error {
			_, err := s.points.CreateFieldIndex(ctx, &qdrant.CreateFieldIndexCollection{
				CollectionName: s.collection, FieldName: field, FieldType: &kind, Wait: qdrant.PtrOf(true),
			})
			return err
		})
		if err != nil {
			return fmt.Errorf("index payload field %s: %w", field, err)
		}
	}
	return nil
}

func (s *Sink) createAlias(ctx context.Context) error {
	if !s.cfg.Create {
		return fmt.Errorf("alias %s does not exist: make it, or set qdrant.create", s.cfg.Index)
	}
	err := s.changeAliases(ctx, qdrant.NewAliasCreate(s.cfg.Index, s.collection),
		qdrant.NewAliasCreate(guardOf(s.cfg.Index, s.collection), s.collection))
	if err != nil {
		return fmt.Errorf("create the alias to %s (is a collection called %s?): %w", s.collection, s.cfg.Index, err)
	}
	return nil
}

// Pin returns the model that the collection's metadata names.
func (c *reader) Pin(ctx context.Context) (Model, error) {
	info, err := c.info(ctx, c.collection)
	if err != nil {
		return Model{}, err
	}
	m, _, ok := unpin(info.GetConfig().GetMetadata())
	if !ok {
		return Model{}, fmt.Errorf("collection %s names no model in its metadata", c.collection)
	}
	return m, nil
}

// Check tells, changing nothing, whether a worker with these settings would
// start, and what it would meet.
func Check(ctx context.Context, cfg Config, model Model, logger *slog.Logger) (detail string, err error) {
	s, err := newSink(cfg, model, logger, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	health, err := s.conn.HealthCheck(ctx)
	if err != nil {
		return "", fmt.Errorf("no answer from Qdrant at %s: %w; check qdrant.address (the gRPC port), qdrant.tls and qdrant.api_key", cfg.Address, err)
	}
	detail = fmt.Sprintf("Qdrant %s at %s", health.GetVersion(), cfg.Address)
	if _, err := s.choose(ctx); err != nil {
		return "", err
	}
	target := s.collection
	exists, err := s.exists(ctx, target)
	switch {
	case err != nil:
		return "", err
	case !exists && cfg.Create:
		return detail + fmt.Sprintf("; collection %s will be made", target), nil
	case !exists:
		return "", fmt.Errorf("collection %s does not exist: make it, or set qdrant.create", target)
	}
	info, err := s.info(ctx, target)
	if err != nil {
		return "", err
	}
	if err := model.verify(target, info); err != nil {
		return "", err
	}
	return detail + fmt.Sprintf("; collection %s holds %d points of %s", target, info.GetPointsCount(), model.Version), nil
}
