package foreign_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/foreign"
)

const device = "Firefox"

// RFC 6238 appendix B, with six digits.
func TestTOTPVectors(t *testing.T) {
	t.Parallel()
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		require.Equal(t, want, foreign.Code([]byte("12345678901234567890"), time.Unix(at, 0)))
	}
}

// enrolled returns a Kit with a user who has a second factor, and a function that returns the
// current code.
func enrolled(t *testing.T, change ...func(*authkit.Config)) (*authkit.Kit, authkit.User, *foreign.TOTP, func() string) {
	t.Helper()
	factor := new(foreign.TOTP)
	kit, user := newKit(t, append(change, func(c *authkit.Config) {
		c.SecondFactors = []authkit.SecondFactor{factor}
		c.UserData = []authkit.UserData{factor}
	})...)
	secret := factor.Enroll(user.ID)
	return kit, user, factor, func() string { return foreign.Code(secret, time.Now()) }
}

// on returns the context of a client.
func on(t *testing.T, device string) context.Context {
	return authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "192.0.2.1", Device: device})
}

// challenged logs in with the password and returns the challenge.
func challenged(t *testing.T, kit *authkit.Kit) *authkit.ChallengeError {
	t.Helper()
	token, err := kit.Login(on(t, device), email, password)
	require.Zero(t, token)
	var challenge *authkit.ChallengeError
	require.ErrorAs(t, err, &challenge)
	return challenge
}

func TestTOTPLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		kit, user, _, code := enrolled(t, events.listen)
		challenge := challenged(t, kit)
		require.Equal(t, []string{"otp"}, challenge.Methods)
		require.Equal(t, 5*time.Minute, time.Until(challenge.ExpiresAt))
		require.Equal(t, authkit.EventLoginChallenge, events.last().Kind)
		sessions, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		require.Empty(t, sessions, "a pending login is no session")

		time.Sleep(time.Minute)
		spaced := code()[:3] + " " + code()[3:]
		token, err := kit.AnswerChallenge(on(t, device), challenge.Token, "otp", spaced)
		require.NoError(t, err)
		require.Equal(t, authkit.EventLoginSuccess, events.last().Kind)
		_, p, err := kit.IdentifyToken(t.Context(), token.AccessToken)
		require.NoError(t, err)
		require.Equal(t, []string{"pwd", "otp", "mfa"}, p.Methods)
		require.True(t, time.Now().Equal(p.AuthTime))
		_, err = kit.AnswerChallenge(on(t, device), challenge.Token, "otp", code())
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "a pending login is used once")
	})
}

func TestTOTPRefused(t *testing.T) {
	t.Parallel()
	kit, _, _, code := enrolled(t)
	challenge := challenged(t, kit)
	for name, c := range map[string][4]string{
		"another client":       {"Chrome", challenge.Token, "otp", code()},
		"an unknown method":    {device, challenge.Token, "sms", code()},
		"the first factor":     {device, challenge.Token, "pwd", password},
		"another token":        {device, "x." + challenge.Token, "otp", code()},
		"no token":             {device, "", "otp", code()},
		"a token without code": {device, challenge.Token, "otp", ""},
	} {
		_, err := kit.AnswerChallenge(on(t, c[0]), c[1], c[2], c[3])
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, name)
	}
	_, err := kit.AnswerChallenge(on(t, device), challenge.Token, "otp", code())
	require.NoError(t, err)
}

// MF-05: five attempts, and then the right code is refused as well.
func TestTOTPAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		kit, _, _, code := enrolled(t, events.listen)
		challenge := challenged(t, kit)
		for range 5 {
			_, err := kit.AnswerChallenge(on(t, device), challenge.Token, "otp", wrong(code()))
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			require.Equal(t, authkit.ReasonWrongCode, events.last().Reason)
		}
		_, err := kit.AnswerChallenge(on(t, device), challenge.Token, "otp", code())
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)

		// Five minutes, and a newer login ends an older one.
		old := challenged(t, kit)
		late := challenged(t, kit)
		_, err = kit.AnswerChallenge(on(t, device), old.Token, "otp", code())
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		time.Sleep(5 * time.Minute)
		_, err = kit.AnswerChallenge(on(t, device), late.Token, "otp", code())
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		_, err = kit.AnswerChallenge(on(t, device), challenged(t, kit).Token, "otp", code())
		require.NoError(t, err, "no attempt above has used the code")
	})
}

func TestTOTPReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, _, _, code := enrolled(t)
		time.Sleep(time.Minute)
		used := code()
		_, err := kit.AnswerChallenge(on(t, device), challenged(t, kit).Token, "otp", used)
		require.NoError(t, err)
		next := challenged(t, kit)
		_, err = kit.AnswerChallenge(on(t, device), next.Token, "otp", used)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		time.Sleep(30 * time.Second)
		_, err = kit.AnswerChallenge(on(t, device), next.Token, "otp", code())
		require.NoError(t, err)
	})
}

