package main

import (
	"net"
	"net/url"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/examples/demo/internal/passkeypage"
	"github.com/authkit-go/authkit/passkey"
)

// passkeyPath is the path of the routes for passkeys.
const passkeyPath = "/passkeys"

// newPasskeyFactor returns the factor of passkeys for the address of the server. Browsers have
// no passkeys for IP addresses, so a server on a loopback address expects pages of "localhost".
func newPasskeyFactor(cfg config, store *storage) (*passkey.Factor, error) {
	base, err := url.Parse(cfg.baseURL)
	if err != nil {
		return nil, err
	}
	host, port := base.Hostname(), base.Port()
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		host = "localhost"
	}
	base.Host = host
	if port != "" {
		base.Host = net.JoinHostPort(host, port)
	}
	return passkey.NewFactor(passkey.Config{
		RPID:    host,
		RPName:  "Backend Security Demo",
		Origins: []string{base.Scheme + "://" + base.Host},
		Store:   store.passkeys,
	})
}

// mountPasskeys adds the routes for passkeys, and the page that uses them.
func mountPasskeys(mux *authkit.Mux, kit *authkit.Kit, factor *passkey.Factor) error {
	passkeys, err := passkey.New(kit, factor)
	if err != nil {
		return err
	}
	passkeys.Mount(mux, passkeyPath)
	passkeypage.Register(mux)
	return nil
}
