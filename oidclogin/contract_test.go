package oidclogin_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/oidclogin"
)

// Logins withstand the attacks of package contract, whether or not an address
// links accounts: OA-01, OA-02, OA-03, OA-04, OA-05, OA-06, OA-07, OA-08, OA-12,
// OA-14, OA-15.
func TestContract(t *testing.T) {
	for name, trust := range map[string]oidclogin.EmailTrust{"Verified": oidclogin.EmailVerified, "Links": oidclogin.EmailLinks} {
		t.Run(name, func(t *testing.T) {
			provider, err := contract.NewProvider()
			require.NoError(t, err)
			t.Cleanup(provider.Close)
			second := &factor{}
			a := newApp(t, []oidclogin.Provider{{Name: "idp", Issuer: provider.Issuer, ClientID: provider.ClientID, ClientSecret: provider.ClientSecret, Email: trust}},
				func(c *authkit.Config, _ *oidclogin.Config) { c.SecondFactors = []authkit.SecondFactor{second} })
			mux := a.kit.NewMux()
			a.Mount(mux)
			mux.Handle("POST /token", authkit.Public(), a.kit.TokenHandler())
			mux.HandleFunc("GET /me", authkit.Authenticated(), func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Content-Type-Options", "nosniff")
				u, _ := authkit.UserFrom(r.Context())
				_, _ = io.WriteString(w, u.Email)
			})
			created := 0
			create := func(ctx context.Context, password string) (authkit.User, error) {
				created++
				return a.kit.CreateUser(ctx, authkit.User{Email: fmt.Sprintf("new-%d@example.com", created)}, password)
			}
			userOf := func(ctx context.Context, account contract.Account) (string, error) {
				u, err := a.kit.UserByEmail(ctx, account.Name)
				return u.ID, err
			}
			a.add("user@example.com", true)
			contract.Run(t, contract.Target{
				Handler:  mux,
				User:     contract.Account{Name: "user@example.com", Password: localPassword},
				Routes:   []contract.Route{{Method: "GET", Path: "/me", Access: contract.LoggedIn}},
				Provider: provider, SocialPath: "/oidc/idp", LinkPath: "/oidc/idp/link",
				NewUnverified: func(ctx context.Context, password string) (contract.Account, error) {
					u, err := create(ctx, password)
					return contract.Account{Name: u.Email, Password: password}, err
				},
				Disable: func(ctx context.Context, account contract.Account) error {
					id, err := userOf(ctx, account)
					if err != nil {
						return err
					}
					return a.kit.DisableUser(authkit.WithSystem(ctx, "test"), id)
				},
				Enroll: func(ctx context.Context, account contract.Account) ([]string, error) {
					id, err := userOf(ctx, account)
					second.enrol(id)
					return []string{"right", "right", "right", "right"}, err
				},
			})
		})
	}
}
