package contract

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A Provider is a provider of OpenID Connect that attacks its clients. It serves
// on a loopback address, without TLS. Make one with [NewProvider] before the
// service, connect the service to it, and set [Target].Provider. Only one run of
// the attacks can use it at a time.
type Provider struct {
	// Issuer, ClientID and ClientSecret are those to connect the service with.
	// The service finds the endpoints by discovery below Issuer. Any redirect URI
	// is allowed.
	Issuer, ClientID, ClientSecret string

	key       *rsa.PrivateKey
	other     *rsa.PrivateKey // of the attacker
	servers   []*http.Server
	elsewhere string // address of another host

	mu     sync.Mutex
	grants map[string]*grant // by code, and by access token
	leaked bool              // a code or the secret has reached the other host
}

// A grant is a login at the provider. Its fields change the responses
// of the provider.
type grant struct {
	request  url.Values        // that began the login
	claims   map[string]string // JSON values in the ID token; "" removes one
	userInfo map[string]string // likewise in the user info, if it is not nil

	idToken func(header, payload members) string // if not nil, replaces the signed ID token
	respond http.HandlerFunc                     // if not nil, replaces the response to a code
	hold    func()                               // if not nil, is called before the response to a code

	redeemed, asked bool // the client has redeemed the code, and read the user info
}

type members = map[string]json.RawMessage

// Format implements fmt.Formatter. It prints a fixed text for every verb.
func (*Provider) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("contract.Provider{[redacted]}")) }

// NewProvider starts a provider. The error is that of listening on a loopback
// address. Call Close when the attacks have ended.
func NewProvider() (*Provider, error) {
	p := &Provider{ClientID: "contract", ClientSecret: rand.Text(), grants: map[string]*grant{}}
	for _, key := range []**rsa.PrivateKey{&p.key, &p.other} {
		*key, _ = rsa.GenerateKey(rand.Reader, 2048) // never fails
	}
	own, err := p.serve(http.HandlerFunc(p.handle))
	if err != nil {
		return nil, err
	}
	p.Issuer = "http://" + own
	other, err := p.serve(http.HandlerFunc(p.catch))
	if err != nil {
		p.Close()
		return nil, err
	}
	_, port, _ := net.SplitHostPort(other)
	p.elsewhere = "http://localhost:" + port
	return p, nil
}

// Close stops the provider.
func (p *Provider) Close() {
	for _, s := range p.servers {
		_ = s.Close()
	}
}

// serve serves a handler, and returns its address.
func (p *Provider) serve(h http.Handler) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("contract: serving a provider: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: maxWait, ErrorLog: log.New(io.Discard, "", 0)}
	p.servers = append(p.servers, s)
	go func() { _ = s.Serve(listener) }()
	return listener.Addr().String(), nil
}

// handle serves the endpoints. The authorization endpoint is not among them,
// because the attacks act in place of the browser.
func (p *Provider) handle(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		writeObject(w, http.StatusOK, map[string]any{
			"issuer": p.Issuer, "authorization_endpoint": p.Issuer + "/authorize", "token_endpoint": p.Issuer + "/token",
			"userinfo_endpoint": p.Issuer + "/userinfo", "jwks_uri": p.Issuer + "/keys",
			"response_types_supported": []string{"code"}, "response_modes_supported": []string{"query"}, "grant_types_supported": []string{"authorization_code"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
			"scopes_supported": []string{"openid", "email", "profile"}, "code_challenge_methods_supported": []string{"S256"},
			"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"}, "authorization_response_iss_parameter_supported": true,
		})
	case "/keys":
		writeObject(w, http.StatusOK, map[string]any{"keys": []any{rsaKey(p.key)}})
	case "/token":
		p.token(w, r)
	case "/userinfo":
		p.info(w, r)
	default:
		http.NotFound(w, r)
	}
}

// publicKey returns a key as a JSON Web Key.
func rsaKey(key *rsa.PrivateKey) map[string]string {
	return map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
		"n": encoding.EncodeToString(key.N.Bytes()), "e": encoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
}

