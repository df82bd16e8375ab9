package qdrantd

import (
	"maps"
	"slices"

	pb "github.com/qdrant/go-client/qdrant"
)

// givenVectors are the vectors of a request by name; the anonymous one has the
// empty name.
type givenVectors map[string][]float32

// readVectors reads the vectors of a point. The map may be empty: a point need
// not have any.
func readVectors(given *pb.Vectors) (givenVectors, error) {
	switch option := given.GetVectorsOptions().(type) {
	case *pb.Vectors_Vector:
		v, err := readVector(option.Vector)
		if err != nil {
			return nil, err
		}
		return givenVectors{"": v}, nil
	case *pb.Vectors_Vectors:
		vectors := make(givenVectors, len(option.Vectors.GetVectors()))
		for name, vector := range option.Vectors.GetVectors() {
			v, err := readVector(vector)
			if err != nil {
				return nil, err
			}
			vectors[name] = v
		}
		return vectors, nil
	default:
		return nil, invalid("No Vector Provided")
	}
}

func readVector(given *pb.Vector) ([]float32, error) {
	switch v := given.GetVector().(type) {
	case *pb.Vector_Dense:
		return nonEmpty(v.Dense.GetData())
	case *pb.Vector_Sparse:
		return nil, unimplemented("sparse vectors")
	case *pb.Vector_MultiDense:
		return nil, unimplemented("multi-vectors")
	case nil:
	default:
		return nil, unimplemented("inference")
	}
	//nolint:staticcheck // Old clients send the deprecated flat form.
	indices, count, data := given.GetIndices(), given.GetVectorsCount(), given.GetData()
	if indices != nil {
		return nil, unimplemented("sparse vectors")
	}
	if count > 0 {
		return nil, unimplemented("multi-vectors")
	}
	return nonEmpty(data)
}

func nonEmpty(data []float32) ([]float32, error) {
	if len(data) == 0 {
		return nil, badInput("vector: dense vector must not be empty")
	}
	return data, nil
}

// checkSizes compares dimensions, as far as the names are known. The real
// server does it before it takes an upsert in, whether or not anybody waits.
func (g givenVectors) checkSizes(cfg *config) error {
	for _, name := range slices.Sorted(maps.Keys(g)) {
		i := cfg.vector(name)
		if i < 0 || cfg.vectors[i].size == len(g[name]) {
			continue
		}
		if name == "" {
			return wrongSize(cfg.vectors[i].size, len(g[name]))
		}
		return badInput("Vector dimension error: expected dim: %d, got %d for vector '%s'", cfg.vectors[i].size, len(g[name]), name)
	}
	return nil
}

func wrongSize(want, got int) error {
	return badInput("Vector dimension error: expected dim: %d, got %d", want, got)
}

// checkFit refuses names that the collection does not have, and other sizes.
func (g givenVectors) checkFit(cfg *config) error {
	for _, name := range slices.Sorted(maps.Keys(g)) {
		i := cfg.vector(name)
		if i < 0 {
			return noVector(name)
		}
		if cfg.vectors[i].size != len(g[name]) {
			return wrongSize(cfg.vectors[i].size, len(g[name]))
		}
	}
	return nil
}

// into stores the vectors at their positions, prepared for their metric. They
// are copied: the request belongs to the caller.
func (g givenVectors) into(cfg *config, vectors [][]float32) {
	for name, v := range g {
		i := cfg.vector(name)
		vectors[i] = cfg.vectors[i].metric.prepare(slices.Clone(v))
	}
}
