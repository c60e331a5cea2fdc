package throttle

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

const maxHops = 32 // addresses of X-Forwarded-For that are read

// TrustProxies returns middleware that determines the address of a client
// behind proxies, and stores it with [authkit.WithClient]. Put it around every
// handler that needs addresses. A connection comes from a proxy if its address
// is in one of the networks, such as 10.0.0.0/8. The proxy must append the
// address of its own peer to X-Forwarded-For.
//
// The header is read only on connections from a proxy, and from its end, where
// proxies append. The last address that is not one of a proxy is that of the
// client. The entries before it are ignored, because the client can forge them.
// If an entry is not an address, the entry after it counts as the client.
//
// TrustProxies returns an error that joins all problems of the networks. There
// must be at least one network. A network must not be wider than /8, or than
// /16 for IPv6. A wider one contains clients, and a client in it could choose
// its address.
func TrustProxies(networks ...netip.Prefix) (func(http.Handler) http.Handler, error) {
	if len(networks) == 0 {
		return nil, errors.New("throttle: no proxies to trust; name their networks, or leave TrustProxies out")
	}
	return trustProxies(false, networks)
}

// TrustSocketProxies is like [TrustProxies], and also trusts the peer of a
// connection over a Unix socket. Use it if the proxy connects over a socket
// that no other program can open. The networks are those of further proxies in
// front of that one, if there are any.
func TrustSocketProxies(networks ...netip.Prefix) (func(http.Handler) http.Handler, error) {
	return trustProxies(true, networks)
}

func trustProxies(sockets bool, networks []netip.Prefix) (func(http.Handler) http.Handler, error) {
	var errs []error
	trusted := slices.Clone(networks)
	for i, p := range trusted {
		switch {
		case !p.IsValid():
			errs = append(errs, fmt.Errorf("throttle: the proxies' network %d is not valid", i))
		case p.Addr().Is4In6():
			errs = append(errs, fmt.Errorf("throttle: the proxies' network %v: write it as one of IPv4", p))
		case p != p.Masked():
			errs = append(errs, fmt.Errorf("throttle: the proxies' network %v: is %v meant?", p, p.Masked()))
		case p.Addr().Is4() && p.Bits() < 8, p.Addr().Is6() && p.Bits() < 16:
			errs = append(errs, fmt.Errorf("throttle: the proxies' network %v is so wide that clients are in it, who then choose their address; name the proxies' own", p))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if client := forwarded(r, sockets, trusted); client != "" {
				c := authkit.ClientFrom(r.Context())
				c.Address, c.Device = client, cmp.Or(c.Device, r.UserAgent())
				r = r.WithContext(authkit.WithClient(r.Context(), c))
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// forwarded returns the address of the client of a proxy. It returns "" if the
// connection is not from a proxy, or if the proxy of a socket names no client.
func forwarded(r *http.Request, sockets bool, trusted []netip.Prefix) string {
	isProxy := func(addr netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	var client netip.Addr
	if !sockets || !onSocket(r) {
		var ok bool
		if client, ok = parseAddr(r.RemoteAddr); !ok || !isProxy(client) {
			return ""
		}
	}
	rest := strings.Join(r.Header["X-Forwarded-For"], ",")
	for range maxHops {
		at := strings.LastIndexByte(rest, ',')
		hop, ok := parseAddr(strings.Trim(rest[at+1:], " \t"))
		if !ok {
			break
		}
		client = hop
		if at < 0 || !isProxy(hop) {
			break
		}
		rest = rest[:at]
	}
	if !client.IsValid() {
		return ""
	}
	return client.String()
}

// onSocket reports whether a request came over a Unix socket. It uses
// RemoteAddr, which is then a path or "@", only for servers that do not report
// the local address, since middleware may have changed it.
func onSocket(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return local.Network() == "unix"
	}
	return strings.HasPrefix(r.RemoteAddr, "@") || strings.HasPrefix(r.RemoteAddr, "/")
}

// parseAddr parses an address with or without a port. It unmaps IPv4 addresses
// and removes zones.
func parseAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if withPort, errPort := netip.ParseAddrPort(s); errPort == nil {
		addr, err = withPort.Addr(), nil
	}
	return addr.Unmap().WithZone(""), err == nil
}

// Network returns the part of an address that limits count: an IPv4 address, or the /64 of an IPv6
// address, which is the network of one customer. An IPv4 address that is mapped to IPv6 is itself. A
// port is ignored. Network returns false if the text is no address.
func Network(address string) (netip.Prefix, bool) {
	addr, ok := parseAddr(address)
	if !ok {
		return netip.Prefix{}, false
	}
	prefix, _ := addr.Prefix(min(64, addr.BitLen())) // cannot fail: there are as many bits
	return prefix, true
}

// Limit returns middleware that counts every request against the limit by
// address of an action, and responds with 429 beyond it. It panics if the
// action has no limit. Config.Limits adds limits for actions of your program:
//
//	mux.Handle("POST /search", authkit.Public(), limits.Limit("search")(search))
//
// Responses have the header RateLimit-Policy. Refusals also have RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10).
func (t *Throttle) Limit(action string) func(http.Handler) http.Handler {
	limit := t.rules[action].address
	if limit.Burst == 0 {
		panic(fmt.Sprintf("throttle: Limit: there is no limit for %q; set Config.Limits", action))
	}
	name := strconv.Quote(action)
	window := (time.Duration(limit.Burst)*limit.Every + time.Second - 1) / time.Second
	policy := fmt.Sprintf("%s;q=%d;w=%d", name, limit.Burst, window)
	return func(next http.Handler) http.Handler {
		if t.noAddress {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("RateLimit-Policy", policy)
			client := authkit.ClientInfo{Address: cmp.Or(authkit.ClientFrom(r.Context()).Address, r.RemoteAddr)}
			err := t.Begin(r.Context(), authkit.Attempt{Action: action, Client: client})
			if err == nil {
				next.ServeHTTP(w, r)
				return
			}
			e := authkit.Event{Kind: authkit.EventRateLimited, Reason: authkit.ReasonThrottled, Route: r.Pattern}
			if _, ok := errors.AsType[*authkit.ThrottledError](err); !ok {
				err = fmt.Errorf("%w: %w", authkit.ErrUnavailable, err)
				e = authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: err}
			}
			t.onEvent(r.Context(), e)
			problem := authkit.ProblemFor(err)
			if problem.Status == http.StatusTooManyRequests {
				w.Header().Set("RateLimit", fmt.Sprintf("%s;r=0;t=%d", name, problem.RetryAfter))
			}
			problem.ServeHTTP(w, r)
		})
	}
}
