package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A mutant is one small change of a program. Its key, which survives a shift of
// lines, is File, Func, Code and Change.
type mutant struct {
	ID     int    `json:"-"`
	File   string `json:"file"`   // from the top of the tree, with slashes
	Line   int    `json:"line"`   // of the change
	Func   string `json:"func"`   // that holds the change, or empty
	Code   string `json:"code"`   // text of the line
	Change string `json:"change"` // before → after, "drop: …" or "delete: …"

	// Opposite marks a condition that is negated. Hardly one survives, so they come last.
	Opposite bool `json:"-"`
}

func (m mutant) key() string {
	return strings.Join([]string{m.File, m.Func, m.Code, m.Change}, "\n")
}

// A rewriter turns the files of one package into files that hold every mutant.
// The environment selects one of them when the program runs, so that a package
// is compiled once for all of its mutants.
type rewriter struct {
	fset    *token.FileSet
	info    *types.Info
	pkg     *types.Package
	mutants *[]mutant
	last    *int                 // the highest ID
	ids     map[types.Object]int // mutants of constants
	used    map[int]bool         // those of ids that have a place where they can change

	file  *ast.File
	name  string // of the file, as in mutant.File
	text  []byte
	fn    string
	edits map[span]*edit
	keys  map[string]int
}

// A span is a range of offsets in a file.
type span struct{ from, to int }

// An edit replaces a span. Text renders the new form, edits inside included.
type edit struct {
	text  func() string
	wraps []func(string) string
	done  map[string]bool // wraps that are there
}

// parsePackage reads the files of a package and checks their types.
func parsePackage(fset *token.FileSet, path, dir string, names []string, imp types.Importer) ([]*ast.File, *types.Package, *types.Info, error) {
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, nil, err
		}
		files = append(files, f)
	}
	info := &types.Info{
		Types:  map[ast.Expr]types.TypeAndValue{},
		Uses:   map[*ast.Ident]types.Object{},
		Defs:   map[*ast.Ident]types.Object{},
		Scopes: map[ast.Node]*types.Scope{},
	}
	conf := types.Config{Importer: imp}
	pkg, err := conf.Check(path, fset, files, info)
	return files, pkg, info, err
}

// rewrite returns the new text of a file, or nil if it holds no mutant.
func (r *rewriter) rewrite(file *ast.File, name string, mutate bool) ([]byte, error) {
	path := r.fset.Position(file.Pos()).Filename
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r.file, r.name, r.text = file, name, text
	r.edits, r.keys = map[span]*edit{}, map[string]int{}
	for _, decl := range file.Decls {
		r.fn = ""
		if f, ok := decl.(*ast.FuncDecl); ok {
			r.fn = funcName(f)
		}
		r.walk(decl, mutate)
	}
	if len(r.edits) == 0 {
		return nil, nil
	}
	out := r.render(0, len(text), span{-1, -1})
	if _, err := parser.ParseFile(token.NewFileSet(), path, out, 0); err != nil {
		return nil, errors.Join(errors.New("the rewritten file has an error"), err)
	}
	return []byte(out), nil
}

func funcName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	if i, ok := t.(*ast.IndexExpr); ok {
		t = i.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

// walk finds the mutants of a declaration. Without mutate it only replaces the
// constants of other files.
func (r *rewriter) walk(decl ast.Node, mutate bool) {
	var stack []ast.Node
	ast.Inspect(decl, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		switch n := n.(type) {
		case *ast.GenDecl:
			if n.Tok == token.CONST || n.Tok == token.IMPORT {
				return false
			}
		case *ast.ArrayType:
			if n.Len != nil {
				return false
			}
		case ast.Expr:
			if tv, ok := r.info.Types[n]; ok && tv.Value != nil && !tv.IsType() {
				r.constant(n, tv, stack, mutate)
				return false
			}
			if mutate {
				r.expr(n, stack)
			}
		case ast.Stmt:
			if mutate {
				r.stmt(n, stack)
			}
		}
		stack = append(stack, n)
		return true
	})
}

