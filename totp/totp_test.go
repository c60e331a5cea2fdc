package totp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
)

const step = 30 * time.Second

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := totp.New(totp.Config{Keys: [][]byte{testKey, testKey[:31]}, Store: new(totp.MemoryStore), StoreTimeout: -1})
	require.EqualError(t, err, `totp: Config.Issuer: is empty; set the name of your service
totp: Config.Keys: the key 1 has 31 bytes; use 32 random ones or more
totp: Config.Store: an empty MemoryStore; make it with NewMemoryStore
totp: Config.StoreTimeout: -1ns; use a positive one, or 0 for 5s`)
	_, err = totp.New(totp.Config{Issuer: strings.Repeat("\u00e9", 64), Keys: [][]byte{testKey}})
	require.NoError(t, err)
	_, err = totp.New(totp.Config{Issuer: "a", Keys: [][]byte{testKey}, Store: (*totp.MemoryStore)(nil)})
	require.ErrorContains(t, err, "Config.Store")
	_, err = newFactor(t, totp.NewMemoryStore()).ConfirmEnrollment(t.Context(), authkit.User{ID: "ann"}, "123456")
	require.ErrorIs(t, err, authkit.ErrInvalidCode, "nothing waits")
	for _, issuer := range []string{"a:b", "a\nb", " a", "a\x00", "\xff", strings.Repeat("a", 65)} {
		_, err := totp.New(totp.Config{Issuer: issuer, Keys: [][]byte{testKey}})
		require.ErrorContains(t, err, "Config.Issuer", "%q", issuer)
	}
	f, err := totp.New(totp.Config{Issuer: "Müller & Söhne", Keys: [][]byte{testKey}})
	require.NoError(t, err)
	require.Equal(t, "otp", f.Method())
	cfg := totp.Config{Issuer: "a", Keys: [][]byte{testKey}}
	for _, secret := range []any{cfg, &cfg, f, totp.Enrollment{URI: "x3b1f"}, totp.Codes{RecoveryCodes: []string{"x3b1f"}}, totp.Record{Secret: []byte("x3b1f")}} {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, secret), "3b1f")
	}
	r := totp.Record{UserID: "ann", Secret: []byte("x"), Failures: 1, TotalFailures: 2, CodesLeft: 3}
	require.Equal(t, "{ann enrolled:true pending:false failures:1/2 codes:3}", fmt.Sprint(r))
	r.Secret, r.Pending = nil, []byte("x")
	require.Equal(t, "{ann enrolled:false pending:true failures:1/2 codes:3}", fmt.Sprint(r))
}

// MF-01: a FIPS 140-only program gets an error when it starts.
func TestFIPS(t *testing.T) {
	t.Parallel()
	const child = "AUTHKIT_TEST_FIPS_CHILD"
	if os.Getenv(child) == "" {
		self, err := os.Executable()
		require.NoError(t, err)
		c := exec.CommandContext(t.Context(), self, "-test.run=^TestFIPS$", "-test.v")
		c.Env = append(os.Environ(), child+"=1", "GODEBUG=fips140=only")
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: TestFIPS")
		return
	}
	_, err := totp.New(totp.Config{Issuer: "a", Keys: [][]byte{testKey}})
	require.ErrorContains(t, err, "SHA-1")
}

