package cache

import "math"

// IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits.
// Normal numbers reach from 2^-14 to 65504, subnormal ones down to 2^-24.

// float16 rounds x to the nearest binary16, ties to even. What rounds to 2^16
// or more becomes infinite; NaN stays NaN.
func float16(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b >> 16 & 0x8000)
	abs := b & 0x7fff_ffff
	const (
		infinity  = 0x7f80_0000
		overflow  = 0x4780_0000 // 2^16
		minNormal = 0x3880_0000 // 2^-14
	)
	switch {
	case abs > infinity:
		return sign | 0x7e00
	case abs >= overflow:
		return sign | 0x7c00
	case abs >= minNormal:
		// Move the exponent from bias 127 to 15, then drop 13 bits. A carry out
		// of the fraction is the next exponent, or infinity, as it should be.
		return sign | uint16(roundShift(abs-(127-15)<<23, 13))
	}
	// A subnormal counts units of 2^-24. The 24-bit significand of x counts
	// units of 2^(exponent-150).
	exponent := abs >> 23
	if exponent < 102 { // below 2^-25, half a unit
		return sign
	}
	return sign | uint16(roundShift(abs&0x7f_ffff|0x80_0000, 126-exponent))
}

// roundShift is v / 2^n, to the nearest integer, ties to even, for n in 1..31.
func roundShift(v, n uint32) uint32 {
	q, rest, half := v>>n, v&(1<<n-1), uint32(1)<<(n-1)
	if rest > half || rest == half && q&1 == 1 {
		q++
	}
	return q
}

// float32from16 is exact: every binary16 is a binary32.
func float32from16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0x1f:
		return math.Float32frombits(sign | 0x7f80_0000 | fraction<<13)
	case 0:
		x := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(x))
	default:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
	}
}