// Of any number of answers with one code one succeeds: by the factor, and by the pending login.
func TestTOTPRace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, user, factor, code := enrolled(t)
		right := code()
		race := func(try func() error) (passed int32) {
			var n atomic.Int32
			var done sync.WaitGroup
			for range 50 {
				done.Go(func() {
					if try() == nil {
						n.Add(1)
					}
				})
			}
			done.Wait()
			return n.Load()
		}
		challenge := challenged(t, kit)
		require.EqualValues(t, 1, race(func() error {
			_, err := kit.AnswerChallenge(on(t, device), challenge.Token, "otp", right)
			return err
		}))
		sessions, err := kit.Sessions(t.Context(), user.ID)
		require.NoError(t, err)
		require.Len(t, sessions, 1)
		time.Sleep(time.Minute)
		right = code()
		require.EqualValues(t, 1, race(func() error { return factor.Verify(t.Context(), user.ID, right) }))
	})
}

// MF-05, RG-17: the pending login ends with every change to the account.
func TestTOTPOfAChangedAccount(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(context.Context, *authkit.Kit, string) error{
		"password": func(ctx context.Context, k *authkit.Kit, id string) error {
			return k.SetPassword(ctx, id, "another horse")
		},
		"address verified": func(ctx context.Context, k *authkit.Kit, id string) error {
			u, err := k.User(ctx, id)
			if err == nil {
				_, err = k.VerifyEmail(ctx, id, u.Email)
			}
			return err
		},
		"disabled": func(ctx context.Context, k *authkit.Kit, id string) error { return k.DisableUser(ctx, id) },
		"locked": func(ctx context.Context, k *authkit.Kit, id string) error {
			_, err := k.LockUser(ctx, id, time.Now().Add(time.Hour))
			return err
		},
		"deleted": func(ctx context.Context, k *authkit.Kit, id string) error { return k.DeleteUser(ctx, id) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit, user, _, code := enrolled(t)
			challenge := challenged(t, kit)
			require.NoError(t, change(t.Context(), kit, user.ID))
			token, err := kit.AnswerChallenge(on(t, device), challenge.Token, "otp", code())
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			require.Zero(t, token)
		})
	}
}

// Every login asks for the factor, whatever comes first.
func TestTOTPAfterAnEmailCode(t *testing.T) {
	t.Parallel()
	kit, _, _, code := enrolled(t)
	mails := box{}
	l := &foreign.EmailLogin{Kit: kit, Mail: mails.mail}
	handle, err := l.Request(t.Context(), email)
	require.NoError(t, err)
	_, err = l.Login(t.Context(), email, handle, mails[email])
	var challenge *authkit.ChallengeError
	require.ErrorAs(t, err, &challenge)
	token, err := kit.AnswerChallenge(t.Context(), challenge.Token, "otp", code())
	require.NoError(t, err)
	_, p, err := kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, []string{"email", "otp", "mfa"}, p.Methods)
}

// RFC 6749 section 5.2: the token endpoint answers a challenge with 400, and takes the response.
func TestTOTPAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	kit, _, _, code := enrolled(t)
	h := kit.TokenHandler()
	password := url.Values{"username": {email}, "password": {password}}
	status, body, w := post(t, h, device, password)
	require.Equal(t, 400, status)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "mfa_required", body["error"])
	require.Equal(t, []any{"otp"}, body["mfa_methods"])
	require.NotEmpty(t, body["error_description"])
	require.NotContains(t, body, "access_token")

	answer := url.Values{"grant_type": {"mfa"}, "mfa_token": {body["mfa_token"].(string)}, "mfa_method": {"otp"}, "mfa_response": {wrong(code())}}
	status, body, _ = post(t, h, device, answer)
	require.Equal(t, 401, status)
	require.Equal(t, "invalid_grant", body["error"])
	require.Equal(t, "The response is wrong, or the login has expired", body["error_description"])
	answer.Set("mfa_response", code())
	status, _, _ = post(t, h, "Chrome", answer)
	require.Equal(t, 401, status)
	status, body, _ = post(t, h, device, answer)
	require.Equal(t, 200, status)
	require.NotEmpty(t, body["access_token"])
	require.NotEmpty(t, body["refresh_token"])

	answer.Del("mfa_method")
	status, body, _ = post(t, h, device, answer)
	require.Equal(t, 422, status)
	require.Equal(t, "invalid_request", body["error"])
	require.Equal(t, []any{map[string]any{"field": "mfa_method", "message": "is required"}}, body["errors"])
	r := httptest.NewRequest("POST", "/token?mfa_response="+code(), strings.NewReader(answer.Encode()))
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, 400, w.Code, "in the URL")

	plain, _ := newKit(t)
	status, body, _ = post(t, plain.TokenHandler(), device, answer)
	require.Equal(t, 400, status)
	require.Equal(t, "unsupported_grant_type", body["error"], "no factor is configured")
}

