package integration_test

import (
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/storetest"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
)

// A totpApp is a program with authenticator apps and recovery codes.
type totpApp struct {
	kit      *authkit.Kit
	otp      *totp.Factor
	recovery *totp.RecoveryCodes
	store    storetest.TransactorStore
	factors  totp.Store
	calls    *faults
}

func newTOTPApp(t testing.TB, store storetest.TransactorStore, factors totp.Store) *totpApp {
	t.Helper()
	f := new(faults)
	a := &totpApp{store: store, factors: factors, calls: f}
	var err error
	a.otp, err = totp.New(totp.Config{
		Issuer: "Example", Keys: [][]byte{[]byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")}, Store: &faultyFactors{factors, f}, StoreTimeout: 50 * time.Second,
	})
	require.NoError(t, err)
	a.recovery = a.otp.RecoveryCodes()
	wrapped := &faultyAccounts{store, f}
	a.kit, err = authkit.New(authkit.Config{
		Secret:        []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:         wrapped,
		Sessions:      authkit.SessionConfig{Store: wrapped, ReuseGrace: time.Minute},
		SecondFactors: []authkit.SecondFactor{a.otp, a.recovery},
		UserData:      []authkit.UserData{a.otp, a.recovery},
		Passwords:     authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, MaxConcurrentHashes: 64},
		Logger:        slog.New(slog.DiscardHandler),
		StoreTimeout:  50 * time.Second,
	})
	require.NoError(t, err)
	return a
}

// onEachTOTP runs a test in memory and on each of the databases.
func onEachTOTP(t *testing.T, test func(t *testing.T, a *totpApp)) {
	t.Helper()
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		test(t, newTOTPApp(t, authkit.NewMemoryStore(), totp.NewMemoryStore()))
	})
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		test(t, newTOTPApp(t, s, totpsql.New(s)))
	})
}

func (a *totpApp) add(t testing.TB, email string) authkit.User {
	t.Helper()
	u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: email}, accountPassword)
	require.NoError(t, err)
	return u
}

// begin starts to set up the factor, and returns the secret and its URI.
func (a *totpApp) begin(t testing.TB, userID string) (secret []byte, uri string) {
	t.Helper()
	begun, err := a.kit.EnrollFactor(t.Context(), userID, "otp")
	require.NoError(t, err)
	return secretOf(t, begun)
}

func secretOf(t testing.TB, begun any) (secret []byte, uri string) {
	t.Helper()
	uri = begun.(totp.Enrollment).URI
	u, err := url.Parse(uri)
	require.NoError(t, err)
	secret, err = base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	require.NoError(t, err)
	return secret, uri
}

// enroll sets up the factor with the code of now. The next code is good for a
// login then, on a machine that stands still for up to a minute. It does without
// the Kit, after whose changes a login waits for the end of the second.
func (a *totpApp) enroll(t testing.TB, userID string) (secret []byte, uri string, codes []string) {
	t.Helper()
	u := authkit.User{ID: userID, Email: "user@example.com"}
	begun, err := a.otp.BeginEnrollment(t.Context(), u)
	require.NoError(t, err)
	secret, uri = secretOf(t, begun)
	confirmed, err := a.otp.ConfirmEnrollment(t.Context(), u, authkittest.TOTPCode(t, uri))
	require.NoError(t, err)
	if confirmed != nil {
		codes = confirmed.(totp.Codes).RecoveryCodes
	}
	return secret, uri, codes
}

// login logs a user in with the password and a response.
func (a *totpApp) login(ctx context.Context, email, method, response string) (authkit.Token, error) {
	token, err := a.kit.Login(ctx, email, accountPassword)
	if c, ok := errors.AsType[*authkit.ChallengeError](err); ok {
		return a.kit.AnswerChallenge(ctx, c.Token, method, response)
	}
	return token, err
}