func (r *rewriter) stmt(n ast.Stmt, stack []ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		r.condition(n.Cond)
		if n.Else == nil && leaves(n.Body) {
			if isErrNil(n.Cond) {
				// The opposite breaks each call that succeeds, which any test notices.
				r.edit(n.Cond).done[r.opposite(n.Cond.(*ast.BinaryExpr))] = true
			}
			change := "drop: if " + r.short(n.Cond) + " { … }"
			r.wrap(n.Cond, change, func(id int) func(string) string {
				return func(s string) string { return fmt.Sprintf("((%s) && !mutant__(%d))", s, id) }
			})
		}
	case *ast.ForStmt:
		if n.Cond != nil {
			r.condition(n.Cond)
		}
	case *ast.CaseClause:
		if sw, ok := stack[len(stack)-2].(*ast.SwitchStmt); ok && sw.Tag == nil {
			for _, e := range n.List {
				r.condition(e)
			}
		}
	case *ast.ReturnStmt:
		for _, e := range n.Results {
			if r.isBool(e) {
				r.condition(e)
			}
		}
	case *ast.ExprStmt:
		if call, ok := n.X.(*ast.CallExpr); ok && r.deletable(call) {
			r.delete(n, stack)
		}
	case *ast.DeferStmt:
		if r.deletable(n.Call) {
			if _, literal := n.Call.Fun.(*ast.FuncLit); !literal {
				r.delete(n, stack)
			}
		}
	case *ast.IncDecStmt:
		if _, local := n.X.(*ast.Ident); !local {
			r.delete(n, stack)
		}
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE || len(n.Lhs) != 1 {
			return
		}
		switch ast.Unparen(n.Lhs[0]).(type) {
		case *ast.SelectorExpr, *ast.IndexExpr, *ast.StarExpr:
			r.delete(n, stack)
		}
	}
}

// leaves reports whether a block ends by leaving the code around it.
func leaves(b *ast.BlockStmt) bool {
	if len(b.List) == 0 {
		return false
	}
	switch s := b.List[len(b.List)-1].(type) {
	case *ast.ReturnStmt, *ast.BranchStmt:
		return true
	case *ast.ExprStmt:
		call, ok := s.X.(*ast.CallExpr)
		if !ok {
			return false
		}
		id, ok := call.Fun.(*ast.Ident)
		return ok && id.Name == "panic"
	}
	return false
}

// housekeeping are calls whose loss is a leak, a race or a deadlock. Tests
// under -race and with deadlines see these, and no mutant is needed.
var housekeeping = map[string]bool{
	"Lock": true, "Unlock": true, "RLock": true, "RUnlock": true, "Done": true, "Add": true, "Wait": true, "Go": true,
	"Close": true, "close": true, "Stop": true, "cancel": true, "stop": true, "panic": true, "Put": true, "Grow": true,
	"Helper": true, "Signal": true, "Broadcast": true, "print": true, "println": true, "unlock": true,
}

func (r *rewriter) deletable(call *ast.CallExpr) bool {
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		return !housekeeping[f.Name]
	case *ast.SelectorExpr:
		return !housekeeping[f.Sel.Name]
	}
	return true
}

// delete makes a statement conditional. A statement outside of a list, such as
// the post statement of a loop, stays.
func (r *rewriter) delete(n ast.Stmt, stack []ast.Node) {
	switch stack[len(stack)-1].(type) {
	case *ast.BlockStmt, *ast.CaseClause:
	default:
		return
	}
	r.wrap(n, "delete: "+r.short(n), func(id int) func(string) string {
		return func(s string) string { return fmt.Sprintf("if !mutant__(%d) { %s }", id, s) }
	})
}

func (r *rewriter) isBool(e ast.Expr) bool {
	b, ok := r.info.TypeOf(e).(*types.Basic)
	return ok && b.Info()&types.IsBoolean != 0
}

// condition negates an expression, or the parts of it if it has such.
func (r *rewriter) condition(e ast.Expr) {
	if tv := r.info.Types[e]; tv.Value != nil {
		return
	}
	switch x := e.(type) {
	case *ast.ParenExpr:
		r.condition(x.X)
	case *ast.UnaryExpr:
		if _, inside := ast.Unparen(x.X).(*ast.BinaryExpr); !inside {
			r.negate(e)
		}
	case *ast.BinaryExpr: // expr does it
	default:
		r.negate(e)
	}
}

