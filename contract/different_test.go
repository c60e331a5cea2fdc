package contract_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/contract/internal/vulnerable"
)

// rewritten serves the responses of a service in another form.
func rewritten(s http.Handler, change func(r *http.Request, w *httptest.ResponseRecorder)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			s.ServeHTTP(w, r)
			return
		}
		recorder := httptest.NewRecorder()
		s.ServeHTTP(recorder, r)
		change(r, recorder)
		maps.Copy(w.Header(), recorder.Header())
		w.WriteHeader(recorder.Code)
		_, _ = recorder.Body.WriteTo(w)
	})
}

// respond replaces a response. The header of the service stays.
func respond(w *httptest.ResponseRecorder, status int, contentType, body string) {
	w.Code, w.Body = status, bytes.NewBufferString(body)
	w.Header().Set("Content-Type", contentType)
}

// Services that are safe in a way other than that of package vulnerable withstand
// every attack that applies.
func TestDifferentSafeServices(t *testing.T) {
	notUnderRace(t)
	for name, c := range map[string]struct {
		change func(r *http.Request, w *httptest.ResponseRecorder)
		adapt  func(*contract.Target)
		skips  []string // attacks that do not apply
	}{
		// One page for all unknown paths and methods, with a nonce in it.
		"one page": {change: func(r *http.Request, w *httptest.ResponseRecorder) {
			// An organization that is hidden is no unknown path.
			if !strings.HasPrefix(r.URL.Path, "/orgs/") && (w.Code == http.StatusNotFound || w.Code == http.StatusMethodNotAllowed) {
				nonce := rand.Text()
				w.Header().Set("Content-Security-Policy", "script-src 'nonce-"+nonce+"'; frame-ancestors 'none'")
				respond(w, http.StatusOK, "text/html; charset=utf-8", "<!doctype html><script nonce=\""+nonce+"\" src=\"/app.js\"></script>")
			}
		}},
		// Redirects to the page of the login, hidden routes for administrators, and a
		// logout that has the same response for everyone.
		"redirects": {change: func(r *http.Request, w *httptest.ResponseRecorder) {
			switch {
			case r.URL.Path == "/logout" && w.Code != http.StatusTooManyRequests:
				respond(w, http.StatusNoContent, "text/plain", "")
			case strings.HasPrefix(r.URL.Path, "/admin") && w.Code == http.StatusForbidden:
				respond(w, http.StatusNotFound, "text/html; charset=utf-8", "<p>not found</p>")
			case w.Code == http.StatusUnauthorized && r.URL.Path != "/token":
				w.Header().Set("Location", "/login?"+"next="+strings.ReplaceAll(r.URL.RequestURI(), "/", "%2F"))
				respond(w, http.StatusFound, "text/html; charset=utf-8", "<a href=\"/login\">Found</a>.")
			}
		}},
		// 403 and 422 instead of 401 and 400, problem documents and headers that differ in
		// every response, errors that name a member, lists of methods, and IDs that look like paths.
		"problems": {change: func(r *http.Request, w *httptest.ResponseRecorder) {
			w.Header().Set("X-Trace", rand.Text())
			w.Header().Set("Set-Cookie-Remaining", rand.Text())
			switch {
			case r.Method == http.MethodOptions:
				w.Header().Set("Allow", "GET, HEAD, OPTIONS")
				respond(w, http.StatusOK, "text/plain; charset=utf-8", "GET, HEAD, OPTIONS")
			case w.Code == http.StatusUnauthorized && r.URL.Path != "/token":
				respond(w, http.StatusForbidden, "text/html; charset=utf-8", "<p>forbidden</p>")
			case w.Code == http.StatusBadRequest && r.URL.Path != "/token":
				respond(w, http.StatusUnprocessableEntity, "application/json", `{"errors":{"password":"is too short"}}`)
			case w.Code == http.StatusUnauthorized || w.Code == http.StatusNotFound:
				respond(w, w.Code, "application/problem+json", `{"title":"refused","traceId":"`+rand.Text()+`"}`)
			case w.Code == http.StatusOK && r.URL.Path == "/me":
				respond(w, w.Code, "application/scim+json", `{"meta":{"location":"/Users/2819c223","home":"/home/start"},"user":`+w.Body.String()+"}")
			}
		}},
		// A public API, with a route whose body can be used once, and an anti-forgery token.
		"public API": {change: func() func(r *http.Request, w *httptest.ResponseRecorder) {
			var mu sync.Mutex
			used := map[string]bool{}
			return func(r *http.Request, w *httptest.ResponseRecorder) {
				mu.Lock()
				defer mu.Unlock()
				w.Header().Set("Access-Control-Allow-Origin", "*")
				w.Header().Set("Access-Control-Allow-Headers", "authorization")
				w.Header().Del("Vary")
				switch {
				case strings.HasPrefix(r.URL.Path, "/orgs/"):
				case w.Code == http.StatusCreated && used[r.URL.Path]:
					respond(w, http.StatusConflict, "application/json", `{"error":"exists"}`)
				case w.Code == http.StatusCreated:
					used[r.URL.Path] = true
				case r.URL.Path == "/" && r.Header.Get("X-Forwarded-Prefix") != "":
					w.Body.WriteString(r.Header.Get("X-Forwarded-Prefix")) // in links
				}
			}
		}(), adapt: func(t *contract.Target) { t.Origins = []string{"*"} }, skips: []string{"cors.any-origin", "cors.null", "cors.similar", "cors.scheme", "cors.preflight"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := vulnerable.New("")
			full := target(s)
			full.Handler = rewritten(s, c.change)
			if c.adapt != nil {
				c.adapt(&full)
			}
			report, err := contract.Check(t.Context(), full)
			require.NoError(t, err)
			for _, r := range report.Results {
				want := contract.Withstood
				for _, id := range c.skips {
					if r.ID == id {
						want = contract.NotApplicable
					}
				}
				assert.Equal(t, want, r.Outcome, "%s: %s %v", r.ID, r.Note, r.Evidence)
			}
		})
	}
}

