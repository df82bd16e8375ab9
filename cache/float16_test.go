package cache

import (
	"math"
	"testing"
)

// Every binary16 survives the way there and back.
func TestFloat16RoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		x := float32from16(uint16(h))
		if math.IsNaN(float64(x)) {
			if float16(x)&0x7fff <= 0x7c00 {
				t.Errorf("%#04x: NaN was lost", h)
			}
			continue
		}
		if back := float16(x); back != uint16(h) {
			t.Fatalf("%#04x is %v and comes back as %#04x", h, x, back)
		}
	}
}

// nearest16 is the definition: of the two binary16 around x the nearer, and of
// two equally near the one with the even fraction.
func nearest16(x float32) uint16 {
	sign := uint16(0)
	if math.Signbit(float64(x)) {
		sign, x = 0x8000, -x
	}
	// 0..0x7c00 are in the order of their values; the bound between the
	// greatest finite one and infinity lies as if infinity were 2^16.
	value := func(h uint16) float64 {
		if h == 0x7c00 {
			return 1 << 16
		}
		return float64(float32from16(h))
	}
	low, high := uint16(0), uint16(0x7c00)
	for high-low > 1 {
		if middle := (low + high) / 2; value(middle) <= float64(x) {
			low = middle
		} else {
			high = middle
		}
	}
	below, above := float64(x)-value(low), value(high)-float64(x)
	if below < above || below == above && low%2 == 0 {
		return sign | low
	}
	return sign | high
}

func TestFloat16RoundsToNearestEven(t *testing.T) {
	check := func(bits uint32) {
		t.Helper()
		x := math.Float32frombits(bits)
		if math.IsNaN(float64(x)) {
			return
		}
		if got, want := float16(x), nearest16(x); got != want {
			t.Fatalf("%v (%#08x) became %#04x, want %#04x", x, bits, got, want)
		}
	}
	// Around every binary16 and every midpoint of two.
	for h := range uint32(0x7c00) {
		for _, x := range []float32{
			float32from16(uint16(h)),
			float32((float64(float32from16(uint16(h))) + float64(float32from16(uint16(h+1)))) / 2),
		} {
			if math.IsInf(float64(x), 0) {
				continue
			}
			for d := -2; d <= 2; d++ {
				check(uint32(int64(math.Float32bits(x))+int64(d)) & 0x7fff_ffff)
				check(uint32(int64(math.Float32bits(x))+int64(d)) | 0x8000_0000)
			}
		}
	}
	// And a walk over all magnitudes.
	for bits := uint64(0); bits < 1<<32; bits += 65_521 {
		check(uint32(bits))
	}
	for _, x := range []float32{65519.996, 65520, 65536, math.MaxFloat32, float32(math.Inf(1)), 0x1p-25, 0x1.000002p-25, 0x1p-24, 0x1p-14} {
		check(math.Float32bits(x))
		check(math.Float32bits(-x))
	}
}
