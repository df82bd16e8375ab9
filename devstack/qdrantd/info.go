package qdrantd

import (
	pb "github.com/qdrant/go-client/qdrant"
)

// info describes the collection. What this server has no use for (graph, log,
// optimizers) is told as requested, else with the real server's defaults.
func (c *collection) info() *pb.CollectionInfo {
	c.mu.RLock()
	defer c.mu.RUnlock()
	req := c.cfg.request
	return &pb.CollectionInfo{
		Status:          pb.CollectionStatus_Green,
		OptimizerStatus: &pb.OptimizerStatus{Ok: true},
		SegmentsCount:   1,
		PointsCount:     pb.PtrOf(uint64(len(c.points))),
		// Nothing is in a vector index; small collections of the real server
		// say the same.
		IndexedVectorsCount: pb.PtrOf(uint64(0)),
		PayloadSchema:       c.schema(),
		UpdateQueue:         &pb.UpdateQueueInfo{},
		Config: &pb.CollectionConfig{
			Params: &pb.CollectionParams{
				ShardNumber:            orDefault(req.ShardNumber, 1),
				OnDiskPayload:          orDefault(req.OnDiskPayload, true),
				VectorsConfig:          req.GetVectorsConfig(),
				ReplicationFactor:      pb.PtrOf(orDefault(req.ReplicationFactor, 1)),
				WriteConsistencyFactor: pb.PtrOf(orDefault(req.WriteConsistencyFactor, 1)),
				ShardingMethod:         req.ShardingMethod,
				SparseVectorsConfig:    req.GetSparseVectorsConfig(),
			},
			HnswConfig:         hnswConfig(req.GetHnswConfig()),
			OptimizerConfig:    optimizersConfig(req.GetOptimizersConfig()),
			WalConfig:          walConfig(req.GetWalConfig()),
			QuantizationConfig: req.GetQuantizationConfig(),
			StrictModeConfig:   req.GetStrictModeConfig(),
			Metadata:           protoPayload(c.cfg.metadata),
		},
	}
}

// schema tells the payload indexes, each with the number of points that it
// would hold.
func (c *collection) schema() map[string]*pb.PayloadSchemaInfo {
	schema := make(map[string]*pb.PayloadSchemaInfo, len(c.indexes))
	for path, index := range c.indexes {
		parsed, err := parsePath(path)
		if err != nil {
			continue // CreateFieldIndex parsed it
		}
		var n uint64
		for _, p := range c.points {
			if indexable(index.GetDataType(), parsed.values(p.payload)) {
				n++
			}
		}
		schema[path] = &pb.PayloadSchemaInfo{DataType: index.GetDataType(), Params: index.GetParams(), Points: &n}
	}
	return schema
}

func orDefault[T any](given *T, otherwise T) T {
	if given != nil {
		return *given
	}
	return otherwise
}

func hnswConfig(given *pb.HnswConfigDiff) *pb.HnswConfigDiff {
	if given == nil {
		given = &pb.HnswConfigDiff{}
	}
	return &pb.HnswConfigDiff{
		M:                  pb.PtrOf(orDefault(given.M, 16)),
		EfConstruct:        pb.PtrOf(orDefault(given.EfConstruct, 100)),
		FullScanThreshold:  pb.PtrOf(orDefault(given.FullScanThreshold, 10_000)),
		MaxIndexingThreads: pb.PtrOf(orDefault(given.MaxIndexingThreads, 0)),
		OnDisk:             pb.PtrOf(orDefault(given.OnDisk, false)),
		PayloadM:           given.PayloadM,
		InlineStorage:      given.InlineStorage,
	}
}

func optimizersConfig(given *pb.OptimizersConfigDiff) *pb.OptimizersConfigDiff {
	if given == nil {
		given = &pb.OptimizersConfigDiff{}
	}
	threads := given.MaxOptimizationThreads
	if threads == nil {
		threads = pb.NewMaxOptimizationThreadsSetting(pb.MaxOptimizationThreads_Auto)
	}
	return &pb.OptimizersConfigDiff{
		DeletedThreshold:       pb.PtrOf(orDefault(given.DeletedThreshold, 0.2)),
		VacuumMinVectorNumber:  pb.PtrOf(orDefault(given.VacuumMinVectorNumber, 1000)),
		DefaultSegmentNumber:   pb.PtrOf(orDefault(given.DefaultSegmentNumber, 0)),
		MaxSegmentSize:         given.MaxSegmentSize,
		MemmapThreshold:        given.MemmapThreshold,
		IndexingThreshold:      pb.PtrOf(orDefault(given.IndexingThreshold, 10_000)),
		FlushIntervalSec:       pb.PtrOf(orDefault(given.FlushIntervalSec, 5)),
		MaxOptimizationThreads: threads,
		PreventUnoptimized:     given.PreventUnoptimized,
	}
}

func walConfig(given *pb.WalConfigDiff) *pb.WalConfigDiff {
	if given == nil {
		given = &pb.WalConfigDiff{}
	}
	return &pb.WalConfigDiff{
		WalCapacityMb:    pb.PtrOf(orDefault(given.WalCapacityMb, 32)),
		WalSegmentsAhead: pb.PtrOf(orDefault(given.WalSegmentsAhead, 0)),
		WalRetainClosed:  pb.PtrOf(orDefault(given.WalRetainClosed, 1)),
	}
}
