package authkit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

const newPassword = "another long password"

// apart keeps accounts and sessions in two stores, as a service with Redis does.
func apart(c *authkit.Config) {
	c.Users, c.Sessions.Store = authkit.NewMemoryStore(), authkit.NewMemoryStore()
}

// together keeps both in one store with transactions.
func together(c *authkit.Config) {
	s := authkit.NewMemoryStore()
	c.Users, c.Sessions.Store = s, s
}

func TestVerifyPassword(t *testing.T) {
	t.Parallel()
	var events recorder
	var throttle fakeThrottle
	kit := newKit(t, events.listen, throttle.listen, func(c *authkit.Config) { c.RequireVerifiedEmail = true })
	u := addUser(t, kit, "ann@example.com", password)
	check := func(want error, reason authkit.Reason, calls ...string) {
		t.Helper()
		events.reset()
		throttle.calls, throttle.attempts = nil, nil
		p := password
		if reason == authkit.ReasonWrongPassword {
			p = "wrong"
		}
		err := kit.VerifyPassword(t.Context(), u.ID, p)
		require.ErrorIs(t, err, want)
		require.Equal(t, []authkit.EventKind{authkit.EventPasswordCheck}, events.kinds())
		require.Equal(t, reason, events.last().Reason)
		require.Equal(t, u.ID, events.last().UserID)
		require.Equal(t, calls, throttle.calls)
		require.Equal(t, authkit.Attempt{Action: authkit.ActionLogin, Account: u.Email, Guess: authkit.NewGuess(p)}, throttle.attempts[0], "the count of logins")
	}
	check(authkit.ErrInvalidCredentials, authkit.ReasonUnverified, "begin", "failed")
	_, err := kit.VerifyEmail(t.Context(), u.ID, u.Email)
	require.NoError(t, err)
	check(nil, "", "begin", "succeeded")
	check(authkit.ErrInvalidCredentials, authkit.ReasonWrongPassword, "begin", "failed")
	_, err = kit.LockUser(t.Context(), u.ID, time.Now().Add(time.Hour))
	require.NoError(t, err)
	check(authkit.ErrInvalidCredentials, authkit.ReasonLocked, "begin", "failed")
	_, err = kit.UnlockUser(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, "clear", throttle.calls[len(throttle.calls)-1])
	require.NoError(t, kit.DisableUser(t.Context(), u.ID))
	check(authkit.ErrInvalidCredentials, authkit.ReasonDisabled, "begin", "failed")
	_, err = kit.EnableUser(t.Context(), u.ID)
	require.NoError(t, err)

	events.reset()
	throttle.begin = &authkit.ThrottledError{RetryAfter: time.Minute, Account: true}
	var throttled *authkit.ThrottledError
	require.ErrorAs(t, kit.VerifyPassword(t.Context(), u.ID, password), &throttled)
	require.Equal(t, []authkit.Event{{Kind: authkit.EventLoginThrottled, UserID: u.ID, Reason: authkit.ReasonThrottled}}, events.all())
	require.ErrorAs(t, kit.ChangePassword(t.Context(), u.ID, password, newPassword), &throttled)
	require.ErrorIs(t, kit.VerifyPassword(t.Context(), "nobody", password), authkit.ErrUserNotFound)
	require.NoError(t, kit.SetPassword(t.Context(), u.ID, newPassword), "an operator sets it nevertheless")
	require.Equal(t, "clear", throttle.calls[len(throttle.calls)-1])

	invited, err := kit.CreateUserWithoutPassword(t.Context(), authkit.User{Email: "bob@example.com"})
	require.NoError(t, err)
	throttle.begin = nil
	require.ErrorIs(t, kit.VerifyPassword(t.Context(), invited.ID, ""), authkit.ErrInvalidCredentials)
	require.Equal(t, authkit.ReasonNoPassword, events.last().Reason)
}

