package authkit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// LogEvents(nil) logs with the default logger at the time of the event.
func TestLogEventsDefault(t *testing.T) {
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	listener := authkit.LogEvents(nil)
	for range 2 {
		var log bytes.Buffer
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		listener(t.Context(), authkit.Event{Kind: authkit.EventUserLocked, UserID: "u"})
		require.Contains(t, log.String(), "level=INFO msg=authn_login_lock user_id=u")
		require.Equal(t, 1, strings.Count(log.String(), "\n"))
	}
}

// A Kit and a Guard call the listeners in order, after the log, and keep on logging.
func TestOnEventListeners(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var order []string
	listener := func(name string) func(context.Context, authkit.Event) {
		return func(_ context.Context, e authkit.Event) {
			order = append(order, fmt.Sprint(name, " ", e.Kind, " ", strings.Count(log.String(), "\n")))
		}
	}
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	listeners := []func(context.Context, authkit.Event){listener("a"), listener("b"), listener("c")}

	kit := newKit(t, func(c *authkit.Config) { c.Logger, c.OnEvent = logger, listeners })
	listeners[1] = nil // the Kit has a copy
	_, err := kit.Login(t.Context(), "nobody@example.com", loginPassword)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Equal(t, []string{"a authn_login_fail 1", "b authn_login_fail 1", "c authn_login_fail 1"}, order)
	require.Contains(t, log.String(), "level=WARN msg=authn_login_fail reason=unknown_user")

	log.Reset()
	order = nil
	guard := newGuard(t, func(c *authkit.GuardConfig) {
		c.Logger, c.OnEvent = logger, []func(context.Context, authkit.Event){listener("a"), listener("b")}
	})
	require.Equal(t, 401, do(guard.Authenticate(whoami), "GET", "/", "Authorization", "Bearer x").Code)
	require.Equal(t, []string{"a authn_token_refused 1", "b authn_token_refused 1"}, order)
	require.Contains(t, log.String(), "msg=authn_token_refused reason=malformed")
}

// A nil listener is refused, since it would panic at the first event.
func TestOnEventNil(t *testing.T) {
	t.Parallel()
	listeners := []func(context.Context, authkit.Event){func(context.Context, authkit.Event) {}, nil}
	_, err := authkit.New(authkit.Config{Secret: []byte(testSecret), OnEvent: listeners})
	require.EqualError(t, err, "authkit: Config.OnEvent: a nil function; leave it out")
	_, err = authkit.NewGuard(authkit.GuardConfig{Tokens: authkit.TokenConfig{Keys: []authkit.Key{tokKey}}, OnEvent: listeners})
	require.EqualError(t, err, "authkit: GuardConfig.OnEvent: a nil function; leave it out")
}

// With a logger that discards, only the listeners receive events.
func TestLoggerDiscards(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	var events recorder
	for logger, logged := range map[*slog.Logger]bool{nil: true, slog.New(slog.DiscardHandler): false} {
		log.Reset()
		events.reset()
		kit := newKit(t, events.listen, func(c *authkit.Config) { c.Logger = logger })
		_, err := kit.Login(t.Context(), "nobody@example.com", loginPassword)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.Len(t, events.all(), 1)
		require.Equal(t, logged, strings.Contains(log.String(), "authn_login_fail"))
	}
}

// A flood of requests that no account stands behind fills no log at level Info.
func TestAnonymousRequestsAreNotLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	_, h, _ := newSite(t, trusting, func(c *authkit.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	})
	log.Reset() // of the account that was created
	for name, headers := range map[string][]string{
		"no credential":        nil,
		"another scheme":       {"Authorization", "Basic dTpw"},
		"no token":             {"Authorization", "Bearer x"},
		"a cookie of no value": {"Cookie", "__Host-session=x", "Origin", "https://evil.example.net"},
	} {
		w := do(h, "POST", "/me", headers...)
		require.Contains(t, []int{401, 403}, w.Code, name)
		require.Empty(t, log.String(), name)
	}
}
