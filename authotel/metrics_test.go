package authotel_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/authotel"
)

func TestNewNeedsAProvider(t *testing.T) {
	t.Parallel()
	_, err := authotel.New(authotel.Options{})
	require.ErrorContains(t, err, "set Options.MeterProvider, Options.TracerProvider, or both")
	_, err = authotel.New(authotel.Options{MeterProvider: noop.NewMeterProvider()})
	require.NoError(t, err)
}

// Every kind of event begins at zero, so that the first event is an increase.
func TestKindsBeginAtZero(t *testing.T) {
	t.Parallel()
	_, read := newTelemetry(t)
	values := read()
	kinds := map[string]bool{}
	for key, value := range values {
		if kind, ok := strings.CutPrefix(key, "authkit.events{"); ok {
			require.Zero(t, value, key)
			kind, _, _ = strings.Cut(kind, ",")
			kinds[kind] = true
		}
	}
	for _, kind := range eventKinds(t) {
		require.Truef(t, kinds[kind], "%s does not begin at zero", kind)
	}
	require.Less(t, len(values), 100, "time series")
}

// eventKinds returns the event kinds of package authkit.
func eventKinds(t *testing.T) (kinds []string) {
	file, err := parser.ParseFile(token.NewFileSet(), "../event.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "EventKind" {
				kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				kinds = append(kinds, kind)
			}
		}
		return true
	})
	require.Greater(t, len(kinds), 10)
	return kinds
}

// The events of a Kit are counted by kind and reason.
func TestEvents(t *testing.T) {
	t.Parallel()
	telemetry, read := newTelemetry(t)
	kit := newKit(t, func(c *authkit.Config) { c.OnEvent = []func(context.Context, authkit.Event){telemetry.OnEvent} })
	telemetry.Observe(kit)
	ann, err := kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
	require.NoError(t, err)
	login := func(email, password, address string) (authkit.Token, error) {
		return kit.Login(authkit.WithClient(t.Context(), authkit.ClientInfo{Address: address}), email, password)
	}
	token, err := login(ann.Email, password, "192.0.2.1")
	require.NoError(t, err)
	for i := range 3 {
		_, err = login(ann.Email, "wrong", fmt.Sprintf("192.0.2.%d", 10+i))
		require.Error(t, err)
		_, err = login(fmt.Sprintf("nobody%d@example.com", i), "wrong", "192.0.2.1")
		require.Error(t, err)
	}
	h := kit.RequireRoles("admin")(http.NotFoundHandler())
	ask := func(token string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	ask(token.AccessToken)
	ask(token.AccessToken[:len(token.AccessToken)-4] + "AAAA")
	ask("rubbish")

	values := read()
	for key, want := range map[string]float64{
		"authkit.events{user_created,}":                     1,
		"authkit.events{authn_login_success,}":              1,
		"authkit.events{authn_login_fail,wrong_password}":   3,
		"authkit.events{authn_login_fail,unknown_user}":     3,
		"authkit.events{authn_login_fail,overloaded}":       0,
		"authkit.events{authz_fail,missing_role}":           1,
		"authkit.events{authn_token_refused,bad_signature}": 1,
		"authkit.events{authn_token_refused,malformed}":     1,
		"authkit.tokens.verified":                           1,
		"authkit.hash.turns":                                8,
		"authkit.hash.running":                              0,
		"authkit.hash.waiting":                              0,
		"authkit.failing.accounts":                          1,
	} {
		got, ok := values[key]
		require.True(t, ok, key)
		require.Equal(t, want, got, key)
	}
	require.InDelta(t, 4, values["authkit.failing.addresses"], 1)
	require.NotContains(t, values, "authkit.audit.written", "there is none")
}

// A session is active for half an hour to an hour after its login and after each refresh.
func TestActiveSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		telemetry, read := newTelemetry(t)
		store := authkit.NewMemoryStore()
		kit := newKit(t, func(c *authkit.Config) {
			c.OnEvent, c.Users, c.Sessions.Store = []func(context.Context, authkit.Event){telemetry.OnEvent}, store, store
		})
		_, err := kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
		require.NoError(t, err)
		active := func() float64 { return read()["authkit.sessions.active"] }
		require.Zero(t, active())
		var tokens []authkit.Token
		for range 20 {
			token, err := kit.Login(t.Context(), "ann@example.com", password)
			require.NoError(t, err)
			tokens = append(tokens, token)
		}
		require.InDelta(t, 20, active(), 1)
		for range 3 { // five of them continue
			time.Sleep(29 * time.Minute)
			for i := range 5 {
				tokens[i], err = kit.Refresh(t.Context(), tokens[i].RefreshToken)
				require.NoError(t, err)
			}
		}
		require.InDelta(t, 5, active(), 1)
		time.Sleep(time.Hour)
		require.Zero(t, active())
	})
}

