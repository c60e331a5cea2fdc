package oidclogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/oauth2"
)

// The limits of a call to a provider (OA-08).
const (
	callTimeout  = 10 * time.Second
	maxAnswer    = 1 << 20
	maxHeader    = 64 << 10
	maxRedirects = 3
)

var (
	errRedirect = errors.New("a redirect to another host, or too many redirects")
	errAddress  = errors.New("the host has an address that is not allowed")
)

// newClient returns the HTTP client for a provider.
func newClient(untrusted bool) *http.Client {
	dialer := &net.Dialer{Timeout: callTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return checkAddress(address, untrusted)
	}}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: callTimeout,
		MaxResponseHeaderBytes: maxHeader, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
	}
	if untrusted {
		transport.Proxy = nil // it would hide the address of the host
	}
	return &http.Client{Timeout: callTimeout, CheckRedirect: checkRedirect, Transport: boundedTransport{transport}}
}

// checkRedirect follows redirects within a host only.
func checkRedirect(r *http.Request, via []*http.Request) error {
	if first := via[0].URL; len(via) > maxRedirects || r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
		return errRedirect
	}
	return nil
}

// special are networks that Addr.IsPrivate does not know, and that are not the
// public Internet: this network, a carrier and its customers (RFC 6598),
// protocol assignments, benchmarks, reserved, and site-local addresses. The
// last four stand for an IPv4 address: IPv4-compatible (RFC 4291), NAT64 (RFC
// 6052, RFC 8215) and 6to4 (RFC 3056).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
}

// checkAddress returns why the address of a host must not be dialed, or nil. It
// is called after the name was resolved. Link-local addresses belong to the
// metadata services of clouds.
func checkAddress(address string, untrusted bool) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return errAddress
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return errAddress
	}
	if untrusted && (!ip.IsGlobalUnicast() || ip.IsPrivate() || isSpecial(ip)) {
		return errAddress
	}
	return nil
}

// isSpecial reports whether an address is in one of the special networks.
func isSpecial(ip netip.Addr) bool {
	return slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// A boundedTransport limits the size of responses.
type boundedTransport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = http.MaxBytesReader(nil, response.Body, maxAnswer)
	return response, nil
}

// A fetchError is the error of a call that a provider could not answer. It says
// nothing about a login.
type fetchError struct{ error }

func (e fetchError) Unwrap() error { return e.error }

// A getter reads a JSON document of a provider.
type getter func(ctx context.Context, url string, into any) error

// getterFor returns a getter that sends an access token, if it is not nil.
func getterFor(client *http.Client, token *oauth2.Token) getter {
	return func(ctx context.Context, url string, into any) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		r.Header.Set("Accept", "application/json")
		if token != nil {
			token.SetAuthHeader(r)
		}
		response, err := client.Do(r)
		if err != nil {
			return fetchError{err}
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			err := fmt.Errorf("%s: status %d", url, response.StatusCode)
			if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
				return fetchError{err}
			}
			return err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return fetchError{err}
		}
		return json.Unmarshal(body, into)
	}
}
