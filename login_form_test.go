package authkit_test

import (
	"context"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/refresh"
)

// A formSite is a site with one login page, which records the forms that it renders.
type formSite struct {
	surfer
	kit   *authkit.Kit
	forms []authkit.LoginForm
}

func newFormSite(t testing.TB, change ...func(*authkit.Config)) *formSite {
	t.Helper()
	kit, _, _ := newSite(t, change...)
	s := &formSite{kit: kit}
	s.h = kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
		s.forms = append(s.forms, f)
		w.WriteHeader(f.Status)
	})
	return s
}

// last returns the form that was rendered last, and discards it.
func (s *formSite) last() authkit.LoginForm {
	if len(s.forms) == 0 {
		return authkit.LoginForm{}
	}
	f := s.forms[len(s.forms)-1]
	s.forms = nil
	return f
}

func TestFormLogin(t *testing.T) {
	t.Parallel()
	var events recorder
	s := newFormSite(t, events.listen)
	for name, c := range map[string]struct {
		method, target, body string
		status               int
		form                 authkit.LoginForm
	}{
		"open":         {"GET", "/login", "", 200, authkit.LoginForm{Status: 200, Return: "/"}},
		"head":         {"HEAD", "/login", "", 200, authkit.LoginForm{Status: 200, Return: "/"}},
		"return":       {"GET", "/login?return=%2Fa%3Fb%3Dc%26d", "", 200, authkit.LoginForm{Status: 200, Return: "/a?b=c&d"}},
		"query filled": {"GET", "/login?username=eve@example.com&mfa_token=x", "", 200, authkit.LoginForm{Status: 200, Return: "/"}},
		"wrong password": {
			"POST", "/login", form("username", email, "password", "wrong", "remember", "1", "return", "/a"), 401,
			authkit.LoginForm{Status: 401, Error: "Incorrect username or password", Username: email, Remember: true, Return: "/a"},
		},
		"unknown user": {
			"POST", "/login?return=/b", form("username", `"><script>`, "password", "wrong"), 401,
			authkit.LoginForm{Status: 401, Error: "Incorrect username or password", Username: `"><script>`, Return: "/b"},
		},
		"nothing":             {"POST", "/login", "", 401, authkit.LoginForm{Status: 401, Error: "Incorrect username or password", Return: "/"}},
		"no such step":        {"POST", "/login", form("mfa_token", "x", "mfa_method", "otp"), 401, authkit.LoginForm{Status: 401, Error: "Incorrect username or password", Return: "/"}},
		"password in the URL": {"POST", "/login?password=x", form("username", email), 400, authkit.LoginForm{}},
		"a field twice":       {"POST", "/login", "username=a&username=b&password=x", 400, authkit.LoginForm{}},
		"too long":            {"POST", "/login", form("password", strings.Repeat("x", 17<<10)), 413, authkit.LoginForm{}},
		"put":                 {"PUT", "/login", "", 405, authkit.LoginForm{}},
	} {
		w := s.do(c.method, c.target, c.body)
		require.Equal(t, c.status, w.Code, name)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"), name)
		require.Equal(t, c.form, s.last(), name)
		require.Nil(t, s.set, name)
	}
	w := s.do("PUT", "/login", "")
	require.Equal(t, "GET, HEAD, POST", w.Header().Get("Allow"))

	events.reset()
	w = s.do("POST", "/login", form("username", "User@Example.com", "password", password, "return", "/a?b=c"))
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "/a?b=c", w.Header().Get("Location"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.NotNil(t, s.set)
	require.Equal(t, []authkit.EventKind{authkit.EventLoginSuccess}, events.kinds())
	require.Panics(t, func() { s.kit.FormLoginHandler(nil) })
}

// Space around an address is the phone's, in the forms that people fill in. It is not removed from
// a password, nor by the token endpoint.
func TestLoginFormSpace(t *testing.T) {
	t.Parallel()
	s := newFormSite(t)
	spaced := " \t" + email + "\u00a0 "
	require.Equal(t, http.StatusSeeOther, s.do("POST", "/login", form("username", spaced, "password", password)).Code)
	require.Equal(t, http.StatusUnauthorized, s.do("POST", "/login", form("username", spaced, "password", password+" ")).Code)
	require.Equal(t, http.StatusUnauthorized, s.do("POST", "/login", form("username", "user @example.com", "password", password)).Code)
	for status, h := range map[int]http.Handler{http.StatusOK: s.kit.RefreshCookieHandler(), http.StatusUnauthorized: s.kit.TokenHandler()} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(form("username", spaced, "password", password)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, status, w.Code)
	}
}

