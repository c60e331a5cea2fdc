package account_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/throttle"
)

// A watchedUsers notes the names of the calls.
type watchedUsers struct {
	*authkit.MemoryStore
	mu    sync.Mutex
	calls []string
}

func (s *watchedUsers) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// names returns the names of the calls so far, and forgets them.
func (s *watchedUsers) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *watchedUsers) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	s.note("UserByID")
	return s.MemoryStore.UserByID(ctx, id)
}

func (s *watchedUsers) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	s.note("UserByEmail")
	return s.MemoryStore.UserByEmail(ctx, email)
}

func (s *watchedUsers) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	s.note("CreateUser")
	return s.MemoryStore.CreateUser(ctx, u)
}

func (s *watchedUsers) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	s.note("UpdateUser")
	return s.MemoryStore.UpdateUser(ctx, id, change, at)
}

func (s *watchedUsers) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	s.note("SessionsByUser")
	return s.MemoryStore.SessionsByUser(ctx, userID)
}

func (s *watchedUsers) PutTicket(ctx context.Context, t authkit.Ticket) error {
	s.note("PutTicket")
	return s.MemoryStore.PutTicket(ctx, t)
}

func (s *watchedUsers) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	s.note("AttemptTicket")
	return s.MemoryStore.AttemptTicket(ctx, kind, id, at)
}

func (s *watchedUsers) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	s.note("ConsumeTicket")
	return s.MemoryStore.ConsumeTicket(ctx, kind, id, at)
}

func (s *watchedUsers) InTx(ctx context.Context, f func(context.Context) error) error {
	s.note("InTx")
	return s.MemoryStore.InTx(ctx, f)
}

var handleIn = regexp.MustCompile(`(handle" value="|"handle":")([A-Za-z0-9_-]+)`)

// RG-01, RG-17, RG-20: whatever an address has, every route that takes one from
// a stranger gives the same status, headers and body, with the same calls of
// stores, the same number of hashes and no mail before the answer.
func TestNobodyLearnsWhoHasAnAccount(t *testing.T) {
	t.Parallel()
	users := &watchedUsers{MemoryStore: authkit.NewMemoryStore()}
	jobs := &watchedStore{Store: account.NewMemoryStore()}
	f := &factors{enrolled: map[string]bool{}}
	a := newApp(t, options{
		kit: []func(*authkit.Config){func(c *authkit.Config) {
			c.Users, c.Sessions.Store, c.SecondFactors = users, users, []authkit.SecondFactor{f}
		}},
		accounts: []func(*account.Config){func(c *account.Config) { c.Store = jobs }},
	})
	h := a.server()
	addresses := func(kind string) string {
		email := kind + "@example.com"
		if kind == "unknown" {
			return email
		}
		var u authkit.User
		var err error
		if kind == "nopassword" {
			u, err = a.kit.CreateUserWithoutPassword(t.Context(), authkit.User{Email: email})
		} else {
			u, err = a.kit.CreateUser(t.Context(), authkit.User{Email: email}, password)
		}
		require.NoError(t, err)
		if kind != "unverified" {
			_, err = a.kit.VerifyEmail(t.Context(), u.ID, email)
			require.NoError(t, err)
		}
		switch kind {
		case "disabled":
			require.NoError(t, a.kit.DisableUser(t.Context(), u.ID))
		case "locked":
			_, err = a.kit.LockUser(t.Context(), u.ID, time.Now().Add(time.Hour))
			require.NoError(t, err)
		case "factors":
			f.enrolled[u.ID] = true
		}
		return email
	}
	// transcript returns everything that a client can see, and the work for it.
	transcript := func(email string) string {
		var b strings.Builder
		ask := func(path string, fields ...string) string {
			form, object := url.Values{}, map[string]string{}
			for i := 0; i < len(fields); i += 2 {
				form.Set(fields[i], fields[i+1])
				object[fields[i]] = fields[i+1]
			}
			text, err := json.Marshal(object)
			require.NoError(t, err)
			handle := ""
			for _, body := range []string{form.Encode(), string(text)} {
				users.names()
				jobs.names()
				a.kinds()
				hashed, sent := a.kit.Stats().Hashed, len(a.mails.all())
				w := call(h, "POST", path, body)
				answer := w.Body.String()
				if found := handleIn.FindStringSubmatch(answer); found != nil {
					handle = found[2]
					answer = strings.ReplaceAll(answer, handle, fmt.Sprint("a handle of ", len(handle)))
				}
				if form.Has("handle") {
					answer = strings.ReplaceAll(answer, form.Get("handle"), "the handle")
				}
				answer = strings.ReplaceAll(answer, email, "(the address)")
				fmt.Fprintln(&b, path, w.Code, w.Header(), answer, users.names(), jobs.names(), a.kit.Stats().Hashed-hashed, a.kinds(), sent)
			}
			return handle
		}
		ask("/account/register", "email", email)
		ask("/account/reset", "email", strings.ToUpper(email))
		handle := ask("/account/code", "email", email)
		require.NoError(t, a.Deliver(t.Context()))
		mails := a.mails.all()
		wrong := "000000"
		for _, m := range mails {
			if codeIn.FindString(m.Text) == wrong {
				wrong = "000001"
			}
		}
		for range 4 { // each is sent twice
			ask("/account/code/login", "handle", handle, "code", wrong)
		}
		for _, path := range []string{"/account/signup", "/account/password", "/account/undo"} {
			ask(path, "token", handle+"."+wrong, "password", newPassword)
		}
		return b.String()
	}
	want := transcript(addresses("unknown"))
	require.Contains(t, want, "/account/register 202")
	require.Contains(t, want, "[] [PutJob] 0 []", "one job and nothing else")
	require.Contains(t, want, "AttemptTicket")
	for _, kind := range []string{"known", "unverified", "disabled", "locked", "nopassword", "factors"} {
		require.Equal(t, want, transcript(addresses(kind)), kind)
	}
}

