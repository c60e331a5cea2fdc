package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/jwks"
	"github.com/authkit-go/authkit/revocation"
)

// pollInterval is how long a logout takes to get here.
const pollInterval = time.Second

// newResourceService returns a service that has no store: it knows where the keys and the
// revocations are, and lets in tokens with a role.
func newResourceService(ctx context.Context, authURL, name, role string) (http.Handler, error) {
	keys, err := jwks.NewRemote(jwks.RemoteConfig{
		URL:          authURL + "/.well-known/jwks.json",
		InsecureHTTP: true, // loopback; a real one is https
	})
	if err != nil {
		return nil, err
	}
	follower, err := revocation.NewFollower(revocation.Config{
		URL:          authURL + "/revocations",
		Ring:         keys,
		Interval:     pollInterval,
		OnError:      func(error) {}, // the walk-through stops the auth service on purpose
		InsecureHTTP: true,
	})
	if err != nil {
		return nil, err
	}
	guard, err := authkit.NewGuard(authkit.GuardConfig{
		Tokens: authkit.TokenConfig{
			Ring: keys, Issuer: issuer, Audience: audience, AccessTokenProfile: true,
		},
		Revoked: follower.Revoked,
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	// From here on nothing waits for the auth service: not the start, and no request.
	if err := follower.Poll(ctx); err != nil {
		return nil, err
	}
	go func() { _ = keys.Run(ctx) }()
	go func() { _ = follower.Run(ctx) }()

	mux := guard.NewMux()
	mux.HandleFunc("GET /"+name, authkit.Roles(role), func(w http.ResponseWriter, r *http.Request) {
		principal, _ := authkit.PrincipalFrom(r.Context())
		_, _ = fmt.Fprintf(w, "%s of %s\n", name, principal.UserID)
	})
	return mux, nil
}
