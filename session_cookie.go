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

	"github.com/authkit-go/authkit/internal/endpoint"
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

	// maxCookies is how many cookies of one name a logout looks up. A browser has one of a
	// name that begins with "__Host-", or two if it also has a partitioned one.
	maxCookies = 4
)

// A SessionCookieConfig configures session cookies. The cookie "__Host-session" is Secure,
// HttpOnly and SameSite=Lax. It holds an opaque token, of which the [SessionStore] keeps a
// hash. Every guard of the Kit accepts it instead of an access token. A request with both a
// cookie and an access token is refused.
//
// A request with a cookie is refused with 403 if another origin sent it, and if it has an
// unsafe method or opens a WebSocket (see http.CrossOriginProtection). Handlers of GET
// requests must change nothing.
//
// If the user chose to be remembered, [SessionConfig].IdleTimeout and
// AbsoluteTimeout limit the session. Otherwise IdleTimeout and AbsoluteTimeout
// of this type limit it, and the cookie ends with the browser.
//
// While an account may not log in, for instance because it is locked, its
// sessions go on but requests do not prolong them. Disabling the account ends
// them.
type SessionCookieConfig struct {
	// IdleTimeout is how long a session lasts without a request. If zero, it is
	// 2 hours. The time of the last request is stored at most once a minute.
	IdleTimeout time.Duration

	// AbsoluteTimeout is how long a session lasts, however many requests there
	// are. If zero, it is 12 hours. [Session].ExpiresAt is never later than
	// that, but AbsoluteExpiresAt may be.
	AbsoluteTimeout time.Duration

	// LoginPath is the path of the login page, such as "/login". A guard answers a browser
	// that must log in with a redirect (303) to it, with the path of the request in the
	// parameter "return". It does so only for GET and HEAD, and only for pages, not for
	// requests of scripts. If empty, it answers with 401 as it does to other clients.
	LoginPath string

	// TrustedOrigins are other origins, such as "https://app.example.com", whose requests
	// are taken.
	TrustedOrigins []string
}

// cookies is a SessionCookieConfig that was checked.
type cookies struct {
	idle, absolute time.Duration
	loginPath      string
	protection     *http.CrossOriginProtection
	trusted        []string
}

func newCookies(cfg SessionCookieConfig, s *sessions, fault func(field string, err error)) *cookies {
	c := &cookies{
		absolute:  cmp.Or(cfg.AbsoluteTimeout, min(defaultCookieAbsolute, s.absolute)),
		loginPath: cfg.LoginPath, protection: http.NewCrossOriginProtection(), trusted: slices.Clone(cfg.TrustedOrigins),
	}
	c.idle = cmp.Or(cfg.IdleTimeout, min(defaultCookieIdle, c.absolute))
	if c.absolute < minCookieIdle || c.absolute > s.absolute {
		fault("Sessions.Cookies.AbsoluteTimeout", fmt.Errorf("%v; use %v to the %v of Sessions.AbsoluteTimeout, or 0 for %v", c.absolute, minCookieIdle, s.absolute, defaultCookieAbsolute))
	}
	if c.idle < minCookieIdle || c.idle > c.absolute {
		fault("Sessions.Cookies.IdleTimeout", fmt.Errorf("%v; use %v to the %v of Absolute, or 0 for %v", c.idle, minCookieIdle, c.absolute, defaultCookieIdle))
	}
	if c.loginPath != "" && (localPath(c.loginPath) != c.loginPath || strings.ContainsAny(c.loginPath, "?#")) {
		fault("Sessions.Cookies.LoginPath", fmt.Errorf("%q; use a path that begins with one slash and has no query, such as \"/login\"", c.loginPath))
	}
	for _, origin := range cfg.TrustedOrigins {
		if err := c.protection.AddTrustedOrigin(origin); err != nil {
			fault("Sessions.Cookies.TrustedOrigins", err)
		}
	}
	return c
}

// cookieExpiry returns when a session expires whose cookie is used at a time.
func (s *sessions) cookieExpiry(x *Session, kept bool, at time.Time) time.Time {
	if kept {
		return s.expiry(x, at)
	}
	return slices.MinFunc([]time.Time{at.Add(s.cookies.idle), x.CreatedAt.Add(s.cookies.absolute), x.AbsoluteExpiresAt}, time.Time.Compare)
}

// sameOrigin returns errCrossOrigin for a request that another origin made with an unsafe
// method. The handshake of a WebSocket counts as unsafe: it is a GET, or a CONNECT in HTTP/2,
// that browsers send across origins without asking.
func (c *cookies) sameOrigin(r *http.Request) error {
	if r.Header["Upgrade"] != nil {
		unsafe := *r
		unsafe.Method = http.MethodPost
		r = &unsafe
	}
	if c.protection.Check(r) != nil || c.plainOrigin(r) {
		return errCrossOrigin
	}
	return nil
}