// MF-07, MF-20: the factor counts after one right code, and not before. The other
// sessions end.
func TestEnroll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		other, err := a.login(t, u, "", "")
		require.NoError(t, err)
		token, err := a.login(t, u, "", "")
		ctx := a.as(t, token, err)

		data, err := a.kit.EnrollFactor(ctx, u.ID, "otp")
		require.NoError(t, err)
		begun := data.(totp.Enrollment)
		require.True(t, strings.HasPrefix(begun.URI, "otpauth://totp/Example:user1%40example.com?secret="+begun.Secret+"&"), begun.URI)
		secret := secretOf(t, begun.URI)
		_, err = a.login(t, u, "", "")
		require.NoError(t, err, "MF-20: it is not required before a code has confirmed it")
		require.ErrorIs(t, a.otp.Verify(ctx, u.ID, code(secret)), authkit.ErrInvalidCode)

		a.events.Take()
		_, err = a.kit.ConfirmFactor(ctx, u.ID, "otp", wrong(secret))
		require.ErrorIs(t, err, authkit.ErrInvalidCode)
		used := code(secret)
		data, err = a.kit.ConfirmFactor(ctx, u.ID, "otp", used)
		require.NoError(t, err)
		require.Len(t, data.(totp.Codes).RecoveryCodes, 10)
		require.Contains(t, kinds(a.events.Take()), authkit.EventFactorAdded)
		_, _, err = a.kit.IdentifyToken(t.Context(), other.AccessToken)
		require.ErrorIs(t, err, authkit.ErrInvalidToken, "the other session has ended")
		_, _, err = a.kit.IdentifyToken(t.Context(), token.AccessToken)
		require.NoError(t, err, "this one has not")

		_, err = a.login(t, u, "otp", used)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials, "MF-02: the code that confirmed it is used")
		time.Sleep(step)
		token, err = a.login(t, u, "otp", code(secret))
		ctx = a.as(t, token, err)
		p, _ := authkit.PrincipalFrom(ctx)
		require.Equal(t, []string{"pwd", "otp", "mfa"}, p.Methods)
		_, err = a.kit.ConfirmFactor(ctx, u.ID, "otp", code(secret))
		require.ErrorIs(t, err, authkit.ErrInvalidCode, "nothing waits any more")
	})
}

func TestEnrollExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		ctx := authkit.WithSystem(t.Context(), "test")
		begin := func() []byte {
			data, err := a.kit.EnrollFactor(ctx, u.ID, "otp")
			require.NoError(t, err)
			return secretOf(t, data.(totp.Enrollment).URI)
		}
		first := begin()
		second := begin()
		require.NotEqual(t, first, second)
		_, err := a.kit.ConfirmFactor(ctx, u.ID, "otp", code(first))
		require.ErrorIs(t, err, authkit.ErrInvalidCode, "a newer one has replaced it")
		time.Sleep(15*time.Minute - time.Second)
		third := second
		time.Sleep(time.Second)
		_, err = a.kit.ConfirmFactor(ctx, u.ID, "otp", code(third))
		require.ErrorIs(t, err, authkit.ErrInvalidCode, "15 minutes are over")
		fourth := begin()
		time.Sleep(15*time.Minute - time.Microsecond)
		_, err = a.kit.ConfirmFactor(ctx, u.ID, "otp", code(fourth))
		require.NoError(t, err)
	})
}

// A new phone: the old app works until the new one is confirmed, and the recovery
// codes stay.
func TestReplace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		old, codes := a.enroll(t, u)
		time.Sleep(step)
		token, err := a.login(t, u, "otp", code(old))
		ctx := a.as(t, token, err)
		data, err := a.kit.EnrollFactor(ctx, u.ID, "otp")
		require.NoError(t, err)
		time.Sleep(step)
		require.NoError(t, a.otp.Verify(ctx, u.ID, code(old)))
		secret := secretOf(t, data.(totp.Enrollment).URI)
		data, err = a.kit.ConfirmFactor(ctx, u.ID, "otp", code(secret))
		require.NoError(t, err)
		require.Nil(t, data, "no new recovery codes")
		time.Sleep(2 * step)
		require.ErrorIs(t, a.otp.Verify(ctx, u.ID, code(old)), authkit.ErrInvalidCode)
		require.NoError(t, a.otp.Verify(ctx, u.ID, code(secret)))
		require.NoError(t, a.recovery.Verify(ctx, u.ID, codes[0]))
	})
}

// MF-01: one step before and after is accepted, and no further one. MF-02: after
// a code only later ones are.
func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for offset, want := range map[int64]bool{-3: false, -2: false, -1: true, 0: true, 1: true, 2: false, 3: false} {
			a := newApp(t)
			u := authkittest.User(t, a.kit)
			secret, _ := a.enroll(t, u)
			time.Sleep(10 * step)
			current := totp.StepOf(time.Now())
			err := a.otp.Verify(t.Context(), u.ID, totp.CodeAt(secret, current+offset))
			require.Equal(t, want, err == nil, "%d: %v", offset, err)
			if !want {
				require.ErrorIs(t, err, authkit.ErrInvalidCode)
				continue
			}
			for earlier := current - 1; earlier <= current+offset; earlier++ {
				require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, totp.CodeAt(secret, earlier)), authkit.ErrInvalidCode)
			}
			for later := current + offset + 1; later <= current+1; later++ {
				require.NoError(t, a.otp.Verify(t.Context(), u.ID, totp.CodeAt(secret, later)))
			}
		}
	})
}

