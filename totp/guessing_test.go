package totp_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/throttle"
)

// guessed returns the probability that one of a number of guesses at a code is
// right. Three of a million are accepted at a time.
func guessed(guesses int) float64 { return 1 - math.Pow(1-3e-6, float64(guesses)) }

// MF-03: an attacker who knows the password guesses for a year, at the rate that
// the throttle admits. Each guess that is compared counts.
func TestYearOfGuessing(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for name, c := range map[string]struct{ throttled, victim bool }{
		"throttle": {true, false},
		"throttle, and the user logs in every day": {true, true},
		"no throttle": {false, false},
		"no throttle, and the user logs in each day": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newApp(t, func(cfg *authkit.Config) {
					if !c.throttled {
						return
					}
					limits, err := throttle.New(throttle.Config{Secret: otherKey})
					require.NoError(t, err)
					cfg.Throttle = limits
				})
				u := authkittest.User(t, a.kit)
				secret, _ := a.enroll(t, u)
				begun := time.Now()
				time.Sleep(step)
				home := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "198.51.100.7", Device: "Safari"})
				victim := func() error {
					_, err := a.kit.Login(home, u.Email, authkittest.Password)
					if challenge, ok := errors.AsType[*authkit.ChallengeError](err); ok {
						_, err = a.kit.AnswerChallenge(home, challenge.Token, "otp", code(secret))
					}
					return err
				}
				require.NoError(t, victim())
				guesses, logins, refusals, disabled := 0, 0, 0, time.Duration(0)
				nextLogin := time.Now().Add(24 * time.Hour)
				for time.Since(begun) < year {
					if c.victim && !time.Now().Before(nextLogin) {
						nextLogin = nextLogin.Add(24 * time.Hour)
						time.Sleep(step)
						if victim() == nil {
							logins++
						}
					}
					before, err := a.store.Record(t.Context(), u.ID)
					require.NoError(t, err)
					_, err = a.login(t, u, "otp", wrong(secret))
					after, recordErr := a.store.Record(t.Context(), u.ID)
					require.NoError(t, recordErr)
					guesses += after.TotalFailures - before.TotalFailures
					wait := time.Second
					if refused, ok := errors.AsType[*authkit.ThrottledError](err); ok {
						wait = refused.RetryAfter
						if refusals++; refusals > 5 { // the throttle has locked the account for other places
							wait = 24 * time.Hour
						}
					} else {
						refusals = 0
						require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
						if c.victim && !c.throttled && after.Failures == 99 {
							wait = time.Until(nextLogin) // it lets the user end the count
						}
					}
					if after.TotalFailures == before.TotalFailures && disabled == 0 && (after.Failures >= 100 || after.TotalFailures >= 300) {
						disabled = time.Since(begun)
						break // nothing is compared any more
					}
					time.Sleep(wait)
				}
				p := guessed(guesses)
				t.Logf("a year of guessing: %d guesses were compared, and %d logins of the user succeeded; probability of a right guess %.1e (disabled after %v)",
					guesses, logins, p, disabled.Round(time.Hour))
				require.Less(t, p, 1e-3)
				require.GreaterOrEqual(t, guesses, 50, "the attacker does guess")
				if c.victim {
					require.Positive(t, logins)
				}
			})
		})
	}
}
