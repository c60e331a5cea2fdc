package oidclogin_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	clientID     = "client-of-the-test"
	clientSecret = "secret of the client, long enough for HS256"
)

var providerKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// A hostile provider is right in everything, except for what a test changes.
type hostile struct {
	*httptest.Server
	t testing.TB

	mu    sync.Mutex
	codes map[string]url.Values // the requests, by the code
	user  map[string]any        // the claims of the user who logs in

	metadata func(m map[string]any)        // changes the metadata
	answer   func(query url.Values)        // changes the query of the callback
	claims   func(c jwt.MapClaims)         // changes the ID token
	sign     func(c jwt.MapClaims) string  // instead of RS256
	token    func(response map[string]any) // changes the token response
	handle   map[string]http.HandlerFunc   // instead of a route
	userInfo bool                          // the user's claims are not in the ID token
	info     func(m map[string]any)        // changes the user info
	tokens   int                           // requests for tokens
}

// newHostile starts a provider.
func newHostile(t testing.TB) *hostile {
	h := &hostile{t: t, codes: map[string]url.Values{}, handle: map[string]http.HandlerFunc{}}
	h.as("ann", "ann@example.com", true)
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.Close)
	return h
}

// as makes a user log in. Verified is the claim email_verified, or nil for none.
func (h *hostile) as(subject string, email, verified any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.user = map[string]any{"sub": subject, "name": "Name of " + subject}
	if email != nil {
		h.user["email"] = email
	}
	if verified != nil {
		h.user["email_verified"] = verified
	}
}

func (h *hostile) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.handle[r.URL.Path]; f != nil {
		h.mu.Unlock()
		f(w, r)
		h.mu.Lock()
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		m := map[string]any{
			"issuer": h.URL, "authorization_endpoint": h.URL + "/authorize", "token_endpoint": h.URL + "/token", "jwks_uri": h.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}, "authorization_response_iss_parameter_supported": true,
		}
		if h.userInfo {
			m["userinfo_endpoint"] = h.URL + "/userinfo"
		}
		if h.metadata != nil {
			h.metadata(m)
		}
		h.json(w, m)
	case "/keys":
		key := providerKey().PublicKey
		h.json(w, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	case "/userinfo":
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer access-") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		about := maps.Clone(h.user)
		if h.info != nil {
			h.info(about)
		}
		h.json(w, about)
	case "/authorize":
		h.authorize(w, r)
	case "/token":
		h.exchange(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (h *hostile) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		h.t.Error(err)
	}
}

// authorize answers with a code at once: the user has consented.
func (h *hostile) authorize(w http.ResponseWriter, r *http.Request) {
	code := rand.Text()
	request := r.URL.Query()
	h.codes[code] = request
	query := url.Values{"code": {code}, "state": {request.Get("state")}, "iss": {h.URL}}
	if h.answer != nil {
		h.answer(query)
	}
	http.Redirect(w, r, request.Get("redirect_uri")+"?"+query.Encode(), http.StatusFound)
}

func (h *hostile) exchange(w http.ResponseWriter, r *http.Request) {
	h.tokens++
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	request, ok := h.codes[r.PostFormValue("code")]
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || id != clientID || secret != clientSecret || r.PostFormValue("redirect_uri") != request.Get("redirect_uri") ||
		request.Get("code_challenge_method") != "S256" || request.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(challenge[:]) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	delete(h.codes, r.PostFormValue("code"))
	at := time.Now()
	c := jwt.MapClaims{"iss": h.URL, "aud": clientID, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix(), "nonce": request.Get("nonce")}
	maps.Copy(c, h.user)
	if h.userInfo {
		maps.DeleteFunc(c, func(name string, _ any) bool { return name == "email" || name == "email_verified" || name == "name" })
	}
	if request.Has("max_age") {
		c["auth_time"] = at.Unix()
	}
	if h.claims != nil {
		h.claims(c)
	}
	sign := h.sign
	if sign == nil {
		sign = rs256
	}
	response := map[string]any{"access_token": "access-" + rand.Text(), "refresh_token": "refresh-" + rand.Text(), "token_type": "Bearer", "expires_in": 3600, "id_token": sign(c)}
	if h.token != nil {
		h.token(response)
	}
	h.json(w, response)
}

func rs256(c jwt.MapClaims) string { return signed(jwt.SigningMethodRS256, c, providerKey()) }

func signed(method jwt.SigningMethod, c jwt.MapClaims, key any) string {
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = "k"
	text, err := token.SignedString(key)
	if err != nil {
		panic(err)
	}
	return text
}
