package layout_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// What a row of mayImport can name beside a top-level directory.
const (
	feature    = "(any feature)"
	dependency = "(a direct dependency)"
)

// outside is the package that stands for another module: it shows that exported names are
// enough to build a feature, and so it imports nothing internal.
const outside = "internal/foreign"

// mayImport says what the code of a package in the root module, tests apart, may import beside the
// standard library and its own top-level directory. Do not add to it to make a build pass: a
// feature that needs another, or a dependency, gets a row of its own and a paragraph in
// docs/design.md.
var mayImport = map[string][]string{
	".":           {"internal", dependency},
	"internal":    {"internal", dependency},
	outside:       {"."},
	feature:       {"."},
	"storetest":   {".", feature}, // one suite per store interface, wherever that is declared
	"sqlstore":    {"."},
	"contract":    {"."},
	"authkittest": {"."},
	"harden":      {".", "internal/writer"},
	"throttle":    {".", "internal/writer"},
	"totp":        {".", "internal/seal"},
	"audit":       {".", "internal/printable"},
	"jwks":        {".", "internal/endpoint"},
	"revocation":  {".", "internal/endpoint"},
}

// directDependencies are all that the root module may require directly. A fourth needs a paragraph
// in docs/design.md.
var directDependencies = []string{
	"github.com/golang-jwt/jwt/v5",
	"github.com/stretchr/testify",
	"golang.org/x/crypto",
}

// testDependency is the one of them that no code but a test may import: what a package links, every
// program that imports it links too.
const testDependency = "github.com/stretchr/testify"

// notFeatures are the top-level directories of the root module that are not features.
var notFeatures = []string{".", "internal", "storetest", "contract", "authkittest"}

// testSupport are the packages that only tests and commands import.
var testSupport = []string{"storetest", "contract", "authkittest"}

// nestedMayImport are the internal packages that published modules share with the root module. All
// modules have the same version.
var nestedMayImport = map[string][]string{
	"oidclogin": {"internal/seal"},
}

// layerOf names the kind of package that a directory of the root module holds.
func layerOf(dir string) string {
	if top := top(dir); slices.Contains(notFeatures, top) {
		return top
	}
	return feature
}

// checkLayers holds the code of the root module to mayImport.
func checkLayers(t *tree) (faults []string) {
	for _, f := range t.code() {
		row, ok := mayImport[f.dir]
		if !ok {
			row, ok = mayImport[top(f.dir)]
		}
		if !ok {
			row = mayImport[layerOf(f.dir)]
		}
		for _, imported := range importsOf(f) {
			dir, own := t.own(imported)
			switch {
			case own && dir == f.dir:
			case own && top(dir) == top(f.dir) && f.dir != outside:
			case own && slices.Contains(testSupport, top(dir)): // checkTestSupport's
			case own && dir == "sqlstore" && strings.HasSuffix(f.dir, "sql"): // the tables of a feature, such as audit/auditsql
			case own && (slices.Contains(row, dir) || slices.Contains(row, top(dir)) || slices.Contains(row, layerOf(dir))):
			case !own && !t.foreign(imported):
			case !own && slices.Contains(row, dependency): // checkDependencies says which
			default:
				faults = append(faults, fmt.Sprintf("%s: imports %s, which its place in the tree does not allow", f.path, imported))
			}
		}
	}
	return faults
}

// checkDependencies holds the root module to its direct dependencies.
func checkDependencies(t *tree) (faults []string) {
	for _, required := range t.root.direct {
		if !slices.Contains(directDependencies, required) {
			faults = append(faults, fmt.Sprintf("go.mod: requires %s directly; %s are meant",
				required, strings.Join(directDependencies, ", ")))
		}
	}
	for _, f := range t.files {
		if f.mod != "." {
			continue
		}
		for _, imported := range importsOf(f) {
			switch known := slices.ContainsFunc(directDependencies, func(m string) bool { return within(imported, m) }); {
			case t.foreign(imported) && !known:
				faults = append(faults, fmt.Sprintf("%s: imports %s, which is not a direct dependency", f.path, imported))
			case within(imported, testDependency) && !f.test:
				faults = append(faults, fmt.Sprintf("%s: imports %s outside a test", f.path, imported))
			}
		}
	}
	return faults
}

// forTests reports whether a package is one of testSupport, or lies in a nested
// module and has the name of its parent and "test", such as passkey/passkeytest:
// the suite of the parent's store, which the root module cannot import.
func forTests(mod, dir string) bool {
	if mod == "." {
		return slices.Contains(testSupport, top(dir))
	}
	return path.Base(dir) == path.Base(path.Dir(dir))+"test"
}

// checkTestSupport keeps what tests stand on, the testing package included, out of services.
func checkTestSupport(t *tree) (faults []string) {
	for _, f := range t.files {
		if f.test || f.Name.Name == "main" || forTests(f.mod, f.dir) {
			continue
		}
		for _, imported := range importsOf(f) {
			dir, own := t.own(imported)
			if own && (forTests(".", dir) || forTests("", dir)) || within(imported, "testing") {
				faults = append(faults, fmt.Sprintf("%s: imports %s, which is for tests and commands", f.path, imported))
			}
		}
	}
	return faults
}

// checkNestedImports keeps the nested modules to what any other module could import: an example
// that reaches into internal/ is not one that a reader can copy.
func checkNestedImports(t *tree) (faults []string) {
	for _, f := range t.files {
		if f.mod == "." || top(f.dir) == "internal" {
			continue
		}
		for _, imported := range importsOf(f) {
			if dir, own := t.own(imported); own && top(dir) == "internal" && !slices.Contains(nestedMayImport[f.mod], dir) {
				faults = append(faults, fmt.Sprintf("%s: imports %s from another module", f.path, imported))
			}
		}
	}
	return faults
}