// RG-05: addresses that look alike are others, and what is sent goes to the
// stored address.
func TestLookAlikeAddresses(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add(t, "mike.insel@example.com")
	for _, address := range []string{
		"m\u0131ke.insel@example.com", "mi\u212ae.insel@example.com", "mike.in\u017fel@example.com", "mike.insel@ex\u00e4mple.com",
		"\uff4dike.insel@example.com", " mike.insel@example.com", "mike.insel@example.com\n", "mike.insel@example.com\x00", "Mike <mike.insel@example.com>",
		"mike.insel@example.com,evil@example.com", "mike.insel@example.com\r\nBcc: evil@example.com", "mike.insel", "",
	} {
		var invalid *authkit.ValidationError
		require.ErrorAs(t, a.RequestReset(t.Context(), address), &invalid, address)
		require.ErrorAs(t, a.Register(t.Context(), address), &invalid, address)
		_, err := a.RequestCode(t.Context(), address)
		require.ErrorAs(t, err, &invalid, address)
		require.ErrorAs(t, a.ChangeEmail(t.Context(), u.ID, password, address), &invalid, address)
	}
	a.none(t)
	require.NoError(t, a.RequestReset(t.Context(), "MIKE.Insel@EXAMPLE.com"))
	require.Equal(t, u.Email, a.mail(t).To)
}

