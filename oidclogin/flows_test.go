package oidclogin_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/throttle"
)

// The second login finds the account of the first one, by the subject: the
// address and the name may change (OA-02).
func TestSecondLogin(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	c := a.browser()
	first := c.requireUser(c.login())
	h.as("ann", "other@example.com", false)
	c = a.browser()
	second := c.requireUser(c.login())
	require.Equal(t, first, second)
	require.Equal(t, 1, a.accounts())

	// Another person at the provider with the address is another user.
	h.as("bob", "ann@example.com", true)
	p := a.browser().login()
	require.Equal(t, http.StatusConflict, p.StatusCode)
	require.Contains(t, p.body, "You have an account already")
}

// OA-05: a login with a provider asks for the second factor, and a disabled
// account stays disabled.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	h, f := newHostile(t), new(factor)
	a := newApp(t, []oidclogin.Provider{generic(h)}, func(c *authkit.Config, _ *oidclogin.Config) { c.SecondFactors = []authkit.SecondFactor{f} })
	c := a.browser()
	u := c.requireUser(c.login())
	f.enrol(u.ID)
	c = a.browser()
	p := c.do("GET", c.begin("?return=/there"), nil)
	require.Equal(t, http.StatusOK, p.StatusCode)
	require.Empty(t, c.user())
	form := url.Values{"mfa_response": {"right"}}
	for _, m := range regexp.MustCompile(`name="([a-z_]+)" value="([^"]*)"`).FindAllStringSubmatch(p.body, -1) {
		if m[1] != "mfa_response" {
			form.Set(m[1], m[2])
		}
	}
	require.Contains(t, p.body, `action="/login"`)
	p = c.do("POST", "/login", form)
	require.Equal(t, u.ID, c.requireUser(p).ID)
	require.Equal(t, "/there", p.Header.Get("Location"))

	require.NoError(t, a.kit.DisableUser(t.Context(), u.ID))
	c = a.browser()
	require.Equal(t, http.StatusBadRequest, c.login().StatusCode)
	require.Empty(t, c.user())
}

// OA-09: linking and unlinking from the settings. Both need a fresh login, and
// both are events. Other sessions end.
func TestLinkAndUnlink(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)}, withMailer)
	me := a.add("me@example.com", true)
	c, elsewhere := a.browser(), a.browser()
	c.password(me.Email)
	elsewhere.password(me.Email)
	a.kinds()
	p := c.link()
	require.Equal(t, "/settings", p.Header.Get("Location"), p.body)
	require.Contains(t, a.kinds(), authkit.EventFactorAdded)
	require.Equal(t, me.ID, c.user())
	require.Empty(t, elsewhere.user(), "other sessions end")
	require.Len(t, a.mails, 1)
	require.Equal(t, me.Email, a.mails[0].To)

	list := c.do("GET", "/oidc/identities", nil)
	require.Contains(t, list.body, `"subject":"ann"`)
	again := a.browser()
	require.Equal(t, me.ID, again.requireUser(again.login()).ID, "the identity logs in")
	require.Equal(t, "/settings", c.link().Header.Get("Location"), "linking twice is no error")

	identities, err := a.Identities(t.Context(), me.ID)
	require.NoError(t, err)
	require.Len(t, identities, 1)
	p = c.do("POST", "/oidc/identities/"+identities[0].ID+"/unlink", url.Values{"return": {"/settings"}})
	require.Equal(t, "/settings", p.Header.Get("Location"), p.body)
	require.Contains(t, a.kinds(), authkit.EventFactorRemoved)
	require.Len(t, a.mails, 2)
	again = a.browser()
	require.NotEqual(t, me.ID, again.requireUser(again.login()).ID, "the identity is that of a new user")
}

