package authotel_test

import (
	"context"
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
)

// contracts are the interfaces of stores. One that embeds others is behind them.
func contracts() []reflect.Type {
	return []reflect.Type{
		reflect.TypeFor[authkit.UserStore](), reflect.TypeFor[authkit.SessionStore](), reflect.TypeFor[authkit.TicketStore](),
		reflect.TypeFor[authkit.SessionUserStore](), reflect.TypeFor[authkit.Transactor](), reflect.TypeFor[authkit.Throttle](),
	}
}

// Each method of each contract makes one span with its name, also if it panics.
func TestEveryMethodHasASpan(t *testing.T) {
	t.Parallel()
	telemetry, spans := newTraces(t)
	store := telemetry.Users(struct { // nil: every method panics
		joined
		authkit.TicketStore
		authkit.Transactor
	}{})
	throttle := telemetry.Throttle(struct{ authkit.Throttle }{})
	seen := map[string]bool{}
	for _, contract := range contracts() {
		for m := range contract.Methods() {
			if seen[m.Name] {
				continue // of an embedded contract
			}
			seen[m.Name] = true
			call := reflect.ValueOf(store).MethodByName(m.Name)
			if contract == reflect.TypeFor[authkit.Throttle]() {
				call = reflect.ValueOf(throttle).MethodByName(m.Name)
			}
			args := []reflect.Value{reflect.ValueOf(t.Context())}
			for i := 1; i < m.Type.NumIn(); i++ {
				args = append(args, reflect.Zero(m.Type.In(i)))
			}
			spans.Reset()
			require.Panics(t, func() { call.Call(args) }, m.Name)
			require.Equal(t, []string{contract.Name() + "." + m.Name}, names(spans.GetSpans()))
		}
	}
}

// No interface of a store is missing in contracts.
func TestEveryContractIsKnown(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"UserBatchStore": true} // through a wrapper, accounts are imported one by one
	for _, contract := range contracts() {
		known[contract.Name()] = true
	}
	root, err := build.Import("github.com/authkit-go/authkit", ".", 0)
	require.NoError(t, err)
	found := 0
	for _, name := range root.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root.Dir, name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if _, isInterface := spec.Type.(*ast.InterfaceType); isInterface && ast.IsExported(spec.Name.Name) && strings.HasSuffix(spec.Name.Name, "Store") {
				found++
				require.True(t, known[spec.Name.Name], spec.Name.Name)
			}
			return true
		})
	}
	require.GreaterOrEqual(t, found, 4)
}

// A joined store keeps accounts and sessions.
type joined interface {
	authkit.UserStore
	authkit.SessionStore
	authkit.SessionUserStore
}

// The parts of a store, for stores with some of them.
type (
	userPart    struct{ authkit.UserStore }
	sessionPart struct{ authkit.SessionStore }
	bothPart    struct{ joined }
	ticketPart  struct{ authkit.TicketStore }
	txPart      struct{ authkit.Transactor }
)

// A wrapped store implements the contracts of the store, and no others.
func TestContractsAreKept(t *testing.T) {
	t.Parallel()
	telemetry, _ := newTraces(t)
	for _, store := range []any{
		userPart{}, sessionPart{}, ticketPart{}, bothPart{},
		struct {
			userPart
			sessionPart
		}{},
		struct {
			userPart
			ticketPart
		}{},
		struct {
			sessionPart
			ticketPart
		}{},
		struct {
			bothPart
			ticketPart
		}{},
		struct {
			userPart
			sessionPart
			ticketPart
		}{},
		struct {
			userPart
			txPart
		}{},
		struct {
			sessionPart
			txPart
		}{},
		struct {
			ticketPart
			txPart
		}{},
		struct {
			bothPart
			txPart
		}{},
		struct {
			userPart
			sessionPart
			txPart
		}{},
		struct {
			userPart
			ticketPart
			txPart
		}{},
		struct {
			sessionPart
			ticketPart
			txPart
		}{},
		struct {
			bothPart
			ticketPart
			txPart
		}{},
		struct {
			userPart
			sessionPart
			ticketPart
			txPart
		}{},
	} {
		var wrapped []any
		if s, ok := store.(authkit.UserStore); ok {
			wrapped = append(wrapped, telemetry.Users(s))
		}
		if s, ok := store.(authkit.SessionStore); ok {
			wrapped = append(wrapped, telemetry.Sessions(s))
		}
		if s, ok := store.(authkit.TicketStore); ok {
			wrapped = append(wrapped, telemetry.Tickets(s))
		}
		require.NotEmpty(t, wrapped)
		for _, w := range wrapped {
			require.True(t, w == wrapped[0], "one value for every field of a Config")
			require.Equal(t, store, w.(interface{ Unwrap() any }).Unwrap())
			for _, contract := range contracts() {
				require.Equal(t, reflect.TypeOf(store).Implements(contract), reflect.TypeOf(w).Implements(contract), "%T: %v", store, contract)
			}
		}
	}
	store := uncomparable{remote{authkit.NewMemoryStore()}, nil}
	require.False(t, any(telemetry.Users(store)) == any(telemetry.Sessions(store)), "as for the store itself, but no panic")
	require.Implements(t, (*joined)(nil), telemetry.Tickets(store))
	other, _ := newTraces(t)
	require.False(t, any(telemetry.Users(userPart{})) == any(other.Users(userPart{})))
}