// plainOrigin reports whether the page that sent an unsafe request came without TLS: an
// attacker on the network may have written it. The protection compares only the host then, if the
// browser does not send Sec-Fetch-Site, as for WebSockets in some. Browsers keep Secure
// cookies without TLS for loopback addresses only.
func (c *cookies) plainOrigin(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	origin := r.Header.Get("Origin")
	if r.Header.Get("Sec-Fetch-Site") != "" || !strings.HasPrefix(origin, "http:") || slices.Contains(c.trusted, origin) {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil {
		return true
	}
	host := u.Hostname()
	return !endpoint.Loopback(host) && !strings.HasSuffix(host, ".localhost")
}

// SetSessionCookie exchanges the refresh token of t for a session cookie and
// sets the cookie. Use it after [Kit.Login], [Kit.LoginWith] or
// [Kit.AnswerChallenge]. [Kit.FormLoginHandler] calls it for you. If r has
// session cookies, their sessions end. If remember is true, the browser keeps
// the cookie when it is closed.
//
// The errors are ErrInvalidRefreshToken if t was used already, ErrUnavailable
// if a store failed, or the error of the context. After an error, the session
// of t has ended. It panics if session cookies are off.
func (k *Kit) SetSessionCookie(w http.ResponseWriter, r *http.Request, t Token, remember bool) error {
	k.needCookies("SetSessionCookie")
	presented, ok := refresh.Parse(t.RefreshToken)
	if !ok {
		return errRefreshMalformed
	}
	ctx := withClientOf(r)
	s, err := k.session(ctx, presented)
	if err != nil {
		return err
	}
	err = k.endSessionCookies(ctx, r, s.ID)
	if err == nil {
		err = k.replaceCookie(ctx, w, &s, presented.Hash(), presented.Next(), remember)
	}
	if err != nil {
		return k.end(ctx, &s.Session, err) // no browser has its cookie
	}
	return nil
}

// RenewSessionCookie replaces the session cookie of a request by one with a new token, for
// the same session. Use it when the rights of a user change within a session, or the password.
// It does nothing for a request without a session cookie. The old cookie is accepted for ten
// more seconds, since requests with it may be under way.
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
	at, hash := now(), next.CookieHash(kept)
	_, rotated, err := k.sessions.store.RotateSession(ctx, s.ID, Rotation{
		Old: old, New: hash, At: at, ExpiresAt: k.sessions.cookieExpiry(&s.Session, kept, at), Address: cmp.Or(ClientFrom(ctx).Address, s.Address),
	})
	if err != nil && !errors.Is(err, ErrSessionNotFound) {
		// The answer may have been lost, and not the rotation.
		if after, again := k.sessions.store.SessionByID(ctx, s.ID); again == nil && after.TokenHash == hash {
			rotated, err = true, nil
		}
	}
	switch {
	case errors.Is(err, ErrSessionNotFound):
		return errRefreshRevoked
	case err != nil:
		return storeError(ctx, err)
	case !rotated:
		return errRefreshReused
	}
	life := time.Duration(0)
	if kept {
		life = s.AbsoluteExpiresAt.Sub(at)
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

// endSessionCookies ends the sessions of the cookies that a request brings, except the one
// named. An older cookie of a session ends it too: only its owner can have one.
func (k *Kit) endSessionCookies(ctx context.Context, r *http.Request, except string) error {
	cookies := r.CookiesNamed(sessionCookie)
	for _, cookie := range cookies[:min(len(cookies), maxCookies)] {
		presented, _, ok := refresh.ParseCookie(cookie.Value)
		if !ok || presented.SessionID() == except {
			continue
		}
		s, err := k.session(ctx, presented)
		if err == nil {
			err = k.Logout(ctx, s.UserID, s.ID)
		}
		if err != nil && !errors.Is(err, ErrInvalidRefreshToken) && !errors.Is(err, ErrSessionNotFound) {
			return err
		}
	}
	return nil
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
		return Credential{}, storeError(ctx, err)
	}
	current := k.sessions.holdsCookie(&s, presented.CookieHash(kept), at)
	switch {
	case !current:
		return Credential{}, errTokenRevoked
	case !at.Before(s.ExpiresAt) || !at.Before(s.AbsoluteExpiresAt):
		return Credential{}, ErrTokenExpired
	case k.lacksFactor(&u.User, s.Methods):
		return Credential{}, errTokenFactor
	case at.Sub(s.LastUsedAt) >= cookieTouch && k.prolongs(ctx, &s, &u):
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

// prolongs reports whether a request prolongs its session. It does not if the account may not
// log in, and not if the request was authenticated before: a stream that checks its session
// every few seconds is no sign of a user.
func (k *Kit) prolongs(ctx context.Context, s *StoredSession, u *StoredUser) bool {
	c := fromContext(ctx)
	again := c != nil && c.guard == k.guard && c.request != nil
	return !again && k.mayLogIn(u) == nil && !s.CreatedAt.Before(u.TokensValidAfter)
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
