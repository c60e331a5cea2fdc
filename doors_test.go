package authkit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/trusteddevice"
)

// The outcomes of a door.
const (
	opens      = "opens"      // a session, or its next token
	asks       = "asks"       // a pending login that a factor completes
	enrolls    = "enrolls"    // a pending login that setting up a factor completes
	skips      = "skips"      // a session that skipped the factor
	refuses    = "refuses"    // nothing
	none       = "none"       // there is no such step in the state
	loginAsks  = "login asks" // no session, and the login that follows asks for the factor
	loginOpens = "login opens"
	loginSets  = "login enrolls"
)

// A house is a program with every door, and one browser.
type house struct {
	t       *testing.T
	kit     *authkit.Kit
	store   *authkit.MemoryStore
	otp     *setupFactor
	user    authkit.User
	mails   []account.Message
	flows   *account.Accounts
	h       http.Handler
	cookies map[string]string
	ctx     context.Context   // of the last request
	who     authkit.Principal // of the last one to /me

	token   authkit.Token           // of a session from before the change of the state
	pending *authkit.ChallengeError // from before that
}

func (h *house) Send(_ context.Context, m account.Message) error {
	h.mails = append(h.mails, m)
	return nil
}

func newHouse(t *testing.T, policy authkit.FactorPolicy) *house {
	h := &house{t: t, store: authkit.NewMemoryStore(), otp: newSetupFactor("otp", "1"), cookies: map[string]string{}}
	devices, err := trusteddevice.New(trusteddevice.Config{})
	require.NoError(t, err)
	h.kit = newKit(t, withFactors(h.otp), func(c *authkit.Config) {
		c.Users, c.RequireFactors, c.TrustedDevices = h.store, policy, devices
		c.Sessions = authkit.SessionConfig{Store: h.store, Cookies: &authkit.SessionCookieConfig{}}
	})
	h.flows, err = account.New(h.kit, account.Config{BaseURL: "https://example.com/account", Key: []byte(testSecret), Mailer: h})
	require.NoError(t, err)
	h.user, err = h.kit.CreateUser(t.Context(), authkit.User{Email: email, EmailVerifiedAt: time.Now()}, password)
	require.NoError(t, err)

	mux := h.kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), h.kit.TokenHandler())
	mux.Handle("/login", authkit.Public(), h.kit.FormLoginHandler(func(w http.ResponseWriter, _ *http.Request, f authkit.LoginForm) {
		p := authkit.NewProblem(f.Status, f.Error)
		if p.MFAToken = f.MFAToken; f.MFAToken != "" {
			p.Code = map[bool]string{true: "mfa_enrollment_required", false: "mfa_required"}[f.MFAEnroll]
		}
		w.WriteHeader(f.Status)
		_ = json.NewEncoder(w).Encode(p)
	}))
	mux.Handle("/session", authkit.Public(), h.kit.RefreshCookieHandler())
	mux.Handle("GET /me", authkit.Authenticated(), noted(&h.who))
	devices.Mount(mux, h.kit, "/devices")
	h.h = devices.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ctx = r.Context()
		mux.ServeHTTP(w, r)
	}))
	return h
}

