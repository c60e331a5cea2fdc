// Package endpoint checks the URLs that a service fetches keys and lists from.
package endpoint

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// Parse returns the https URL of a text. If insecureHTTP is true, it may be http to a loopback
// address. The error does not contain the text, which may hold a password.
func Parse(text string, insecureHTTP bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("not an https URL with a host")
	case u.User != nil || strings.Contains(text, "#"):
		return nil, errors.New("a user, a password or a fragment in it")
	case u.Scheme == "https":
		return u, nil
	case u.Scheme != "http" || !insecureHTTP:
		return nil, errors.New("not https")
	case !Loopback(u.Hostname()):
		return nil, errors.New("not https; InsecureHTTP is for loopback addresses")
	}
	return u, nil
}

// Loopback reports whether a host without a port is this machine: localhost, or a loopback address.
func Loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
