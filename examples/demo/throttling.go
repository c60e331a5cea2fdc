package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// The values of -throttle.
const (
	throttleOn       = "on"
	throttleAccounts = "accounts" // without the limits by address, for tests from one address
	throttleOff      = "off"
)

// newThrottle returns the throttle of the service, or nil if it is off.
// Instances on one Redis share its counts and the secret.
func newThrottle(cfg config, store throttle.Store, listen func(context.Context, authkit.Event)) (*throttle.Throttle, error) {
	if cfg.throttle == throttleOff {
		return nil, nil
	}
	secret, err := cfg.key("demo: known browsers")
	if err != nil {
		return nil, err
	}
	return throttle.New(throttle.Config{
		Store:                   store,
		Secret:                  secret,
		InsecureNoAddressLimits: cfg.throttle == throttleAccounts,
		Limits:                  map[string]throttle.Limit{authkit.ActionHash: {Burst: 60, Every: time.Second}},
		OnEvent:                 listen,
	})
}

// throttled holds the middleware for single routes, and for all of them.
type throttled struct {
	login, hash, all func(http.Handler) http.Handler
}

func newThrottled(cfg config, limits *throttle.Throttle) (t throttled, err error) {
	as := func(next http.Handler) http.Handler { return next }
	t = throttled{as, as, as}
	if limits != nil {
		t.login, t.hash = limits.Device, limits.Limit(authkit.ActionHash)
	}
	switch {
	case cfg.proxySocket:
		t.all, err = throttle.TrustSocketProxies(cfg.proxies...)
	case len(cfg.proxies) > 0:
		t.all, err = throttle.TrustProxies(cfg.proxies...)
	}
	return t, err
}

// socketProxy, in -trusted-proxies, is the peer of a Unix socket.
const socketProxy = "unix"

// parseProxies reads a comma-separated list of networks, or single addresses, or unix.
func parseProxies(list string) (proxies []netip.Prefix, socket bool, err error) {
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if text == socketProxy {
			socket = true
			continue
		}
		network, err := netip.ParsePrefix(text)
		if addr, errAddr := netip.ParseAddr(text); errAddr == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("-trusted-proxies: %q is no network; write it like 10.1.0.0/16, or unix", text)
		}
		proxies = append(proxies, network)
	}
	return proxies, socket, nil
}

// proxyNames returns what -trusted-proxies was set to.
func proxyNames(proxies []netip.Prefix, socket bool) []string {
	names := []string{}
	if socket {
		names = append(names, socketProxy)
	}
	for _, p := range proxies {
		names = append(names, p.String())
	}
	return names
}