// MF-02, MF-08: of 50 callers with one code one succeeds, at the factor and at
// the login.
func TestFactorCodesAtOnce(t *testing.T) {
	t.Parallel()
	onEachTOTP(t, func(t *testing.T, a *totpApp) {
		ctx := t.Context()
		race := func(name string, try func() error) {
			t.Helper()
			var passed atomic.Int32
			var group sync.WaitGroup
			begin := make(chan struct{})
			for range 50 {
				group.Go(func() {
					<-begin
					switch err := try(); {
					case err == nil:
						passed.Add(1)
					case !errors.Is(err, authkit.ErrInvalidCode) && !errors.Is(err, authkit.ErrInvalidCredentials):
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			close(begin)
			group.Wait()
			require.EqualValues(t, 1, passed.Load(), name)
		}
		u := a.add(t, "ann@example.com")
		secret, _, codes := a.enroll(t, u.ID)
		next := totpNext(secret)
		race("code", func() error { return a.otp.Verify(ctx, u.ID, next) })
		race("recovery code", func() error { return a.recovery.Verify(ctx, u.ID, codes[0]) })

		for method, response := range map[string]func(u authkit.User) string{
			"otp":      func(u authkit.User) string { secret, _, _ := a.enroll(t, u.ID); return totpNext(secret) },
			"recovery": func(u authkit.User) string { _, _, codes := a.enroll(t, u.ID); return codes[0] },
		} {
			u := a.add(t, method+"@example.com")
			with := response(u)
			_, err := a.kit.Login(ctx, u.Email, accountPassword)
			challenge, ok := errors.AsType[*authkit.ChallengeError](err)
			require.True(t, ok, "%v", err)
			race("login by "+method, func() error {
				_, err := a.kit.AnswerChallenge(ctx, challenge.Token, method, with)
				return err
			})
			sessions, err := a.kit.Sessions(ctx, u.ID)
			require.NoError(t, err)
			require.Len(t, sessions, 1)
		}
	})
}

// MF-03: 120 guesses at once are compared as often as the limit allows, and one
// of them reports that the factor is disabled.
func TestFactorGuessesAtOnce(t *testing.T) {
	t.Parallel()
	onEachTOTP(t, func(t *testing.T, a *totpApp) {
		u := a.add(t, "ann@example.com")
		secret, _, _ := a.enroll(t, u.ID)
		var disabled atomic.Int32
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 15 {
					err := a.otp.Verify(t.Context(), u.ID, totpWrong(secret))
					if !errors.Is(err, authkit.ErrInvalidCode) {
						t.Error(err)
					}
					if errors.Is(err, authkit.ErrFactorDisabled) {
						disabled.Add(1)
					}
				}
			})
		}
		group.Wait()
		require.EqualValues(t, 1, disabled.Load())
		r, err := a.factors.Record(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, 100, r.Failures)
		require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, totpNext(secret)), authkit.ErrInvalidCode)
	})
}

// codeAfter returns the code of a secret after a time.
func codeAfter(secret []byte, wait time.Duration) string {
	return hotpCode(secret, time.Now().Add(wait).Unix()/30)
}

// totpNext returns the code of the next step, which is accepted already.
func totpNext(secret []byte) string { return codeAfter(secret, 30*time.Second) }

// totpWrong returns a code that is not accepted now or soon.
func totpWrong(secret []byte) string {
	for n := range 100 {
		guess, right := fmt.Sprintf("%06d", n), false
		for step := -2; step <= 5; step++ {
			right = right || codeAfter(secret, time.Duration(step)*30*time.Second) == guess
		}
		if !right {
			return guess
		}
	}
	panic("no wrong code")
}

// MF-20: however a factor is begun, confirmed and removed at once, a factor that
// counts is one that was confirmed, and recovery codes exist only with it.
func TestFactorChangesAtOnce(t *testing.T) {
	t.Parallel()
	onEachTOTP(t, func(t *testing.T, a *totpApp) {
		ctx := t.Context()
		for round := range 6 {
			u := a.add(t, fmt.Sprintf("user-%d@example.com", round))
			var mu sync.Mutex
			var confirmed [][]byte
			var shown []string
			var group sync.WaitGroup
			for range 6 {
				group.Go(func() {
					begun, err := a.kit.EnrollFactor(ctx, u.ID, "otp")
					if err != nil {
						t.Error(err)
						return
					}
					secret, uri := secretOf(t, begun)
					data, err := a.kit.ConfirmFactor(ctx, u.ID, "otp", authkittest.TOTPCode(t, uri))
					switch {
					case err == nil:
						mu.Lock()
						confirmed = append(confirmed, secret)
						if codes, ok := data.(totp.Codes); ok {
							shown = append(shown, codes.RecoveryCodes...)
						}
						mu.Unlock()
					case !errors.Is(err, authkit.ErrInvalidCode) && !errors.Is(err, authkit.ErrConflict):
						t.Error(err)
					}
				})
				if round%2 == 1 {
					group.Go(func() {
						if err := a.kit.RemoveFactor(ctx, u.ID, "otp"); err != nil && !errors.Is(err, authkit.ErrConflict) {
							t.Error(err)
						}
					})
				}
			}
			group.Wait()
			enrolled, err := a.otp.Enrolled(ctx, u.ID)
			require.NoError(t, err)
			left, err := a.recovery.Left(ctx, u.ID)
			require.NoError(t, err)
			if round%2 == 0 {
				require.Equal(t, len(confirmed) > 0, enrolled)
			}
			if !enrolled {
				require.Zero(t, left, "no codes without a factor")
				continue
			}
			require.Equal(t, 10, left)
			works := 0
			for _, secret := range confirmed {
				if a.otp.Verify(ctx, u.ID, totpNext(secret)) == nil {
					works++
				}
			}
			require.Equal(t, 1, works, "of %d that were confirmed", len(confirmed))
			valid := 0
			for _, c := range shown {
				if a.recovery.Verify(ctx, u.ID, c) == nil {
					valid++
				}
			}
			require.Equal(t, 10, valid, "the codes that are left were shown")
		}
	})
}