// OA-09: the only way to log in stays, whether or not several are removed at
// once.
func TestLastLoginStays(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	second := generic(newHostile(t))
	second.Name = "other"
	passkey := false
	a := newApp(t, []oidclogin.Provider{generic(h), second}, func(_ *authkit.Config, c *oidclogin.Config) {
		c.HasOtherLogin = func(context.Context, string) (bool, error) { return passkey, nil }
	})
	c := a.browser()
	u := c.requireUser(c.login())
	unlink := func(id string) int { return c.do("DELETE", "/oidc/identities/"+id, nil).StatusCode }
	list, err := a.Identities(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, unlink(list[0].ID))

	// An identity of a provider that has left is no way in.
	require.NoError(t, a.store.CreateIdentity(t.Context(), oidclogin.Identity{ID: "gone", UserID: u.ID, Issuer: "https://gone.example.com", Subject: "1"}))
	require.Equal(t, http.StatusConflict, unlink(list[0].ID))
	require.Equal(t, http.StatusNoContent, unlink("gone"))
	require.Equal(t, http.StatusNotFound, unlink("gone"))

	require.NoError(t, a.store.CreateIdentity(t.Context(), oidclogin.Identity{ID: "two", UserID: u.ID, Issuer: second.Issuer, Subject: "1"}))
	var group sync.WaitGroup
	var mu sync.Mutex
	removed := 0
	for i := range 16 {
		group.Go(func() {
			err := a.Unlink(t.Context(), u.ID, []string{list[0].ID, "two"}[i%2])
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				removed++
			case !errors.Is(err, oidclogin.ErrLastLogin) && !errors.Is(err, oidclogin.ErrNoIdentity) && !errors.Is(err, authkit.ErrConflict):
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.Equal(t, 1, removed)
	left, err := a.Identities(t.Context(), u.ID)
	require.NoError(t, err)
	require.Len(t, left, 1)

	passkey = true
	require.NoError(t, a.Unlink(t.Context(), u.ID, left[0].ID))
	other := a.add("bob@example.com", true)
	require.NoError(t, a.store.CreateIdentity(t.Context(), oidclogin.Identity{ID: "bob", UserID: other.ID, Issuer: h.URL, Subject: "bob"}))
	require.ErrorIs(t, a.Unlink(t.Context(), u.ID, "bob"), oidclogin.ErrNoIdentity, "that of another user")
	passkey = false
	require.NoError(t, a.Unlink(t.Context(), other.ID, "bob"), "a password is a way in")
}

// OA-13, OA-14: a link that one user began cannot be completed in the browser or
// in the session of another one.
func TestLinkOfAnotherUser(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	a.add("mallory@example.com", true)
	victim := a.add("victim@example.com", true)
	attacker, c := a.browser(), a.browser()
	attacker.password("mallory@example.com")
	c.password(victim.Email)
	free := func() {
		t.Helper()
		_, err := a.store.IdentityBySubject(t.Context(), h.URL, "ann")
		require.ErrorIs(t, err, oidclogin.ErrNoIdentity)
	}

	// The attacker's answer, in the victim's browser.
	require.Equal(t, http.StatusBadRequest, c.do("GET", attacker.beginLink(), nil).StatusCode)
	free()

	// The attacker's flow in the attacker's browser, in which the victim has
	// logged in meanwhile.
	shared := a.browser()
	shared.password("mallory@example.com")
	callback := shared.beginLink()
	shared.password(victim.Email)
	require.Equal(t, http.StatusForbidden, shared.do("GET", callback, nil).StatusCode)
	free()

	// Another session of the same user, and none.
	callback = shared.beginLink()
	shared.password(victim.Email)
	require.Equal(t, http.StatusForbidden, shared.do("GET", callback, nil).StatusCode)
	callback = shared.beginLink()
	delete(shared.cookies, "__Host-session")
	require.Equal(t, http.StatusUnauthorized, shared.do("GET", callback, nil).StatusCode)
	free()

	// Another site cannot begin a link, nor can a client without a login.
	require.Equal(t, http.StatusUnauthorized, c.do("POST", "/oidc/idp/link", url.Values{}, "Sec-Fetch-Site", "cross-site").StatusCode)
	require.Equal(t, http.StatusUnauthorized, a.browser().do("POST", "/oidc/idp/link", url.Values{}).StatusCode)

	// A link is void after a reset of the account.
	callback = c.beginLink()
	require.NoError(t, a.kit.ResetUser(t.Context(), victim.ID))
	require.Equal(t, http.StatusBadRequest, c.do("GET", callback, nil).StatusCode)
	free()

	// An identity of one user is not given to another one.
	attacker.link()
	mallory := attacker.user()
	u := a.add("bob@example.com", true)
	bob := a.browser()
	bob.password(u.Email)
	require.Equal(t, http.StatusConflict, bob.link().StatusCode)
	owner, err := a.store.IdentityBySubject(t.Context(), h.URL, "ann")
	require.NoError(t, err)
	require.Equal(t, mallory, owner.UserID)
}

// Step-up: max_age requests a new login at the provider. The session has the time
// that the provider reports, so that an old login there is not a fresh one here.
func TestStepUp(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	c := a.browser()
	h.claims = func(c jwt.MapClaims) {
		if _, asked := c["auth_time"]; !asked {
			c["auth_time"] = time.Now().Add(-2 * time.Hour).Unix()
		}
	}
	c.requireUser(c.login())
	require.NotEqual(t, http.StatusOK, c.do("GET", "/fresh", nil).StatusCode)
	require.NotEqual(t, http.StatusOK, c.do("POST", "/oidc/idp/link", url.Values{}).StatusCode)
	location := c.do("GET", "/oidc/idp?max_age=300", nil).Header.Get("Location")
	require.Contains(t, location, "max_age=300")
	c.requireUser(c.do("GET", c.atProvider(location), nil))
	require.Equal(t, http.StatusOK, c.do("GET", "/fresh", nil).StatusCode)

	// A provider that ignores the wish is refused.
	for name, claims := range map[string]func(jwt.MapClaims){
		"an old time": func(c jwt.MapClaims) { c["auth_time"] = time.Now().Add(-2 * time.Hour).Unix() },
		"no time":     func(c jwt.MapClaims) { delete(c, "auth_time") },
		"the future":  func(c jwt.MapClaims) { c["auth_time"] = time.Now().Add(2 * time.Hour).Unix() },
		"a text":      func(c jwt.MapClaims) { c["auth_time"] = "now" },
	} {
		h.claims = claims
		c := a.browser()
		require.Equal(t, http.StatusUnauthorized, c.do("GET", c.begin("?max_age=300"), nil).StatusCode, name)
	}
	for _, right := range []string{"1", "86400"} {
		require.Equal(t, http.StatusSeeOther, a.browser().do("GET", "/oidc/idp?max_age="+right, nil).StatusCode, right)
	}
	for _, wrong := range []string{"0", "-1", "x", "86401", "99999999999999999999"} {
		require.Equal(t, http.StatusBadRequest, a.browser().do("GET", "/oidc/idp?max_age="+wrong, nil).StatusCode, wrong)
	}
}

// OA-07: the browser goes to a path of the site, and nowhere else.
func TestReturnPath(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	for text, want := range map[string]string{
		"/there?x=1": "/there?x=1", "": "/", "//evil.example.com": "/", "/\\evil.example.com": "/", "https://evil.example.com": "/", "/%2f/evil": "/", "/a\n": "/",
		"/login?return=/x": "/", "/a b": "/", "/a%20b": "/a%20b", "/a%7fb": "/", "/a%0ab": "/", "/\u00e4": "/", "/a?b=\\": "/", "/%zz": "/",
		"/" + strings.Repeat("x", 2047): "/" + strings.Repeat("x", 2047), "/" + strings.Repeat("x", 2048): "/",
	} {
		c := a.browser()
		p := c.do("GET", c.begin("?return="+url.QueryEscape(text)), nil)
		require.Equal(t, want, p.Header.Get("Location"), text)
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, text := range []string{"/", "/a?b=c", "//a", "/\\a", "/%5ca", "/%2f%2fa", "http://a", "/a//b", "/\t/a", "/.//a", "//", "//?a"} {
		f.Add(text)
	}
	base, err := url.Parse("https://app.example.com/oidc/idp/callback")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		path := oidclogin.LocalPath(text)
		u, err := base.Parse(path)
		require.NoError(t, err)
		require.Equal(t, "app.example.com", u.Host)
		require.Equal(t, byte('/'), path[0])
		require.False(t, len(path) > 1 && (path[1] == '/' || path[1] == '\\'), path)
		decoded, err := url.PathUnescape(path)
		if err == nil {
			decoded, _, _ = strings.Cut(decoded, "?")
			require.False(t, strings.HasPrefix(decoded, "//") || strings.HasPrefix(decoded, "/\\"), path)
		}
	})
}

// A page of another site cannot send a browser to the provider and thus log it
// in: the user has to click.
func TestStartFromAnotherSite(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	p := a.browser().do("GET", "/oidc/idp?return=/there&max_age=60", nil, "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusOK, p.StatusCode)
	require.Contains(t, p.body, `href="/oidc/idp?max_age=60&amp;return=%2Fthere"`)
	require.NotContains(t, p.body, "refresh")
	require.NotContains(t, p.body, h.URL)
	p = a.browser().do("GET", "/oidc/idp?return=/there", nil, "Sec-Fetch-Site", "cross-site")
	require.Contains(t, p.body, `href="/oidc/idp?return=%2Fthere"`)
}

// A user who cancels at the provider gets a page, and no session.
func TestCancel(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	h.answer = func(q url.Values) {
		q.Del("code")
		q.Set("error", "access_denied")
	}
	c := a.browser()
	p := c.login()
	require.Equal(t, http.StatusOK, p.StatusCode)
	require.Contains(t, p.body, "You have cancelled")
	require.Empty(t, c.user())
	require.NotContains(t, a.kinds(), authkit.EventLoginFailure)
}

var (
	codeText = regexp.MustCompile(`\b\d{6}\b`)
	hidden   = regexp.MustCompile(`type="hidden" name="([a-z]+)" value="([^"]*)"`)
)

// enter sends the form of a page of the package.
func (c *client) enter(p page, name, value string) page {
	c.t.Helper()
	found := hidden.FindStringSubmatch(p.body)
	require.NotNil(c.t, found, p.body)
	action := regexp.MustCompile(`action="([^"]+)"`).FindStringSubmatch(p.body)
	require.NotNil(c.t, action, p.body)
	return c.do("POST", action[1], url.Values{found[1]: {found[2]}, name: {value}})
}

// OA-16: without an address from the provider, the user proves a mailbox. The
// response is the same for every address.
func TestMailboxProof(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.as("ann", nil, nil)
	a := newApp(t, []oidclogin.Provider{generic(h)}, withMailer)
	taken := a.add("taken@example.com", true)
	start := func() (*client, page) {
		c := a.browser()
		p := c.login()
		require.Equal(t, http.StatusOK, p.StatusCode, p.body)
		require.Contains(t, p.body, "Your e-mail address")
		require.Empty(t, c.user())
		return c, p
	}
	code := func(address string) string {
		last := a.mails[len(a.mails)-1]
		require.Equal(t, address, last.To)
		return codeText.FindString(last.Text)
	}
	blank := regexp.MustCompile(`value="[^"]*"`)

	c, p := start()
	require.Equal(t, http.StatusUnprocessableEntity, c.enter(p, "email", "no address").StatusCode)
	first := c.enter(p, "email", "taken@example.com")
	c2, p2 := start()
	second := c2.enter(p2, "email", "new@example.com")
	require.Equal(t, blank.ReplaceAllString(first.body, ""), blank.ReplaceAllString(second.body, ""))

	// A wrong code, and the right one in another browser.
	right := code("new@example.com")
	wrong := "000000"
	if right == wrong {
		wrong = "000001"
	}
	require.Equal(t, http.StatusBadRequest, c2.enter(second, "code", wrong).StatusCode)
	require.Equal(t, http.StatusBadRequest, a.browser().enter(second, "code", right).StatusCode)
	u := c2.requireUser(c2.enter(second, "code", " "+right+" "))
	require.Equal(t, "new@example.com", u.Email)
	require.False(t, u.EmailVerifiedAt.IsZero())
	require.Equal(t, http.StatusBadRequest, c2.enter(second, "code", right).StatusCode, "a code works once")
	c3 := a.browser()
	require.Equal(t, u.ID, c3.requireUser(c3.login()).ID)

	// An address that has an account does not give access to it, even with the
	// code.
	h.as("bob", "taken@example.com", false)
	c, p = start()
	require.Contains(t, p.body, "taken@example.com", "the address of the provider is suggested")
	p = c.enter(p, "email", "taken@example.com")
	p = c.enter(p, "code", code("taken@example.com"))
	require.Equal(t, http.StatusConflict, p.StatusCode)
	require.Empty(t, c.user())
	list, err := a.Identities(t.Context(), taken.ID)
	require.NoError(t, err)
	require.Empty(t, list)

	// A form of another site sends no mail.
	n := len(a.mails)
	require.Equal(t, http.StatusForbidden, c.do("POST", "/oidc/mailbox", url.Values{"pending": {"x"}, "email": {"x@example.com"}}, "Sec-Fetch-Site", "cross-site").StatusCode)
	require.Len(t, a.mails, n)
}

// OA-15: two callbacks at once make one account.
func TestTwoCallbacksAtOnce(t *testing.T) {
	t.Parallel()
	for _, local := range []bool{false, true} {
		h := newHostile(t)
		p := generic(h)
		p.Email = oidclogin.EmailLinks
		a := newApp(t, []oidclogin.Provider{p})
		if local {
			a.add("ann@example.com", true)
		}
		var browsers []*client
		var callbacks []string
		for range 16 {
			c := a.browser()
			browsers, callbacks = append(browsers, c), append(callbacks, c.begin(""))
		}
		var group sync.WaitGroup
		for i, c := range browsers {
			group.Go(func() {
				// A login whose account changes meanwhile may fail, and succeeds
				// when it is repeated.
				p := c.do("GET", callbacks[i], nil)
				if p.StatusCode != http.StatusSeeOther && p.StatusCode != http.StatusUnauthorized {
					t.Error(p.StatusCode, p.body)
				}
			})
		}
		group.Wait()
		require.Equal(t, 1, a.accounts())
		id, err := a.store.IdentityBySubject(t.Context(), h.URL, "ann")
		require.NoError(t, err)
		c := a.browser()
		require.Equal(t, id.UserID, c.requireUser(c.login()).ID)
		list, err := a.Identities(t.Context(), id.UserID)
		require.NoError(t, err)
		require.Len(t, list, 1)
	}
}

// OA-17: tokens are kept where asked, encrypted, and bound to their row.
func TestTokens(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	access := ""
	h.token = func(r map[string]any) { access = r["access_token"].(string) }
	for _, keep := range []bool{false, true} {
		p := generic(h)
		p.KeepTokens = keep
		a := newApp(t, []oidclogin.Provider{p}, func(_ *authkit.Config, c *oidclogin.Config) {
			if keep {
				c.Keys = [][]byte{[]byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")}
			}
		})
		c := a.browser()
		u := c.requireUser(c.login())
		id, err := a.store.IdentityBySubject(t.Context(), h.URL, "ann")
		require.NoError(t, err)
		token, err := a.Tokens(t.Context(), u.ID, id.ID)
		if !keep {
			require.ErrorIs(t, err, oidclogin.ErrNoTokens)
			require.Empty(t, id.Tokens)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, access, token.AccessToken)
		require.NotContains(t, string(id.Tokens), access)
		c = a.browser()
		c.requireUser(c.login())
		token, err = a.Tokens(t.Context(), u.ID, id.ID)
		require.NoError(t, err)
		require.Equal(t, access, token.AccessToken, "those of the last login")
		_, err = a.Tokens(t.Context(), "another", id.ID)
		require.ErrorIs(t, err, oidclogin.ErrNoIdentity)
		id.ID, id.Subject = "copy", "copy"
		require.NoError(t, a.store.CreateIdentity(t.Context(), id))
		_, err = a.Tokens(t.Context(), u.ID, "copy")
		require.ErrorIs(t, err, oidclogin.ErrNoTokens)
		export, err := a.kit.ExportUser(t.Context(), u.ID)
		require.NoError(t, err)
		require.Len(t, export["identities"], 2)
	}
}

// An account that is reset or deleted loses its identities: someone else could
// log in with them.
func TestUserData(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	for name, remove := range map[string]func(context.Context, string) error{"reset": a.kit.ResetUser, "deleted": a.kit.DeleteUser} {
		h.as(name, name+"@example.com", true)
		c := a.browser()
		u := c.requireUser(c.login())
		require.NoError(t, remove(t.Context(), u.ID))
		_, err := a.store.IdentityBySubject(t.Context(), h.URL, name)
		require.ErrorIs(t, err, oidclogin.ErrNoIdentity, name)
	}
}

// An enroller is a second factor that users can set up.
type enroller struct{ factor }

func (*enroller) BeginEnrollment(context.Context, authkit.User) (any, error) { return nil, nil }

func (*enroller) ConfirmEnrollment(context.Context, authkit.User, string) (any, error) {
	return nil, nil
}

func (*enroller) Unenroll(context.Context, string) error { return nil }

// A user who must have a second factor, and has none, gets no session: the login
// page sets one up.
func TestSecondFactorMustBeSetUp(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)}, func(c *authkit.Config, _ *oidclogin.Config) {
		c.SecondFactors, c.RequireFactors = []authkit.SecondFactor{new(enroller)}, authkit.FactorPolicy{Everyone: true}
	})
	c := a.browser()
	p := c.login()
	require.Equal(t, http.StatusOK, p.StatusCode)
	require.Contains(t, p.body, `name="mfa_enroll" value="1"`)
	require.NotContains(t, p.body, "mfa_response")
	require.Empty(t, c.user())
}

// FR-02: a client that starts logins stores a limited number of tickets.
func TestStartsAreLimited(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	limits, err := throttle.New(throttle.Config{Secret: []byte("5b1c0e7d9a3f48268c4d7e1f0a9b3c62")})
	require.NoError(t, err)
	a := newApp(t, []oidclogin.Provider{generic(h)}, func(c *authkit.Config, _ *oidclogin.Config) { c.Throttle = limits })
	refused := 0
	for range 200 {
		if a.browser().do("GET", "/oidc/idp", nil).StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	require.NotZero(t, refused)
}
