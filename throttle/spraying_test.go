package throttle_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// TestSpraying sprays 100,000 guesses from 10,000 addresses over 1,000 accounts, at an even pace in
// virtual time, and counts what reaches a hash. Before that every user has logged in once, and in the
// middle and at the end of it each of them logs in at the first try: one half from the address of
// then, the other half with the browser of then from the very addresses of the attack.
func TestSpraying(t *testing.T) {
	t.Parallel()
	const attempts, addresses, accounts = 100_000, 10_000, 1_000
	for _, c := range []struct {
		span time.Duration
		most int // guesses at an account: five, and as many waits as have passed
	}{
		{time.Minute, 6},
		{time.Hour, 11},
		{24 * time.Hour, 35},
	} {
		t.Run(c.span.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				h := s.limits.Device(s.kit.TokenHandler())
				email := func(i int) string { return fmt.Sprintf("user%d@example.com", i%accounts) }
				home := func(i int) string { return fmt.Sprintf("192.168.%d.%d:1", i>>8, i&255) }
				browsers := make([]*http.Cookie, accounts)
				for i := range accounts {
					s.add(t, email(i))
					browsers[i] = device(t, h, home(i), email(i))
				}
				users := func() {
					for i := range accounts {
						if i%2 == 0 {
							device(t, h, home(i), email(i))
						} else {
							device(t, h, address(i)+":1", email(i), browsers[i])
						}
					}
				}
				honest := s.hasher.hashed()

				reached, byAccount := 0, make([]int, accounts)
				for i := range attempts {
					if i == attempts/2 {
						users()
					}
					err := s.login(t, email(i), address((i+i/accounts)%addresses), false)
					if errors.Is(err, authkit.ErrInvalidCredentials) {
						reached++
						byAccount[i%accounts]++
					} else {
						require.ErrorAs(t, err, new(*authkit.ThrottledError))
					}
					time.Sleep(c.span / attempts)
				}
				users()
				require.Equal(t, honest+2*accounts+reached, s.hasher.hashed(), "what was refused reached no hash")
				least, most := slices.Min(byAccount), slices.Max(byAccount)
				t.Logf("in %v: %d of %d guesses reached a hash, %.1f %%; of 100 at an account %d to %d; %d of %d users logged in at the first try, twice",
					c.span, reached, attempts, 100*float64(reached)/attempts, least, most, accounts, accounts)
				require.LessOrEqual(t, most, c.most)
				require.LessOrEqual(t, reached, accounts*c.most)
				require.GreaterOrEqual(t, least, 5, "the simulation guesses at every account")
			})
		})
	}
}

// TestSprayingFromOneAddress tries one password on every account, from one address.
func TestSprayingFromOneAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		const attempts, span = 10_000, time.Hour
		reached := 0
		for i := range attempts {
			if errors.Is(s.login(t, fmt.Sprintf("user%d@example.com", i), "2001:db8::1", false), authkit.ErrInvalidCredentials) {
				reached++
			}
			time.Sleep(span / attempts)
		}
		t.Logf("in %v: %d of %d guesses reached a hash, %.1f %%", span, reached, attempts, 100*float64(reached)/attempts)
		require.LessOrEqual(t, reached, 20+int(span/(3*time.Second)))
		require.Equal(t, reached, s.hasher.hashed())
	})
}
