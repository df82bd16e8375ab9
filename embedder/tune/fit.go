package tune

import (
	"math"
	"slices"
)

// Line is t = T0 + C·x.
type Line struct {
	T0 float64 `json:"t0_seconds"`
	C  float64 `json:"c_seconds"`
	// Error is the largest relative distance of a point from the line.
	Error float64 `json:"largest_relative_error"`
}

// Fit is the line through the points that makes the sum of the squared
// relative errors least: a millisecond is much for a small batch and nothing
// for a large one. T0 and C are never negative.
func Fit(x, y []float64) Line {
	var w, wx, wy, wxx, wxy float64
	for i := range x {
		k := 1 / (y[i] * y[i])
		w, wx, wy, wxx, wxy = w+k, wx+k*x[i], wy+k*y[i], wxx+k*x[i]*x[i], wxy+k*x[i]*y[i]
	}
	var l Line
	if det := w*wxx - wx*wx; det > 1e-12*w*wxx {
		l.T0, l.C = (wxx*wy-wx*wxy)/det, (w*wxy-wx*wy)/det
	} else if wxx > 0 { // one x only
		l.C = wxy / wxx
	}
	switch {
	case l.T0 < 0:
		l.T0, l.C = 0, wxy/wxx
	case l.C < 0:
		l.T0, l.C = wy/w, 0
	}
	for i := range x {
		l.Error = max(l.Error, math.Abs(l.At(x[i])-y[i])/y[i])
	}
	return l
}

// At is the line's time for x.
func (l Line) At(x float64) float64 { return l.T0 + l.C*x }

// Ceiling is what x/t tends to, a second; 0 if it is not known.
func (l Line) Ceiling() float64 {
	if l.C == 0 {
		return 0
	}
	return 1 / l.C
}

// Knee is the smallest whole x that is within 5 % of the ceiling, 1 at least.
// If a latency above 0 allows less it is the most that this allows, 0 for
// none, and bound is true.
func (l Line) Knee(latency float64) (x int, bound bool) {
	if l.C == 0 {
		return 1, false
	}
	// x/(t0 + c·x) = (1-near)/c; the small amount keeps a whole number whole.
	x = max(int(math.Ceil((1-near)/near*l.T0/l.C-1e-9)), 1)
	if latency <= 0 || l.At(float64(x)) <= latency {
		return x, false
	}
	return max(int(math.Floor((latency-l.T0)/l.C+1e-9)), 0), true
}

// Median is the middle one of some values, or the mean of the two in the
// middle. There must be one.
func Median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