func (r *rewriter) negate(e ast.Expr) {
	change := r.short(e) + " → !(…)"
	if b, ok := e.(*ast.BinaryExpr); ok {
		change = r.opposite(b)
	}
	before := len(*r.mutants)
	r.wrap(e, change, func(id int) func(string) string {
		return func(s string) string { return fmt.Sprintf("(mutant__(%d) != (%s))", id, s) }
	})
	if len(*r.mutants) > before {
		(*r.mutants)[before].Opposite = true
	}
}

func (r *rewriter) opposite(b *ast.BinaryExpr) string {
	return r.short(b) + " → " + r.short(b.X) + " " + opposite[b.Op].String() + " " + r.short(b.Y)
}

// isErrNil reports whether an expression compares err with nil.
func isErrNil(e ast.Expr) bool {
	b, ok := e.(*ast.BinaryExpr)
	if !ok || b.Op != token.EQL && b.Op != token.NEQ {
		return false
	}
	x, okX := b.X.(*ast.Ident)
	y, okY := b.Y.(*ast.Ident)
	return okX && okY && x.Name == "err" && y.Name == "nil"
}

var (
	opposite = map[token.Token]token.Token{
		token.EQL: token.NEQ, token.NEQ: token.EQL,
		token.LSS: token.GEQ, token.GEQ: token.LSS, token.GTR: token.LEQ, token.LEQ: token.GTR,
	}
	boundary = map[token.Token]token.Token{
		token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	}
)

func (r *rewriter) expr(e ast.Expr, stack []ast.Node) {
	b, ok := e.(*ast.BinaryExpr)
	if !ok {
		return
	}
	switch b.Op {
	case token.LAND, token.LOR:
		for _, side := range []ast.Expr{b.X, b.Y} {
			inner, ok := ast.Unparen(side).(*ast.BinaryExpr)
			if ok && inner.Op == b.Op {
				continue // its operands are operands of the whole
			}
			r.condition(side)
			form := "(mutant__(%d) || (%s))"
			if b.Op == token.LOR {
				form = "(!mutant__(%d) && (%s))"
			}
			r.wrap(side, "drop: "+b.Op.String()+" "+r.short(side), func(id int) func(string) string {
				return func(s string) string { return fmt.Sprintf(form, id, s) }
			})
		}
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		if to, ok := boundary[b.Op]; ok {
			change := r.short(b) + " → " + r.short(b.X) + " " + to.String() + " " + r.short(b.Y)
			if id := r.add(b, change); id > 0 {
				x, y := r.span(b.X), r.span(b.Y)
				r.edit(b).text = func() string {
					x, y := r.render(x.from, x.to, span{-1, -1}), r.render(y.from, y.to, span{-1, -1})
					return fmt.Sprintf("(mutant__(%d) && (%s %s %s) || !mutant__(%d) && (%s %s %s))", id, x, to, y, id, x, b.Op, y)
				}
			}
		}
		r.negate(b)
	}
}