// MF-04: spaces do not matter, and a code with them is the same guess.
func TestSpaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		secret, _ := a.enroll(t, u)
		time.Sleep(step)
		c := code(secret)
		require.NoError(t, a.otp.Verify(t.Context(), u.ID, " "+c[:3]+" "+c[3:]+"\n"))
		require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, c), authkit.ErrInvalidCode)
		for _, response := range []string{wrong(secret), " " + wrong(secret), wrong(secret) + "\n"} {
			require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, response), authkit.ErrInvalidCode)
		}
		r, err := a.store.Record(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, 4, r.Failures)
		require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, "12345"), authkit.ErrInvalidCode)
		r, err = a.store.Record(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, 4, r.Failures, "it cannot be a code, so it is no guess")
	})
}

// MF-02: of 50 callers with one code one succeeds.
func TestVerifyRace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		secret, codes := a.enroll(t, u)
		time.Sleep(step)
		c := code(secret)
		for name, verify := range map[string]func() error{
			"code":          func() error { return a.otp.Verify(t.Context(), u.ID, c) },
			"recovery code": func() error { return a.recovery.Verify(t.Context(), u.ID, codes[3]) },
		} {
			var passed atomic.Int32
			var group sync.WaitGroup
			for range 50 {
				group.Go(func() {
					if err := verify(); err == nil {
						passed.Add(1)
					} else if !errors.Is(err, authkit.ErrInvalidCode) {
						t.Error(err)
					}
				})
			}
			group.Wait()
			require.EqualValues(t, 1, passed.Load(), name)
		}
	})
}

// MF-12: nothing of a user is accepted for another one.
func TestUsersApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		ann, bob, eve := authkittest.User(t, a.kit), authkittest.User(t, a.kit), authkittest.User(t, a.kit)
		secret, codes := a.enroll(t, ann)
		a.enroll(t, bob)
		time.Sleep(step)
		for _, u := range []authkit.User{bob, eve, {ID: "nobody"}, {}} {
			require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, code(secret)), authkit.ErrInvalidCode)
			require.ErrorIs(t, a.recovery.Verify(t.Context(), u.ID, codes[0]), authkit.ErrInvalidCode)
		}
		token, err := a.login(t, eve, "", "")
		ctx := a.as(t, token, err)
		_, err = a.kit.EnrollFactor(ctx, ann.ID, "otp")
		require.ErrorIs(t, err, authkit.ErrForbidden)
		_, err = a.kit.ConfirmFactor(ctx, ann.ID, "otp", code(secret))
		require.ErrorIs(t, err, authkit.ErrForbidden)
		require.ErrorIs(t, a.kit.RemoveFactor(ctx, ann.ID, "otp"), authkit.ErrForbidden)
		_, err = a.recovery.Renew(ctx, a.kit, ann.ID)
		require.ErrorIs(t, err, authkit.ErrForbidden)
		require.NoError(t, a.otp.Verify(t.Context(), ann.ID, code(secret)))
		require.NoError(t, a.recovery.Verify(t.Context(), ann.ID, codes[0]))
	})
}

// MF-01: a secret in another row, or in another column, does not open.
func TestSecretsAreBound(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob := authkittest.User(t, a.kit), authkittest.User(t, a.kit)
	secret, _ := a.enroll(t, ann)
	a.enroll(t, bob)
	r, err := a.store.Record(t.Context(), ann.ID)
	require.NoError(t, err)
	require.False(t, bytes.Contains(r.Secret, secret))
	b, err := a.store.Record(t.Context(), bob.ID)
	require.NoError(t, err)
	n, err := a.store.Reseal(t.Context(), []totp.Resealing{{UserID: bob.ID, OldSecret: b.Secret, NewSecret: r.Secret}})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	err = a.otp.Verify(t.Context(), bob.ID, code(secret))
	require.Error(t, err)
	require.NotErrorIs(t, err, authkit.ErrInvalidCode, "it is an error of the store")

	require.NoError(t, a.store.SetPending(t.Context(), ann.ID, r.Secret, time.Now()))
	_, err = a.kit.ConfirmFactor(authkit.WithSystem(t.Context(), "test"), ann.ID, "otp", code(secret))
	require.ErrorIs(t, err, authkit.ErrUnavailable)
}

