// Package authkit provides authentication and authorization for services:
// logins, JWT access tokens, sessions, roles, and middleware that is hard to
// misuse. It is plain net/http: it works with every router that accepts an
// http.Handler, and contains none.
//
// Most programs make a [Kit], and mount its token endpoint and their own routes
// on its [Mux], which accepts no route without a [Policy]:
//
//	kit, err := authkit.New(authkit.Config{Secret: []byte(os.Getenv("SECRET_KEY"))})
//	if err != nil {
//		log.Fatal(err) // every problem of the configuration, each with its fix
//	}
//	mux := kit.NewMux()
//	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
//	mux.HandleFunc("GET /hello", authkit.Authenticated(), hello)
//	mux.HandleFunc("DELETE /everything", authkit.Roles("admin"), deleteEverything)
//
// With another router, use the same guard as middleware: [Kit.Authenticate],
// [Kit.RequireRoles], [Kit.RequireAnyRole] and [Kit.Require].
//
// # Accounts
//
// A [UserStore] stores the accounts: by default in memory, in a database with
// package sqlstore, or in a table of your own; see [Config].Users. Programs
// create and change accounts with methods of the Kit, such as [Kit.CreateUser],
// [Kit.AddRole] and [Kit.ChangePassword]. [Kit.ImportUsers] imports accounts of
// another system with their password hashes.
//
// The methods do not replace the policy of a route. A method returns
// ErrForbidden if the principal of the context
//   - grants roles that it does not have itself,
//   - sets the password or e-mail of an account that has such roles,
//   - or was authenticated by another Kit or Guard.
//
// A Kit does not check that users change only their own account. Pass the ID of
// the principal, not one from the request.
//
// # Logins
//
// Every login takes the same path. [Kit.Login] checks a password.
// [Kit.LoginWith] logs in a user that your function has authenticated, with a
// code in an e-mail or another provider. Both consult [Config].Throttle, check
// that the account may log in, require the [Config].SecondFactors, begin the
// session, and emit an [Event].
//
// Passwords are hashed with bcrypt. Hashes of PBKDF2-SHA256 (passlib, Django)
// and Argon2id are verified too, and replaced when their users log in; see
// [Schemes]. At most [PasswordConfig].MaxConcurrentHashes run at the same time,
// so that many logins do not slow down the rest of the service. A failed login
// takes the same time and returns the same error whether or not the account
// exists. Accounts that were imported with another scheme are the exception
// until their first login.
//
// # Requests
//
// A guard authenticates a request by exactly one credential: an access token, a
// session cookie, or one of an [Authenticator], such as an API key. It loads
// the account, and applies the policy of the route. Handlers get the result
// from [PrincipalFrom] and [UserFrom].
//
// An access token is a JWT, signed with a key that is bound to one algorithm.
// No part of it is parsed before its signature is verified.
//
// # Sessions
//
// If [Config].Sessions is set, a login also returns a refresh token and begins
// a session, which the user can list and end. [Kit.Refresh] exchanges a refresh
// token for the next one. When a session ends, its access tokens are refused
// from the next request on. [Kit.SetPassword], [Kit.DisableUser] and
// [Kit.LogoutEverywhere] end all sessions of an account.
//
// Browsers have two options, with different cookies. Pages that are rendered on
// the server use a session cookie, which guards accept; see
// [SessionCookieConfig]. Single-page apps keep the refresh token in a cookie,
// which guards do not read; see [Kit.RefreshCookieHandler].
//
// # Several services
//
// A service that only verifies tokens needs no Kit and no store. [NewGuard]
// returns its middleware, package jwks fetches its keys, and package revocation
// informs it of logouts.
//
// # Events
//
// Every security event goes to the functions in [Config].OnEvent and to
// [Config].Logger.
//
// # Compatibility
//
// Before version 1.0 the API may change between minor versions; the changelog
// lists every change. Stored hashes and valid tokens stay readable.
package authkit