// MF-01, MF-08, ST-08: a copy of all tables shows no secret and no recovery code.
func TestFactorDump(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, _ := d.open(t)
		s := storeOn(t, pool, d, nil)
		a := newTOTPApp(t, s, totpsql.New(s))
		u, v := a.add(t, "ann@example.com"), a.add(t, "bob@example.com")
		secret, _, codes := a.enroll(t, u.ID)
		pending, _ := a.begin(t, u.ID)
		waiting, _ := a.begin(t, v.ID)
		_, err := a.kit.Login(t.Context(), u.Email, accountPassword)
		challenge, ok := errors.AsType[*authkit.ChallengeError](err)
		require.True(t, ok)

		dump := dumpAll(t, s)
		require.Contains(t, dump, u.Email, "the dump shows the data")
		require.Contains(t, dump, u.ID)
		hidden := []string{challenge.Token[strings.IndexByte(challenge.Token, '.')+1:]}
		for _, b := range [][]byte{secret, pending, waiting} {
			hidden = append(hidden, string(b), hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b)[:26], base64.RawURLEncoding.EncodeToString(b),
				base32.StdEncoding.EncodeToString(b))
		}
		for _, c := range codes {
			letters := strings.ReplaceAll(c, "-", "")
			raw, err := base32.StdEncoding.DecodeString(letters)
			require.NoError(t, err)
			hidden = append(hidden, c, letters, string(raw), hex.EncodeToString(raw))
		}
		for _, text := range hidden {
			require.False(t, strings.Contains(strings.ToLower(dump), strings.ToLower(text)), "%q", text)
		}
		require.NoError(t, a.kit.DeleteUser(t.Context(), u.ID))
		require.NoError(t, a.kit.ResetUser(t.Context(), v.ID))
		require.NotContains(t, dumpAll(t, s), u.ID[4:], "nothing of a deleted account is left")
	})
}

// dumpAll returns all rows of the tables of accounts and factors.
func dumpAll(t *testing.T, s *sqlstore.DB) string {
	t.Helper()
	dump := ""
	for _, table := range []string{"users", "sessions", "tickets", "totp_factors", "totp_codes"} {
		dump += dumpOf(t, s, table)
	}
	return dump
}

// A login with the password and a code: the number of round trips of both
// requests, without those of the hash, which has none.
func TestFactorRoundTrips(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		dsn := d.create(t)
		plain := pool(t, d.driver, dsn)
		storeOn(t, plain, d, nil)
		isolated := int64(1)
		if d.dialect == sqlstore.MySQL {
			isolated = 2
		}
		counted, trips := count(plain, dsn, isolated)
		defer counted.Close()
		s, err := sqlstore.Open(counted, d.dialect, nil)
		require.NoError(t, err)
		a := newTOTPApp(t, s, totpsql.New(s))
		var begun, answered int64
		for round := range 4 { // all statements are prepared in the last one
			u := a.add(t, fmt.Sprintf("user-%d@example.com", round))
			secret, _, _ := a.enroll(t, u.ID)
			before := trips.n.Load()
			_, err = a.kit.Login(t.Context(), u.Email, accountPassword)
			challenge, ok := errors.AsType[*authkit.ChallengeError](err)
			require.True(t, ok, "%v", err)
			begun = trips.n.Load() - before
			before = trips.n.Load()
			_, err = a.kit.AnswerChallenge(t.Context(), challenge.Token, "otp", totpNext(secret))
			require.NoError(t, err)
			answered = trips.n.Load() - before
		}
		most := map[sqlstore.Dialect][2]int64{sqlstore.Postgres: {4, 7}, sqlstore.SQLite: {4, 10}, sqlstore.MySQL: {4, 16}}[d.dialect]
		t.Logf("login with a code: %d round trips for the password (at most %d), %d for the code (at most %d)", begun, most[0], answered, most[1])
		require.LessOrEqual(t, begun, most[0])
		require.LessOrEqual(t, answered, most[1])
	})
}
