package tune

import (
	"fmt"
	"math"
	"strings"
)

// The plots show tokens a second over the tokens of a call, the latter
// logarithmic: what was measured, the fit over tokens, its ceiling and knee.

// scale maps a call's tokens and its tokens a second into a unit square.
type scale struct{ low, high, top float64 }

func (r Report) scale() scale {
	s := scale{low: math.Inf(1), high: 1, top: r.Tokens.Ceiling()}
	for _, p := range r.Points {
		n := float64(p.Texts * p.Tokens)
		s.low, s.high, s.top = min(s.low, n), max(s.high, n), max(s.top, n/p.Seconds)
	}
	s.low = min(s.low, s.high)
	s.top *= 1.05
	return s
}

func (s scale) x(tokens float64) float64 {
	if s.high <= s.low {
		return 0
	}
	return min(max(math.Log(tokens/s.low)/math.Log(s.high/s.low), 0), 1)
}

func (s scale) y(rate float64) float64 { return min(rate/s.top, 1) }

// tokens is the inverse of x.
func (s scale) tokens(x float64) float64 { return s.low * math.Pow(s.high/s.low, x) }

// Text draws the plot for a terminal, width and height in characters without
// the axes. The lengths are a, b, c, …, from the shortest.
func (r Report) Text(width, height int) string {
	s := r.scale()
	grid := make([][]rune, height)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", width))
	}
	column := func(tokens float64) int { return int(math.Round(s.x(tokens) * float64(width-1))) }
	row := func(rate float64) int { return height - 1 - int(math.Round(s.y(rate)*float64(height-1))) }
	for i := range width {
		tokens := s.tokens(float64(i) / float64(width-1))
		if c := r.Tokens.Ceiling(); c > 0 {
			grid[row(c)][i] = '-'
		}
		grid[row(tokens/r.Tokens.At(tokens))][i] = '.'
	}
	for i := range grid {
		if k := column(float64(r.KneeTokens)); grid[i][k] == ' ' && r.KneeTokens > 0 {
			grid[i][k] = '|'
		}
	}
	for _, p := range r.Points {
		grid[row(float64(p.Texts*p.Tokens)/p.Seconds)][column(float64(p.Texts*p.Tokens))] = r.letter(p.Tokens)
	}
	var b strings.Builder
	for i, line := range grid {
		label := ""
		switch i {
		case 0:
			label = fmt.Sprintf("%.0f", s.top)
		case height - 1:
			label = "0"
		}
		fmt.Fprintf(&b, "%9s │%s\n", label, strings.TrimRight(string(line), " "))
	}
	fmt.Fprintf(&b, "%9s └%s\n", "tokens/s", strings.Repeat("─", width))
	left, right := fmt.Sprintf("%.0f", s.low), fmt.Sprintf("%.0f tokens of a call", s.high)
	fmt.Fprintf(&b, "%11s%s%*s\n", "", left, max(width-len(left), len(right)+1), right)
	legend := []string{". fit", "- ceiling", "| knee"}
	for _, l := range r.Lengths {
		legend = append(legend, fmt.Sprintf("%c texts of %d tokens", r.letter(l.Tokens), l.Tokens))
	}
	fmt.Fprintf(&b, "%11s%s\n", "", strings.Join(legend, "   "))
	return b.String()
}

func (r Report) letter(tokens int) rune {
	for i, l := range r.Lengths {
		if l.Tokens == tokens && i < 26 {
			return 'a' + rune(i)
		}
	}
	return '*'
}

// colours tell lengths apart, also for people who see few: the set of Okabe
// and Ito (https://jfly.uni-koeln.de/color/).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// SVG draws the plot as a picture of 640 × 400.
func (r Report) SVG() string {
	const left, top, width, height = 70, 40, 540, 300
	s := r.scale()
	x := func(tokens float64) float64 { return left + s.x(tokens)*width }
	y := func(rate float64) float64 { return top + (1-s.y(rate))*height }
	var b strings.Builder
	line := func(x1, y1, x2, y2 float64, style string) {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
	}
	text := func(x, y float64, anchor, content string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, escape.Replace(content))
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" font-family="sans-serif" font-size="12">`+"\n"+
		`<rect width="640" height="400" fill="white"/>`+"\n")
	text(left, 20, "start", r.ModelVersion+": tokens a second over the tokens of a call")
	line(left, top, left, top+height, `stroke="black"`)
	line(left, top+height, left+width, top+height, `stroke="black"`)
	for i := range 5 {
		rate := s.top * float64(i) / 4
		text(left-6, y(rate)+4, "end", fmt.Sprintf("%.0f", rate))
		tokens := s.tokens(float64(i) / 4)
		text(x(tokens), top+height+16, "middle", fmt.Sprintf("%.0f", tokens))
	}
	if c := r.Tokens.Ceiling(); c > 0 {
		line(left, y(c), left+width, y(c), `stroke="gray" stroke-dasharray="6 4"`)
		text(left+width, y(c)-4, "end", fmt.Sprintf("ceiling %.0f", c))
	}
	if k := float64(r.KneeTokens); k >= s.low && k <= s.high {
		line(x(k), top, x(k), top+height, `stroke="gray" stroke-dasharray="2 3"`)
		text(x(k)+4, top+height-6, "start", fmt.Sprintf("knee %d", r.KneeTokens))
	}
	var path strings.Builder
	for i := range 101 {
		tokens := s.tokens(float64(i) / 100)
		fmt.Fprintf(&path, "%.1f,%.1f ", x(tokens), y(tokens/r.Tokens.At(tokens)))
	}
	fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="black"/>`+"\n", strings.TrimSpace(path.String()))
	for i, l := range r.Lengths {
		colour := colours[i%len(colours)]
		for _, p := range r.Points {
			if n := float64(p.Texts * p.Tokens); p.Tokens == l.Tokens {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", x(n), y(n/p.Seconds), colour)
			}
		}
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="4" fill="%s"/>`+"\n", left+110*i, 380, colour)
		text(float64(left+110*i+8), 384, "start", fmt.Sprintf("%d tokens each", l.Tokens))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
