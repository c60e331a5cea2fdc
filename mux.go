package authkit

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A Mux is an http.ServeMux that accepts no route without a [Policy], so that a
// forgotten guard does not compile. It responds to unknown paths and methods
// with problem documents. Make one with [Kit.NewMux] or [Guard.NewMux].
//
// A pattern is one of http.ServeMux, with all its rules: "GET /users/me/" also
// matches everything below, and "GET /users/me/{$}" does not.
//
// A Mux responds with 400 to requests whose path can be read in two ways. It
// does not redirect them as http.ServeMux does; see [RefuseAmbiguousPaths]. It
// responds to "OPTIONS *" with 204, if the http.Server passes that on.
type Mux struct {
	guard  *Guard
	mux    http.ServeMux
	mu     sync.RWMutex // guards routes
	routes []Route
	hosts  atomic.Bool // a pattern has a host
	catch  sync.Once
}

// A Route is a row of the access matrix.
type Route struct {
	Method  string // empty: every method
	Pattern string // without the method
	Policy  Policy
}

// catchesAll reports whether the route matches all remaining requests: "/" or
// "/{rest...}".
func (r Route) catchesAll() bool {
	name, wildcard := strings.CutPrefix(r.Pattern, "/{")
	return r.Method == "" && (r.Pattern == "/" || wildcard && strings.HasSuffix(name, "...}") && !strings.Contains(name, "/"))
}

// NewMux returns a Mux without routes.
func (k *Kit) NewMux() *Mux { return k.guard.NewMux() }

// Handle registers a handler for a pattern, behind a policy. A route for
// everything, such as "/", must be registered before the first request.
//
// Like http.ServeMux.Handle it panics, when the program starts, if the pattern
// is malformed or conflicts with another. It also panics if the policy is the
// zero one, or names a role or a permission that is not in the role table.
func (m *Mux) Handle(pattern string, p Policy, h http.Handler) {
	if m.guard == nil {
		panic("authkit: a Mux that was not made with Kit.NewMux")
	}
	if f, ok := h.(http.HandlerFunc); h == nil || ok && f == nil {
		panic(fmt.Sprintf("authkit: the route %q: a nil handler", pattern))
	}
	if err := m.guard.roles.validate(p); err != nil {
		panic(fmt.Sprintf("authkit: the route %q: %v", pattern, err))
	}
	m.mux.Handle(pattern, m.guard.protect(p, h))
	method, rest := "", pattern
	if at := strings.IndexAny(pattern, " \t"); at >= 0 {
		method, rest = pattern[:at], pattern[at:]
	}
	rest = strings.TrimLeft(rest, " \t")
	if !strings.HasPrefix(rest, "/") {
		m.hosts.Store(true)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes = append(m.routes, Route{Method: method, Pattern: rest, Policy: p})
}

// HandleFunc registers a handler function; see [Mux.Handle].
func (m *Mux) HandleFunc(pattern string, p Policy, h func(http.ResponseWriter, *http.Request)) {
	m.Handle(pattern, p, http.HandlerFunc(h))
}

// AccessMatrix returns all routes with their policies, in the order of their
// patterns. It is the table for a security review. Print it at start, or
// compare it with a golden file in a test.
func (m *Mux) AccessMatrix() []Route {
	m.mu.RLock()
	defer m.mu.RUnlock()
	routes := slices.Clone(m.routes)
	slices.SortStableFunc(routes, func(a, b Route) int {
		return cmp.Or(strings.Compare(a.Pattern, b.Pattern), strings.Compare(a.Method, b.Method))
	})
	return routes
}

// ServeHTTP passes the request to the handler of the best matching pattern.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !hasOneReading(r) || r.Method == http.MethodConnect && m.hosts.Load() {
		if asksServer(r) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answerAmbiguousPath.write(w)
		return
	}
	m.catch.Do(func() {
		m.mu.RLock()
		defer m.mu.RUnlock()
		if !slices.ContainsFunc(m.routes, Route.catchesAll) {
			m.mux.HandleFunc("/", m.unmatched)
		}
	})
	m.mux.ServeHTTP(w, r)
}

// unmatched responds to a request without a route: with 405 if another method
// has a route, and otherwise with 404.
func (m *Mux) unmatched(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, method := range m.methods() {
		probe := *r
		probe.Method = method
		if _, pattern := m.mux.Handler(&probe); pattern != "" && pattern != "/" {
			allow = append(allow, method)
		}
	}
	if len(allow) == 0 {
		NewProblem(http.StatusNotFound, "Not found").ServeHTTP(w, r)
		return
	}
	methodNotAllowed(w, strings.Join(allow, ", ")).ServeHTTP(w, r)
}

// methods returns the methods of all routes, sorted, and HEAD if there is GET.
func (m *Mux) methods() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var methods []string
	for _, route := range m.routes {
		if route.Method != "" {
			methods = append(methods, route.Method)
		}
		if route.Method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}
