package authkit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// Every method that takes a password normalizes it, once, before all other rules.
func TestNormalizePassword(t *testing.T) {
	t.Parallel()
	const (
		typed      = "cafe\u0301 au lait"   // e and an accent, as some devices send it
		normal     = "caf\u00e9 au lait"    // one letter
		nextTyped  = "e\u0301te\u0301 1994" // 11 code points
		nextNormal = "\u00e9t\u00e9 1994"   // 8
	)
	ctx := context.Background()
	login := func(t *testing.T, kit *authkit.Kit, password string) {
		t.Helper()
		_, err := kit.Login(ctx, email, password)
		require.NoError(t, err)
	}
	for name, use := range map[string]func(t *testing.T, kit *authkit.Kit, id string) (calls int){
		"Login": func(t *testing.T, kit *authkit.Kit, _ string) int { login(t, kit, typed); return 1 },
		"VerifyPassword": func(t *testing.T, kit *authkit.Kit, id string) int {
			require.NoError(t, kit.VerifyPassword(ctx, id, typed))
			return 1
		},
		"ChangePassword": func(t *testing.T, kit *authkit.Kit, id string) int {
			require.NoError(t, kit.ChangePassword(ctx, id, typed, nextTyped))
			login(t, kit, nextNormal)
			return 3
		},
		"SetPassword": func(t *testing.T, kit *authkit.Kit, id string) int {
			require.NoError(t, kit.SetPassword(ctx, id, nextTyped))
			login(t, kit, nextNormal)
			return 2
		},
		"HashPassword": func(t *testing.T, kit *authkit.Kit, _ string) int {
			hash, err := kit.HashPassword(ctx, nextTyped)
			require.NoError(t, err)
			require.NoError(t, quickBcrypt.Verify(nextNormal, hash))
			return 1
		},
		"CreateUser": func(t *testing.T, kit *authkit.Kit, _ string) int {
			_, err := kit.CreateUser(ctx, authkit.User{Email: "other@example.com"}, nextTyped)
			require.NoError(t, err)
			_, err = kit.Login(ctx, "other@example.com", nextNormal)
			require.NoError(t, err)
			return 2
		},
		"CheckUser": func(t *testing.T, kit *authkit.Kit, _ string) int {
			require.NoError(t, kit.CheckUser(ctx, authkit.User{Email: "other@example.com"}, nextTyped))
			require.Error(t, kit.CheckUser(ctx, authkit.User{Email: "other@example.com"}, "e\u0301te\u0301 199"), "seven code points")
			return 2
		},
		"TokenHandler": func(t *testing.T, kit *authkit.Kit, _ string) int {
			r := httptest.NewRequest("POST", "/token", strings.NewReader(url.Values{"username": {email}, "password": {typed}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			kit.TokenHandler().ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			return 1
		},
		"not what is refused": func(t *testing.T, kit *authkit.Kit, _ string) int {
			for _, password := range []string{strings.Repeat("e\u0301", 400), "a\x00b", "a\xffb"} {
				_, err := kit.Login(ctx, email, password)
				require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
				_, err = kit.HashPassword(ctx, password)
				require.Error(t, err)
			}
			return 0
		},
		"not an import": func(t *testing.T, kit *authkit.Kit, _ string) int {
			hash, err := quickBcrypt.Hash(typed)
			require.NoError(t, err)
			require.NoError(t, kit.ImportUsers(ctx, []authkit.StoredUser{{User: authkit.User{Email: "other@example.com"}, PasswordHash: hash}}))
			return 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			kit := newKit(t, func(c *authkit.Config) {
				c.Passwords.Normalize = func(password string) string {
					calls++
					return strings.ReplaceAll(password, "e\u0301", "\u00e9")
				}
				c.Passwords.Check = func(_ context.Context, password string, _ authkit.User) error {
					require.NotContains(t, password, "e\u0301")
					return nil
				}
			})
			u := addUser(t, kit, email, normal)
			calls = 0
			require.Equal(t, use(t, kit, u.ID), calls)
		})
	}

	// By default, passwords are compared as they are.
	kit := newKit(t)
	addUser(t, kit, email, normal)
	_, err := kit.Login(ctx, email, typed)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
}
