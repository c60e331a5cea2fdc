package authkit_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// requiring is a change that requires a factor of every user.
func requiring(c *authkit.Config) { c.RequireFactors.Everyone = true }

// MF-06, MF-20: a user who must have a factor and has none gets a session only
// by setting one up.
func TestEnrollAtLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		throttled := new(fakeThrottle)
		kit, otp, user := newSetupKit(t, requiring, events.listen, throttled.listen)
		events.reset()
		pending := challenge(t, kit)
		require.True(t, pending.Enroll)
		require.Equal(t, []string{"otp"}, pending.Methods)
		require.Equal(t, []string{"begin", "undecided"}, throttled.calls, "there is no code to guess")
		require.Equal(t, []authkit.EventKind{authkit.EventLoginChallenge}, events.kinds())

		// Other methods and other tokens begin nothing.
		for _, c := range [][2]string{{pending.Token, "hwk"}, {pending.Token, ""}, {"x.y", "otp"}, {"", "otp"}} {
			_, err := kit.EnrollChallenge(t.Context(), c[0], c[1])
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		}
		require.Zero(t, otp.begun)
		data, err := kit.EnrollChallenge(t.Context(), pending.Token, "otp")
		require.NoError(t, err)
		require.Equal(t, map[string]string{"secret": "of " + email}, data)
		_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "2")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		sessions, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		require.Empty(t, sessions)

		events.reset()
		token, err := kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.NoError(t, err)
		require.Equal(t, map[string]any{"codes": []string{"one", "two"}}, token.Enrollment)
		require.Equal(t, []string{"pwd", "otp", "mfa"}, tokenClaims(t, token).Methods)
		require.Equal(t, []authkit.EventKind{authkit.EventFactorAdded, authkit.EventLoginSuccess}, events.kinds())
		require.Equal(t, authkit.Event{Kind: authkit.EventFactorAdded, UserID: user.ID, Method: "otp"}, events.all()[0])
		require.Zero(t, otp.asked, "the response that sets it up is not verified again")
		renew(t, kit, token)
		_, _, err = kit.IdentifyToken(t.Context(), token.AccessToken)
		require.NoError(t, err)

		_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "a pending login is used once")
		require.False(t, challenge(t, kit).Enroll)
	})
}

// MF-05: a pending login that sets up a factor dies with its account's state,
// its client, its time and its attempts.
func TestEnrollAtLoginIsPending(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, kit *authkit.Kit, u authkit.User){
		"time": func(*testing.T, *authkit.Kit, authkit.User) { time.Sleep(5 * time.Minute) },
		"disabled": func(t *testing.T, kit *authkit.Kit, u authkit.User) {
			require.NoError(t, kit.DisableUser(t.Context(), u.ID))
		},
		"locked": func(t *testing.T, kit *authkit.Kit, u authkit.User) {
			_, err := kit.LockUser(t.Context(), u.ID, time.Now().Add(time.Hour))
			require.NoError(t, err)
		},
		"password": func(t *testing.T, kit *authkit.Kit, u authkit.User) {
			require.NoError(t, kit.SetPassword(t.Context(), u.ID, password+password))
		},
		"enrolled elsewhere": func(t *testing.T, kit *authkit.Kit, u authkit.User) {
			_, err := kit.ConfirmFactor(t.Context(), u.ID, "otp", "1")
			require.NoError(t, err)
		},
		"a newer one": func(t *testing.T, kit *authkit.Kit, _ authkit.User) { challenge(t, kit) },
		"attempts":    func(t *testing.T, kit *authkit.Kit, _ authkit.User) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				kit, otp, user := newSetupKit(t, requiring)
				pending := challenge(t, kit)
				attempts := 20
				if name == "attempts" {
					for range attempts {
						_, err := kit.EnrollChallenge(t.Context(), pending.Token, "otp")
						require.NoError(t, err)
					}
				}
				change(t, kit, user)
				otp.begun = 0
				_, err := kit.EnrollChallenge(t.Context(), pending.Token, "otp")
				require.Error(t, err)
				_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
				require.Error(t, err)
				require.Zero(t, otp.begun)
				sessions, err := kit.Sessions(t.Context(), user.ID)
				require.NoError(t, err)
				require.Empty(t, sessions)
			})
		})
	}
}

