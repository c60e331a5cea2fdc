package authkit

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit/internal/refresh"
)

const (
	sessionCookie = "__Host-session"
	cookieKind    = "cookie" // the Principal.Credential

	defaultCookieIdle     = 2 * time.Hour
	defaultCookieAbsolute = 12 * time.Hour
	minCookieIdle         = 2 * time.Minute

	// cookieTouch is how long a session may have been used without a write of that.
	cookieTouch = time.Minute

	// cookieGrace is how long a cookie that was just replaced still authenticates: the
	// browser may have sent requests with it before it got the new one.
	cookieGrace = 10 * time.Second
)

// A CookieConfig configures session cookies. The cookie "__Host-session" is Secure,
// HttpOnly and SameSite=Lax, and holds an opaque token, of which the [SessionStore] keeps a
// hash. Every guard of the Kit takes it instead of an access token. Such a request is refused
// with 403 if it comes from another origin and has an unsafe method or opens a WebSocket
// (see http.CrossOriginProtection). A request with both a cookie and an access token is
// refused.
//
// A login that the user wants remembered lasts as [SessionConfig].Idle and Absolute say.
// Every other one ends with the browser, and after Idle and Absolute of this type.
type CookieConfig struct {
	// Idle is how long a session lasts without a request. If zero, it is 2 hours. Requests
	// are noted once a minute.
	Idle time.Duration

	// Absolute is how long a session lasts with requests. If zero, it is 12 hours.
	Absolute time.Duration

	// LoginPath is the path of the login page, such as "/login". A guard answers a browser
	// that must log in with a redirect (303) to it, with the path of the request in the
	// parameter "return". If empty, it answers with 401 as it does to other clients.
	LoginPath string

	// TrustedOrigins are other origins, such as "https://app.example.com", whose requests
	// are taken.
	TrustedOrigins []string
}

// cookies is a CookieConfig that was checked.
type cookies struct {
	idle, absolute time.Duration
	loginPath      string
	protection     *http.CrossOriginProtection
}

func newCookies(cfg CookieConfig, s *sessions, fault func(field string, err error)) *cookies {
	c := &cookies{
		absolute:  cmp.Or(cfg.Absolute, min(defaultCookieAbsolute, s.absolute)),
		loginPath: cfg.LoginPath, protection: http.NewCrossOriginProtection(),
	}
	c.idle = cmp.Or(cfg.Idle, min(defaultCookieIdle, c.absolute))
	if c.absolute < minCookieIdle || c.absolute > s.absolute {
		fault("Sessions.Cookies.Absolute", fmt.Errorf("%v; use %v to the %v of Sessions.Absolute, or 0 for %v", c.absolute, minCookieIdle, s.absolute, defaultCookieAbsolute))
	}
	if c.idle < minCookieIdle || c.idle > c.absolute {
		fault("Sessions.Cookies.Idle", fmt.Errorf("%v; use %v to the %v of Absolute, or 0 for %v", c.idle, minCookieIdle, c.absolute, defaultCookieIdle))
	}
	if c.loginPath != "" && localPath(c.loginPath) != c.loginPath {
		fault("Sessions.Cookies.LoginPath", fmt.Errorf("%q; use a path that begins with one slash, such as \"/login\"", c.loginPath))
	}
	for _, origin := range cfg.TrustedOrigins {
		if err := c.protection.AddTrustedOrigin(origin); err != nil {
			fault("Sessions.Cookies.TrustedOrigins", err)
		}
	}
	return c
}

// expiry returns when a session expires that is used at a time, by its cookie.
func (s *sessions) cookieExpiry(x *Session, kept bool, at time.Time) time.Time {
	if kept {
		return s.expiry(x, at)
	}
	return slices.MinFunc([]time.Time{at.Add(s.cookies.idle), x.CreatedAt.Add(s.cookies.absolute), x.EndsAt}, time.Time.Compare)
}

// errCrossOrigin is the ErrForbidden of a request of another origin.
var errCrossOrigin = &refusal{ErrForbidden, ReasonCrossOrigin, nil}