// A changed password ends all sessions but the one that changed it, and their access tokens
// at the next request.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	for name, stores := range map[string]func(*authkit.Config){"one store": together, "two stores": apart} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			kit := newKit(t, stores, events.listen)
			u := addUser(t, kit, email, password)
			addUser(t, kit, "bob@example.com", password)
			mine, other := begin(t, kit), begin(t, kit)
			stranger, err := kit.Login(t.Context(), "bob@example.com", password)
			require.NoError(t, err)
			ctx := as(t, kit, mine)

			events.reset()
			require.ErrorIs(t, kit.ChangePassword(ctx, u.ID, "wrong", newPassword), authkit.ErrInvalidCredentials)
			var invalid *authkit.ValidationError
			require.ErrorAs(t, kit.ChangePassword(ctx, u.ID, password, "short"), &invalid)
			for _, token := range []authkit.Token{mine, other, stranger} {
				require.Equal(t, http.StatusOK, access(t, kit, token), "nothing has changed")
			}
			require.Equal(t, []authkit.Event{
				{Kind: authkit.EventPasswordCheck, UserID: u.ID, Reason: authkit.ReasonWrongPassword},
				{Kind: authkit.EventPasswordCheck, UserID: u.ID},
			}, events.all())

			events.reset()
			require.NoError(t, kit.ChangePassword(ctx, u.ID, password, newPassword))
			require.Equal(t, []authkit.Event{{Kind: authkit.EventPasswordCheck, UserID: u.ID}, {Kind: authkit.EventPasswordChange, UserID: u.ID}}, events.all())
			require.Equal(t, http.StatusOK, access(t, kit, mine))
			require.Equal(t, http.StatusOK, access(t, kit, renew(t, kit, mine)))
			require.Equal(t, http.StatusUnauthorized, access(t, kit, other))
			requireRefused(t, kit, &events, other, authkit.EventRefreshFailure, authkit.ReasonRevoked)
			require.Equal(t, http.StatusOK, access(t, kit, stranger), "another user")
			_, err = kit.Login(t.Context(), email, password)
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			_, err = kit.Login(t.Context(), email, newPassword)
			require.NoError(t, err)

			require.NoError(t, kit.ChangePassword(t.Context(), u.ID, newPassword, password), "without a principal")
			require.Equal(t, http.StatusUnauthorized, access(t, kit, mine), "there is no session to keep")
		})
	}
}

// FR-08: of changes of a password that were proved on the same facts exactly one succeeds.
func TestPasswordChangesAtOnce(t *testing.T) {
	t.Parallel()
	set := func(kit *authkit.Kit, id, p string) error { return kit.SetPassword(context.Background(), id, p) }
	change := func(kit *authkit.Kit, id, p string) error {
		return kit.ChangePassword(context.Background(), id, password, p)
	}
	type changes []func(kit *authkit.Kit, id, p string) error
	for name, all := range map[string]changes{
		"set and set": {set, set}, "change and change": {change, change}, "set and change": {set, change}, "four": {set, change, set, change},
	} {
		for where, stores := range map[string]func(*authkit.Config){"one store": together, "two stores": apart} {
			t.Run(name+", "+where, func(t *testing.T) {
				t.Parallel()
				// The new passwords are checked when the accounts have been read. That is where
				// all callers meet.
				var meet sync.WaitGroup
				meet.Add(len(all))
				kit := newKit(t, stores, func(c *authkit.Config) {
					c.Passwords.MaxConcurrentHashes = len(all)
					c.Passwords.Check = func(_ context.Context, p string, _ authkit.User) error {
						if strings.HasPrefix(p, "new") {
							meet.Done()
							meet.Wait()
						}
						return nil
					}
				})
				u := addUser(t, kit, email, password)
				errs := make([]error, len(all))
				var wg sync.WaitGroup
				for i, do := range all {
					wg.Go(func() { errs[i] = do(kit, u.ID, fmt.Sprint("new password ", i)) })
				}
				wg.Wait()
				won := -1
				for i, err := range errs {
					if err == nil {
						require.Equal(t, -1, won, "two changes succeeded")
						won = i
						continue
					}
					require.ErrorIs(t, err, authkit.ErrConflict)
					require.Equal(t, 409, authkit.ProblemFor(err).Status)
				}
				require.NotEqual(t, -1, won, "%v", errs)
				for i := range all {
					err := kit.VerifyPassword(t.Context(), u.ID, fmt.Sprint("new password ", i))
					require.Equal(t, i == won, err == nil)
				}
			})
		}
	}
}

