package mtls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/mtls"
)

const billing = "spiffe://example.com/billing"

// An authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue returns a certificate with URIs that is valid for an hour.
func (a *authority) issue(t testing.TB, usage x509.ExtKeyUsage, uris ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: billing}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, DNSNames: []string{"billing"},
	}
	for _, uri := range uris {
		u, err := url.Parse(uri)
		require.NoError(t, err)
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// guarded returns routes behind an authenticator.
func guarded(t testing.TB, cfg mtls.Config) (*authkit.Kit, http.Handler) {
	t.Helper()
	if cfg.Services == nil {
		cfg.Services = map[string]mtls.Service{billing: {Name: "billing", Roles: []string{"reader"}}}
	}
	auth, err := mtls.New(cfg)
	require.NoError(t, err)
	kit, err := authkit.New(authkit.Config{
		Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Authenticators: []authkit.Authenticator{auth}, Logger: slog.New(slog.DiscardHandler),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		Roles:     map[string][]string{"reader": {"notes:read"}, "admin": {"notes:write"}},
	})
	require.NoError(t, err)
	mux := kit.NewMux()
	show := func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		_, _ = io.WriteString(w, string(p.Kind)+" "+p.Credential+" "+p.Name)
	}
	mux.HandleFunc("GET /read", authkit.Permissions("notes:read").OrMachines(), show)
	mux.HandleFunc("GET /write", authkit.Permissions("notes:write").OrMachines(), show)
	mux.HandleFunc("GET /person", authkit.Authenticated(), show)
	return kit, mux
}

// serve starts a server that verifies certificates as configured.
func serve(t testing.TB, h http.Handler, how tls.ClientAuthType, pool *x509.CertPool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: how, ClientCAs: pool}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// get sends a request with a certificate, over a new connection.
func get(t testing.TB, server *httptest.Server, path string, header http.Header, certs ...tls.Certificate) (int, string) {
	t.Helper()
	trust := x509.NewCertPool()
	trust.AddCert(server.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, Certificates: certs}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), "GET", server.URL+path, nil)
	require.NoError(t, err)
	r.Header = header.Clone()
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, err.Error() // the handshake failed
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	roles := []string{"reader"}
	kit, h := guarded(t, mtls.Config{Services: map[string]mtls.Service{billing: {Name: "billing", Roles: roles}}})
	roles[0] = "admin" // of the caller; the copy stays
	server := serve(t, h, tls.VerifyClientCertIfGiven, ca.pool())
	good := ca.issue(t, x509.ExtKeyUsageClientAuth, billing)
	for path, want := range map[string]int{"/read": 200, "/write": 403, "/person": 403} {
		code, body := get(t, server, path, nil, good)
		require.Equal(t, want, code, path)
		if want == 200 {
			require.Equal(t, "machine client_certificate billing", body)
		}
	}
	for name, c := range map[string]tls.Certificate{
		"another service":      ca.issue(t, x509.ExtKeyUsageClientAuth, "spiffe://example.com/other"),
		"a service below":      ca.issue(t, x509.ExtKeyUsageClientAuth, billing+"/admin"),
		"another spelling":     ca.issue(t, x509.ExtKeyUsageClientAuth, "spiffe://example.com/Billing"),
		"an escape":            ca.issue(t, x509.ExtKeyUsageClientAuth, "spiffe://example.com/%62illing"),
		"another trust domain": ca.issue(t, x509.ExtKeyUsageClientAuth, "spiffe://example.org/billing"),
		"no URI":               ca.issue(t, x509.ExtKeyUsageClientAuth),
		"two URIs":             ca.issue(t, x509.ExtKeyUsageClientAuth, billing, "spiffe://example.com/other"),
	} {
		code, _ := get(t, server, "/read", nil, c)
		require.Equal(t, 401, code, name)
	}
	code, _ := get(t, server, "/read", nil)
	require.Equal(t, 401, code, "without a certificate")
	for name, c := range map[string]tls.Certificate{
		"another authority": other.issue(t, x509.ExtKeyUsageClientAuth, billing),
		"for a server":      ca.issue(t, x509.ExtKeyUsageServerAuth, billing),
	} {
		code, _ := get(t, server, "/read", nil, c)
		require.Contains(t, []int{0, 401}, code, name) // TLS refuses it, or the client sends none
	}

	// A server that does not verify: the certificate counts as none.
	lax := serve(t, h, tls.RequireAnyClientCert, nil)
	code, _ = get(t, lax, "/read", nil, good)
	require.Equal(t, 401, code)

	// Exactly one credential.
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com", Roles: []string{"reader"}}, "correct horse")
	require.NoError(t, err)
	token, err := kit.Login(t.Context(), "ann@example.com", "correct horse")
	require.NoError(t, err)
	bearer := http.Header{"Authorization": {"Bearer " + token.AccessToken}}
	code, _ = get(t, server, "/read", bearer, good)
	require.Equal(t, 401, code)
	code, _ = get(t, server, "/read", bearer, ca.issue(t, x509.ExtKeyUsageClientAuth, "spiffe://example.com/sidecar"))
	require.Equal(t, 200, code, "a certificate of no service is no credential")
}

