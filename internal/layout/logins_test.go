package layout_test

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// loginSteps are the calls that only the one path of every login makes, with the functions that
// make them. A login that is written anywhere else would pass the throttle, the second factor and
// the question whether the account may log in.
var loginSteps = map[string][]string{
	"CreateSession": {"Kit.finishLogin", "Kit.RevokeServiceTokens"}, // begins a session; the latter ends it in the same call
	"issue":         {"Kit.finishLogin", "Kit.refresh"},             // makes a token for a user
	"Issue":         {"Kit.issue", "Kit.serviceToken"},              // signs it; a service has no login
	"finishLogin":   {"Kit.proceed", "Kit.answer"},                  // ends a login
}

// checkLoginPath holds the code of the library to one path for every login.
func checkLoginPath(t *tree) (faults []string) {
	for _, f := range t.files {
		if f.test || f.Name.Name == "main" || slices.Contains(testSupport, top(f.dir)) || top(f.mod) == "benchmarks" {
			continue
		}
		for _, decl := range f.Decls {
			method, of, name := "", "", "a variable" // a function literal outside of functions
			if fn, ok := decl.(*ast.FuncDecl); ok {
				method, of = fn.Name.Name, receiver(fn)
				name = strings.TrimPrefix(of+"."+method, ".")
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				callers, step := loginSteps[s.Sel.Name]
				wraps := method == s.Sel.Name && of != "Kit" // a store around another
				root := f.dir == "." && slices.Contains(callers, name)
				if step && !wraps && !root && (ast.IsExported(s.Sel.Name) || f.dir == ".") {
					faults = append(faults, fmt.Sprintf("%s: %s uses %s, which only the path of every login does", f.path, name, s.Sel.Name))
				}
				return true
			})
		}
	}
	return faults
}

// checkLoginSteps finds steps of a login that a function named in loginSteps does not make: the
// names have changed, and the rule would hold of nothing.
func checkLoginSteps(t *tree) (faults []string) {
	found := map[string]bool{}
	for _, f := range t.files {
		if f.test || f.dir != "." {
			continue
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				ast.Inspect(fn, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						found[receiver(fn)+"."+fn.Name.Name+" "+s.Sel.Name] = true
					}
					return true
				})
			}
		}
	}
	for _, step := range sorted(loginSteps) {
		for _, caller := range loginSteps[step] {
			if !found[caller+" "+step] {
				faults = append(faults, fmt.Sprintf("%s does not call %s", caller, step))
			}
		}
	}
	return faults
}