// RG-06: links come from the configuration, whatever the request says.
func TestLinksIgnoreTheRequest(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	w := call(a.server(), "POST", "http://evil.example/account/register", `{"email":"ann@example.com"}`,
		"Host", "evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "Forwarded", "host=evil.example", "Origin", "https://evil.example")
	require.Equal(t, 202, w.Code)
	m := a.mail(t)
	require.Contains(t, m.Text, "\n"+base+"/signup?token=")
	require.NotContains(t, m.Text+m.HTML+m.Subject, "evil")
}

// RG-07, RG-18: GET renders a form and touches no store, so that programs that
// follow links use nothing up. The page shows nothing of the account; it has no
// script and loads nothing.
func TestGetChangesNothing(t *testing.T) {
	t.Parallel()
	users := &watchedUsers{MemoryStore: authkit.NewMemoryStore()}
	jobs := &watchedStore{Store: account.NewMemoryStore()}
	a := newApp(t, options{
		kit:      []func(*authkit.Config){func(c *authkit.Config) { c.Users, c.Sessions.Store = users, users }},
		accounts: []func(*account.Config){func(c *account.Config) { c.Store = jobs }},
	})
	h := a.server()
	u := a.add(t, "ann@example.com")
	link := a.resetToken(t, u.Email)
	users.names()
	jobs.names()
	pages := 0
	for _, p := range a.Pages() {
		if p.Path == "/account/export" {
			continue
		}
		pages++
		for _, method := range []string{"GET", "HEAD"} {
			for range 150 { // more than a link has attempts
				w := call(p.Handler, method, p.Path+"?token="+link, "")
				require.Equal(t, 200, w.Code)
			}
		}
		w := call(p.Handler, "GET", p.Path+"?token="+link, "")
		body := w.Body.String()
		require.NotContains(t, body, "ann@")
		require.NotContains(t, strings.ToLower(body), "<script")
		require.NotRegexp(t, `(src|href)=`, body)
		require.NotContains(t, body, "url(")
		require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-")
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
		// Every input has a label.
		for _, input := range regexp.MustCompile(`<input id="([a-z_]+)"`).FindAllStringSubmatch(body, -1) {
			require.Contains(t, body, `<label for="`+input[1]+`">`)
		}
		for _, evil := range []string{`"><script>alert(1)</script>`, "a b", "x'", strings.Repeat("a", 300)} {
			body := call(p.Handler, "GET", p.Path+"?token="+url.QueryEscape(evil), "").Body.String()
			require.NotContains(t, body, "alert")
			require.NotContains(t, body, strings.Repeat("a", 300))
		}
		w = call(p.Handler, "PUT", p.Path, "")
		require.Equal(t, 405, w.Code)
		require.Equal(t, "GET, HEAD, POST", w.Header().Get("Allow"))
	}
	require.Equal(t, 10, pages)
	require.Empty(t, users.names())
	require.Empty(t, jobs.names())
	w := call(h, "POST", "/account/password", url.Values{"token": {link}, "password": {newPassword}}.Encode())
	require.Equal(t, 200, w.Code, w.Body)
	require.Contains(t, w.Body.String(), "Your password was saved")
	require.Empty(t, w.Result().Cookies(), "a reset does not log in (RG-08)")
}

// RG-14: a body has the fields of its route, each once, and nothing is in the
// URL.
func TestBodies(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	h := a.server()
	for _, tc := range []struct {
		path, body string
		want       int
		headers    []string
	}{
		{"/account/register", `{"email":"ann@example.com"}`, 202, nil},
		{"/account/register", `email=ann%40example.com`, 202, nil},
		{"/account/register", `{"email":"ann@example.com","roles":["admin"]}`, 422, nil},
		{"/account/register", `{"Email":"ann@example.com"}`, 422, nil},
		{"/account/register", `{"email":1}`, 422, nil},
		{"/account/register", `{"email":null}`, 422, nil},
		{"/account/register", `{}`, 422, nil},
		{"/account/register", `{"email":"ann@example.com","email":"bob@example.com"}`, 400, nil},
		{"/account/register", `{"email":"ann@example.com"}{}`, 400, nil},
		{"/account/register", `{"email"`, 400, nil},
		{"/account/register", `email=ann%40example.com&email=bob%40example.com`, 400, nil},
		{"/account/register", `email=%zz`, 400, nil},
		{"/account/register", `email=ann%40example.com&is_admin=true`, 422, nil},
		{"/account/register", ``, 415, nil},
		{"/account/register", `email=ann%40example.com`, 415, []string{"Content-Type", "text/plain"}},
		{"/account/register?email=ann%40example.com", `{"email":"ann@example.com"}`, 400, nil},
		{"/account/register", `{"email":"` + strings.Repeat("a", 17<<10) + `"}`, 413, nil},
		{"/account/register", `email=ann%40example.com`, 403, []string{"Sec-Fetch-Site", "cross-site"}},
		{"/account/register", `email=ann%40example.com`, 403, []string{"Origin", "https://evil.example"}},
		{"/account/register", `email=ann%40example.com`, 202, []string{"Sec-Fetch-Site", "same-origin"}},
		{"/account/password", `{"token":"x.y","password":"correct horse"}`, 400, nil},
		{"/account/password", `token=x.y&password=correct+horse`, 400, nil},
		{"/account/signup", `{"token":"x.y","password":"correct horse","full_name":"Ann"}`, 400, nil},
		{"/account/email", `{"current_password":"x","email":"ann@example.com"}`, 401, nil},
		{"/account/confirm", `{"token":"x.y"}`, 401, nil},
		{"/account/delete", `{"current_password":"x"}`, 401, nil},
	} {
		w := call(h, "POST", tc.path, tc.body, tc.headers...)
		require.Equal(t, tc.want, w.Code, "%s %s %s", tc.path, tc.body, w.Body)
		if strings.HasPrefix(tc.body, "{") && w.Code >= 400 {
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		}
	}
	require.Equal(t, 401, call(h, "GET", "/account/export", "").Code)
}

// Every flow works over HTTP, with JSON.
func TestJSON(t *testing.T) {
	t.Parallel()
	var cities []string
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
		c.SignUp = account.OnSignUp(func(_ context.Context, _ authkit.User, s settings) error {
			cities = append(cities, fmt.Sprint(s.City, s.Age, s.Agreed))
			return nil
		})
	}}})
	h := a.server()
	post := func(path string, want int, body map[string]any, headers ...string) map[string]any {
		t.Helper()
		text, err := json.Marshal(body)
		require.NoError(t, err)
		w := call(h, "POST", "/account"+path, string(text), headers...)
		require.Equal(t, want, w.Code, w.Body)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		var answer map[string]any
		if w.Body.Len() > 0 {
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		}
		return answer
	}
	type m = map[string]any
	require.Nil(t, post("/register", 202, m{"email": "ann@example.com"}))
	link := token(t, a.mail(t))
	answer := post("/signup", 422, m{"token": link, "password": "short", "city": 1})
	require.Len(t, answer["errors"], 2)
	post("/signup", 422, m{"token": link, "password": password, "is_admin": true})
	answer = post("/signup", 201, m{"token": link, "password": password, "full_name": "Ann", "city": "Oslo", "agreed": true})
	require.Equal(t, "ann@example.com", answer["email"])
	require.Equal(t, []string{"Oslo0 true"}, cities)
	require.NotContains(t, answer, "password")

	require.Nil(t, post("/reset", 202, m{"email": "ann@example.com"}))
	require.Nil(t, post("/password", 204, m{"token": token(t, a.mail(t)), "password": newPassword}))
	a.mail(t)

	bearer := func() []string {
		login, err := a.kit.Login(t.Context(), "ann@example.com", newPassword)
		require.NoError(t, err)
		return []string{"Authorization", "Bearer " + login.AccessToken}
	}
	post("/email", 401, m{"current_password": "wrong horse", "email": "ann@example.org"}, bearer()...)
	require.Nil(t, post("/email", 202, m{"current_password": newPassword, "email": "ann@example.org"}, bearer()...))
	link = token(t, a.mail(t))
	require.Nil(t, post("/confirm", 204, m{"token": link}, bearer()...))
	require.Nil(t, post("/undo", 204, m{"token": token(t, a.mail(t)), "password": newPassword}))
	a.mail(t)

	handle := post("/code", 202, m{"email": "ann@example.com"})["handle"]
	post("/code/login", 400, m{"handle": handle, "code": "x"})
	code := codeIn.FindString(a.mail(t).Text)
	answer = post("/code/login", 200, m{"handle": handle, "code": " " + code + " "})
	require.NotEmpty(t, answer["access_token"])
	require.NotEmpty(t, answer["refresh_token"])

	w := call(h, "GET", "/account/export", "", bearer()...)
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), `"account":`)
	require.Equal(t, 405, call(h, "POST", "/account/export", `{}`, bearer()...).Code)
	require.Nil(t, post("/delete", 204, m{"current_password": newPassword}, bearer()...))
}

