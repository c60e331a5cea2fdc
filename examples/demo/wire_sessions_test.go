package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

// newcomer makes an account with no sessions but those of its test, and returns its login.
func (w *walk) newcomer(t *testing.T, name string) call {
	t.Helper()
	email, password := name+"@example.com", w.password("newcomers-secret-"+name)
	a := w.do(t, createCall(w.admin(t), `{"email":"`+email+`","full_name":"Newcomer","password":"`+password+`"}`))
	require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
	return loginCall(email, password)
}

// lives asserts that access tokens are good.
func (w *walk) lives(t *testing.T, access ...string) {
	t.Helper()
	for _, token := range access {
		a := w.do(t, call{method: "GET", path: "/users/me/", token: token})
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	}
}

// ended asserts that a session is over: its access tokens are refused, and its refresh
// token.
func (w *walk) ended(t *testing.T, refresh string, access ...string) {
	t.Helper()
	for _, token := range access {
		a := w.do(t, call{method: "GET", path: "/users/me/", token: token})
		a.isProblem(t, http.StatusUnauthorized, "Could not validate credentials")
		require.Equal(t, `Bearer error="invalid_token"`, a.header.Get("WWW-Authenticate"))
	}
	isBadRefresh(t, w.do(t, refreshCall(refresh)))
}

// isBadRefresh asserts the one answer to every refresh token that is refused.
func isBadRefresh(t *testing.T, a answer) {
	t.Helper()
	a.isProblem(t, http.StatusBadRequest, "The refresh token is not valid")
	require.Equal(t, "invalid_grant", a.object(t)["error"])
	require.Equal(t, "no-store", a.header.Get("Cache-Control"))
}

func (w *walk) refresh(t *testing.T) {
	login := w.newcomer(t, "refresher")
	bothSlashes(t, "/token", func(t *testing.T, path string) {
		first := w.issued(t, w.do(t, login))
		c := refreshCall(first.refresh)
		c.path = path
		a := w.do(t, c)
		require.Equal(t, "no-store", a.header.Get("Cache-Control"))
		second := w.issued(t, a)
		require.NotEqual(t, first.access, second.access)
		require.NotEqual(t, first.refresh, second.refresh)
		require.Equal(t, decoded(t, first.access, 1)["sid"], decoded(t, second.access, 1)["sid"])
		w.lives(t, first.access, second.access)

		third := w.issued(t, w.do(t, refreshCall(second.refresh)))
		w.lives(t, first.access, second.access, third.access)
		a = w.do(t, call{method: "POST", path: "/logout", token: third.access})
		require.Equal(t, http.StatusNoContent, a.status)
		w.ended(t, third.refresh, first.access, second.access, third.access)
	})
	t.Run("again within the grace: the same successor", func(t *testing.T) {
		first := w.issued(t, w.do(t, login))
		second := w.issued(t, w.do(t, refreshCall(first.refresh)))
		again := w.issued(t, w.do(t, refreshCall(first.refresh)))
		require.Equal(t, second.refresh, again.refresh)
		w.lives(t, first.access, second.access, again.access)
	})
	t.Run("an older one ends the session", func(t *testing.T) {
		other := w.issued(t, w.do(t, login))
		first := w.issued(t, w.do(t, login))
		second := w.issued(t, w.do(t, refreshCall(first.refresh)))
		third := w.issued(t, w.do(t, refreshCall(second.refresh)))
		isBadRefresh(t, w.do(t, refreshCall(first.refresh)))
		w.ended(t, third.refresh, first.access, second.access, third.access)
		w.lives(t, other.access)
		require.Contains(t, w.logs.String(), "token_reuse")
	})
	t.Run("not a refresh token", func(t *testing.T) {
		good := w.issued(t, w.do(t, login))
		elsewhere, err := send(start(t, testConfig(t)), loginCall("user@example.com", userPassword))
		require.NoError(t, err)
		for name, token := range map[string]string{
			"garbage":           "garbage",
			"prefix alone":      "akr_",
			"access token":      good.access,
			"cut":               good.refresh[:len(good.refresh)-1],
			"longer":            good.refresh + "A",
			"without prefix":    good.refresh[4:],
			"other prefix":      "AKR_" + good.refresh[4:],
			"space around it":   " " + good.refresh,
			"twice in one":      good.refresh + good.refresh,
			"in upper case":     "akr_" + strings.ToUpper(good.refresh[4:]),
			"NUL":               good.refresh + "\x00",
			"not UTF-8":         "\xff" + good.refresh[1:],
			"of another server": w.password(elsewhere.object(t)["refresh_token"].(string)),
			"very long":         "akr_" + strings.Repeat("A", 9000),
		} {
			t.Run(name, func(t *testing.T) { isBadRefresh(t, w.do(t, refreshCall(token))) })
		}
		w.issued(t, w.do(t, refreshCall(good.refresh)))
	})
	t.Run("missing or empty", func(t *testing.T) {
		for _, body := range []string{"grant_type=refresh_token", "grant_type=refresh_token&refresh_token=", login.body + "&grant_type=refresh_token"} {
			a := w.do(t, call{method: "POST", path: "/token", contentType: formType, body: body})
			a.isProblem(t, http.StatusUnprocessableEntity, "")
			require.Equal(t, "invalid_request", a.object(t)["error"])
			require.Equal(t, []string{"refresh_token"}, a.faults(t))
		}
	})
	t.Run("in the URL, or twice", func(t *testing.T) {
		good := w.issued(t, w.do(t, login))
		whole := refreshCall(good.refresh)
		for name, c := range map[string]call{
			"URL alone":     {path: "/token?" + whole.body, body: "grant_type=refresh_token"},
			"URL and body":  {path: "/token?refresh_token=" + good.refresh, body: whole.body},
			"twice":         {path: "/token", body: whole.body + "&refresh_token=" + good.refresh},
			"two different": {path: "/token", body: whole.body + "&refresh_token=other"},
		} {
			t.Run(name, func(t *testing.T) {
				c.method, c.contentType = "POST", formType
				a := w.do(t, c)
				a.isProblem(t, http.StatusBadRequest, "")
				require.Equal(t, "invalid_request", a.object(t)["error"])
			})
		}
		w.issued(t, w.do(t, whole)) // none of it has used the token up
	})
}

