package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A walk is one server, everything that was asked of it, and everything it said.
type walk struct {
	url      string
	contract *contract
	logs     *lockedBuffer
	secrets  []string // passwords and tokens that were sent or issued

	mu      sync.Mutex
	answers []answer
}

// TestWire walks through the wire contract of the demo, a subtest a row, on one server for each
// storage, and in the end looks for secrets in everything that the server said.
func TestWire(t *testing.T) {
	t.Parallel()
	for name, configure := range storages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			configure(t, &cfg)
			walkThrough(t, cfg)
		})
	}
}

func walkThrough(t *testing.T, cfg config) {
	w := &walk{logs: new(lockedBuffer), secrets: []string{testSecret, adminPassword, userPassword, disabledPassword}}
	cfg.log = slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.url = start(t, cfg)
	w.contract = readContract(t, w.url)

	t.Run("POST token", w.token)
	t.Run("GET users me", w.me)
	t.Run("GET users items", w.items)
	t.Run("GET admin users", w.adminUsers)
	t.Run("POST admin create_user", w.createUser)
	t.Run("POST token, to refresh", w.refresh)
	t.Run("POST logout", w.logout)
	t.Run("users me sessions", w.sessions)
	t.Run("GET admin audit", w.auditLog)
	t.Run("GET metrics", w.metrics)
	t.Run("POST generate-hash", w.generateHash)
	t.Run("pages", w.pages)
	t.Run("every answer", w.everyAnswer)
	t.Run("nothing leaks", w.nothingLeaks)
}

// do makes a call and asserts what holds for every answer.
func (w *walk) do(t *testing.T, c call) answer {
	t.Helper()
	a, err := send(w.url, c)
	require.NoError(t, err)
	w.mu.Lock()
	w.answers = append(w.answers, a)
	w.mu.Unlock()
	require.Less(t, a.status, 500, "%s", a.body)
	require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
	if a.status >= 400 && c.method != "HEAD" {
		a.isProblem(t, a.status, "")
	}
	if behindAuthentication(c.path) || a.status == http.StatusUnauthorized {
		require.Equal(t, "no-store", a.header.Get("Cache-Control"))
	}
	w.contract.check(t, a)
	return a
}

func behindAuthentication(path string) bool {
	return strings.HasPrefix(path, "/logout") || strings.HasPrefix(path, "/users/") || strings.HasPrefix(path, "/admin/")
}

// login returns a token, and remembers that it must not turn up anywhere.
func (w *walk) login(t *testing.T, email, password string) string {
	t.Helper()
	return w.issued(t, w.do(t, loginCall(email, password))).access
}

func (w *walk) admin(t *testing.T) string { return w.login(t, "admin@example.com", adminPassword) }
func (w *walk) user(t *testing.T) string  { return w.login(t, "user@example.com", userPassword) }

// bothSlashes runs a row for a path without its trailing slash, and with it.
func bothSlashes(t *testing.T, path string, row func(t *testing.T, path string)) {
	for _, path := range []string{path, path + "/"} {
		t.Run(path, func(t *testing.T) { row(t, path) })
	}
}

// notAllowed asserts that a path takes some methods and no other.
func (w *walk) notAllowed(t *testing.T, path, allow string, methods ...string) {
	for _, method := range methods {
		t.Run(method+" is not allowed", func(t *testing.T) {
			a := w.do(t, call{method: method, path: path})
			require.Equal(t, http.StatusMethodNotAllowed, a.status)
			require.Equal(t, allow, a.header.Get("Allow"))
		})
	}
}

