package cost

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Bars draws the rows for a terminal: what was encoded and, in light, what was
// saved, over so many columns for a stream; a mark stands where the prediction
// is.
func (rows Rows) Bars(columns int) string {
	var b strings.Builder
	for _, r := range rows {
		at := func(n int) int {
			return min(max(int(math.Round(float64(n)/float64(r.Chunks)*float64(columns))), 0), columns)
		}
		bar := []rune(strings.Repeat("█", at(r.Calls)) + strings.Repeat("░", columns-at(r.Calls)) + " ")
		bar[at(r.Predicted)] = '|'
		fmt.Fprintf(&b, "%6.4g │%s %d\n", r.HitRate, string(bar), r.Calls)
	}
	fmt.Fprintf(&b, "%6s └%s\n", "h", strings.Repeat("─", columns))
	fmt.Fprintf(&b, "%8s█ encoded   ░ not encoded   | (1−h)·C\n", "")
	return b.String()
}

// The palette of Okabe and Ito, which people with any kind of colour vision
// can tell apart.
var (
	blue   = color.RGBA{0, 114, 178, 255}
	orange = color.RGBA{213, 94, 0, 255}
)

// SVG draws the measured calls over their prediction, and beside them what was
// saved.
func (rows Rows) SVG() ([]byte, error) {
	predicted, measured, saved := make(plotter.XYs, len(rows)), make(plotter.XYs, len(rows)), make(plotter.XYs, len(rows))
	for i, r := range rows {
		predicted[i] = plotter.XY{X: r.HitRate, Y: float64(r.Predicted)}
		measured[i] = plotter.XY{X: r.HitRate, Y: float64(r.Calls)}
		saved[i] = plotter.XY{X: r.HitRate, Y: r.Saved.Float()}
	}
	calls, err := axes("Model calls", "texts encoded", predicted)
	if err != nil {
		return nil, err
	}
	points, err := plotter.NewScatter(measured)
	if err != nil {
		return nil, fmt.Errorf("draw the measured calls: %w", err)
	}
	points.Color, points.Shape, points.Radius = orange, draw.CircleGlyph{}, vg.Points(3)
	calls.Add(points)
	calls.Legend.Add("measured", points)
	money, err := axes("Saved", "in the price's currency", saved)
	if err != nil {
		return nil, err
	}
	canvas := vgsvg.New(24*vg.Centimeter, 9*vg.Centimeter)
	tiles := draw.Tiles{Rows: 1, Cols: 2, PadX: vg.Centimeter, PadTop: vg.Points(4), PadRight: vg.Points(8), PadBottom: vg.Points(4), PadLeft: vg.Points(4)}
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Path())
	both := [][]*plot.Plot{{calls, money}}
	for i, part := range plot.Align(both, tiles, whole)[0] {
		both[0][i].Draw(part)
	}
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// shares are the marks of the hit rate's axis.
var shares = []plot.Tick{{Value: 0, Label: "0"}, {Value: .2, Label: "0.2"}, {Value: .4, Label: "0.4"}, {Value: .6, Label: "0.6"}, {Value: .8, Label: "0.8"}, {Value: 1, Label: "1"}}

// axes is a plot over the hit rate with one line.
func axes(title, unit string, xys plotter.XYs) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "hit rate h (share of duplicate texts)", unit
	p.Add(plotter.NewGrid())
	line, err := plotter.NewLine(xys)
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", strings.ToLower(title), err)
	}
	line.Color, line.Width = blue, vg.Points(1.5)
	p.Add(line)
	if title == "Model calls" {
		p.Legend.Add("(1−h)·C", line)
	}
	p.Legend.Top, p.Legend.Padding, p.Legend.XOffs = true, vg.Points(4), -vg.Points(8)
	// After the line was added, which widens the axes only to itself.
	p.X.Min, p.X.Max, p.Y.Min = 0, 1, 0
	p.X.Tick.Marker = plot.ConstantTicks(shares)
	return p, nil
}
