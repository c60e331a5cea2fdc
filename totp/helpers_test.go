package totp_test

import (
	"context"
	"encoding/base32"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
)

var (
	testKey  = []byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")
	otherKey = []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
)

// An app is a program with a Kit, the factor and recovery codes.
type app struct {
	kit      *authkit.Kit
	otp      *totp.Factor
	recovery *totp.RecoveryCodes
	store    *totp.MemoryStore
	events   *authkittest.Recorder
}

func newFactor(t testing.TB, store totp.Store, keys ...[]byte) *totp.Factor {
	t.Helper()
	if len(keys) == 0 {
		keys = [][]byte{testKey}
	}
	f, err := totp.New(totp.Config{Issuer: "Example", Keys: keys, Store: store})
	require.NoError(t, err)
	return f
}

func newApp(t testing.TB, change ...func(*authkit.Config)) *app {
	t.Helper()
	a := &app{store: totp.NewMemoryStore(), events: new(authkittest.Recorder)}
	a.otp = newFactor(t, a.store)
	a.recovery = a.otp.RecoveryCodes()
	a.kit = authkittest.NewKit(t, append([]func(*authkit.Config){func(c *authkit.Config) {
		c.SecondFactors = []authkit.SecondFactor{a.otp, a.recovery}
		c.UserData = []authkit.UserData{a.otp, a.recovery}
		c.Roles = map[string][]string{"admin": nil, "user": nil}
	}, a.events.Listen}, change...)...)
	return a
}

// secretOf returns the secret of a key URI.
func secretOf(t testing.TB, uri string) []byte {
	t.Helper()
	u, err := url.Parse(uri)
	require.NoError(t, err)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	require.NoError(t, err)
	require.Len(t, secret, 20, "MF-01: 160 bits")
	return secret
}

// startOfNext returns a time in the next step, whose codes are accepted already.
func startOfNext() time.Time { return time.Now().Add(30 * time.Second) }

// code returns the current code of a secret.
func code(secret []byte) string { return totp.CodeAt(secret, totp.StepOf(time.Now())) }

// wrong returns a code that is none of those that are accepted now.
func wrong(secret []byte) string {
	step := totp.StepOf(time.Now())
	for _, guess := range []string{"000000", "000001", "000002", "000003"} {
		if guess != totp.CodeAt(secret, step-1) && guess != totp.CodeAt(secret, step) && guess != totp.CodeAt(secret, step+1) {
			return guess
		}
	}
	panic("no wrong code")
}

// on returns the context of a client.
func on(t testing.TB) context.Context {
	return authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "192.0.2.1", Device: "Firefox"})
}

// login logs a user in with the password, and with the response if there is a
// second factor.
func (a *app) login(t testing.TB, u authkit.User, method, response string) (authkit.Token, error) {
	t.Helper()
	token, err := a.kit.Login(on(t), u.Email, authkittest.Password)
	if c, ok := errors.AsType[*authkit.ChallengeError](err); ok {
		return a.kit.AnswerChallenge(on(t), c.Token, method, response)
	}
	return token, err
}

// as returns the context of a request of a user who has just logged in.
func (a *app) as(t testing.TB, token authkit.Token, err error) context.Context {
	t.Helper()
	require.NoError(t, err)
	ctx, _, err := a.kit.IdentifyToken(on(t), token.AccessToken)
	require.NoError(t, err)
	return ctx
}

// enroll sets up the factor of a user, and returns the secret and the recovery
// codes.
func (a *app) enroll(t testing.TB, u authkit.User) (secret []byte, codes []string) {
	t.Helper()
	ctx := authkit.WithSystem(t.Context(), "test")
	begun, err := a.kit.EnrollFactor(ctx, u.ID, "otp")
	require.NoError(t, err)
	secret = secretOf(t, begun.(totp.Enrollment).URI)
	confirmed, err := a.kit.ConfirmFactor(ctx, u.ID, "otp", code(secret))
	require.NoError(t, err)
	if confirmed == nil {
		return secret, nil
	}
	return secret, confirmed.(totp.Codes).RecoveryCodes
}

// kinds returns the kinds of events.
func kinds(events []authkit.Event) (list []authkit.EventKind) {
	for _, e := range events {
		list = append(list, e.Kind)
	}
	return list
}