// Every flow works in a browser without script, and a login sets the session
// cookie.
func TestForms(t *testing.T) {
	t.Parallel()
	f := &factors{enrolled: map[string]bool{}}
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) {
		c.Sessions.Cookies = &authkit.SessionCookieConfig{LoginPath: "/login"}
		c.SecondFactors = []authkit.SecondFactor{f}
	}}, accounts: []func(*account.Config){func(c *account.Config) {
		c.SignUp = account.OnSignUp(func(_ context.Context, _ authkit.User, s settings) error {
			if s != (settings{"Oslo", 7, true}) {
				return fmt.Errorf("got %+v", s)
			}
			return nil
		})
	}}})
	h := a.server()
	var cookies []*http.Cookie
	post := func(path string, want int, text string, fields ...string) string {
		t.Helper()
		form := url.Values{}
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		var headers []string
		if cookies != nil {
			headers = []string{"Cookie", cookies[0].Name + "=" + cookies[0].Value, "Sec-Fetch-Site", "same-origin"}
		}
		w := call(h, "POST", "/account"+path, form.Encode(), headers...)
		require.Equal(t, want, w.Code, w.Body)
		require.Contains(t, w.Body.String(), text)
		if c := w.Result().Cookies(); len(c) > 0 {
			cookies = c
		}
		return w.Body.String()
	}
	post("/register", 422, "must be an e-mail address", "email", "ann")
	post("/register", 422, "Please check what you entered.", "email", "ann")
	post("/register", 202, "Look at your mail", "email", "ann@example.com")
	link := token(t, a.mail(t))
	page := post("/signup", 422, "at least 8 characters", "token", link, "password", "short", "full_name", "Ann <b>", "city", "Rome", "age", "", "agreed", "on")
	require.Contains(t, page, `name="city" type="text" value="Rome"`)
	require.Contains(t, page, `name="age" type="number" value=""`)
	require.Contains(t, page, `name="agreed" type="checkbox" value="on" autocomplete="off" checked`)
	post("/signup", 422, "is not valid", "token", link, "password", password, "age", "x")
	require.Contains(t, page, `value="`+link+`"`)
	require.Contains(t, page, `value="Ann &lt;b&gt;"`)
	require.NotContains(t, page, "short")
	post("/signup", 201, "Your account was created", "token", link, "password", password, "full_name", "Ann", "city", "Oslo", "age", "7", "agreed", "on")
	post("/signup", 400, "not valid any more", "token", link, "password", password)
	post("/reset", 202, "Look at your mail", "email", "ann@example.com")
	link = token(t, a.mail(t))
	post("/password", 422, "at least 8", "token", link, "password", "short")
	post("/password", 200, "Your password was saved", "token", link, "password", newPassword)
	a.mail(t)

	page = post("/code", 202, `autocomplete="one-time-code"`, "email", "ann@example.com")
	require.Contains(t, page, `action="/account/code/login"`)
	handle := handleIn.FindStringSubmatch(page)[2]
	code := codeIn.FindString(a.mail(t).Text)
	page = post("/code/login", 400, "not valid", "handle", handle, "code", "x")
	require.Contains(t, page, handle, "the user can try again")
	post("/code/login", 303, "", "handle", handle, "code", code)
	require.True(t, slices.ContainsFunc(cookies, func(c *http.Cookie) bool { return c.Name == "__Host-session" }))

	post("/email", 401, "Incorrect", "current_password", "wrong horse", "email", "ann@example.org")
	post("/email", 202, "new address", "current_password", newPassword, "email", "ann@example.org")
	link = token(t, a.mail(t))
	before := cookies[0].Value
	post("/confirm", 200, "was changed", "token", link)
	require.NotEqual(t, before, cookies[0].Value, "the cookie is renewed")
	a.mail(t)
	post("/delete", 200, "was deleted", "current_password", newPassword)
	a.mail(t)

	u := a.add(t, "bob@example.com")
	f.enrolled[u.ID] = true
	cookies = nil
	page = post("/code", 202, "", "email", u.Email)
	page = post("/code/login", 200, `name="mfa_token"`, "handle", handleIn.FindStringSubmatch(page)[2], "code", codeIn.FindString(a.mail(t).Text))
	require.Contains(t, page, `action="/login"`)
	require.Regexp(t, `name="mfa_response"[^>]* required`, page)
	require.Nil(t, cookies)
	// A browser that is not logged in is sent to the login page, and comes back
	// with its token.
	w := call(h, "GET", "/account/confirm?token=a.b", "", "Accept", "text/html")
	require.Equal(t, 303, w.Code)
	require.Equal(t, "/login?return=%2Faccount%2Fconfirm%3Ftoken%3Da.b", w.Header().Get("Location"))
}