func (w *walk) logout(t *testing.T) {
	login := w.newcomer(t, "leaver")
	bothSlashes(t, "/logout", func(t *testing.T, path string) {
		leaving, staying := w.issued(t, w.do(t, login)), w.issued(t, w.do(t, login))
		logout := call{method: "POST", path: path, token: leaving.access}
		a := w.do(t, logout)
		require.Equal(t, http.StatusNoContent, a.status, "%s", a.body)
		require.Empty(t, a.body)
		w.ended(t, leaving.refresh, leaving.access)
		w.do(t, logout).isProblem(t, http.StatusUnauthorized, "Could not validate credentials")
		w.lives(t, staying.access)
	})
	w.guardedBy(t, "POST", "/logout")
	w.wantsSession(t, "POST", "/logout")
	w.notAllowed(t, "/logout", "POST", "GET", "PUT", "DELETE", "PATCH", "HEAD")
}

// guardedBy asserts that a route is guarded whose method is not GET.
func (w *walk) guardedBy(t *testing.T, method, path string) {
	t.Run(method+" is guarded", func(t *testing.T) {
		disabled := w.password(issue(t, testSecret, authkit.Claims{Subject: "disabled@example.com"}))
		w.do(t, call{method: method, path: path}).isProblem(t, http.StatusUnauthorized, "Not authenticated")
		w.do(t, call{method: method, path: path, token: "garbage"}).isProblem(t, http.StatusUnauthorized, "Could not validate credentials")
		w.do(t, call{method: method, path: path, token: disabled}).isProblem(t, http.StatusBadRequest, "Inactive user")
	})
}

