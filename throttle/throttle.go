// Package throttle limits how fast passwords can be guessed, and locks no user
// out of their own account. It implements [authkit.Throttle]:
//
//	limits, err := throttle.New(throttle.Config{Secret: secret})
//	kit, err := authkit.New(authkit.Config{Throttle: limits, ...})
//	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
//
// # Failures
//
// Failures per address: 20 logins at once, and one more every 3 seconds. IPv6
// addresses count by /64, which is the network of one customer. Behind a proxy,
// [TrustProxies] finds the address of the client. Clients without an IP address
// have no such limit.
//
// Consecutive failures per account, from any address: the first four are free,
// the fifth blocks for 30 seconds, and each further one doubles the wait, up to
// an hour. While the account is blocked, the right password is refused too.
// After a hundred failures, the account is blocked until its password is set
// again; see [authkit.Kit.SetPassword]. Below a hundred, n failures are removed
// n days after the last one. Names without an account have the same limits.
//
// An attempt counts as a failure before its password is compared. If it ends
// without a comparison, because a store fails for example, it stops counting
// against the account, but still counts against the address. If an account is
// blocked only by attempts that have not ended, Begin waits for them, for up to
// 5 seconds.
//
// # Known places
//
// Failures at a known place have their own counter, which a stranger cannot
// reach. A place is an address. With [Throttle.Device] it is also a browser, at
// any address, and a known browser is exempt from the limit of its address. A
// place is known to an account for 90 days after the account logged in there.
//
// A success clears only the counter of its own place. The logins of a user
// therefore give an attacker elsewhere no new guesses.
//
// At a known place, repeating the same wrong password is not a new failure, so
// a device that keeps sending an old password does not block its owner. To
// detect this, the counter keeps 16 bits of a MAC of the last wrong password,
// under a key derived from [Config].Secret. A copy of the store without the
// secret reveals nothing about the password. A copy with the secret reveals 16
// bits: one in 65,536 candidates matches.
//
// # Stores
//
// A [Memory] is for one program, and loses its records when the program ends.
// Several instances need a shared [Store], such as that of package redisstore.
// If the store fails, each instance counts in its own memory for the time
// being, and calls OnEvent; see [Config].FailClosed.
package throttle

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	storeTimeout = time.Second
	storeRest    = time.Second // the time for which a failed store is not called again
	fallbackKeys = 100_000
	minSecret    = 32
	maxBurst     = 10_000
	minEvery     = time.Millisecond
	maxEvery     = 24 * time.Hour

	openWait     = 5 * time.Second // the longest wait for attempts that have not ended
	firstPause   = 10 * time.Millisecond
	lastPause    = 250 * time.Millisecond
	maxWaiting   = 256 // callers that may wait for such attempts
	waitOpenOver = time.Second
)

// Config configures a [Throttle]. Its zero value suits a single instance
// without [Throttle.Device].
type Config struct {
	// Store keeps the counters. If nil, it is a new [Memory].
	Store Store

	// Secret signs the cookies of [Throttle.Device], and is the key of the
	// digests in the store. It has 32 random bytes or more, which nothing else
	// uses. All instances on one Store need the same Secret. If nil, there are
	// no such cookies.
	Secret []byte

	// LimitUnaddressed counts all clients without an IP address, such as those
	// of a Unix socket, as one address. By default they have no limit by
	// address, since one of them could otherwise lock out the others. For a
	// proxy that connects over a Unix socket, use [TrustSocketProxies] instead.
	LimitUnaddressed bool

	// Limits replaces default limits by address, or adds those of actions of
	// your program. The default limits are:
	//
	//	login, code   20 failures, and one every 3 s
	//	refresh       600 failures, and one every 100 ms
	//	register      5, and one every 2 min
	//	reset         5, and one every 2 min; for an account 3 in an hour and 10 in a day
	//	hash          10, and one every 6 s
	//	api_key       600 requests of a key, and one every 100 ms, from any address
	//	challenge     60, and one every second
	Limits map[string]Limit

	// InsecureNoAddressLimits turns off the limits by address. One address can
	// then try a few passwords on every account.
	InsecureNoAddressLimits bool

	// FailClosed refuses every attempt with 503 while Store fails. By default,
	// the instance then counts in its own memory. It starts without the earlier
	// counts, and without the known places.
	FailClosed bool

	// OnEvent is called if Store fails, at most once a second, and if
	// [Throttle.Limit] refuses a request. Set it to the function of
	// authkit.Config.OnEvent. If nil, it is authkit.LogEvents(slog.Default()).
	OnEvent func(context.Context, authkit.Event)
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging the configuration does not reveal the secret.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("throttle.Config{[redacted]}")) }

// A rule holds the limits of an action.
type rule struct {
	address Limit   // none if Burst is zero
	account []Limit // at most two
	counter bool
}