// constant mutates a constant expression, of which e is the whole: a literal of
// a boolean or a duration, or a named number.
func (r *rewriter) constant(e ast.Expr, tv types.TypeAndValue, stack []ast.Node, mutate bool) {
	basic, ok := tv.Type.Underlying().(*types.Basic)
	if !ok {
		return
	}
	if id, ok := e.(*ast.Ident); ok && (id.Name == "true" || id.Name == "false") {
		if mutate {
			to := map[string]string{"true": "false", "false": "true"}[id.Name]
			r.wrap(e, id.Name+" → "+to+" in "+r.short(stack[len(stack)-1]), func(id int) func(string) string {
				return func(s string) string { return fmt.Sprintf("(mutant__(%d) != (%s))", id, s) }
			})
		}
		return
	}
	if mutate && tv.Type.String() == "string" {
		for n := range strings.Count(constant.StringVal(tv.Value), tenantCondition) {
			r.wrap(e, fmt.Sprintf("drop: %s, %d of %s", tenantCondition, n+1, r.short(e)), func(id int) func(string) string {
				return func(s string) string { return fmt.Sprintf("mutantTenant__(%d, %d, %s)", id, n, s) }
			})
		}
	}
	if basic.Info()&types.IsInteger == 0 {
		return
	}
	typ, ok := r.typeName(tv.Type)
	if !ok {
		return
	}
	duration := tv.Type.String() == "time.Duration"
	grow := "mutantAdd__"
	if duration {
		grow = "mutantTwice__"
	}
	apply := func(id int) func(string) string {
		return func(s string) string { return fmt.Sprintf("%s[%s](%d, %s)", grow, typ, id, s) }
	}
	id := 0
	literal := false
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			literal = true
		case *ast.Ident:
			if mutant := r.ids[r.info.Uses[n]]; mutant > 0 {
				id = mutant
			}
		}
		return true
	})
	v, exact := constant.Int64Val(constant.ToInt(tv.Value))
	switch {
	case id > 0:
		r.used[id] = true
		r.apply(e, "constant", apply(id))
	case !mutate || !literal || r.fn == "" && len(stack) == 0 || !exact:
	case duration && v >= 1000: // nanoseconds
		r.wrap(e, r.short(e)+" → twice as long", apply)
	case v >= 2 && isLimit(stack):
		r.wrap(e, r.short(e)+" → + 1", apply)
	}
}

// tenantCondition is the text in statements that keeps the tenants of a database apart.
const tenantCondition = "tenant = ?"

// isLimit reports whether a number is a field of a composite literal, or an
// argument of cmp.Or, min and max.
func isLimit(stack []ast.Node) bool {
	switch p := stack[len(stack)-1].(type) {
	case *ast.KeyValueExpr:
		return true
	case *ast.CallExpr:
		switch f := p.Fun.(type) {
		case *ast.Ident:
			return f.Name == "min" || f.Name == "max"
		case *ast.SelectorExpr:
			x, ok := f.X.(*ast.Ident)
			return ok && x.Name == "cmp" && f.Sel.Name == "Or"
		}
	}
	return false
}

// typeName returns how the file spells a type, if it can.
func (r *rewriter) typeName(t types.Type) (string, bool) {
	ok := true
	name := types.TypeString(t, func(p *types.Package) string {
		if p == r.pkg {
			return ""
		}
		for _, spec := range r.file.Imports {
			if spec.Name == nil && strings.Trim(spec.Path.Value, `"`) == p.Path() {
				return p.Name()
			}
		}
		ok = false
		return p.Name()
	})
	if strings.HasPrefix(name, "untyped") {
		return "", false
	}
	return name, ok
}

// constants makes a mutant of each constant of a file that is a number and no
// member of an enumeration.
func (r *rewriter) constants(file *ast.File, name string, text []byte) {
	r.file, r.name, r.text, r.fn = file, name, text, ""
	r.keys = map[string]int{}
	for _, decl := range file.Decls {
		g, ok := decl.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if len(v.Values) != len(v.Names) {
				continue
			}
			for i, id := range v.Names {
				c, ok := r.info.Defs[id].(*types.Const)
				if !ok || usesIota(v.Values[i]) {
					continue
				}
				basic, ok := c.Type().(*types.Basic)
				switch {
				case c.Type().String() == "time.Duration":
					r.ids[c] = r.add(v, r.short(v)+" → twice as long")
				case ok && basic.Info()&types.IsInteger != 0:
					r.ids[c] = r.add(v, r.short(v)+" → + 1")
				}
			}
		}
	}
}

func usesIota(e ast.Expr) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == "iota" {
			found = true
		}
		return !found
	})
	return found
}

// wrap adds a mutant that changes the text of a node.
func (r *rewriter) wrap(n ast.Node, change string, apply func(id int) func(string) string) {
	if e, ok := r.edits[r.span(n)]; ok && e.done[change] {
		return
	}
	r.apply(n, change, apply(r.add(n, change)))
}