// A pending login is consumed and the factor set up together or not at all.
func TestEnrollAtLoginFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, otp, user := newSetupKit(t, requiring)
		pending := challenge(t, kit)
		otp.broken = errCrash
		_, err := kit.EnrollChallenge(t.Context(), pending.Token, "otp")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		otp.broken = nil
		require.Zero(t, otp.users[user.ID])
		_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.NoError(t, err, "the pending login is still there")

		// The other way round: the tickets fail.
		otp = newSetupFactor("otp", "1")
		tickets := &faultyTickets{MemoryStore: authkit.NewMemoryStore()}
		kit = newKit(t, requiring, withFactors(otp), func(c *authkit.Config) { c.Tickets = tickets })
		user = addUser(t, kit, email, password)
		pending = challenge(t, kit)
		tickets.fail = "consume"
		_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		require.Zero(t, otp.users[user.ID])
	})
}

// MF-06: the factor policy by role and time, for logins, refreshes and the
// session cookie.
func TestFactorPolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(time.Hour)
		var events recorder
		otp := newSetupFactor("otp", "1")
		kit, h, _ := newSite(t, events.listen, withFactors(otp), func(c *authkit.Config) {
			c.RequireFactors = authkit.FactorPolicy{Roles: []string{"user"}, From: from}
			c.Sessions.Cookies.IdleTimeout = 3 * time.Hour
		})
		free := addUser(t, kit, "free@example.com", password, "other")
		user, err := kit.UserByEmail(t.Context(), email)
		require.NoError(t, err)
		s := surf(t, h)
		s.logIn(t)
		before := begin(t, kit)
		strong := mfaToken(t, kit, user)
		status, err := kit.Factors(t.Context(), user.ID)
		require.NoError(t, err)
		require.Equal(t, authkit.FactorStatus{Enrolled: []string{}, Available: []string{"otp"}, Required: true, RequiredFrom: from}, status)
		status, err = kit.Factors(t.Context(), free.ID)
		require.NoError(t, err)
		require.Equal(t, authkit.FactorStatus{Enrolled: []string{}, Available: []string{"otp"}}, status)

		time.Sleep(time.Hour - time.Second)
		before = renew(t, kit, before)
		require.Equal(t, 200, s.status("/me"))
		time.Sleep(time.Second)
		require.True(t, challenge(t, kit).Enroll)
		events.reset()
		require.Equal(t, 401, s.status("/me"), "the cookie of a session without a factor")
		require.Equal(t, authkit.ReasonMissingFactor, events.last().Reason)
		requireRefused(t, kit, &events, before, authkit.EventRefreshFailure, authkit.ReasonMissingFactor)
		_, err = kit.Refresh(t.Context(), before.RefreshToken)
		require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		require.Equal(t, authkit.ReasonRevoked, events.last().Reason, "the session has ended")
		renew(t, kit, strong)
		_, err = kit.Login(t.Context(), free.Email, password)
		require.NoError(t, err)
		mfa(t, kit, user) // a login with several factors needs no other

		// The only factor was the first one: there is nothing left to set up.
		prove, _ := proves(authkit.Proof{UserID: user.ID, Methods: []string{"otp"}}, nil)
		_, err = kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.Equal(t, authkit.ReasonMissingFactor, events.last().Reason)
	})
}

// mfaToken returns the token of a login with several factors.
func mfaToken(t testing.TB, kit *authkit.Kit, user authkit.User) authkit.Token {
	t.Helper()
	prove, _ := proves(authkit.Proof{UserID: user.ID, Methods: []string{"hwk", "mfa"}}, nil)
	token, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.NoError(t, err)
	return token
}

