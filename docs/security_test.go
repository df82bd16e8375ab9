package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// SECURITY.md names tests as its proof: they are there.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			code.Write(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(page), -1)
	if len(names) < 15 {
		t.Errorf("SECURITY.md names %d tests", len(names))
	}
	for _, name := range append(names, []string{"", "TestThatIsNowhere" + "AtAll"}) {
		there := strings.Contains(code.String(), "func "+name[1]+"(")
		if want := !strings.HasPrefix(name[1], "TestThatIsNowhere"); there != want {
			t.Errorf("%s: in the code: %v", name[1], there)
		}
	}
}
