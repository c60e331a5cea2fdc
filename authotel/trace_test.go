package authotel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authotel"
	"github.com/authkit-go/authkit/doctor"
	"github.com/authkit-go/authkit/throttle"
)

// A remote is a MemoryStore of another type, which is wrapped.
type remote struct{ *authkit.MemoryStore }

func (remote) Doctor(context.Context) []authkit.Finding {
	return []authkit.Finding{{Code: "remote", Severity: slog.LevelWarn}}
}

func newTraces(t testing.TB) (*authotel.Telemetry, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	telemetry, err := authotel.New(authotel.Options{TracerProvider: trace.NewTracerProvider(trace.WithSyncer(spans))})
	require.NoError(t, err)
	return telemetry, spans
}

// tracedKit returns a Kit with one account. All of its parts are traced.
func tracedKit(t testing.TB) (*authkit.Kit, *authotel.Telemetry, *tracetest.InMemoryExporter) {
	telemetry, spans := newTraces(t)
	store := remote{authkit.NewMemoryStore()}
	kit := newKit(t, func(c *authkit.Config) {
		c.OnEvent = []func(context.Context, authkit.Event){telemetry.OnEvent}
		c.Users, c.Sessions.Store = telemetry.Users(store), telemetry.Sessions(store)
	})
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
	require.NoError(t, err)
	spans.Reset()
	return kit, telemetry, spans
}

func logIn(h http.Handler, password string) *httptest.ResponseRecorder {
	form := url.Values{"username": {"ann@example.com"}, "password": {password}}
	r := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A login is one span with its result. It contains a span for each call to a store.
func TestLoginSpans(t *testing.T) {
	t.Parallel()
	kit, telemetry, spans := tracedKit(t)
	h := telemetry.Handler("login", kit.TokenHandler())
	require.Equal(t, http.StatusOK, logIn(h, password).Code)
	got := spans.GetSpans()
	login := got[len(got)-1]
	require.Equal(t, "authkit login", login.Name)
	require.Equal(t, codes.Unset, login.Status.Code)
	require.Len(t, login.Events, 1)
	require.Equal(t, string(authkit.EventLoginSuccess), login.Events[0].Name)
	var names []string
	for _, s := range got[:len(got)-1] {
		names = append(names, s.Name)
		require.Equal(t, login.SpanContext.SpanID(), s.Parent.SpanID(), s.Name)
	}
	require.Contains(t, names, "UserStore.UserByEmail")
	require.Contains(t, names, "SessionStore.CreateSession")

	spans.Reset()
	require.Equal(t, http.StatusUnauthorized, logIn(h, "wrong").Code)
	got = spans.GetSpans()
	login = got[len(got)-1]
	require.Equal(t, codes.Unset, login.Status.Code, "nothing broke")
	require.Equal(t, string(authkit.EventLoginFailure), login.Events[0].Name)
	require.Equal(t, []attribute.KeyValue{attribute.String("authkit.reason", "wrong_password")}, login.Events[0].Attributes)
}

// The event of a denied request has its route.
func TestDeniedSpan(t *testing.T) {
	t.Parallel()
	kit, telemetry, spans := tracedKit(t)
	token, err := kit.Login(t.Context(), "ann@example.com", password)
	require.NoError(t, err)
	mux := kit.NewMux()
	mux.Handle("GET /admin", authkit.Roles("admin"), http.NotFoundHandler())
	r := httptest.NewRequest("GET", "/admin", nil)
	r.Header.Set("Authorization", "Bearer "+token.AccessToken)
	spans.Reset()
	telemetry.Handler("request", mux).ServeHTTP(httptest.NewRecorder(), r)
	got := spans.GetSpans()
	require.Equal(t, []string{"SessionUserStore.SessionUser", "authkit request"}, names(got), "one call for session and account")
	require.Equal(t, []attribute.KeyValue{attribute.String("authkit.reason", "missing_role"), attribute.String("authkit.route", "GET /admin")}, got[1].Events[0].Attributes)
}

func names(spans tracetest.SpanStubs) (names []string) {
	for _, s := range spans {
		names = append(names, s.Name)
	}
	return names
}

// The span of a call has its result, and never the text of a database.
func TestStoreSpans(t *testing.T) {
	t.Parallel()
	telemetry, spans := newTraces(t)
	broken := errors.New("duplicate key (email)=(ann@example.com)")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		err    error
		result string
		code   codes.Code
	}{
		{nil, "", codes.Unset},
		{authkit.ErrUserNotFound, "not_found", codes.Unset},
		{authkit.ErrSessionNotFound, "not_found", codes.Unset},
		{authkit.ErrTicketNotFound, "not_found", codes.Unset},
		{authkit.ErrConflict, "conflict", codes.Unset},
		{authkit.ErrLastAdmin, "last_admin", codes.Unset},
		{fmt.Errorf("insert: %w", authkit.ErrEmailTaken), "email_taken", codes.Unset},
		{ended.Err(), "canceled", codes.Unset},
		{broken, "", codes.Error},
	} {
		spans.Reset()
		err := telemetry.Users(failing{err: c.err}).DeleteUser(t.Context(), "id", "admin")
		require.Equal(t, c.err, err)
		got := spans.GetSpans()[0]
		require.Equal(t, c.code, got.Status.Code)
		require.Empty(t, got.Events)
		if c.result != "" {
			require.Equal(t, []attribute.KeyValue{attribute.String("authkit.result", c.result)}, got.Attributes)
		} else {
			require.Empty(t, got.Attributes)
		}
		require.NotContains(t, fmt.Sprint(got), "ann@example.com")
	}
}