// The handler for browsers takes the response too.
func TestTOTPWithACookie(t *testing.T) {
	t.Parallel()
	kit, _, _, code := enrolled(t)
	h := kit.RefreshCookieHandler()
	status, body, w := post(t, h, device, url.Values{"username": {email}, "password": {password}})
	require.Equal(t, 400, status)
	require.Equal(t, "mfa_required", body["error"])
	require.Empty(t, w.Result().Cookies(), "MF-15: a pending login sets no cookie")
	answer := url.Values{"grant_type": {"mfa"}, "mfa_token": {body["mfa_token"].(string)}, "mfa_method": {"otp"}, "mfa_response": {wrong(code())}}
	status, body, w = post(t, h, device, answer)
	require.Equal(t, 401, status)
	require.Equal(t, "invalid_grant", body["error"])
	require.Empty(t, w.Result().Cookies())
	answer.Set("mfa_response", code())
	status, body, w = post(t, h, device, answer)
	require.Equal(t, 200, status)
	require.NotEmpty(t, body["access_token"])
	require.NotContains(t, body, "refresh_token")
	require.Len(t, w.Result().Cookies(), 1)
	require.Equal(t, "__Host-refresh", w.Result().Cookies()[0].Name)
}

// RFC 9470: one route wants a recent login with the factor.
func TestStepUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		factor := new(foreign.TOTP)
		kit, user := newKit(t, events.listen, func(c *authkit.Config) { c.SecondFactors = []authkit.SecondFactor{factor} })
		mux := kit.NewMux()
		mux.HandleFunc("GET /notes", authkit.Authenticated(), func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("DELETE /account", authkit.Authenticated().Fresh(5*time.Minute).Using("otp"), func(http.ResponseWriter, *http.Request) {})
		weak, err := kit.Login(on(t, device), email, password)
		require.NoError(t, err)
		secret := factor.Enroll(user.ID)

		refused := func(access string) {
			w := ask(mux, "DELETE", "/account", "Authorization", "Bearer "+access)
			require.Equal(t, 401, w.Code)
			require.Equal(t, `Bearer error="insufficient_user_authentication", `+
				`error_description="A more recent or stronger login is required", max_age="300", acr_values="otp"`, w.Header().Get("WWW-Authenticate"))
			require.Equal(t, authkit.EventAccessDenied, events.last().Kind)
			require.Equal(t, authkit.ReasonMissingFactor, events.last().Reason)
			require.Equal(t, "DELETE /account", events.last().Route)
			require.Equal(t, 200, ask(mux, "GET", "/notes", "Authorization", "Bearer "+access).Code)
		}
		refused(weak.AccessToken)
		strong, err := kit.AnswerChallenge(on(t, device), challenged(t, kit).Token, "otp", foreign.Code(secret, time.Now()))
		require.NoError(t, err)
		require.Equal(t, 200, ask(mux, "DELETE", "/account", "Authorization", "Bearer "+strong.AccessToken).Code)
		time.Sleep(5*time.Minute + time.Second)
		refused(strong.AccessToken)
		again, err := kit.Refresh(t.Context(), strong.RefreshToken)
		require.NoError(t, err)
		refused(again.AccessToken) // MF-17: a refresh is no login
	})
}

// MF-15: the token of a pending login opens no route.
func TestPendingLoginOpensNothing(t *testing.T) {
	t.Parallel()
	keys := new(foreign.APIKeys)
	kit, user, _, _ := enrolled(t, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{keys} })
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.Handle("POST /revoke", authkit.Public(), kit.RevocationHandler())
	mux.Handle("POST /logout", authkit.Authenticated(), kit.LogoutHandler())
	mux.HandleFunc("GET /any", authkit.Authenticated().OrMachines(), func(http.ResponseWriter, *http.Request) {})
	pending := challenged(t, kit).Token
	for _, header := range [][]string{
		{"Authorization", "Bearer " + pending}, {"X-API-Key", pending}, {"Cookie", "__Host-session=" + pending}, {"Cookie", "__Host-refresh=" + pending},
	} {
		require.Equal(t, 401, ask(mux, "GET", "/any", header...).Code, header)
		require.Equal(t, 401, ask(mux, "POST", "/logout", header...).Code, header)
	}
	status, body, _ := post(t, mux, device, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {pending}})
	require.Equal(t, 400, status)
	require.Equal(t, "invalid_grant", body["error"])
	_, err := kit.Refresh(t.Context(), pending)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	sessions, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.Empty(t, sessions)
}

func TestTOTPData(t *testing.T) {
	t.Parallel()
	kit, user, factor, _ := enrolled(t)
	export, err := kit.ExportUser(t.Context(), user.ID)
	require.NoError(t, err)
	text, err := json.Marshal(export)
	require.NoError(t, err)
	require.Contains(t, string(text), `"totp":{"enrolled_at":`)
	require.NoError(t, kit.DeleteUser(t.Context(), user.ID))
	has, err := factor.Enrolled(t.Context(), user.ID)
	require.NoError(t, err)
	require.False(t, has)
	data, err := factor.Export(t.Context(), user.ID)
	require.NoError(t, err)
	require.Nil(t, data)
}
