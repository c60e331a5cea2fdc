package revocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/endpoint"
)

const (
	defaultInterval = 5 * time.Second
	maxInterval     = 5 * time.Minute
	pollTimeout     = 10 * time.Second
	maxSkew         = 5 * time.Minute

	// margin is how much longer entries live than tokens: twice the greatest
	// leeway.
	margin = 2 * time.Minute
)

// Config configures a [Follower].
type Config struct {
	// URL is the https address of the list. Redirects are not followed.
	URL string

	// Ring holds the keys that sign the list. They are those of the access
	// tokens: use the ring of the guard's TokenConfig.
	Ring *authkit.KeyRing

	// Interval is the time between two requests of [Follower.Run], and so the
	// longest time that a token stays valid after its logout. If zero, it is 5
	// seconds. It may be 1 second to 5 minutes.
	Interval time.Duration

	// MaxStale is the maximum age of the list. If the list is older, tokens are
	// refused with 503. If zero, there is no limit: an attacker who cuts the
	// follower off from the list can then use a revoked session until its
	// access token expires. The age is measured from the time in the signed
	// list. It can be wrong by up to five minutes, because clocks differ.
	MaxStale time.Duration

	// Client makes the requests. If nil, it is a new client. NewFollower copies
	// it and replaces its CheckRedirect and Timeout.
	Client *http.Client

	// OnError is called if a request fails. If nil, the error is logged with
	// slog.Default() at level Warn. It must be safe for concurrent use.
	OnError func(error)

	// InsecureHTTP allows an http URL with a loopback address, for tests and
	// examples.
	InsecureHTTP bool
}

// ErrStale is returned by [Follower.Revoked] if there is no list, or if it is
// too old.
var ErrStale = errors.New("revocation: no current list")

// A Follower keeps a copy of the list of another service. It is safe for
// concurrent use.
type Follower struct {
	cfg    Config
	url    *url.URL
	client *http.Client

	mu              sync.RWMutex
	sessions, users entries
	answered        time.Time // the time of the last list; zero if there was none
	life            int64     // of the entries, in seconds

	polling sync.Mutex // held by Poll; it guards the fields below
	cursor  string     // for the next request; empty for the whole list
	tag     string     // of the latest response
	swept   int64
}

