package layout_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// checkSignatures finds types of other modules in what packages export: such a type would make that
// module's next major version ours too.
func checkSignatures(t *tree) (faults []string) {
	dirs := map[string][]source{}
	for _, f := range t.library() {
		dirs[f.dir] = append(dirs[f.dir], f)
	}
	for _, dir := range sorted(dirs) {
		s := &surface{t: t, types: map[string]typeDecl{}}
		for _, f := range dirs[dir] {
			s.declare(f)
		}
		for _, f := range dirs[dir] {
			s.walk(f)
		}
		faults = append(faults, s.faults...)
	}
	return faults
}

// A surface is what a package's exported declarations lead to: an unexported type that an exported
// function returns is part of it, with its exported fields and methods.
type surface struct {
	t      *tree
	types  map[string]typeDecl
	faults []string
}

type typeDecl struct {
	file    source
	spec    *ast.TypeSpec
	methods []method
}

type method struct {
	file source
	decl *ast.FuncDecl
}

// declare notes the types of a file and the methods declared in it.
func (s *surface) declare(f source) {
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if name := receiver(decl); name != "" && decl.Name.IsExported() {
				d := s.types[name]
				d.methods = append(d.methods, method{f, decl})
				s.types[name] = d
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					d := s.types[spec.Name.Name]
					d.file, d.spec = f, spec
					s.types[spec.Name.Name] = d
				}
			}
		}
	}
}

// walk follows the exported declarations of a file.
func (s *surface) walk(f source) {
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if receiver(decl) == "" && decl.Name.IsExported() {
				s.follow(f, decl.Name.Name, decl.Type)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						s.typeNamed(spec.Name.Name)
					}
				case *ast.ValueSpec:
					if i := slices.IndexFunc(spec.Names, (*ast.Ident).IsExported); i >= 0 {
						s.value(f, spec.Names[i].Name, spec)
					}
				}
			}
		}
	}
}

// typeNamed follows a type of the package once.
func (s *surface) typeNamed(name string) {
	d, ok := s.types[name]
	if !ok || d.spec == nil {
		return
	}
	delete(s.types, name)
	if d.spec.TypeParams != nil {
		s.follow(d.file, name, d.spec.TypeParams)
	}
	s.follow(d.file, name, d.spec.Type)
	for _, m := range d.methods {
		s.follow(m.file, name+"."+m.decl.Name.Name, m.decl.Type)
	}
}

// value follows the type of a constant or variable. Without a written one it goes by the look of the
// value: type checking would need the source of every dependency.
func (s *surface) value(f source, name string, spec *ast.ValueSpec) {
	if spec.Type != nil {
		s.follow(f, name, spec.Type)
		return
	}
	for _, v := range spec.Values {
		for done := false; !done; {
			switch e := v.(type) {
			case *ast.UnaryExpr:
				v = e.X
			case *ast.CallExpr:
				v = e.Fun
			case *ast.CompositeLit:
				v = e.Type
			case *ast.FuncLit:
				v = e.Type
			default:
				done = true
			}
		}
		s.follow(f, name, v)
	}
}

// follow reports the types of other modules under a node, and goes on into the package's own types.
func (s *surface) follow(f source, where string, node ast.Node) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			s.members(f, where, n.Fields)
			return false
		case *ast.InterfaceType:
			s.members(f, where, n.Methods)
			return false
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				if imported := importNamed(f, x.Name); s.t.foreign(imported) {
					s.faults = append(s.faults, fmt.Sprintf("%s: %s shows %s.%s of %s", f.path, where, x.Name, n.Sel.Name, imported))
				}
			}
			return false
		case *ast.Ident:
			s.typeNamed(n.Name)
		}
		return true
	})
}

// members follows what is exported or embedded of a struct's fields or an interface's methods.
func (s *surface) members(f source, where string, list *ast.FieldList) {
	for _, field := range list.List {
		if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
			s.follow(f, where, field.Type)
		}
	}
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// importNamed returns the path imported under a name, or "". Without a name in the import, a package
// is taken to be called as its path ends, the major version and a "go-" in front left off.
func importNamed(f source, name string) string {
	for _, spec := range f.Imports {
		imported := strings.Trim(spec.Path.Value, "`\"")
		called := path.Base(imported)
		if majorVersion.MatchString(called) {
			called = path.Base(path.Dir(imported))
		}
		called = strings.TrimPrefix(called, "go-")
		if spec.Name != nil {
			called = spec.Name.Name
		}
		if called == name {
			return imported
		}
	}
	return ""
}

// receiver returns the name of the type that a method is declared on, and "" for a function.
func receiver(decl *ast.FuncDecl) string {
	if decl.Recv == nil || len(decl.Recv.List) == 0 {
		return ""
	}
	for e := decl.Recv.List[0].Type; ; {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// checkState finds code that runs at start-up and state that any importer could change.
func checkState(t *tree) (faults []string) {
	for _, f := range t.files {
		if f.test {
			continue
		}
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv == nil && decl.Name.Name == "init" {
					faults = append(faults, fmt.Sprintf("%s: has an init function", f.path))
				}
			case *ast.GenDecl:
				if decl.Tok != token.VAR || f.Name.Name == "main" {
					continue
				}
				for _, spec := range decl.Specs {
					spec := spec.(*ast.ValueSpec)
					for _, name := range spec.Names {
						if sentinel := strings.HasPrefix(name.Name, "Err") && len(spec.Values) > 0; name.IsExported() && !sentinel {
							faults = append(faults, fmt.Sprintf("%s: exports the variable %s, which is no error sentinel", f.path, name.Name))
						}
					}
				}
			}
		}
	}
	return faults
}

// checkDocs finds exported names without a comment, and packages without one.
func checkDocs(t *tree) (faults []string) {
	packages := map[string]bool{} // by directory: whether it has a comment
	for _, f := range t.files {
		if f.test || f.Name.Name == "main" {
			continue
		}
		packages[f.dir] = packages[f.dir] || f.Doc.Text() != ""
		undocumented := func(name string) {
			faults = append(faults, fmt.Sprintf("%s: %s has no comment", f.path, name))
		}
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				of := receiver(decl)
				if decl.Name.IsExported() && (of == "" || ast.IsExported(of)) && decl.Doc.Text() == "" {
					undocumented(strings.TrimPrefix(of+"."+decl.Name.Name, "."))
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						// The comment of a group of types says what none of them is.
						if spec.Name.IsExported() && spec.Doc.Text() == "" && (decl.Lparen.IsValid() || decl.Doc.Text() == "") {
							undocumented(spec.Name.Name)
						}
					case *ast.ValueSpec:
						i := slices.IndexFunc(spec.Names, (*ast.Ident).IsExported)
						if i >= 0 && spec.Doc.Text() == "" && spec.Comment.Text() == "" && decl.Doc.Text() == "" {
							undocumented(spec.Names[i].Name)
						}
					}
				}
			}
		}
	}
	for _, dir := range sorted(packages) {
		if !packages[dir] {
			faults = append(faults, fmt.Sprintf("%s: the package has no comment", dir))
		}
	}
	return faults
}
