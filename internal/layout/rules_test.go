package layout_test

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// good is a tree in miniature that breaks no rule: files by path.
var good = unpack(`
-- go.mod --
module example.com/kit

go 1.26.0

require (
	github.com/golang-jwt/jwt/v5 v5.0.0 // signs
	golang.org/x/crypto v0.1.0
	golang.org/x/sys v0.1.0 // indirect
)

// For tests only.
require github.com/stretchr/testify v1.0.0
-- go.work --
go 1.26.0

use (
	.
	./examples // a comment
	./internal/integration
	./redisstore
)
-- examples/go.mod --
module example.com/kit/examples

go 1.26.0

require (
	example.com/kit v0.1.0
	example.com/kit/redisstore v0.1.0
)

replace example.com/kit/redisstore => ../redisstore

replace example.com/kit => ../
-- benchmarks/go.mod --
module example.com/kit/benchmarks

go 1.26.0

require example.com/kit v0.1.0

replace example.com/kit => ../
-- internal/integration/go.mod --
module example.com/kit/internal/integration

go 1.26.0

require example.com/kit v0.1.0

replace example.com/kit v0.1.0 => ../../
-- redisstore/go.mod --
module example.com/kit/redisstore

go 1.26.0

require example.com/kit v0.1.0
-- redisstore/redisstoretest/suite.go --
// Package redisstoretest tests stores.
package redisstoretest

import "testing"

// TestStore tests.
func TestStore(*testing.T) {}
-- kit.go --
// Package kit is a kit.
package kit

import (
	"errors"
	"net/http"

	"example.com/kit/internal/scan"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/bcrypt"
)

// Kit is a kit.
type Kit struct {
	parser *jwt.Parser
	*scan.Scanner
}

// Handler hands.
func (k *Kit) Handler(next http.Handler) http.Handler { return next }

func (k *Kit) sign(jwt.Claims) error { return bcrypt.ErrHashTooShort }

// ErrNo is returned when not.
var ErrNo = errors.New("kit: no")

// The levels.
const (
	Low = iota
	High
)

var cache map[string]jwt.Token
-- kit_test.go --
package kit_test

import (
	_ "example.com/kit/apikey"
	_ "example.com/kit/storetest"
	_ "github.com/stretchr/testify/require"
)

func init() {}
-- internal/scan/scan.go --
// Package scan scans.
package scan

import "golang.org/x/crypto/hkdf"

// Scanner scans.
type Scanner struct{ hash hkdf.Hash }
-- internal/integration/doc.go --
// Package integration is a module of its own.
package integration

import _ "example.com/kit/internal/scan"
-- apikey/apikey.go --
// Package apikey has keys.
package apikey

import "example.com/kit"

// Keys are keys.
type Keys struct{ Kit *kit.Kit }

// Store stores.
type Store interface{ Put(key string) error }
-- apikey/example_test.go --
package apikey_test

func Example() {
	// Output:
}
-- storetest/storetest.go --
// Package storetest tests stores.
package storetest

import (
	"testing"

	"example.com/kit"
	"example.com/kit/apikey"
)

// TestStore tests.
func TestStore(*testing.T, *kit.Kit, apikey.Store) {}
-- contract/contract.go --
// Package contract attacks.
package contract

import "testing/quick"

// Attack attacks.
func Attack(*quick.Config) {}
-- examples/demo/main.go --
package main

import (
	_ "example.com/kit/contract"
	_ "github.com/go-chi/chi/v5"
)

func main() {}
-- testdata/broken.go --
not Go
-- .hidden/broken.go --
not Go
-- examples/testdata/broken.go --
not Go
`)

// unpack splits a text at its "-- path --" lines.
func unpack(text string) map[string]string {
	files, path := map[string]string{}, ""
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "-- "); ok {
			path = strings.TrimSuffix(name, " --\n")
		} else if path != "" {
			files[path] += line
		}
	}
	return files
}

func TestRulesAllowTheGoodTree(t *testing.T) {
	t.Parallel()
	if got := broken(t, nil); len(got) > 0 {
		t.Errorf("faults: %q", got)
	}
}

// Texts of the files that break the good tree.
const (
	kitCode = "package kit\n\n"
	jwtCode = "package kit\n\nimport \"github.com/golang-jwt/jwt/v5\"\n\n"
	nested  = "module example.com/kit/examples\n\ngo 1.26.0\n\nrequire example.com/kit v0.1.0\n\n"
)

// importing is a file that imports one package.
func importing(pkg, imported string) string {
	return "package " + pkg + "\n\nimport _ \"" + imported + "\"\n"
}

// commentLines are as many lines as asked for.
func commentLines(n int) string { return strings.Repeat("// line\n", n) }

