package sink

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"chunktide/chunk"
)

// anything is a random value as a decoder makes it.
func anything(rng *rand.Rand, depth int) any {
	switch n := rng.IntN(8); {
	case n == 0 && depth > 0:
		list := make([]any, rng.IntN(5))
		for i := range list {
			list[i] = anything(rng, depth-1)
		}
		return list
	case n == 1 && depth > 0:
		return object(rng, depth-1)
	case n == 2:
		return nil
	case n == 3:
		return rng.IntN(2) == 0
	case n == 4:
		return rng.Int64() - rng.Int64()
	case n == 5:
		return rng.NormFloat64()
	default:
		return strings.Repeat("ü", rng.IntN(1<<rng.IntN(12)))
	}
}

func object(rng *rand.Rand, depth int) map[string]any {
	m := map[string]any{}
	for range rng.IntN(6) {
		m[strings.Repeat("k", 1+rng.IntN(200))] = anything(rng, depth)
	}
	return m
}

func random(rng *rand.Rand) chunk.Point {
	p := chunk.Point{
		Op: chunk.Upsert, Source: "s", DocumentID: strings.Repeat("d", rng.IntN(300)), ChunkID: "c", Version: 1 + chunk.Version(rng.Int64N(1<<53-1)),
		Text: strings.Repeat("text ", rng.IntN(1<<rng.IntN(12))), Metadata: object(rng, 3), EventTime: time.Unix(rng.Int64N(1<<32), rng.Int64N(1e9)),
		Position: rng.Int64(), Embedding: chunk.Embedding{Vector: make([]float32, rng.IntN(500)), Tokens: rng.IntN(1 << 30)},
		Origin: chunk.Origin{Topic: "t", Partition: rng.Int32(), Offset: rng.Int64()},
	}
	if rng.IntN(4) == 0 {
		p.Op = chunk.Delete
		p.Embedding = chunk.Embedding{}
	}
	return p
}

// A request never outgrows the bound it was filled to.
func TestTheSizeThatIsAddedUpIsNeverTooSmall(t *testing.T) {
	s := &Sink{reader: reader{client: &client{cfg: DefaultConfig()}, model: Model{Version: "m@0123456789ab"}}}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		p := random(rng)
		var v values
		encoded, err := s.encode(&p, time.Now().Format(time.RFC3339Nano), &v)
		if err != nil {
			t.Fatal(err)
		}
		// The point's own tag and length in the request are counted too; and a
		// bound that is far too high would make requests needlessly small.
		if size := proto.Size(encoded) + 6; v.bytes < size || v.bytes > 5*size {
			t.Fatalf("added up %d bytes for a point of %d", v.bytes, size)
		}
	}
}

func TestMetadataComesBackAsItWent(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		in := object(rng, 4)
		var v values
		value, err := v.of(in)
		if err != nil {
			t.Fatal(err)
		}
		if out := plain(value); !reflect.DeepEqual(out, any(in)) {
			a, _ := json.Marshal(in)
			b, _ := json.Marshal(out)
			t.Fatalf("%s\n%s", a, b)
		}
	}
}

func TestWhatIsNoJSONIsRefused(t *testing.T) {
	for _, x := range []any{"\xff", map[string]any{"\xff": 1}, []any{struct{}{}}, map[string]any{"a": []any{make(chan int)}}} {
		var v values
		if _, err := v.of(x); err == nil {
			t.Errorf("%T was taken", x)
		}
	}
}
