package vulnerable

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A client is the service as the client of a provider of OpenID Connect.
type client struct {
	issuer, id, secret string
	key                *rsa.PublicKey   // of the provider
	flows              map[string]*flow // by state
	identities         map[string]*user // by issuer and subject
}

// A flow is a login that has begun.
type flow struct {
	state, nonce, verifier string
	cookie                 string // of the browser
	redirect, next         string
	user                   *user // who links another user of the provider, or nil
}

const (
	flowCookie    = "__Host-flow"
	maxFromServer = 1 << 20
)

// Connect connects the service to a provider.
func (s *Service) Connect(issuer, id, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = &client{issuer: issuer, id: id, secret: secret, flows: map[string]*flow{}, identities: map[string]*user{}}
}

// AddUnverified adds an account with an address that is not verified.
func (s *Service) AddUnverified(password string) string {
	name := s.AddUser(password)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[name].unproved = true
	return name
}

// social serves the paths of logins with the provider. It reports whether the
// path is one of them.
func (s *Service) social(w http.ResponseWriter, r *http.Request, method, target string) bool {
	switch {
	case s.client == nil:
		return false
	case method == http.MethodGet && target == "/social":
		s.startSocial(w, r, nil)
	case method == http.MethodGet && target == "/social/callback":
		s.callback(w, r)
	case method == http.MethodPost && target == "/social/link":
		s.startLink(w, r)
	case target == "/social", target == "/social/callback", target == "/social/link":
		fail(w, http.StatusMethodNotAllowed, "method not allowed")
	default:
		return false
	}
	return true
}

// startLink begins to link another user of the provider with the account.
func (s *Service) startLink(w http.ResponseWriter, r *http.Request) {
	session := s.sessionCookie(r)
	if session == nil || !s.sameOrigin(r) && !s.is("link of another site") {
		fail(w, http.StatusForbidden, "log in first")
		return
	}
	s.startSocial(w, r, session.user)
}

// link links a user of the provider with the account of the session.
func (s *Service) link(w http.ResponseWriter, r *http.Request, f *flow, claims members) {
	key := string(claims["sub"])
	session := s.sessionCookie(r)
	if session == nil || session.user != f.user && !s.is("link of another user") || s.client.identities[key] != nil && !s.is("link of a linked user") {
		fail(w, http.StatusUnauthorized, "the link was refused")
		return
	}
	s.client.identities[key] = session.user
	w.Header().Set("Location", f.next)
	w.WriteHeader(http.StatusSeeOther)
}

