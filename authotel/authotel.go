// Package authotel reports metrics and traces of authkit to OpenTelemetry.
//
//	telemetry, err := authotel.New(authotel.Options{MeterProvider: meters, TracerProvider: traces})
//	kit, err := authkit.New(authkit.Config{
//		Users:    telemetry.Users(store),
//		Sessions: authkit.SessionConfig{Store: telemetry.Sessions(store)},
//		Tickets:  telemetry.Tickets(store),
//		OnEvent:  []func(context.Context, authkit.Event){telemetry.OnEvent},
//	})
//	telemetry.Observe(kit)
//
// The providers are arguments. The package does not use the global ones.
//
// # Metrics
//
//	authkit.events                     {event, reason}  events by kind and private reason
//	authkit.tokens.verified                             access tokens that a guard or Identify accepted
//	authkit.sessions.active            gauge            sessions begun or renewed in the last 30 to 60 minutes
//	authkit.hash.running               gauge            password hashes that are running
//	authkit.hash.waiting               gauge            callers that wait for a hash
//	authkit.hash.turns                                  hashes that were begun
//	authkit.hash.wait                  seconds          total time that callers waited for a hash
//	authkit.failing.accounts           gauge            accounts with a failed login in the last 5 to 10 minutes
//	authkit.failing.addresses          gauge            addresses with a failed login in that time
//	authkit.audit.written, .lost                        entries written, events lost
//	authkit.audit.waiting, .failing    gauge            entries in the queue; 1 while the store fails
//
// All metrics that are not gauges are counters.
//
// These values of event are the most useful:
//
//   - authn_login_success, authn_login_fail, authn_login_challenge: logins by
//     result
//   - authn_login_fail_max, excess_rate_limit_exceeded: throttled attempts
//   - authn_token_refused, authz_fail: refused requests
//
// The pairs of event and reason that authkit emits begin at zero, so that the
// first event is an increase. Any other kind or reason is counted as well, such
// as those of your program. Beyond 512 pairs, events are counted as event
// "other".
//
// No metric and no span contains a user, a session, an address or text that a
// client sent. The numbers of active sessions, failing accounts and failing
// addresses are estimates from bitmaps. Their error is below 2 % up to 100,000.
// The bitmaps cannot be read back.
//
// Each instance of a service has its bitmaps. In the sum of several instances,
// an account seen by two of them counts twice. A session in use is renewed once
// in the lifetime of an access token, which is an hour at most. A session that
// has ended still counts until its time is over.
//
// # Spans
//
// [Telemetry.Handler] makes a span around a handler, such as the token
// endpoint. [Telemetry.Users], [Telemetry.Sessions], [Telemetry.Tickets] and
// [Telemetry.Throttle] make a span around each call to a store or a throttle.
// Their names are those of the interface and the method, such as
// "UserStore.UserByID".
//
// Each event is added to the current span. Errors are recorded as fixed texts,
// because the text of a database error may contain stored data.
//
// All spans are internal. A handler that reads the traceparent header and makes
// the span of the request, such as otelhttp, belongs around them.
//
// # Cost
//
// A counter is one atomic number, which is read when metrics are collected. A
// guarded request that passes emits no event and increments one counter, with
// or without metrics.
package authotel

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/throttle"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/authkit-go/authkit/authotel"

// Options are the providers of a [Telemetry]. At least one must be set.
type Options struct {
	MeterProvider  metric.MeterProvider // if nil, there are no metrics
	TracerProvider trace.TracerProvider // if nil, there are no spans
}

// A Telemetry reports one service to OpenTelemetry. It is safe for concurrent
// use. Make one with [New].
type Telemetry struct {
	tracer trace.Tracer // nil: no spans
	meter  bool
	events events
	active distinct                               // sessions
	failed struct{ accounts, addresses distinct } // of failed logins

	mu   sync.Mutex
	kits []interface{ Stats() authkit.Stats }
	logs []*audit.Log
}

// New returns a Telemetry that reports to the providers until they are shut
// down. Make only one for each MeterProvider: the gauges of a second one would
// be ignored.
func New(opts Options) (*Telemetry, error) {
	if opts.MeterProvider == nil && opts.TracerProvider == nil {
		return nil, errors.New("authotel: no provider; set Options.MeterProvider, Options.TracerProvider, or both")
	}
	t := new(Telemetry)
	t.active.window, t.failed.accounts.window, t.failed.addresses.window = 30*time.Minute, 5*time.Minute, 5*time.Minute
	if opts.TracerProvider != nil {
		t.tracer = opts.TracerProvider.Tracer(scope)
	}
	if opts.MeterProvider != nil {
		t.meter = true
		t.events.init()
		if err := t.register(opts.MeterProvider.Meter(scope)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Observe adds the [authkit.Stats] of a Kit or a Guard to the metrics. The
// metrics are the sum of all that were added.
func (t *Telemetry) Observe(kit interface{ Stats() authkit.Stats }) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kits = append(t.kits, kit)
}

// ObserveAudit adds the [audit.Stats] of a log to the metrics. The metrics are
// the sum of all that were added.
func (t *Telemetry) ObserveAudit(log *audit.Log) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.logs = append(t.logs, log)
}

// OnEvent counts an event and adds it to the current span. Use it as the
// OnEvent of a Kit, a Guard or a throttle.
func (t *Telemetry) OnEvent(ctx context.Context, e authkit.Event) {
	if t.meter {
		t.events.count(pair{e.Kind, e.Reason})
		switch {
		case e.Kind == authkit.EventLoginSuccess, e.Kind == authkit.EventSessionRenewed:
			t.active.add(e.SessionID)
		case e.Kind == authkit.EventLoginFailure && guessed(e.Reason):
			t.failed.accounts.add(e.UserID)
			t.failed.addresses.add(network(authkit.ClientFrom(ctx).Address))
		}
	}
	if t.tracer == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attributes := make([]attribute.KeyValue, 0, 2)
	if e.Reason != "" {
		attributes = append(attributes, attribute.String("authkit.reason", string(e.Reason)))
	}
	if e.Route != "" {
		attributes = append(attributes, attribute.String("authkit.route", e.Route))
	}
	span.AddEvent(string(e.Kind), trace.WithAttributes(attributes...))
	if e.Err != nil {
		span.SetStatus(codes.Error, string(e.Kind))
	}
}

// network returns the part of an address that is counted. It is that of package
// throttle, or the whole text if it is not an address.
func network(address string) string {
	if prefix, ok := throttle.Network(address); ok {
		return prefix.String()
	}
	return address
}

// guessed reports whether a login failed because of a wrong name, password or
// code.
func guessed(reason authkit.Reason) bool {
	switch reason {
	case authkit.ReasonUnknownUser, authkit.ReasonWrongPassword, authkit.ReasonNoPassword, authkit.ReasonWrongCode, authkit.ReasonWrongProof:
		return true
	}
	return false
}
