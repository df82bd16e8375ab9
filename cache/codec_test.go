package cache

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"chunktide/chunk"
)

var testDigest = [32]byte{0xab, 0xcd, 31: 1}

// unitVector is a random vector of norm 1; the same seed gives the same.
func unitVector(seed uint64, dim int) []float32 {
	r := rand.New(rand.NewPCG(seed, 7))
	v := make([]float64, dim)
	var norm float64
	for i := range v {
		v[i] = r.NormFloat64()
		norm += v[i] * v[i]
	}
	out := make([]float32, dim)
	for i := range v {
		out[i] = float32(v[i] / math.Sqrt(norm))
	}
	return out
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

func same(a, b chunk.Embedding) bool {
	return sameBits(a.Vector, b.Vector) && a.Tokens == b.Tokens && a.Truncated == b.Truncated
}

func TestCodecKeepsBits(t *testing.T) {
	hash := chunk.HashText("a text")
	e := chunk.Embedding{Vector: unitVector(1, 384), Tokens: 123, Truncated: true}
	e.Vector[0] = float32(math.Copysign(0, -1))
	for _, d := range []dtype{fp32, fp16} {
		c := newCodec(d, 384, testDigest)
		b, err := c.encode(hash, e)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != c.valueSize() {
			t.Errorf("type %d: %d bytes, want %d", d, len(b), c.valueSize())
		}
		got, err := c.decode(hash, b)
		if err != nil {
			t.Fatal(err)
		}
		if d == fp32 && !same(got, e) {
			t.Error("fp32 changed the embedding")
		}
		for i := range got.Vector {
			if diff := math.Abs(float64(got.Vector[i] - e.Vector[i])); diff > math.Abs(float64(e.Vector[i]))/1024 {
				t.Fatalf("component %d: %v became %v", i, e.Vector[i], got.Vector[i])
			}
		}
		if again, err := c.encode(hash, got); err != nil || !bytes.Equal(again, b) {
			t.Errorf("type %d: what was decoded encodes differently (%v)", d, err)
		}
	}
}

func TestCodecRefusesWhatIsNoVector(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, tc := range []struct {
		name   string
		dtype  dtype
		e      chunk.Embedding
		refuse bool
	}{
		{"good", fp32, chunk.Embedding{Vector: []float32{1, 0}}, false},
		{"least fp32", fp32, chunk.Embedding{Vector: []float32{math.SmallestNonzeroFloat32, 0}}, false},
		{"greatest fp32", fp32, chunk.Embedding{Vector: []float32{math.MaxFloat32, -math.MaxFloat32}}, false},
		{"short", fp32, chunk.Embedding{Vector: []float32{1}}, true},
		{"long", fp32, chunk.Embedding{Vector: []float32{1, 0, 0}}, true},
		{"none", fp32, chunk.Embedding{}, true},
		{"NaN", fp32, chunk.Embedding{Vector: []float32{1, nan}}, true},
		{"infinite", fp32, chunk.Embedding{Vector: []float32{-inf, 1}}, true},
		{"both infinities", fp32, chunk.Embedding{Vector: []float32{-inf, inf}}, true},
		{"zero", fp32, chunk.Embedding{Vector: []float32{0, 0}}, true},
		{"negative tokens", fp32, chunk.Embedding{Vector: []float32{1, 0}, Tokens: -1}, true},
		{"greatest fp16", fp16, chunk.Embedding{Vector: []float32{65519.99, 0}}, false},
		{"over fp16", fp16, chunk.Embedding{Vector: []float32{65520, 0}}, true},
		{"under fp16", fp16, chunk.Embedding{Vector: []float32{1e-9, 0}}, true},
		{"NaN fp16", fp16, chunk.Embedding{Vector: []float32{1, nan}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := newCodec(tc.dtype, 2, testDigest).encode(chunk.Hash{}, tc.e)
			if (err != nil) != tc.refuse {
				t.Errorf("refused %v: %v", tc.refuse, err)
			}
		})
	}
}

// corruptions are all the ways in which a value can be wrong, each with the
// hash under which it is found.
func corruptions(t testing.TB, c codec, hash chunk.Hash, e chunk.Embedding) map[string][]byte {
	t.Helper()
	good, err := c.encode(hash, e)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string][]byte{"empty": {}, "zeros": make([]byte, len(good)), "a word": []byte("hello")}
	for i := range good {
		for bit := range 8 {
			b := slices.Clone(good)
			b[i] ^= 1 << bit
			bad[fmt.Sprintf("bit %d of byte %d", bit, i)] = b
		}
	}
	for n := range good {
		bad[fmt.Sprintf("first %d bytes", n)] = good[:n]
	}
	bad["a byte too long"] = append(slices.Clone(good), 0)
	bad["twice"] = append(slices.Clone(good), good...)
	foreign := func(name string, other codec, otherHash chunk.Hash, e chunk.Embedding) {
		b, err := other.encode(otherHash, e)
		if err != nil {
			t.Fatal(err)
		}
		bad[name] = b
	}
	otherModel := testDigest
	otherModel[31] ^= 1
	foreign("another model's", newCodec(c.dtype, c.dim, otherModel), hash, e)
	foreign("another text's", c, chunk.HashText("another text"), e)
	half := chunk.Embedding{Vector: unitVector(3, c.dim/2), Tokens: 1}
	twice := chunk.Embedding{Vector: unitVector(3, 2*c.dim), Tokens: 1}
	foreign("half the dimensions", newCodec(c.dtype, c.dim/2, testDigest), hash, half)
	foreign("twice the dimensions", newCodec(c.dtype, 2*c.dim, testDigest), hash, twice)
	// The same length, told apart by the header alone.
	if c.dtype == fp32 {
		foreign("fp16 of twice the dimensions", newCodec(fp16, 2*c.dim, testDigest), hash, twice)
	} else {
		foreign("fp32 of half the dimensions", newCodec(fp32, c.dim/2, testDigest), hash, half)
	}
	// With a checksum that fits: what an encoder of ours would never write.
	forge := func(name string, change func(b []byte)) {
		b := slices.Clone(good)
		change(b)
		body := b[:len(b)-crcSize]
		b = append(slices.Clone(body), 0, 0, 0, 0)
		putUint32(b[len(body):], c.checksum(hash, body))
		bad[name] = b
	}
	forge("format 2", func(b []byte) { b[2] = 2 })
	forge("type 3", func(b []byte) { b[3] = 3 })
	forge("an unknown flag", func(b []byte) { b[3] |= 0x40 })
	forge("zero vector", func(b []byte) { clear(b[headerSize : len(b)-crcSize]) })
	forge("not finite", func(b []byte) {
		b[headerSize+c.dtype.size()-1], b[headerSize+c.dtype.size()-2] = 0x7f, 0xff
	})
	return bad
}

