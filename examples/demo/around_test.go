package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TR-07, MW-10: every answer of the service carries the headers, a page its own policy.
func TestHeadersOfTheDemo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.hsts = true
	url := start(t, cfg)
	for _, path := range []string{"/healthz", "/docs", "/redoc", "/nothing", "/users/me/", "/openapi.json", "/docs/assets/swagger-ui.css"} {
		a, err := send(url, call{method: "GET", path: path})
		require.NoError(t, err)
		for _, name := range []string{"Referrer-Policy", "X-Request-Id", "Cross-Origin-Opener-Policy", "Strict-Transport-Security"} {
			require.NotEmpty(t, a.header.Get(name), "%s of %s", name, path)
		}
		require.Contains(t, a.header.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"), path)
		require.Empty(t, a.header.Get("Access-Control-Allow-Origin"), path)
	}
}

// TR-04: exact origins alone, never with credentials, and cheap whatever is asked for.
func TestCORS(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	var err error
	cfg.corsOrigins, err = parseOrigins("https://app.example.com, http://localhost:5173,")
	require.NoError(t, err)
	require.Equal(t, []string{"https://app.example.com", "http://localhost:5173"}, cfg.corsOrigins)
	url := start(t, cfg)
	ask := func(method, origin, headers string) answer {
		h := http.Header{"Origin": {origin}}
		if method == "OPTIONS" {
			h.Set("Access-Control-Request-Method", "DELETE")
			h.Set("Access-Control-Request-Headers", headers)
		}
		a, err := send(url, call{method: method, path: "/users/me/", header: h})
		require.NoError(t, err)
		require.Contains(t, strings.Join(a.header.Values("Vary"), ", "), "Origin")
		require.Empty(t, a.header.Get("Access-Control-Allow-Credentials"))
		return a
	}
	for _, origin := range cfg.corsOrigins {
		require.Equal(t, origin, ask("GET", origin, "").header.Get("Access-Control-Allow-Origin"))
		a := ask("OPTIONS", origin, "authorization,content-type")
		require.Equal(t, origin, a.header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "DELETE", a.header.Get("Access-Control-Allow-Methods"))
	}
	for _, origin := range []string{"https://app.example.com.evil.example", "https://evil.example", "http://app.example.com", "null", "https://app.example.com:444", "https://xapp.example.com"} {
		require.Empty(t, ask("GET", origin, "").header.Get("Access-Control-Allow-Origin"), origin)
		require.Empty(t, ask("OPTIONS", origin, "authorization").header.Get("Access-Control-Allow-Origin"), origin)
	}
	// CVE-2025-47908: many commas.
	require.Empty(t, ask("OPTIONS", cfg.corsOrigins[0], strings.Repeat(",", 20<<10)).header.Get("Access-Control-Allow-Headers"))
}

// TestTLS serves https with the certificate of the flags, over HTTP/2, and nothing older than TLS 1.2.
func TestTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))

	cfg := testConfig(t)
	cfg.certFile, cfg.keyFile = certFile, keyFile
	secure, err := cfg.tls()
	require.NoError(t, err)
	service, err := newServer(t.Context(), cfg)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, newHTTPServer(service.handler(), cfg.log), tls.NewListener(listener, secure), cfg.log)
	}()
	var greeting bytes.Buffer
	require.NoError(t, greet(&greeting, cfg, listener.Addr()))
	require.Contains(t, greeting.String(), "https://"+listener.Addr().String()+"/docs")

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	get := func(max uint16) (*http.Response, error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: max}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("https://" + listener.Addr().String() + "/healthz")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return resp, err
	}
	resp, err := get(0)
	require.NoError(t, err)
	require.Equal(t, 2, resp.ProtoMajor)
	_, err = get(tls.VersionTLS11)
	require.Error(t, err)
	stop()
	require.NoError(t, <-done)

	cfg.keyFile = certFile
	_, err = cfg.tls()
	require.ErrorContains(t, err, "-tls-cert and -tls-key")
}