// rfc9440 and nginx return the forms of a header.
func rfc9440(c tls.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(c.Certificate[0]) + ":"
}

func nginx(c tls.Certificate) string {
	return strings.ReplaceAll(url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))), "+", "%20")
}

func TestProxy(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	_, h := guarded(t, mtls.Config{Proxy: &mtls.ProxyConfig{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: "client-cert", Roots: ca.pool()}})
	_, without := guarded(t, mtls.Config{})
	good := ca.issue(t, x509.ExtKeyUsageClientAuth, billing)
	ask := func(h http.Handler, peer string, values ...string) int {
		r := httptest.NewRequest("GET", "/read", nil)
		r.RemoteAddr = peer
		r.Header["Client-Cert"] = values
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	const proxy, client = "10.1.2.3:4", "192.0.2.1:4"
	require.Equal(t, 200, ask(h, proxy, rfc9440(good)))
	require.Equal(t, 200, ask(h, proxy, nginx(good)))
	require.Equal(t, 200, ask(h, "[::ffff:10.1.2.3]:4", nginx(good)))
	require.Equal(t, 200, ask(h, proxy, nginx(good)+strings.Repeat(" ", 16<<10-len(nginx(good)))))
	for _, peer := range []string{client, "", "@", "[::1]:4", "proxy:4"} {
		require.Equal(t, 401, ask(h, peer, rfc9440(good)), "the header of a client")
	}
	require.Equal(t, 401, ask(without, proxy, rfc9440(good)), "without a ProxyConfig no header counts")
	bad := map[string]string{
		"another authority": rfc9440(other.issue(t, x509.ExtKeyUsageClientAuth, billing)),
		"for a server":      rfc9440(ca.issue(t, x509.ExtKeyUsageServerAuth, billing)),
		"another service":   rfc9440(ca.issue(t, x509.ExtKeyUsageClientAuth, "spiffe://example.com/other")),
		"no certificate":    "SUCCESS", "no end": rfc9440(good)[:40], "broken": ":AAAA:", "an escape": "%zz", "empty": "",
		"no colon at the end": strings.TrimSuffix(rfc9440(good), ":"), "an exclamation mark": strings.TrimSuffix(rfc9440(good), ":") + "!:",
		"another type": strings.ReplaceAll(nginx(good), "CERTIFICATE", "TRUSTED%20CERTIFICATE"),
		"16 KiB and 1": nginx(good) + strings.Repeat(" ", 16<<10+1-len(nginx(good))),
		"more":         nginx(good) + "x", "a key": url.QueryEscape("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "too long": ":" + strings.Repeat("A", 17<<10) + ":",
	}
	for name, value := range bad {
		require.Equal(t, 401, ask(h, proxy, value), name)
	}
	require.Equal(t, 401, ask(h, proxy, rfc9440(good), rfc9440(good)), "two headers")

	// A client without a certificate is one without a credential, so that another
	// credential counts.
	auth, err := mtls.New(mtls.Config{
		Services: map[string]mtls.Service{billing: {Name: "billing"}},
		Proxy:    &mtls.ProxyConfig{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: "client-cert", Roots: ca.pool()},
	})
	require.NoError(t, err)
	for _, c := range []struct {
		values []string
		want   error
	}{{nil, authkit.ErrNoCredentials}, {[]string{""}, authkit.ErrNoCredentials}, {[]string{"", ""}, authkit.ErrInvalidToken}, {[]string{"x"}, authkit.ErrInvalidToken}} {
		r := httptest.NewRequest("GET", "/read", nil)
		r.RemoteAddr = proxy
		r.Header["Client-Cert"] = c.values
		_, err := auth.Authenticate(r)
		require.ErrorIs(t, err, c.want, "%q", c.values)
	}

	// The certificate of the proxy itself is not that of its clients.
	r := httptest.NewRequest("GET", "/read", nil)
	r.RemoteAddr = proxy
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{good.Leaf}}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, 401, w.Code)
	r.RemoteAddr = client
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, 200, w.Code)
	r.Header["Client-Cert"] = []string{rfc9440(good)}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, 401, w.Code, "a client that claims to be a proxy is refused, whatever its certificate")
}

