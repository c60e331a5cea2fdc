package authotel

import (
	"context"
	"errors"
	"net/http"

	"github.com/authkit-go/authkit"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Handler puts a span with a name around a handler, such as "login" around the token endpoint. It
// returns the handler as it is where there are no spans.
func (t *Telemetry) Handler(name string, next http.Handler) http.Handler {
	if t.tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.tracer.Start(r.Context(), "authkit "+name)
		ended := false
		defer func() { // not span.End itself, which would write down what a panic says
			if !ended {
				span.SetStatus(codes.Error, "a panic")
			}
			span.End()
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
		ended = true
	})
}

// Users returns the store with a span around each call. A [authkit.MemoryStore] has nothing to
// wait for, and comes back as it is, and so does every store where there are no spans. What a
// store has beyond the interface, such as sqlstore's WithTx and audit log, is for the store itself.
func (t *Telemetry) Users(store authkit.UserStore) authkit.UserStore {
	if t.plain(store) {
		return store
	}
	return users{store, spans{t.tracer, "UserStore."}}
}

// Sessions is like [Telemetry.Users].
func (t *Telemetry) Sessions(store authkit.SessionStore) authkit.SessionStore {
	if t.plain(store) {
		return store
	}
	return sessions{store, spans{t.tracer, "SessionStore."}}
}

// Throttle is like [Telemetry.Users]. Whatever else the throttle has, such as the Device of package
// throttle, is called on itself.
func (t *Telemetry) Throttle(limits authkit.Throttle) authkit.Throttle {
	if t.plain(limits) {
		return limits
	}
	return throttle{limits, spans{t.tracer, "Throttle."}}
}

// plain reports whether a store gets no spans.
func (t *Telemetry) plain(store any) bool {
	_, memory := store.(*authkit.MemoryStore)
	return t.tracer == nil || store == nil || memory
}

// spans begins the spans of a store.
type spans struct {
	tracer trace.Tracer
	prefix string
}

// start begins a span of a call, which end ends.
func (s spans) start(ctx context.Context, method string) (_ context.Context, end func(error)) {
	ctx, span := s.tracer.Start(ctx, s.prefix+method)
	return ctx, func(err error) {
		switch {
		case err == nil:
		case isThrottled(err):
			span.SetAttributes(attribute.String("authkit.result", "throttled"))
		case errors.Is(err, authkit.ErrUserNotFound), errors.Is(err, authkit.ErrSessionNotFound):
			span.SetAttributes(attribute.String("authkit.result", "not_found"))
		case errors.Is(err, authkit.ErrEmailTaken):
			span.SetAttributes(attribute.String("authkit.result", "email_taken"))
		case errors.Is(err, context.Canceled):
			span.SetAttributes(attribute.String("authkit.result", "canceled"))
		default:
			span.SetStatus(codes.Error, "the store failed")
		}
		span.End()
	}
}

func isThrottled(err error) bool {
	_, ok := errors.AsType[*authkit.ThrottledError](err)
	return ok
}