// sameOrigin returns errCrossOrigin for a request that another origin made with an unsafe
// method. The handshake of a WebSocket is a GET that browsers send across origins with cookies,
// so that an upgrade counts as unsafe.
func (c *cookies) sameOrigin(r *http.Request) error {
	if r.Header.Get("Upgrade") != "" {
		unsafe := *r
		unsafe.Method = http.MethodPost
		r = &unsafe
	}
	if c.protection.Check(r) != nil {
		return errCrossOrigin
	}
	return nil
}

// SetSessionCookie turns a login into one by cookie: it replaces the refresh token of t by a
// session cookie, which it sets. Use it after [Kit.Login], [Kit.LoginWith] or
// [Kit.AnswerChallenge]; [Kit.FormLoginHandler] does it. The session of a cookie that r
// brings ends. If remember is true, the browser keeps the cookie when it is closed.
//
// The error is ErrInvalidRefreshToken if t was used already, ErrUnavailable, or the error of
// the context. It panics if session cookies are off.
func (k *Kit) SetSessionCookie(w http.ResponseWriter, r *http.Request, t Token, remember bool) error {
	k.needCookies("SetSessionCookie")
	presented, ok := refresh.Parse(t.RefreshToken)
	if !ok {
		return errRefreshMalformed
	}
	ctx := withClientOf(r)
	if err := k.endSessionCookie(ctx, r, presented.SessionID()); err != nil {
		return err
	}
	s, err := k.session(ctx, presented)
	if err != nil {
		return err
	}
	return k.replaceCookie(ctx, w, &s, presented.Hash(), presented.Next(), remember)
}

// RenewSessionCookie replaces the session cookie of a request by one with a new token, for
// the same session. Use it when the rights of a user change within a session. It does nothing
// for a request without a session cookie.
//
// The error is ErrInvalidRefreshToken if the cookie is not the session's, ErrUnavailable, or
// the error of the context. It panics if session cookies are off.
func (k *Kit) RenewSessionCookie(w http.ResponseWriter, r *http.Request) error {
	k.needCookies("RenewSessionCookie")
	presented, kept, ok := cookieOf(r)
	if !ok {
		return nil
	}
	ctx := withClientOf(r)
	s, err := k.session(ctx, presented)
	if err != nil {
		return err
	}
	return k.replaceCookie(ctx, w, &s, presented.CookieHash(kept), presented.Next(), kept)
}

// replaceCookie makes next the token of a session, and sets the cookie.
func (k *Kit) replaceCookie(ctx context.Context, w http.ResponseWriter, s *StoredSession, old [32]byte, next refresh.Token, kept bool) error {
	at := now()
	_, rotated, err := k.sessions.store.RotateSession(ctx, s.ID, Rotation{
		Old: old, New: next.CookieHash(kept), At: at, ExpiresAt: k.sessions.cookieExpiry(&s.Session, kept, at), Address: cmp.Or(ClientFrom(ctx).Address, s.Address),
	})
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return errRefreshRevoked
	case err != nil:
		return unavailable(ctx, err)
	case !rotated:
		return errRefreshReused
	}
	life := time.Duration(0)
	if kept {
		life = s.EndsAt.Sub(at)
	}
	setSessionCookie(w, next.CookieText(kept), life)
	return nil
}