// RG-13: requests are limited by client and by address, for known and unknown
// ones alike.
func TestThrottle(t *testing.T) {
	t.Parallel()
	limits, err := throttle.New(throttle.Config{})
	require.NoError(t, err)
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.Throttle = limits }}})
	h := a.server()
	a.add(t, "ann@example.com")
	for _, address := range []string{"ann@example.com", "nobody@example.com"} {
		var codes []int
		for i := range 5 {
			ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprintf("192.0.2.%d", i)})
			err := a.RequestReset(ctx, address)
			codes = append(codes, authkit.ProblemFor(err).Status)
			if err == nil {
				codes[i] = 202
			}
		}
		require.Equal(t, []int{202, 202, 202, 429, 429}, codes, address)
	}
	require.Contains(t, a.kinds(), authkit.EventRateLimited)
	var codes []int
	for i := range 7 { // from the address of httptest
		codes = append(codes, call(h, "POST", "/account/register", fmt.Sprintf(`{"email":"user-%d@example.com"}`, i)).Code)
	}
	require.Equal(t, []int{202, 202, 202, 202, 202, 429, 429}, codes)
}

// Guesses at codes, with made-up handles or with the handle of the account, block no one.
func TestCodeGuessesBlockNoOne(t *testing.T) {
	t.Parallel()
	limits, err := throttle.New(throttle.Config{})
	require.NoError(t, err)
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.Throttle = limits }}})
	u := a.add(t, "ann@example.com")
	handle, err := a.RequestCode(t.Context(), u.Email)
	require.NoError(t, err)
	a.mail(t)
	for i := range 200 {
		ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprintf("192.0.2.%d", i)})
		_, err := a.LoginWithCode(ctx, []string{handle, "made-up"}[i%2], "x")
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	}
	ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "198.51.100.1"})
	handle, err = a.RequestCode(ctx, u.Email)
	require.NoError(t, err)
	_, err = a.LoginWithCode(ctx, handle, codeIn.FindString(a.mail(t).Text))
	require.NoError(t, err)
	_, err = a.kit.Login(ctx, u.Email, password)
	require.NoError(t, err)

	// One address has a limit.
	statuses := map[int]int{}
	for range 30 {
		_, err := a.LoginWithCode(ctx, "made-up", "x")
		statuses[authkit.ProblemFor(err).Status]++
	}
	require.Equal(t, map[int]int{400: 20, 429: 10}, statuses)
}

