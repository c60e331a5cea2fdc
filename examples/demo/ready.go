package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

// How long /readyz waits for the stores, and for how long its answer holds. Any client may
// call it, so that calls must not add up to load on the stores.
const (
	readyTimeout = 2 * time.Second
	readyHolds   = time.Second
)

// A readiness finds out whether the stores answer. The throttle is no part of it, since it
// counts in memory while its store fails.
type readiness struct {
	store *storage

	mu    sync.Mutex // held while the stores are asked
	asked time.Time
	err   error
}

// check looks up an account and a session that do not exist, unless it did so a moment ago.
func (r *readiness) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asked) < readyHolds {
		return r.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout) // not the context of one of many callers
	defer cancel()
	_, users := r.store.users.UserByID(ctx, "readyz")
	if errors.Is(users, authkit.ErrUserNotFound) {
		users = nil
	}
	_, sessions := r.store.sessions.SessionByID(ctx, "readyz")
	if errors.Is(sessions, authkit.ErrSessionNotFound) {
		sessions = nil
	}
	r.asked, r.err = time.Now(), errors.Join(users, sessions)
	return r.err
}

// serve answers whether the service can do its work: 503 takes it out of a load balancer.
func (r *readiness) serve(w http.ResponseWriter, req *http.Request) {
	if r.check() != nil {
		authkit.ProblemFor(authkit.ErrUnavailable).ServeHTTP(w, req)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
