package authkit_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/race"
	"github.com/authkit-go/authkit/throttle"
)

// A cappedFactor is disabled after 100 wrong responses without a right one.
type cappedFactor struct {
	fakeFactor
	guesses, failures int
	disabled          bool
}

func (f *cappedFactor) Verify(ctx context.Context, userID, response string) error {
	err := f.fakeFactor.Verify(ctx, userID, response)
	switch {
	case f.disabled:
		return authkit.ErrInvalidCode // the right response too
	case err == nil:
		f.failures = 0
		return nil
	}
	f.guesses++
	if f.failures++; f.failures == 100 {
		f.disabled = true
		return authkit.ErrFactorDisabled
	}
	return err
}

// A guesser tries codes of an account whose password it has.
type guesser struct {
	t    *testing.T
	kit  *authkit.Kit
	user authkit.User
	end  time.Time
}

// begin logs in with the first factor, and waits if it is refused. It returns
// nil when the year is over.
func (g *guesser) begin() *authkit.ChallengeError {
	prove, _ := proves(proof(g.user), nil)
	for time.Now().Before(g.end) {
		_, err := g.kit.LoginWith(g.t.Context(), authkit.Attempt{Action: authkit.ActionLogin, Account: g.user.Email}, prove)
		if pending, ok := errors.AsType[*authkit.ChallengeError](err); ok {
			return pending
		}
		g.wait(err)
	}
	return nil
}

// wait waits as long as a refusal says.
func (g *guesser) wait(err error) {
	g.t.Helper()
	var refused *authkit.ThrottledError
	require.ErrorAs(g.t, err, &refused)
	time.Sleep(refused.RetryAfter)
}

// round guesses with one pending login until that ends.
func (g *guesser) round() {
	pending := g.begin()
	if pending == nil {
		return
	}
	for range 6 { // one more than a pending login allows
		_, err := g.kit.AnswerChallenge(g.t.Context(), pending.Token, "otp", "wrong")
		if !errors.Is(err, authkit.ErrInvalidCredentials) {
			g.wait(err)
			return
		}
	}
}

// skipUnderRace skips a long test of one goroutine under the race detector. .ci/run
// runs it without.
func skipUnderRace(t *testing.T) {
	if race.Enabled {
		t.Skip("one goroutine has no races")
	}
}

// MF-03: a year of guessing at the allowed rate, from ever new addresses. The
// factor's cap spans all pending logins of the user. Each of them allows five
// guesses, and no answer is more than one.
func TestAYearOfGuesses(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	for name, c := range map[string]struct{ throttled bool }{
		"with a throttle":    {true},
		"without a throttle": {false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				limits, err := throttle.New(throttle.Config{InsecureNoAddressLimits: true})
				require.NoError(t, err)
				factor := &cappedFactor{fakeFactor: fakeFactor{method: "otp", right: "1"}}
				kit, _, user := newSessionKit(t, withFactors(factor), func(cfg *authkit.Config) {
					if c.throttled {
						cfg.Throttle = limits
					}
				})
				factor.users = []string{user.ID}
				g := &guesser{t, kit, user, time.Now().AddDate(1, 0, 0)}
				for time.Now().Before(g.end) {
					before := factor.asked
					g.round()
					require.LessOrEqual(t, factor.asked-before, 5)
					if !c.throttled {
						time.Sleep(6 * time.Hour) // a year has an end
					}
				}
				probability := 1 - math.Pow(1-3.0/1e6, float64(factor.guesses)) // three steps are accepted
				t.Logf("%s: %d guesses in a year, probability %.1e", name, factor.guesses, probability)
				require.Equal(t, 100, factor.guesses)
				require.Less(t, probability, 1e-3)
			})
		})
	}
}

// This cap and the waits begin anew when the user answers. So a factor needs a cap
// in total too, as package totp has: this is what is left to someone who has the
// password of a user who logs in every day.
func TestAYearOfGuessesBesideTheUser(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits, err := throttle.New(throttle.Config{InsecureNoAddressLimits: true})
		require.NoError(t, err)
		factor := &cappedFactor{fakeFactor: fakeFactor{method: "otp", right: "1"}}
		kit, _, user := newSessionKit(t, withFactors(factor), func(cfg *authkit.Config) { cfg.Throttle = limits })
		factor.users = []string{user.ID}
		g := &guesser{t, kit, user, time.Now().AddDate(1, 0, 0)}
		logins := 0
		for next := time.Now(); time.Now().Before(g.end); {
			if time.Now().Before(next) {
				g.round()
				continue
			}
			pending := g.begin()
			if pending == nil {
				break
			}
			if _, err := kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1"); err != nil {
				g.wait(err)
				continue
			}
			logins++
			next = next.AddDate(0, 0, 1)
		}
		probability := 1 - math.Pow(1-3.0/1e6, float64(factor.guesses))
		t.Logf("beside %d logins of the user: %d guesses in a year, probability %.1e", logins, factor.guesses, probability)
		require.False(t, factor.disabled)
		require.Less(t, probability, 0.05)
	})
}
