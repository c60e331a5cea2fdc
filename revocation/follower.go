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

	// margin is by how much entries outlive tokens: twice the greatest leeway.
	margin = 2 * time.Minute
)

// Config configures a [Follower].
type Config struct {
	// URL is where the list is: https, and never a redirect.
	URL string

	// Ring holds the keys that sign the list, which are those that sign the access tokens:
	// the ring of the guard's TokenConfig.
	Ring *authkit.KeyRing

	// Interval is how often [Follower.Run] asks; zero means 5 seconds, 5 minutes is the
	// most. It is how long a token can be good after its logout.
	Interval time.Duration

	// MaxStale is how long the list may go without an answer before tokens are refused
	// with 503. Zero means that a follower that had one goes on with it: then who can cut it
	// off from the list can keep a session alive, until its access token expires. An answer
	// counts that is signed, and so up to five minutes older than it seems: clocks differ.
	MaxStale time.Duration

	// Client asks; nil means a new one. Of it, redirects and timeouts are not used.
	Client *http.Client

	// OnError is told when an answer could not be had; nil means slog.Default, at Warn.
	// It must be safe for concurrent use.
	OnError func(error)

	// InsecureHTTP allows an http URL of a loopback address, for tests and examples.
	InsecureHTTP bool
}

// ErrStale is returned by [Follower.Revoked] when there is no list, or one that is too old.
var ErrStale = errors.New("revocation: no current list")

// A Follower keeps the list of another service. It is safe for concurrent use.
type Follower struct {
	cfg    Config
	url    *url.URL
	client *http.Client

	mu              sync.RWMutex
	sessions, users entries
	answered        time.Time // with a list; zero: never
	life            int64     // of the list's entries, in seconds

	polling sync.Mutex // held by Poll; guards what follows
	cursor  string     // that is asked for; empty: everything
	tag     string     // of the latest answer
	swept   int64
}

// NewFollower returns a Follower that has no list yet, or an error that names every fault
// of cfg. It asks nobody: [Follower.Run] or [Follower.Poll] do.
func NewFollower(cfg Config) (*Follower, error) {
	var errs []error
	u, err := endpoint.Parse(cfg.URL, cfg.InsecureHTTP)
	if err != nil {
		errs = append(errs, fmt.Errorf("revocation: Config.URL: %w", err))
	}
	if cfg.Ring == nil {
		errs = append(errs, errors.New("revocation: Config.Ring: nil; set it to the ring that the tokens are verified with"))
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

// Revoked reports whether a token is on the list, for GuardConfig.Revoked. It makes no
// request. A token with a longer life than the entries of the list counts as revoked: its
// entry may have been dropped. The error is ErrStale before the first answer, and when the
// last one is older than MaxStale.
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
	if len(f.users) > 0 && f.cutOff(c) {
		return true, nil
	}
	if c.SessionID == "" || len(f.sessions) == 0 {
		return false, nil
	}
	_, ended := f.sessions[digestOf("session", c.SessionID)]
	return ended, nil
}

// cutOff reports whether the user of a token was cut off after it was issued. A token
// without a user ID names the user by ID or by e-mail. f.mu is held.
func (f *Follower) cutOff(c authkit.Claims) bool {
	before := f.users[digestOf("user", cmp.Or(c.UserID, c.Subject))]
	if c.UserID == "" && strings.Contains(c.Subject, "@") {
		email, err := authkit.NormalizeEmail(c.Subject)
		if err != nil {
			email = c.Subject
		}
		before = max(before, f.users[digestOf("email", email)])
	}
	return before != 0 && (c.IssuedAt.IsZero() || c.IssuedAt.Unix() < before)
}

// Run asks for the list now and at every interval, until ctx is done; it returns the
// context's error. What goes wrong is told to OnError, and tried again.
func (f *Follower) Run(ctx context.Context) error {
	for {
		if err := f.Poll(ctx); err != nil && ctx.Err() == nil {
			f.cfg.OnError(err)
		}
		// Up to a tenth sooner, so that many followers do not ask at once.
		wait := time.NewTimer(f.cfg.Interval - rand.N(f.cfg.Interval/10))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}

// Poll asks for the list once. With an error the list stays as it was.
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
	if f.cfg.MaxStale > 0 && asked.Sub(f.answered) >= f.cfg.MaxStale/4 {
		f.tag = "" // nobody signs a 304, so that now and then it has to be a list
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
		f.sweep(asked)
		return nil
	default:
		return fmt.Errorf("revocation: %s answered %d", f.url.Host, response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxList+1))
	if err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	l, err := f.open(string(body), asked)
	if err != nil {
		return fmt.Errorf("revocation: the answer of %s: %w", f.url.Host, err)
	}
	f.apply(l, asked)
	f.sweep(asked)
	f.cursor, f.tag = l.Next, response.Header.Get("ETag")
	return nil
}

// open checks an answer: who signed it, and that it covers what was asked for.
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
		return list{}, errors.New("the list is not of now; are the clocks right?")
	case l.After != "" && l.After != f.cursor:
		return list{}, errors.New("the list does not follow the one before it")
	}
	return l, nil
}

// apply adds a list to what is known.
func (f *Follower) apply(l list, asked time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = decode(l.Sessions, f.sessions.add) // parse has looked at both
	_ = decode(l.Users, f.users.add)
	f.answered, f.life = asked, l.Life
}

// sweep drops what does not matter any more, once a minute.
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
