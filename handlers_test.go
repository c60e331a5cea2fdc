package authkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

const formType = "application/x-www-form-urlencoded"

// post sends a body to the token endpoint.
func post(h http.Handler, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// LO-03: RFC 6749 section 5.1.
func TestTokenHandler(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "user@example.com", "correct horse", "user")
	var multi bytes.Buffer
	form := multipart.NewWriter(&multi)
	for name, value := range map[string]string{"username": "user@example.com", "password": "correct horse"} {
		require.NoError(t, form.WriteField(name, value))
	}
	require.NoError(t, form.Close())

	const plain = "username=user%40example.com&password=correct+horse"
	for name, c := range map[string]struct{ contentType, body string }{
		"plain":              {formType, plain},
		"with a charset":     {formType + "; charset=utf-8", plain},
		"type in upper case": {strings.ToUpper(formType), plain},
		"grant type":         {formType, plain + "&grant_type=password&scope=&client_id=x&client_secret=y"},
		"empty grant type":   {formType, plain + "&grant_type="},
		"unknown parameters": {formType, plain + "&colour=red&colour=blue"},
		"case of the name":   {formType, "username=User%40Example.COM&password=correct+horse"},
		"multipart":          {form.FormDataContentType(), multi.String()},
		"16 KiB":             {formType, plain + "&x=" + strings.Repeat("x", 16<<10-len(plain+"&x="))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := post(kit.TokenHandler(), "/token", c.contentType, c.body)
			require.Equal(t, 200, w.Code, w.Body.String())
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.Equal(t, "no-cache", w.Header().Get("Pragma"))
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			var got map[string]any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
			token := got["access_token"].(string)
			delete(got, "access_token")
			require.Equal(t, map[string]any{"token_type": "bearer", "expires_in": 1800.0}, got)
			require.Equal(t, "user@example.com", get(t, kit.Authenticate(whoami), "/", "Bearer "+token).Body.String())
		})
	}
}

// LO-01, LO-02, LO-04: RFC 6749 section 5.2.
func TestTokenHandlerRefuses(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, "user@example.com", "correct horse", "user")
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "off@example.com", Disabled: true}, "correct horse")
	require.NoError(t, err)

	const (
		plain  = "username=user%40example.com&password=correct+horse"
		wrong  = "Incorrect username or password"
		fields = "Send a form (application/x-www-form-urlencoded) with username and password"
	)
	var file bytes.Buffer
	form := multipart.NewWriter(&file)
	part, err := form.CreateFormFile("password", "password.txt")
	require.NoError(t, err)
	_, err = part.Write([]byte("correct horse"))
	require.NoError(t, err)
	require.NoError(t, form.Close())

	for _, c := range []struct {
		name, target, contentType, body string
		status                          int
		code, detail                    string
	}{
		{"wrong password", "/", formType, "username=user%40example.com&password=x", 401, "invalid_grant", wrong},
		{"unknown user", "/", formType, "username=nobody%40example.com&password=x", 401, "invalid_grant", wrong},
		{"not an address", "/", formType, "username=nobody&password=x", 401, "invalid_grant", wrong},
		{"disabled, wrong password", "/", formType, "username=off%40example.com&password=x", 401, "invalid_grant", wrong},
		{"disabled", "/", formType, "username=off%40example.com&password=correct+horse", 400, "invalid_grant", "Inactive user"},
		{"NUL", "/", formType, plain + "%00", 401, "invalid_grant", wrong},
		{"not UTF-8", "/", formType, plain + "%ff", 401, "invalid_grant", wrong},
		{"4,097 bytes", "/", formType, plain + strings.Repeat("x", 4097), 401, "invalid_grant", wrong},
		{"space around the name", "/", formType, "username=+user%40example.com+&password=correct+horse", 401, "invalid_grant", wrong},
		{"no body", "/", "", "", 422, "invalid_request", fields},
		{"empty form", "/", formType, "", 422, "invalid_request", fields},
		{"no password", "/", formType, "username=user%40example.com", 422, "invalid_request", fields},
		{"empty password", "/", formType, "username=user%40example.com&password=", 422, "invalid_request", fields},
		{"JSON", "/", "application/json", `{"username":"user@example.com","password":"correct horse"}`, 422, "invalid_request", fields},
		{"no content type", "/", "", plain, 422, "invalid_request", fields},
		{"names in upper case", "/", formType, strings.ToUpper(plain), 422, "invalid_request", fields},
		{"other grant", "/", formType, plain + "&grant_type=client_credentials", 400, "unsupported_grant_type", ""},
		{"other grant, nothing else", "/", formType, "grant_type=refresh_token", 400, "unsupported_grant_type", ""},
		{"grant in upper case", "/", formType, plain + "&grant_type=PASSWORD", 400, "unsupported_grant_type", ""},
		{"name twice", "/", formType, plain + "&username=x", 400, "invalid_request", ""},
		{"password twice", "/", formType, plain + "&password=", 400, "invalid_request", ""},
		{"grant twice", "/", formType, plain + "&grant_type=password&grant_type=password", 400, "invalid_request", ""},
		{"in the URL", "/?" + plain, "", "", 400, "invalid_request", ""},
		{"password in the URL", "/?password=x", formType, plain, 400, "invalid_request", ""},
		{"broken escape", "/", formType, plain + "&x=%zz", 400, "invalid_request", ""},
		{"semicolon", "/", formType, "username=a;password=b", 400, "invalid_request", ""},
		{"multipart without boundary", "/", "multipart/form-data", plain, 400, "invalid_request", ""},
		{"multipart cut short", "/", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=username\r\n\r\nx", 400, "invalid_request", ""},
		{"a file", "/", form.FormDataContentType(), file.String(), 400, "invalid_request", ""},
		{"too large", "/", formType, plain + "&x=" + strings.Repeat("x", 16<<10-len(plain+"&x=")+1), 413, "invalid_request", ""},
		{"too large, multipart", "/", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=x\r\n\r\n" + strings.Repeat("x", 16<<10), 413, "invalid_request", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := post(kit.TokenHandler(), c.target, c.contentType, c.body)
			p := problem(t, w, c.status, c.detail)
			require.Equal(t, c.code, p.Code)
			require.Equal(t, p.Detail, p.Description)
			require.Equal(t, c.status == 422, len(p.Errors) > 0)
			for _, f := range p.Errors {
				require.Contains(t, []string{"username", "password"}, f.Field)
			}
			require.Equal(t, map[bool]string{true: "Bearer"}[c.status == 401], w.Header().Get("WWW-Authenticate"))
		})
	}
}

