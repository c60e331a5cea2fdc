package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// accounts is the number of accounts on which a race is repeated, since a
// single race may happen to run in order.
const accounts = 20

// wholeSecond is a cut-off, which has no fraction.
var wholeSecond = start.Truncate(time.Second)

func testTokensValidAfterMovesForward(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u, newUser(2))
	for i, from := range []time.Time{
		{}, wholeSecond, wholeSecond.Add(-time.Second), {}, wholeSecond.In(elsewhere), wholeSecond.Add(time.Second).In(elsewhere),
		wholeSecond, wholeSecond.AddDate(100, 0, 0), wholeSecond.Add(time.Hour), time.Unix(0, 0),
	} {
		if from.After(u.TokensValidAfter) {
			u.TokensValidAfter = from
		}
		at := start.Add(time.Duration(i) * time.Microsecond)
		update(t, s, &u, authkit.UserUpdate{TokensValidAfter: &from}, at)
		u.PasswordHash = ""
		update(t, s, &u, authkit.UserUpdate{PasswordHash: &u.PasswordHash, IfVersion: u.Version}, at)
	}
	same(t, find(t, s, newUser(2).ID), newUser(2))
}

func testLatestTokensValidAfterWins(t *testing.T, s authkit.UserStore) {
	for n := range accounts {
		u := newUser(n)
		create(t, s, u)
		race(t, func(i int) (bool, error) {
			from := wholeSecond.Add(time.Duration((i*7)%racers) * time.Second)
			if _, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{TokensValidAfter: &from}, start); err != nil {
				return false, err
			}
			got, err := s.UserByID(t.Context(), u.ID)
			if err == nil && got.TokensValidAfter.Before(from) {
				err = fmt.Errorf("valid from %v, after it was moved to %v", got.TokensValidAfter, from)
			}
			return true, err
		})
		u.TokensValidAfter, u.Version = wholeSecond.Add((racers-1)*time.Second), 1+racers
		same(t, find(t, s, u.ID), u)
	}
}

// testHashAndTokensValidAfterAtOnce changes the password repeatedly, while readers
// check that hash and cut-off belong to one write.
func testHashAndTokensValidAfterAtOnce(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	u.PasswordHash, u.TokensValidAfter = "0", wholeSecond
	create(t, s, u)
	whole := func(u authkit.StoredUser, err error) error {
		if err != nil {
			return err
		}
		if n := int(u.TokensValidAfter.Sub(wholeSecond) / time.Second); u.PasswordHash != authkit.PasswordHash(fmt.Sprint(n)) {
			return fmt.Errorf("a mixture: hash %q, valid from %v", string(u.PasswordHash), u.TokensValidAfter)
		}
		return nil
	}
	besides(t, func() error {
		return errors.Join(whole(s.UserByID(t.Context(), u.ID)), whole(s.UserByEmail(t.Context(), u.Email)))
	}, 100, func(n int) error {
		hash, from := authkit.PasswordHash(fmt.Sprint(n)), wholeSecond.Add(time.Duration(n)*time.Second)
		_, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{PasswordHash: &hash, TokensValidAfter: &from}, start)
		return err
	})
}

// testRehashLosesToAChange sets a new password, while logins with the old one
// replace its hash by one of a better scheme. The new password must stay, in
// every order.
func testRehashLosesToAChange(t *testing.T, s authkit.UserStore) {
	for n := range accounts {
		u := newUser(n)
		create(t, s, u)
		rehashed := race(t, func(i int) (bool, error) {
			if i == racers/2 {
				_, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{PasswordHash: new(authkit.PasswordHash("changed")), TokensValidAfter: &wholeSecond}, start)
				return false, err
			}
			hash := authkit.PasswordHash(fmt.Sprint("better ", i))
			_, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{PasswordHash: &hash, IfVersion: 1}, start)
			return wonUnless(authkit.ErrConflict, err)
		})
		if rehashed > 1 {
			t.Fatalf("%d rehashes of one version won, want 1 at most", rehashed)
		}
		u.PasswordHash, u.TokensValidAfter, u.Version = "changed", wholeSecond, int64(2+rehashed)
		same(t, find(t, s, u.ID), u)
	}
}
