package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authkit-go/authkit/harden"
	"github.com/rs/cors"
)

// around returns the middleware for all routes: headers, request IDs, logging,
// panic recovery, and CORS if it is enabled.
func around(cfg config) (func(http.Handler) http.Handler, error) {
	opts := harden.Options{Logger: cfg.log}
	if cfg.hsts {
		opts.HSTS = 365 * 24 * time.Hour
	}
	wrap, err := harden.New(opts)
	if err != nil || len(cfg.corsOrigins) == 0 {
		return wrap, err
	}
	allow := cors.New(cors.Options{
		AllowedOrigins: cfg.corsOrigins, // exact origins only; see parseOrigins
		AllowedMethods: []string{http.MethodGet, http.MethodPost, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type"},
		ExposedHeaders: []string{"Link", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID"},
		MaxAge:         600, // seconds
		// AllowCredentials stays off: tokens are sent in a header, and no page
		// of another origin may use a cookie of this one.
	})
	return func(next http.Handler) http.Handler { return wrap(allow.Handler(next)) }, nil
}

// parseOrigins parses a comma-separated list of exact origins. It refuses the
// other forms that github.com/rs/cors accepts: wildcards, "null", and http for
// another host than this machine.
func parseOrigins(list string) ([]string, error) {
	var origins []string
	for origin := range strings.SplitSeq(list, ",") {
		origin = strings.TrimSpace(origin)
		if origin == "" {
			continue
		}
		u, err := url.Parse(origin)
		switch {
		case err != nil || u.Host == "" || origin != u.Scheme+"://"+strings.ToLower(u.Host) || strings.Contains(origin, "*"):
			return nil, fmt.Errorf("-cors: %q is not one exact origin; write it like https://app.example.com, without a path", origin)
		case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
			return nil, fmt.Errorf("-cors: %q is not https; an attacker on the network could impersonate it", origin)
		}
		origins = append(origins, origin)
	}
	return origins, nil
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// tls returns the TLS configuration, or nil without a certificate.
func (c config) tls() (*tls.Config, error) {
	if c.certFile == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert and -tls-key: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}, nil
}