// The page of a link has its token, and no other text of the URL.
func TestTokenOfALink(t *testing.T) {
	t.Parallel()
	h := newApp(t).server()
	for text, shown := range map[string]bool{
		"09AZaz-_.": true, strings.Repeat("x", 255): true, strings.Repeat("x", 256): false,
		"a/b": false, "a:b": false, "a@b": false, "a[b": false, "a`b": false, "a{b": false, "a b": false, "a\n": false, "\u00e4": false,
	} {
		w := call(h, "GET", "/account/password?token="+url.QueryEscape(text), "")
		require.Equal(t, 200, w.Code)
		require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
		want := `name="token" value=""`
		if shown {
			want = `name="token" value="` + text + `"`
		}
		require.Contains(t, strings.ReplaceAll(w.Body.String(), ` type="hidden"`, ""), want, text)
	}
}

// A login with a code answers a form with a cookie, if there are cookies, and
// everything else with the tokens.
func TestCodeLoginResponses(t *testing.T) {
	t.Parallel()
	for _, cookies := range []bool{false, true} {
		a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) {
			if cookies {
				c.Sessions.Cookies = &authkit.SessionCookieConfig{LoginPath: "/login"}
			}
		}}})
		u := a.add(t, "ann@example.com")
		h := a.server()
		for _, form := range []bool{false, true} {
			handle, err := a.RequestCode(t.Context(), u.Email)
			require.NoError(t, err)
			code := codeIn.FindString(a.mail(t).Text)
			body := `{"handle":"` + handle + `","code":"` + code + `"}`
			if form {
				body = "handle=" + handle + "&code=" + code
			}
			w := call(h, "POST", "/account/code/login", body)
			if form && cookies {
				require.Equal(t, 303, w.Code)
				require.Equal(t, "/", w.Header().Get("Location"))
				require.Zero(t, w.Result().Cookies()[0].MaxAge, "the session ends with the browser")
				continue
			}
			require.Equal(t, 200, w.Code)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.Contains(t, w.Body.String(), "access_token")
			require.Empty(t, w.Result().Cookies())
		}
	}
}