// setSessionCookie sets the cookie. A life of zero ends with the browser, and a negative one
// removes the cookie.
func setSessionCookie(w http.ResponseWriter, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: int(life / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// cookieOf returns the token of the one session cookie of a request.
func cookieOf(r *http.Request) (t refresh.Token, kept, ok bool) {
	cookies := r.CookiesNamed(sessionCookie)
	if len(cookies) != 1 {
		return refresh.Token{}, false, false
	}
	return refresh.ParseCookie(cookies[0].Value)
}

// endSessionCookie ends the session of the cookie that a request brings, unless it is the one
// named.
func (k *Kit) endSessionCookie(ctx context.Context, r *http.Request, except string) error {
	presented, kept, ok := cookieOf(r)
	if !ok || presented.SessionID() == except {
		return nil
	}
	s, err := k.session(ctx, presented)
	if err == nil && s.TokenHash == presented.CookieHash(kept) {
		err = k.Logout(ctx, s.UserID, s.ID)
	}
	if errors.Is(err, ErrInvalidRefreshToken) || errors.Is(err, ErrSessionNotFound) {
		return nil
	}
	return err
}

// needCookies panics where session cookies are off.
func (k *Kit) needCookies(method string) {
	if k.sessions == nil || k.sessions.cookies == nil {
		panic("authkit: " + method + ": session cookies are off; set Config.Sessions.Cookies")
	}
}

// cookieAuthenticator authenticates requests by session cookies.
type cookieAuthenticator struct{ kit *Kit }

// Challenge implements [Authenticator]. There is no scheme for cookies.
func (cookieAuthenticator) Challenge() string { return "" }

// Authenticate implements [Authenticator]. It reads the session and its account at once.
func (a cookieAuthenticator) Authenticate(r *http.Request) (Credential, error) {
	k, ctx := a.kit, r.Context()
	switch n := len(r.CookiesNamed(sessionCookie)); {
	case n == 0:
		return Credential{}, ErrNoCredentials
	case n > 1:
		return Credential{}, errTwoCredentials
	}
	if err := k.sessions.cookies.sameOrigin(r); err != nil {
		return Credential{}, err
	}
	presented, kept, ok := cookieOf(r)
	if !ok {
		return Credential{}, errTokenMalformed
	}
	s, u, err := k.readBoth(ctx, presented.SessionID())
	at := now()
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return Credential{}, errTokenRevoked
	case errors.Is(err, ErrUserNotFound) || err == nil && u.ID != s.UserID:
		return Credential{}, errUserGone
	case err != nil:
		return Credential{}, unavailable(ctx, err)
	}
	current := k.sessions.holdsCookie(&s, presented.CookieHash(kept), at)
	switch {
	case !current:
		return Credential{}, errTokenRevoked
	case !at.Before(s.ExpiresAt) || !at.Before(s.EndsAt):
		return Credential{}, ErrTokenExpired
	case at.Sub(s.LastUsedAt) >= cookieTouch && !u.Disabled && !s.CreatedAt.Before(u.ValidFrom):
		k.touch(withClientOf(r), &s, kept, at)
	}
	return Credential{
		Kind: cookieKind, ID: s.ID, UserID: s.UserID, Methods: s.Methods, AuthTime: s.AuthTime,
		IssuedAt: s.CreatedAt, ExpiresAt: s.ExpiresAt, SessionID: s.ID, account: &u,
	}, nil
}

// holdsCookie reports whether a hash is that of the session's cookie, or of the one that was
// just replaced.
func (s *sessions) holdsCookie(x *StoredSession, hash [32]byte, at time.Time) bool {
	if subtle.ConstantTimeCompare(x.TokenHash[:], hash[:]) == 1 {
		return true
	}
	return subtle.ConstantTimeCompare(x.ParentHash[:], hash[:]) == 1 && at.Sub(x.RotatedAt).Abs() <= cookieGrace
}

// touch notes the use of a session. An error does not fail the request: the session lasts
// as long as it did.
func (k *Kit) touch(ctx context.Context, s *StoredSession, kept bool, at time.Time) {
	expiry := k.sessions.cookieExpiry(&s.Session, kept, at)
	_, rotated, err := k.sessions.store.RotateSession(ctx, s.ID, Rotation{
		Old: s.TokenHash, New: s.TokenHash, At: at, ExpiresAt: expiry, Address: cmp.Or(ClientFrom(ctx).Address, s.Address),
	})
	switch {
	case err != nil && !errors.Is(err, ErrSessionNotFound):
		_ = k.storeFailed(ctx, err)
	case rotated:
		s.ExpiresAt = expiry
	}
}

// toLogin redirects a browser to the login page, and reports whether it did. It does not for
// requests of scripts, which could not make use of a page.
func (g *Guard) toLogin(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Upgrade") != "" ||
		!strings.Contains(r.Header.Get("Accept"), "text/html") {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	w.Header().Set("Cache-Control", "no-store")
	seeOther(w, g.login+"?return="+url.QueryEscape(localPath(r.URL.RequestURI())))
	return true
}

// seeOther redirects to a path after a POST, or to a login page.
func seeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}

// localPath returns a path of this site, with its query, or "/" for any other text. Browsers
// read two slashes, and backslashes, as the begin of another site's address.
func localPath(text string) string {
	if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || len(text) > maxReturnBytes {
		return "/"
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return "/"
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return "/"
	}
	return text
}

const maxReturnBytes = 2048