// An account that may not log in, and a client that tries too often.
func TestFormLoginRefuses(t *testing.T) {
	t.Parallel()
	throttle := new(fakeThrottle)
	s := newFormSite(t, throttle.listen, func(c *authkit.Config) { c.RequireVerifiedEmail = true })
	body := form("username", email, "password", password)
	w := s.do("POST", "/login", body)
	require.Equal(t, 400, w.Code)
	require.Empty(t, w.Header().Values("Retry-After"))
	require.Equal(t, "The e-mail address is not verified", s.last().Error)
	throttle.begin = &authkit.ThrottledError{RetryAfter: 90 * time.Second}
	w = s.do("POST", "/login", body)
	require.Equal(t, 429, w.Code)
	require.Equal(t, "90", w.Header().Get("Retry-After"))
	require.Equal(t, "Too many attempts; try again later", s.last().Error)
}

// Session fixation: a login begins a new session, whatever cookie the browser brings, and ends
// the session of that cookie.
func TestFormLoginReplacesTheSession(t *testing.T) {
	t.Parallel()
	kit, h, _ := newSite(t)
	addUser(t, kit, "eve@example.com", password)
	s := surf(t, h)
	first := *s
	s.logIn(t)
	require.NotEqual(t, first.cookie[:25], s.cookie[:25], "another session")
	require.Equal(t, 401, first.status("/me"))

	// The cookie of a stranger, planted in the browser.
	stranger := &surfer{h: h}
	require.Equal(t, 303, stranger.do("POST", "/login", form("username", "eve@example.com", "password", password)).Code)
	s.cookie = stranger.cookie
	require.Equal(t, 401, s.do("POST", "/login", form("username", email, "password", "wrong")).Code)
	require.Equal(t, 200, stranger.status("/me"), "a login that fails ends nothing")
	s.logIn(t)
	require.Equal(t, email, s.do("GET", "/me", "").Body.String())
	require.Equal(t, 401, stranger.status("/me"))

	// A cookie that was never issued.
	s.cookie = "aks_" + strings.Repeat("A", len(s.cookie)-4)
	planted := s.cookie
	s.logIn(t)
	require.NotEqual(t, planted, s.cookie)
}

// A formFactor accepts one code.
type formFactor struct{ code string }

func (formFactor) Method() string { return "otp" }

func (formFactor) Enrolled(context.Context, string) (bool, error) { return true, nil }

func (f formFactor) Verify(_ context.Context, _, response string) error {
	if response != f.code {
		return authkit.ErrInvalidCode
	}
	return nil
}

func TestFormLoginSecondFactor(t *testing.T) {
	t.Parallel()
	s := newFormSite(t, func(c *authkit.Config) { c.SecondFactors = []authkit.SecondFactor{formFactor{"123456"}} })
	require.Equal(t, 200, s.do("POST", "/login", form("username", email, "password", password, "remember", "on", "return", "/a")).Code)
	require.Nil(t, s.set, "half a login has no cookie")
	f := s.last()
	require.NotEmpty(t, f.MFAToken)
	require.Equal(t, authkit.LoginForm{Status: 200, Username: email, Remember: true, Return: "/a", MFAToken: f.MFAToken, MFAMethods: []string{"otp"}}, f)

	answer := func(code string) int {
		return s.do("POST", "/login", form("mfa_token", f.MFAToken, "mfa_method", "otp", "mfa_response", code, "remember", "on", "return", "/a")).Code
	}
	require.Equal(t, 401, answer("000000"))
	require.Equal(t, authkit.LoginForm{Status: 401, Error: "Incorrect code", Remember: true, Return: "/a", MFAToken: f.MFAToken, MFAMethods: []string{"otp"}}, s.last())
	require.Equal(t, 303, answer("123456"))
	require.Positive(t, s.set.MaxAge)
	require.Equal(t, 401, answer("123456"), "again")
	require.Empty(t, s.last().MFAToken, "from the start")
}

