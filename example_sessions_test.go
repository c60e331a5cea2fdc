package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// A session from its login to its end.
func ExampleKit_Refresh() {
	ctx, t := context.Background(), authkittest.Example{}
	kit := authkittest.NewKit(t, func(c *authkit.Config) {
		c.OnEvent = []func(context.Context, authkit.Event){func(_ context.Context, e authkit.Event) {
			fmt.Println(strings.TrimSpace(fmt.Sprint(e.Kind, " ", e.Reason)))
		}}
	})
	user := authkittest.User(t, kit)
	first, err := kit.Login(ctx, user.Email, authkittest.Password)
	if err != nil {
		log.Fatal(err)
	}
	second, err := kit.Refresh(ctx, first.RefreshToken)
	if err != nil {
		log.Fatal(err)
	}
	again, err := kit.Refresh(ctx, first.RefreshToken) // another tab, or the answer was lost
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same successor:", again.RefreshToken == second.RefreshToken)

	if err := kit.LogoutEverywhere(ctx, user.ID); err != nil {
		log.Fatal(err)
	}
	_, err = kit.Refresh(ctx, second.RefreshToken)
	fmt.Println("refused:", errors.Is(err, authkit.ErrInvalidRefreshToken))
	// Output:
	// user_created
	// authn_login_success
	// session_renewed
	// session_renewed
	// the same successor: true
	// authn_logout
	// authn_refresh_fail revoked
	// refused: true
}

// A site that logs in browsers with a session cookie.
func ExampleKit_FormLoginHandler() {
	ctx, store := context.Background(), authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("a secret of 32 random bytes, or more"),
		Users:     store,
		Sessions:  authkit.SessionConfig{Store: store, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, // quick, for an example
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := kit.CreateUser(ctx, authkit.User{Email: "ann@example.com", FullName: "Ann"}, "correct horse"); err != nil {
		log.Fatal(err)
	}
	page := template.Must(template.New("login").Parse(`{{.Error}}
<form method="post">
  <input type="hidden" name="return" value="{{.Return}}">
  <input name="username" type="email" autocomplete="username" aria-label="E-mail" value="{{.Username}}">
  <input name="password" type="password" autocomplete="current-password" aria-label="Password">
  <label><input name="remember" type="checkbox"> Remember me</label>
  <button>Log in</button>
</form>`))

	mux := kit.NewMux()
	mux.Handle("/login", authkit.Public(), kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
		w.WriteHeader(f.Status)
		_ = page.Execute(w, f)
	}))
	mux.Handle("POST /logout", authkit.Public(), kit.FormLogoutHandler())
	mux.HandleFunc("GET /orders", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
		user, _ := authkit.UserFrom(r.Context())
		_, _ = fmt.Fprint(w, "the orders of ", user.FullName)
	})

	// A browser opens a page, is sent to the login page, and sends its form.
	open := httptest.NewRequest("GET", "/orders?year=2026", nil)
	open.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, open)
	fmt.Println(w.Code, w.Header().Get("Location"))

	form := url.Values{"username": {"ann@example.com"}, "password": {"correct horse"}, "return": {"/orders?year=2026"}}
	login := httptest.NewRequest("POST", "/login", strings.NewReader(form.Encode()))
	login.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, login)
	fmt.Println(w.Code, w.Header().Get("Location"))

	cookie := w.Result().Cookies()[0]
	fmt.Println(cookie.Name, cookie.Secure, cookie.HttpOnly, cookie.MaxAge)
	open.AddCookie(cookie)
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, open)
	fmt.Println(w.Code, w.Body)
	// Output:
	// 303 /login?return=%2Forders%3Fyear%3D2026
	// 303 /orders?year=2026
	// __Host-session true true 0
	// 200 the orders of Ann
}
