package jwks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/endpoint"
)

const defaultAge = 5 * time.Minute // of a key set without a max-age

// A RemoteConfig configures the ring of [NewRemote].
type RemoteConfig struct {
	// URL is the address of the key set: an https URL without a user, a
	// password or a fragment. Redirects are not followed.
	URL string

	// Client makes the requests. If nil, it is a client with
	// http.DefaultTransport. NewRemote copies it, and ignores its CheckRedirect
	// and Jar.
	Client *http.Client

	// OnError is called
	//   - if a fetch fails,
	//   - with an [EntryError] for each entry that was left out of a set that
	//     changed,
	//   - if a set that changed has no key for tokens.
	//
	// If nil, the error is logged with slog.Default() at level Warn. Calls do
	// not overlap.
	OnError func(error)

	// InsecureHTTP allows an http URL with a loopback address, for tests and
	// development. Another program that takes over the port of that address can
	// forge tokens.
	InsecureHTTP bool
}

// NewRemote returns a ring with the key set that an issuer publishes, for
// [authkit.TokenConfig].Ring. NewRemote makes no request: the ring fetches the
// set for the first token. Call [authkit.KeyRing.Fetch] to fetch it at once,
// and [authkit.KeyRing.Run] so that no request waits for a fetch.
//
// The ring fetches the set again after the max-age of the response, or after
// five minutes if it has none. [authkit.NewKeyRingFrom] describes the limits,
// and the behavior while fetches fail.
//
// It returns an error if the URL cannot be used.
func NewRemote(cfg RemoteConfig) (*authkit.KeyRing, error) {
	if _, err := endpoint.Parse(cfg.URL, cfg.InsecureHTTP); err != nil {
		return nil, fmt.Errorf("jwks: RemoteConfig.URL: %w", err)
	}
	r := &remote{url: cfg.URL, onError: cfg.OnError}
	if cfg.Client != nil {
		r.client = *cfg.Client
	}
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.client.Jar = nil
	if r.onError == nil {
		r.onError = func(err error) { slog.Default().Warn("jwks: a key set could not be refreshed", "error", err) }
	}
	return authkit.NewKeyRingFrom(r, r.onError), nil
}

// A remote is the [authkit.KeySource] of a key set elsewhere. Its calls do not
// overlap.
type remote struct {
	url     string
	client  http.Client
	onError func(error)

	// The latest set that was read.
	keys []authkit.Key
	etag string
	sum  [sha256.Size]byte // of the body
}

// Keys fetches the key set.
func (r *remote) Keys(ctx context.Context) ([]authkit.Key, time.Duration, error) {
	maxAge, err := r.fetch(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("jwks: fetching a key set: %w", err)
	}
	return r.keys, maxAge, nil
}

// fetch stores the key set and returns its age limit. If it returns an error,
// it changed nothing.
func (r *remote) fetch(ctx context.Context) (time.Duration, error) {
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
	maxAge := maxAgeOf(response.Header)
	if response.StatusCode == http.StatusNotModified && r.etag != "" {
		return maxAge, nil
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the response has the status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return 0, err
	}
	if sum := sha256.Sum256(body); sum != r.sum {
		keys, skipped, err := ParseSet(body)
		if err != nil {
			return 0, err
		}
		for _, err := range skipped {
			r.onError(err)
		}
		if len(keys) == 0 { // an issuer may have none
			r.onError(errors.New("jwks: the key set has no key for tokens"))
		}
		r.keys, r.sum = keys, sum
	}
	r.etag = response.Header.Get("ETag")
	return maxAge, nil
}

// maxAgeOf returns for how long a response may be kept (RFC 9111 section 4.2).
func maxAgeOf(header http.Header) time.Duration {
	maxAge := defaultAge
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				maxAge = time.Duration(seconds) * time.Second
				if age, err := strconv.ParseUint(header.Get("Age"), 10, 31); err == nil {
					maxAge -= time.Duration(age) * time.Second
				}
			}
		}
	}
	return maxAge
}