// startSocial redirects to the provider. The user is one who begins a link.
func (s *Service) startSocial(w http.ResponseWriter, r *http.Request, u *user) {
	f := &flow{user: u, state: random(), nonce: random(), verifier: random(), cookie: random(), redirect: "http://service.example/social/callback", next: "/"}
	if next := r.URL.Query().Get("next"); s.is("return") && next != "" {
		f.next = next
	}
	if s.is("short state") {
		f.state = fmt.Sprint(len(s.client.flows))
	}
	if s.is("host of a callback") {
		f.redirect = "http://" + r.Host + "/social/callback"
	}
	c := &http.Cookie{Name: flowCookie, Value: f.cookie, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	switch s.defect {
	case "flow cookie for scripts":
		c.HttpOnly = false
	case "prefix of a flow cookie":
		c.Name = "flow"
	}
	http.SetCookie(w, c)
	s.client.flows[f.state] = f
	sum := sha256.Sum256([]byte(f.verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {s.client.id}, "redirect_uri": {f.redirect}, "scope": {"openid email profile"},
		"state": {f.state}, "nonce": {f.nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	switch s.defect {
	case "no PKCE":
		query.Del("code_challenge")
	case "code alone":
		query.Del("code_challenge")
		query.Del("nonce")
	case "implicit":
		query.Set("response_type", "code id_token")
	case "secret of the client in the URL":
		query.Set("client_secret", s.client.secret)
	}
	w.Header().Set("Location", s.client.issuer+"/authorize?"+query.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

// flowOf returns the flow of a callback, or nil.
func (s *Service) flowOf(r *http.Request, state string) *flow {
	name := flowCookie
	if s.is("prefix of a flow cookie") {
		name = "flow"
	}
	c, err := r.Cookie(name)
	if err != nil && !s.is("browser of a flow") {
		return nil
	}
	f := s.client.flows[state]
	if f == nil && s.is("state") {
		for _, other := range s.client.flows {
			if other.cookie == c.Value {
				f = other
			}
		}
	}
	if f == nil || !s.is("browser of a flow") && f.cookie != c.Value {
		return nil
	}
	if !s.is("state twice") {
		delete(s.client.flows, f.state)
	}
	return f
}

// callback completes a login.
func (s *Service) callback(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	f := s.flowOf(r, query.Get("state"))
	iss := query["iss"]
	promised := s.is("no issuer of a response") || len(iss) == 1
	named := s.is("issuer of a response") || len(iss) == 0 || iss[0] == s.client.issuer
	if f == nil || !promised || !named {
		fail(w, http.StatusBadRequest, "the login has ended; begin again")
		return
	}
	if text := query.Get("error"); text != "" {
		if s.is("script of a provider") {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<p>"+text)
			return
		}
		fail(w, http.StatusBadRequest, "the provider refused the login")
		return
	}
	known := maps.Clone(s.client.identities)
	s.mu.Unlock() // the provider takes its time
	claims, err := s.redeem(f, query.Get("code"))
	s.mu.Lock()
	if err != nil {
		text := "the login was refused"
		if s.is("error of a provider") {
			text = err.Error()
		}
		fail(w, http.StatusUnauthorized, text)
		return
	}
	if s.is("identities at once") {
		s.client.identities = known
	}
	if s.is("type of an address") && claims["email"] != nil && textOf(claims["email"]) == "" {
		fail(w, http.StatusInternalServerError, "no text")
		return
	}
	if f.user != nil {
		s.link(w, r, f, claims)
		return
	}
	u := s.owner(claims)
	if u == nil || u.disabled && !s.is("provider of a disabled user") || u.responses != nil && !s.is("provider without a factor") {
		fail(w, http.StatusUnauthorized, "the login was refused")
		return
	}
	c := &http.Cookie{Name: sessionCookieName, Value: random(), Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	if old, err := r.Cookie(sessionCookieName); err == nil && s.is("fixation by a provider") {
		c.Value = old.Value
	}
	s.cookies[c.Value] = s.begin(u)
	http.SetCookie(w, c)
	w.Header().Set("Location", f.next)
	w.WriteHeader(http.StatusSeeOther)
}

// fetch reads a response of the provider.
func (s *Service) fetch(r *http.Request) ([]byte, error) {
	c := &http.Client{Timeout: 30 * time.Second}
	if !s.is("redirect of the provider") {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	response, err := c.Do(r)
	if err != nil {
		return nil, errRefused
	}
	defer response.Body.Close()
	limit := int64(maxFromServer)
	if s.is("no limits") {
		limit = 1 << 30
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil || int64(len(body)) > limit:
		return nil, errRefused
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the provider responds with %s", body)
	}
	return body, nil
}

// redeem exchanges a code for the claims of a user.
func (s *Service) redeem(f *flow, code string) (members, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {f.redirect}, "code_verifier": {f.verifier},
		"client_id": {s.client.id}, "client_secret": {s.client.secret},
	}
	r, _ := http.NewRequest(http.MethodPost, s.client.issuer+"/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	body, err := s.fetch(r)
	if err != nil {
		return nil, err
	}
	var tokens struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	if json.Unmarshal(body, &tokens) != nil {
		return nil, errRefused
	}
	if s.is("user info alone") {
		return s.userInfo(members{}, tokens.Access)
	}
	claims, err := s.idToken(tokens.ID, f)
	if err != nil || textOf(claims["email"]) != "" {
		return claims, err
	}
	return s.userInfo(claims, tokens.Access)
}

// userInfo returns the claims with the address of the user info.
func (s *Service) userInfo(claims members, token string) (members, error) {
	r, _ := http.NewRequest(http.MethodGet, s.client.issuer+"/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	body, err := s.fetch(r)
	info := members{}
	if err != nil || json.Unmarshal(body, &info) != nil {
		return nil, errRefused
	}
	if s.is("user info alone") {
		return info, nil
	}
	if !bytes.Equal(info["sub"], claims["sub"]) && !s.is("user info") {
		return nil, errRefused
	}
	claims["email"], claims["email_verified"] = info["email"], info["email_verified"]
	return claims, nil
}

// idToken returns the claims of an ID token that is good for a flow.
func (s *Service) idToken(token string, f *flow) (members, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errRefused
	}
	header, claims := members{}, members{}
	for i, into := range []*members{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return nil, errRefused
		}
	}
	if !s.signedID(header, parts) || !s.acceptsID(claims, f) {
		return nil, errRefused
	}
	return claims, nil
}

// signedID reports whether the signature of an ID token is right.
func (s *Service) signedID(header members, parts []string) bool {
	input := parts[0] + "." + parts[1]
	alg := textOf(header["alg"])
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	key := s.providerKey()
	switch {
	case err != nil || key == nil:
		return false
	case s.is("ID token without an algorithm") && !strings.HasPrefix(alg, "RS"):
		return true
	case s.is("ID token without a signature") && len(signature) == 0:
		return true
	case s.is("public key as a secret of ID tokens") && alg == "HS256":
		return hmac.Equal(signature, mac(sha256.New, input, key.N.Bytes()))
	case alg != "RS256":
		return false
	}
	var jwk struct{ N string }
	if s.is("key of an ID token") && json.Unmarshal(header["jwk"], &jwk) == nil {
		n, _ := base64.RawURLEncoding.DecodeString(jwk.N)
		key = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: key.E}
	}
	sum := sha256.Sum256([]byte(input))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
}

// providerKey returns the public key of the provider.
func (s *Service) providerKey() *rsa.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client.key != nil {
		return s.client.key
	}
	r, _ := http.NewRequest(http.MethodGet, s.client.issuer+"/keys", nil)
	body, err := s.fetch(r)
	var set struct{ Keys []struct{ N, E string } }
	if err != nil || json.Unmarshal(body, &set) != nil || len(set.Keys) == 0 {
		return nil
	}
	n, _ := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
	e, _ := base64.RawURLEncoding.DecodeString(set.Keys[0].E)
	s.client.key = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	return s.client.key
}

// acceptsID reports whether the claims of an ID token are good for a flow.
func (s *Service) acceptsID(claims members, f *flow) bool {
	var audience []string
	if text := textOf(claims["aud"]); text != "" {
		audience = []string{text}
	} else {
		_ = json.Unmarshal(claims["aud"], &audience)
	}
	at := float64(time.Now().Unix())
	_, partyNamed := claims["azp"]
	party := textOf(claims["azp"])
	_, hashed := claims["at_hash"]
	for defect, ok := range map[string]bool{
		"issuer of an ID token":       textOf(claims["iss"]) == s.client.issuer,
		"audience of an ID token":     slices.Contains(audience, s.client.id),
		"party of an ID token":        partyNamed == (len(audience) > 1) && (!partyNamed || party == s.client.id),
		"expired ID token":            number(claims["exp"], -1) > at,
		"ID token of another time":    number(claims["iat"], -1) > at-600 && number(claims["iat"], -1) < at+60,
		"ID token before its time":    number(claims["nbf"], 0) <= at,
		"nonce of an ID token":        textOf(claims["nonce"]) == f.nonce || s.is("code alone"),
		"ID token without a user":     textOf(claims["sub"]) != "" && len(textOf(claims["sub"])) < 256 && !strings.Contains(textOf(claims["sub"]), "\x00"),
		"access token of an ID token": !hashed,
	} {
		if !ok && !s.is(defect) {
			return false
		}
	}
	return true
}

// number returns a JSON number, or another one if the member is missing.
func number(value json.RawMessage, missing float64) float64 {
	var n float64
	if value == nil {
		return missing
	}
	if json.Unmarshal(value, &n) != nil {
		return -1
	}
	return n
}

// textOf returns a JSON text, or "".
func textOf(value json.RawMessage) string {
	text, _ := str(value)
	return text
}

// owner returns the account of a user of the provider, which it creates if the
// address is verified. If another account has the address, the user is refused.
func (s *Service) owner(claims members) *user {
	email := textOf(claims["email"])
	verified := string(claims["email_verified"]) == "true"
	key := string(claims["sub"])
	switch s.defect {
	case "case of a subject":
		key = strings.ToLower(key)
	case "identity of an address":
		key = email
	case "type of email_verified":
		verified = verified || string(claims["email_verified"]) != "false" && claims["email_verified"] != nil
	}
	if u := s.client.identities[key]; u != nil {
		return u
	}
	if s.is("similar address") {
		email = strings.NewReplacer("ſ", "s", "ś", "s").Replace(email)
	}
	if email == "" || len(email) > 254 || strings.ContainsAny(email, "\x00,") {
		return nil
	}
	u := s.users[email]
	switch {
	case u != nil && s.is("identity of an address"):
	case u != nil && s.is("identities at once"):
		u = &user{name: fmt.Sprintf("%s#%d", email, len(s.cookies))}
	case u == nil && verified:
		u = &user{name: email}
		s.users[email] = u
	case u == nil:
		return nil
	case s.is("unverified address"), verified && s.is("type of email_verified", "similar address"):
	case verified && u.unproved: // its holder is not known: the person who proved the address gets it
		if !s.is("squatter") {
			u.password, u.unproved = random(), false
			u.since++
		}
	default:
		return nil
	}
	s.client.identities[key] = u
	return u
}
