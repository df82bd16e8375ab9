// Package metricspage writes and reads docs/METRICS.md, the list of every
// metric that the programs export. A test of cmd/chunktide makes it from what
// they do export; dashboards and alerts are tested against it.
package metricspage

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Family is a metric. Of a histogram Prometheus knows the series Name_bucket,
// Name_sum and Name_count.
type Family struct {
	Name string
	// Type is counter, gauge or histogram.
	Type   string
	Labels []Label
	// Programs are the commands that export it.
	Programs []string
	Help     string
}

// Label is a label of a metric, with all its values where they are a closed set.
type Label struct {
	Name   string
	Values []string
}

// File is the page, below the folder of go.mod.
const File = "docs/METRICS.md"

const preface = `# Metrics

Every metric of Chunktide, as the programs export them: this page is made of what they do export (` + "`make docs`" + `), and a test holds it so.
A worker, ` + "`index verify --watch`" + ` and ` + "`canary`" + ` show them on ` + "`/metrics`" + ` of ` + "`admin.address`" + `, and ` + "`serve`" + ` on its own port. Beside them are those of the
Go runtime (` + "`go_*`" + `) and of the process (` + "`process_*`" + `). [OPERATIONS.md](OPERATIONS.md#metrics) says which to look at.

All labels come from closed sets but ` + "`topic`, `partition`" + ` (those assigned), ` + "`version`" + ` and ` + "`model_version`" + ` (what runs); a series of a closed set is
there from the start, at zero. What tells of a model has the label ` + "`model_version`" + ` in ` + "`serve`" + ` only, which may have loaded several.

| metric | type | labels | of | what it says |
|---|---|---|---|---|
`

// Render makes the page.
func Render(families []Family) []byte {
	var b bytes.Buffer
	b.WriteString(preface)
	for _, f := range slices.SortedFunc(slices.Values(families), func(a, b Family) int { return cmp.Compare(a.Name, b.Name) }) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name, f.Type, labels(f.Labels), quoted(f.Programs), strings.ReplaceAll(f.Help, "|", `\|`))
	}
	return b.Bytes()
}

func labels(all []Label) string {
	out := make([]string, len(all))
	for i, l := range all {
		out[i] = "`" + l.Name + "`"
		if len(l.Values) > 0 {
			out[i] += ": " + strings.Join(l.Values, ", ")
		}
	}
	return strings.Join(out, "; ")
}

func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = "`" + w + "`"
	}
	return strings.Join(out, ", ")
}

var row = regexp.MustCompile("^\\| `([a-z0-9_]+)` \\| (counter|gauge|histogram) \\| (.*?) \\| (.*?) \\| (.*) \\|$")

// Parse reads a page that Render made.
func Parse(page []byte) ([]Family, error) {
	var out []Family
	lines := bufio.NewScanner(bytes.NewReader(page))
	for lines.Scan() {
		m := row.FindStringSubmatch(lines.Text())
		switch {
		case m != nil:
			out = append(out, Family{m[1], m[2], parseLabels(m[3]), words(m[4]), strings.ReplaceAll(m[5], `\|`, "|")})
		case strings.HasPrefix(lines.Text(), "| `"):
			return nil, fmt.Errorf("%s: %q is no row that make docs wrote", File, lines.Text())
		}
	}
	return out, lines.Err()
}

func parseLabels(cell string) (out []Label) {
	for label := range strings.SplitSeq(cell, "; ") {
		name, values, _ := strings.Cut(label, ": ")
		if name = strings.Trim(name, "`"); name != "" {
			out = append(out, Label{name, words(values)})
		}
	}
	return out
}

func words(cell string) (out []string) {
	for w := range strings.SplitSeq(cell, ", ") {
		if w = strings.Trim(w, "`"); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// Load reads the page of the module in root.
func Load(root string) ([]Family, error) {
	page, err := os.ReadFile(filepath.Join(root, File))
	if err != nil {
		return nil, err
	}
	return Parse(page)
}
