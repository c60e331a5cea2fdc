// Package throttle slows down whoever guesses passwords, without locking out whom the
// account belongs to. It is an [authkit.Throttle]:
//
//	limits, err := throttle.New(throttle.Config{Secret: secret})
//	kit, err := authkit.New(authkit.Config{Throttle: limits, …})
//	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
//
// # What is counted
//
// Failures of an address: 20 logins at once, and one more every 3 seconds. IPv6 addresses
// count by /64, which is what one customer has. Behind a proxy the address is that of the
// proxy until [TrustProxies] says otherwise.
//
// Failures of an account on end, from wherever: four cost nothing, the fifth 30 seconds, each
// one more twice as long, up to an hour. While it waits, the right password is refused as well. At
// a hundred it is refused until the password is set anew; see [authkit.Kit.SetPassword]. n
// failures are forgotten after n days. Names that no account has are counted alike.
//
// # Who is not locked out
//
// A place of past success has a counter of its own, which a stranger cannot reach: the address
// of a login within the last 90 days, for the account that logged in; and, by
// [Throttle.Device], the browser, wherever it is. That is not held to the limit of its address
// either, which it may share with those who guess. A success clears the counter that it was
// counted on, and no other: a user who logs in every day gives an attacker no new guesses.
//
// # Where it is kept
//
// [Memory] is for one program, and forgets when that ends. Several instances need a [Store] that they
// share, such as package redisstore's, and then behave as one. If it fails, each goes on with a Memory of its own for
// the time being, and tells OnEvent; see [Config].FailClosed.
package throttle

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	storeTimeout = time.Second
	storeRest    = time.Second // for which a store that failed is not asked again
	fallbackKeys = 100_000
	minSecret    = 32
	maxBurst     = 10_000
	minEvery     = time.Millisecond
	maxEvery     = 24 * time.Hour
)

// Config configures a [Throttle]. Its zero value is good for a single instance without
// [Throttle.Device].
type Config struct {
	// Store keeps the counters; nil means a new [Memory].
	Store Store

	// Secret signs the cookies of [Throttle.Device], and blinds what is stored: 32 random
	// bytes or more, used for nothing else, the same in every instance on one Store. Nil
	// means that there are no such cookies.
	Secret []byte

	// Limits are limits by address, in place of the default ones or for actions of the host's own:
	//
	//	login, code   20 failures, and one every 3 s
	//	refresh       600 failures, and one every 100 ms
	//	register      5, and one every 2 min
	//	reset         5, and one every 2 min; besides 3 for an account, and one every 20 min
	//	hash          10, and one every 6 s
	Limits map[string]Limit

	// InsecureNoAddressLimits leaves the limits by address out. Then one address can try a few
	// passwords on every account there is.
	InsecureNoAddressLimits bool

	// FailClosed refuses every attempt while Store fails, with 503. By default the instance
	// then counts in its own memory: it limits what comes in meanwhile, but has none of what
	// was counted before, and knows no address of past success.
	FailClosed bool

	// OnEvent is told when Store fails, at most once a second, and what [Throttle.Limit] refuses: give
	// it the function of authkit.Config.OnEvent. Nil means authkit.LogEvents(slog.Default()).
	OnEvent func(context.Context, authkit.Event)
}

// Format writes nothing of the configuration, which holds a secret.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("throttle.Config{[redacted]}")) }

// A rule is what an action is limited by.
type rule struct {
	address, account Limit // a zero Burst: none
	counter          bool
}

func defaultRules() map[string]rule {
	guess := rule{address: Limit{20, 3 * time.Second}, counter: true}
	return map[string]rule{
		authkit.ActionLogin:    guess,
		authkit.ActionCode:     guess,
		authkit.ActionRefresh:  {address: Limit{600, 100 * time.Millisecond}},
		authkit.ActionRegister: {address: Limit{5, 2 * time.Minute}},
		authkit.ActionReset:    {address: Limit{5, 2 * time.Minute}, account: Limit{3, 20 * time.Minute}},
		authkit.ActionHash:     {address: Limit{10, 6 * time.Second}},
	}
}

