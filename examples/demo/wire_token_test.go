package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (w *walk) token(t *testing.T) {
	bothSlashes(t, "/token", func(t *testing.T, path string) {
		c := loginCall("admin@example.com", adminPassword)
		c.path = path
		a := w.do(t, c)
		w.issued(t, a)
		require.Equal(t, "no-store", a.header.Get("Cache-Control"))
		require.Equal(t, "application/json", a.header.Get("Content-Type"))
	})
	t.Run("the JWT", w.jwt)
	t.Run("multipart", func(t *testing.T) {
		var body bytes.Buffer
		m := multipart.NewWriter(&body)
		require.NoError(t, m.WriteField("username", "user@example.com"))
		require.NoError(t, m.WriteField("password", userPassword))
		require.NoError(t, m.Close())
		w.issued(t, w.do(t, call{method: "POST", path: "/token", contentType: m.FormDataContentType(), body: body.String()}))
	})
	t.Run("optional fields", func(t *testing.T) {
		c := loginCall("user@example.com", userPassword)
		c.body += "&grant_type=password&scope=&client_id=&client_secret="
		w.issued(t, w.do(t, c))
		// Swagger UI sends its empty client credentials in a header.
		c.header = http.Header{"Authorization": {"Basic Og=="}}
		w.issued(t, w.do(t, c))
	})
	t.Run("wrong password and unknown user are answered alike", func(t *testing.T) {
		wrong := w.do(t, loginCall("admin@example.com", w.password("not-the-password")))
		unknown := w.do(t, loginCall("nobody@example.com", w.password("not-the-password")))
		for _, a := range []answer{wrong, unknown} {
			w.badLogin(t, a)
			a.header.Del("Date")
			a.header.Del("X-Request-Id")
		}
		require.Equal(t, wrong.header, unknown.header)
		require.Equal(t, string(wrong.body), string(unknown.body))
	})
	t.Run("disabled account", func(t *testing.T) {
		a := w.do(t, loginCall("disabled@example.com", disabledPassword))
		a.isProblem(t, http.StatusBadRequest, "Inactive user")
		require.Equal(t, "invalid_grant", a.object(t)["error"])
		w.badLogin(t, w.do(t, loginCall("disabled@example.com", w.password("not-the-password-either"))))
	})
	t.Run("a field missing or empty, no form, no body", func(t *testing.T) {
		for name, c := range map[string]struct {
			contentType, body string
			want              []string
		}{
			"no password":    {formType, "username=admin@example.com", []string{"password"}},
			"no username":    {formType, "password=x", []string{"username"}},
			"empty password": {formType, "username=admin@example.com&password=", []string{"password"}},
			"empty username": {formType, "username=&password=x", []string{"username"}},
			"empty form":     {formType, "", []string{"username", "password"}},
			"no body":        {"", "", []string{"username", "password"}},
			"JSON":           {"application/json", `{"username":"admin@example.com","password":"` + adminPassword + `"}`, []string{"username", "password"}},
			"text":           {"text/plain", "username=admin@example.com&password=" + adminPassword, []string{"username", "password"}},
		} {
			t.Run(name, func(t *testing.T) {
				a := w.do(t, call{method: "POST", path: "/token", contentType: c.contentType, body: c.body})
				a.isProblem(t, http.StatusUnprocessableEntity, "")
				require.Equal(t, "invalid_request", a.object(t)["error"])
				require.Equal(t, c.want, a.faults(t))
			})
		}
	})
	t.Run("grant_type", func(t *testing.T) {
		for _, grant := range []string{"implicit", "REFRESH_TOKEN", "PASSWORD", "authorization_code"} {
			c := loginCall("user@example.com", userPassword)
			c.body += "&grant_type=" + grant
			a := w.do(t, c)
			a.isProblem(t, http.StatusBadRequest, "")
			require.Equal(t, "unsupported_grant_type", a.object(t)["error"])
		}
	})
	t.Run("a field given twice", func(t *testing.T) {
		for _, again := range []string{"username=user@example.com", "password=" + userPassword, "grant_type=password&grant_type=password", "scope=a&scope=b"} {
			c := loginCall("user@example.com", userPassword)
			c.body += "&" + again
			a := w.do(t, c)
			a.isProblem(t, http.StatusBadRequest, "")
			require.Equal(t, "invalid_request", a.object(t)["error"])
		}
	})
	t.Run("spellings of the address", func(t *testing.T) {
		w.issued(t, w.do(t, loginCall("Admin@Example.COM", adminPassword)))
		for _, name := range []string{
			" admin@example.com", "admin@example.com ", "admın@example.com", "uſer@example.com",
			"admin@example.com\t", "admin@example.com\x00", "ａdmin@example.com", "admin＠example.com",
		} {
			w.badLogin(t, w.do(t, loginCall(name, adminPassword)))
		}
		w.badLogin(t, w.do(t, loginCall("U\u212Aser@example.com", userPassword))) // the Kelvin sign
	})
	t.Run("passwords that no scheme takes", func(t *testing.T) {
		for _, password := range []string{
			w.password(strings.Repeat("p", 4097)), w.password(strings.Repeat("q", 73)),
			adminPassword + "\x00", adminPassword + "\x00" + adminPassword, "\xff\xfe" + adminPassword, adminPassword + " ",
		} {
			w.badLogin(t, w.do(t, loginCall("admin@example.com", password)))
		}
	})
	t.Run("a form over 16 KiB", func(t *testing.T) {
		a := w.do(t, loginCall("admin@example.com", w.password(strings.Repeat("r", 17<<10))))
		a.isProblem(t, http.StatusRequestEntityTooLarge, "")
	})
	w.notAllowed(t, "/token", "POST", "GET", "PUT", "DELETE", "PATCH", "HEAD")
}

