package authkit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/authkit-go/authkit/internal/claims"
)

// A ResourceConfig describes a service as a protected resource of OAuth 2.0 (RFC
// 9728), so that clients find out where to get tokens. MCP servers need it. Set
// it in [GuardConfig].Resource or [Config].Resource.
//
// Guards then add resource_metadata to their challenges, and scope if the route
// requires permissions (RFC 6750 section 3). [Mux.HandleResource] serves the
// metadata.
type ResourceConfig struct {
	// URL identifies the resource, such as "https://api.example.com/mcp". It is
	// an https URL, or an http URL of a loopback address, without a query and a
	// fragment. It is the [TokenConfig].Audience too, which can be left empty: a
	// token for another resource is refused. Both are compared as text. No part
	// of a request, such as Host, has an influence.
	//
	// Do not send the tokens of clients on to other services: they are for this
	// resource only.
	URL string

	// AuthorizationServers are the issuers that give tokens to clients. If
	// empty, it is [TokenConfig].Issuer.
	AuthorizationServers []string

	// Scopes are the scopes that clients can ask for. If nil, they are the
	// permissions of the role table.
	Scopes []string

	Name string // for people; may be empty
}

// A resource is a ResourceConfig that was checked.
type resource struct {
	path     string // of the metadata
	metadata []byte
	param    string // of challenges: resource_metadata="..."
}

// resourceMetadata is the document of RFC 9728 section 2.
type resourceMetadata struct {
	Resource      string   `json:"resource"`
	Servers       []string `json:"authorization_servers,omitempty"`
	Scopes        []string `json:"scopes_supported,omitempty"`
	BearerMethods []string `json:"bearer_methods_supported"`
	Name          string   `json:"resource_name,omitempty"`
}

const wellKnownResource = "/.well-known/oauth-protected-resource"

// bind checks the configuration, and sets the audience of the tokens. It returns
// nil if c is nil.
func (c *ResourceConfig) bind(tokens *TokenConfig, roles map[string][]string, fault func(field string, err error)) *resource {
	if c == nil {
		return nil
	}
	u, err := checkResource(c.URL)
	if err != nil {
		fault("Resource.URL", err)
		return nil
	}
	if tokens.Audience = cmp.Or(tokens.Audience, c.URL); tokens.Audience != c.URL {
		fault("Tokens.Audience", fmt.Errorf("%q, and Resource.URL is %q; leave it empty", tokens.Audience, c.URL))
	}
	doc := resourceMetadata{Resource: c.URL, Servers: slices.Clone(c.AuthorizationServers), Scopes: slices.Clone(c.Scopes), BearerMethods: []string{"header"}, Name: c.Name}
	if len(doc.Servers) == 0 && tokens.Issuer != "" {
		doc.Servers = []string{tokens.Issuer}
	}
	for _, server := range doc.Servers {
		if _, err := checkResource(strings.TrimSuffix(server, "/")); err != nil { // some issuers end with a slash
			fault("Resource.AuthorizationServers", err)
		}
	}
	if len(doc.Servers) == 0 {
		fault("Resource.AuthorizationServers", errors.New("empty, and so is Tokens.Issuer; set one, so that clients find out where to get tokens"))
	}
	if c.Scopes == nil {
		for permissions := range maps.Values(roles) {
			doc.Scopes = append(doc.Scopes, permissions...)
		}
		slices.Sort(doc.Scopes)
		doc.Scopes = slices.Compact(doc.Scopes)
	}
	r := &resource{path: wellKnownResource + u.Path}
	at := *u
	at.Path = r.path
	r.param = `resource_metadata="` + at.String() + `"`
	r.metadata, _ = json.Marshal(doc) // strings always encode
	return r
}

// describe returns the identifier of the resource, or "".
func (c *ResourceConfig) describe() string {
	if c == nil {
		return ""
	}
	return c.URL
}

// checkResource returns an identifier as a URL.
func checkResource(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	if u.Path == "/" {
		u.Path = "" // RFC 9728 section 3.1: without the slash that follows the host
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip.IsLoopback()
	switch {
	case u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback):
		return nil, fmt.Errorf("%q; use an https URL such as https://api.example.com/mcp, or http with a loopback address", text)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") || u.EscapedPath() != u.Path ||
		strings.ContainsAny(u.Path, `{}"\ `) || strings.HasSuffix(u.Path, "/") || strings.ContainsAny(u.Host, `"\ `):
		return nil, fmt.Errorf("%q; use a URL of a scheme, a host and a plain path without a slash at its end", text)
	}
	return u, nil
}

// HandleResource registers the metadata of [ResourceConfig] at the path that RFC
// 9728 section 3.1 gives it: "/.well-known/oauth-protected-resource", followed
// by the path of the resource. The route is public and static. Pages of every
// origin can read it, and only it. It panics if there is no ResourceConfig, or
// as [Mux.Handle] does.
func (m *Mux) HandleResource() {
	if m.guard == nil || m.guard.resource == nil {
		panic("authkit: HandleResource without a resource; set Config.Resource or GuardConfig.Resource")
	}
	m.Handle(m.guard.resource.path, Public(), m.guard.resource)
}

// ServeHTTP responds with the metadata.
func (r *resource) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		h.Set("Content-Type", "application/json")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(r.metadata) // an error means that the client is gone
	case http.MethodOptions: // a preflight, because of a header such as MCP-Protocol-Version
		h.Set("Access-Control-Allow-Methods", "GET, HEAD")
		h.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
	default:
		methodNotAllowed(w, "GET, HEAD, OPTIONS").ServeHTTP(w, req)
	}
}

// delegated returns the credential of a user's token that is limited by its
// scope, or nil for a token without one.
func (t *verified) delegated(userID string) *Credential {
	text, ok := claims.ScopeOf(t.payload)
	if !ok {
		return nil
	}
	return &Credential{
		Kind: bearerKind, ID: t.ID, UserID: userID, Limited: true, Permissions: strings.Fields(text), SessionID: t.SessionID,
		IssuedAt: fromUnix(t.IssuedAt), ExpiresAt: fromUnix(t.ExpiresAt), AuthTime: fromUnix(t.AuthTime), Methods: claims.MethodsOf(t.Methods),
	}
}

// refusals are the responses of a guard that do not depend on the request.
type refusals struct {
	noCredentials, invalidToken, forbidden *rendered
	params                                 string // of further challenges
}

// refusalsOf returns the responses of a route.
func (g *Guard) refusalsOf(p *Policy) *refusals {
	r := &refusals{g.noCredentials, answerInvalidToken, answerForbidden, ""}
	if g.resource == nil {
		return r
	}
	r.params = g.resource.param
	if p.kind == policyPermissions {
		r.params = `scope="` + strings.Join(p.names, " ") + `", ` + r.params
	}
	r.noCredentials = g.renderNoCredentials(r.params)
	for at, err := range map[**rendered]error{&r.invalidToken: ErrInvalidToken, &r.forbidden: ErrForbidden} {
		problem := ProblemFor(err)
		problem.Challenge = withParams(problem.Challenge, r.params)
		*at = problem.render()
	}
	return r
}

// withParams returns a Bearer challenge with further parameters.
func withParams(challenge, params string) string {
	switch {
	case params == "" || !strings.HasPrefix(challenge, challengeNone):
		return challenge
	case challenge == challengeNone:
		return challenge + " " + params
	}
	return challenge + ", " + params
}
