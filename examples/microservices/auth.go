package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/jwks"
	"github.com/authkit-go/authkit/revocation"
	"github.com/authkit-go/authkit/throttle"
)

const (
	issuer   = "https://auth.example.com"
	audience = "https://api.example.com"
	password = "correct horse battery"

	// feedAction is the action of the list of revocations, which anyone may fetch. Followers
	// ask every few seconds.
	feedAction = "revocations"
)

// authService logs users in. It is the only one with a store and a private key.
type authService struct {
	kit    *authkit.Kit
	limits *throttle.Throttle
	ring   *authkit.KeyRing
	now    authkit.Key // signs now
	next   authkit.Key // signs later; published now, so that the other services have it by then
}

func newAuthService(ctx context.Context) (*authService, error) {
	s := new(authService)
	var err error
	for _, key := range []*authkit.Key{&s.now, &s.next} {
		if *key, err = jwks.GenerateKey(authkit.ES256); err != nil {
			return nil, err
		}
	}
	if s.ring, err = authkit.NewKeyRing(s.now, s.next); err != nil {
		return nil, err
	}
	s.limits, err = throttle.New(throttle.Config{
		Limits: map[string]throttle.Limit{feedAction: {Burst: 60, Every: time.Second}},
	})
	if err != nil {
		return nil, err
	}
	store := authkit.NewMemoryStore()
	s.kit, err = authkit.New(authkit.Config{
		Users:    store,
		Sessions: authkit.SessionConfig{Store: store},
		Tokens: authkit.TokenConfig{
			Ring:               s.ring,
			Issuer:             issuer,
			Audience:           audience,
			Lifetime:           15 * time.Minute,
			AccessTokenProfile: true, // RFC 9068: typ is at+jwt
			ClientID:           "walk-through",
		},
		Throttle: s.limits,
		Logger:   slog.New(slog.DiscardHandler), // the walk-through prints the events
	})
	if err != nil {
		return nil, err
	}
	user := authkit.User{Email: "user@example.com", Roles: []string{"user"}}
	if _, err := s.kit.CreateUser(ctx, user, password); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *authService) handler() http.Handler {
	mux := s.kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), s.kit.TokenHandler())
	mux.Handle("POST /logout", authkit.Authenticated(), s.kit.LogoutHandler())
	mux.Handle("GET /.well-known/jwks.json", authkit.Public(), jwks.Handler(s.ring))
	mux.Handle("GET /revocations", authkit.Public(), s.limits.Limit(feedAction)(revocation.Handler(s.kit)))
	return mux
}

// rotate lets the next key sign. The old key still verifies its tokens.
func (s *authService) rotate() error { return s.ring.Replace(s.next, s.now) }
