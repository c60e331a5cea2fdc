// Package oidclogin logs users in with other providers: Google, GitHub, Apple,
// Microsoft, and every provider of OpenID Connect.
//
//	store := oidcloginsql.New(db) // or oidclogin.NewMemoryStore()
//	kit, err := authkit.New(authkit.Config{
//		Users:    db,
//		Sessions: authkit.SessionConfig{Store: db, Cookies: &authkit.SessionCookieConfig{LoginPath: "/login"}},
//		UserData: []authkit.UserData{oidclogin.UserData(store)},
//		...
//	})
//	...
//	logins, err := oidclogin.New(kit, oidclogin.Config{
//		BaseURL:   "https://example.com/oidc",
//		Store:     store,
//		Providers: []oidclogin.Provider{oidclogin.Google(id, secret)},
//	})
//	...
//	logins.Mount(mux)
//
// The login page has a link to /oidc/google. Register the redirect URI
// https://example.com/oidc/google/callback at the provider.
//
// # Identities
//
// An identity is the issuer and the subject of the provider. Nothing else
// identifies a user: an e-mail address or a name can be given to another person.
//
// # The first login
//
// The first login of an identity creates an account without a password, if the
// provider reports a verified address and [Provider].Email accepts it.
// Otherwise the user proves a mailbox with a code. That needs [Config].Mailer.
//
// If an account has the address already, the user logs in as before, and links
// the identity in the settings. Linking by the address alone is off. See
// [EmailLinks].
//
// # The protection of a login
//
// Every login is the code flow with PKCE (S256), state and nonce. The state is a
// ticket of [authkit.Kit.Tickets] that is used once. It belongs to one browser,
// by a cookie that begins with __Host-, and to one provider. The parameter iss
// of RFC 9207 is checked. A login goes through [authkit.Kit.LoginWith]: second
// factors are required, and locked and disabled accounts are refused.
//
// A session has the method "fed" (in the claim amr). Its auth_time is that of
// the ID token. If the provider sends none, it is the time of the login. The
// user may have authenticated at such a provider long before, so
// [authkit.Policy.Fresh] then requires a recent login here and nothing more.
// GitHub sends none.
//
// A link to /oidc/google?max_age=300 requests that the provider authenticates
// the user again. The login is refused if the ID token has no auth_time, or one
// that is too old.
package oidclogin
