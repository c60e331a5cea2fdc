// Package mtls authenticates services by their TLS client certificates. Each
// certificate names its service in a URI, such as a SPIFFE ID.
//
//	authenticator, err := mtls.New(mtls.Config{
//		Services: map[string]mtls.Service{
//			"spiffe://example.com/billing": {Name: "billing", Roles: []string{"reader"}},
//		},
//	})
//	...
//	kit, err := authkit.New(authkit.Config{Authenticators: []authkit.Authenticator{authenticator}, ...})
//
// The server must verify certificates, with the ClientCAs of your services and
// nothing else:
//
//	server.TLSConfig = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
//
// Only the chains that crypto/tls has verified count. A service is a machine, so
// only routes with [authkit.Policy.OrMachines] admit it. A certificate that
// expires on an open connection is refused from then on.
//
// # Behind a proxy
//
// A proxy that ends TLS reports the certificate in a header. It must set the
// header on every request, and so replace one that a client sends. The header
// is read only on connections from the addresses in [ProxyConfig].Networks, and
// the certificate in it is verified again.
package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/authkit-go/authkit"
)

// Config configures an [Authenticator]. Services is required.
type Config struct {
	// Services are the services by the URI in their certificates. The URI is
	// compared exactly with the only URI of the certificate. A certificate with
	// another URI, or with none, is no credential. There are no patterns: one
	// trust domain can hold services of several owners.
	Services map[string]Service

	// Proxy, if not nil, reads certificates from a header of proxies.
	Proxy *ProxyConfig
}

// A Service is the principal of a certificate.
type Service struct {
	Name  string   // the [authkit.Principal].Name; required
	Roles []string // from the role table of the guard
}

// A ProxyConfig configures proxies that end TLS. All fields are required.
type ProxyConfig struct {
	// Networks are the addresses of the proxies. A connection from them has the
	// certificate of its header, and never that of the proxy itself. On other
	// connections, a request with the header is refused.
	Networks []netip.Prefix

	// Header is the name of the header, such as "Client-Cert". Its value is a
	// certificate in the form of RFC 9440, which is base64 between colons, or a
	// URL-encoded PEM block, as nginx writes it ($ssl_client_escaped_cert).
	Header string

	// Roots are the certificate authorities that issue certificates directly to
	// services: the header has no chain.
	Roots *x509.CertPool
}

// An Authenticator is an [authkit.Authenticator] for client certificates. It is
// safe for concurrent use.
type Authenticator struct {
	services map[string]Service
	proxies  []netip.Prefix
	header   string
	roots    *x509.CertPool
}

var _ authkit.Authenticator = (*Authenticator)(nil)

// New returns an Authenticator, or an error that joins all problems of cfg.
func New(cfg Config) (*Authenticator, error) {
	var errs []error
	problem := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("mtls: Config."+field+": "+format, args...))
	}
	a := &Authenticator{services: make(map[string]Service, len(cfg.Services))}
	if len(cfg.Services) == 0 {
		problem("Services", "is empty, so no certificate would be accepted; add the URI of each service")
	}
	for uri, s := range cfg.Services {
		if u, err := url.Parse(uri); err != nil || u.Scheme == "" || u.Host == "" || u.String() != uri {
			problem("Services", "%q is not a URI such as spiffe://example.com/billing, in its canonical form", uri)
		}
		if s.Name == "" {
			problem("Services", "%q has no Name; set one", uri)
		}
		s.Roles = slices.Clone(s.Roles)
		a.services[uri] = s
	}
	if p := cfg.Proxy; p != nil {
		if len(p.Networks) == 0 {
			problem("Proxy.Networks", "is empty; list the addresses of the proxies")
		}
		for _, n := range p.Networks {
			least := 8
			if n.Addr().Is6() {
				least = 16
			}
			if !n.IsValid() || n.Bits() < least || n.Addr().Is4In6() {
				problem("Proxy.Networks", "%v; use networks of at least /8, or /16 for IPv6: a wider one contains clients, which could write the header", n)
			}
		}
		if a.header = textproto.CanonicalMIMEHeaderKey(p.Header); p.Header == "" || a.header == "Authorization" {
			problem("Proxy.Header", "%q; use the name that the proxy sets, such as Client-Cert", p.Header)
		}
		if p.Roots == nil {
			problem("Proxy.Roots", "is nil; set the authorities that issue the certificates")
		}
		a.proxies, a.roots = slices.Clone(p.Networks), p.Roots
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return a, nil
}

// Challenge implements [authkit.Authenticator]. It returns "": there is no
// challenge for certificates.
func (*Authenticator) Challenge() string { return "" }

// Authenticate implements [authkit.Authenticator].
func (a *Authenticator) Authenticate(r *http.Request) (authkit.Credential, error) {
	leaf, err := a.leafOf(r)
	if err != nil {
		return authkit.Credential{}, err
	}
	if len(leaf.URIs) == 0 {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	if len(leaf.URIs) > 1 { // which of them is meant is not clear
		return authkit.Credential{}, authkit.ErrInvalidToken
	}
	s, ok := a.services[leaf.URIs[0].String()]
	if !ok {
		return authkit.Credential{}, authkit.ErrNoCredentials
	}
	sum := sha256.Sum256(leaf.Raw)
	return authkit.Credential{
		Kind: "client_certificate", ID: hex.EncodeToString(sum[:8]), Service: s.Name, Machine: true, Roles: s.Roles, ExpiresAt: leaf.NotAfter,
	}, nil
}

// leafOf returns the verified certificate of a request.
func (a *Authenticator) leafOf(r *http.Request) (*x509.Certificate, error) {
	values := r.Header[a.header]
	switch proxy := a.isProxy(r.RemoteAddr); {
	case !proxy && a.header != "" && len(values) > 0: // a client claims to be a proxy
		return nil, authkit.ErrInvalidToken
	case !proxy && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0):
		return nil, authkit.ErrNoCredentials
	case !proxy:
		return r.TLS.VerifiedChains[0][0], nil
	case len(values) == 0 || len(values) == 1 && values[0] == "": // a client without a certificate
		return nil, authkit.ErrNoCredentials
	case len(values) > 1:
		return nil, authkit.ErrInvalidToken
	}
	leaf, err := parse(values[0])
	if err != nil {
		return nil, authkit.ErrInvalidToken
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: a.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, authkit.ErrInvalidToken
	}
	return leaf, nil
}

// isProxy reports whether a connection comes from one of the proxies.
func (a *Authenticator) isProxy(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(a.proxies, func(n netip.Prefix) bool { return n.Contains(ip) })
}

var errForm = errors.New("mtls: a header without a certificate")

const maxHeader = 16 << 10

// parse returns the certificate of a header.
func parse(value string) (*x509.Certificate, error) {
	if len(value) > maxHeader {
		return nil, errForm
	}
	if text, ok := strings.CutPrefix(value, ":"); ok { // RFC 9440 section 2.1
		text, ok = strings.CutSuffix(text, ":")
		der, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			return nil, errForm
		}
		return x509.ParseCertificate(der)
	}
	text, err := url.PathUnescape(value) // a plus sign is one of base64
	if err != nil {
		return nil, errForm
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errForm
	}
	return x509.ParseCertificate(block.Bytes)
}
