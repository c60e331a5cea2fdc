package authkit_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// TestStory is the life of an account at a service, from the sign-up to a new password.
func TestStory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := newNotebook(t)

		// Ann signs up, and logs in.
		require.Equal(t, 201, service.send("POST", "/signup", "", url.Values{"email": {"ann@example.com"}, "password": {"correct horse"}}).Code)
		require.Equal(t, 401, service.send("POST", "/token", "", url.Values{"username": {"ann@example.com"}, "password": {"wrong horse"}}).Code)
		ann := service.login("ann@example.com", "correct horse")

		// Her access token opens the routes that her roles allow, and no others.
		w := service.send("GET", "/notes", ann.AccessToken, nil)
		require.Equal(t, 200, w.Code)
		require.Equal(t, "the notes of ann@example.com", w.Body.String())
		require.Equal(t, 401, service.send("GET", "/notes", "", nil).Code)
		require.Equal(t, 403, service.send("DELETE", "/notes", ann.AccessToken, nil).Code)

		// It lasts half an hour. The refresh token gets her the next one.
		time.Sleep(31 * time.Minute)
		require.Equal(t, 401, service.send("GET", "/notes", ann.AccessToken, nil).Code)
		next := service.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {ann.RefreshToken}})
		require.Equal(t, 200, service.send("GET", "/notes", next.AccessToken, nil).Code)

		// Somebody has stolen the first refresh token. Its use ends the session, for both of them.
		time.Sleep(time.Minute)
		stolen := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {ann.RefreshToken}}
		require.Equal(t, 400, service.send("POST", "/token", "", stolen).Code)
		require.Equal(t, 401, service.send("GET", "/notes", next.AccessToken, nil).Code)

		// She logs in on a laptop and a phone, and logs out on the phone.
		laptop, phone := service.login("ann@example.com", "correct horse"), service.login("ann@example.com", "correct horse")
		require.Equal(t, 204, service.send("POST", "/logout", phone.AccessToken, nil).Code)
		require.Equal(t, 401, service.send("GET", "/notes", phone.AccessToken, nil).Code)
		require.Equal(t, 200, service.send("GET", "/notes", laptop.AccessToken, nil).Code)

		// She changes her password: the laptop stays logged in, and the old password is useless.
		phone = service.login("ann@example.com", "correct horse")
		change := url.Values{"old": {"correct horse"}, "new": {"battery staple"}}
		require.Equal(t, 204, service.send("POST", "/password", laptop.AccessToken, change).Code)
		require.Equal(t, 200, service.send("GET", "/notes", laptop.AccessToken, nil).Code)
		require.Equal(t, 401, service.send("GET", "/notes", phone.AccessToken, nil).Code)
		require.Equal(t, 401, service.send("POST", "/token", "", url.Values{"username": {"ann@example.com"}, "password": {"correct horse"}}).Code)
		service.login("ann@example.com", "battery staple")
	})
}

// A notebook is a service that keeps notes.
type notebook struct {
	t       *testing.T
	handler http.Handler
}

func newNotebook(t *testing.T) notebook {
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:     store,
		Sessions:  authkit.SessionConfig{Store: store},
		Roles:     map[string][]string{"user": nil, "admin": nil},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, // quick, for a test
		Logger:    slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)

	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	mux.HandleFunc("POST /signup", authkit.Public(), func(w http.ResponseWriter, r *http.Request) {
		u := authkit.User{Email: r.PostFormValue("email"), Roles: []string{"user"}}
		if _, err := kit.CreateUser(r.Context(), u, r.PostFormValue("password")); err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET /notes", authkit.Roles("user"), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = fmt.Fprintf(w, "the notes of %s", p.Email)
	})
	mux.HandleFunc("DELETE /notes", authkit.Roles("admin"), func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /password", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		if err := kit.ChangePassword(r.Context(), p.UserID, r.PostFormValue("old"), r.PostFormValue("new")); err != nil {
			authkit.ProblemFor(err).ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return notebook{t, mux}
}

// send sends a form, with an access token if there is one.
func (n notebook) send(method, path, token string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	return w
}

// token returns the tokens that a form is answered with.
func (n notebook) token(form url.Values) (token authkit.Token) {
	w := n.send("POST", "/token", "", form)
	require.Equal(n.t, 200, w.Code, w.Body.String())
	require.NoError(n.t, json.Unmarshal(w.Body.Bytes(), &token))
	return token
}

func (n notebook) login(email, password string) authkit.Token {
	return n.token(url.Values{"username": {email}, "password": {password}})
}
