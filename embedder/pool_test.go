package embedder

import (
	"math"
	"slices"
	"testing"

	"chunktide/chunk"
)

func TestPooled(t *testing.T) {
	rows := []float32{3, 4, 0, 1, 2, 2 /* padding: */, 99, 99, 99}
	for _, c := range []struct {
		recipe Recipe
		want   []float32
	}{
		{Recipe{Pooling: PoolMean, Dim: 3}, []float32{2, 3, 1}},
		{Recipe{Pooling: PoolCLS, Dim: 3}, []float32{3, 4, 0}},
		{Recipe{Pooling: PoolCLS, Dim: 3, Normalize: true}, []float32{.6, .8, 0}},
		{Recipe{Pooling: PoolLast, Dim: 3}, []float32{1, 2, 2}},
		{Recipe{Pooling: PoolLast, Dim: 1, Normalize: true}, []float32{1}},
	} {
		got, err := pooled(c.recipe, rows, 2, 3)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, %v; want %v", c.recipe, got, err, c.want)
		}
	}
}

func TestPooledRefusesWhatCannotBeCompared(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, rows := range map[string][]float32{"NaN": {1, nan}, "infinite": {inf, 1}, "zero": {0, 0}} {
		for _, normalize := range []bool{true, false} {
			_, err := pooled(Recipe{Pooling: PoolMean, Dim: 2, Normalize: normalize}, rows, 1, 2)
			if reason, _ := chunk.ReasonOf(err); reason != chunk.ReasonBadVector {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