// password remembers that a password must not turn up anywhere.
func (w *walk) password(s string) string {
	w.secrets = append(w.secrets, s)
	return s
}

// tokens are what a login or a refresh gives.
type tokens struct{ access, refresh string }

// issued asserts the answer to a login or a refresh, and remembers that its tokens must not
// turn up anywhere else.
func (w *walk) issued(t *testing.T, a answer) tokens {
	t.Helper()
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	token := a.object(t)
	require.Len(t, token, 4)
	require.Equal(t, "bearer", token["token_type"])
	require.EqualValues(t, 1800, token["expires_in"])
	got := tokens{token["access_token"].(string), token["refresh_token"].(string)}
	require.Regexp(t, "^akr_", got.refresh)
	w.secrets = append(w.secrets, got.access, got.refresh)
	return got
}

// badLogin asserts the one answer to every login that is the caller's fault.
func (w *walk) badLogin(t *testing.T, a answer) {
	t.Helper()
	a.isProblem(t, http.StatusUnauthorized, "Incorrect username or password")
	require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
	require.Equal(t, "invalid_grant", a.object(t)["error"])
}

// decoded returns a part of a JWT.
func decoded(t *testing.T, token string, part int) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	text, err := base64.RawURLEncoding.DecodeString(parts[part])
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(text, &v))
	return v
}

// jwt asserts what is in a token.
func (w *walk) jwt(t *testing.T) {
	token := w.login(t, "Admin@example.com", adminPassword)
	require.Equal(t, map[string]any{"alg": "HS256", "typ": "JWT"}, decoded(t, token, 0))
	claims := decoded(t, token, 1)
	require.Equal(t, "admin@example.com", claims["sub"])
	require.InDelta(t, claims["iat"].(float64)+1800, claims["exp"], 0)
	require.NotEmpty(t, claims["jti"])
	require.NotEmpty(t, claims["uid"])
	require.NotEmpty(t, claims["sid"])
	require.Equal(t, []any{"admin", "user"}, claims["roles"])

	require.NotEqual(t, token, w.login(t, "admin@example.com", adminPassword), "two logins, one token")
}
