package authotel

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// A pair is the kind and reason of events that are counted together.
type pair struct {
	kind   authkit.EventKind
	reason authkit.Reason
}

// maxPairs bounds the number of time series, because programs can define kinds
// and reasons.
const maxPairs = 512

// usual returns the pairs that authkit and its packages emit.
func usual() map[authkit.EventKind][]authkit.Reason {
	none := []authkit.Reason{""}
	return map[authkit.EventKind][]authkit.Reason{
		authkit.EventLoginSuccess: none,
		authkit.EventLoginFailure: {
			authkit.ReasonUnknownUser, authkit.ReasonWrongPassword, authkit.ReasonNoPassword, authkit.ReasonUnreadableHash, authkit.ReasonDisabled,
			authkit.ReasonOverloaded, authkit.ReasonStore, authkit.ReasonCanceled, authkit.ReasonTimeout, authkit.ReasonInternal, authkit.ReasonRevokedBefore,
			authkit.ReasonLocked, authkit.ReasonUnverified, authkit.ReasonWrongCode, authkit.ReasonWrongProof, authkit.ReasonMalformed, authkit.ReasonOtherAccount,
		},
		authkit.EventLoginChallenge: none,
		authkit.EventLoginThrottled: {authkit.ReasonThrottled},
		authkit.EventRateLimited:    {authkit.ReasonThrottled},
		authkit.EventTokenRefused: {
			authkit.ReasonMalformed, authkit.ReasonTooLarge, authkit.ReasonBadSignature, authkit.ReasonBadClaims, authkit.ReasonExpired, authkit.ReasonNotYetValid,
			authkit.ReasonUnknownUser, authkit.ReasonOtherAccount, authkit.ReasonDisabled, authkit.ReasonRevoked, authkit.ReasonRevokedBefore,
			authkit.ReasonTooMany,
		},
		authkit.EventAccessDenied:   {authkit.ReasonMissingRole, authkit.ReasonMissingFactor, authkit.ReasonMachine, authkit.ReasonCrossOrigin},
		authkit.EventSessionRenewed: none,
		authkit.EventRefreshFailure: {
			authkit.ReasonMalformed, authkit.ReasonRevoked, authkit.ReasonExpired, authkit.ReasonUnknownUser, authkit.ReasonDisabled, authkit.ReasonRevokedBefore, authkit.ReasonOtherAccount,
			authkit.ReasonStore, authkit.ReasonCanceled, authkit.ReasonTimeout, authkit.ReasonInternal, authkit.ReasonLocked, authkit.ReasonUnverified,
		},
		authkit.EventTokenReuse:      {authkit.ReasonReused},
		authkit.EventLogout:          none,
		authkit.EventPasswordRehash:  {"", authkit.ReasonStore, authkit.ReasonCanceled, authkit.ReasonTimeout, authkit.ReasonInternal},
		authkit.EventPasswordCheck:   {"", authkit.ReasonWrongPassword},
		authkit.EventPasswordChange:  none,
		authkit.EventUserCreated:     none,
		authkit.EventUserUpdated:     none,
		authkit.EventRolesChanged:    none,
		authkit.EventUserLocked:      none,
		authkit.EventUserUnlocked:    none,
		authkit.EventUserDisabled:    none,
		authkit.EventUserEnabled:     none,
		authkit.EventUserDeleted:     none,
		authkit.EventFactorAdded:     none,
		authkit.EventFactorRemoved:   none,
		authkit.EventFactorReset:     none,
		authkit.EventFactorDisabled:  none,
		authkit.EventRecoveryUsed:    none,
		authkit.EventRecoveryRenewed: none,
		authkit.EventClientSuccess:   none,
		authkit.EventClientFailure:   {authkit.ReasonWrongProof, authkit.ReasonThrottled, authkit.ReasonStore, authkit.ReasonCanceled},
		authkit.EventServiceCreated:  none,
		authkit.EventServiceUpdated:  none,
		authkit.EventServiceDeleted:  none,
		authkit.EventKeyCreated:      none,
		authkit.EventKeyRotated:      none,
		authkit.EventKeyRevoked:      none,
		authkit.EventOrgCreated:      none,
		authkit.EventOrgDeleted:      none,
		authkit.EventMemberInvited:   none,
		authkit.EventInviteRevoked:   none,
		authkit.EventMemberAdded:     none,
		authkit.EventMemberChanged:   none,
		authkit.EventMemberRemoved:   none,
		authkit.EventStoreFailure:    {authkit.ReasonStore},
		authkit.EventMailFailure:     {authkit.ReasonInternal},
	}
}

// A counter counts the events of a pair.
type counter struct {
	n      atomic.Int64
	labels metric.MeasurementOption
}

func newCounter(p pair) *counter {
	set := attribute.NewSet(attribute.String("event", string(p.kind)), attribute.String("reason", string(p.reason)))
	return &counter{labels: metric.WithAttributeSet(set)}
}

// events counts events. It takes no lock for the usual pairs.
type events struct {
	usual map[pair]*counter

	mu    sync.RWMutex
	other map[pair]*counter // guarded by mu
	rest  *counter          // all pairs beyond maxPairs
}

