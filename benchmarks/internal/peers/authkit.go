package peers

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/authkit-go/authkit"
)

func tokenConfig(alg string, keys Keys) authkit.TokenConfig {
	key := authkit.Key{Algorithm: authkit.Algorithm(alg)}
	switch alg {
	case HS256:
		key.Secret = keys.Secret
	case ES256:
		key.Private = keys.ECDSA
	case EdDSA:
		key.Private = keys.Ed25519
	case RS256:
		key.Private = keys.RSA
	}
	return authkit.TokenConfig{Keys: []authkit.Key{key}}
}

func authkitCodecs(alg string, keys Keys) ([]Codec, error) {
	cfg := tokenConfig(alg, keys)
	issuer, err := authkit.NewTokenIssuer(cfg)
	if err != nil {
		return nil, err
	}
	verifier, err := authkit.NewTokenVerifier(cfg)
	if err != nil {
		return nil, err
	}
	codecs := []Codec{{
		Name: "authkit",
		Kind: Ours,
		SignString: func(c Claims) (string, error) {
			return issuer.Issue(authkit.Claims{
				Subject: c.Subject, UserID: c.UserID, Roles: c.Roles, ID: c.ID,
				IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt,
			})
		},
		VerifyString: authkitVerify(verifier),
	}}
	if alg == HS256 {
		return codecs, nil // the cache is for asymmetric keys only
	}
	cfg.CacheSize = 1024
	cached, err := authkit.NewTokenVerifier(cfg)
	if err != nil {
		return nil, err
	}
	return append(codecs, Codec{
		Name: "authkit, CacheSize 1024", Kind: Ours, Note: "the token was verified once before",
		VerifyString: authkitVerify(cached),
	}), nil
}

func authkitVerify(v *authkit.TokenVerifier) func(string) (Identity, error) {
	return func(token string) (Identity, error) {
		c, err := v.Verify(token)
		if err != nil {
			return Identity{}, err
		}
		return Identity{Subject: c.Subject, Roles: c.Roles}, nil
	}
}

// NewKit returns a Kit with the secret of keys, whose memory store holds the
// subjects of the tokens. Events are dropped, since no peer logs a refusal.
func NewKit(keys Keys) (*authkit.Kit, error) {
	store := authkit.NewMemoryStore()
	born := time.Now().Add(-24 * time.Hour)
	for _, u := range []authkit.User{
		{ID: Subject, Email: "ada@example.com", FullName: "Ada", Roles: []string{Role, "user"}},
		{ID: Stranger, Email: "bob@example.com", FullName: "Bob", Roles: []string{"user"}},
	} {
		u.CreatedAt, u.UpdatedAt = born, born
		if err := store.CreateUser(context.Background(), authkit.StoredUser{User: u}); err != nil {
			return nil, err
		}
	}
	return authkit.New(authkit.Config{
		Secret: keys.Secret, Users: store, Logger: slog.New(slog.DiscardHandler),
	})
}

func authkitGuards(keys Keys) ([]Guard, error) {
	verifier, err := authkit.NewTokenVerifier(tokenConfig(HS256, keys))
	if err != nil {
		return nil, err
	}
	kits, err := kitGuards(keys)
	if err != nil {
		return nil, err
	}
	return append([]Guard{{
		Name: "authkit TokenVerifier", Slug: "authkit-verifier", Kind: Ours, Note: "in a guard by hand, as the libraries without one",
		Handler: handGuard(authkitVerify(verifier), requireRole(Role, http.HandlerFunc(answerIdentity))),
	}}, kits...), nil
}

// kitGuards returns the guards of a Kit, which look the user up.
func kitGuards(keys Keys) ([]Guard, error) {
	kit, err := NewKit(keys)
	if err != nil {
		return nil, err
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		io.WriteString(w, p.UserID)
	})
	mux := kit.NewMux()
	mux.Handle("GET /hello", authkit.Roles(Role), answer)
	return []Guard{
		{
			Name: "authkit Kit", Slug: "authkit", Kind: Ours, Note: "looks the user up in the memory store",
			Handler: kit.RequireRoles(Role)(answer),
		},
		{
			Name: "authkit Mux", Slug: "authkit-mux", Kind: Ours, Note: "the same with the kit's router in front",
			Handler: mux,
		},
	}, nil
}