type failing struct {
	authkit.UserStore
	err    error
	panics string
}

func (f failing) DeleteUser(context.Context, string, string) error {
	if f.panics != "" {
		panic(f.panics)
	}
	return f.err
}

// A span ends if a handler or a store panics. It does not contain the text of the panic.
func TestPanicSpans(t *testing.T) {
	t.Parallel()
	telemetry, spans := newTraces(t)
	h := telemetry.Handler("login", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = telemetry.Users(failing{panics: "duplicate ann@example.com"}).DeleteUser(r.Context(), "id", "")
	}))
	require.PanicsWithValue(t, "duplicate ann@example.com", func() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	})
	got := spans.GetSpans()
	require.Equal(t, []string{"UserStore.DeleteUser", "authkit login"}, names(got))
	require.Equal(t, codes.Error, got[1].Status.Code)
	for _, s := range got {
		require.NotContains(t, fmt.Sprint(s.Events, s.Attributes, s.Status), "ann@example.com")
	}
}

// Each call to a throttle has a span, which tells a refusal.
func TestThrottleSpans(t *testing.T) {
	t.Parallel()
	telemetry, spans := newTraces(t)
	limits, err := throttle.New(throttle.Config{})
	require.NoError(t, err)
	kit := newKit(t, func(c *authkit.Config) {
		c.OnEvent, c.Throttle = []func(context.Context, authkit.Event){telemetry.OnEvent}, telemetry.Throttle(limits)
	})
	for range 6 {
		_, err = kit.Login(t.Context(), "ann@example.com", "wrong")
	}
	_, refused := errors.AsType[*authkit.ThrottledError](err)
	require.True(t, refused)
	got := spans.GetSpans()
	require.Len(t, got, 11) // five failures, and a refusal
	for i, s := range got {
		require.Equal(t, []string{"Throttle.Begin", "Throttle.End"}[i%2], s.Name)
		require.Equal(t, codes.Unset, s.Status.Code)
		require.Equal(t, i == 10, slices.Contains(s.Attributes, attribute.String("authkit.result", "throttled")))
	}
	spans.Reset()
	ann, err := kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
	require.NoError(t, err)
	require.NoError(t, kit.SetPassword(t.Context(), ann.ID, "another "+password))
	_, err = kit.Login(t.Context(), "ann@example.com", "another "+password)
	require.NoError(t, err)
	require.Equal(t, []string{"Throttle.Clear", "Throttle.Begin", "Throttle.End"}, names(spans.GetSpans()))
	require.True(t, slices.ContainsFunc(doctor.Check(t.Context(), kit), func(f authkit.Finding) bool { return f.Code == "memory_throttle" }))
}

// A failure of the store marks the span around it, but its text is not in the span.
func TestFailureSpan(t *testing.T) {
	t.Parallel()
	telemetry, spans := newTraces(t)
	h := telemetry.Handler("login", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		telemetry.OnEvent(r.Context(), authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: errors.New("dial ann@example.com")})
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	got := spans.GetSpans()
	require.Equal(t, codes.Error, got[0].Status.Code)
	require.NotContains(t, fmt.Sprint(got), "ann@example.com")
}

// The Doctor of a Kit calls that of a wrapped store, and calls it once.
func TestDoctorSeesThrough(t *testing.T) {
	t.Parallel()
	kit, _, _ := tracedKit(t)
	found := 0
	for _, f := range doctor.Check(t.Context(), kit) {
		if f.Code == "remote" {
			found++
		}
		require.NotEqual(t, "stores_apart", f.Code)
	}
	require.Equal(t, 1, found)
}

// AU-03: neither a metric nor a span holds a secret, a name, an address or an ID.
func TestNothingPrivate(t *testing.T) {
	t.Parallel()
	kit, telemetry, spans := tracedKit(t)
	metrics, read := newTelemetry(t)
	metrics.Observe(kit)
	h := telemetry.Handler("login", kit.TokenHandler())
	_ = logIn(h, "wrong")
	ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "192.0.2.77", Device: "agent-77", RequestID: "request-77"})
	token, err := kit.Login(ctx, "ann@example.com", password)
	require.NoError(t, err)
	metrics.OnEvent(ctx, authkit.Event{Kind: authkit.EventLoginFailure, Reason: authkit.ReasonWrongPassword, UserID: token.User.ID})
	token, err = kit.Refresh(ctx, token.RefreshToken)
	require.NoError(t, err)
	list, err := kit.Sessions(ctx, token.User.ID)
	require.NoError(t, err)
	require.NoError(t, kit.SetPassword(ctx, token.User.ID, "another "+password))

	told := fmt.Sprintf("%+v", read())
	for _, s := range spans.GetSpans() {
		told += fmt.Sprintf("\n%s %v %v %v", s.Name, s.Attributes, s.Events, s.Status)
	}
	private := []string{"ann", "example.com", password, "wrong\"", "192.0.2.77", "agent-77", "request-77", token.User.ID, token.AccessToken, token.RefreshToken, list[0].ID, "$2"}
	for _, p := range private {
		require.NotContains(t, told, p)
	}
	require.True(t, slices.ContainsFunc(spans.GetSpans(), func(s tracetest.SpanStub) bool { return s.Name == "SessionStore.RotateSession" }))
}
