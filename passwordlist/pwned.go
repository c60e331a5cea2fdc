package passwordlist

import (
	"bufio"
	"cmp"
	"context"
	"crypto/fips140"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	pwnedURL     = "https://api.pwnedpasswords.com/range/"
	pwnedTimeout = 2 * time.Second
	pwnedBytes   = 1 << 20 // an answer has some 40 KiB
	prefixLength = 5       // hexadecimal digits of the hash
)

// A PwnedConfig configures a [Pwned]. Its zero value asks the public service.
type PwnedConfig struct {
	// BaseURL is the URL that the first five digits of a hash are appended to. If empty, it
	// is the public service of Have I Been Pwned. Without https, the host is this machine.
	BaseURL string

	// Client makes the requests, for example through a proxy. If nil, it is a new
	// http.Client. Redirects are not followed.
	Client *http.Client

	// OnError, if not nil, is called with the error of each request that failed. The
	// password is accepted then. If nil, the error is logged with slog. It must be safe
	// for concurrent use.
	OnError func(ctx context.Context, err error)
}

// A Pwned checks passwords against the passwords of known breaches, with the range search of
// Have I Been Pwned. The service learns the address of your server, and the first 20 bits of
// the SHA-1 of each password. About a thousand passwords of its list begin with the same bits.
//
// It fails open: a password is accepted if the service does not answer within two seconds,
// so that a service of others stops no sign-up. Make one with [NewPwned]. It is safe for
// concurrent use.
type Pwned struct {
	base    string
	client  *http.Client
	onError func(context.Context, error)
}

// NewPwned returns a Pwned, or an error that joins all problems of cfg. It makes no request.
func NewPwned(cfg PwnedConfig) (*Pwned, error) {
	base := cmp.Or(cfg.BaseURL, pwnedURL)
	if err := checkBase(base); err != nil {
		return nil, fmt.Errorf("passwordlist: PwnedConfig.BaseURL: %w", err)
	}
	client := new(http.Client)
	if cfg.Client != nil {
		*client = *cfg.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	onError := cfg.OnError
	if onError == nil {
		onError = func(ctx context.Context, err error) {
			slog.WarnContext(ctx, "a password was not checked against known breaches", "error", err)
		}
	}
	return &Pwned{strings.TrimSuffix(base, "/") + "/", client, onError}, nil
}

// checkBase returns why a URL cannot be used, or nil.
func checkBase(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("not a URL of a scheme, a host and a path")
	}
	ip := net.ParseIP(u.Hostname())
	here := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !here) {
		return errors.New("not https")
	}
	return nil
}

// Check is a [authkit.PasswordConfig] Check. It returns authkit.ErrPasswordRefused for a
// password of a known breach, and the error of ctx if that has ended. If the request
// fails, Check calls OnError and returns nil.
func (p *Pwned) Check(ctx context.Context, password string, _ authkit.User) error {
	found, err := p.find(ctx, password)
	switch {
	case found:
		return fmt.Errorf("passwordlist: a password of a known breach: %w", authkit.ErrPasswordRefused)
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		p.onError(ctx, fmt.Errorf("passwordlist: %w", err))
	}
	return nil
}

// find reports whether the service has a password.
func (p *Pwned) find(ctx context.Context, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, pwnedTimeout)
	defer cancel()
	hash := hashOf(password)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+hash[:prefixLength], nil)
	if err != nil {
		return false, errors.New("the request cannot be made")
	}
	request.Header.Set("Add-Padding", "true") // the length of the answer does not reveal the prefix
	request.Header.Set("User-Agent", "authkit")
	response, err := p.client.Do(request)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL, which has a part of the hash
		}
		return false, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the service answered %d", response.StatusCode)
	}
	return search(response.Body, hash[prefixLength:])
}

// search looks for the rest of a hash in an answer. Padding has a count of zero. An answer
// without a line of the right form is an error: it is not one of the service.
func search(body io.Reader, rest string) (bool, error) {
	limited := &io.LimitedReader{R: body, N: pwnedBytes}
	lines := bufio.NewScanner(limited)
	formed := false
	for lines.Scan() {
		suffix, count, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if !ok || len(suffix) != len(rest) {
			continue
		}
		formed = true
		if strings.EqualFold(suffix, rest) {
			return strings.Trim(count, "0") != "", nil
		}
	}
	switch {
	case lines.Err() != nil:
		return false, lines.Err()
	case limited.N == 0:
		return false, errors.New("the answer of the service is too long")
	case !formed:
		return false, errors.New("the answer of the service has another form")
	}
	return false, nil
}

// hashOf returns the SHA-1 that the service knows a password by. It protects nothing, so it
// is allowed in FIPS 140-3 mode.
func hashOf(password string) (hash string) {
	fips140.WithoutEnforcement(func() {
		sum := sha1.Sum([]byte(password))
		hash = strings.ToUpper(hex.EncodeToString(sum[:]))
	})
	return hash
}
