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

// pollInterval is the longest delay of a logout.
const pollInterval = time.Second

// newResourceService returns a service without a store. It fetches the keys and
// the revocations, and admits tokens with a role.
func newResourceService(ctx context.Context, authURL, name, role string) (http.Handler, error) {
	keys, err := jwks.NewRemote(jwks.RemoteConfig{
		URL:          authURL + "/.well-known/jwks.json",
		InsecureHTTP: true, // loopback; use https elsewhere
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
	// From here on, neither the start nor a request waits for the auth service.
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