// MF-03: 100 failures without a success disable the factor, whatever the pending
// logins. Only the failure that disables it is told apart, for the event.
func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		secret, codes := a.enroll(t, u)
		time.Sleep(step)
		guess := func(n int) {
			for range n {
				err := a.otp.Verify(t.Context(), u.ID, wrong(secret))
				require.ErrorIs(t, err, authkit.ErrInvalidCode)
				require.NotErrorIs(t, err, authkit.ErrFactorDisabled)
			}
		}
		guess(99)
		require.NoError(t, a.otp.Verify(t.Context(), u.ID, code(secret)))
		guess(99)
		require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, wrong(secret)), authkit.ErrFactorDisabled)
		time.Sleep(step)
		guess(3)
		err := a.otp.Verify(t.Context(), u.ID, code(secret))
		require.ErrorIs(t, err, authkit.ErrInvalidCode)
		require.NotErrorIs(t, err, authkit.ErrFactorDisabled)
		has, err := a.otp.Enrolled(t.Context(), u.ID)
		require.NoError(t, err)
		require.True(t, has, "the password alone is not enough now")
		_, err = a.login(t, u, "otp", code(secret))
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)

		// The ways out: a recovery code and a new app, or an administrator.
		token, err := a.login(t, u, "recovery", codes[0])
		ctx := a.as(t, token, err)
		data, err := a.kit.EnrollFactor(ctx, u.ID, "otp")
		require.NoError(t, err)
		secret = secretOf(t, data.(totp.Enrollment).URI)
		_, err = a.kit.ConfirmFactor(ctx, u.ID, "otp", code(secret))
		require.NoError(t, err)
		time.Sleep(step)
		_, err = a.login(t, u, "otp", code(secret))
		require.NoError(t, err)
		require.NoError(t, a.kit.ResetFactors(t.Context(), u.ID))
		_, err = a.login(t, u, "", "")
		require.NoError(t, err)
	})
}

// MF-03: the wrong code that disables the factor is an event and ends the pending
// login.
func TestLimitAtLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		secret, codes := a.enroll(t, u)
		time.Sleep(step)
		for range 99 {
			require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, wrong(secret)), authkit.ErrInvalidCode)
		}
		_, err := a.kit.Login(on(t), u.Email, authkittest.Password)
		challenge, ok := errors.AsType[*authkit.ChallengeError](err)
		require.True(t, ok, "%v", err)
		a.events.Take()
		_, err = a.kit.AnswerChallenge(on(t), challenge.Token, "otp", wrong(secret))
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.Contains(t, kinds(a.events.Take()), authkit.EventFactorDisabled)
		_, err = a.kit.AnswerChallenge(on(t), challenge.Token, "recovery", codes[0])
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		_, err = a.login(t, u, "otp", wrong(secret))
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.NotContains(t, kinds(a.events.Take()), authkit.EventFactorDisabled, "it is told once")
		_, err = a.login(t, u, "recovery", codes[0])
		require.NoError(t, err)
	})
}

// MF-03: 300 failures disable the factor, although the user logs in meanwhile.
func TestLimitInTotal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := authkittest.User(t, a.kit)
		secret, _ := a.enroll(t, u)
		for n := range 299 {
			if n%50 == 0 {
				time.Sleep(step)
				require.NoError(t, a.otp.Verify(t.Context(), u.ID, code(secret)))
			}
			err := a.otp.Verify(t.Context(), u.ID, wrong(secret))
			require.ErrorIs(t, err, authkit.ErrInvalidCode)
			require.NotErrorIs(t, err, authkit.ErrFactorDisabled)
		}
		require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, wrong(secret)), authkit.ErrFactorDisabled)
		time.Sleep(step)
		require.ErrorIs(t, a.otp.Verify(t.Context(), u.ID, code(secret)), authkit.ErrInvalidCode)
	})
}