// FR-08: a login that replaces an old hash never undoes a change of the password, and a
// change that was proved before it loses.
func TestPasswordChangeAndRehash(t *testing.T) {
	t.Parallel()
	t.Run("the rehash is later", func(t *testing.T) {
		t.Parallel()
		users := newHookStore()
		kit := newKit(t, users.listen)
		u := storeUser(t, users, authkit.StoredUser{User: authkit.User{ID: "u", Email: email}, PasswordHash: pbkdf2OfAdmin})
		users.update = func(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
			users.update = users.UserStore.UpdateUser
			require.NoError(t, kit.SetPassword(ctx, id, newPassword))
			return users.UserStore.UpdateUser(ctx, id, change, at)
		}
		_, err := kit.Login(t.Context(), email, "admin123")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, newPassword))
	})
	t.Run("the change is later", func(t *testing.T) {
		t.Parallel()
		users := authkit.NewMemoryStore()
		var kit *authkit.Kit
		kit = newKit(t, func(c *authkit.Config) {
			c.Users = users
			c.Passwords.Check = func(ctx context.Context, p string, u authkit.User) error {
				_, err := kit.Login(ctx, email, "admin123") // and replaces the hash
				return err
			}
		})
		u := storeUser(t, users, authkit.StoredUser{User: authkit.User{ID: "u", Email: email}, PasswordHash: pbkdf2OfAdmin})
		require.ErrorIs(t, kit.SetPassword(t.Context(), u.ID, newPassword), authkit.ErrConflict)
		require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, "admin123"), "one or the other, and not a third thing")
		require.NoError(t, kit.SetPassword(t.Context(), u.ID, newPassword), "no hash is due any more")
	})
	t.Run("its own", func(t *testing.T) {
		t.Parallel()
		users := authkit.NewMemoryStore()
		kit := newKit(t, func(c *authkit.Config) { c.Users = users })
		u := storeUser(t, users, authkit.StoredUser{User: authkit.User{ID: "u", Email: email}, PasswordHash: pbkdf2OfAdmin})
		require.NoError(t, kit.ChangePassword(t.Context(), u.ID, "admin123", newPassword))
		require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, newPassword))
	})
}

// A login with the old password that is under way when the password changes fails, and leaves
// no session, although the caller's session goes on.
func TestLoginLosesToChangePassword(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"UserByEmail", "CreateSession", "UserByID"} {
		var events recorder
		kit, store, u, _ := between(t, &events)
		mine := begin(t, kit)
		ctx := as(t, kit, mine)
		store.after = func(name string, _ int) error {
			if name == when {
				store.after = nil
				require.NoError(t, kit.ChangePassword(ctx, u.ID, password, newPassword))
			}
			return nil
		}
		if when == "UserByID" { // the last look has been taken: the change finds the session
			token, err := kit.Login(t.Context(), email, password)
			require.NoError(t, err)
			require.Equal(t, http.StatusUnauthorized, access(t, kit, token))
		} else {
			_, err := kit.Login(t.Context(), email, password)
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials, when)
		}
		left, err := kit.Sessions(t.Context(), u.ID)
		require.NoError(t, err)
		require.Len(t, left, 1, when)
		require.Equal(t, sessionID(t, mine), left[0].ID)
	}
}

// Sessions that cannot be ended are an error, and do not hide that the password changed.
func TestChangePasswordSessionsFail(t *testing.T) {
	t.Parallel()
	for name, sameStore := range map[string]bool{"one store": true, "two stores": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
			kit := newKit(t, events.listen, store.listen, func(c *authkit.Config) {
				if !sameStore {
					c.Users = authkit.NewMemoryStore()
				}
			})
			u := addUser(t, kit, email, password)
			ctx := as(t, kit, begin(t, kit))
			other := begin(t, kit)
			store.before = func(name string, _ int) error {
				if name == "RevokeSessions" {
					return errCrash
				}
				return nil
			}
			events.reset()
			require.ErrorIs(t, kit.ChangePassword(ctx, u.ID, password, newPassword), authkit.ErrUnavailable)
			want := []authkit.EventKind{authkit.EventPasswordCheck, authkit.EventPasswordChange, authkit.EventStoreFailure}
			if sameStore {
				want = []authkit.EventKind{authkit.EventPasswordCheck, authkit.EventStoreFailure}
			}
			require.Equal(t, want, events.kinds())
			store.before = nil
			require.Equal(t, sameStore, kit.VerifyPassword(t.Context(), u.ID, password) == nil, "a transaction changes all or nothing")
			if sameStore {
				require.Equal(t, http.StatusOK, access(t, kit, other))
				return
			}
			// Nobody can ask again with the old password, so the account is cut off.
			require.Equal(t, http.StatusUnauthorized, access(t, kit, other))
			_, err := kit.Refresh(t.Context(), other.RefreshToken)
			require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
		})
	}
}

