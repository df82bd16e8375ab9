package qdrantd

import (
	"math"

	pb "github.com/qdrant/go-client/qdrant"
)

// metric compares vectors. Inside, a higher score is always better; score is
// what the client sees.
type metric struct {
	compare func(a, b []float32) float32
	// normalize vectors when they are written and queried.
	normalize bool
	// distance says that lower is better for the client.
	distance bool
	score    func(float32) float32
}

func readDistance(d pb.Distance) (metric, error) {
	same := func(s float32) float32 { return s }
	switch d {
	case pb.Distance_Cosine:
		return metric{compare: dot, normalize: true, score: same}, nil
	case pb.Distance_Dot:
		return metric{compare: dot, score: same}, nil
	case pb.Distance_Euclid:
		return metric{compare: euclid, distance: true, score: func(s float32) float32 {
			return float32(math.Sqrt(math.Abs(float64(s))))
		}}, nil
	case pb.Distance_Manhattan:
		return metric{compare: manhattan, distance: true, score: func(s float32) float32 {
			return float32(math.Abs(float64(s)))
		}}, nil
	case pb.Distance_UnknownDistance:
		return metric{}, invalid("Malformed distance parameter: UnknownDistance")
	default:
		return metric{}, invalid("Malformed distance parameter, unexpected value: %d", int32(d))
	}
}

// prepare changes v in place and returns it. A vector that is a unit already,
// or zero, stays as it is, so that preparing twice is preparing once.
func (m metric) prepare(v []float32) []float32 {
	const epsilon = 1.1920929e-7 // of float32
	if !m.normalize {
		return v
	}
	squared := dot(v, v)
	if squared < epsilon || float32(math.Abs(float64(squared-1))) <= 1e-6 {
		return v
	}
	length := float32(math.Sqrt(float64(squared)))
	for i := range v {
		v[i] /= length
	}
	return v
}

// passes compares a client's score with the threshold. Equal is not enough.
func (m metric) passes(score, threshold float32) bool {
	if m.distance {
		return score < threshold
	}
	return score > threshold
}

// Four sums at once let the processor work on four products at once.

func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func euclid(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1 float32
	i := 0
	for ; i+2 <= len(a); i += 2 {
		d0, d1 := a[i]-b[i], a[i+1]-b[i+1]
		s0 += d0 * d0
		s1 += d1 * d1
	}
	if i < len(a) {
		d := a[i] - b[i]
		s0 += d * d
	}
	return -(s0 + s1)
}

func manhattan(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for i := range a {
		s += float32(math.Abs(float64(a[i] - b[i])))
	}
	return -s
}
