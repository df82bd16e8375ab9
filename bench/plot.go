package bench

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Plot is a result as curves over one axis.
type Plot struct {
	// X and Y name the axes, with their units.
	X string `json:"x"`
	Y string `json:"y"`
	// LogX and LogY say whose axis is logarithmic.
	LogX   bool    `json:"log_x"`
	LogY   bool    `json:"log_y"`
	Curves []Curve `json:"curves"`
}

// Curve is points from left to right.
type Curve struct {
	Name string       `json:"name"`
	XY   [][2]float64 `json:"xy"`
}

// add puts a point on the curve of that name, which it makes if it is new.
func (p *Plot) add(curve string, x, y float64) {
	for i := range p.Curves {
		if p.Curves[i].Name == curve {
			p.Curves[i].XY = append(p.Curves[i].XY, [2]float64{x, y})
			return
		}
	}
	p.Curves = append(p.Curves, Curve{curve, [][2]float64{{x, y}}})
}

// The palette of Okabe and Ito, which people with any kind of colour vision
// can tell apart.
func palette(i int) color.Color {
	colors := []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}}
	return colors[i%len(colors)]
}

// SVG draws the result's plot, on white, so that it can be read on any page.
func (r Result) SVG() ([]byte, error) {
	p := plot.New()
	p.Title.Text = r.Name
	p.X.Label.Text, p.Y.Label.Text = r.Plot.X, r.Plot.Y
	if r.Plot.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	if r.Plot.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, c := range r.Plot.Curves {
		xys := make(plotter.XYs, len(c.XY))
		for k, xy := range c.XY {
			xys[k].X, xys[k].Y = xy[0], xy[1]
		}
		line, points, err := plotter.NewLinePoints(xys)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", c.Name, err)
		}
		line.Color, points.Color = palette(i), palette(i)
		line.Width = vg.Points(1.5)
		p.Add(line, points)
		p.Legend.Add(c.Name, line, points)
	}
	if !r.Plot.LogY {
		p.Y.Min, p.Y.Max = 0, 1.3*p.Y.Max // room for the legend
	}
	picture, err := draw.NewFormattedCanvas(16*vg.Centimeter, 9*vg.Centimeter, "svg")
	if err != nil {
		return nil, err
	}
	p.Draw(draw.Crop(draw.New(picture), 0, -vg.Centimeter, 0, 0)) // room for the last number
	var out bytes.Buffer
	if _, err := picture.WriteTo(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
