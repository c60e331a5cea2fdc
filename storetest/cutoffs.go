package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// accounts is how many accounts a race is run on, one after the other: on one of them, all
// may have come in order.
const accounts = 20

// wholeSecond is a cut-off, which has no fraction.
var wholeSecond = start.Truncate(time.Second)

func testValidFromMovesForward(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	create(t, s, u, newUser(2))
	for i, from := range []time.Time{
		{}, wholeSecond, wholeSecond.Add(-time.Second), {}, wholeSecond.In(elsewhere), wholeSecond.Add(time.Second).In(elsewhere),
		wholeSecond, wholeSecond.AddDate(100, 0, 0), wholeSecond.Add(time.Hour), time.Unix(0, 0),
	} {
		u.UpdatedAt = start.Add(time.Duration(i) * time.Microsecond)
		if from.After(u.ValidFrom) {
			u.ValidFrom = from
		}
		got, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{ValidFrom: &from}, u.UpdatedAt)
		if err != nil || !equal(got, u.User) {
			t.Fatalf("to %v: got %+v (%v), want %+v", from, got, err, u.User)
		}
		same(t, find(t, s, u.ID), u)
		if swapped, err := s.SwapPasswordHash(t.Context(), u.ID, u.PasswordHash, "", u.UpdatedAt); err != nil || !swapped {
			t.Fatalf("swapped %v (%v)", swapped, err)
		}
		u.PasswordHash = ""
		same(t, find(t, s, u.ID), u)
	}
	same(t, find(t, s, newUser(2).ID), newUser(2))
}

func testLatestValidFromWins(t *testing.T, s authkit.UserStore) {
	for n := range accounts {
		u := newUser(n)
		create(t, s, u)
		race(t, func(i int) (bool, error) {
			from := wholeSecond.Add(time.Duration((i*7)%racers) * time.Second)
			if _, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{ValidFrom: &from}, start); err != nil {
				return false, err
			}
			got, err := s.UserByID(t.Context(), u.ID)
			if err == nil && got.ValidFrom.Before(from) {
				err = fmt.Errorf("valid from %v, after it was moved to %v", got.ValidFrom, from)
			}
			return true, err
		})
		u.ValidFrom = wholeSecond.Add((racers - 1) * time.Second)
		same(t, find(t, s, u.ID), u)
	}
}

// testHashAndValidFromAtOnce changes the password again and again, while others look that the
// cut-off is the one that was written with the hash.
func testHashAndValidFromAtOnce(t *testing.T, s authkit.UserStore) {
	u := newUser(1)
	u.PasswordHash, u.ValidFrom = "0", wholeSecond
	create(t, s, u)
	whole := func(u authkit.StoredUser, err error) error {
		if err != nil {
			return err
		}
		if n := int(u.ValidFrom.Sub(wholeSecond) / time.Second); u.PasswordHash != authkit.PasswordHash(fmt.Sprint(n)) {
			return fmt.Errorf("a mixture: hash %q, valid from %v", string(u.PasswordHash), u.ValidFrom)
		}
		return nil
	}
	besides(t, func() error {
		return errors.Join(whole(s.UserByID(t.Context(), u.ID)), whole(s.UserByEmail(t.Context(), u.Email)))
	}, 100, func(n int) error {
		hash, from := authkit.PasswordHash(fmt.Sprint(n)), wholeSecond.Add(time.Duration(n)*time.Second)
		_, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{PasswordHash: &hash, ValidFrom: &from}, start)
		return err
	})
}

// testSwapLosesToAChange sets a new password, while logins with the old one swap its hash for
// one of a better scheme: whoever comes first, the new password stays.
func testSwapLosesToAChange(t *testing.T, s authkit.UserStore) {
	for n := range accounts {
		u := newUser(n)
		create(t, s, u)
		race(t, func(i int) (bool, error) {
			if i == racers/2 {
				_, err := s.UpdateUser(t.Context(), u.ID, authkit.UserUpdate{PasswordHash: new(authkit.PasswordHash("changed")), ValidFrom: &wholeSecond}, start)
				return true, err
			}
			return s.SwapPasswordHash(t.Context(), u.ID, u.PasswordHash, authkit.PasswordHash(fmt.Sprint("better ", i)), start)
		})
		u.PasswordHash, u.ValidFrom = "changed", wholeSecond
		same(t, find(t, s, u.ID), u)
	}
}
