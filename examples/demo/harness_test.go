package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

// The documented passwords, and that of an account that only the tests have.
const (
	adminPassword    = "admin123"
	userPassword     = "user123"
	disabledPassword = "disabled123"
)

// testSecret is the secret of the vectors, so that tokens of other libraries are good
// on a server under test.
const testSecret = "0d7fa9c4e1b2835f96a0c7d4e8b1f352"

var cheapBcrypt = authkit.Bcrypt{Cost: 4, InsecureLowCost: true}

// testConfig is the configuration of a server under test: the demo's accounts and two
// disabled ones, at a cost that lets tests be quick.
func testConfig(t testing.TB) config {
	t.Helper()
	hash := func(password string) authkit.PasswordHash {
		h, err := cheapBcrypt.Hash(password)
		require.NoError(t, err)
		return h
	}
	accounts := demoAccounts()
	accounts[0].PasswordHash, accounts[1].PasswordHash = hash(adminPassword), hash(userPassword)
	for _, name := range []string{"disabled", "disabled-too"} {
		accounts = append(accounts, authkit.StoredUser{
			User:         authkit.User{Email: name + "@example.com", FullName: "Disabled", Roles: []string{"user"}, Disabled: true},
			PasswordHash: hash(disabledPassword),
		})
	}
	return config{
		baseURL: "http://127.0.0.1:8000", secret: []byte(testSecret), generateHash: true, accounts: accounts, throttle: throttleOff,
		hasher: authkit.Schemes(cheapBcrypt, authkit.PBKDF2SHA256{}, authkit.Argon2id{}),
		log:    slog.New(slog.DiscardHandler),
	}
}

// start serves cfg on a free port, as main does, until the test ends.
func start(t testing.TB, cfg config) (url string) {
	t.Helper()
	url, _ = startService(t, cfg)
	return url
}

// startService is start for tests that also do what no route does.
func startService(t testing.TB, cfg config) (url string, service *server) {
	t.Helper()
	service, err := newServer(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, service.store.close()) })
	stop := runInBackground(service.run)
	t.Cleanup(func() { require.NoError(t, stop()) })
	return startHandler(t, service.handler(), cfg.log), service
}

func startHandler(t testing.TB, handler http.Handler, log *slog.Logger) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, newHTTPServer(handler, log), listener, log) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
	return "http://" + listener.Addr().String()
}

// A call is a request in short. What is empty is not sent.
type call struct {
	method, path, token, contentType, body string
	header                                 http.Header
}

// An answer is a response that was read.
type answer struct {
	call   call
	status int
	header http.Header
	body   []byte
}

// client follows no redirects: the demo has none.
var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send makes a call.
func send(url string, c call) (answer, error) {
	req, err := http.NewRequest(c.method, url+c.path, strings.NewReader(c.body))
	if err != nil {
		return answer{}, err
	}
	if c.header != nil {
		req.Header = c.header.Clone()
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{call: c, status: resp.StatusCode, header: resp.Header, body: body}, err
}

// object returns the body as a JSON object.
func (a answer) object(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(a.body, &v), "%s", a.body)
	return v
}

// list returns the body as a JSON array of objects.
func (a answer) list(t testing.TB) []map[string]any {
	t.Helper()
	var v []map[string]any
	require.NoError(t, json.Unmarshal(a.body, &v), "%s", a.body)
	return v
}

// isProblem asserts that the answer is a problem document with this status and detail;
// an empty detail stands for any.
func (a answer) isProblem(t testing.TB, status int, detail string) {
	t.Helper()
	require.Equal(t, status, a.status, "%s", a.body)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	problem := a.object(t)
	require.EqualValues(t, status, problem["status"])
	require.Equal(t, http.StatusText(status), problem["title"])
	require.NotEmpty(t, problem["detail"])
	if detail != "" {
		require.Equal(t, detail, problem["detail"])
	}
}

// faults returns the fields of a problem's errors, in order.
func (a answer) faults(t testing.TB) []string {
	t.Helper()
	var problem struct {
		Errors []struct{ Field, Message string }
	}
	require.NoError(t, json.Unmarshal(a.body, &problem))
	var fields []string
	for _, e := range problem.Errors {
		require.NotEmpty(t, e.Message)
		fields = append(fields, e.Field)
	}
	return fields
}

// form is the body of a login.
func form(pairs ...string) string {
	var b strings.Builder
	for i, s := range pairs {
		b.WriteString([]string{"&", "="}[i%2])
		b.WriteString(strings.NewReplacer("%", "%25", "&", "%26", "+", "%2B", "\x00", "%00", " ", "+").Replace(s))
	}
	return b.String()[1:]
}

const formType = "application/x-www-form-urlencoded"

func loginCall(email, password string) call {
	return call{method: "POST", path: "/token", contentType: formType, body: form("username", email, "password", password)}
}

func refreshCall(token string) call {
	return call{method: "POST", path: "/token", contentType: formType, body: form("grant_type", "refresh_token", "refresh_token", token)}
}

// login returns an access token.
func login(t testing.TB, url, email, password string) string {
	t.Helper()
	a, err := send(url, loginCall(email, password))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	return a.object(t)["access_token"].(string)
}

// issue makes a token as somebody would who has the secret.
func issue(t testing.TB, secret string, claims authkit.Claims) string {
	t.Helper()
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{
		Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(secret)}},
	})
	require.NoError(t, err)
	token, err := issuer.Issue(claims)
	require.NoError(t, err)
	return token
}

// vector returns the token of a vector that another library made with testSecret.
func vector(t testing.TB, id string) string {
	t.Helper()
	text, err := os.ReadFile("../../testdata/jwt.json")
	require.NoError(t, err)
	var file struct {
		Secret  string
		Vectors []struct{ ID, Token string }
	}
	require.NoError(t, json.Unmarshal(text, &file))
	require.Equal(t, testSecret, file.Secret)
	for _, v := range file.Vectors {
		if v.ID == id {
			return v.Token
		}
	}
	t.Fatal("no vector ", id)
	return ""
}

// A lockedBuffer collects what several goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
