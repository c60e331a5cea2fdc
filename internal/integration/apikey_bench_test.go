package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
)

// apart hides that a store of sessions is that of the accounts, so that a
// guarded request looks both up, one after the other.
type apart struct{ authkit.SessionStore }

// BenchmarkAPIKey is a guarded request with an API key (a), next to one with an
// access token (b). With "same look-ups" both make two: the key or the session,
// and the account. The ratio is meant to be at most 1.3 there. With "one query"
// the session and its account are one look-up, as by default.
func BenchmarkAPIKey(b *testing.B) {
	type stores interface {
		authkit.UserStore
		authkit.SessionStore
	}
	open := map[string]func(b *testing.B) (stores, apikey.Store){
		"memory": func(*testing.B) (stores, apikey.Store) { return authkit.NewMemoryStore(), apikey.NewMemoryStore() },
		"Postgres": func(b *testing.B) (stores, apikey.Store) {
			s := newStore(b, databases[1])
			return s, apikeysql.New(s)
		},
	}
	for _, name := range []string{"memory", "Postgres"} {
		for _, lookUps := range []string{"same look-ups", "one query"} {
			b.Run(name+"/"+lookUps, func(b *testing.B) {
				users, keyStore := open[name](b)
				sessions := authkit.SessionStore(users)
				if lookUps == "same look-ups" {
					sessions = apart{users}
				}
				auth, err := apikey.NewAuthenticator(apikey.Config{Store: keyStore})
				require.NoError(b, err)
				kit := newKit(b, users, sessions, func(c *authkit.Config) {
					c.Authenticators, c.UserData = []authkit.Authenticator{auth}, []authkit.UserData{auth}
					c.Roles = map[string][]string{"user": {"notes:read"}}
				})
				keys, err := apikey.New(kit, auth)
				require.NoError(b, err)
				u, err := kit.CreateUser(b.Context(), ann, password)
				require.NoError(b, err)
				token, err := kit.Login(b.Context(), ann.Email, password)
				require.NoError(b, err)
				key, err := keys.Create(b.Context(), apikey.OfUser(u.ID), apikey.Options{Scopes: []string{"notes:read"}})
				require.NoError(b, err)
				guarded := kit.Require(authkit.Permissions("notes:read").OrMachines())(done)
				compare(b, ask(b, guarded, "Authorization", "Bearer "+key.Text), ask(b, guarded, "Authorization", "Bearer "+token.AccessToken))
			})
		}
	}
}
