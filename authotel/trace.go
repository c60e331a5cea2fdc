package authotel

import (
	"context"
	"errors"
	"net/http"

	"github.com/authkit-go/authkit"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
)

// Handler returns a handler that makes a span around each request, such as
// "login" around the token endpoint. If t makes no spans, it returns next.
func (t *Telemetry) Handler(name string, next http.Handler) http.Handler {
	if t.tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.tracer.Start(r.Context(), "authkit "+name)
		ended := false
		defer func() { // a deferred span.End would record the text of a panic
			if !ended {
				span.SetStatus(codes.Error, "a panic")
			}
			span.End()
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
		ended = true
	})
}

// Users returns a store that makes a span around each call of store.
//
// The result implements each of [authkit.UserStore], [authkit.SessionStore],
// [authkit.SessionUserStore], [authkit.TicketStore] and [authkit.Transactor]
// that store implements. For one store, Users, [Telemetry.Sessions] and
// [Telemetry.Tickets] return equal values, so a Kit recognizes that its
// accounts and sessions are in one store. Call other methods on the store
// itself. A Kit imports accounts through it one by one, because the result is
// no [authkit.UserBatchStore].
//
// If t makes no spans, Users returns store. It also returns a
// [authkit.MemoryStore] as it is, because that waits for nothing.
func (t *Telemetry) Users(store authkit.UserStore) authkit.UserStore {
	if t.plain(store) {
		return store
	}
	return t.wrap(store).(authkit.UserStore)
}

// Sessions is like [Telemetry.Users] for a store of sessions.
func (t *Telemetry) Sessions(store authkit.SessionStore) authkit.SessionStore {
	if t.plain(store) {
		return store
	}
	return t.wrap(store).(authkit.SessionStore)
}

// Tickets is like [Telemetry.Users] for a store of tickets.
func (t *Telemetry) Tickets(store authkit.TicketStore) authkit.TicketStore {
	if t.plain(store) {
		return store
	}
	return t.wrap(store).(authkit.TicketStore)
}

// Throttle returns a throttle that makes a span around each call of limits.
// Call other methods, such as Device of package throttle, on limits itself.
func (t *Telemetry) Throttle(limits authkit.Throttle) authkit.Throttle {
	if t.plain(limits) {
		return limits
	}
	return tracedThrottle{limits, t}
}

// plain reports whether a store gets no spans.
func (t *Telemetry) plain(store any) bool {
	_, memory := store.(*authkit.MemoryStore)
	return t.tracer == nil || store == nil || memory
}

// results are the errors that are no failure of a store, and their attribute.
var results = []struct {
	err    error
	result string
}{
	{authkit.ErrUserNotFound, "not_found"},
	{authkit.ErrSessionNotFound, "not_found"},
	{authkit.ErrTicketNotFound, "not_found"},
	{authkit.ErrEmailTaken, "email_taken"},
	{authkit.ErrConflict, "conflict"},
	{authkit.ErrLastAdmin, "last_admin"},
	{errRolledBack, "rolled_back"},
	{context.Canceled, "canceled"},
}

// start begins the span of a call. The function end ends it.
func (t *Telemetry) start(ctx context.Context, name string) (_ context.Context, end func(error)) {
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, func(err error) {
		if result := resultOf(err); result != "" {
			span.SetAttributes(attribute.String("authkit.result", result))
		} else if err != nil {
			span.SetStatus(codes.Error, "the store failed")
		}
		span.End()
	}
}

// resultOf returns the attribute for an error that is no failure of a store, or
// "".
func resultOf(err error) string {
	if _, throttled := errors.AsType[*authkit.ThrottledError](err); throttled {
		return "throttled"
	}
	for _, r := range results {
		if errors.Is(err, r.err) {
			return r.result
		}
	}
	return ""
}
