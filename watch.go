package authkit

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	defaultWatchInterval = 30 * time.Second
	minWatchInterval     = time.Second

	// watchFailures is the number of checks in a row in which the store may
	// fail. If a stream ended at each failure, its client would connect again,
	// to a service that is already overloaded.
	watchFailures = 3
)

// Watch returns a context for a long-running handler, such as that of a
// WebSocket or of server-sent events. A guard checks a request once, when it
// comes in. Watch checks it again periodically.
//
// Watch cancels the context when a new request with the same credential would
// be refused: because the token has expired, the user has logged out, the
// account is disabled, or a required role was removed. It also cancels the
// context when ctx is done. See [Guard.Watch].
//
//	ctx, stop := kit.Watch(r.Context(), authkit.Authenticated(), 0)
//	defer stop()
func (k *Kit) Watch(ctx context.Context, p Policy, interval time.Duration) (watched context.Context, stop func()) {
	return k.guard.Watch(ctx, p, interval)
}

// Watch returns a context that is cancelled when ctx is done, or when the principal of ctx
// may not pass the policy any more. The principal is that of a guard of g, of [Guard.Identify]
// or of [Guard.IdentifyToken]. The policy is usually that of the route.
//
// It authenticates the same credential again after each interval, and when the credential
// expires. If interval is zero, it is 30 seconds; the least is one second. Checks are up to a
// tenth earlier, so that streams that began together are not checked together. They do not
// prolong a session, and cause no event.
//
// context.Cause returns the reason of the end:
//   - ErrInvalidToken if the credential is refused or its session has ended;
//     ErrTokenExpired, which wraps ErrInvalidToken, if it has expired.
//   - ErrUserDisabled if the account is disabled.
//   - ErrForbidden or a [*StepUpError] if the policy does not admit the principal any more.
//   - The error of a function of [Policy.And].
//   - ErrUnavailable if a store failed in three checks in a row.
//   - ErrNoCredentials if ctx has no principal of g. The context is cancelled at once then.
//   - The cause of ctx, or context.Canceled after stop.
//
// Watch keeps a copy of the request's header. If the session cookie is
// replaced, for instance by [Kit.RenewSessionCookie], the streams that were
// opened with the old cookie end. A credential that its [Authenticator] accepts
// only once cannot be watched.
//
// Call stop when the handler returns. It waits for a check that is running. If
// stop is not called, the goroutine of Watch ends when ctx is done, so at the
// end of the request.
func (g *Guard) Watch(ctx context.Context, p Policy, interval time.Duration) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	c := fromContext(ctx)
	if c == nil || c.guard != g {
		cancel(ErrNoCredentials)
		return watched, func() {}
	}
	if interval == 0 {
		interval = defaultWatchInterval
	}
	w := watch{ctx: watched, guard: g, policy: p, first: c, interval: max(interval, minWatchInterval)}
	if c.request != nil && (c.other != nil || len(p.checks) > 0) {
		w.request = c.request.Clone(watched) // a copy, because the handler may edit the header
		w.request.Body = http.NoBody
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(w.run())
	}()
	return watched, func() {
		cancel(context.Canceled)
		<-done
	}
}

// A watch is one call of Watch.
type watch struct {
	ctx      context.Context
	guard    *Guard
	policy   Policy
	first    *requestContext
	request  *http.Request // nil if neither the credential nor the policy needs it
	interval time.Duration
}

// run returns when the context is done, or with the reason to cancel it.
func (w *watch) run() error {
	last, failures := w.first, 0
	timer := time.NewTimer(w.wait(last))
	defer timer.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return w.ctx.Err() // too late to be the cause
		case <-timer.C:
		}
		c, err := w.check()
		switch {
		case err == nil:
			last, failures = c, 0
		case !errors.Is(err, ErrUnavailable) || failures+1 == watchFailures:
			return err
		default:
			failures++
		}
		timer.Reset(w.wait(last))
	}
}

// wait returns how long to wait for the next check of a credential.
func (w *watch) wait(c *requestContext) time.Duration {
	d := w.interval - rand.N(w.interval/10+1)
	var expires time.Time
	switch {
	case c.other != nil:
		expires = c.other.ExpiresAt
	case c.expires != 0:
		expires = time.Unix(c.expires+w.guard.verifier.leeway, 0)
	}
	if left := time.Until(expires); left > 0 {
		d = min(d, left)
	}
	return d
}

// check authenticates the credential again. It must be that of the same user and session.
func (w *watch) check() (*requestContext, error) {
	var c *requestContext
	var err error
	if w.first.other != nil && w.request != nil {
		c, err = w.guard.identify(w.request)
	} else {
		c, err = w.guard.identifyToken(w.ctx, w.first.token)
	}
	if err != nil {
		return nil, err
	}
	if c.user.ID != w.first.user.ID || c.sessionID != w.first.sessionID {
		return nil, errOtherAccount
	}
	who := c.facts()
	if err := w.policy.check(&who); err != nil {
		return nil, err
	}
	for _, check := range w.policy.checks {
		if w.request == nil { // a token without a request
			return nil, ErrForbidden
		}
		if _, err := check.ok(w.request.WithContext(c)); err != nil {
			return nil, err
		}
	}
	return c, nil
}