func (w *walk) everyAnswer(t *testing.T) {
	t.Run("unknown paths are 404 problems", func(t *testing.T) {
		for _, path := range []string{"/nothing", "/users", "/users/", "/users/me/x", "/admin/", "/token/x", "/docs/assets/", "/docs/assets/nothing.js"} {
			w.do(t, call{method: "GET", path: path}).isProblem(t, http.StatusNotFound, "")
		}
	})
	t.Run("HEAD works where GET does", func(t *testing.T) {
		token := w.admin(t)
		for _, path := range []string{"/users/me", "/users/me/sessions", "/users/items", "/admin/users", "/metrics", "/docs", "/redoc", "/openapi.json", "/healthz", "/readyz"} {
			bothSlashes(t, path, func(t *testing.T, path string) {
				got := w.do(t, call{method: "GET", path: path, token: token})
				head := w.do(t, call{method: "HEAD", path: path, token: token})
				require.Equal(t, http.StatusOK, head.status)
				require.Equal(t, got.header.Get("Content-Type"), head.header.Get("Content-Type"))
				require.Empty(t, head.body)
			})
		}
	})
	t.Run("a header over 32 KiB is refused", func(t *testing.T) {
		// net/http answers this one itself, and grants 4 KiB more.
		a, err := send(w.url, call{method: "GET", path: "/healthz", header: http.Header{"X-Padding": {strings.Repeat("x", 40<<10)}}})
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, a.status)
	})
}

var (
	// hashes matches a stored password of any scheme.
	hashes = regexp.MustCompile(`\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}|\$pbkdf2-sha256\$|\$argon2id\$`)

	// refreshTokens matches a refresh token, whole or cut, and not the same letters that
	// the ID of a session may have in it.
	refreshTokens = regexp.MustCompile(`(?:^|[^A-Za-z0-9_-])akr_[A-Za-z0-9_-]{8}`)

	// accessTokens matches an access token, whole or cut, and not the ID of a session, which is 22
	// letters and may begin like one.
	accessTokens = regexp.MustCompile(`(?:^|[^A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{20}`)

	// jsonSegments matches the front of each segment of a token that holds JSON, and not the
	// same letters that a signature may have in it.
	jsonSegments = regexp.MustCompile(`[^A-Za-z0-9_-]eyJ`)
)

// nothingLeaks looks at everything that the walk has seen: a password, a hash or a token
// is in no answer, but for the token and the hash that were asked for, and in no log
// line.
func (w *walk) nothingLeaks(t *testing.T) {
	require.Greater(t, len(w.answers), 200)
	require.Greater(t, len(w.secrets), 20)
	logs := w.logs.String()
	require.Greater(t, strings.Count(logs, "msg=request"), 200)
	require.Contains(t, logs, "authn_login_fail")
	require.NotRegexp(t, hashes, logs)
	require.Empty(t, accessTokens.FindString(logs))
	require.Empty(t, refreshTokens.FindString(logs))
	for _, secret := range w.secrets {
		require.NotContains(t, logs, secret)
	}
	for _, a := range w.answers {
		said := append([]byte(a.call.method+" "+a.call.path+"\n"), a.body...)
		for name, values := range a.header {
			said = append(said, name+": "+strings.Join(values, ", ")+"\n"...)
		}
		said = said[len(a.call.method+" "+a.call.path+"\n"):]
		if !strings.HasPrefix(a.call.path, "/generate-hash") {
			require.False(t, hashes.Match(said), "a hash in the answer to %s %s", a.call.method, a.call.path)
		}
		asked := strings.HasPrefix(a.call.path, "/token") && a.status == http.StatusOK
		tokens := bytes.Count(said, []byte("akr_")) // searched first, because the regular expressions are slow
		if !asked && tokens > 0 {
			require.False(t, refreshTokens.Match(said), "a refresh token in the answer to %s %s", a.call.method, a.call.path)
		}
		text := string(said)
		onePair := asked && tokens == 1 && len(jsonSegments.FindAll(said, -1)) <= 2
		for _, secret := range w.secrets {
			if onePair && (strings.HasPrefix(secret, "eyJ") || strings.HasPrefix(secret, "akr_")) {
				continue // the header and the payload of one access token, and a refresh token
			}
			if strings.Contains(text, secret) { // the require functions are slow, and this is asked a million times
				t.Fatalf("a secret in the answer to %s %s", a.call.method, a.call.path)
			}
		}
	}
}