// An uncomparable store is one whose values cannot be compared.
type uncomparable struct {
	remote
	_ []int
}

// A transaction is one span around those of its calls. If its function fails, that is no
// failure of the store.
func TestTransactionSpan(t *testing.T) {
	t.Parallel()
	telemetry, spans := newTraces(t)
	store := telemetry.Users(remote{authkit.NewMemoryStore()})
	tx := store.(authkit.Transactor)
	refused := errors.New("refused for ann@example.com")
	for _, c := range []struct {
		err    error
		result []attribute.KeyValue
	}{
		{nil, nil},
		{refused, []attribute.KeyValue{attribute.String("authkit.result", "rolled_back")}},
	} {
		spans.Reset()
		err := tx.InTx(t.Context(), func(ctx context.Context) error {
			_, err := store.UserByID(ctx, "id")
			require.ErrorIs(t, err, authkit.ErrUserNotFound)
			return c.err
		})
		require.Equal(t, c.err, err)
		got := spans.GetSpans()
		require.Equal(t, []string{"UserStore.UserByID", "Transactor.InTx"}, names(got))
		require.Equal(t, got[1].SpanContext.SpanID(), got[0].Parent.SpanID())
		require.Equal(t, c.result, got[1].Attributes)
		require.Equal(t, codes.Unset, got[1].Status.Code)
	}

	spans.Reset()
	err := telemetry.Users(cannotCommit{}).(authkit.Transactor).InTx(t.Context(), func(context.Context) error { return nil })
	require.Error(t, err)
	require.Equal(t, codes.Error, spans.GetSpans()[0].Status.Code)
}

// A cannotCommit is a Transactor whose commits fail.
type cannotCommit struct{ authkit.UserStore }

func (cannotCommit) InTx(ctx context.Context, f func(context.Context) error) error {
	return errors.Join(f(ctx), errors.New("the commit failed"))
}

// The wrapped stores keep the contract of a store.
func TestWrappedStores(t *testing.T) {
	t.Parallel()
	telemetry, _ := newTraces(t)
	store := func() remote { return remote{authkit.NewMemoryStore()} }
	t.Run("users", func(t *testing.T) {
		t.Parallel()
		storetest.TestUserStore(t, func(*testing.T) authkit.UserStore { return telemetry.Users(store()) })
	})
	t.Run("sessions", func(t *testing.T) {
		t.Parallel()
		storetest.TestSessionStore(t, func(*testing.T) authkit.SessionStore { return telemetry.Sessions(store()) })
	})
	t.Run("tickets", func(t *testing.T) {
		t.Parallel()
		storetest.TestTicketStore(t, func(*testing.T) authkit.TicketStore { return telemetry.Tickets(store()) })
	})
}

// Stores that need no spans are not wrapped.
func TestNotWrapped(t *testing.T) {
	t.Parallel()
	traces, _ := newTraces(t)
	metrics, _ := newTelemetry(t)
	memory := authkit.NewMemoryStore()
	require.Same(t, memory, traces.Users(memory))
	require.Same(t, memory, traces.Sessions(memory))
	require.Same(t, memory, traces.Tickets(memory))
	require.Nil(t, traces.Users(nil))
	require.Nil(t, traces.Sessions(nil))
	require.Nil(t, traces.Tickets(nil))
	require.Equal(t, remote{memory}, metrics.Users(remote{memory}))
	require.Equal(t, remote{memory}, metrics.Sessions(remote{memory}))
	require.Equal(t, remote{memory}, metrics.Tickets(remote{memory}))
	require.Nil(t, traces.Throttle(nil))
	h := http.NewServeMux()
	require.Same(t, h, metrics.Handler("login", h))
}
