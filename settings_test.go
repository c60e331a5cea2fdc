package authkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) {
		c.Tokens.Keys = []authkit.Key{
			{ID: "next", Algorithm: authkit.HS512, Secret: []byte(strings.Repeat("s3cr3t-", 12) + "AbCdEfGh")},
			{Algorithm: authkit.HS256, Secret: c.Secret},
		}
		c.Secret = nil
		c.Tokens.Issuer = "https://login.example.com"
		c.Users, c.Sessions.Store = store, store
		c.Sessions.Cookies = &authkit.SessionCookieConfig{LoginPath: "/login", TrustedOrigins: []string{"https://a.example.com", "https://b.example.com"}}
		c.Passwords.Hasher = nil
		c.Passwords.MinLength = 15
		c.Passwords.Normalize = func(password string) string { return password }
		c.Passwords.Check = func(context.Context, string, authkit.User) error { return nil }
		c.Roles = map[string][]string{"user": nil, "admin": {"users:write"}}
		c.Throttle = struct{ authkit.Throttle }{}
	})
	want := `Tokens.Keys=2
Tokens.Keys[0]=HS512 [redacted] "next", signs
Tokens.Keys[1]=HS256 [redacted], verifies
Tokens.Issuer=https://login.example.com
Tokens.Audience=
Tokens.AccessTokenProfile=false
Tokens.ClientID=
Tokens.Tenant=
Tokens.Lifetime=30m0s
Tokens.MaxLifetime=1h0m0s
Tokens.MaxBytes=8192
Tokens.Leeway=30s
Tokens.CacheSize=0
Users=*authkit.MemoryStore
Sessions.Store=*authkit.MemoryStore
Sessions.IdleTimeout=168h0m0s
Sessions.AbsoluteTimeout=720h0m0s
Sessions.ReuseGrace=10s
Sessions.KeepSuccessor=false
Sessions.MaxPerUser=50
Sessions.Cookies=true
Sessions.Cookies.IdleTimeout=2h0m0s
Sessions.Cookies.AbsoluteTimeout=12h0m0s
Sessions.Cookies.LoginPath=/login
Sessions.Cookies.TrustedOrigins=https://a.example.com https://b.example.com
Tickets=*authkit.MemoryStore
SecondFactors=
RequireFactors=none
TrustedDevices=off
Authenticators=
UserData=
Clients=off
Resource=
RequireVerifiedEmail=false
Throttle=struct { authkit.Throttle }
StoreTimeout=5s
Passwords.Hasher=bcrypt, cost 12; reads pbkdf2-sha256, argon2id
Passwords.MinLength=15
Passwords.Normalize=true
Passwords.Check=true
Passwords.MaxConcurrentHashes=` + fmt.Sprint(hashesByDefault()) + `
Roles=admin: users:write; user
AdminRole=admin
EmailSubject=false
ExtraClaims=false
OnEvent=1`
	settings := kit.Settings()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		require.Equal(t, want, fmt.Sprintf(verb, settings))
		require.Equal(t, want, fmt.Sprintf(verb, &settings))
	}
	require.Equal(t, "off", line(newKit(t).Settings(), "Sessions.Store"))
	require.Equal(t, "*authkit.MemoryStore", line(newKit(t).Settings(), "Users"))

	// In a log the settings are a group.
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("start", "settings", settings)
	var entry struct{ Settings map[string]any }
	require.NoError(t, json.Unmarshal(log.Bytes(), &entry))
	require.Len(t, entry.Settings, strings.Count(want, "\n")+1)
	require.Equal(t, "https://login.example.com", entry.Settings["Tokens.Issuer"])
}

// line returns the value of one line of settings.
func line(s authkit.Settings, name string) string {
	for l := range strings.Lines(s.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(l), name+"="); ok {
			return value
		}
	}
	return "missing"
}

// AU-03: settings hold no secret, in no field.
func TestSettingsHoldNoSecret(t *testing.T) {
	t.Parallel()
	key := authkit.Key{ID: "a", Algorithm: authkit.HS256, Secret: []byte(testSecret)}
	for name, change := range map[string]func(*authkit.Config){
		"Secret": func(*authkit.Config) {},
		"Keys":   func(c *authkit.Config) { c.Secret, c.Tokens.Keys = nil, []authkit.Key{key} },
		"Ring":   func(c *authkit.Config) { c.Secret, c.Tokens.Ring = nil, ringOf(t, key) },
	} {
		s := newKit(t, change).Settings()
		require.Empty(t, s.Secret, name)
		require.Empty(t, s.Tokens.Keys, name)
		require.Nil(t, s.Tokens.Ring, name)
		require.Len(t, s.Keys, 1, name)
		require.Equal(t, authkit.HS256, s.Keys[0].Algorithm)
		require.True(t, s.Keys[0].Signs)
		require.Greater(t, s.Keys[0].SecretBits, 80.0)
		require.NotContains(t, fmt.Sprintf("%+v %#v", s, s.Config), testSecret[:8])
	}
}