// A service below a path of its server, as behind a proxy.
func TestBasePath(t *testing.T) {
	notUnderRace(t)
	s := vulnerable.New("")
	strip := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, below := strings.CutPrefix(r.RequestURI, "/base/path")
		if !below {
			http.NotFound(w, r)
			return
		}
		r.RequestURI, r.URL.Path, r.URL.RawPath = target, strings.TrimPrefix(r.URL.Path, "/base/path"), ""
		if path, _, _ := strings.Cut(target, "?"); path != r.URL.EscapedPath() {
			r.URL.RawPath = path
		}
		s.ServeHTTP(w, r)
	})
	server := httptest.NewServer(strip)
	defer server.Close()
	full := target(s)
	full.Handler, full.BaseURL = nil, server.URL+"/base/path/"
	report, err := contract.Check(t.Context(), full)
	require.NoError(t, err)
	for _, r := range report.Results {
		if r.Outcome != contract.NotApplicable {
			assert.Equal(t, contract.Withstood, r.Outcome, "%s: %s %v", r.ID, r.Note, r.Evidence)
		}
	}
}

// A public API whose description does not say so has the lowest severity.
func TestUndeclaredPublicAPI(t *testing.T) {
	s := vulnerable.New("")
	full := target(s)
	full.Handler = rewritten(s, func(_ *http.Request, w *httptest.ResponseRecorder) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	})
	succeeded := 0
	for _, a := range contract.Attacks() {
		if !strings.HasPrefix(a.ID, "cors.") {
			continue
		}
		r, err := contract.CheckOne(t.Context(), full, a.ID)
		require.NoError(t, err)
		if r.Outcome == contract.Succeeded {
			succeeded++
			assert.Equal(t, contract.Low, r.Severity, r.ID)
		}
	}
	assert.Equal(t, 2, succeeded, "cors.any-origin and cors.preflight")
}

