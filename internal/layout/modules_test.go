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

// unpublished are the directories whose modules no release tags.
var unpublished = []string{"benchmarks", "examples", "internal"}

// checkNestedModules checks that published modules can be installed, and that the others build on
// their own, against the modules beside them.
func checkNestedModules(t *tree) (faults []string) {
	versions := map[string]bool{}
	for _, dir := range sorted(t.mods) {
		m, file := t.mods[dir], path.Join(dir, "go.mod")
		if want := t.root.path + "/" + dir; m.path != want {
			faults = append(faults, fmt.Sprintf("%s: module path %s, want %s", file, m.path, want))
		}
		if m.goVersion != t.root.goVersion {
			faults = append(faults, fmt.Sprintf("%s: go %s, but the root module says go %s", file, m.goVersion, t.root.goVersion))
		}
		own := map[string]string{} // required modules of this repository, to their versions
		for required, version := range m.require {
			if within(required, t.root.path) {
				own[required] = version
				versions[version] = true
			}
		}
		if own[t.root.path] == "" {
			faults = append(faults, fmt.Sprintf("%s: does not require %s", file, t.root.path))
		}
		if !slices.Contains(unpublished, top(dir)) {
			if len(m.replace) > 0 {
				faults = append(faults, fmt.Sprintf("%s: replaces modules, which no importer would see", file))
			}
			continue
		}
		for _, required := range sorted(own) {
			below, _ := t.own(required)
			if target := m.replace[required]; target == "" || path.Join(dir, target) != below {
				up := strings.Repeat("../", strings.Count(dir, "/")+1)
				faults = append(faults, fmt.Sprintf("%s: needs replace %s => %s", file, required, up+strings.TrimPrefix(below, ".")))
			}
		}
	}
	if len(t.root.replace) > 0 {
		faults = append(faults, "go.mod: replaces modules, which no importer would see")
	}
	if len(versions) > 1 || versions["v0.0.0"] {
		faults = append(faults, fmt.Sprintf("go.mod: the modules require %s of each other, want one version of a release", strings.Join(sorted(versions), ", ")))
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
