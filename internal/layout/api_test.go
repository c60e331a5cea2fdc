package layout_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file of the API")

// TestAPI compares the exported names of the published packages with testdata/api.txt, so that each
// change of the API shows in a diff. To accept a change:
//
//	go test ./internal/layout -run TestAPI -update
func TestAPI(t *testing.T) {
	t.Parallel()
	top := repository(t)
	tree, err := loadTree(os.DirFS(top))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join(top, "internal", "layout", "testdata", "api.txt")
	got := api(tree)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range difference(got, string(want)) {
		t.Error("new: " + line)
	}
	for _, line := range difference(string(want), got) {
		t.Error("gone: " + line)
	}
	if t.Failed() {
		t.Log("To accept this: go test ./internal/layout -run TestAPI -update")
	}
}

// TestAPIShowsChanges checks that each kind of declaration is listed, and nothing that is not exported.
func TestAPIShowsChanges(t *testing.T) {
	t.Parallel()
	tree := newTree(t, map[string]string{"apikey/more.go": `package apikey

const (
	Low Level = iota
	high
)

type Level int

type Reader interface {
	error
	Read(p []byte) (n int, err error)
	close()
}

type Box[T any] struct {
	Value, Other T // a comment
	*Keys
	secret string
}

func (b *Box[T]) Open(key string) error { return nil }

func (b *Box[T]) shut() {}

func (h hidden) Shown() {}

type hidden struct{}

type Alias = Keys

var ErrNo, errNot error

func Make[T any](list ...func(T) error) *Box[T] { return nil }
`, "apikey/more_test.go": "package apikey_test\n\nfunc Exported() {}\n"})
	want := `package apikey
const Low Level = iota
func (b *Box[T]) Open(key string) error
func Make[T any](list ...func(T) error) *Box[T]
type Alias = Keys
type Box[T any] struct
type Box[T any] struct: *Keys
type Box[T any] struct: Other T
type Box[T any] struct: Value T
type Keys struct
type Keys struct: Kit *kit.Kit
type Level int
type Reader interface
type Reader interface: Read(p []byte) (n int, err error)
type Reader interface: close()
type Reader interface: error
type Store interface
type Store interface: Put(key string) error
var ErrNo error

`
	if got := api(tree); !strings.Contains(got, want) {
		t.Errorf("got:\n%s\nwant in it:\n%s", got, want)
	}
}

// difference returns the lines of a that b does not have under the same package.
func difference(a, b string) []string {
	var lines []string
	for section := range strings.SplitSeq(a, "\n\n") {
		name, _, _ := strings.Cut(section, "\n")
		_, other, _ := strings.Cut("\n\n"+b, "\n\n"+name+"\n")
		other, _, _ = strings.Cut(other, "\n\n")
		have := strings.Split(other, "\n")
		for line := range strings.SplitSeq(section, "\n") {
			if line != "" && line != name && !slices.Contains(have, line) {
				lines = append(lines, name+": "+line)
			}
		}
	}
	return lines
}

// api lists the exported declarations of the packages that others can import, a line each. The
// members of a struct or interface have lines of their own. Unexported methods of an interface are
// listed, since they decide who can implement it.
func api(t *tree) string {
	packages := map[string][]string{} // directory to lines
	for _, f := range t.files {
		if !f.test && f.Name.Name != "main" && !slices.Contains(unpublished, top(f.dir)) && !strings.Contains(f.dir, "/internal") {
			for _, decl := range f.Decls {
				packages[f.dir] = append(packages[f.dir], declared(decl)...)
			}
		}
	}
	var text strings.Builder
	for _, dir := range sorted(packages) {
		slices.Sort(packages[dir])
		fmt.Fprintf(&text, "package %s\n%s\n\n", dir, strings.Join(packages[dir], "\n"))
	}
	return text.String()
}

// declared returns the lines of a declaration.
func declared(decl ast.Decl) (lines []string) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if of := receiver(decl); decl.Name.IsExported() && (of == "" || ast.IsExported(of)) {
			lines = append(lines, oneLine(&ast.FuncDecl{Recv: decl.Recv, Name: decl.Name, Type: decl.Type}))
		}
	case *ast.GenDecl:
		var constant ast.Expr // the type that constants without a value repeat
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() {
					lines = append(lines, typeLines(spec)...)
				}
			case *ast.ValueSpec:
				if spec.Type != nil || len(spec.Values) > 0 {
					constant = spec.Type
				}
				for i, name := range spec.Names {
					if name.IsExported() {
						line := decl.Tok.String() + " " + name.Name
						if constant != nil {
							line += " " + oneLine(constant)
						}
						if i < len(spec.Values) && decl.Tok == token.CONST {
							line += " = " + oneLine(spec.Values[i])
						}
						lines = append(lines, line)
					}
				}
			}
		}
	}
	return lines
}

// typeLines returns the lines of a type.
func typeLines(spec *ast.TypeSpec) []string {
	name := "type " + spec.Name.Name
	if spec.TypeParams != nil {
		var params []string
		for _, p := range spec.TypeParams.List {
			for _, n := range p.Names {
				params = append(params, n.Name+" "+oneLine(p.Type))
			}
		}
		name += "[" + strings.Join(params, ", ") + "]"
	}
	var members *ast.FieldList
	switch underlying := spec.Type.(type) {
	case *ast.StructType:
		name, members = name+" struct", underlying.Fields
	case *ast.InterfaceType:
		name, members = name+" interface", underlying.Methods
	default:
		if spec.Assign.IsValid() {
			name += " ="
		}
		return []string{name + " " + oneLine(spec.Type)}
	}
	lines := []string{name}
	for _, m := range members.List {
		if len(m.Names) == 0 {
			lines = append(lines, name+": "+oneLine(m.Type))
		}
		for _, n := range m.Names {
			if method, ok := m.Type.(*ast.FuncType); ok && strings.HasSuffix(name, " interface") {
				lines = append(lines, name+": "+n.Name+strings.TrimPrefix(oneLine(method), "func"))
			} else if n.IsExported() {
				lines = append(lines, name+": "+n.Name+" "+oneLine(m.Type))
			}
		}
	}
	return lines
}

// oneLine returns the source of a node on one line, without comments.
func oneLine(node ast.Node) string {
	var text bytes.Buffer
	if err := printer.Fprint(&text, token.NewFileSet(), node); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(text.String()), " ")
}
