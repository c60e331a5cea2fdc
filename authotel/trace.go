package authotel

import (
	"context"
	"errors"
	"net/http"
	"time"

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
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
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

// doctor asks a store about itself, which its wrapping would hide.
func doctor(ctx context.Context, store any) []authkit.Finding {
	if d, ok := store.(interface {
		Doctor(context.Context) []authkit.Finding
	}); ok {
		return d.Doctor(ctx)
	}
	return nil
}

type users struct {
	store authkit.UserStore
	spans spans
}

func (u users) Doctor(ctx context.Context) []authkit.Finding { return doctor(ctx, u.store) }

func (u users) CreateUser(ctx context.Context, user authkit.StoredUser) error {
	ctx, end := u.spans.start(ctx, "CreateUser")
	err := u.store.CreateUser(ctx, user)
	end(err)
	return err
}

func (u users) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	ctx, end := u.spans.start(ctx, "UserByID")
	user, err := u.store.UserByID(ctx, id)
	end(err)
	return user, err
}

func (u users) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	ctx, end := u.spans.start(ctx, "UserByEmail")
	user, err := u.store.UserByEmail(ctx, email)
	end(err)
	return user, err
}

func (u users) ListUsers(ctx context.Context, after string, limit int) ([]authkit.User, error) {
	ctx, end := u.spans.start(ctx, "ListUsers")
	list, err := u.store.ListUsers(ctx, after, limit)
	end(err)
	return list, err
}

func (u users) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	ctx, end := u.spans.start(ctx, "UpdateUser")
	user, err := u.store.UpdateUser(ctx, id, change, at)
	end(err)
	return user, err
}

func (u users) SwapPasswordHash(ctx context.Context, id string, old, new authkit.PasswordHash, at time.Time) (bool, error) {
	ctx, end := u.spans.start(ctx, "SwapPasswordHash")
	swapped, err := u.store.SwapPasswordHash(ctx, id, old, new, at)
	end(err)
	return swapped, err
}

func (u users) DeleteUser(ctx context.Context, id string) error {
	ctx, end := u.spans.start(ctx, "DeleteUser")
	err := u.store.DeleteUser(ctx, id)
	end(err)
	return err
}

type sessions struct {
	store authkit.SessionStore
	spans spans
}

func (s sessions) Doctor(ctx context.Context) []authkit.Finding { return doctor(ctx, s.store) }

func (s sessions) CreateSession(ctx context.Context, session authkit.StoredSession, limit int) error {
	ctx, end := s.spans.start(ctx, "CreateSession")
	err := s.store.CreateSession(ctx, session, limit)
	end(err)
	return err
}

func (s sessions) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	ctx, end := s.spans.start(ctx, "SessionByID")
	session, err := s.store.SessionByID(ctx, id)
	end(err)
	return session, err
}

func (s sessions) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	ctx, end := s.spans.start(ctx, "SessionsByUser")
	list, err := s.store.SessionsByUser(ctx, userID)
	end(err)
	return list, err
}

func (s sessions) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	ctx, end := s.spans.start(ctx, "RotateSession")
	session, rotated, err := s.store.RotateSession(ctx, id, r)
	end(err)
	return session, rotated, err
}

func (s sessions) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	ctx, end := s.spans.start(ctx, "RevokeSession")
	revoked, err := s.store.RevokeSession(ctx, userID, id, at)
	end(err)
	return revoked, err
}

func (s sessions) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	ctx, end := s.spans.start(ctx, "RevokeSessions")
	err := s.store.RevokeSessions(ctx, userID, except, at)
	end(err)
	return err
}

func (s sessions) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	ctx, end := s.spans.start(ctx, "Revocations")
	list, err := s.store.Revocations(ctx, since)
	end(err)
	return list, err
}

func (s sessions) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	ctx, end := s.spans.start(ctx, "DeleteExpired")
	n, err := s.store.DeleteExpired(ctx, at, revokedBefore, limit)
	end(err)
	return n, err
}