func (r *rewriter) apply(n ast.Node, change string, wrap func(string) string) {
	e := r.edit(n)
	e.done[change] = true
	e.wraps = append(e.wraps, wrap)
}

func (r *rewriter) edit(n ast.Node) *edit {
	s := r.span(n)
	if r.edits[s] == nil {
		r.edits[s] = &edit{
			text: func() string { return r.render(s.from, s.to, s) },
			done: map[string]bool{},
		}
	}
	return r.edits[s]
}

// add records a mutant and returns its number.
func (r *rewriter) add(n ast.Node, change string) int {
	m := mutant{
		ID: *r.last + 1, File: r.name, Line: r.fset.Position(n.Pos()).Line,
		Func: r.fn, Code: r.line(n), Change: change,
	}
	r.keys[m.key()]++
	if again := r.keys[m.key()]; again > 1 {
		m.Change += " #" + strconv.Itoa(again)
	}
	*r.mutants, *r.last = append(*r.mutants, m), m.ID
	return m.ID
}

func (r *rewriter) span(n ast.Node) span {
	return span{r.fset.Position(n.Pos()).Offset, r.fset.Position(n.End()).Offset}
}

// line returns the first line of a node's text in the file, without space around it.
func (r *rewriter) line(n ast.Node) string {
	at := r.span(n).from
	from := bytes.LastIndexByte(r.text[:at], '\n') + 1
	to := bytes.IndexByte(r.text[at:], '\n')
	return strings.TrimSpace(string(r.text[from : at+to]))
}

// short returns the text of a node on one line.
func (r *rewriter) short(n ast.Node) string {
	s := r.span(n)
	text := []rune(strings.Join(strings.Fields(string(r.text[s.from:s.to])), " "))
	if len(text) > 70 {
		return string(text[:70]) + "…"
	}
	return string(text)
}

// render returns the text of a range with the edits inside it. The edit of the
// range skip, which calls it, is left out.
func (r *rewriter) render(from, to int, skip span) string {
	var inside []span
	for s := range r.edits {
		if s.from >= from && s.to <= to && s != skip {
			inside = append(inside, s)
		}
	}
	slices.SortFunc(inside, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) // the outer one first
	})
	var out strings.Builder
	for _, s := range inside {
		if s.from < from {
			continue // inside one that is written
		}
		out.Write(r.text[from:s.from])
		text := r.edits[s].text()
		for _, wrap := range r.edits[s].wraps {
			text = wrap(text)
		}
		out.WriteString(text)
		from = s.to
	}
	out.Write(r.text[from:to])
	return out.String()
}

// runtimeFile is the file that each rewritten package needs. A program notes the mutants
// that it reaches in the file that MUTATE_COVER names.
func runtimeFile(pkg string, count int) []byte {
	return fmt.Appendf(nil, `package %s

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

var (
	mutantOn__, _  = strconv.Atoi(os.Getenv("MUTATE_ID"))
	mutantCover__  = os.Getenv("MUTATE_COVER")
	mutantSeen__   [%d]atomic.Bool
)

func mutant__(id int) bool {
	if mutantCover__ != "" && mutantSeen__[id].CompareAndSwap(false, true) {
		f, err := os.OpenFile(mutantCover__, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			panic(err)
		}
		f.WriteString(strconv.Itoa(id) + "\n")
		f.Close()
	}
	return id == mutantOn__
}

type mutantInt__ interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

func mutantAdd__[T mutantInt__](id int, v T) T {
	if mutant__(id) {
		return v + 1
	}
	return v
}

func mutantTenant__(id, n int, v string) string {
	if !mutant__(id) {
		return v
	}
	parts := strings.SplitAfterN(v, "tenant = ?", n+2)
	return strings.Join(parts[:n], "") + strings.TrimSuffix(parts[n], "tenant = ?") + "(tenant = ? OR 1 = 1)" + strings.Join(parts[n+1:], "")
}

func mutantTwice__[T mutantInt__](id int, v T) T {
	if mutant__(id) {
		return 2 * v
	}
	return v
}
`, pkg, count+1)
}
