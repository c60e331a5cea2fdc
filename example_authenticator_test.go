package authkit_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// apiKeys authenticates requests by the header X-API-Key. It keeps a hash of
// each key, so that a copy of the table contains no key.
type apiKeys map[[sha256.Size]byte]authkit.Credential

func (k apiKeys) Authenticate(r *http.Request) (authkit.Credential, error) {
	key := r.Header.Get("X-API-Key")
	if key == "" {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	c, ok := k[sha256.Sum256([]byte(key))]
	if !ok {
		return authkit.Credential{}, authkit.ErrInvalidToken
	}
	return c, nil
}

func (apiKeys) Challenge() string { return "ApiKey" }

// API keys of users. A key has only the permissions that it is limited to, and
// only routes with OrMachines admit it.
func ExampleAuthenticator() {
	t, keys := authkittest.Example{}, apiKeys{}
	kit := authkittest.NewKit(t, func(c *authkit.Config) {
		c.Authenticators = []authkit.Authenticator{keys}
		c.Roles = map[string][]string{"admin": nil, "auditor": {"reports:read", "reports:write"}}
	})
	mux := kit.NewMux()
	mux.HandleFunc("GET /reports", authkit.Permissions("reports:read").OrMachines(), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		fmt.Fprint(w, p.Kind, " ", p.Email, " ", p.TokenID)
	})
	mux.HandleFunc("PUT /reports", authkit.Permissions("reports:write").OrMachines(), func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("DELETE /account", authkit.Authenticated(), func(http.ResponseWriter, *http.Request) {})

	ann, key := authkittest.User(t, kit, "auditor"), rand.Text()
	keys[sha256.Sum256([]byte(key))] = authkit.Credential{
		Kind: "api_key", ID: "key 1", UserID: ann.ID, Machine: true, IssuedAt: time.Now(),
		Limited: true, Permissions: []string{"reports:read"},
	}
	send := func(method, path, key string) {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("X-API-Key", key)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(method, path, w.Code)
		if w.Code == http.StatusOK {
			fmt.Println(w.Body)
		}
	}
	send("GET", "/reports", key)
	send("GET", "/reports", "guessed")
	send("PUT", "/reports", key)
	send("DELETE", "/account", key)
	// Output:
	// GET /reports 200
	// machine auditor1@example.com key 1
	// GET /reports 401
	// PUT /reports 403
	// DELETE /account 403
}