func TestFactorPolicyConfig(t *testing.T) {
	t.Parallel()
	otp := newSetupFactor("otp", "1")
	for name, c := range map[string]struct {
		policy  authkit.FactorPolicy
		factors []authkit.SecondFactor
		text    string
	}{
		"none":           {authkit.FactorPolicy{}, nil, ""},
		"everyone":       {authkit.FactorPolicy{Everyone: true}, []authkit.SecondFactor{otp}, ""},
		"roles":          {authkit.FactorPolicy{Roles: []string{"admin"}, From: time.Now()}, []authkit.SecondFactor{otp}, ""},
		"both":           {authkit.FactorPolicy{Everyone: true, Roles: []string{"admin"}}, []authkit.SecondFactor{otp}, "set one of the two"},
		"only a time":    {authkit.FactorPolicy{From: time.Now()}, []authkit.SecondFactor{otp}, "set Everyone or Roles"},
		"unknown role":   {authkit.FactorPolicy{Roles: []string{"a b"}}, []authkit.SecondFactor{otp}, `"a b"`},
		"no factor":      {authkit.FactorPolicy{Everyone: true}, nil, "Enroller"},
		"not enrollable": {authkit.FactorPolicy{Everyone: true}, []authkit.SecondFactor{&fakeFactor{method: "otp"}}, "Enroller"},
	} {
		_, err := authkit.New(authkit.Config{Secret: []byte(testSecret), SecondFactors: c.factors, RequireFactors: c.policy})
		if c.text == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, "Config.RequireFactors: ", name)
		require.ErrorContains(t, err, c.text, name)
	}
}

// The form of the token endpoint and of the refresh cookie.
func TestEnrollOverHTTP(t *testing.T) {
	t.Parallel()
	kit, otp, _ := newSetupKit(t, requiring)
	begin := form("username", email, "password", password)
	cookies := &browser{h: kit.RefreshCookieHandler()}
	for name, send := range map[string]func(body string) *httptest.ResponseRecorder{
		"token endpoint": func(body string) *httptest.ResponseRecorder { return post(kit.TokenHandler(), "/", formType, body) },
		"refresh cookie": func(body string) *httptest.ResponseRecorder { return cookies.do("POST", body, "same-origin") },
	} {
		otp.users = map[string]int{}
		w := send(begin)
		require.Equal(t, 400, w.Code, name)
		var p authkit.Problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
		require.Equal(t, "mfa_enrollment_required", p.Code)
		require.Equal(t, []string{"otp"}, p.MFAMethods)
		require.Equal(t, "A second factor must be set up", p.Detail)

		w = send(form("grant_type", "mfa_enroll", "mfa_token", p.MFAToken, "mfa_method", "otp"))
		require.Equal(t, 200, w.Code, name)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.JSONEq(t, `{"mfa_enrollment": {"secret": "of `+email+`"}}`, w.Body.String())
		require.Equal(t, 422, send("grant_type=mfa_enroll&mfa_token=x").Code)
		require.Equal(t, 401, send("grant_type=mfa_enroll&mfa_token=x&mfa_method=otp").Code)

		answer := func(code string) *httptest.ResponseRecorder {
			return send(form("grant_type", "mfa", "mfa_token", p.MFAToken, "mfa_method", "otp", "mfa_response", code))
		}
		require.Equal(t, 401, answer("2").Code)
		w = answer("1")
		require.Equal(t, 200, w.Code, w.Body.String())
		require.Contains(t, w.Body.String(), `"mfa_enrollment":{"codes":["one","two"]}`)
		require.Equal(t, 401, answer("1").Code)
	}
	require.NotEmpty(t, cookies.cookie)
	plain := newKit(t)
	require.Equal(t, 400, post(plain.TokenHandler(), "/", formType, "grant_type=mfa_enroll&mfa_token=x&mfa_method=otp").Code)
}

