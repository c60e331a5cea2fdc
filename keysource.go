package authkit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	fetchTimeout  = 5 * time.Second
	fetchInterval = 30 * time.Second // between the starts of two fetches
	minKeyAge     = time.Minute
	maxKeyAge     = time.Hour
	maxKeyStale   = 24 * time.Hour // since the start of the last fetch that succeeded
)

var errNoSource = errors.New("authkit: KeyRing: no KeySource to fetch keys from")

// A KeySource returns keys that are kept elsewhere, such as the key set that an issuer
// publishes or the entries of a secret manager. [NewKeyRingFrom] returns a ring that stays
// current with it. Package jwks has a source for JSON Web Key Sets.
type KeySource interface {
	// Keys returns all keys, in the order of [KeyRing.Replace], and for how long the ring
	// may use them before it calls Keys again. The ring keeps maxAge between one minute and
	// one hour. If Keys returns an error, the ring goes on with the keys that it has.
	//
	// The ring makes one call at a time, with a context that ends after five seconds.
	Keys(ctx context.Context) (keys []Key, maxAge time.Duration, err error)
}

// NewKeyRingFrom returns a ring with the keys of a source. It calls the source when it needs
// keys, so the ring is empty at first.
//
// A token that no key of the ring signed waits while the ring fetches the keys
// once more. Tokens cause at most one fetch in 30 seconds. Once keys are older
// than their maxAge, the next token starts a fetch in the background.
//
// If fetches fail, the ring uses its keys for 24 hours after the last fetch
// that succeeded. After that, guards respond with 503, as they do before the
// first fetch has succeeded. A ring with a private key still signs.
//
// The ring calls onError with the error of every fetch that fails. If onError is nil, the
// error is logged with slog.Default() at level Warn.
//
// It panics if source is nil.
func NewKeyRingFrom(source KeySource, onError func(error)) *KeyRing {
	if source == nil {
		panic("authkit: NewKeyRingFrom: nil source")
	}
	if onError == nil {
		onError = func(err error) { slog.Default().Warn("authkit: keys could not be fetched", "error", err) }
	}
	r := new(KeyRing)
	r.fetcher = &keyFetcher{source: source, onError: onError, ring: r}
	return r
}

// Fetch fetches the keys now, or waits for the fetch that is running. Use it when a program
// starts, to see that the source works. Do not call it for requests: nothing limits how
// often it fetches.
//
// It returns the error of the fetch, or that of ctx. For a ring without a [KeySource] it
// always returns an error.
func (r *KeyRing) Fetch(ctx context.Context) error {
	if r.fetcher == nil {
		return errNoSource
	}
	f := r.fetcher.start(true)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run fetches the keys ahead of time until ctx ends, so that no token waits for a fetch. It
// returns the error of ctx. A ring works without it.
//
// For a ring without a [KeySource] it returns an error at once.
func (r *KeyRing) Run(ctx context.Context) error {
	if r.fetcher == nil {
		return errNoSource
	}
	for ctx.Err() == nil {
		r.fetcher.ahead(ctx)
	}
	return ctx.Err()
}

// A keyFetcher fetches the keys of a ring.
type keyFetcher struct {
	source  KeySource
	onError func(error)
	ring    *KeyRing

	mu      sync.Mutex
	running *keyFetch // nil: none
	started time.Time // of the latest fetch; zero: none yet
	next    time.Time // when Run fetches

	succeeded time.Time // start of the latest fetch that succeeded; used by the running fetch only
}

// A keyFetch is a fetch that is running.
type keyFetch struct {
	done chan struct{} // closed at the end
	err  error         // read it once done is closed
}

// start returns the running fetch, or starts one. Without force it returns nil if the latest
// fetch started less than fetchInterval ago.
func (f *keyFetcher) start(force bool) *keyFetch {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil {
		return f.running
	}
	at := time.Now()
	if !force && at.Sub(f.started) < fetchInterval {
		return nil
	}
	fetch := &keyFetch{done: make(chan struct{})}
	f.running, f.started = fetch, at
	go func() {
		if fetch.err = f.fetch(at); fetch.err != nil {
			f.onError(fetch.err)
		}
		f.mu.Lock()
		f.running = nil
		f.mu.Unlock()
		close(fetch.done)
	}()
	return fetch
}

// fetch replaces the keys of the ring with those of the source, and sets how long they are
// valid. If it fails, the keys stay.
func (f *keyFetcher) fetch(at time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	keys, maxAge, err := f.source.Keys(ctx)
	if err == nil {
		maxAge = min(max(maxAge, minKeyAge), maxKeyAge)
		err = f.ring.replace(keys, at.Add(maxAge), at.Add(maxKeyStale))
	}
	if err == nil {
		f.succeeded = at
	} else {
		maxAge = fetchInterval
		f.ring.state.Store(&ringSnapshot{f.ring.load().set, at.Add(maxAge), f.succeeded.Add(maxKeyStale)})
	}
	f.mu.Lock()
	f.next = at.Add(max(fetchInterval, maxAge*4/5)) // before a token would start a fetch
	f.mu.Unlock()
	return err
}

// refresh starts a fetch unless it is too soon for one. If wait is set, it waits for the
// fetch, even for one that another token started.
func (f *keyFetcher) refresh(wait bool) {
	fetch := f.start(false)
	if fetch == nil || !wait {
		return
	}
	select {
	case <-fetch.done:
	case <-time.After(fetchTimeout): // the source ignores its context
	}
}

// ahead waits until the next fetch of Run is due, or starts it and waits for the least interval.
func (f *keyFetcher) ahead(ctx context.Context) {
	f.mu.Lock()
	wait := time.Until(f.next)
	f.mu.Unlock()
	if wait <= 0 {
		f.start(false)
		wait = fetchInterval // the fetch sets a time that is not earlier
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}