func defaultRules() map[string]rule {
	guess := rule{address: Limit{20, 3 * time.Second}, counter: true}
	return map[string]rule{
		authkit.ActionLogin:    guess,
		authkit.ActionCode:     guess,
		authkit.ActionRefresh:  {address: Limit{600, 100 * time.Millisecond}},
		authkit.ActionRegister: {address: Limit{5, 2 * time.Minute}},
		// At most 3 in any hour, and at most 8 + 2 in any day.
		authkit.ActionReset: {address: Limit{5, 2 * time.Minute}, account: []Limit{{3, time.Hour}, {8, 8 * time.Hour}}},
		authkit.ActionHash:  {address: Limit{10, 6 * time.Second}},
		// The account is the ID of a key that was checked.
		authkit.ActionAPIKey:    {account: []Limit{{600, 100 * time.Millisecond}}},
		authkit.ActionChallenge: {address: Limit{60, time.Second}},
	}
}

// A Throttle is an [authkit.Throttle]. It is safe for concurrent use.
type Throttle struct {
	store      Store
	fallback   *Memory // nil if FailClosed is set
	rules      map[string]rule
	noAddress  bool
	noSockets  bool // whether clients without an address have no limit by address
	keySecret  []byte
	guessKey   []byte
	waiting    chan struct{} // has an element for each caller that waits for open attempts
	cookies    []byte        // the key of the cookies; nil if there are none
	onEvent    func(context.Context, authkit.Event)
	retryStore atomic.Int64 // the time after which a failed store is called again, in nanoseconds since 1970
}