// The paths to which a login returns, and the texts that might lead to another site or nowhere.
var returns = map[string]string{
	"//":                 "/",
	"//?a":               "/",
	"":                   "/",
	"/":                  "/",
	"/a":                 "/a",
	"/a/b?c=/d//e&f=%0a": "/a/b?c=/d//e&f=%0a",
	"/a?u=https://b.c/":  "/a?u=https://b.c/",
	"/a/../b":            "/a/../b",
	"/%C3%A4":            "/%C3%A4",
	"/a#b":               "/a#b",
	"/@b.c":              "/@b.c",
	"/a:b@c.d":           "/a:b@c.d",
	"/logins":            "/logins",

	"/login":                        "/",
	"/login?return=/login":          "/",
	"/login?return=%2Flogin%3Fa":    "/",
	"a":                             "/",
	"a/b":                           "/",
	"?a":                            "/",
	"//evil.net":                    "/",
	"///evil.net":                   "/",
	"//evil.net/..":                 "/",
	`/\evil.net`:                    "/",
	`\/evil.net`:                    "/",
	`\\evil.net`:                    "/",
	`/a\b`:                          "/",
	"/%5cevil.net":                  "/",
	"/%5C/evil.net":                 "/",
	"/%2fevil.net":                  "/",
	"/%2F%2Fevil.net":               "/",
	"/..//evil.net":                 "/",
	"/.//evil.net":                  "/",
	"/%2e%2e//evil.net":             "/",
	"/a/..//evil.net":               "/",
	"/a//b":                         "/",
	"/\tevil.net":                   "/",
	"/\t/evil.net":                  "/",
	"/\n/evil.net":                  "/",
	"/\r\nLocation: //evil.net":     "/",
	"/%0d%0aSet-Cookie:a=b":         "/",
	"/%00":                          "/",
	"/ /evil.net":                   "/",
	" /a":                           "/",
	"\t//evil.net":                  "/",
	"/\u00a0/evil.net":              "/",
	"/ä":                            "/",
	"/\xff":                         "/",
	"/%zz":                          "/",
	"https://evil.net":              "/",
	"https:evil.net":                "/",
	"https:/evil.net":               "/",
	"javascript:alert(1)":           "/",
	"data:text/html,x":              "/",
	"/" + strings.Repeat("a", 2048): "/",
	"/" + strings.Repeat("b", 2047): "/" + strings.Repeat("b", 2047),
	"/a?b=\\":                       "/",
	"/a%7fb":                        "/",
	"/a%1fb":                        "/",
	"/a%20b":                        "/a%20b",
	"//u@/b":                        "/",
}

// RG-06: a return path is a path of this site, in the form, in the query, and in the address of a
// page that needs a login.
func TestReturnPaths(t *testing.T) {
	t.Parallel()
	s := newFormSite(t)
	logout := &surfer{h: s.kit.FormLogoutHandler()}
	for text, want := range returns {
		require.Equal(t, 200, s.do("GET", "/login?return="+url.QueryEscape(text), "").Code)
		require.Equal(t, want, s.last().Return, "%q", text)
		require.Equal(t, 401, s.do("POST", "/login", form("return", text)).Code)
		require.Equal(t, want, s.last().Return, "%q", text)
		if !strings.HasPrefix(text, "/login?") && text != "/login" {
			require.Equal(t, want, logout.do("POST", "/logout", form("return", text)).Header().Get("Location"), "%q", text)
		}
	}
	require.Equal(t, 303, s.do("POST", "/login", form("username", email, "password", password, "return", "//evil.net")).Code)
	require.Equal(t, "/", s.do("POST", "/login", form("username", email, "password", password, "return", "//evil.net")).Header().Get("Location"))

	// A login page at a path that the configuration does not name does not lead back to it.
	other := &formSite{kit: s.kit}
	other.h = s.h
	require.Equal(t, 200, s.do("GET", "/signin?return=/signin?x", "").Code)
	require.Equal(t, "/", s.last().Return)
}