// NewFollower returns a Follower without a list, or an error that joins all
// problems of cfg. It makes no request; [Follower.Run] and [Follower.Poll] do.
func NewFollower(cfg Config) (*Follower, error) {
	var errs []error
	u, err := endpoint.Parse(cfg.URL, cfg.InsecureHTTP)
	if err != nil {
		errs = append(errs, fmt.Errorf("revocation: Config.URL: %w", err))
	}
	if cfg.Ring == nil {
		errs = append(errs, errors.New("revocation: Config.Ring: nil; set it to the ring that verifies the tokens"))
	}
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Interval < time.Second || cfg.Interval > maxInterval {
		errs = append(errs, fmt.Errorf("revocation: Config.Interval: %v; use 1s to %v, or 0 for %v", cfg.Interval, maxInterval, defaultInterval))
	}
	if cfg.MaxStale != 0 && cfg.MaxStale < 2*cfg.Interval {
		errs = append(errs, fmt.Errorf("revocation: Config.MaxStale: %v; use at least two intervals, or 0 for no limit", cfg.MaxStale))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.OnError == nil {
		cfg.OnError = func(err error) { slog.Default().Warn("revocation list", "error", err) }
	}
	client := new(http.Client)
	if cfg.Client != nil {
		*client = *cfg.Client
	}
	client.Timeout = pollTimeout
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Follower{cfg: cfg, url: u, client: client, sessions: make(entries), users: make(entries)}, nil
}

// Revoked reports whether a token is revoked, for GuardConfig.Revoked. It makes
// no request. If a token lives longer than the entries of the list, it counts
// as revoked, because its entry may have been removed already.
//
// The error is ErrStale if no list was received yet, or if the last one is
// older than [Config].MaxStale.
func (f *Follower) Revoked(_ context.Context, c authkit.Claims) (bool, error) {
	life := c.ExpiresAt.Sub(c.IssuedAt)
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.answered.IsZero() || f.cfg.MaxStale > 0 && time.Since(f.answered) > f.cfg.MaxStale {
		return false, ErrStale
	}
	if !c.IssuedAt.IsZero() && life > time.Duration(f.life)*time.Second-margin {
		return true, nil
	}
	if len(f.users) > 0 && f.revokedBefore(c) {
		return true, nil
	}
	if c.SessionID == "" || len(f.sessions) == 0 {
		return false, nil
	}
	_, ended := f.sessions[digestOf("session", c.SessionID)]
	return ended, nil
}

// revokedBefore reports whether a token is older than a revocation of all
// tokens of its user. A token without a user ID names the user by ID or by
// e-mail. The caller must hold f.mu.
func (f *Follower) revokedBefore(c authkit.Claims) bool {
	before := f.users[digestOf("user", cmp.Or(c.UserID, c.Subject))]
	if c.UserID == "" && strings.Contains(c.Subject, "@") {
		email, err := authkit.NormalizeEmail(c.Subject)
		if err != nil {
			email = c.Subject
		}
		before = max(before, f.users[digestOf("email", email)])
	}
	return before != 0 && c.IssuedAt.Unix() < before // also without an iat
}

// Run requests the list now and at every interval until ctx is done. It returns
// the error of ctx. Failed requests are passed to OnError and retried.
func (f *Follower) Run(ctx context.Context) error {
	for {
		if err := f.Poll(ctx); err != nil && ctx.Err() == nil {
			f.cfg.OnError(err)
		}
		// Up to a tenth sooner, so that followers do not send requests at the
		// same time.
		wait := time.NewTimer(f.cfg.Interval - rand.N(f.cfg.Interval/10))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}

// Poll requests the list once. After an error the list is unchanged.
func (f *Follower) Poll(ctx context.Context) error {
	f.polling.Lock()
	defer f.polling.Unlock()
	u := *f.url
	if f.cursor != "" {
		query := u.Query()
		query.Set("after", f.cursor)
		u.RawQuery = query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	asked := time.Now()
	f.sweep(asked)
	if f.cfg.MaxStale > 0 && asked.Sub(f.answered) >= f.cfg.MaxStale/4 {
		f.tag = "" // a 304 is unsigned, so a full response is needed at times
	}
	if f.tag != "" {
		r.Header.Set("If-None-Match", f.tag)
	}
	response, err := f.client.Do(r)
	if err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode == http.StatusOK:
	case response.StatusCode == http.StatusNotModified && f.tag != "":
		return nil
	default:
		return fmt.Errorf("revocation: %s returned the status %d", f.url.Host, response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxList+1))
	if err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	l, err := f.open(string(body), asked)
	if err != nil {
		return fmt.Errorf("revocation: the response of %s: %w", f.url.Host, err)
	}
	f.apply(l, asked)
	f.cursor, f.tag = l.Next, response.Header.Get("ETag")
	return nil
}

// open checks the signature of a response, its time, and that it follows the
// requested cursor.
func (f *Follower) open(text string, asked time.Time) (list, error) {
	payload, err := f.cfg.Ring.Open(listType, text, maxList)
	if err != nil {
		return list{}, err
	}
	l, err := parse(payload)
	switch {
	case err != nil:
		return list{}, err
	case l.Until < asked.Add(-maxSkew).Unix() || l.Until > asked.Add(maxSkew+pollTimeout).Unix():
		return list{}, errors.New("the list is from another time; check the clocks")
	case l.After != "" && l.After != f.cursor:
		return list{}, errors.New("the list does not follow the one before it")
	}
	return l, nil
}

// apply adds the entries of a list.
func (f *Follower) apply(l list, asked time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = decode(l.Sessions, f.sessions.add) // parse has checked both
	_ = decode(l.Users, f.users.add)
	f.answered, f.life = asked, l.Life
}

// sweep drops expired entries, at most once a minute.
func (f *Follower) sweep(asked time.Time) {
	now := asked.Unix()
	if now < f.swept+60 {
		return
	}
	f.swept = now
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, known := range []entries{f.sessions, f.users} {
		for d, at := range known {
			if at+f.life < now {
				delete(known, d)
			}
		}
	}
}