// The login form: the factor is set up on the login page, and the codes are
// shown before the page goes on.
func TestEnrollOnTheLoginForm(t *testing.T) {
	t.Parallel()
	s := newFormSite(t, withFactors(newSetupFactor("otp", "1")), requiring)
	require.Equal(t, 200, s.do("POST", "/login", form("username", email, "password", password, "return", "/a")).Code)
	f := s.last()
	require.Equal(t, authkit.LoginForm{Status: 200, Username: email, Return: "/a", MFAToken: f.MFAToken, MFAMethods: []string{"otp"}, MFAEnroll: true}, f)
	send := func(more ...string) (int, authkit.LoginForm) {
		code := s.do("POST", "/login", form(append([]string{"mfa_token", f.MFAToken, "mfa_method", "otp", "return", "/a"}, more...)...)).Code
		return code, s.last()
	}
	code, page := send("mfa_enroll", "1")
	require.Equal(t, 200, code)
	require.Equal(t, authkit.LoginForm{Status: 200, Return: "/a", MFAToken: f.MFAToken, MFAMethods: []string{"otp"}, MFAEnroll: true, MFAEnrollment: map[string]string{"secret": "of " + email}}, page)
	require.NotContains(t, text(page), email)
	code, page = send("mfa_response", "2")
	require.Equal(t, 401, code)
	require.Equal(t, authkit.LoginForm{Status: 401, Error: "Incorrect code", Return: "/a", MFAToken: f.MFAToken, MFAMethods: []string{"otp"}, MFAEnroll: true}, page)
	require.Nil(t, s.set)
	code, page = send("mfa_response", "1")
	require.Equal(t, 200, code)
	require.Equal(t, authkit.LoginForm{Status: 200, Return: "/a", MFAEnrollment: map[string]any{"codes": []string{"one", "two"}}, LoggedIn: true}, page)
	require.NotNil(t, s.set, "the session has begun")
	code, page = send("mfa_enroll", "1")
	require.Equal(t, 401, code)
	require.Empty(t, page.MFAToken)

	// If the cookie cannot be set, the user is not logged in.
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	s = newFormSite(t, withFactors(newSetupFactor("otp", "1")), requiring, store.listen)
	s.do("POST", "/login", form("username", email, "password", password))
	f = s.last()
	store.down(false, "RotateSession")
	code, page = send("mfa_response", "1")
	require.Equal(t, 503, code)
	require.False(t, page.LoggedIn)
}

// text returns a value as it is printed.
func text(v any) string {
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		_, _ = b.WriteString(fmt.Sprintf(verb, v))
	}
	return b.String()
}

// MF-03, MF-22: a factor that is disabled ends the pending login, and is an
// event. A recovery code that was used is one too (MF-08).
func TestFactorEvents(t *testing.T) {
	t.Parallel()
	var events recorder
	otp, recovery := &fakeFactor{method: "otp", right: "1", err: authkit.ErrFactorDisabled}, &fakeFactor{method: authkit.MethodRecovery, right: "2"}
	kit, _, user := newFactorKit(t, []*fakeFactor{otp, recovery}, events.listen)
	pending := challenge(t, kit)
	events.reset()
	_, err := kit.AnswerChallenge(t.Context(), pending.Token, "otp", "2")
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Equal(t, []authkit.Event{
		{Kind: authkit.EventFactorDisabled, UserID: user.ID, Method: "otp"},
		{Kind: authkit.EventLoginFailure, UserID: user.ID, Reason: authkit.ReasonFactorDisabled},
	}, events.all())
	_, err = kit.AnswerChallenge(t.Context(), pending.Token, authkit.MethodRecovery, "2")
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "the password must be entered again")
	require.Zero(t, recovery.asked)

	pending = challenge(t, kit)
	events.reset()
	token, err := kit.AnswerChallenge(t.Context(), pending.Token, authkit.MethodRecovery, "2")
	require.NoError(t, err)
	require.Equal(t, []authkit.Event{
		{Kind: authkit.EventRecoveryUsed, UserID: user.ID, Method: authkit.MethodRecovery},
		{Kind: authkit.EventLoginSuccess, UserID: user.ID, SessionID: sessionID(t, token)},
	}, events.all())
}

// MF-16: no way to log in can claim that the device is trusted.
func TestLoginWithClaimsNoTrustedDevice(t *testing.T) {
	t.Parallel()
	kit, otp, user := newSetupKit(t)
	otp.users[user.ID] = 1
	prove, _ := proves(authkit.Proof{UserID: user.ID, Methods: []string{"pwd", authkit.MethodTrustedDevice}}, nil)
	_, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.ErrorContains(t, err, "trusted device")
	_, err = authkit.New(authkit.Config{Secret: []byte(testSecret), SecondFactors: []authkit.SecondFactor{&fakeFactor{method: authkit.MethodTrustedDevice}}})
	require.ErrorContains(t, err, "reserved")
}
