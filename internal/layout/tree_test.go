package layout_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// A tree is the repository as the rules see it: every Go file, every go.mod, and the go.work.
type tree struct {
	root  module            // the module at the top
	mods  map[string]module // the nested ones, by directory
	work  []string          // the directories that go.work uses
	files []source          // in order of path
}

// A module is what the rules need of a go.mod.
type module struct {
	path      string
	goVersion string
	require   map[string]string // module path to version
	direct    []string          // required, and not marked "// indirect"
	replace   map[string]string // module path to target, versions left out
}

// A source is one Go file.
type source struct {
	*ast.File
	path  string // from the top of the tree, with slashes
	dir   string // of path; "." is the root package
	mod   string // directory of the module it belongs to; "." is the root module
	test  bool
	lines int
}

// loadTree reads a tree. Build constraints are not looked at: a rule holds on every platform.
func loadTree(fsys fs.FS) (*tree, error) {
	t := &tree{mods: map[string]module{}}
	fset := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			// What the go command does not look into, and what npm leaves behind.
			if p != "." && (name[0] == '.' || name[0] == '_' || name == "testdata" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if name != "go.mod" && p != "go.work" && path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		switch dir := path.Dir(p); {
		case p == "go.mod":
			t.root = parseModule(string(text))
		case p == "go.work":
			for _, line := range directives(string(text)) {
				if line[0] == "use" {
					t.work = append(t.work, path.Clean(line[1]))
				}
			}
		case name == "go.mod":
			t.mods[dir] = parseModule(string(text))
		default:
			file, err := parser.ParseFile(fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			t.files = append(t.files, source{
				File: file, path: p, dir: dir, mod: ".",
				test:  strings.HasSuffix(name, "_test.go"),
				lines: bytes.Count(text, []byte("\n")),
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if t.root.path == "" {
		return nil, fmt.Errorf("no go.mod with a module path at the top")
	}
	for i, f := range t.files {
		for dir := f.dir; dir != "."; dir = path.Dir(dir) {
			if _, nested := t.mods[dir]; nested {
				t.files[i].mod = dir
				break
			}
		}
	}
	return t, nil
}

// code yields the files of the root module that are not tests.
func (t *tree) code() []source {
	return slices.DeleteFunc(slices.Clone(t.files), func(f source) bool { return f.test || f.mod != "." })
}

// library is code without commands and without internal packages: what others can import.
func (t *tree) library() []source {
	return slices.DeleteFunc(t.code(), func(f source) bool {
		return f.Name.Name == "main" || top(f.dir) == "internal"
	})
}

// features returns the packages of features, by directory, tests included.
func (t *tree) features() map[string][]source {
	dirs := map[string][]source{}
	for _, f := range t.files {
		if f.mod == "." && layerOf(f.dir) == feature && f.Name.Name != "main" {
			dirs[f.dir] = append(dirs[f.dir], f)
		}
	}
	return dirs
}

// own reports whether an import path lies in the root module's name space, and the directory it names.
func (t *tree) own(imported string) (dir string, ok bool) {
	if imported == t.root.path {
		return ".", true
	}
	return strings.CutPrefix(imported, t.root.path+"/")
}

// foreign reports whether an import path is neither ours nor the standard library's.
func (t *tree) foreign(imported string) bool {
	_, own := t.own(imported)
	first, _, _ := strings.Cut(imported, "/")
	return !own && strings.Contains(first, ".")
}

// importsOf returns the paths that a file imports.
func importsOf(f source) []string {
	var paths []string
	for _, spec := range f.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, "`\""))
	}
	return paths
}

// top is the first element of a directory.
func top(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// within reports whether an import path is in a module.
func within(imported, module string) bool {
	return imported == module || strings.HasPrefix(imported, module+"/")
}

// parseModule reads a go.mod. Only what the go command itself writes is understood.
func parseModule(text string) module {
	m := module{require: map[string]string{}, replace: map[string]string{}}
	for _, line := range directives(text) {
		switch line[0] {
		case "module":
			m.path = line[1]
		case "go":
			m.goVersion = line[1]
		case "require":
			m.require[line[1]] = line[2]
			if line[len(line)-1] != "indirect" {
				m.direct = append(m.direct, line[1])
			}
		case "replace":
			if i := slices.Index(line, "=>"); i > 0 && i+1 < len(line) {
				m.replace[line[1]] = line[i+1]
			}
		}
	}
	slices.Sort(m.direct)
	return m
}

// directives returns the lines of a go.mod or go.work as words, a block's verb put before each of
// its lines. Comments are dropped, but for the word that marks an indirect requirement.
func directives(text string) [][]string {
	var lines [][]string
	block := ""
	for line := range strings.Lines(text) {
		statement, comment, _ := strings.Cut(line, "//")
		words := strings.Fields(statement)
		switch {
		case len(words) == 0:
			continue
		case words[0] == ")":
			block = ""
			continue
		case len(words) == 2 && words[1] == "(":
			block = words[0]
			continue
		}
		if block != "" {
			words = append([]string{block}, words...)
		}
		if strings.TrimSpace(comment) == "indirect" {
			words = append(words, "indirect")
		}
		if len(words) > 1 {
			lines = append(lines, words)
		}
	}
	return lines
}

// sorted returns the keys of a map in order, so that faults are reported in the same order each time.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