// A Throttle is an [authkit.Throttle]. It is safe for concurrent use.
type Throttle struct {
	store      Store
	fallback   *Memory // nil: none
	rules      map[string]rule
	noAddress  bool
	keySecret  []byte
	cookies    []byte // the key of the cookies; nil: none
	onEvent    func(context.Context, authkit.Event)
	retryStore atomic.Int64 // when a store that failed is asked again, in nanoseconds since 1970
}

// New returns a Throttle, or an error that joins every fault of cfg.
func New(cfg Config) (*Throttle, error) {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("throttle: Config."+format, args...))
	}
	t := &Throttle{store: cfg.Store, rules: defaultRules(), noAddress: cfg.InsecureNoAddressLimits, onEvent: cfg.OnEvent}
	if m, ok := cfg.Store.(*Memory); ok && (m == nil || m.sets == nil) {
		fault("Store: an empty Memory; make it with NewMemory")
	}
	switch {
	case t.store == nil:
		t.store = NewMemory(0)
	case !cfg.FailClosed:
		t.fallback = NewMemory(fallbackKeys)
	}
	if n := len(cfg.Secret); n > 0 && n < minSecret {
		fault("Secret: %d bytes; use %d random ones or more, or none for no cookies", n, minSecret)
	}
	t.keySecret = derive("keys", cfg.Secret)
	if len(cfg.Secret) > 0 {
		t.cookies = derive("cookies", cfg.Secret)
	}
	for _, action := range slices.Sorted(maps.Keys(cfg.Limits)) {
		l := cfg.Limits[action]
		if l.Burst < 1 || l.Burst > maxBurst || l.Every < minEvery || l.Every > maxEvery || l.Every%time.Microsecond != 0 {
			fault("Limits[%q]: %d, and one every %v; use a Burst of 1 to %d, and an Every of %v to %v in whole microseconds",
				action, l.Burst, l.Every, maxBurst, minEvery, maxEvery)
		}
		t.rules[action] = rule{l, t.rules[action].account, t.rules[action].counter}
	}
	if t.onEvent == nil {
		t.onEvent = authkit.LogEvents(nil)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// derive makes one key of several from a secret.
func derive(purpose string, secret []byte) []byte {
	sum := sha256.Sum256(append([]byte("authkit throttle "+purpose+"\x00"), secret...))
	return sum[:]
}

// key returns the key of a record: a digest of its parts, each behind its length.
func (t *Throttle) key(kind, action string, parts ...string) Key {
	buf := append(make([]byte, 0, 512), t.keySecret...)
	for _, part := range append([]string{kind, action}, parts...) {
		buf = append(binary.AppendUvarint(buf, uint64(len(part))), part...)
	}
	sum := sha256.Sum256(buf)
	return Key(sum[:16])
}

// network returns what of an address is counted, as text: an IPv4 address, or the /64 of an IPv6 one.
// What is not an address is one by itself; an empty one is none.
func network(address string) string {
	addr, ok := parseAddr(address)
	if !ok {
		return address
	}
	prefix, _ := addr.Prefix(min(64, addr.BitLen())) // cannot fail: there are as many bits
	return prefix.String()
}

// take returns what an attempt is counted on.
func (t *Throttle) take(ctx context.Context, a authkit.Attempt) (Take, error) {
	r, ok := t.rules[a.Action]
	if !ok {
		return Take{}, fmt.Errorf("throttle: no limit for the action %q; set Config.Limits", a.Action)
	}
	take := Take{At: time.Now().UTC().Truncate(time.Microsecond), Curve: defaultCurve}
	from, known := network(a.Client.Address), ""
	if r.counter && a.Account != "" {
		take.Counter, take.Pardon = t.key("account", a.Action, a.Account), t.key("pardon", a.Action, a.Account)
		if known = t.device(ctx, a.Account); known != "" {
			take.Counter = t.key("device", a.Action, a.Account, known)
		} else if from != "" {
			take.Source = t.key("source", a.Action, a.Account, from)
		}
	}
	if r.address.Burst > 0 && from != "" && known == "" && !t.noAddress {
		take.Buckets = append(take.Buckets, Bucket{t.key("address", a.Action, from), r.address})
	}
	if r.account.Burst > 0 && a.Account != "" {
		take.Buckets = append(take.Buckets, Bucket{t.key("rate", a.Action, a.Account), r.account})
	}
	return take, nil
}

// Begin implements [authkit.Throttle].
func (t *Throttle) Begin(ctx context.Context, a authkit.Attempt) error {
	return t.call(ctx, a, func(ctx context.Context, s Store, take Take) error {
		v, err := s.Take(ctx, take)
		if err == nil && v != (Verdict{}) {
			err = &authkit.ThrottledError{RetryAfter: max(v.Bucket, v.Counter), Account: v.Counter > v.Bucket}
		}
		return err
	})
}

// End implements [authkit.Throttle]. After a login it gives the browser its cookie; see
// [Throttle.Device].
func (t *Throttle) End(ctx context.Context, a authkit.Attempt, succeeded bool) error {
	if succeeded && a.Action == authkit.ActionLogin {
		t.remember(ctx, a.Account)
	}
	return t.call(ctx, a, func(ctx context.Context, s Store, take Take) error { return s.Settle(ctx, take, succeeded) })
}

// Clear implements [authkit.Throttle]: it lets an account log in again, from everywhere.
// [authkit.Kit.SetPassword] does it by itself. An administrator's page can do it with
// authkit.Attempt{Action: authkit.ActionLogin, Account: email}.
func (t *Throttle) Clear(ctx context.Context, a authkit.Attempt) error {
	ctx = context.WithValue(ctx, deviceKey{}, nil) // the counter is the account's, not that of a browser
	return t.call(ctx, a, func(ctx context.Context, s Store, take Take) error {
		if take.Counter == (Key{}) {
			return nil
		}
		return s.Clear(ctx, take)
	})
}

// call makes a call to the store about an attempt that is counted on anything, or to the fallback while
// the store fails. Whoever hangs up does not stop it (LO-07), nor gets to the fallback by it.
func (t *Throttle) call(ctx context.Context, a authkit.Attempt, do func(context.Context, Store, Take) error) error {
	take, err := t.take(ctx, a)
	if err != nil || len(take.Buckets) == 0 && take.Counter == (Key{}) {
		return err
	}
	now := time.Now()
	if t.fallback != nil && now.UnixNano() < t.retryStore.Load() {
		return do(context.WithoutCancel(ctx), t.fallback, take)
	}
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err = do(timed, t.store, take)
	if _, refused := errors.AsType[*authkit.ThrottledError](err); refused || err == nil || t.fallback == nil {
		return err
	}
	until := t.retryStore.Load()
	if until <= now.UnixNano() && t.retryStore.CompareAndSwap(until, time.Now().Add(storeRest).UnixNano()) {
		t.onEvent(ctx, authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: fmt.Errorf("throttle: counting in memory: %w", err)})
	}
	return do(context.WithoutCancel(ctx), t.fallback, take)
}

// Doctor returns the problems of the configuration, and those that the store reports if it
// has this method too. Package doctor calls it.
func (t *Throttle) Doctor(ctx context.Context) (found []authkit.Finding) {
	find := func(code string, severity slog.Level, text, fix string) {
		found = append(found, authkit.Finding{Code: code, Severity: severity, Text: text, Fix: fix})
	}
	if t.noAddress {
		find("no_address_limits", slog.LevelWarn, "one address can try a few passwords on every account without a limit",
			"set InsecureNoAddressLimits of throttle.Config to false, with TrustProxies where there are proxies")
	}
	if _, ok := t.store.(*Memory); ok {
		find("memory_throttle", slog.LevelInfo, "attempts are counted in memory: every instance has its own limits, and a restart resets them",
			"for several instances, set Store of throttle.Config to one that they share, such as that of package redisstore")
	}
	if t.cookies == nil {
		find("no_known_browsers", slog.LevelInfo, "no browser is known: an attacker can lock out users who log in from new addresses",
			"set Secret of throttle.Config, and put Throttle.Device around the login handler")
	}
	if d, ok := t.store.(interface {
		Doctor(context.Context) []authkit.Finding
	}); ok {
		found = append(found, d.Doctor(ctx)...)
	}
	return found
}
