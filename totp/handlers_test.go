package totp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
)

const path = "/users/me/factors"

// mux returns the routes of the settings page.
func (a *app) mux() *authkit.Mux {
	mux := a.kit.NewMux()
	a.recovery.Mount(mux, a.kit, path)
	return mux
}

// request sends a request with an access token, and returns the status and the
// object of the response.
func request(t testing.TB, h http.Handler, access, method, target, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+access)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var object map[string]any
	if w.Code != http.StatusNoContent {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &object), w.Body)
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.Contains(t, []string{"application/json", "application/problem+json"}, w.Header().Get("Content-Type"))
	}
	return w.Code, object
}

// confirmation returns the body that confirms a factor.
func confirmation(code string) string { return `{"code":"` + code + `"}` }

// MF-07, MF-08, MF-20: the whole life of a factor over HTTP.
func TestSettings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		mux := a.mux()
		u := authkittest.User(t, a.kit)
		token := authkittest.LoginAs(t, a.kit, u).AccessToken

		status, body := request(t, mux, token, "GET", path, "")
		require.Equal(t, 200, status)
		require.Equal(t, map[string]any{"enrolled": []any{}, "available": []any{"otp"}, "required": false, "recovery_codes_left": 0.0}, body)
		status, body = request(t, mux, token, "POST", path+"/recovery", "")
		require.Equal(t, 404, status, body)

		status, body = request(t, mux, token, "POST", path+"/otp", "")
		require.Equal(t, 200, status)
		uri := body["uri"].(string)
		secret := secretOf(t, uri)
		require.Contains(t, uri, body["secret"].(string))
		require.Equal(t, code(secret), authkittest.TOTPCode(t, uri))
		status, body = request(t, mux, token, "POST", path+"/otp/confirm", confirmation(wrong(secret)))
		require.Equal(t, 400, status)
		require.Equal(t, "The code is not valid", body["detail"])
		status, body = request(t, mux, token, "POST", path+"/otp/confirm", confirmation(code(secret)))
		require.Equal(t, 200, status)
		codes := body["recovery_codes"].([]any)
		require.Len(t, codes, 10)
		status, body = request(t, mux, token, "GET", path, "")
		require.Equal(t, 200, status)
		require.Equal(t, map[string]any{"enrolled": []any{"otp", "recovery"}, "available": []any{"otp"}, "required": false, "recovery_codes_left": 10.0}, body)

		// The session has not used the factor.
		for _, route := range [][2]string{{"POST", path + "/otp"}, {"DELETE", path + "/otp"}, {"POST", path + "/recovery"}} {
			status, _ = request(t, mux, token, route[0], route[1], "")
			require.Equal(t, 401, status, route)
		}
		time.Sleep(step)
		strong, err := a.login(t, u, "otp", code(secret))
		require.NoError(t, err)
		token = strong.AccessToken
		status, body = request(t, mux, token, "POST", path+"/recovery", "")
		require.Equal(t, 200, status)
		require.Len(t, body["recovery_codes"], 10)
		require.NotEqual(t, codes, body["recovery_codes"])

		// A new phone gets no new codes.
		_, body = request(t, mux, token, "POST", path+"/otp", "")
		status, _ = request(t, mux, token, "POST", path+"/otp/confirm", confirmation(code(secretOf(t, body["uri"].(string)))))
		require.Equal(t, 204, status)

		// MF-07: five minutes after the login.
		time.Sleep(5*time.Minute + time.Second)
		status, _ = request(t, mux, token, "GET", path, "")
		require.Equal(t, 200, status)
		for _, route := range [][2]string{{"POST", path + "/otp"}, {"POST", path + "/otp/confirm"}, {"DELETE", path + "/otp"}, {"POST", path + "/recovery"}} {
			status, _ = request(t, mux, token, route[0], route[1], confirmation("123456"))
			require.Equal(t, 401, status, route)
		}
		fresh := authkittest.LoginAs(t, a.kit, u, "pwd", "otp", "mfa").AccessToken
		status, _ = request(t, mux, fresh, "DELETE", path+"/otp", "")
		require.Equal(t, 204, status)
		_, body = request(t, mux, fresh, "GET", path, "")
		require.Equal(t, map[string]any{"enrolled": []any{}, "available": []any{"otp"}, "required": false, "recovery_codes_left": 0.0}, body)
	})
}

// MF-07: the rule shows in the access matrix.
func TestSettingsPolicies(t *testing.T) {
	t.Parallel()
	policies := map[string]string{}
	for _, r := range newApp(t).mux().AccessMatrix() {
		policies[r.Method+" "+r.Pattern] = r.Policy.String()
	}
	change := authkit.Authenticated().Fresh(5 * time.Minute).String()
	require.Equal(t, map[string]string{
		"GET " + path: authkit.Authenticated().String(), "POST " + path + "/otp": change, "POST " + path + "/otp/confirm": change,
		"DELETE " + path + "/otp": change, "POST " + path + "/recovery": change,
	}, policies)
}

