package oidclogin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/authkit-go/authkit"
)

// discoveryLife is how long the metadata of a provider is used.
const discoveryLife = 24 * time.Hour

// metadata is the part of a provider's metadata that a login needs.
type metadata struct {
	endpoint oauth2.Endpoint
	verifier *oidc.IDTokenVerifier // nil without an ID token
	sendsIss bool                  // RFC 9207
	pkce     []string              // the methods that it supports; nil if it does not list them
	jwks     string
	userInfo string // empty if there is none
	fetched  time.Time
}

// A source caches the metadata of a provider. Its zero value is empty.
type source struct {
	mu      sync.Mutex
	current *metadata
	running *discovery
}

// A discovery is a request for metadata. Callers that come while it runs share
// its result.
type discovery struct {
	done   chan struct{}
	result *metadata
	err    error
}

// metadata returns the metadata of the provider. It discovers the provider if
// it is used for the first time, or again after a day. If that fails, it
// returns the old metadata.
func (p *provider) metadata(ctx context.Context) (*metadata, error) {
	if p.endpoint != nil {
		return &metadata{endpoint: *p.endpoint}, nil
	}
	s := &p.source
	s.mu.Lock()
	current, d := s.current, s.running
	if current != nil && time.Since(current.fetched) < discoveryLife {
		s.mu.Unlock()
		return current, nil
	}
	if d == nil {
		d = &discovery{done: make(chan struct{})}
		s.running = d
		go p.run(context.WithoutCancel(ctx), d)
	}
	s.mu.Unlock()
	select {
	case <-d.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.err != nil && current != nil {
		return current, nil
	}
	return d.result, d.err
}

// run makes a request for metadata. The client limits its time.
func (p *provider) run(ctx context.Context, d *discovery) {
	d.result, d.err = p.discover(ctx)
	p.source.mu.Lock()
	defer p.source.mu.Unlock()
	if p.source.running = nil; d.err == nil {
		p.source.current = d.result
	}
	close(d.done)
}

// discover reads the metadata (OpenID Connect Discovery 1.0, section 4). The
// issuer in it must be exactly that of the configuration.
func (p *provider) discover(ctx context.Context) (*metadata, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	found, err := oidc.NewProvider(ctx, p.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		JWKS     string   `json:"jwks_uri"`
		SendsIss bool     `json:"authorization_response_iss_parameter_supported"`
		Auth     []string `json:"token_endpoint_auth_methods_supported"`
		PKCE     []string `json:"code_challenge_methods_supported"`
		Signing  []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, err
	}
	m := &metadata{endpoint: found.Endpoint(), sendsIss: more.SendsIss, pkce: more.PKCE, jwks: more.JWKS, userInfo: found.UserInfoEndpoint(), fetched: time.Now()}
	m.endpoint.AuthStyle = oauth2.AuthStyleInHeader // the default of RFC 8414, section 2
	if p.ClientSecret == "" || len(more.Auth) > 0 && !slices.Contains(more.Auth, "client_secret_basic") {
		m.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	issuer, err := url.Parse(p.Issuer)
	if err != nil {
		return nil, err
	}
	urls := []string{m.endpoint.AuthURL, m.endpoint.TokenURL, m.jwks}
	if m.userInfo != "" {
		urls = append(urls, m.userInfo)
	}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || !secureURL(u) || u.User != nil || u.Scheme != "https" && issuer.Scheme == "https" {
			return nil, fmt.Errorf("the metadata has no https URL where one belongs: %.100q", text)
		}
	}
	signing := slices.DeleteFunc(more.Signing, func(alg string) bool { return !slices.Contains(publicKeyAlgs, alg) })
	m.verifier = oidc.NewVerifier(p.Issuer, keySet{oidc.NewRemoteKeySet(ctx, m.jwks)}, &oidc.Config{ClientID: p.ClientID, SupportedSigningAlgs: signing})
	return m, nil
}

// publicKeyAlgs are the algorithms of ID tokens. Without metadata about them it is
// RS256 alone.
var publicKeyAlgs = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// A keySet tells keys that could not be fetched from a wrong signature. The
// verifier wraps both errors alike.
type keySet struct{ remote *oidc.RemoteKeySet }

// fetchKey is the context key of the *error that a keySet sets.
type fetchKey struct{}

// VerifySignature implements oidc.KeySet.
func (s keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := s.remote.VerifySignature(ctx, token)
	if err != nil && strings.HasPrefix(err.Error(), "fetching keys") {
		*ctx.Value(fetchKey{}).(*error) = err
	}
	return payload, err
}

// Check discovers all providers and returns their problems, for package doctor
// and for a check at the start of a program. Each call to a provider takes at
// most ten seconds.
func (l *Logins) Check(ctx context.Context) []authkit.Finding {
	var found []authkit.Finding
	for _, p := range l.providers {
		if p.endpoint != nil {
			continue
		}
		m, err := p.discover(ctx)
		if err == nil {
			err = p.keys(ctx, m)
		}
		switch {
		case err != nil:
			found = append(found, authkit.Finding{
				Code: "oidclogin_" + p.Name, Severity: slog.LevelError,
				Text: fmt.Sprintf("the provider %s cannot be used: %s", p.Name, clip(err.Error())), Fix: "compare Issuer with the provider's documents, and check the network",
			})
		case m.pkce != nil && !slices.Contains(m.pkce, "S256"):
			found = append(found, authkit.Finding{
				Code: "oidclogin_" + p.Name, Severity: slog.LevelWarn,
				Text: "the provider " + p.Name + " does not support PKCE with S256", Fix: "turn it on at the provider: a stolen code is refused then",
			})
		}
	}
	return found
}

// keys reads the keys of the provider.
func (p *provider) keys(ctx context.Context, m *metadata) error {
	var set struct {
		Keys []any `json:"keys"`
	}
	if err := getterFor(p.client, nil)(ctx, m.jwks, &set); err != nil {
		return err
	}
	if len(set.Keys) == 0 {
		return errors.New("the provider has no keys")
	}
	return nil
}