// wantsSession asserts what a token is answered that belongs to no session.
func (w *walk) wantsSession(t *testing.T, method, path string) {
	t.Run(method+" without a session", func(t *testing.T) {
		sessionless := w.password(issue(t, testSecret, authkit.Claims{Subject: "user@example.com"}))
		w.do(t, call{method: method, path: path, token: sessionless}).isProblem(t, http.StatusConflict, "The token belongs to no session")
	})
}

func (w *walk) sessions(t *testing.T) {
	bothSlashes(t, "/users/me/sessions", w.listSessions)
	login := w.newcomer(t, "ender")
	end := func(path, token string) answer { return w.do(t, call{method: "DELETE", path: path, token: token}) }
	bothSlashes(t, "/users/me/sessions/{id}", func(t *testing.T, path string) {
		mine, lost := w.issued(t, w.do(t, login)), w.issued(t, w.do(t, login))
		path = strings.Replace(path, "{id}", decoded(t, lost.access, 1)["sid"].(string), 1)
		a := end(path, mine.access)
		require.Equal(t, http.StatusNoContent, a.status, "%s", a.body)
		require.Empty(t, a.body)
		w.ended(t, lost.refresh, lost.access)
		w.lives(t, mine.access)
		end(path, mine.access).isProblem(t, http.StatusNotFound, "Session not found")
	})
	t.Run("all others", func(t *testing.T) {
		const path = "/users/me/sessions"
		mine, lost, lostToo := w.issued(t, w.do(t, login)), w.issued(t, w.do(t, login)), w.issued(t, w.do(t, login))
		for range 2 {
			a := end(path, mine.access)
			require.Equal(t, http.StatusNoContent, a.status, "%s", a.body)
			require.Empty(t, a.body)
		}
		w.ended(t, lost.refresh, lost.access)
		w.ended(t, lostToo.refresh, lostToo.access)
		w.lives(t, mine.access)
		require.Len(t, w.do(t, call{method: "GET", path: path, token: mine.access}).list(t), 1)
	})
	t.Run("an empty ID ends nothing", func(t *testing.T) {
		mine, other := w.issued(t, w.do(t, login)), w.issued(t, w.do(t, login))
		for _, path := range []string{"/users/me/sessions/", "/users/me/sessions/%2F"} {
			require.NotEqual(t, http.StatusNoContent, end(path, mine.access).status, path)
		}
		w.lives(t, other.access)
	})
	t.Run("somebody else's", func(t *testing.T) {
		theirs := w.issued(t, w.do(t, login))
		end("/users/me/sessions/"+decoded(t, theirs.access, 1)["sid"].(string), w.admin(t)).isProblem(t, http.StatusNotFound, "Session not found")
		w.lives(t, theirs.access)
		w.issued(t, w.do(t, refreshCall(theirs.refresh)))
	})
	t.Run("unknown ones", func(t *testing.T) {
		token := w.issued(t, w.do(t, login)).access
		for _, id := range []string{"x", "%ff", "%20", "*", strings.Repeat("x", 4000)} {
			end("/users/me/sessions/"+id, token).isProblem(t, http.StatusNotFound, "Session not found")
		}
		for _, id := range []string{"%2Fx", "%00"} { // FR-01
			end("/users/me/sessions/"+id, token).isProblem(t, http.StatusBadRequest, "The path of the request is ambiguous")
		}
		w.lives(t, token)
	})
	w.guarded(t, "/users/me/sessions")
	w.guardedBy(t, "DELETE", "/users/me/sessions")
	w.wantsSession(t, "DELETE", "/users/me/sessions")
	w.guardedBy(t, "DELETE", "/users/me/sessions/x")
	w.notAllowed(t, "/users/me/sessions", "DELETE, GET, HEAD", "POST", "PUT", "PATCH")
	w.notAllowed(t, "/users/me/sessions/x", "DELETE", "GET", "POST", "PUT", "PATCH", "HEAD")
}

