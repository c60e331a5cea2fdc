package oidclogin

import (
	"net/http"
	"time"
)

// SetTransport replaces the connections to a provider.
func SetTransport(l *Logins, name string, t http.RoundTripper) {
	p, err := l.provider(name)
	if err != nil {
		panic(err)
	}
	p.client.Transport = boundedTransport{t}
}

// SetTimeout replaces the time limit of calls to a provider.
func SetTimeout(l *Logins, name string, d time.Duration) {
	p, err := l.provider(name)
	if err != nil {
		panic(err)
	}
	p.client.Timeout = d
}

// Timeout returns the time limit of calls to a provider.
func Timeout(l *Logins, name string) time.Duration {
	p, err := l.provider(name)
	if err != nil {
		panic(err)
	}
	return p.client.Timeout
}

// UsesProxy reports whether calls to a provider go through a proxy of the
// environment.
func UsesProxy(l *Logins, name string) bool {
	p, err := l.provider(name)
	if err != nil {
		panic(err)
	}
	return p.client.Transport.(boundedTransport).next.(*http.Transport).Proxy != nil
}

var (
	LocalPath     = localPath
	CheckRedirect = checkRedirect
	CheckAddress  = checkAddress
)