func (e *events) init() {
	e.usual, e.other, e.rest = make(map[pair]*counter), make(map[pair]*counter), newCounter(pair{kind: "other"})
	for kind, reasons := range usual() {
		for _, reason := range reasons {
			e.usual[pair{kind, reason}] = newCounter(pair{kind, reason})
		}
	}
}

// count adds one to the counter of a pair.
func (e *events) count(p pair) {
	c := e.usual[p]
	if c == nil {
		e.mu.RLock()
		c = e.other[p]
		e.mu.RUnlock()
	}
	if c == nil {
		c = e.make(p)
	}
	c.n.Add(1)
}

// make returns the counter of a pair that is not usual. It makes one if needed.
func (e *events) make(p pair) *counter {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.other[p]; c != nil {
		return c
	}
	if len(e.usual)+len(e.other) >= maxPairs {
		return e.rest
	}
	c := newCounter(p)
	e.other[p] = c
	return c
}

// observe reports all counters.
func (e *events) observe(report func(c *counter)) {
	for _, c := range e.usual {
		report(c)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, c := range e.other {
		report(c)
	}
	if e.rest.n.Load() > 0 {
		report(e.rest)
	}
}

// register makes the instruments. All of them are read when metrics are
// collected.
func (t *Telemetry) register(m metric.Meter) error {
	var errs []error
	var all []metric.Observable
	count := func(name, unit, description string) metric.Int64Observable {
		c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs, all = append(errs, err), append(all, c)
		return c
	}
	gauge := func(name, unit, description string) metric.Int64Observable {
		g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs, all = append(errs, err), append(all, g)
		return g
	}
	var (
		counted   = count("authkit.events", "{event}", "Security events.")
		verified  = count("authkit.tokens.verified", "{token}", "Access tokens that a guard or Identify found good.")
		running   = gauge("authkit.hash.running", "{hash}", "Password hashes that run now.")
		waiting   = gauge("authkit.hash.waiting", "{caller}", "Callers that wait for their turn to hash.")
		turns     = count("authkit.hash.turns", "{turn}", "Turns to hash that were had.")
		active    = gauge("authkit.sessions.active", "{session}", "Sessions that were begun or renewed in the last 30 to 60 minutes, about.")
		accounts  = gauge("authkit.failing.accounts", "{account}", "Accounts with a failed login in the last 5 to 10 minutes, about.")
		addresses = gauge("authkit.failing.addresses", "{address}", "Addresses with a failed login in the last 5 to 10 minutes, about.")
		written   = count("authkit.audit.written", "{entry}", "Entries of the audit log that were written.")
		lost      = count("authkit.audit.lost", "{event}", "Events that the audit log lost.")
		queued    = gauge("authkit.audit.waiting", "{entry}", "Entries of the audit log that wait to be written.")
		failing   = gauge("authkit.audit.failing", "{log}", "Audit logs whose store fails.")
	)
	waited, err := m.Float64ObservableCounter("authkit.hash.wait", metric.WithUnit("s"), metric.WithDescription("Time that callers waited for their turn to hash."))
	errs, all = append(errs, err), append(all, waited)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t.events.observe(func(c *counter) { o.ObserveInt64(counted, c.n.Load(), c.labels) })
		o.ObserveInt64(active, t.active.estimate())
		o.ObserveInt64(accounts, t.failed.accounts.estimate())
		o.ObserveInt64(addresses, t.failed.addresses.estimate())
		if s, any := t.stats(); any {
			o.ObserveInt64(verified, int64(s.Verified))
			o.ObserveInt64(running, int64(s.Hashing))
			o.ObserveInt64(waiting, int64(s.Waiting))
			o.ObserveInt64(turns, int64(s.Hashed))
			o.ObserveFloat64(waited, s.Waited.Seconds())
		}
		if s, failed, any := t.auditStats(); any {
			o.ObserveInt64(written, int64(s.Written))
			o.ObserveInt64(lost, int64(s.Lost))
			o.ObserveInt64(queued, int64(s.Waiting))
			o.ObserveInt64(failing, failed)
		}
		return nil
	}, all...)
	return err
}

// stats adds up the Stats of all Kits and Guards, and reports whether there are
// any.
func (t *Telemetry) stats() (sum authkit.Stats, any bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, kit := range t.kits {
		s := kit.Stats()
		sum.Verified += s.Verified
		sum.Hashing += s.Hashing
		sum.Waiting += s.Waiting
		sum.Hashed += s.Hashed
		sum.Waited += s.Waited
	}
	return sum, len(t.kits) > 0
}

// auditStats adds up the Stats of all audit logs, and counts those that fail.
// It reports whether there are any.
func (t *Telemetry) auditStats() (sum audit.Stats, failing int64, any bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, log := range t.logs {
		s := log.Stats()
		sum.Written += s.Written
		sum.Lost += s.Lost
		sum.Waiting += s.Waiting
		if s.Err != nil {
			failing++
		}
	}
	return sum, failing, len(t.logs) > 0
}
