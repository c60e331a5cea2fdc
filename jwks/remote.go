package jwks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	fetchTimeout = 5 * time.Second
	minInterval  = 30 * time.Second // between the starts of two fetches
	minLife      = time.Minute      // of a key set, whatever its max-age says
	maxLife      = time.Hour
	defaultLife  = 5 * time.Minute
	maxStale     = 24 * time.Hour // since the last fetch that succeeded
)

// A RemoteConfig configures a [Remote].
type RemoteConfig struct {
	// URL is where the key set is. It must be set, and be an https URL without a user, a password or
	// a fragment. Redirects are not followed: it has to be the last address.
	URL string

	// Client makes the requests; nil means one with http.DefaultTransport. It is copied. Its
	// CheckRedirect and Jar are not used.
	Client *http.Client

	// OnError, if not nil, is told why a fetch failed, or that it found no key for tokens; nil means
	// slog.Default at level Warn. It is called for one fetch at a time.
	OnError func(error)

	// InsecureHTTP allows an http URL, to a loopback address, for tests and for development: who can
	// answer in place of the issuer there can make tokens.
	InsecureHTTP bool
}

// A Remote is the key set of an issuer elsewhere, fetched when it is needed. It is safe for concurrent
// use.
//
// Keys are fetched when a token comes with a key that is not known, which waits for them, and again
// in the background when the set is due: after the max-age of the response, held between one minute
// and one hour, or five minutes if there is none. A fetch takes five seconds at most, there is one
// at a time, and none on behalf of a token within 30 seconds of the start of another. While fetches
// fail the keys there are stay good, for 24 hours from the last one that succeeded.
type Remote struct {
	url     string
	client  http.Client
	onError func(error)
	ring    *authkit.KeyRing

	mu      sync.Mutex
	running *fetching // nil: none
	started time.Time // of the latest fetch; zero: none yet
	next    time.Time // when Run fetches

	// What follows belongs to the fetch that is running.
	good time.Time // when the latest fetch that succeeded started; zero: none yet
	etag string    // of the set that is in the ring
	sum  [sha256.Size]byte
}

// A fetching is a fetch that is running.
type fetching struct {
	done chan struct{} // closed at the end
	err  error         // once done
}

// NewRemote returns a Remote that has fetched nothing yet, or an error for a URL that cannot be used.
func NewRemote(cfg RemoteConfig) (*Remote, error) {
	if err := checkURL(cfg.URL, cfg.InsecureHTTP); err != nil {
		return nil, fmt.Errorf("jwks: RemoteConfig.URL: %w", err)
	}
	r := &Remote{url: cfg.URL, onError: cfg.OnError, ring: new(authkit.KeyRing)}
	if cfg.Client != nil {
		r.client = *cfg.Client
	}
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.client.Jar = nil
	if r.onError == nil {
		r.onError = func(err error) { slog.Default().Warn("jwks: a key set could not be refreshed", "error", err) }
	}
	r.ring.Refresh = r.refresh
	return r, nil
}

// checkURL returns why a URL cannot be that of a key set, or nil. The URL itself, which may hold a
// password, is in no error.
func checkURL(text string, insecureHTTP bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return errors.New("not an https URL with a host")
	case u.User != nil || strings.Contains(text, "#"):
		return errors.New("a user, a password or a fragment in it")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http" || !insecureHTTP:
		return errors.New("not https")
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("InsecureHTTP is for loopback addresses")
	}
	return nil
}

// Ring returns the ring with the keys that were fetched, for authkit.TokenConfig. It is the same one
// each time, and changes with the key set; it is not for others to change.
func (r *Remote) Ring() *authkit.KeyRing { return r.ring }

// Fetch fetches the key set now, or waits for the fetch that is running, such as to know at the start
// of a program that it works. It may be called as often as one likes, so do not call it on behalf of
// requests. The error is why the fetch failed, which OnError is told too, or that of ctx.
func (r *Remote) Fetch(ctx context.Context) error {
	f := r.start(true)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run fetches the key set ahead of time until ctx ends, so that no token has to wait for it, and
// returns the error of ctx. It is not necessary, and worth a goroutine in a service that has to
// answer quickly.
func (r *Remote) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		r.mu.Lock()
		wait := time.Until(r.next)
		r.mu.Unlock()
		if wait <= 0 {
			wait = minInterval
			if f := r.start(false); f != nil {
				select {
				case <-f.done: // and r.next is another time
					continue
				case <-ctx.Done():
				}
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// refresh is the Refresh of the ring.
func (r *Remote) refresh(unknown bool) {
	f := r.start(false)
	if f == nil || !unknown { // what has a key that is good does not wait
		return
	}
	select {
	case <-f.done:
	case <-time.After(fetchTimeout): // from a transport that does not keep to the context
	}
}

// start returns the fetch that is running, or starts one. It returns nil if it is too soon for
// another one, which is asked for on behalf of tokens.
func (r *Remote) start(asked bool) *fetching {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running != nil {
		return r.running
	}
	now := time.Now()
	if !asked && !r.started.IsZero() && now.Sub(r.started) < minInterval {
		return nil
	}
	f := &fetching{done: make(chan struct{})}
	r.running, r.started = f, now
	go func() {
		f.err = r.fetch(now)
		if f.err != nil {
			r.onError(f.err)
		}
		r.mu.Lock()
		r.running = nil
		r.mu.Unlock()
		close(f.done)
	}()
	return f
}

// fetch fetches the key set and says how long it is good for.
func (r *Remote) fetch(now time.Time) error {
	life, err := r.update()
	if err != nil {
		err = fmt.Errorf("jwks: fetching a key set: %w", err)
		life = minInterval
	} else {
		r.good = now
	}
	r.ring.Expire(now.Add(life), r.good.Add(maxStale))
	r.mu.Lock()
	r.next = now.Add(max(minInterval, life*4/5)) // ahead of the first token that would ask for it
	r.mu.Unlock()
	return err
}

// update puts the keys of the issuer into the ring, and returns for how long they may be kept. With
// an error the ring is as it was.
func (r *Remote) update() (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	if r.etag != "" {
		request.Header.Set("If-None-Match", r.etag)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	life := lifeOf(response.Header)
	if response.StatusCode == http.StatusNotModified && r.etag != "" {
		return life, nil
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the answer has the status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(body)
	if sum != r.sum { // else the ring has the keys, and what is remembered by them
		keys, err := ParseSet(body)
		if err == nil {
			err = r.ring.Replace(keys...)
		}
		if err != nil {
			return 0, err
		}
		if len(keys) == 0 { // it is the issuer's right to have none
			r.onError(errors.New("jwks: the key set has no key for tokens"))
		}
		r.sum = sum
	}
	r.etag = response.Header.Get("ETag")
	return life, nil
}

// lifeOf returns for how long a response may be kept (RFC 9111 section 4.2), within bounds.
func lifeOf(header http.Header) time.Duration {
	life := defaultLife
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minLife
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				life = time.Duration(seconds) * time.Second
				if age, err := strconv.ParseUint(header.Get("Age"), 10, 31); err == nil {
					life -= time.Duration(age) * time.Second
				}
			}
		}
	}
	return min(max(life, minLife), maxLife)
}