// A certificate ends during an open connection.
func TestCertificateExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		_, h := guarded(t, mtls.Config{})
		leaf := ca.issue(t, x509.ExtKeyUsageClientAuth, billing).Leaf
		ask := func() int {
			r := httptest.NewRequest("GET", "/read", nil)
			r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, 200, ask())
		time.Sleep(time.Second)
		require.Equal(t, 401, ask())
	})
}

func TestProblems(t *testing.T) {
	t.Parallel()
	_, err := mtls.New(mtls.Config{})
	require.ErrorContains(t, err, "Config.Services")
	_, err = mtls.New(mtls.Config{
		Services: map[string]mtls.Service{
			"billing": {Name: "x"}, billing: {}, "spiffe://example.com/a b": {Name: "x"}, "urn:billing": {Name: "x"}, "//example.com/billing": {Name: "x"},
			"spiffe://example.com/%zz": {Name: "x"},
		},
		Proxy: &mtls.ProxyConfig{Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), {}, netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)}},
	})
	for _, part := range []string{`"billing" is not`, "has no Name", `"spiffe://example.com/a b" is not`, `"urn:billing" is not`, `"//example.com/billing" is not`, `"spiffe://example.com/%zz" is not`,
		"Proxy.Networks: 0.0.0.0/0", "Proxy.Networks: invalid Prefix", "Proxy.Networks: ::ffff:10.0.0.0/104", "Proxy.Header", "Proxy.Roots"} {
		require.ErrorContains(t, err, part)
	}
	_, err = mtls.New(mtls.Config{Services: map[string]mtls.Service{billing: {Name: "x"}}, Proxy: &mtls.ProxyConfig{Header: "Authorization"}})
	require.ErrorContains(t, err, "Proxy.Networks: is empty")
	require.ErrorContains(t, err, "Proxy.Header")
}

func FuzzHeader(f *testing.F) {
	ca := newAuthority(f)
	_, h := guarded(f, mtls.Config{Proxy: &mtls.ProxyConfig{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: "Client-Cert", Roots: newAuthority(f).pool()}})
	f.Add(rfc9440(ca.issue(f, x509.ExtKeyUsageClientAuth, billing)))
	f.Add(nginx(ca.issue(f, x509.ExtKeyUsageClientAuth, billing)))
	f.Fuzz(func(t *testing.T, value string) {
		r := httptest.NewRequest("GET", "/read", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header["Client-Cert"] = []string{value}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 401 {
			t.Fatal(w.Code)
		}
	})
}

// A server admits the service of a certificate.
func Example() {
	authenticator, err := mtls.New(mtls.Config{
		Services: map[string]mtls.Service{
			"spiffe://example.com/billing": {Name: "billing", Roles: []string{"reader"}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := authkit.NewGuard(authkit.GuardConfig{
		Tokens:         authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")}}},
		Authenticators: []authkit.Authenticator{authenticator},
		Roles:          map[string][]string{"reader": {"notes:read"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := guard.NewMux()
	mux.HandleFunc("GET /notes", authkit.Permissions("notes:read").OrMachines(), func(w http.ResponseWriter, r *http.Request) {
		p, _ := authkit.PrincipalFrom(r.Context())
		fmt.Fprintln(w, "notes for", p.Name)
	})
	// A program serves it with crypto/tls, which verifies the certificates:
	//
	//	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{
	//		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
	//	}}
	fmt.Println(mux.AccessMatrix()[0].Policy)
	// Output: permissions: notes:read; or machines
}