// RG-10: a confirmation renews the cookie of the session, and only that. A wrong
// token is an error, with every kind of credential.
func TestConfirmResponses(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.Sessions.Cookies = &authkit.SessionCookieConfig{LoginPath: "/login"} }}})
	u := a.add(t, "ann@example.com")
	h := a.server()
	login, err := a.kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	require.NoError(t, a.kit.SetSessionCookie(rec, httptest.NewRequest("GET", "/", nil), login, false))
	cookie := []string{"Cookie", "__Host-session=" + rec.Result().Cookies()[0].Value, "Sec-Fetch-Site", "same-origin"}
	bearer := func() []string {
		login, err := a.kit.Login(t.Context(), u.Email, password)
		require.NoError(t, err)
		return []string{"Authorization", "Bearer " + login.AccessToken}
	}
	for _, headers := range [][]string{cookie, bearer()} {
		w := call(h, "POST", "/account/confirm", `{"token":"a.b"}`, headers...)
		require.Equal(t, 400, w.Code)
		require.Empty(t, w.Result().Cookies())
	}
	w := call(h, "POST", "/account/email", `{"current_password":"`+password+`","email":"new@example.com"}`, cookie...)
	require.Equal(t, 202, w.Code)
	require.Empty(t, w.Result().Cookies())
	w = call(h, "POST", "/account/confirm", `{"token":"`+token(t, a.mail(t))+`"}`, bearer()...)
	require.Equal(t, 204, w.Code, w.Body)
	require.Empty(t, w.Body.String())
	require.Empty(t, w.Result().Cookies())
}

// A rotating store replaces no token of a session while it fails.
type rotating struct {
	*authkit.MemoryStore
	fails bool
}

func (s *rotating) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	if s.fails {
		return authkit.StoredSession{}, false, errors.New("no connection")
	}
	return s.MemoryStore.RotateSession(ctx, id, r)
}

// RG-10: a confirmation with a session cookie replaces it, unless another request
// has just done so.
func TestConfirmRenewsCookie(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		status  int
		cookies int
	}{{"current", 204, 1}, {"replaced", 204, 0}, {"failing", 503, 0}} {
		s := &rotating{MemoryStore: authkit.NewMemoryStore()}
		a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) {
			c.Users, c.Sessions.Store, c.Sessions.Cookies = s, s, &authkit.SessionCookieConfig{}
		}}})
		u := a.add(t, "ann@example.com")
		login, err := a.kit.Login(t.Context(), u.Email, password)
		require.NoError(t, err)
		rec := httptest.NewRecorder()
		require.NoError(t, a.kit.SetSessionCookie(rec, httptest.NewRequest("GET", "/", nil), login, false))
		cookie := "__Host-session=" + rec.Result().Cookies()[0].Value
		h := a.server()
		w := call(h, "POST", "/account/email", `{"current_password":"`+password+`","email":"new@example.com"}`, "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
		require.Equal(t, 202, w.Code)
		link := token(t, a.mail(t))
		if s.fails = c.name == "failing"; c.name == "replaced" {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Cookie", cookie)
			require.NoError(t, a.kit.RenewSessionCookie(httptest.NewRecorder(), r))
		}
		w = call(h, "POST", "/account/confirm", `{"token":"`+link+`"}`, "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
		require.Equal(t, c.status, w.Code, c.name)
		require.Len(t, w.Result().Cookies(), c.cookies, c.name)
	}
}

// MW-10, TR-02: the data of a user is not cached.
func TestExportResponse(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add(t, "ann@example.com")
	login, err := a.kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	ask := func(method string) *httptest.ResponseRecorder {
		return call(a.server(), method, "/account/export", "", "Authorization", "Bearer "+login.AccessToken)
	}
	for _, method := range []string{"GET", "HEAD"} {
		w := ask(method)
		require.Equal(t, 200, w.Code)
		require.Equal(t, []string{"no-store", "nosniff", "application/json"}, []string{
			w.Header().Get("Cache-Control"), w.Header().Get("X-Content-Type-Options"), w.Header().Get("Content-Type"),
		})
	}
	w := ask("DELETE")
	require.Equal(t, 405, w.Code)
	require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))

	var f *failer
	a, f = newFlakyApp(t)
	a.add(t, u.Email)
	login, err = a.kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	f.fails("SessionsByUser", errNoConnection)
	w = ask("GET")
	require.Equal(t, 503, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
}