func putUint32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func TestCodecRefusesEveryCorruption(t *testing.T) {
	hash := chunk.HashText("a text")
	e := chunk.Embedding{Vector: unitVector(2, 32), Tokens: 9}
	for _, d := range []dtype{fp32, fp16} {
		c := newCodec(d, 32, testDigest)
		for name, b := range corruptions(t, c, hash, e) {
			if got, err := c.decode(hash, b); err == nil || got.Vector != nil {
				t.Errorf("type %d: %s is taken for a vector", d, name)
			}
		}
	}
}

// The control: without the checksum, corruption does get through.
func TestChecksumIsWhatFindsCorruption(t *testing.T) {
	hash := chunk.HashText("a text")
	c := newCodec(fp32, 32, testDigest)
	through := 0
	for _, b := range corruptions(t, c, hash, chunk.Embedding{Vector: unitVector(2, 32), Tokens: 9}) {
		if len(b) != c.valueSize() {
			continue
		}
		putUint32(b[len(b)-crcSize:], c.checksum(hash, b[:len(b)-crcSize]))
		if _, err := c.decode(hash, b); err == nil {
			through++
		}
	}
	if through < 32*4*7 {
		t.Errorf("only %d corruptions pass without the checksum: the test above proves little", through)
	}
}

func FuzzDecode(f *testing.F) {
	hash := chunk.HashText("a text")
	codecs := []codec{newCodec(fp32, 4, testDigest), newCodec(fp16, 4, testDigest)}
	for _, c := range codecs {
		b, err := c.encode(hash, chunk.Embedding{Vector: unitVector(1, 4), Tokens: 3})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b, false)
		f.Add(b[:len(b)-1], true)
	}
	// sum lets the fuzzer past the checksum, which it would never guess.
	f.Fuzz(func(t *testing.T, b []byte, sum bool) {
		for _, c := range codecs {
			if sum && len(b) >= crcSize {
				b = slices.Clone(b)
				putUint32(b[len(b)-crcSize:], c.checksum(hash, b[:len(b)-crcSize]))
			}
			e, err := c.decode(hash, b)
			if err != nil {
				if e.Vector != nil {
					t.Error("a vector beside an error")
				}
				continue
			}
			again, err := c.encode(hash, e)
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("two values for one embedding: %x and %x (%v)", b, again, err)
			}
		}
	})
}