// Kinds that a program defines are counted. Their number is bounded.
func TestPairsAreBounded(t *testing.T) {
	t.Parallel()
	telemetry, read := newTelemetry(t)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 1000 {
				telemetry.OnEvent(t.Context(), authkit.Event{Kind: "host_kind", Reason: authkit.Reason(fmt.Sprint(i))})
				if g == 0 && i%100 == 0 {
					read()
				}
			}
		})
	}
	all.Wait()
	telemetry.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLogout})
	values := read()
	sum, series := 0.0, 0
	for key, value := range values {
		if strings.HasPrefix(key, "authkit.events{") {
			series++
		}
		if strings.HasPrefix(key, "authkit.events{host_kind,") || key == "authkit.events{other,}" {
			sum += value
		}
	}
	require.Equal(t, 4000.0, sum)
	require.Equal(t, 513, series)
	require.Equal(t, 4.0, values["authkit.events{host_kind,0}"])
	require.Equal(t, 1.0, values["authkit.events{authn_logout,}"])
}

// The metrics of several Kits and Guards are added up.
func TestObserveSeveral(t *testing.T) {
	t.Parallel()
	telemetry, read := newTelemetry(t)
	require.NotContains(t, read(), "authkit.tokens.verified")
	for range 2 {
		telemetry.Observe(stats{Verified: 2, Hashing: 3, Waiting: 4, Hashed: 5, Waited: 250 * time.Millisecond})
	}
	values := read()
	for key, want := range map[string]float64{
		"authkit.tokens.verified": 4, "authkit.hash.running": 6, "authkit.hash.waiting": 8, "authkit.hash.turns": 10, "authkit.hash.wait": 0.5,
	} {
		require.Equal(t, want, values[key], key)
	}
}

type stats authkit.Stats

func (s stats) Stats() authkit.Stats { return authkit.Stats(s) }

// The metrics show an audit log whose store fails, and the events that it lost.
func TestAudit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		telemetry, read := newTelemetry(t)
		store := &brokenAudit{Store: audit.NewMemoryStore(1000)}
		log, err := audit.New(store, audit.Options{Key: []byte(secret), Queue: 16})
		require.NoError(t, err)
		telemetry.ObserveAudit(log)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- log.Run(ctx) }()
		sent := 0
		event := func(n int) {
			for range n {
				sent++
				log.OnEvent(ctx, authkit.Event{Kind: authkit.EventLoginSuccess, UserID: fmt.Sprint("user-", sent)})
			}
		}
		event(3)
		time.Sleep(time.Second)
		require.Equal(t, []float64{4, 0, 0, 0}, auditValues(read()))

		store.broken(true)
		event(1)
		time.Sleep(time.Second)
		event(20)
		require.Equal(t, []float64{4, 4, 16, 1}, auditValues(read()))

		store.broken(false)
		time.Sleep(time.Minute)
		values := auditValues(read())
		require.Equal(t, []float64{values[0], 4, 0, 0}, values)
		require.Equal(t, 4.0+1+16+1, values[0], "with the entry that says what was lost")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

func auditValues(values map[string]float64) []float64 {
	return []float64{values["authkit.audit.written"], values["authkit.audit.lost"], values["authkit.audit.waiting"], values["authkit.audit.failing"]}
}

type brokenAudit struct {
	audit.Store
	mu  sync.Mutex
	err error
}

func (b *brokenAudit) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	return b.Store.AppendAudit(ctx, entries)
}

func (b *brokenAudit) broken(broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = nil
	if broken {
		b.err = errors.New("broken")
	}
}