// The values are those in effect, and the caller's changes do not reach the Kit.
func TestSettingsValues(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) {
		c.Tokens.Leeway, c.Sessions.Store, c.Sessions.ReuseGrace = -1, authkit.NewMemoryStore(), -1
		c.Sessions.AbsoluteTimeout, c.Sessions.Cookies = time.Hour, &authkit.SessionCookieConfig{TrustedOrigins: []string{"https://a.example.com"}}
		c.Roles = map[string][]string{"admin": {"users:write"}}
	})
	s := kit.Settings()
	require.Zero(t, s.Tokens.Leeway)
	require.Zero(t, s.Sessions.ReuseGrace)
	require.Equal(t, time.Hour, s.Sessions.IdleTimeout)
	require.Equal(t, time.Hour, s.Sessions.Cookies.IdleTimeout)
	require.Equal(t, 8, s.Passwords.MinLength)
	require.Equal(t, "admin", s.AdminRole)
	due, err := s.Passwords.Hasher.NeedsRehash(s.SampleHash)
	require.NoError(t, err)
	require.False(t, due)

	s.Sessions.Cookies.IdleTimeout, s.Sessions.Cookies.TrustedOrigins[0] = 0, "changed"
	s.Roles["admin"][0], s.Roles["other"] = "changed", nil
	s.OnEvent[0] = nil
	again := kit.Settings()
	require.Equal(t, time.Hour, again.Sessions.Cookies.IdleTimeout)
	require.Equal(t, []string{"https://a.example.com"}, again.Sessions.Cookies.TrustedOrigins)
	require.Equal(t, map[string][]string{"admin": {"users:write"}}, again.Roles)
	require.NotNil(t, again.OnEvent[0])
}

// A caller cannot change the Kit through its settings.
func TestSettingsAreACopy(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) {
		c.Resource = &authkit.ResourceConfig{URL: "https://api.example.com", AuthorizationServers: []string{"https://login.example.com"}}
	})
	s := kit.Settings()
	s.Resource.URL = "https://other.example.com"
	require.Equal(t, "https://api.example.com", kit.Settings().Resource.URL)

	policy := authkit.FactorPolicy{Roles: []string{"admin"}}
	kit, _, _ = newSetupKit(t, func(c *authkit.Config) { c.RequireFactors = policy })
	policy.Roles[0] = "nobody"
	require.Equal(t, []string{"admin"}, kit.Settings().RequireFactors.Roles)
	kit.Settings().RequireFactors.Roles[0] = "nobody"
	require.Equal(t, []string{"admin"}, kit.Settings().RequireFactors.Roles)
}

// A table of roles is part of the text; without one every role is known.
func TestSettingsOfRoles(t *testing.T) {
	t.Parallel()
	require.Contains(t, newKit(t).Settings().String(), "Roles=any")
	require.NotContains(t, newKit(t, func(c *authkit.Config) { c.Roles = map[string][]string{"admin": nil} }).Settings().String(), "Roles=any")
}

// Stores that cannot be compared are two stores.
func TestStoresThatCannotBeCompared(t *testing.T) {
	t.Parallel()
	type odd struct {
		*authkit.MemoryStore
		_ []string
	}
	s := odd{MemoryStore: authkit.NewMemoryStore()}
	kit := newKit(t, func(c *authkit.Config) { c.Users, c.Sessions.Store = s, s })
	u := addUser(t, kit, email, password)
	require.NoError(t, kit.DeleteUser(t.Context(), u.ID))
}

func TestRevocationEmail(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a@example.com", authkit.Revocation{UserID: "\x01a@example.com"}.Email())
	require.Empty(t, authkit.Revocation{UserID: "a@example.com"}.Email())
}

// A MemoryStore has no timeout: its calls wait only for a transaction of the program.
func TestMemoryStoreHasNoTimeout(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit, _, user := newSessionKit(t, func(c *authkit.Config) {
		c.Users, c.Sessions.Store, c.Tickets, c.StoreTimeout = store, store, store, time.Millisecond
	})
	session := sessionID(t, begin(t, kit))
	begun, done := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(begun)
		done <- kit.InTx(context.Background(), func(ctx context.Context) error {
			_, err := kit.AddRole(ctx, user.ID, "first")
			begun <- struct{}{}
			time.Sleep(50 * time.Millisecond)
			return err
		})
	}()
	<-begun
	for name, call := range map[string]func() error{
		"accounts": func() error { _, err := kit.AddRole(t.Context(), user.ID, "second"); return err },
		"sessions": func() error { return kit.Logout(t.Context(), user.ID, session) },
		"tickets":  func() error { return kit.Tickets().DeleteTickets(t.Context(), user.ID) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // all of them wait
			require.NoError(t, call())
		})
	}
	t.Cleanup(func() { require.NoError(t, <-done) })
}