// RE-02: whatever the text, the browser stays on the site: also behind a router that cleans paths.
func FuzzReturnPath(f *testing.F) {
	for text := range returns {
		f.Add(text)
	}
	s := newFormSite(f)
	base, err := url.Parse("https://example.com/login")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		s.do("GET", "/login?return="+url.QueryEscape(text), "")
		got := s.last().Return
		to, err := base.Parse(got)
		require.NoError(t, err)
		require.Equal(t, "https", to.Scheme)
		require.Equal(t, "example.com", to.Host)
		require.Nil(t, to.User)
		require.False(t, strings.HasPrefix(got, "//"), "%q", got) // a browser reads the host of another site
		require.NotContains(t, to.Path, "//")
		require.NotContains(t, to.Path, `\`)
		require.NotContains(t, path.Clean(to.Path), "//")
		require.LessOrEqual(t, len(got), 2048)
		for _, c := range []byte(got) {
			require.True(t, c > ' ' && c < 0x7f, "%q", got)
		}
		require.True(t, got == text || got == "/", "%q", got)
	})
}

// A browser that must log in is sent to the login page; a program is told so.
func TestLoginRedirect(t *testing.T) {
	t.Parallel()
	kit, h, _ := newSite(t)
	token := begin(t, kit)
	logOut(t, kit, token)
	for name, c := range map[string]struct {
		method, target string
		headers        []string
		location       string
	}{
		"a page":               {"GET", "/me", nil, "/login?return=%2Fme"},
		"with a query":         {"GET", "/me?a=b&c=%2Fd", nil, "/login?return=%2Fme%3Fa%3Db%26c%3D%252Fd"},
		"head":                 {"HEAD", "/me", nil, "/login?return=%2Fme"},
		"an old browser":       {"GET", "/me", []string{"Sec-Fetch-Mode", "", "Sec-Fetch-Site", ""}, "/login?return=%2Fme"},
		"a link elsewhere":     {"GET", "/me", []string{"Sec-Fetch-Site", "cross-site"}, "/login?return=%2Fme"},
		"a session that ended": {"GET", "/me", []string{"Cookie", "__Host-session=x"}, "/login?return=%2Fme"},
		"very long":            {"GET", "/me?" + strings.Repeat("a", 2048), nil, "/login?return=%2F"},
		"a form":               {"POST", "/me", nil, ""},
		"fetch":                {"GET", "/me", []string{"Sec-Fetch-Mode", "cors"}, ""},
		"an image":             {"GET", "/me", []string{"Sec-Fetch-Mode", "no-cors"}, ""},
		"EventSource":          {"GET", "/me", []string{"Accept", "text/event-stream"}, ""},
		"a WebSocket":          {"GET", "/me", []string{"Upgrade", "websocket"}, ""},
		"a program":            {"GET", "/me", []string{"Accept", "*/*", "Sec-Fetch-Mode", "", "Sec-Fetch-Site", ""}, ""},
		"without an Accept":    {"GET", "/me", []string{"Accept", ""}, ""},
	} {
		w := (&surfer{h: h}).do(c.method, c.target, "", c.headers...)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"), name)
		require.Equal(t, c.location, w.Header().Get("Location"), name)
		require.Equal(t, map[bool]int{true: 401, false: 303}[c.location == ""], w.Code, name)
		require.Equal(t, c.location == "", w.Header().Get("WWW-Authenticate") != "", name)
	}

	// Where there is no login page, and on one that is behind a guard.
	require.Equal(t, 401, (&surfer{h: kit.Authenticate(whoami)}).do("GET", "/login", "").Code)
	plain, _, _ := newSite(t, func(c *authkit.Config) { c.Sessions.Cookies.LoginPath = "" })
	require.Equal(t, 401, (&surfer{h: plain.Authenticate(whoami)}).do("GET", "/me", "").Code)

	// The browser returns to the address that it asked for, which middleware may have changed.
	s := &surfer{h: http.StripPrefix("/app", kit.Authenticate(whoami))}
	require.Equal(t, "/login?return=%2Fapp%2Fme", s.do("GET", "/app/me", "").Header().Get("Location"))
	for _, target := range []string{"//evil.net", "//evil.net/%2e%2e", "/%5cevil.net", "/..//evil.net"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = target
		r.Header.Set("Accept", "text/html")
		require.Equal(t, "/login?return=%2F", (&surfer{h: kit.Authenticate(whoami)}).send(r).Header().Get("Location"), target)
	}
}

// A policy that asks for a recent login sends the browser to the login page again.
func TestLoginRedirectForStepUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, h, _ := newSite(t)
		s := surf(t, h)
		mux := kit.NewMux()
		mux.Handle("/", authkit.Public(), h)
		mux.Handle("/payments", authkit.Authenticated().Fresh(5*time.Minute), whoami)
		s.h = mux
		require.Equal(t, 200, s.status("/payments"))
		time.Sleep(6 * time.Minute)
		require.Equal(t, 200, s.status("/renew"))
		w := s.do("GET", "/payments", "")
		require.Equal(t, 303, w.Code, "a new cookie is no login")
		require.Equal(t, "/login?return=%2Fpayments", w.Header().Get("Location"))
		require.Equal(t, 401, s.status("/payments"))
		s.logIn(t)
		require.Equal(t, 200, s.status("/payments"))
	})
}

// RF-08: a logout ends the sessions of all cookies that the browser sends, older ones included.
func TestFormLogout(t *testing.T) {
	t.Parallel()
	kit, h, user := newSite(t)
	s := surf(t, h)
	copied := *s
	w := s.do("POST", "/logout", form("return", "/bye"))
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "/bye", w.Header().Get("Location"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Negative(t, s.set.MaxAge)
	require.Empty(t, s.set.Value)
	require.True(t, s.set.Secure && s.set.HttpOnly && s.set.Path == "/", "or the browser does not take it")
	require.Equal(t, 401, copied.status("/me"))

	for name, c := range map[string]func() string{
		"without a session": func() string { return "" },
		"of junk":           func() string { return "__Host-session=junk" },
		"that ended":        func() string { return "__Host-session=" + copied.cookie },
		"of two": func() string {
			return "__Host-session=" + surf(t, h).cookie + "; __Host-session=junk; __Host-session=" + surf(t, h).cookie
		},
		"of an older cookie": func() string {
			s := surf(t, h)
			old := s.cookie
			require.Equal(t, 200, s.status("/renew"))
			return "__Host-session=" + old
		},
	} {
		cookies := c()
		headers := []string{}
		if cookies != "" {
			headers = []string{"Cookie", cookies}
		}
		w := (&surfer{h: h}).do("POST", "/logout", "", headers...)
		require.Equal(t, http.StatusSeeOther, w.Code, name)
		require.Equal(t, "/", w.Header().Get("Location"), name)
		require.Len(t, w.Result().Cookies(), 1, name)
		list, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		require.Empty(t, list, name)
	}
	for _, method := range []string{"GET", "HEAD", "DELETE"} {
		s := surf(t, h)
		w := s.do(method, "/logout", "")
		require.Equal(t, 405, w.Code)
		require.Equal(t, "POST", w.Header().Get("Allow"))
		require.Equal(t, 200, s.status("/me"), "a link or an image does not log out")
		w = s.do(method, "/logout", "", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
		require.Equal(t, 405, w.Code, "the method is wrong whatever the origin")
	}
}

// The page shows the fields again, and html/template escapes them.
func TestLoginFormInATemplate(t *testing.T) {
	t.Parallel()
	kit, _, _ := newSite(t)
	page := template.Must(template.New("").Parse(`<input name=username value="{{.Username}}"><input name=return value="{{.Return}}">`))
	s := &surfer{h: kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) { _ = page.Execute(w, f) })}
	w := s.do("POST", "/login", form("username", `"><script>alert(1)</script>`, "return", `/a"><script>`))
	require.NotContains(t, w.Body.String(), "<script>")
}

// A logout needs no credential, so a request with many cookies must stay cheap.
func TestLogoutOfManyCookies(t *testing.T) {
	t.Parallel()
	kit, h, _, store := newFaultySite(t)
	many := func(name string, text func(refresh.Token) string) string {
		var cookies []string
		for range 1000 {
			cookies = append(cookies, name+"="+text(refresh.New()))
		}
		return strings.Join(cookies, "; ")
	}
	var calls atomic.Int64
	store.before = func(string, int) error { calls.Add(1); return nil }
	w := (&surfer{h: h}).do("POST", "/logout", "", "Cookie", many("__Host-session", func(t refresh.Token) string { return t.CookieText(false) }))
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.LessOrEqual(t, calls.Swap(0), int64(4))
	w = (&surfer{h: kit.RefreshCookieHandler()}).do("DELETE", "/", "", "Cookie", many("__Host-refresh", refresh.Token.Text))
	require.Equal(t, http.StatusNoContent, w.Code)
	require.LessOrEqual(t, calls.Load(), int64(4))
	require.NotZero(t, calls.Load())
}
