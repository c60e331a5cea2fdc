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

var (
	LocalPath    = localPath
	CheckAddress = checkAddress
)
