package qdrantd

import (
	"slices"

	pb "github.com/qdrant/go-client/qdrant"
)

// payloadSelector says which part of a payload goes into an answer.
type payloadSelector struct {
	enabled          bool
	include, exclude []path
}

func readPayloadSelector(given *pb.WithPayloadSelector, otherwise bool) (payloadSelector, error) {
	if given == nil {
		return payloadSelector{enabled: otherwise}, nil
	}
	switch option := given.GetSelectorOptions().(type) {
	case *pb.WithPayloadSelector_Enable:
		return payloadSelector{enabled: option.Enable}, nil
	case *pb.WithPayloadSelector_Include:
		paths, err := readPaths(option.Include.GetFields())
		if paths == nil {
			paths = []path{} // includes nothing
		}
		return payloadSelector{enabled: true, include: paths}, err
	case *pb.WithPayloadSelector_Exclude:
		paths, err := readPaths(option.Exclude.GetFields())
		return payloadSelector{enabled: true, exclude: paths}, err
	default:
		return payloadSelector{}, invalid("No PayloadSelector")
	}
}

func readPaths(given []string) ([]path, error) {
	var paths []path
	for _, s := range given {
		p, err := parsePath(s)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}

func (s payloadSelector) of(p *point) map[string]*pb.Value {
	switch {
	case !s.enabled:
		return nil
	case s.include == nil && s.exclude == nil:
		return protoPayload(p.payload)
	}
	kept, _ := s.prune(nil, p.payload).(map[string]any)
	return protoPayload(kept)
}

// prune keeps what is selected of the value at a path.
func (s payloadSelector) prune(at []step, value any) any {
	switch v := value.(type) {
	case map[string]any:
		kept := make(map[string]any, len(v))
		for name, inner := range v {
			here := below(at, step{kind: key, key: name})
			if s.keeps(here) {
				kept[name] = s.prune(here, inner)
			}
		}
		return kept
	case []any:
		here := below(at, step{kind: everyElement})
		kept := []any{}
		for _, inner := range v {
			if s.keeps(here) {
				kept = append(kept, s.prune(here, inner))
			}
		}
		return kept
	default:
		return value
	}
}

// below is a copy of the path with one more step.
func below(at []step, next step) []step { return append(slices.Clone(at), next) }

// keeps says whether to go on at a path: for an included one, above it or below
// it; for an excluded one, everywhere but below it.
func (s payloadSelector) keeps(at []step) bool {
	if s.include != nil {
		return slices.ContainsFunc(s.include, func(p path) bool {
			n := min(len(p.steps), len(at))
			return slices.Equal(p.steps[:n], at[:n])
		})
	}
	return !slices.ContainsFunc(s.exclude, func(p path) bool {
		return len(p.steps) <= len(at) && slices.Equal(p.steps, at[:len(p.steps)])
	})
}

// vectorSelector says which vectors go into an answer.
type vectorSelector struct {
	enabled bool
	all     bool
	names   []string
}

func readVectorSelector(given *pb.WithVectorsSelector) vectorSelector {
	switch option := given.GetSelectorOptions().(type) {
	case *pb.WithVectorsSelector_Enable:
		return vectorSelector{enabled: option.Enable, all: true}
	case *pb.WithVectorsSelector_Include:
		return vectorSelector{enabled: true, names: option.Include.GetNames()}
	default:
		return vectorSelector{}
	}
}

// check refuses a name that the collection does not have.
func (s vectorSelector) check(cfg *config) error {
	for _, name := range s.names {
		if cfg.vector(name) < 0 {
			return noVector(name)
		}
	}
	return nil
}

// of returns nil when no vectors were asked for, and an empty map for a point
// that has none of them.
func (s vectorSelector) of(cfg *config, p *point) *pb.VectorsOutput {
	if !s.enabled {
		return nil
	}
	named := map[string]*pb.VectorOutput{}
	for i, v := range cfg.vectors {
		if p.vectors[i] != nil && (s.all || slices.Contains(s.names, v.name)) {
			named[v.name] = &pb.VectorOutput{Vector: &pb.VectorOutput_Dense{Dense: &pb.DenseVector{Data: p.vectors[i]}}}
		}
	}
	if anonymous, ok := named[""]; ok && len(named) == 1 {
		return &pb.VectorsOutput{VectorsOptions: &pb.VectorsOutput_Vector{Vector: anonymous}}
	}
	return &pb.VectorsOutput{VectorsOptions: &pb.VectorsOutput_Vectors{Vectors: &pb.NamedVectorsOutput{Vectors: named}}}
}