// types is a file that declares as many exported types as asked for.
func types(pkg, underlying string, n int) string {
	text := "package " + pkg + "\n"
	for i := range n {
		text += "\n// T is a type.\ntype T" + strings.Repeat("x", i) + " " + underlying + "\n"
	}
	return text
}

// TestRulesCanFail breaks the good tree in one place at a time: a rule that no tree can break would
// pass for ever, and say nothing.
func TestRulesCanFail(t *testing.T) {
	t.Parallel()
	cases := []struct {
		rule, name string
		want       string // in the one fault
		path, text string // the file that is put into the good tree, or replaced in it
		and        map[string]string
	}{
		{"layers", "the root imports a feature", "extra.go: imports example.com/kit/apikey",
			"extra.go", importing("kit", "example.com/kit/apikey"), nil},
		{"layers", "a feature imports another", "totp/totp.go: imports example.com/kit/apikey",
			"totp/totp.go", "// Package totp is.\n" + importing("totp", "example.com/kit/apikey"),
			map[string]string{"totp/example_test.go": strings.ReplaceAll(good["apikey/example_test.go"], "apikey", "totp")}},
		{"layers", "a feature imports internal", "internal/scan",
			"apikey/extra.go", importing("apikey", "example.com/kit/internal/scan"), nil},
		{"layers", "a feature with a row imports another internal package", "internal/scan",
			"harden/harden.go", "// Package harden is.\n" + importing("harden", "example.com/kit/internal/scan"),
			map[string]string{"harden/example_test.go": strings.ReplaceAll(good["apikey/example_test.go"], "apikey", "harden")}},
		{"layers", "a feature imports a dependency", "bcrypt",
			"apikey/extra.go", importing("apikey", "golang.org/x/crypto/bcrypt"), nil},
		{"layers", "the package from outside imports internal", "internal/scan",
			"internal/foreign/foreign.go", "// Package foreign is.\n" + importing("foreign", "example.com/kit/internal/scan"), nil},
		{"layers", "the package from outside imports a dependency", "bcrypt",
			"internal/foreign/foreign.go", "// Package foreign is.\n" + importing("foreign", "golang.org/x/crypto/bcrypt"), nil},
		{"layers", "the test support imports internal", "internal/scan",
			"authkittest/authkittest.go", "// Package authkittest is.\n" + importing("authkittest", "example.com/kit/internal/scan"), nil},
		{"layers", "an internal package imports a feature", "apikey",
			"internal/scan/extra.go", importing("scan", "example.com/kit/apikey"), nil},
		{"layers", "the contract imports a feature", "apikey",
			"contract/extra.go", importing("contract", "example.com/kit/apikey"), nil},

		{"dependencies", "a fourth", "google/uuid",
			"go.mod", good["go.mod"] + "require github.com/google/uuid v1.0.0\n", nil},
		{"dependencies", "an indirect one is imported", "golang.org/x/sys/cpu",
			"extra.go", importing("kit", "golang.org/x/sys/cpu"), nil},
		{"dependencies", "a test brings one", "go-cmp",
			"extra_test.go", importing("kit_test", "github.com/google/go-cmp/cmp"), nil},
		{"dependencies", "testify outside a test", "testify",
			"extra.go", importing("kit", "github.com/stretchr/testify/assert"), nil},

		{"test support", "the library imports storetest", "storetest",
			"extra.go", importing("kit", "example.com/kit/storetest"), nil},
		{"test support", "the library imports authkittest", "authkittest",
			"apikey/extra.go", importing("apikey", "example.com/kit/authkittest"), nil},
		{"test support", "the library imports testing", "testing",
			"apikey/extra.go", importing("apikey", "testing"), nil},
		{"test support", "a nested library imports its suite", "redisstoretest",
			"redisstore/extra.go", "// Package redisstore is.\n" + importing("redisstore", "example.com/kit/redisstore/redisstoretest"), nil},
		{"test support", "a nested library imports the contract", "contract",
			"examples/mw/mw.go", "// Package mw is.\n" + importing("mw", "example.com/kit/contract"), nil},

		{"nested imports", "an example imports internal", "internal/scan",
			"examples/demo/extra.go", importing("main", "example.com/kit/internal/scan"), nil},

		{"one login path", "a handler begins a session", "Kit.Serve uses CreateSession",
			"extra.go", kitCode + "// Serve serves.\nfunc (k *Kit) Serve() { k.store.CreateSession() }\n", nil},
		{"one login path", "a feature begins a session", "apikey/extra.go: login uses CreateSession",
			"apikey/extra.go", "package apikey\n\nfunc login(s sessions) { s.CreateSession() }\n", nil},
		{"one login path", "a feature issues a token", "login uses Issue",
			"apikey/extra.go", "package apikey\n\nfunc login(s issuer) { f := s.Issue; f() }\n", nil},
		{"one login path", "a function literal begins a session", "a variable uses CreateSession",
			"apikey/extra.go", "package apikey\n\nvar login = func(s sessions) { s.CreateSession() }\n", nil},
		{"one login path", "the root issues a token", "login uses issue",
			"extra.go", kitCode + "func login(k *Kit) { k.issue() }\n", nil},
		{"one login path", "the Kit has a second CreateSession", "Kit.CreateSession uses CreateSession",
			"extra.go", kitCode + "// CreateSession creates.\nfunc (k *Kit) CreateSession() { k.store.CreateSession() }\n", nil},
		{"signatures", "a parameter", "Parse shows jwt.Keyfunc",
			"extra.go", jwtCode + "// Parse parses.\nfunc Parse(jwt.Keyfunc) {}\n", nil},
		{"signatures", "a method", "Kit.Parse shows jwt.Keyfunc",
			"extra.go", jwtCode + "// Parse parses.\nfunc (*Kit) Parse(jwt.Keyfunc) {}\n", nil},
		{"signatures", "a field, by another name", "Config shows j.Claims",
			"extra.go", strings.Replace(jwtCode, "import", "import j", 1) +
				"// Config configures.\ntype Config struct{ Claims map[string]*j.Claims }\n", nil},
		{"signatures", "an embedded type", "Config shows jwt.Claims",
			"extra.go", jwtCode + "// Config configures.\ntype Config struct{ jwt.Claims }\n", nil},
		{"signatures", "an interface's method", "Signer shows jwt.Claims",
			"extra.go", jwtCode + "// Signer signs.\ntype Signer interface{ Sign(jwt.Claims) }\n", nil},
		{"signatures", "an unexported type that is returned", "opener.Open shows jwt.Token",
			"extra.go", jwtCode + "// New news.\nfunc New() *opener { return nil }\n\n" +
				"type opener struct{ key jwt.Keyfunc }\n\nfunc (*opener) Open() *jwt.Token { return nil }\n", nil},
		{"signatures", "an error sentinel", "ErrIs shows jwt.ErrTokenExpired",
			"extra.go", jwtCode + "// ErrIs is.\nvar ErrIs = jwt.ErrTokenExpired\n", nil},
		{"signatures", "a type parameter", "Box shows jwt.Claims",
			"extra.go", jwtCode + "// Box boxes.\ntype Box[C jwt.Claims] struct{}\n", nil},

		{"state", "init", "init",
			"internal/scan/extra.go", "package scan\n\nfunc init() {}\n", nil},
		{"state", "an exported variable", "Default",
			"extra.go", kitCode + "// Default is.\nvar Default = 1\n", nil},
		{"state", "a hook that is called as a sentinel is", "ErrHook",
			"extra.go", kitCode + "// ErrHook is.\nvar ErrHook func(error)\n", nil},

		{"docs", "a function", "New has no comment",
			"extra.go", kitCode + "func New() {}\n", nil},
		{"docs", "a method", "Kit.Close has no comment",
			"extra.go", kitCode + "func (k *Kit) Close() {}\n", nil},
		{"docs", "a method of a generic type", "Box.Open has no comment",
			"extra.go", kitCode + "// Box boxes.\ntype Box[T any] struct{}\n\nfunc (*Box[T]) Open() {}\n", nil},
		{"docs", "a type", "T has no comment",
			"extra.go", kitCode + "type T int\n", nil},
		{"docs", "a type in a group", "T has no comment",
			"extra.go", kitCode + "// Types.\ntype (\n\tT int\n)\n", nil},
		{"docs", "a constant", "C has no comment",
			"extra.go", kitCode + "const C = 1\n", nil},
		{"docs", "a directive is no comment", "New has no comment",
			"extra.go", kitCode + "//go:noinline\nfunc New() {}\n", nil},
		{"docs", "a package", "internal/other: the package has no comment",
			"internal/other/other.go", "package other\n", nil},

		{"file sizes", "a long file", "demo/long.go: 501 lines",
			"examples/demo/long.go", commentLines(500) + "package main\n", nil},

		{"root size", "many types", "61 exported types",
			"extra.go", types("kit", "int", 60), nil},
		{"root size", "many interfaces", "13 exported interfaces",
			"extra.go", types("kit", "interface{}", 13), nil},

		{"feature sizes", "many types", "13 exported types",
			"apikey/extra.go", types("apikey", "int", 11), nil},
		{"feature sizes", "much code", "1002 lines, at most 1000",
			"apikey/apikey.go", commentLines(499) + "package apikey\n",
			map[string]string{"apikey/extra.go": commentLines(499) + "package apikey\n", "apikey/more.go": "// more\npackage apikey\n"}},
		{"feature sizes", "much code for all stores", "2802 lines, at most 2800",
			"sqlstore/sqlstore.go", "// Package sqlstore stores.\n" + commentLines(449) + "package sqlstore\n",
			map[string]string{
				"sqlstore/a.go": commentLines(450) + "package sqlstore\n", "sqlstore/b.go": commentLines(450) + "package sqlstore\n",
				"sqlstore/c.go": commentLines(450) + "package sqlstore\n", "sqlstore/d.go": commentLines(450) + "package sqlstore\n",
				"sqlstore/e.go": commentLines(450) + "package sqlstore\n", "sqlstore/f.go": commentLines(95) + "package sqlstore\n",
				"sqlstore/example_test.go": strings.ReplaceAll(good["apikey/example_test.go"], "apikey", "sqlstore"),
			}},
		{"feature sizes", "two stores", "2 exported store interfaces",
			"apikey/extra.go", "package apikey\n\n// OtherStore stores.\ntype OtherStore interface{}\n", nil},
		{"examples", "no example that runs", "apikey: has no Example",
			"apikey/example_test.go", "package apikey_test\n\nfunc Example() {}\n", nil},

		{"nested modules", "no replace", "needs replace example.com/kit => ../",
			"examples/go.mod", nested, nil},
		{"nested modules", "a replace that leads elsewhere", "needs replace example.com/kit => ../",
			"examples/go.mod", nested + "replace example.com/kit => ../../\n", nil},
		{"nested modules", "another path", "module path example.com/examples",
			"examples/go.mod", strings.Replace(good["examples/go.mod"], "kit/examples", "examples", 1), nil},
		{"nested modules", "another Go", "go 1.27.0",
			"examples/go.mod", strings.Replace(good["examples/go.mod"], "1.26.0", "1.27.0", 1), nil},
		{"nested modules", "no requirement", "redisstore/go.mod: does not require example.com/kit",
			"redisstore/go.mod", strings.Replace(good["redisstore/go.mod"], "require example.com/kit v0.1.0", "", 1), nil},
		{"nested modules", "a replace in a published one", "redisstore/go.mod: replaces",
			"redisstore/go.mod", good["redisstore/go.mod"] + "replace example.com/kit => ../\n", nil},
		{"nested modules", "another version", "require v0.1.0, v0.2.0 of each other",
			"redisstore/go.mod", strings.Replace(good["redisstore/go.mod"], "v0.1.0", "v0.2.0", 1), nil},
		{"nested modules", "a replace in the root", "go.mod: replaces",
			"go.mod", good["go.mod"] + "replace golang.org/x/crypto => ../crypto\n", nil},

		{"workspace", "a module that is left out", "go.work",
			"go.work", "go 1.26.0\n\nuse .\nuse ./examples\nuse ./redisstore\n", nil},
		{"workspace", "the benchmarks", "go.work",
			"go.work", strings.Replace(good["go.work"], "\t.\n", "\t.\n\t./benchmarks\n", 1), nil},
	}
	seen := map[string]bool{}
	for _, tc := range cases {
		seen[tc.rule] = true
		t.Run(tc.rule+"/"+tc.name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{tc.path: tc.text}
			maps.Copy(files, tc.and)
			got := broken(t, files)
			if len(got) != 1 || !strings.HasPrefix(got[0], tc.rule+": ") || !strings.Contains(got[0], tc.want) {
				t.Errorf("faults: %q\nwant one of the rule %q with %q in it", got, tc.rule, tc.want)
			}
		})
	}
	for _, rule := range rules {
		if !seen[rule.name] {
			t.Errorf("no case breaks the rule %q", rule.name)
		}
	}
}

// TestLoadTreeRefuses what it cannot read: a file left out is a file that no rule holds for.
func TestLoadTreeRefuses(t *testing.T) {
	t.Parallel()
	for name, fsys := range map[string]fs.FS{
		"a file that is no Go":  fstest.MapFS{"go.mod": {Data: []byte("module m\n")}, "a.go": {Data: []byte("not Go")}},
		"a tree with no module": fstest.MapFS{"a.go": {Data: []byte("package a\n")}},
	} {
		if _, err := loadTree(fsys); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// newTree returns the good tree with some files put in or replaced.
func newTree(t *testing.T, files map[string]string) *tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, set := range []map[string]string{good, files} {
		for path, text := range set {
			fsys[path] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	tree, err := loadTree(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// broken returns the faults, "rule: fault", of the good tree with some files put in or replaced.
func broken(t *testing.T, files map[string]string) []string {
	t.Helper()
	tree := newTree(t, files)
	var faults []string
	for _, rule := range rules {
		for _, fault := range rule.check(tree) {
			faults = append(faults, rule.name+": "+fault)
		}
	}
	slices.Sort(faults)
	return faults
}
