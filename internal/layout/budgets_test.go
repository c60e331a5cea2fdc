package layout_test

import (
	"fmt"
	"go/ast"
	"go/doc"
	"slices"
	"strings"
)

// Sizes above which a reviewer asks about splitting, merging or leaving out. They are
// reported (go test -v -run Layout ./internal/layout) and fail no test: a design must not bend
// to fit a number.
const (
	maxFileLines = 500 // of any file that is not a test, in any module

	maxRootTypes      = 60
	maxRootInterfaces = 12

	maxFeatureTypes  = 12
	maxFeatureLines  = 1000 // tests apart
	maxFeatureStores = 1

	maxSQLStoreLines = 2800 // sqlstore implements the stores of the root and the kernel of all others, on three databases
)

// checkFileSizes reports long files.
func checkFileSizes(t *tree) (faults []string) {
	for _, f := range t.files {
		if !f.test && f.lines > maxFileLines {
			faults = append(faults, fmt.Sprintf("%s: %d lines, at most %d are meant", f.path, f.lines, maxFileLines))
		}
	}
	return faults
}

// checkRootSize reports the size of the root package: it is the default path and no more.
func checkRootSize(t *tree) (faults []string) {
	var types, interfaces, stores int
	for _, f := range t.library() {
		if f.dir == "." {
			countTypes(f, &types, &interfaces, &stores)
		}
	}
	return slices.Concat(
		over(".", "exported types", types, maxRootTypes),
		over(".", "exported interfaces", interfaces, maxRootInterfaces))
}

// checkFeatureSizes reports the size of each feature.
func checkFeatureSizes(t *tree) (faults []string) {
	features := t.features()
	for _, dir := range sorted(features) {
		var types, interfaces, stores, lines int
		for _, f := range features[dir] {
			if f.test {
				continue
			}
			countTypes(f, &types, &interfaces, &stores)
			lines += f.lines
		}
		budget := maxFeatureLines
		if dir == "sqlstore" {
			budget = maxSQLStoreLines
		}
		faults = slices.Concat(faults,
			over(dir, "exported types", types, maxFeatureTypes),
			over(dir, "lines", lines, budget),
			over(dir, "exported store interfaces", stores, maxFeatureStores))
	}
	return faults
}

// checkExamples holds each feature to an example that runs.
func checkExamples(t *tree) (faults []string) {
	features := t.features()
	for _, dir := range sorted(features) {
		var tests []*ast.File
		for _, f := range features[dir] {
			if f.test {
				tests = append(tests, f.File)
			}
		}
		runs := func(ex *doc.Example) bool { return ex.Output != "" || ex.EmptyOutput }
		if !slices.ContainsFunc(doc.Examples(tests...), runs) {
			faults = append(faults, fmt.Sprintf("%s: has no Example with an Output comment", dir))
		}
	}
	return faults
}

// over reports a count that is past its budget.
func over(dir, what string, n, budget int) []string {
	if n <= budget {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d %s, at most %d are meant", dir, n, what, budget)}
}

// countTypes counts the exported types of a file, the interfaces among them, and the interfaces that
// by their name are something to implement on a database.
func countTypes(f source, types, interfaces, stores *int) {
	for _, decl := range f.Decls {
		decl, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range decl.Specs {
			spec, ok := spec.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() {
				continue
			}
			*types++
			if _, ok := spec.Type.(*ast.InterfaceType); ok {
				*interfaces++
				if strings.HasSuffix(spec.Name.Name, "Store") {
					*stores++
				}
			}
		}
	}
}