// Sessions that cannot be ended at first are ended by a second attempt.
func TestSessionsEndAtTheSecondAttempt(t *testing.T) {
	t.Parallel()
	store := &faultyStore{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, store.listen, func(c *authkit.Config) { c.Users = authkit.NewMemoryStore() })
	u := addUser(t, kit, email, password)
	begin(t, kit)
	failed := 0
	store.before = func(name string, _ int) error {
		if name == "RevokeSessions" && failed == 0 {
			failed++
			return errCrash
		}
		return nil
	}
	require.NoError(t, kit.SetPassword(t.Context(), u.ID, newPassword))
	require.Equal(t, 1, failed)
	left, err := kit.Sessions(t.Context(), u.ID)
	require.NoError(t, err)
	require.Empty(t, left)
}

// A client that leaves undoes nothing half-way.
func TestChangePasswordOfAClientThatLeaves(t *testing.T) {
	t.Parallel()
	for name, stores := range map[string]func(*authkit.Config){"one store": together, "two stores": apart} {
		ctx, cancel := context.WithCancel(t.Context())
		var events recorder
		kit := newKit(t, stores, events.listen, func(c *authkit.Config) {
			c.Passwords.Check = func(_ context.Context, p string, _ authkit.User) error {
				if p == newPassword {
					cancel()
				}
				return nil
			}
		})
		u := addUser(t, kit, email, password)
		token := begin(t, kit)
		events.reset()
		for _, do := range []func() error{
			func() error { return kit.SetPassword(ctx, u.ID, newPassword) },
			func() error { return kit.ChangePassword(ctx, u.ID, password, newPassword) },
			func() error { return kit.DisableUser(ctx, u.ID) },
			func() error { return kit.DeleteUser(ctx, u.ID) },
			func() error { _, err := kit.AddRole(ctx, u.ID, "editor"); return err },
		} {
			err := do()
			require.ErrorIs(t, err, context.Canceled, name)
			require.NotErrorIs(t, err, authkit.ErrUnavailable, name)
		}
		require.Empty(t, events.all(), name)
		require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, password), name)
		require.Equal(t, http.StatusOK, access(t, kit, token), name)
	}
}

// A client that leaves after the password has changed does not keep the old sessions.
func TestSetPasswordOfAClientThatLeavesLate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	kit := newKit(t, apart, func(c *authkit.Config) {
		c.OnEvent = append(c.OnEvent, func(_ context.Context, e authkit.Event) {
			if e.Kind == authkit.EventPasswordChange {
				cancel()
			}
		})
	})
	u := addUser(t, kit, email, password)
	begin(t, kit)
	require.NoError(t, kit.SetPassword(ctx, u.ID, newPassword))
	require.Error(t, ctx.Err())
	left, err := kit.Sessions(t.Context(), u.ID)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestChangePasswordHandler(t *testing.T) {
	t.Parallel()
	var throttle fakeThrottle
	all := credentials{}
	kit := newKit(t, together, throttle.listen, func(c *authkit.Config) { c.Authenticators = []authkit.Authenticator{all} })
	u := addUser(t, kit, email, password)
	mine, other := begin(t, kit), begin(t, kit)
	all["key"] = authkit.Credential{UserID: u.ID, Machine: true}
	handler := kit.Require(authkit.Authenticated().OrMachines())(kit.ChangePasswordHandler())
	send := func(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		r.Header.Set("Content-Type", formType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	good := form("current_password", password, "new_password", newPassword)
	problem(t, send(handler, "POST", "/", good), 401, "Not authenticated")
	problem(t, send(handler, "POST", "/", good, "X-Credential", "key"), 403, "Not enough permissions")
	problem(t, send(kit.ChangePasswordHandler(), "POST", "/", good, bearer(mine)...), 401, "Not authenticated")
	elsewhere := newKit(t, together)
	addUser(t, elsewhere, email, password)
	theirs, err := elsewhere.Login(t.Context(), email, password)
	require.NoError(t, err)
	problem(t, send(elsewhere.Authenticate(kit.ChangePasswordHandler()), "POST", "/", good, bearer(theirs)...), 401, "Not authenticated")

	p := problem(t, send(handler, "POST", "/", form("current_password", "wrong", "new_password", newPassword), bearer(mine)...), 401, "Incorrect username or password")
	require.Empty(t, p.Code)
	problem(t, send(handler, "GET", "/", "", bearer(mine)...), 405, "Method not allowed")
	problem(t, send(handler, "POST", "/?new_password=x", good, bearer(mine)...), 400, "Parameters belong in the body, not in the URL")
	problem(t, send(handler, "POST", "/", good+"&new_password=x", bearer(mine)...), 400, "A parameter was given more than once")
	p = problem(t, send(handler, "POST", "/", "", bearer(mine)...), 422, "Send a form (application/x-www-form-urlencoded) with current_password and new_password")
	require.Equal(t, []authkit.FieldError{{Field: "current_password", Message: "is required"}, {Field: "new_password", Message: "is required"}}, p.Errors)
	require.Empty(t, p.Code)
	p = problem(t, send(handler, "POST", "/", form("current_password", password, "new_password", "short"), bearer(mine)...), 422, "The input is not valid")
	require.Equal(t, []authkit.FieldError{{Field: "new_password", Message: "must have at least 8 characters"}}, p.Errors)
	throttle.begin = &authkit.ThrottledError{RetryAfter: time.Minute, Account: true}
	problem(t, send(handler, "POST", "/", good, bearer(mine)...), 429, "Too many attempts; try again later")
	throttle.begin = nil
	require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, password), "nothing has changed")

	w := send(handler, "POST", "/", good, bearer(mine)...)
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Empty(t, w.Body.String())
	require.Equal(t, http.StatusOK, access(t, kit, mine))
	require.Equal(t, http.StatusUnauthorized, access(t, kit, other))
	require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, newPassword))
}

