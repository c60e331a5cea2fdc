package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/internal/seal"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
)

// resealRows is the number of users whose secrets are encrypted again.
// AUTHKIT_TEST_RESEAL_ROWS sets another one:
//
//	AUTHKIT_TEST_RESEAL_ROWS=1000000 go test -run "TestFactorReseal/(SQLite|Postgres)" -v -timeout 60m .
func resealRows(t *testing.T) int {
	text := os.Getenv("AUTHKIT_TEST_RESEAL_ROWS")
	if text == "" && raced {
		return 4_000 // four batches
	}
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

var oldTOTPKey, newTOTPKey = []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), []byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")

func resealUser(n int) string { return fmt.Sprintf("user-%08d", n) }

// secretNumber returns the secret of a user.
func secretNumber(n int) []byte { return fmt.Appendf(nil, "secret of %010d", n) }

// fillFactors stores factors whose secrets are encrypted with the old key.
func fillFactors(t *testing.T, s *sqlstore.DB, rows int) {
	t.Helper()
	box, err := seal.New("authkit totp", oldTOTPKey)
	require.NoError(t, err)
	const batch, perTx = 500, 20
	query := `INSERT INTO {totp_factors} (tenant, user_id, secret, enrolled_at, last_step, failures, total_failures, pending, pending_at) VALUES (?, ?, ?, 1, 0, 0, 0, ?, 0)`
	query += strings.Repeat(`, (?, ?, ?, 1, 0, 0, 0, ?, 0)`, batch-1)
	require.Zero(t, rows%batch)
	for n := 0; n < rows; {
		require.NoError(t, s.InTx(t.Context(), func(ctx context.Context) error {
			for range perTx {
				var args []any
				for ; len(args) < 4*batch && n < rows; n++ {
					args = append(args, "", resealUser(n), box.Seal(secretNumber(n), seal.Place("totp_factors", "secret", resealUser(n))), []byte{})
				}
				if len(args) == 0 {
					break
				}
				if _, err := s.Exec(ctx, query, args...); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// MF-01: a change of keys goes over all users while they log in, at instances
// before and after the change of configuration. Then the old key is not needed.
func TestFactorReseal(t *testing.T) {
	t.Parallel()
	rows := resealRows(t)
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		fillFactors(t, s, rows)
		factor := func(keys ...[]byte) *totp.Factor {
			f, err := totp.New(totp.Config{Issuer: "Example", Keys: keys, Store: totpsql.New(s), StoreTimeout: time.Minute})
			require.NoError(t, err)
			return f
		}
		before, during, after := factor(oldTOTPKey, newTOTPKey), factor(newTOTPKey, oldTOTPKey), factor(newTOTPKey)

		done := make(chan struct{})
		var group sync.WaitGroup
		logins, slowest := 0, time.Duration(0)
		group.Go(func() { // users all over the table log in, each once
			for i := 0; i < rows; i++ {
				select {
				case <-done:
					return
				default:
				}
				n := i * 7919 % rows
				f := []*totp.Factor{before, during}[i%2]
				begun := time.Now()
				if err := f.Verify(t.Context(), resealUser(n), totpNext(secretNumber(n))); err != nil {
					t.Errorf("login of %s: %v", resealUser(n), err)
					return
				}
				logins, slowest = logins+1, max(slowest, time.Since(begun))
			}
		})
		begun, shown := time.Now(), time.Now()
		read := 0
		err := during.Reseal(t.Context(), func(users int) {
			read = users
			if time.Since(shown) > 5*time.Second {
				shown = time.Now()
				t.Logf("%d of %d users (%d %%), %.0f in a second", users, rows, 100*users/rows, float64(users)/time.Since(begun).Seconds())
			}
		})
		took := time.Since(begun)
		close(done)
		group.Wait()
		require.NoError(t, err)
		require.Equal(t, rows, read)
		t.Logf("%d users in %v, %.0f in a second; %d logins meanwhile, the slowest in %v", rows, took.Round(time.Millisecond), float64(rows)/took.Seconds(), logins, slowest.Round(time.Millisecond))

		box, err := seal.New("authkit totp", newTOTPKey)
		require.NoError(t, err)
		checked := 0
		for last := ""; ; {
			records, err := totpsql.New(s).Records(t.Context(), last, 1000)
			require.NoError(t, err)
			if len(records) == 0 {
				break
			}
			for _, r := range records {
				plain, err := box.Open(r.Secret, seal.Place("totp_factors", "secret", r.UserID))
				if err != nil || !bytes.Equal(plain, secretNumber(checked)) {
					t.Fatalf("%s: %v", r.UserID, err)
				}
				checked++
				last = r.UserID
			}
		}
		require.Equal(t, rows, checked)
		r, err := totpsql.New(s).Record(t.Context(), resealUser(1))
		require.NoError(t, err)
		if r.LastStep == 0 { // it has not logged in above
			require.NoError(t, after.Verify(t.Context(), resealUser(1), totpNext(secretNumber(1))))
		}
	})
}