func writeObject(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// grant gives a code for a login.
func (p *Provider) grant(g *grant) (code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	code = rand.Text()
	p.grants[code] = g
	return code
}

// was reports a state of a grant, such as whether its code was redeemed.
func (p *Provider) was(state *bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *state
}

// forget begins to watch the other host anew.
func (p *Provider) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaked = false
}

// token responds to a code, as a strict provider does.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRead)
	if r.Method != http.MethodPost || r.ParseForm() != nil {
		writeObject(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if id != p.ClientID || secret != p.ClientSecret {
		writeObject(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	p.mu.Lock()
	g := p.grants[r.PostForm.Get("code")]
	ok := g != nil && r.PostForm.Get("grant_type") == "authorization_code" && r.PostForm.Get("redirect_uri") == g.request.Get("redirect_uri") && challenged(g.request, r.PostForm.Get("code_verifier"))
	if g != nil {
		delete(p.grants, r.PostForm.Get("code"))
		g.redeemed = true
	}
	p.mu.Unlock()
	switch {
	case !ok:
		writeObject(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	case g.respond != nil:
		g.respond(w, r)
		return
	case g.hold != nil:
		g.hold()
	}
	access := rand.Text()
	p.mu.Lock()
	p.grants[access] = g
	p.mu.Unlock()
	response := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600}
	if text := p.issue(g); text != "" {
		response["id_token"] = text
	}
	writeObject(w, http.StatusOK, response)
}

// challenged reports whether a verifier is that of the code challenge of a
// login (RFC 7636 section 4.6).
func challenged(request url.Values, verifier string) bool {
	challenge := request.Get("code_challenge")
	if request.Get("code_challenge_method") == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		verifier = encoding.EncodeToString(sum[:])
	}
	return challenge == "" || challenge == verifier
}

// issue returns the ID token of a grant.
func (p *Provider) issue(g *grant) string {
	at := time.Now().Unix()
	payload := members{"iss": json.RawMessage(quote(p.Issuer)), "aud": json.RawMessage(quote(p.ClientID)), "iat": fmt.Appendf(nil, "%d", at), "exp": fmt.Appendf(nil, "%d", at+600)}
	if nonce := g.request.Get("nonce"); nonce != "" {
		payload["nonce"] = json.RawMessage(quote(nonce))
	}
	apply(payload, g.claims)
	header := members{"alg": json.RawMessage(quote("RS256")), "typ": json.RawMessage(quote("JWT")), "kid": json.RawMessage(quote("1"))}
	if g.idToken != nil {
		return g.idToken(header, payload)
	}
	return rs256(object(header), object(payload), p.key)
}

// apply sets members to JSON values. The value "" removes one.
func apply(into members, values map[string]string) {
	for name, value := range values {
		if value == "" {
			delete(into, name)
		} else {
			into[name] = json.RawMessage(value)
		}
	}
}

// rs256 returns a token that is signed with a private key.
func rs256(header, payload string, key *rsa.PrivateKey) string {
	input := encode(header) + "." + encode(payload)
	sum := sha256.Sum256([]byte(input))
	signature, _ := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:]) // fails for short keys alone
	return input + "." + encoding.EncodeToString(signature)
}

// info responds with the user info.
func (p *Provider) info(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	g := p.grants[token]
	if g != nil {
		g.asked = true
	}
	p.mu.Unlock()
	if g == nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeObject(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	body := members{}
	claims := maps.Clone(g.claims)
	maps.DeleteFunc(claims, func(name, _ string) bool {
		return name != "sub" && name != "email" && name != "email_verified" && name != "name"
	})
	apply(body, claims)
	apply(body, g.userInfo)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, object(body))
}

// catch is another host. It notes a code and the secret of the client.
func (p *Provider) catch(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxRead))
	text := string(body) + r.URL.RawQuery + r.Header.Get("Authorization")
	basic := base64.StdEncoding.EncodeToString([]byte(p.ClientID + ":" + p.ClientSecret))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaked = p.leaked || strings.Contains(text, p.ClientSecret) || strings.Contains(text, basic) || strings.Contains(text, "code=")
	http.NotFound(w, r)
}