// listSessions asserts what the list says of two devices, and of a refresh on one of them.
func (w *walk) listSessions(t *testing.T, path string) {
	login := w.newcomer(t, fmt.Sprint("lister", len(path)))
	from := func(device string) tokens {
		login.header = http.Header{"User-Agent": {device}}
		return w.issued(t, w.do(t, login))
	}
	list := func(token string) []map[string]any {
		a := w.do(t, call{method: "GET", path: path, token: token})
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		require.Equal(t, "application/json", a.header.Get("Content-Type"))
		return a.list(t)
	}
	at := func(session map[string]any, name string) time.Time {
		v, err := time.Parse(time.RFC3339, session[name].(string))
		require.NoError(t, err)
		return v
	}
	before := time.Now()
	phone := from("a telephone\twith \u00e9 in it")
	laptop := from(strings.Repeat("laptop! ", 40))

	both := list(phone.access)
	require.Len(t, both, 2)
	for i, want := range []struct {
		tokens
		device  string
		current bool
	}{{laptop, strings.Repeat("laptop! ", 32), false}, {phone, "a telephone with \u00e9 in it", true}} {
		session := both[i]
		require.Len(t, session, 10)
		require.Equal(t, []any{"pwd"}, session["amr"])
		require.WithinDuration(t, at(session, "created_at"), at(session, "auth_time"), time.Minute)
		require.Equal(t, decoded(t, want.access, 1)["sid"], session["id"])
		require.Equal(t, want.device, session["device"])
		require.Equal(t, "127.0.0.1", session["address"])
		require.Equal(t, want.current, session["current"])
		require.WithinDuration(t, before, at(session, "created_at"), time.Minute)
		require.Equal(t, session["created_at"], session["last_used_at"])
		require.Equal(t, at(session, "created_at").Add(sessionIdle), at(session, "expires_at"))
		require.Equal(t, at(session, "created_at").Add(sessionAbsolute), at(session, "absolute_expires_at"))
	}

	phone = w.issued(t, w.do(t, refreshCall(phone.refresh)))
	after := list(laptop.access)
	require.Len(t, after, 2)
	require.Equal(t, both[0]["id"], after[1]["id"], "the one used last is in front")
	require.Equal(t, true, after[1]["current"])
	renewed, was := after[0], both[1]
	require.Equal(t, was["id"], renewed["id"])
	require.Equal(t, was["device"], renewed["device"], "the device is that of the login")
	require.Equal(t, was["created_at"], renewed["created_at"])
	require.Equal(t, was["absolute_expires_at"], renewed["absolute_expires_at"])
	require.True(t, at(renewed, "last_used_at").After(at(was, "last_used_at")))
	require.Equal(t, at(renewed, "last_used_at").Add(sessionIdle), at(renewed, "expires_at"))
}

// TestDisabledUser asserts that whoever is disabled is neither refreshed nor let in, however
// that came about, and that the old sessions do not come back with the account.
func TestDisabledUser(t *testing.T) {
	t.Parallel()
	for name, disable := range map[string]func(t *testing.T, s *server, id string){
		"by the kit": func(t *testing.T, s *server, id string) { require.NoError(t, s.kit.DisableUser(t.Context(), id)) },
		"in the store": func(t *testing.T, s *server, id string) {
			_, err := s.store.users.UpdateUser(t.Context(), id, authkit.UserUpdate{Disabled: new(true)}, time.Now())
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, service := startService(t, testConfig(t))
			do := func(c call) answer {
				a, err := send(url, c)
				require.NoError(t, err)
				return a
			}
			a := do(loginCall("user@example.com", userPassword))
			access, refresh := a.object(t)["access_token"].(string), a.object(t)["refresh_token"].(string)
			id := decoded(t, access, 1)["uid"].(string)

			disable(t, service, id)
			isBadRefresh(t, do(refreshCall(refresh)))
			do(call{method: "GET", path: "/users/me/", token: access}).isProblem(t, http.StatusBadRequest, "Inactive user")
			do(loginCall("user@example.com", userPassword)).isProblem(t, http.StatusBadRequest, "Inactive user")

			_, err := service.kit.EnableUser(t.Context(), id)
			require.NoError(t, err)
			isBadRefresh(t, do(refreshCall(refresh)))
			do(call{method: "GET", path: "/users/me/", token: access}).isProblem(t, http.StatusUnauthorized, "Could not validate credentials")
		})
	}
}
