package scaling

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Write works out the tables of SCALING.md in a folder, from its scaling.json,
// and puts them between the page's marks.
func Write(folder string) error {
	file := filepath.Join(folder, "SCALING.md")
	page, err := Page(folder)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(page), 0o644) //nolint:gosec // a page for everyone
}

// Page is what SCALING.md has to say.
func Page(folder string) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "scaling.json"))
	if err != nil {
		return "", err
	}
	var s Sizes
	if err := json.Unmarshal(text, &s); err != nil {
		return "", fmt.Errorf("scaling.json: %w", err)
	}
	page, err := os.ReadFile(filepath.Join(folder, "SCALING.md"))
	if err != nil {
		return "", err
	}
	out := string(page)
	for name, table := range map[string]string{
		"measured": Measured(s),
		"plan":     Table(Plan(s, DefaultAssumptions(), 1e6, 1e8, 1e10), "10⁶", "10⁸", "10¹⁰"),
	} {
		if out, err = between(out, name, table); err != nil {
			return "", err
		}
	}
	return out, nil
}

// between replaces what stands between two marks.
func between(page, name, table string) (string, error) {
	begin, end := "<!-- "+name+": make scaling -->\n", "<!-- end of "+name+" -->"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("SCALING.md lacks the marks %q and %q", strings.TrimSpace(begin), end)
	}
	return before + begin + "\n" + table + "\n" + end + after, nil
}
