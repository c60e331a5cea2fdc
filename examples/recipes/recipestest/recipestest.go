// Package recipestest helps the tests of the recipes to attack them.
package recipestest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/harden"
	"github.com/authkit-go/authkit/throttle"
	"github.com/stretchr/testify/require"
)

// Target describes a recipe to package contract. Its Kit has quick password
// hashes. Its throttle has no limits by address, because all attacks come from
// one address.
func Target(t *testing.T, routes func(*authkit.Kit, *throttle.Throttle) http.Handler, paths ...contract.Route) contract.Target {
	t.Helper()
	limits, err := throttle.New(throttle.Config{Secret: []byte(rand.Text() + rand.Text()), InsecureNoAddressLimits: true})
	require.NoError(t, err)
	secret := []byte(rand.Text() + rand.Text())
	var hashes atomic.Int64
	kit := authkittest.NewKit(t, func(c *authkit.Config) {
		c.Secret, c.Throttle = secret, limits
		c.Passwords.Hasher = countingHasher{c.Passwords.Hasher, &hashes}
	})
	wrap, err := harden.New(harden.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)

	system := authkit.WithSystem(t.Context(), "test")
	created := 0
	create := func(_ context.Context, password string, roles ...string) (contract.Account, error) {
		created++
		u, err := kit.CreateUser(system, authkit.User{Email: fmt.Sprintf("user-%d@example.com", created), Roles: roles}, password)
		return contract.Account{Name: u.Email, Password: password}, err
	}
	account := func(roles ...string) contract.Account {
		a, err := create(t.Context(), "the Passphrase of "+rand.Text(), roles...)
		require.NoError(t, err)
		return a
	}
	return contract.Target{
		Handler: wrap(routes(kit, limits)),
		User:    account(), Other: account(), Admin: account("admin"),
		Routes:  paths,
		Refresh: true, LogoutPath: "/logout", Secret: secret,
		Hashes: func() int { return int(hashes.Load()) },
		NewAccount: func(ctx context.Context, password string) (contract.Account, error) {
			return create(ctx, password)
		},
		Disable: func(_ context.Context, a contract.Account) error {
			u, err := kit.UserByEmail(system, a.Name)
			if err != nil {
				return err
			}
			return kit.DisableUser(system, u.ID)
		},
	}
}

// A countingHasher counts the comparisons of a hasher.
type countingHasher struct {
	authkit.Hasher
	count *atomic.Int64
}

func (h countingHasher) Verify(password string, hash authkit.PasswordHash) error {
	h.count.Add(1)
	return h.Hasher.Verify(password, hash)
}
