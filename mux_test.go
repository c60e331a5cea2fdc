package authkit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

func do(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func newMux(t testing.TB) (*authkit.Mux, *authkit.Kit) {
	kit := newKit(t)
	mux := kit.NewMux()
	mux.HandleFunc("GET /users/{id}", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.PathValue("id"))
	})
	mux.HandleFunc("DELETE /users/{id}", authkit.Roles("admin"), func(http.ResponseWriter, *http.Request) {})
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.Handle("/any", authkit.Public(), whoami)
	mux.Handle("GET /{$}", authkit.Public(), whoami)
	return mux, kit
}

func TestMux(t *testing.T) {
	t.Parallel()
	mux, kit := newMux(t)
	addUser(t, kit, "user@example.com", "correct horse")
	bearer := "Bearer " + login(t, kit, "user@example.com", "correct horse")

	require.Equal(t, "7", do(mux, "GET", "/users/7", "Authorization", bearer).Body.String())
	require.Equal(t, 200, do(mux, "HEAD", "/users/7", "Authorization", bearer).Code)
	problem(t, do(mux, "GET", "/users/7"), 401, "Not authenticated")
	problem(t, do(mux, "DELETE", "/users/7", "Authorization", bearer), 403, "Not enough permissions")
	require.Equal(t, "nobody", do(mux, "PATCH", "/any").Body.String())
	require.Equal(t, "nobody", do(mux, "GET", "/").Body.String())
}

// TR-02, TR-03: what no route takes is a problem document too, with the methods that
// would do.
func TestMuxUnmatched(t *testing.T) {
	t.Parallel()
	mux, _ := newMux(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/nowhere", 404, ""},
		{"POST", "/users/7/more", 404, ""},
		{"GET", "/users/", 404, ""},
		{"GET", "/token/", 404, ""},
		{"GET", "/token", 405, "POST"},
		{"PUT", "/users/7", 405, "DELETE, GET, HEAD"},
		{"POST", "/", 405, "GET, HEAD"},
		{"BREW", "/users/7", 405, "DELETE, GET, HEAD"},
	} {
		w := do(mux, c.method, c.path)
		problem(t, w, c.status, "")
		require.Equal(t, c.allow, w.Header().Get("Allow"), c.path)
	}
}

func TestMuxWithARouteForEverything(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"/", "/{path...}"} {
		mux := newKit(t).NewMux()
		mux.Handle(pattern, authkit.Public(), whoami)
		mux.Handle("GET /a/{path...}", authkit.Public(), whoami)
		require.Equal(t, "nobody", do(mux, "GET", "/nowhere").Body.String(), pattern)
		require.Equal(t, "nobody", do(mux, "POST", "/a/b").Body.String(), pattern)
	}
}

// A route for nearly everything leaves the rest to the Mux, which answers with problem documents.
func TestMuxWithARouteForNearlyEverything(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, method, path string
		status                int
	}{
		{"GET /", "POST", "/x", 405},
		{"/{name}", "GET", "/x/y", 404},
		{"/{name}/{path...}", "GET", "/", 404},
		{"/x/{path...}", "GET", "/y", 404},
	} {
		mux := newKit(t).NewMux()
		mux.Handle(c.pattern, authkit.Public(), whoami)
		problem(t, do(mux, c.method, c.path), c.status, "")
	}
}

// ServeMux takes a tab between method and path, too.
func TestMuxPatternWithATab(t *testing.T) {
	t.Parallel()
	mux := newKit(t).NewMux()
	mux.Handle("PUT\t/x", authkit.Public(), whoami)
	require.Equal(t, []authkit.Route{{Method: "PUT", Pattern: "/x", Policy: authkit.Public()}}, mux.AccessMatrix())
	w := do(mux, "GET", "/x")
	problem(t, w, 405, "")
	require.Equal(t, "PUT", w.Header().Get("Allow"))
}

// A route that cannot be right is refused when the program starts.
func TestMuxRefusesAtStart(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) { c.Roles = map[string][]string{"admin": nil} })
	mux := kit.NewMux()
	mux.Handle("GET /taken", authkit.Public(), whoami)
	const nilHandler = `authkit: the route "GET /x": a nil handler`
	for name, c := range map[string]struct {
		f    func()
		text string
	}{
		"zero policy":            {func() { mux.Handle("GET /x", authkit.Policy{}, whoami) }, "the zero Policy"},
		"role outside the table": {func() { mux.Handle("GET /x", authkit.Roles("admni"), whoami) }, `"admni" is not in Config.Roles`},
		"malformed pattern":      {func() { mux.Handle("GET x", authkit.Public(), whoami) }, `parsing "GET x"`},
		"pattern twice":          {func() { mux.Handle("GET /taken", authkit.Public(), whoami) }, "conflicts with pattern"},
		"nil handler":            {func() { mux.Handle("GET /x", authkit.Public(), nil) }, nilHandler},
		"nil typed function":     {func() { mux.Handle("GET /x", authkit.Authenticated(), http.HandlerFunc(nil)) }, nilHandler},
		"a Mux made by hand":     {func() { new(authkit.Mux).Handle("GET /x", authkit.Public(), whoami) }, "a Mux that was not made with Kit.NewMux"},
		"nil function":           {func() { mux.HandleFunc("GET /x", authkit.Public(), nil) }, nilHandler},
		"nil guarded handler":    {func() { mux.Handle("GET /x", authkit.Authenticated(), nil) }, nilHandler},
	} {
		func() {
			defer func() { require.Contains(t, fmt.Sprint(recover()), c.text, name) }()
			c.f()
		}()
	}
	require.Len(t, mux.AccessMatrix(), 1, "a refused route is not in the matrix")
}

func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	mux, _ := newMux(t)
	var rows []string
	for _, r := range mux.AccessMatrix() {
		rows = append(rows, fmt.Sprintf("%s %s — %s", r.Method, r.Pattern, r.Policy))
	}
	require.Equal(t, []string{
		" /any — public",
		"POST /token — public",
		"DELETE /users/{id} — roles: admin",
		"GET /users/{id} — authenticated",
		"GET /{$} — public",
	}, rows)
	mux.AccessMatrix()[0].Pattern = "/edited"
	require.Equal(t, "/any", mux.AccessMatrix()[0].Pattern)
}

// HEAD belongs to GET, and to no other method.
func TestMuxAllowsHead(t *testing.T) {
	t.Parallel()
	for method, allow := range map[string]string{"GET": "GET, HEAD", "POST": "POST"} {
		mux := newKit(t).NewMux()
		mux.HandleFunc(method+" /", authkit.Public(), func(http.ResponseWriter, *http.Request) {})
		w := do(mux, "PUT", "/")
		require.Equal(t, 405, w.Code)
		require.Equal(t, allow, w.Header().Get("Allow"))
	}
}
