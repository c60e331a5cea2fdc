package layout_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A rule is one that the tree keeps. A check returns the violations, each with its path.
type rule struct {
	name   string
	check  func(*tree) []string
	report bool // a size, which raises a question and fails no test
}

var rules = []rule{
	{"layers", checkLayers, false},
	{"dependencies", checkDependencies, false},
	{"test support", checkTestSupport, false},
	{"nested imports", checkNestedImports, false},
	{"one login path", checkLoginPath, false},
	{"signatures", checkSignatures, false},
	{"state", checkState, false},
	{"docs", checkDocs, false},
	{"examples", checkExamples, false},
	{"nested modules", checkNestedModules, false},
	{"workspace", checkWorkspace, false},
	{"file sizes", checkFileSizes, true},
	{"root size", checkRootSize, true},
	{"feature sizes", checkFeatureSizes, true},
}

// TestLayout holds the repository to the rules.
func TestLayout(t *testing.T) {
	t.Parallel()
	tree, err := loadTree(os.DirFS(repository(t)))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.library()) == 0 || len(tree.mods) == 0 || len(tree.work) == 0 {
		t.Fatal("the tree looks empty: the rules would hold of nothing")
	}
	for _, fault := range checkLoginSteps(tree) {
		t.Error(fault)
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			for _, fault := range rule.check(tree) {
				if rule.report {
					t.Log(fault)
				} else {
					t.Error(fault)
				}
			}
		})
	}
}

// TestDependabot checks that dependencies of every module are kept up to date.
func TestDependabot(t *testing.T) {
	t.Parallel()
	top := repository(t)
	tree, err := loadTree(os.DirFS(top))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(top, ".github", "dependabot.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(sorted(tree.mods), "") {
		if !strings.Contains(string(text), "\n      - /"+dir+"\n") {
			t.Errorf(".github/dependabot.yml: has no line \"- /%s\"", dir)
		}
	}
}

// repository walks up to the directory of the root module, which is the nearest one: internal/ has
// no module of its own.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
}
