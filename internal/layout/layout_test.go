package layout_test

import (
	"os"
	"path/filepath"
	"testing"
)

// rules are the rules of the tree. A check returns its faults, each "path: what is wrong".
var rules = []struct {
	name  string
	check func(*tree) []string
}{
	{"layers", checkLayers},
	{"dependencies", checkDependencies},
	{"test support", checkTestSupport},
	{"nested imports", checkNestedImports},
	{"signatures", checkSignatures},
	{"state", checkState},
	{"docs", checkDocs},
	{"file sizes", checkFileSizes},
	{"root budget", checkRootBudget},
	{"feature budgets", checkFeatureBudgets},
	{"nested modules", checkNestedModules},
	{"workspace", checkWorkspace},
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
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			for _, fault := range rule.check(tree) {
				t.Error(fault)
			}
		})
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