// MF-11: a user who must have a factor does not remove the last one.
func TestSettingsLastFactor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, func(c *authkit.Config) { c.RequireFactors = authkit.FactorPolicy{Everyone: true} })
		u := authkittest.User(t, a.kit)
		secret, _ := a.enroll(t, u)
		time.Sleep(step)
		token, err := a.login(t, u, "otp", code(secret))
		require.NoError(t, err)
		status, body := request(t, a.mux(), token.AccessToken, "DELETE", path+"/otp", "")
		require.Equal(t, 409, status, body)
		has, err := a.otp.Enrolled(t.Context(), u.ID)
		require.NoError(t, err)
		require.True(t, has)
		left, err := a.recovery.Left(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, 10, left)
	})
}

func TestSettingsBodies(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	mux := a.mux()
	token := authkittest.Login(t, a.kit).AccessToken
	for _, body := range []string{
		``, `{}`, `{"code":123456}`, `{"code":null}`, `{"code":"123456","more":1}`, `{"code":"123456"}{}`, `["123456"]`, `{"code":"123456"} x`, `{"code":"123456"`,
	} {
		status, problem := request(t, mux, token, "POST", path+"/otp/confirm", body)
		require.Equal(t, 400, status, body)
		require.Equal(t, `The body is not a JSON object with the member "code"`, problem["detail"], body)
	}
	status, problem := request(t, mux, token, "POST", path+"/otp/confirm", `{"code":"`+strings.Repeat("1", 4<<10-11)+`"}`)
	require.Equal(t, 400, status)
	require.Equal(t, "The code is not valid", problem["detail"], "nothing waits")
	status, _ = request(t, mux, token, "POST", path+"/otp/confirm", `{"code":"`+strings.Repeat("1", 4<<10-10)+`"}`)
	require.Equal(t, 413, status)
	r := httptest.NewRequest("POST", path+"/otp/confirm", strings.NewReader("code=123456"))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	require.Equal(t, 415, w.Code)
}

// An apiKey authenticates requests with a limited credential, or with one of a
// machine.
type apiKey struct{ credential authkit.Credential }

func (k *apiKey) Challenge() string { return "Key" }
func (k *apiKey) Authenticate(r *http.Request) (authkit.Credential, error) {
	if r.Header.Get("X-Key") == "" {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	return k.credential, nil
}

// Only a login reads and changes factors.
func TestSettingsRefuseOtherCredentials(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*authkit.Credential){
		"machine":      func(c *authkit.Credential) { c.Machine = true },
		"limited":      func(c *authkit.Credential) { c.Limited = true },
		"impersonated": func(c *authkit.Credential) { c.ActorID = "admin" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := new(apiKey)
			a := newApp(t, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{key} })
			u := authkittest.User(t, a.kit)
			key.credential = authkit.Credential{UserID: u.ID, Kind: "key", ID: "1", Methods: []string{"pwd", "mfa"}, AuthTime: time.Now(), IssuedAt: time.Now()}
			change(&key.credential)
			mux := a.mux()
			for _, route := range [][2]string{{"GET", path}, {"POST", path + "/otp"}, {"POST", path + "/otp/confirm"}, {"DELETE", path + "/otp"}, {"POST", path + "/recovery"}} {
				r := httptest.NewRequest(route[0], route[1], strings.NewReader(confirmation("123456")))
				r.Header.Set("X-Key", "1")
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				require.Contains(t, []int{401, 403}, w.Code, route)
			}
			r, err := a.store.Record(t.Context(), u.ID)
			require.NoError(t, err)
			require.Empty(t, r.Pending)
		})
	}
	a := newApp(t)
	for _, target := range []string{path, path + "/otp", path + "/otp/confirm", path + "/recovery"} {
		w := httptest.NewRecorder()
		a.mux().ServeHTTP(w, httptest.NewRequest("POST", target, nil))
		require.NotEqual(t, 200, w.Code)
	}
}

// An error of the store is 503 without its text.
func TestSettingsStoreFails(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	broken := newFactor(t, &failing{err: errors.New("boom")})
	recovery := broken.RecoveryCodes()
	kit := authkittest.NewKit(t, func(c *authkit.Config) { c.SecondFactors = []authkit.SecondFactor{a.otp, a.recovery} })
	mux := kit.NewMux()
	recovery.Mount(mux, kit, path)
	token := authkittest.Login(t, kit).AccessToken
	for _, route := range [][2]string{{"GET", path}, {"POST", path + "/recovery"}} {
		status, body := request(t, mux, token, route[0], route[1], "")
		require.Equal(t, 503, status)
		require.NotContains(t, body["detail"], "boom")
	}
	store := &unreadable{Store: totp.NewMemoryStore()}
	kit = authkittest.NewKit(t, func(c *authkit.Config) { c.SecondFactors = []authkit.SecondFactor{newFactor(t, store)} })
	mux = kit.NewMux()
	a.recovery.Mount(mux, kit, path) // whose store works
	token = authkittest.Login(t, kit).AccessToken
	store.broken = true
	status, body := request(t, mux, token, "GET", path, "")
	require.Equal(t, 503, status, body)
}

// An unreadable is a store whose records cannot be read once it is broken.
type unreadable struct {
	totp.Store
	broken bool
}

func (s *unreadable) Record(ctx context.Context, userID string) (totp.Record, error) {
	if s.broken {
		return totp.Record{}, errors.New("boom")
	}
	return s.Store.Record(ctx, userID)
}