func TestUserData(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := authkittest.User(t, a.kit)
	export := func() string {
		data, err := a.kit.ExportUser(t.Context(), u.ID)
		require.NoError(t, err)
		text, err := json.Marshal(data)
		require.NoError(t, err)
		return string(text)
	}
	require.NotContains(t, export(), "totp")
	require.NotContains(t, export(), "recovery")
	secret, codes := a.enroll(t, u)
	require.NoError(t, a.recovery.Verify(t.Context(), u.ID, codes[0]))
	require.Contains(t, export(), `"recovery_codes":{"left":9}`)
	require.Contains(t, export(), `"totp":{"enrolled_at":"`)
	require.NotContains(t, export(), code(secret))

	gone := func() {
		r, err := a.store.Record(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, totp.Record{UserID: u.ID}, r)
	}
	require.NoError(t, a.kit.ResetUser(t.Context(), u.ID))
	gone()
	a.enroll(t, u)
	require.NoError(t, a.kit.DeleteUser(t.Context(), u.ID))
	gone()
}

// FuzzVerify: no text but the current codes is accepted, and none twice.
func FuzzVerify(f *testing.F) {
	a := newApp(f)
	u := authkittest.User(f, a.kit)
	secret, codes := a.enroll(f, u)
	for _, seed := range []string{"", "000000", code(secret), " " + code(secret), codes[0], strings.ToLower(codes[1]), "\u0661\u0662\u0663\u0664\u0665\u0666"} {
		f.Add(seed)
	}
	last := ""
	f.Fuzz(func(t *testing.T, response string) {
		digits, ok := totp.ParseCode(response)
		err := a.otp.Verify(t.Context(), u.ID, response)
		switch {
		case err == nil && (!ok || digits == last):
			t.Errorf("%q is accepted", response)
		case err == nil:
			last = digits
		case !errors.Is(err, authkit.ErrInvalidCode):
			t.Errorf("%q: %v", response, err)
		}
		letters, ok := totp.ParseRecoveryCode(response)
		known := slices.ContainsFunc(codes, func(c string) bool { return strings.ReplaceAll(c, "-", "") == letters })
		switch err := a.recovery.Verify(t.Context(), u.ID, response); {
		case err == nil && !(ok && known):
			t.Errorf("%q is accepted as a recovery code", response)
		case err == nil: // and not again
			codes = slices.DeleteFunc(codes, func(c string) bool { return strings.ReplaceAll(c, "-", "") == letters })
		case !errors.Is(err, authkit.ErrInvalidCode):
			t.Errorf("%q: %v", response, err)
		}
	})
}

// MF-20: a user who must have a factor sets it up at the login, which shows the
// recovery codes and completes.
func TestEnrollAtLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, func(c *authkit.Config) { c.RequireFactors = authkit.FactorPolicy{Everyone: true} })
		u := authkittest.User(t, a.kit)
		_, err := a.kit.Login(on(t), u.Email, authkittest.Password)
		challenge, ok := errors.AsType[*authkit.ChallengeError](err)
		require.True(t, ok, "%v", err)
		require.True(t, challenge.Enroll)
		require.Equal(t, []string{"otp"}, challenge.Methods)
		begun, err := a.kit.EnrollChallenge(on(t), challenge.Token, "otp")
		require.NoError(t, err)
		secret := secretOf(t, begun.(totp.Enrollment).URI)
		_, err = a.kit.AnswerChallenge(on(t), challenge.Token, "otp", wrong(secret))
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		used := code(secret)
		token, err := a.kit.AnswerChallenge(on(t), challenge.Token, "otp", used)
		require.NoError(t, err)
		codes := token.Enrollment.(totp.Codes).RecoveryCodes
		require.Len(t, codes, 10)
		_, err = a.login(t, u, "otp", used)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		_, err = a.login(t, u, "recovery", codes[0])
		require.NoError(t, err)
		time.Sleep(step)
		_, err = a.login(t, u, "otp", code(secret))
		require.NoError(t, err)
	})
}