// do sends a request of the browser.
func (h *house) do(method, path string, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://example.com"+path, strings.NewReader(body))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if body != "" {
		r.Header.Set("Content-Type", formType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	for name, value := range h.cookies {
		if len(header) == 0 || name != "__Host-session" { // one credential
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
	w := httptest.NewRecorder()
	h.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		h.cookies[c.Name] = c.Value
	}
	return w
}

// outcome classifies a token or an error.
func (h *house) outcome(token authkit.Token, err error) string {
	c, pending := errors.AsType[*authkit.ChallengeError](err)
	switch {
	case pending && c.Enroll:
		return enrolls
	case pending:
		return asks
	case err != nil:
		return refuses
	case slices.Contains(tokenClaims(h.t, token).Methods, authkit.MethodTrustedDevice):
		return skips
	}
	return opens
}

// answered classifies a response.
func (h *house) answered(w *httptest.ResponseRecorder) string {
	var p authkit.Problem
	switch {
	case w.Code == http.StatusSeeOther:
		require.Equal(h.t, http.StatusOK, h.do("GET", "/me", "").Code)
		if slices.Contains(h.who.Methods, authkit.MethodTrustedDevice) {
			return skips
		}
		return opens
	case w.Code == http.StatusOK && strings.Contains(w.Body.String(), "access_token"):
		return h.outcome(asToken(h.t, w), nil)
	}
	_ = json.Unmarshal(w.Body.Bytes(), &p)
	switch p.Code {
	case "mfa_required":
		return asks
	case "mfa_enrollment_required":
		return enrolls
	}
	return refuses
}

// with logs in by LoginWith and the methods.
func (h *house) with(methods ...string) string {
	h.do("GET", "/nothing", "")
	prove, _ := proves(authkit.Proof{UserID: h.user.ID, Methods: methods}, nil)
	return h.outcome(h.kit.LoginWith(h.ctx, authkit.Attempt{Action: authkit.ActionLogin}, prove))
}

// logIn logs in at a path, with the factor if that is asked for.
func (h *house) logIn(path string) {
	w := h.do("POST", path, form("username", email, "password", password))
	var p authkit.Problem
	if _ = json.Unmarshal(w.Body.Bytes(), &p); p.MFAToken != "" {
		w = h.do("POST", path, form("grant_type", "mfa", "mfa_token", p.MFAToken, "mfa_method", "otp", "mfa_response", "1"))
	}
	require.Less(h.t, w.Code, 400, w.Body.String())
	if path == "/token" {
		h.token = asToken(h.t, w)
	}
}

// enroll sets up the factor.
func (h *house) enroll() {
	_, err := h.kit.ConfirmFactor(h.t.Context(), h.user.ID, "otp", "1")
	require.NoError(h.t, err)
}

// trust makes the browser a trusted device of the user, who has the factor.
func (h *house) trust() {
	h.enroll()
	h.logIn("/token")
	w := h.do("POST", "/devices", "", bearer(h.token)...)
	require.Equal(h.t, http.StatusNoContent, w.Code, w.Body.String())
}

// doorStates are the states of the account. Sessions and a pending login begin between
// setup and change.
var doorStates = []struct {
	name          string
	policy        time.Duration // until the factor is required; zero: never
	setup, change func(h *house)
}{
	{"no factor", 0, nil, nil},
	{"enrolled", 0, nil, (*house).enroll},
	{"required", time.Hour, nil, func(*house) { time.Sleep(time.Hour) }},
	{"grace", 24 * time.Hour, nil, nil},
	{"trusted", 0, (*house).trust, nil},
	{"trusted, required", time.Nanosecond, (*house).trust, nil},
	{"trusted, new password", 0, (*house).trust, func(h *house) {
		require.NoError(h.t, h.kit.SetPassword(h.t.Context(), h.user.ID, password))
	}},
	{"locked", 0, (*house).enroll, func(h *house) {
		_, err := h.kit.LockUser(h.t.Context(), h.user.ID, time.Now().Add(time.Hour))
		require.NoError(h.t, err)
	}},
	{"disabled", 0, (*house).enroll, func(h *house) { require.NoError(h.t, h.kit.DisableUser(h.t.Context(), h.user.ID)) }},
}

var tokenInMail = regexp.MustCompile(`\?token=([A-Za-z0-9_.-]+)`)

// doors are all ways to a session, by the outcomes in the order of doorStates.
var doors = map[string]struct {
	open func(h *house) string
	want []string
}{
	"Login": {func(h *house) string {
		h.do("GET", "/nothing", "")
		return h.outcome(h.kit.Login(h.ctx, email, password))
	}, []string{opens, asks, enrolls, opens, skips, skips, asks, refuses, refuses}},
	"token endpoint": {func(h *house) string {
		return h.answered(h.do("POST", "/token", form("username", email, "password", password)))
	}, []string{opens, asks, enrolls, opens, skips, skips, asks, refuses, refuses}},
	"login form": {func(h *house) string {
		return h.answered(h.do("POST", "/login", form("username", email, "password", password)))
	}, []string{opens, asks, enrolls, opens, skips, skips, asks, refuses, refuses}},
	"refresh cookie, login": {func(h *house) string {
		return h.answered(h.do("POST", "/session", form("username", email, "password", password)))
	}, []string{opens, asks, enrolls, opens, skips, skips, asks, refuses, refuses}},
	"e-mail code": {func(h *house) string { return h.with("email") },
		[]string{opens, asks, enrolls, opens, skips, skips, asks, refuses, refuses}},
	"passkey without UV": {func(h *house) string { return h.with("hwk") },
		[]string{opens, asks, enrolls, opens, skips, skips, asks, refuses, refuses}},
	"passkey with UV": {func(h *house) string { return h.with("hwk", "mfa") },
		[]string{opens, opens, opens, opens, opens, opens, opens, refuses, refuses}},
	"Refresh": {func(h *house) string { return h.outcome(h.kit.Refresh(h.t.Context(), h.token.RefreshToken)) },
		[]string{opens, refuses, refuses, opens, skips, skips, refuses, refuses, refuses}},
	"refresh grant": {func(h *house) string {
		return h.answered(h.do("POST", "/token", form("grant_type", "refresh_token", "refresh_token", h.token.RefreshToken)))
	}, []string{opens, refuses, refuses, opens, skips, skips, refuses, refuses, refuses}},
	"refresh cookie": {func(h *house) string { return h.answered(h.do("PUT", "/session", "")) },
		[]string{opens, refuses, refuses, opens, skips, skips, refuses, refuses, refuses}},
	"session cookie": {func(h *house) string {
		if h.do("GET", "/me", "").Code == http.StatusOK {
			return opens
		}
		return refuses
	}, []string{opens, refuses, refuses, opens, opens, opens, refuses, opens, refuses}}, // locking ends no session
	"AnswerChallenge": {func(h *house) string {
		if h.pending == nil {
			_, err := h.kit.Login(h.t.Context(), email, password)
			if h.pending, _ = errors.AsType[*authkit.ChallengeError](err); h.pending == nil {
				return none
			}
		}
		return h.outcome(h.kit.AnswerChallenge(h.t.Context(), h.pending.Token, "otp", "1"))
	}, []string{none, opens, opens, none, opens, opens, refuses, refuses, refuses}},
	"account reset": {func(h *house) string {
		require.NoError(h.t, h.kit.LogoutEverywhere(h.t.Context(), h.user.ID)) // no session is newer than the link
		require.NoError(h.t, h.flows.RequestReset(h.t.Context(), email))
		require.NoError(h.t, h.flows.Deliver(h.t.Context()))
		if len(h.mails) == 0 {
			return refuses
		}
		token := tokenInMail.FindStringSubmatch(h.mails[0].Text)[1]
		require.NoError(h.t, h.flows.ResetPassword(h.t.Context(), token, password))
		sessions, err := h.kit.Sessions(h.t.Context(), h.user.ID)
		require.NoError(h.t, err)
		require.Empty(h.t, sessions)
		h.do("GET", "/nothing", "")
		return "login " + h.outcome(h.kit.Login(h.ctx, email, password))
	}, []string{loginOpens, loginAsks, loginSets, loginOpens, loginAsks, loginAsks, loginAsks, refuses, refuses}},
}

// MF-06, MF-15, MF-16, MF-18: every way to a session, in every state of the
// second factor. A door that asks has begun no session and set no cookie.
func TestEveryDoorAsksForTheFactor(t *testing.T) {
	t.Parallel()
	for name, door := range doors {
		for i, state := range doorStates {
			t.Run(fmt.Sprint(name, "/", state.name), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					policy := authkit.FactorPolicy{}
					if state.policy > 0 {
						policy = authkit.FactorPolicy{Everyone: true, From: time.Now().Add(state.policy)}
					}
					h := newHouse(t, policy)
					if state.setup != nil {
						state.setup(h)
					}
					for _, path := range []string{"/token", "/login", "/session"} {
						h.logIn(path)
					}
					if _, err := h.kit.Login(t.Context(), email, password); err != nil { // without the cookie
						require.ErrorAs(t, err, &h.pending)
					}
					if state.change != nil {
						state.change(h)
					}
					before := h.sessions()
					outcome := door.open(h)
					require.Equal(t, door.want[i], outcome)
					if outcome == asks || outcome == enrolls || outcome == refuses {
						require.LessOrEqual(t, h.sessions(), before, "a session was begun")
					}
				})
			})
		}
	}
}

// sessions returns how many sessions the user has.
func (h *house) sessions() int {
	h.t.Helper()
	all, err := h.kit.Sessions(h.t.Context(), h.user.ID)
	require.NoError(h.t, err)
	return len(all)
}
