package embedder

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// probeTexts are what a model is known by: short, of several scripts and kinds.
// Changing them makes every fingerprint another, so fingerprintForm changes too.
func probeTexts() []string {
	return []string{
		"chunktide", "How do I reset my password?", "The quick brown fox jumps over the lazy dog.", "Der Vertrag endet am 31. März.",
		"日本語の短い文です。", "SELECT id FROM chunks WHERE version > 3;", "مرحبا بالعالم", "🙂 done",
	}
}

// A fingerprint is, for each probe, the length of its vector and the vector's
// direction, projected onto some directions of random signs: that keeps
// distances (Johnson and Lindenstrauss; Achlioptas 2003, for signs) and is short
// enough for a setting.
const (
	fingerprintForm = "probe1:"
	sketchSize      = 16
	sketchScale     = 4096 // int16 holds ±8, and a value is about ±1
	sketchBytes     = 4 + 2*sketchSize
)

// sketch is what a fingerprint holds of one vector.
type sketch struct {
	length float32
	toward [sketchSize]int16
}

// imprint is how a model is known by its vectors, within a tolerance: a
// digest would not do, since other kernels differ in the last bits.
type imprint struct {
	dim    int
	probes []sketch
}

// String is the fingerprint of a model that gives these
// vectors for the probes; it is what [RemoteConfig.Probe] holds.
func (f imprint) String() string {
	raw := binary.BigEndian.AppendUint32(nil, uint32(f.dim))
	for _, p := range f.probes {
		raw = binary.BigEndian.AppendUint32(raw, math.Float32bits(p.length))
		for _, x := range p.toward {
			raw = binary.BigEndian.AppendUint16(raw, uint16(x))
		}
	}
	return fingerprintForm + base64.RawStdEncoding.EncodeToString(raw)
}

func parseImprint(text string) (f imprint, err error) {
	refused := errors.New("is no fingerprint: leave it empty, and the start says what to set")
	encoded, ok := strings.CutPrefix(text, fingerprintForm)
	raw, err := base64.RawStdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(raw) != 4+len(probeTexts())*sketchBytes {
		return f, refused
	}
	f.dim = int(binary.BigEndian.Uint32(raw))
	for raw = raw[4:]; len(raw) > 0; raw = raw[sketchBytes:] {
		p := sketch{length: math.Float32frombits(binary.BigEndian.Uint32(raw))}
		for i := range p.toward {
			p.toward[i] = int16(binary.BigEndian.Uint16(raw[4+2*i:]))
		}
		if !(p.length > 0) || math.IsInf(float64(p.length), 0) {
			return f, refused
		}
		f.probes = append(f.probes, p)
	}
	return f, nil
}

// sketchOf sums in float64 and in order, so that it depends on the vector
// alone. The vector must be finite and not zero.
func sketchOf(v []float32) sketch {
	square := 0.0
	for _, x := range v {
		square += float64(x) * float64(x)
	}
	length := math.Sqrt(square)
	s := sketch{length: float32(length)}
	var sums [sketchSize]float64
	for i, x := range v {
		signs := signsAt(i)
		for j := range sums {
			if signs>>j&1 == 1 {
				sums[j] += float64(x)
			} else {
				sums[j] -= float64(x)
			}
		}
	}
	for j, sum := range sums {
		s.toward[j] = int16(math.Round(min(max(sum/length*sketchScale, math.MinInt16), math.MaxInt16)))
	}
	return s
}

// signsAt are the signs of one value in all directions: bits of a hash of its
// place.
func signsAt(i int) uint32 {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(fingerprintForm), uint64(i)))
	return binary.BigEndian.Uint32(h[:])
}

// distance is how far a vector is from the one that was fingerprinted, as a
// part of its length; 2 is opposite.
func (s sketch) distance(other sketch) float64 {
	square := 0.0
	for i := range s.toward {
		d := (float64(s.toward[i]) - float64(other.toward[i])) / sketchScale
		square += d * d
	}
	return max(math.Sqrt(square/sketchSize), math.Abs(float64(other.length)/float64(s.length)-1))
}

// imprintOf is the imprint of a model by its vectors of the probes.
func imprintOf(vectors [][]float32) imprint {
	f := imprint{dim: len(vectors[0])}
	for _, v := range vectors {
		f.probes = append(f.probes, sketchOf(v))
	}
	return f
}

// same returns an error if other is another model's.
func (f imprint) same(other imprint, tolerance float64) error {
	if f.dim != other.dim {
		return fmt.Errorf("vectors have %d dimensions, and the pinned ones %d", other.dim, f.dim)
	}
	for i, p := range f.probes {
		if d := p.distance(other.probes[i]); !(d <= tolerance) {
			return fmt.Errorf("the vector of probe %d is off by %.3g of its length, and embedder.remote.probe_tolerance is %g", i, d, tolerance)
		}
	}
	return nil
}