// New returns a Throttle, or an error that joins all problems of cfg.
func New(cfg Config) (*Throttle, error) {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("throttle: Config."+format, args...))
	}
	t := &Throttle{store: cfg.Store, rules: defaultRules(), noAddress: cfg.InsecureNoAddressLimits, noSockets: !cfg.LimitUnaddressed,
		onEvent: cfg.OnEvent, waiting: make(chan struct{}, maxWaiting)}
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
		t.cookies, t.guessKey = derive("cookies", cfg.Secret), derive("guesses", cfg.Secret)
	} else {
		t.guessKey = make([]byte, minSecret)
		_, _ = rand.Read(t.guessKey) // never fails
	}
	for _, action := range slices.Sorted(maps.Keys(cfg.Limits)) {
		l := cfg.Limits[action]
		if l.Burst < 1 || l.Burst > maxBurst || l.Every < minEvery || l.Every > maxEvery || l.Every%time.Microsecond != 0 {
			fault("Limits[%q]: %d, and one every %v; use a Burst of 1 to %d, and an Every of %v to %v in whole microseconds",
				action, l.Burst, l.Every, maxBurst, minEvery, maxEvery)
		}
		if action == authkit.ActionAPIKey {
			t.rules[action] = rule{account: []Limit{l}}
			continue
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

// derive returns a key derived from a secret, one for each purpose.
func derive(purpose string, secret []byte) []byte {
	sum := sha256.Sum256(append([]byte("authkit throttle "+purpose+"\x00"), secret...))
	return sum[:]
}

// key returns the key of a record: a digest of its parts, each with its length.
func (t *Throttle) key(kind, action string, parts ...string) Key {
	buf := append(make([]byte, 0, 512), t.keySecret...)
	for _, part := range append([]string{kind, action}, parts...) {
		buf = append(binary.AppendUvarint(buf, uint64(len(part))), part...)
	}
	sum := sha256.Sum256(buf)
	return Key(sum[:16])
}

// digest returns the [Reservation].Guess of an attempt: 16 bits of a MAC that depends
// on the account and the place. It is never 0, except without a guess.
func (t *Throttle) digest(g authkit.Guess, counter Key) uint16 {
	if g.IsZero() {
		return 0
	}
	mac := hmac.New(sha256.New, t.guessKey)
	mac.Write(counter[:])
	return cmp.Or(binary.BigEndian.Uint16(g.MAC(mac.Sum(nil))), 1)
}

// network returns the unit that the limit by address counts: an IPv4 address,
// or the /64 of an IPv6 address. For other texts it is "", and ok is true only
// if [Config].LimitUnaddressed is set.
func (t *Throttle) network(address string) (network string, ok bool) {
	prefix, ok := Network(address)
	if !ok {
		return "", !t.noSockets
	}
	return prefix.String(), true
}

// take returns the records that an attempt is counted on. The first bucket is
// that of the address if byAddress is true.
func (t *Throttle) take(ctx context.Context, a authkit.Attempt) (take Reservation, byAddress bool, err error) {
	r, ok := t.rules[a.Action]
	if !ok {
		return Reservation{}, false, fmt.Errorf("throttle: no limit for the action %q; set Config.Limits", a.Action)
	}
	take = Reservation{At: time.Now().UTC().Truncate(time.Microsecond), Backoff: defaultBackoff}
	from, addressed := t.network(a.Client.Address)
	known := ""
	if r.counter && a.Account != "" {
		take.Counter, take.ClearedAt = t.key("account", a.Action, a.Account), t.key("cleared", a.Action, a.Account)
		if known = t.device(ctx, a.Account); known != "" {
			take.Counter = t.key("device", a.Action, a.Account, known)
			take.Guess = t.digest(a.Guess, take.Counter)
		} else if addressed {
			take.Source = t.key("source", a.Action, a.Account, from)
			take.Guess = t.digest(a.Guess, take.Source)
		}
	}
	if r.address.Burst > 0 && addressed && known == "" && !t.noAddress {
		take.Buckets, byAddress = append(take.Buckets, Bucket{t.key("address", a.Action, from), r.address}), true
	}
	if a.Account != "" {
		for i, limit := range r.account {
			take.Buckets = append(take.Buckets, Bucket{t.key("rate", a.Action, a.Account, strconv.Itoa(i)), limit})
		}
	}
	return take, byAddress, nil
}

// Begin implements [authkit.Throttle].
func (t *Throttle) Begin(ctx context.Context, a authkit.Attempt) error {
	v, err := t.try(ctx, a)
	if err == nil && v.Open {
		select {
		case t.waiting <- struct{}{}:
			v, err = t.wait(ctx, a, v)
			<-t.waiting
		default: // too many callers wait, so refuse this one
		}
	}
	if err != nil || v == (Decision{}) {
		return err
	}
	refused := &authkit.ThrottledError{RetryAfter: max(v.Bucket, v.Counter), Account: v.Counter > v.Bucket}
	if v.Open && v.Counter > v.Bucket { // the decision is near
		refused.RetryAfter = max(v.Bucket, waitOpenOver)
	}
	return refused
}

// try calls the store once.
func (t *Throttle) try(ctx context.Context, a authkit.Attempt) (v Decision, err error) {
	take, _, err := t.take(ctx, a)
	if err != nil {
		return Decision{}, err
	}
	err = t.call(ctx, take, func(ctx context.Context, s Store) (err error) {
		v, err = s.Reserve(ctx, take)
		return err
	})
	return v, err
}

// wait retries while only open attempts are in the way. It adds up its pauses
// instead of reading the clock, so that a program that was stopped does not
// give up.
func (t *Throttle) wait(ctx context.Context, a authkit.Attempt, v Decision) (Decision, error) {
	var err error
	pause := firstPause
	for waited := time.Duration(0); err == nil && v.Open && v.Bucket == 0 && waited < openWait; pause = min(2*pause, lastPause) {
		waited += pause
		select {
		case <-time.After(pause):
			v, err = t.try(ctx, a)
		case <-ctx.Done():
			return Decision{}, ctx.Err()
		}
	}
	return v, err
}

// End implements [authkit.Throttle]. After a successful login it sets the
// cookie of [Throttle.Device].
func (t *Throttle) End(ctx context.Context, a authkit.Attempt, outcome authkit.AttemptOutcome) error {
	if outcome == authkit.AttemptSucceeded && a.Action == authkit.ActionLogin {
		t.remember(ctx, a.Account)
	}
	take, byAddress, err := t.take(ctx, a)
	if err != nil {
		return err
	}
	if outcome == authkit.AttemptUndecided && byAddress { // the attempt still counts for the address
		take.Buckets = take.Buckets[1:]
	}
	return t.call(ctx, take, func(ctx context.Context, s Store) error { return s.Finish(ctx, take, outcome) })
}

// Clear implements [authkit.Throttle]. The user of the account can then log in
// again from every place. [authkit.Kit.SetPassword] calls it. An administration
// page can call it with authkit.Attempt{Action: authkit.ActionLogin, Account:
// email}.
func (t *Throttle) Clear(ctx context.Context, a authkit.Attempt) error {
	ctx = context.WithValue(ctx, deviceKey{}, nil) // the counter of the account, not that of a browser
	take, _, err := t.take(ctx, a)
	if err != nil || take.Counter == (Key{}) {
		return err
	}
	return t.call(ctx, take, func(ctx context.Context, s Store) error { return s.Clear(ctx, take) })
}

// call calls the store, or the fallback while the store fails. It does nothing
// for an attempt without records. A client that hangs up does not stop the call
// (LO-07), and does not cause the fallback.
func (t *Throttle) call(ctx context.Context, take Reservation, do func(context.Context, Store) error) error {
	if len(take.Buckets) == 0 && take.Counter == (Key{}) {
		return nil
	}
	now := time.Now()
	if t.fallback != nil && now.UnixNano() < t.retryStore.Load() {
		return do(context.WithoutCancel(ctx), t.fallback)
	}
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := do(timed, t.store)
	if err == nil || t.fallback == nil {
		return err
	}
	until := t.retryStore.Load()
	if until <= now.UnixNano() && t.retryStore.CompareAndSwap(until, time.Now().Add(storeRest).UnixNano()) {
		t.onEvent(ctx, authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: fmt.Errorf("throttle: counting in memory: %w", err)})
	}
	return do(context.WithoutCancel(ctx), t.fallback)
}

// Doctor returns the problems of the configuration, and those that the store
// reports if it has this method too. Package doctor calls it.
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