// Without sessions there is no cookie to replace.
func TestChangePasswordHandlerWithoutSessions(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	addUser(t, kit, email, password)
	r := httptest.NewRequest("POST", "/", strings.NewReader(form("current_password", password, "new_password", newPassword)))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Authorization", "Bearer "+begin(t, kit).AccessToken)
	w := httptest.NewRecorder()
	kit.Authenticate(kit.ChangePasswordHandler()).ServeHTTP(w, r)
	require.Equal(t, http.StatusNoContent, w.Code)
}

// A changed password replaces the session cookie: another holder of the old one is logged out.
func TestChangePasswordRenewsTheCookie(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit, h, _ := newSite(t)
		s := surf(t, h)
		stolen := *s
		s.h = kit.Authenticate(kit.ChangePasswordHandler())
		require.Equal(t, 401, s.do("POST", "/", form("current_password", "wrong", "new_password", newPassword)).Code)
		require.Nil(t, s.set)
		w := s.do("POST", "/", form("current_password", password, "new_password", newPassword))
		require.Equal(t, http.StatusNoContent, w.Code, w.Body.String())
		require.NotNil(t, s.set)
		s.h = h
		time.Sleep(11 * time.Second)
		require.Equal(t, 200, s.status("/me"))
		require.Equal(t, 401, stolen.status("/me"))
	})
}

// A prepared password is checked and hashed once, by the Kit that prepared it, and no other one
// passes for it.
func TestPreparePassword(t *testing.T) {
	t.Parallel()
	checked := 0
	kit := newKit(t, together, func(c *authkit.Config) {
		c.Passwords.Check = func(_ context.Context, p string, _ authkit.User) error {
			checked++
			if p == "password1" {
				return authkit.ErrPasswordRefused
			}
			return nil
		}
	})
	for _, bad := range []string{"short", "password1", strings.Repeat("a", 73), "with a \x00 in it"} {
		_, err := kit.PreparePassword(t.Context(), authkit.User{}, bad)
		var invalid *authkit.ValidationError
		require.ErrorAs(t, err, &invalid, bad)
	}
	checked = 0
	ctx, err := kit.PreparePassword(t.Context(), authkit.User{Email: "ann@example.com"}, password)
	require.NoError(t, err)
	for _, text := range []string{fmt.Sprint(ctx), fmt.Sprintf("%+v", ctx), fmt.Sprintf("%#v", ctx)} {
		require.NotContains(t, text, password)
	}
	hashed := kit.Stats().Hashed
	u, err := kit.CreateUser(ctx, authkit.User{Email: "ann@example.com"}, password)
	require.NoError(t, err)
	require.NoError(t, kit.SetPassword(ctx, u.ID, password))
	require.Equal(t, hashed, kit.Stats().Hashed)
	require.Equal(t, 1, checked)
	require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, password))

	require.Error(t, kit.SetPassword(ctx, u.ID, "short"), "another password")
	require.NoError(t, kit.SetPassword(ctx, u.ID, newPassword))
	require.ErrorIs(t, kit.VerifyPassword(t.Context(), u.ID, password), authkit.ErrInvalidCredentials)
	require.NoError(t, kit.VerifyPassword(t.Context(), u.ID, newPassword))
	require.Equal(t, 2, checked)

	other := newKit(t, func(c *authkit.Config) { c.Passwords.MinLength = 64 })
	_, err = other.CreateUser(ctx, authkit.User{Email: "ann@example.com"}, password)
	require.Error(t, err, "the rules of another Kit")
}
