package layout_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)(?:/[^`]*)?`")

// unknownTests returns the tests that a text names in backquotes and that no file has, and
// how many it names.
func unknownTests(text string, files []source) (unknown []string, named int) {
	known := map[string]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				known[fn.Name.Name] = true
			}
		}
	}
	for _, m := range testName.FindAllStringSubmatch(text, -1) {
		named++
		if !known[m[1]] {
			unknown = append(unknown, m[1])
		}
	}
	return unknown, named
}

// TestRequirements holds docs/security.md to naming tests that exist.
func TestRequirements(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	tree, err := loadTree(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	unknown, named := unknownTests(string(text), tree.files)
	for _, name := range unknown {
		t.Errorf("docs/security.md names %s, which no file has", name)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| ") && regexp.MustCompile(`^\| [A-Z]{2}-\d\d`).MatchString(line) && !testName.MatchString(line) && !strings.Contains(line, "later") {
			t.Errorf("docs/security.md has a requirement without a test: %s", line)
		}
	}
	if named < 40 {
		t.Errorf("docs/security.md names only %d tests: the form of the page has changed", named)
	}
}

func TestUnknownTests(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "a_test.go", "package a\nfunc TestThere() {}\nfunc (x) TestMethod() {}", parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	unknown, named := unknownTests("`TestThere` `TestNothing/of that kind` `FuzzNothing` `TestMethod` Testify", []source{{File: f}})
	if !slices.Equal(unknown, []string{"TestNothing", "FuzzNothing", "TestMethod"}) || named != 4 {
		t.Errorf("got %v of %d", unknown, named)
	}
}
