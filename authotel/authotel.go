// Package authotel tells OpenTelemetry what a service on authkit does: metrics for dashboards
// and alerts, and spans for traces.
//
//	telemetry, err := authotel.New(authotel.Options{MeterProvider: meters, TracerProvider: traces})
//	kit, err := authkit.New(authkit.Config{OnEvent: telemetry.OnEvent, Users: telemetry.Users(store), …})
//	telemetry.Observe(kit)
//
// The providers are arguments, and never the global ones. Where OnEvent has several listeners,
// such as an audit log, it is a function of the host's that calls each.
//
// # Metrics
//
//	authkit.events                     {event, reason}  every event, by its kind and its private reason
//	authkit.tokens.verified                             access tokens that a guard or Identify found good
//	authkit.sessions.active            gauge            sessions that were begun or renewed in the last 30 to 60 minutes
//	authkit.hash.running               gauge            password hashes that run now
//	authkit.hash.waiting               gauge            callers that wait for their turn to hash
//	authkit.hash.turns                                  turns that were had
//	authkit.hash.wait                  seconds          what they waited in all
//	authkit.failing.accounts           gauge            accounts with a failed login, in the last 5 to 10 minutes
//	authkit.failing.addresses          gauge            addresses with a failed login, likewise
//	authkit.audit.written, .lost                        entries that were written, events that were lost
//	authkit.audit.waiting, .failing    gauge            entries in the queue; 1 while the store fails
//
// Those without a word are counters. Logins by outcome are authkit.events of authn_login_success,
// authn_login_fail and authn_login_fail_max, refusals those of authn_token_refused and
// authz_fail, what is throttled those of authn_login_fail_max and excess_rate_limit_exceeded.
// The pairs that authkit emits begin at zero, so that the first of them is an increase. A host's own
// kinds are counted too, up to 512 pairs; the rest is event "other".
//
// No metric and no span names a user, a session, an address, or anything that somebody typed. Active
// sessions, failing accounts and failing addresses are estimates from bitmaps that cannot be read
// back, within 2 % up to 100,000. Each instance has its own: in the sum of several instances, what was
// seen at two counts twice. A session in use is renewed once in the life of an access token, an
// hour at most; one that has ended since still counts.
//
// # Spans
//
// [Telemetry.Handler] puts a span around a handler, such as the token endpoint, and
// [Telemetry.Users], [Telemetry.Sessions] and [Telemetry.Throttle] one around each call to a
// store or a throttle. Every event is added to the span that is current. An error is in a span as a
// fixed text: what a database writes may quote what it stores. The spans are internal ones: what reads
// a traceparent header and makes the span of the request, such as otelhttp, belongs around them.
//
// # What it costs
//
// A counter is an atomic number, and is read when metrics are collected. A guarded request
// that passes emits no event, and one counter is added to, with metrics or without.
package authotel

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/authkit-go/authkit/authotel"

// Options say where to. At least one must be set.
type Options struct {
	MeterProvider  metric.MeterProvider // nil: no metrics
	TracerProvider trace.TracerProvider // nil: no spans
}

// A Telemetry tells OpenTelemetry of one service. It is safe for concurrent use.
type Telemetry struct {
	tracer trace.Tracer // nil: no spans
	meter  bool
	events events
	active distinct                               // sessions
	failed struct{ accounts, addresses distinct } // with a login

	mu   sync.Mutex
	kits []interface{ Stats() authkit.Stats }
	logs []*audit.Log
}

// New returns a Telemetry that reports to the providers until they are shut down. Make one for each
// MeterProvider: of the gauges of two, only one would be seen.
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

// Observe reports the [authkit.Stats] of a Kit or a Guard from now on. Those of several are added up.
func (t *Telemetry) Observe(kit interface{ Stats() authkit.Stats }) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kits = append(t.kits, kit)
}

// ObserveAudit reports the [audit.Stats] of a log from now on. Those of several are added up.
func (t *Telemetry) ObserveAudit(log *audit.Log) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.logs = append(t.logs, log)
}

// OnEvent is for [authkit.Config].OnEvent and the like, of a Kit, a Guard and a throttle alike.
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

// network returns what of an address is counted: an IPv4 address, or the /64 of an IPv6 one,
// which is what one customer has.
func network(address string) string {
	addr, err := netip.ParseAddr(address)
	if addr = addr.Unmap().WithZone(""); err != nil || addr.Is4() {
		return address
	}
	prefix, _ := addr.Prefix(64) // cannot fail: there are as many bits
	return prefix.String()
}

// guessed reports whether a login failed for what was typed.
func guessed(reason authkit.Reason) bool {
	switch reason {
	case authkit.ReasonUnknownUser, authkit.ReasonWrongPassword, authkit.ReasonNoPassword:
		return true
	}
	return false
}
