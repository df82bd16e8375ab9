package qdrantd

import (
	"context"
	"slices"
	"strings"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
)

type collectionsService struct {
	pb.UnimplementedCollectionsServer
	store *store
}

func seconds(since time.Time) float64 { return time.Since(since).Seconds() }

func done(result bool, since time.Time) *pb.CollectionOperationResponse {
	return &pb.CollectionOperationResponse{Result: result, Time: seconds(since)}
}

func (s *collectionsService) Create(_ context.Context, req *pb.CreateCollection) (*pb.CollectionOperationResponse, error) {
	begin := time.Now()
	cfg, err := readConfig(req)
	if err != nil {
		return nil, err
	}
	if err := s.store.create(req.GetCollectionName(), cfg); err != nil {
		return nil, err
	}
	return done(true, begin), nil
}

func readConfig(req *pb.CreateCollection) (config, error) {
	if err := firstError(
		checkNewName(req.GetCollectionName()),
		atLeastOne("shard_number", req.ShardNumber),
		atLeastOne("replication_factor", req.ReplicationFactor),
		atLeastOne("write_consistency_factor", req.WriteConsistencyFactor),
	); err != nil {
		return config{}, err
	}
	if len(req.GetSparseVectorsConfig().GetMap()) > 0 {
		return config{}, unimplemented("sparse vectors")
	}
	metadata, err := readPayload(req.GetMetadata())
	if err != nil {
		return config{}, err
	}
	vectors, err := readVectorConfigs(req.GetVectorsConfig())
	if err != nil {
		return config{}, err
	}
	return config{vectors: vectors, request: req, metadata: metadata}, nil
}

func readVectorConfigs(cfg *pb.VectorsConfig) ([]vectorConfig, error) {
	if params := cfg.GetParams(); params != nil {
		v, err := readVectorConfig("vectors_config.config.size", "", params)
		return []vectorConfig{v}, err
	}
	vectors := make([]vectorConfig, 0, len(cfg.GetParamsMap().GetMap()))
	for name, params := range cfg.GetParamsMap().GetMap() {
		if err := checkVectorName(name); err != nil {
			return nil, err
		}
		v, err := readVectorConfig("vectors_config.config.map.[].size", name, params)
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, v)
	}
	slices.SortFunc(vectors, func(a, b vectorConfig) int { return strings.Compare(a.name, b.name) })
	return vectors, nil
}

func readVectorConfig(field, name string, params *pb.VectorParams) (vectorConfig, error) {
	if err := checkVectorSize(field, params.GetSize()); err != nil {
		return vectorConfig{}, err
	}
	if params.GetMultivectorConfig() != nil {
		return vectorConfig{}, unimplemented("multi-vectors")
	}
	switch params.GetDatatype() {
	case pb.Datatype_Default, pb.Datatype_Float32:
	default:
		return vectorConfig{}, unimplemented("vectors of another datatype than float32")
	}
	m, err := readDistance(params.GetDistance())
	if err != nil {
		return vectorConfig{}, err
	}
	return vectorConfig{name: name, params: params, size: int(params.GetSize()), metric: m}, nil
}

func (s *collectionsService) Get(_ context.Context, req *pb.GetCollectionInfoRequest) (*pb.GetCollectionInfoResponse, error) {
	begin := time.Now()
	if err := checkName(req.GetCollectionName()); err != nil {
		return nil, err
	}
	c, err := s.store.resolve(req.GetCollectionName())
	if err != nil {
		return nil, err
	}
	return &pb.GetCollectionInfoResponse{Result: c.info(), Time: seconds(begin)}, nil
}

func (s *collectionsService) List(context.Context, *pb.ListCollectionsRequest) (*pb.ListCollectionsResponse, error) {
	begin := time.Now()
	names := s.store.names()
	list := make([]*pb.CollectionDescription, len(names))
	for i, name := range names {
		list[i] = &pb.CollectionDescription{Name: name}
	}
	return &pb.ListCollectionsResponse{Collections: list, Time: seconds(begin)}, nil
}

func (s *collectionsService) CollectionExists(_ context.Context, req *pb.CollectionExistsRequest) (*pb.CollectionExistsResponse, error) {
	begin := time.Now()
	if err := checkName(req.GetCollectionName()); err != nil {
		return nil, err
	}
	_, err := s.store.resolve(req.GetCollectionName())
	return &pb.CollectionExistsResponse{Result: &pb.CollectionExists{Exists: err == nil}, Time: seconds(begin)}, nil
}

// Update merges the metadata. The other settings tune what this server does
// not have.
func (s *collectionsService) Update(_ context.Context, req *pb.UpdateCollection) (*pb.CollectionOperationResponse, error) {
	begin := time.Now()
	if err := firstError(checkName(req.GetCollectionName()), atLeastOne("timeout", req.Timeout)); err != nil {
		return nil, err
	}
	metadata, err := readPayload(req.GetMetadata())
	if err != nil {
		return nil, err
	}
	c, err := s.store.resolve(req.GetCollectionName())
	if err != nil {
		return nil, err
	}
	if err := c.updateMetadata(metadata); err != nil {
		return nil, err
	}
	return done(true, begin), nil
}

// updateMetadata merges at the top level: a null removes its key, another
// value replaces it. The first metadata of a collection is taken as it comes,
// nulls included.
func (c *collection) updateMetadata(metadata map[string]any) error {
	if len(metadata) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.metadata == nil {
		c.cfg.metadata = metadata
	} else {
		c.cfg.metadata = merged(c.cfg.metadata, metadata)
	}
	return nil
}

// Delete says in its result whether there was such a collection; it is no
// error if there was none.
func (s *collectionsService) Delete(_ context.Context, req *pb.DeleteCollection) (*pb.CollectionOperationResponse, error) {
	begin := time.Now()
	if err := firstError(checkName(req.GetCollectionName()), atLeastOne("timeout", req.Timeout)); err != nil {
		return nil, err
	}
	return done(s.store.drop(req.GetCollectionName()), begin), nil
}
