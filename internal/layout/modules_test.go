package layout_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// notInWorkspace are the nested modules that go.work leaves out, so that the versions of libraries
// that only they require reach nobody's build.
var notInWorkspace = []string{"benchmarks"}

// checkNestedModules makes every nested module build on its own, against the root beside it.
func checkNestedModules(t *tree) (faults []string) {
	for _, dir := range sorted(t.mods) {
		m, file := t.mods[dir], path.Join(dir, "go.mod")
		if want := t.root.path + "/" + dir; m.path != want {
			faults = append(faults, fmt.Sprintf("%s: module path %s, want %s", file, m.path, want))
		}
		if m.goVersion != t.root.goVersion {
			faults = append(faults, fmt.Sprintf("%s: go %s, but the root module says go %s", file, m.goVersion, t.root.goVersion))
		}
		if target := m.replace[t.root.path]; target == "" || path.Join(dir, target) != "." {
			up := strings.Repeat("../", strings.Count(dir, "/")+1)
			faults = append(faults, fmt.Sprintf("%s: needs replace %s => %s", file, t.root.path, up))
		}
	}
	if len(t.root.replace) > 0 {
		faults = append(faults, "go.mod: replaces modules, which no importer would see")
	}
	return faults
}

// checkWorkspace makes go.work list what it should, and no more.
func checkWorkspace(t *tree) (faults []string) {
	want := []string{"."}
	for _, dir := range sorted(t.mods) {
		if !slices.Contains(notInWorkspace, dir) {
			want = append(want, dir)
		}
	}
	if got := slices.Sorted(slices.Values(t.work)); !slices.Equal(got, want) {
		faults = append(faults, fmt.Sprintf("go.work: uses %s, want %s", strings.Join(got, ", "), strings.Join(want, ", ")))
	}
	return faults
}
