package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"chunktide/chunk"
)

// The layout of a value; see the package comment.
const (
	magic         = "CT"
	format        = 1
	headerSize    = 12
	crcSize       = 4
	flagTruncated = 0x80
)

// dtype is how a component is stored.
type dtype byte

const (
	fp32 dtype = 1
	fp16 dtype = 2
)

func parseDType(s string) (dtype, error) {
	switch s {
	case "fp32":
		return fp32, nil
	case "fp16":
		return fp16, nil
	default:
		return 0, fmt.Errorf("dtype: %q is not fp32 or fp16", s)
	}
}

func (t dtype) size() int {
	if t == fp16 {
		return 2
	}
	return 4
}

// codec turns embeddings of one model into bytes and back. Its values all
// have one length.
type codec struct {
	dtype dtype
	dim   int
	// seed is the CRC state after the model's digest.
	seed uint32
	crc  *crc32.Table
}

func newCodec(t dtype, dim int, digest [32]byte) codec {
	table := crc32.MakeTable(crc32.Castagnoli)
	return codec{dtype: t, dim: dim, seed: crc32.Update(0, table, digest[:]), crc: table}
}

func (c codec) valueSize() int { return headerSize + c.dim*c.dtype.size() + crcSize }

// checksum covers the names under which a value is kept, too: a good value
// under a wrong key, or a reply that belongs to another request, is no hit.
func (c codec) checksum(hash chunk.Hash, body []byte) uint32 {
	return crc32.Update(crc32.Update(c.seed, c.crc, hash[:]), c.crc, body)
}

var (
	errNotFinite = errors.New("a component is NaN or infinite")
	errZeroNorm  = errors.New("the vector is zero")
)

// encode refuses what a Get should never return: a vector of another
// dimension, one that is not finite in the stored type, or zero in it.
func (c codec) encode(hash chunk.Hash, e chunk.Embedding) ([]byte, error) {
	if len(e.Vector) != c.dim {
		return nil, fmt.Errorf("the vector has %d components; the model has %d", len(e.Vector), c.dim)
	}
	if e.Tokens < 0 || int64(e.Tokens) > math.MaxUint32 {
		return nil, fmt.Errorf("%d is not a number of tokens", e.Tokens)
	}
	b := make([]byte, c.valueSize())
	copy(b, magic)
	b[2], b[3] = format, byte(c.dtype)
	if e.Truncated {
		b[3] |= flagTruncated
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(c.dim))
	binary.LittleEndian.PutUint32(b[8:], uint32(e.Tokens))
	vector := b[headerSize : len(b)-crcSize]
	if c.dtype == fp16 {
		for i, x := range e.Vector {
			binary.LittleEndian.PutUint16(vector[2*i:], float16(x))
		}
	} else {
		for i, x := range e.Vector {
			binary.LittleEndian.PutUint32(vector[4*i:], math.Float32bits(x))
		}
	}
	// What the type makes of it is what counts: fp16 has no 1e5 and no 1e-9.
	if _, err := c.components(vector); err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(b[len(b)-crcSize:], c.checksum(hash, b[:len(b)-crcSize]))
	return b, nil
}

// decode accepts exactly what encode writes for this model and hash. The
// vector it returns is a new one.
func (c codec) decode(hash chunk.Hash, b []byte) (chunk.Embedding, error) {
	switch {
	case len(b) != c.valueSize():
		return chunk.Embedding{}, fmt.Errorf("%d bytes long, not %d", len(b), c.valueSize())
	case string(b[:2]) != magic:
		return chunk.Embedding{}, errors.New("not one of our values")
	case b[2] != format:
		return chunk.Embedding{}, fmt.Errorf("format %d, not %d", b[2], format)
	case b[3]&^flagTruncated != byte(c.dtype):
		return chunk.Embedding{}, fmt.Errorf("type %d, not %d", b[3]&^flagTruncated, c.dtype)
	case int64(binary.LittleEndian.Uint32(b[4:])) != int64(c.dim):
		return chunk.Embedding{}, fmt.Errorf("dimension %d, not %d", binary.LittleEndian.Uint32(b[4:]), c.dim)
	case binary.LittleEndian.Uint32(b[len(b)-crcSize:]) != c.checksum(hash, b[:len(b)-crcSize]):
		return chunk.Embedding{}, errors.New("checksum differs")
	}
	vector, err := c.components(b[headerSize : len(b)-crcSize])
	if err != nil {
		return chunk.Embedding{}, err
	}
	return chunk.Embedding{
		Vector:    vector,
		Tokens:    int(binary.LittleEndian.Uint32(b[8:])),
		Truncated: b[3]&flagTruncated != 0,
	}, nil
}

// components reads a vector and checks that it can be compared.
func (c codec) components(b []byte) ([]float32, error) {
	vector := make([]float32, c.dim)
	var norm float64
	for i := range vector {
		var x float32
		if c.dtype == fp16 {
			x = float32from16(binary.LittleEndian.Uint16(b[2*i:]))
		} else {
			x = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		vector[i] = x
		norm += float64(x) * float64(x)
	}
	// The square of the least float32 is far above the least float64, and a
	// sum over 2^32 of the greatest far below infinity: only a component that
	// is not finite makes the sum so, and only zeros make it zero.
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return nil, errNotFinite
	}
	if norm == 0 {
		return nil, errZeroNorm
	}
	return vector, nil
}