// LO-01.
func TestTokenHandlerMethods(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
		w := do(kit.TokenHandler(), method, "/token?username=a&password=b")
		problem(t, w, 405, "Method not allowed")
		require.Equal(t, "POST", w.Header().Get("Allow"))
	}
}

// LO-04: nothing in the answer tells why a login failed.
func TestFailedLoginsLookAlike(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users = store })
	addUser(t, kit, "user@example.com", "correct horse")
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "off@example.com", Disabled: true}, "correct horse")
	require.NoError(t, err)
	require.NoError(t, kit.ImportUsers(t.Context(), []authkit.StoredUser{{User: authkit.User{Email: "bare@example.com"}}}))
	require.NoError(t, store.CreateUser(t.Context(), authkit.StoredUser{
		User: authkit.User{ID: "broken", Email: "broken@example.com"}, PasswordHash: "$2a$31$broken",
	}))

	var want string
	for _, name := range []string{"user", "off", "bare", "broken", "nobody"} {
		w := post(kit.TokenHandler(), "/token", formType, url.Values{"username": {name + "@example.com"}, "password": {"x"}}.Encode())
		got := fmt.Sprint(w.Code, w.Header(), w.Body)
		if want == "" {
			want = got
		}
		require.Equal(t, want, got, name)
	}
}

func TestTokenHandlerUnavailable(t *testing.T) {
	t.Parallel()
	const secret = "dial tcp: hunter2"
	kit := newKit(t, func(c *authkit.Config) { c.Users = failingStore{authkit.NewMemoryStore(), errors.New(secret)} })
	w := post(kit.TokenHandler(), "/token", formType, "username=user%40example.com&password=x")
	p := problem(t, w, 503, "Temporarily unavailable")
	require.Equal(t, "temporarily_unavailable", p.Code)
	require.Equal(t, "5", w.Header().Get("Retry-After"))
	require.NotContains(t, w.Body.String(), "hunter2")

	kit = newKit(t, func(c *authkit.Config) {
		c.ExtraClaims = func(context.Context, authkit.User) (any, error) { return nil, errors.New(secret) }
	})
	addUser(t, kit, "user@example.com", "correct horse")
	w = post(kit.TokenHandler(), "/token", formType, "username=user%40example.com&password=correct+horse")
	p = problem(t, w, 500, "Internal error")
	require.Equal(t, "server_error", p.Code)
	require.NotContains(t, w.Body.String(), "hunter2")
}

// A client tries a refresh again soon, within the grace period of its refresh token.
func TestRefreshOfAFailingStore(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen)
	addUser(t, kit, email, password)
	token := begin(t, kit)
	store.before = func(string, int) error { return errDown }
	w := post(kit.TokenHandler(), "/token", formType, form("grant_type", "refresh_token", "refresh_token", token.RefreshToken))
	require.Equal(t, "temporarily_unavailable", problem(t, w, 503, "Temporarily unavailable").Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
}

// A token that was issued without a session has none to end or to keep.
func TestTokenWithoutSession(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users = store })
	addUser(t, kit, "user@example.com", "correct horse")
	token, err := kit.Login(t.Context(), "user@example.com", "correct horse")
	require.NoError(t, err)

	kit = newKit(t, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store })
	mux := kit.NewMux()
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	mux.Handle("DELETE /sessions", authkit.Authenticated(), kit.EndOtherSessionsHandler())
	for _, route := range []string{"POST /logout", "DELETE /sessions"} {
		method, path, _ := strings.Cut(route, " ")
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		problem(t, w, 409, "The token belongs to no session")
	}
}