// A service that refuses requests as too many is not one that withstands
// attacks.
func TestThrottledService(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		s := vulnerable.New("")
		requests := 0
		full := target(s)
		full.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests++; requests > 3 {
				w.WriteHeader(status)
				return
			}
			s.ServeHTTP(w, r)
		})
		report, err := contract.Check(t.Context(), full)
		require.NoError(t, err)
		for _, r := range report.Results {
			if !strings.HasPrefix(r.ID, "leak.") {
				assert.Equal(t, contract.Failed, r.Outcome, r.ID)
				assert.Contains(t, r.Note, "Target.Interval", r.ID)
			}
		}
	}
}

// A service that limits the logins of an address does not block the name that
// they are for.
func TestLimitOfAnAddress(t *testing.T) {
	s := vulnerable.New("")
	full := target(s)
	var limited atomic.Bool
	full.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			limited.Store(true) // the client has hung up
		}
		if limited.Load() && r.Method == http.MethodPost {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.ServeHTTP(w, r)
	})
	r, err := contract.CheckOne(t.Context(), full, "login.hang-up")
	require.NoError(t, err)
	assert.Equal(t, contract.Failed, r.Outcome, r.Note)
}

// Attacks whose request without the attack does not work are not carried out.
func TestControls(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*contract.Target)
		id     string
		note   string
	}{
		"secret":   {func(t *contract.Target) { t.Secret = []byte("another secret of the same length") }, "claim.expired", "Target.Secret"},
		"secret 2": {func(t *contract.Target) { t.Secret = []byte("another secret of the same length") }, "claim.other-hmac", "Target.Secret"},
		"secret 3": {func(t *contract.Target) { t.Secret = []byte("another secret of the same length") }, "claim.nesting", "Target.Secret"},
		"logout":   {func(t *contract.Target) { t.LogoutPath = "/log-out" }, "session.logout-anonymous", "/log-out responds with 404"},
		"password": {func(t *contract.Target) { t.PasswordPath = "/pass" }, "session.password-current", "/pass responds with 404"},
		"factor":   {func(t *contract.Target) { t.FactorMethod = "sms" }, "factor.wrong", "FactorMethod"},
		"mails":    {func(t *contract.Target) { t.ResetPath = "/forgot" }, "account.reset-host", "/forgot responds with 404"},
		"admin":    {func(t *contract.Target) { t.Routes[3].Path = "/administration" }, "access.user", "/administration with the token of Target.Admin responds with 404"},
		"route": {func(t *contract.Target) {
			t.Routes = append(t.Routes, contract.Route{Method: "GET", Path: "/none", Access: contract.LoggedIn})
		}, "access.anonymous", "/none with the token"},
		"body":      {func(t *contract.Target) { t.Routes[2].Body = `{"title":"a"}` }, "access.body-malformed", "responds to the Body of Target.Routes with 400"},
		"hashes":    {func(t *contract.Target) { t.Hashes = func() int { return 7 } }, "login.unknown-work", "counts no hash"},
		"victim":    {func(t *contract.Target) { t.NewAccount, t.Other.Password = nil, "not the password" }, "guess.account", "cannot log in before"},
		"cookie":    {func(t *contract.Target) { t.CookiePath = "/token" }, "cookie.forged", "sets no cookie"},
		"passwords": {func(t *contract.Target) { t.User.Password = "12345678" }, "", "cannot log in"},
	} {
		t.Run(name, func(t *testing.T) {
			full := target(vulnerable.New(""))
			c.change(&full)
			r, err := contract.CheckOne(t.Context(), full, c.id)
			if c.id == "" {
				require.ErrorContains(t, err, c.note)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, contract.Failed, r.Outcome)
			assert.Contains(t, r.Note, c.note)
		})
	}
}

// A service that serves nothing without TLS is not attacked without it.
func TestRedirectToTLS(t *testing.T) {
	full := target(vulnerable.New(""))
	full.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, fmt.Sprintf("https://%s%s", r.Host, r.URL), http.StatusPermanentRedirect)
	})
	_, err := contract.Check(t.Context(), full)
	require.ErrorContains(t, err, "redirects to https")
}
