package authkit_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// One service logs users in and holds the private key; the others verify its tokens with the public
// one. They need no Kit, no store and no secret.
func ExampleTokenVerifier() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{
		Keys:   []authkit.Key{{ID: "2026-01", Algorithm: authkit.EdDSA, Private: private}},
		Issuer: "https://login.example.com", Audience: "orders",
		Lifetime: 15 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	token, err := issuer.Issue(authkit.Claims{Subject: "01985f6e", Roles: []string{"buyer"}})
	if err != nil {
		log.Fatal(err)
	}

	verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{
		Keys:   []authkit.Key{{ID: "2026-01", Algorithm: authkit.EdDSA, Public: public}},
		Issuer: "https://login.example.com", Audience: "orders",
		CacheSize: 10_000,
	})
	if err != nil {
		log.Fatal(err)
	}
	claims, err := verifier.Verify(token)
	fmt.Println(claims.Subject, claims.Roles, err)

	// A token with one letter more is refused.
	claims, err = verifier.Verify(token + "A")
	fmt.Printf("%q %v\n", claims.Subject, errors.Is(err, authkit.ErrInvalidToken))
	// Output:
	// 01985f6e [buyer] <nil>
	// "" true
}

// The new key is the first one, so it signs from now on. The old key stays
// until its last token has expired.
func ExampleTokenConfig_rotation() {
	// Each is 32 random bytes or more, such as from: openssl rand -hex 32
	old := authkit.Key{ID: "2026-01", Algorithm: authkit.HS256, Secret: []byte("5fd1c0a3729be84610d3f7c2ab95e86d")}
	fresh := authkit.Key{ID: "2026-02", Algorithm: authkit.HS256, Secret: []byte("b04e7a9152cd386fe1f60b8d2a73c594")}

	must := func(keys ...authkit.Key) (*authkit.TokenIssuer, *authkit.TokenVerifier) {
		issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: keys})
		if err != nil {
			log.Fatal(err)
		}
		verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: keys})
		if err != nil {
			log.Fatal(err)
		}
		return issuer, verifier
	}
	issuer, _ := must(old)
	token, err := issuer.Issue(authkit.Claims{Subject: "ada"})
	if err != nil {
		log.Fatal(err)
	}

	_, during := must(fresh, old)
	_, err = during.Verify(token)
	fmt.Println("while keys rotate:", err)

	_, after := must(fresh)
	_, err = after.Verify(token)
	fmt.Println("half an hour later, with the old key gone:", errors.Is(err, authkit.ErrInvalidToken))
	// Output:
	// while keys rotate: <nil>
	// half an hour later, with the old key gone: true
}

// A running service rotates its keys in three calls. See Replace for how long
// to wait between them.
func ExampleKeyRing_Replace() {
	old := authkit.Key{ID: "2026-01", Algorithm: authkit.HS256, Secret: []byte("5fd1c0a3729be84610d3f7c2ab95e86d")}
	next := authkit.Key{ID: "2026-02", Algorithm: authkit.HS256, Secret: []byte("b04e7a9152cd386fe1f60b8d2a73c594")}
	ring, err := authkit.NewKeyRing(old)
	if err != nil {
		log.Fatal(err)
	}
	issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Ring: ring})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Ring: ring})
	if err != nil {
		log.Fatal(err)
	}
	token, err := issuer.Issue(authkit.Claims{Subject: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	for _, step := range []struct {
		name string
		keys []authkit.Key
	}{
		{"publish", []authkit.Key{old, next}},
		{"activate", []authkit.Key{next, old}},
		{"retire", []authkit.Key{next}},
	} {
		if err := ring.Replace(step.keys...); err != nil {
			log.Fatal(err)
		}
		_, err := verifier.Verify(token)
		fmt.Println(step.name+":", err)
	}
	// Output:
	// publish: <nil>
	// activate: <nil>
	// retire: authkit: invalid token
}

// Pass the claims of your program as a struct or a map, and decode them from a
// verified token.
func ExampleClaims_Decode() {
	type team struct {
		Team string `json:"team"`
		Plan string `json:"plan"`
	}
	cfg := authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte("5fd1c0a3729be84610d3f7c2ab95e86d")}}}
	issuer, err := authkit.NewTokenIssuer(cfg)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := authkit.NewTokenVerifier(cfg)
	if err != nil {
		log.Fatal(err)
	}
	token, err := issuer.Issue(authkit.Claims{Subject: "ada", Extra: team{Team: "acme", Plan: "pro"}})
	if err != nil {
		log.Fatal(err)
	}
	claims, err := verifier.Verify(token)
	if err != nil {
		log.Fatal(err)
	}
	var t team
	if err := claims.Decode(&t); err != nil {
		log.Fatal(err)
	}
	fmt.Println(claims.Subject, t.Team, t.Plan)
	// Output: ada acme pro
}

// All problems of a configuration are reported at once. Here a secret is too
// short, a public key is set where HMAC needs a secret, and a token lives for a
// day.
func ExampleNewTokenIssuer_mistakes() {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	_, err = authkit.NewTokenIssuer(authkit.TokenConfig{
		Keys: []authkit.Key{
			{Algorithm: authkit.HS256, Secret: []byte("secret")},
			{ID: "partner", Algorithm: authkit.HS256, Public: public},
		},
		Lifetime: 24 * time.Hour,
	})
	fmt.Println(err)
	// Output:
	// authkit: TokenConfig.Keys[0]: the secret has 6 bytes and needs at least 32; make one with: openssl rand -hex 32
	// authkit: TokenConfig.Keys[1]: HS256 takes a Secret, not Private or Public
	// authkit: TokenConfig.Lifetime: 24h0m0s; use whole seconds up to 1h0m0s, or 0 for 30m0s
}

// A service that verifies the tokens of another one. It needs only the public
// key: no Kit, no store and no secret. Package jwks fetches keys by HTTP.
func ExampleNewGuard() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	tokens := authkit.TokenConfig{Issuer: "https://login.example.com", Audience: "orders"}

	// The service that logs in users.
	t := authkittest.Example{}
	kit := authkittest.NewKit(t, func(c *authkit.Config) {
		c.Secret, c.Tokens = nil, tokens
		c.Tokens.Keys = []authkit.Key{{ID: "2026-01", Algorithm: authkit.EdDSA, Private: private}}
	})

	// The service that verifies.
	tokens.Keys = []authkit.Key{{ID: "2026-01", Algorithm: authkit.EdDSA, Public: public}}
	guard, err := authkit.NewGuard(authkit.GuardConfig{Tokens: tokens, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	mux := guard.NewMux()
	mux.HandleFunc("GET /orders", authkit.Roles("buyer"), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		fmt.Fprint(w, p.Roles)
	})
	for _, role := range []string{"buyer", "seller"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, authkittest.Request(t, kit, authkittest.User(t, kit, role), "GET", "/orders", nil))
		fmt.Println(role, w.Code)
	}
	// Output:
	// buyer 200
	// seller 403
}