// A check of passwords that fails is no fault of the fields.
func TestPasswordCheckFails(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) {
		c.Passwords.Check = func(context.Context, string, authkit.User) error { return errNoConnection }
	}}})
	require.NoError(t, a.Register(t.Context(), "ann@example.com"))
	_, err := a.SignUp(t.Context(), token(t, a.mail(t)), account.NewAccount{Password: password, FullName: "a\nb"})
	require.ErrorIs(t, err, errNoConnection)
}

// The fields of a form have the types of the program.
func TestFormFieldTypes(t *testing.T) {
	t.Parallel()
	type fields struct {
		Text   string  `json:"text"`
		Number float64 `json:"number"`
		Flag   bool    `json:"flag"`
	}
	var got []fields
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
		c.SignUp = account.OnSignUp(func(_ context.Context, _ authkit.User, f fields) error { got = append(got, f); return nil })
	}}})
	h := a.server()
	for i, c := range []struct {
		form string
		want int
		got  fields
	}{
		{"text=123&number=1.5&flag=true", 201, fields{"123", 1.5, true}},
		{"text=null&number=&flag=on", 201, fields{"null", 0, true}},
		{"text=&flag=off", 201, fields{}},
		{"is_admin=", 422, fields{}},
		{"number=one", 422, fields{}},
	} {
		require.NoError(t, a.Register(t.Context(), fmt.Sprintf("user%d@example.com", i)))
		got = nil
		w := call(h, "POST", "/account/signup", "token="+token(t, a.mail(t))+"&password=correct+horse&"+c.form)
		require.Equal(t, c.want, w.Code, "%s %s", c.form, w.Body)
		if c.want == 201 {
			require.Equal(t, []fields{c.got}, got)
		}
	}
	w := call(h, "POST", "/account/register", `{"email":5}`)
	require.Equal(t, 422, w.Code)
	require.Contains(t, w.Body.String(), "must be a string")
	page := call(h, "GET", "/account/signup?token=a.b", "").Body.String()
	for _, name := range []string{"full_name", "text", "number", "flag"} {
		require.NotRegexp(t, `name="`+name+`"[^>]* required`, page)
	}
	require.Regexp(t, `name="password"[^>]* required`, page)
	require.Regexp(t, `name="token"[^>]* type="hidden"|type="hidden" name="token"`, page)
}

// A slow throttle refuses everything, and notes the address of the client.
type slowThrottle struct{ address string }

func (s *slowThrottle) Begin(_ context.Context, a authkit.Attempt) error {
	s.address = a.Client.Address
	return &authkit.ThrottledError{RetryAfter: 30 * time.Second}
}
func (*slowThrottle) End(context.Context, authkit.Attempt, authkit.AttemptOutcome) error { return nil }
func (*slowThrottle) Clear(context.Context, authkit.Attempt) error                       { return nil }

// RG-13: a form that is refused says when to try again. The client is that of
// the context, as behind a proxy.
func TestThrottledForm(t *testing.T) {
	t.Parallel()
	s := new(slowThrottle)
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.Throttle = s }}})
	mux := a.server()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(authkit.WithClient(r.Context(), authkit.ClientInfo{Address: "203.0.113.9"})))
	})
	w := call(h, "POST", "/account/reset", "email=ann@example.com")
	require.Equal(t, 429, w.Code)
	require.Equal(t, "30", w.Header().Get("Retry-After"))
	require.Equal(t, "203.0.113.9", s.address)
	call(mux, "POST", "/account/reset", "email=ann@example.com")
	require.Equal(t, "192.0.2.1", s.address, "or that of the connection")
	w = call(h, "POST", "/account/reset", "email=ann")
	require.Equal(t, 422, w.Code)
	require.Empty(t, w.Header().Values("Retry-After"))
}

// Without codes there are no pages for them. The style of a page is that of its
// policy.
func TestPages(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.CodeLogin = false }}})
	h := a.server()
	require.Equal(t, 404, call(h, "GET", "/account/code", "").Code)
	w := call(h, "GET", "/account/register", "")
	found := regexp.MustCompile(`(?s)<style>(.+)</style>`).FindStringSubmatch(w.Body.String())
	require.NotNil(t, found)
	sum := sha256.Sum256([]byte(found[1]))
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
}
