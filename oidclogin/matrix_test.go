package oidclogin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
)

// The results of a cell of the matrix.
const (
	creates  = "a new account"
	links    = "the account with the address, as it is"
	wipes    = "the account with the address, without its credentials"
	exists   = "log in and link"
	prove    = "prove a mailbox"
	refuses  = "refused"
	linksOwn = "the account that is logged in"
)

// matrix returns the result for an identity that is not known.
func matrix(verified any, local string, trust oidclogin.EmailTrust, loggedIn bool) string {
	switch {
	case loggedIn:
		return linksOwn // whatever the address is
	case verified != true, trust == oidclogin.EmailIgnored:
		return prove // which does not reveal whether an account exists
	case local == "none":
		return creates
	case trust == oidclogin.EmailVerified:
		return exists
	case local == "disabled":
		return refuses
	case local == "unverified":
		return wipes
	}
	return links
}

// OA-02, OA-03, OA-03a, OA-04, OA-05, OA-16: no cell gives another person an
// account.
func TestLinkingMatrix(t *testing.T) {
	t.Parallel()
	const address = "ann@example.com"
	for _, verified := range []any{true, false, "true", 1, nil, []bool{true}, "no address"} {
		for _, local := range []string{"none", "unverified", "verified", "disabled"} {
			for _, trust := range []oidclogin.EmailTrust{oidclogin.EmailIgnored, oidclogin.EmailVerified, oidclogin.EmailLinks} {
				for _, loggedIn := range []bool{false, true} {
					name := fmt.Sprintf("%v, %s, trust %d, logged in %v", verified, local, trust, loggedIn)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						h := newHostile(t)
						h.as("ann", strings.ToUpper(address), verified)
						if verified == "no address" {
							h.as("ann", nil, true)
						}
						h.userInfo = len(local)%2 == 0 // in the ID token, or elsewhere
						p := generic(h)
						p.Email = trust
						a := newApp(t, []oidclogin.Provider{p})
						var there authkit.User
						if local != "none" {
							there = a.add(address, local != "unverified")
						}
						if local == "disabled" {
							require.NoError(t, a.kit.DisableUser(t.Context(), there.ID))
						}
						me := a.add("me@example.com", true)
						testCell(t, a, there, me, loggedIn, matrix(verified, local, trust, loggedIn))
					})
				}
			}
		}
	}
}

func testCell(t *testing.T, a *app, there, me authkit.User, loggedIn bool, want string) {
	c := a.browser()
	before := a.accounts()
	squatter := a.browser()
	if there.ID != "" && !there.Disabled {
		if _, err := a.kit.Login(t.Context(), there.Email, localPassword); err == nil {
			squatter.password(there.Email)
		}
	}
	var response page
	if loggedIn {
		c.password(me.Email)
		response = c.link()
	} else {
		response = c.login()
	}
	owner, err := a.store.IdentityBySubject(t.Context(), a.issuer(), "ann")
	if want == refuses || want == prove || want == exists {
		require.ErrorIs(t, err, oidclogin.ErrNoIdentity)
		require.Empty(t, c.user())
		require.Equal(t, before, a.accounts())
		require.Equal(t, want == exists, strings.Contains(response.body, "You have an account already"), response.body)
		require.Equal(t, want == prove, strings.Contains(response.body, "Sign up first"), response.body)
		if want == refuses {
			require.Equal(t, http.StatusUnauthorized, response.StatusCode)
		}
		if there.ID != "" {
			now, err := a.kit.User(t.Context(), there.ID)
			require.NoError(t, err)
			require.Equal(t, there.EmailVerifiedAt, now.EmailVerifiedAt, "the address was verified by a login that failed")
		}
		return
	}
	require.NoError(t, err)
	u := c.requireUser(response)
	require.Equal(t, u.ID, owner.UserID)
	switch want {
	case linksOwn:
		require.Equal(t, me.ID, u.ID)
		require.Equal(t, "me@example.com", u.Email)
		require.Equal(t, before, a.accounts())
	case creates:
		require.Equal(t, before+1, a.accounts())
		require.Equal(t, "ann@example.com", u.Email)
		require.False(t, u.EmailVerifiedAt.IsZero())
		require.Equal(t, "Name of ann", u.FullName)
		require.Error(t, a.kit.VerifyPassword(t.Context(), u.ID, ""))
	case links:
		require.Equal(t, there.ID, u.ID)
		require.NoError(t, a.kit.VerifyPassword(t.Context(), u.ID, localPassword))
		require.Equal(t, there.ID, squatter.user(), "a proved account keeps its sessions")
	case wipes:
		require.Equal(t, there.ID, u.ID)
		require.False(t, u.EmailVerifiedAt.IsZero())
		require.Error(t, a.kit.VerifyPassword(t.Context(), u.ID, localPassword), "the squatter knows the password")
		require.Empty(t, squatter.user(), "the squatter has a session")
	}
}

// issuer returns the issuer of the only provider.
func (a *app) issuer() string { return a.first }
