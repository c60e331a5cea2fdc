package oidclogin_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
)

const linkFresh = 5 * time.Minute

// attacks are the ways in which a provider, or someone between, can be wrong.
var attacks = map[string]func(h *hostile, a *app){
	"another issuer":           claim("iss", "https://evil.example.com"),
	"an issuer and a /":        func(h *hostile, _ *app) { h.claims = func(c jwt.MapClaims) { c["iss"] = h.URL + "/" } },
	"another audience":         claim("aud", "another client"),
	"no audience":              claim("aud", nil),
	"two audiences":            claim("aud", []string{clientID, "another client"}),
	"another azp":              claim("azp", "another client"),
	"another azp of two":       claims("aud", []string{clientID, "another client"}, "azp", "another client"),
	"an empty azp":             claim("azp", ""),
	"a number as azp":          claim("azp", 5),
	"a text as email_verified": claim("email_verified", "true"), // OA-03a
	"expired": func(h *hostile, _ *app) {
		h.claims = func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Hour).Unix() }
	},
	"no expiry": claim("exp", nil),
	"issued long ago": func(h *hostile, _ *app) {
		h.claims = func(c jwt.MapClaims) { c["iat"] = time.Now().Add(-time.Hour).Unix() }
	},
	"issued in the future": func(h *hostile, _ *app) {
		h.claims = func(c jwt.MapClaims) { c["iat"] = time.Now().Add(time.Hour).Unix() }
	},
	"no time of issue":    claim("iat", nil),
	"another nonce":       claim("nonce", "a nonce of another login"),
	"no nonce":            claim("nonce", nil),
	"another at_hash":     claim("at_hash", base64.RawURLEncoding.EncodeToString(make([]byte, 16))),
	"no subject":          claim("sub", nil),
	"a number as subject": claim("sub", 12),
	"a long subject":      claim("sub", strings.Repeat("s", 256)),
	"a subject with NUL":  claim("sub", "ann\x00"),
	"address as array":    claim("email", []string{"ann@example.com", "root@example.com"}),
	"address as object":   claim("email", map[string]string{"value": "ann@example.com"}),
	"alg none": func(h *hostile, _ *app) {
		h.sign = func(c jwt.MapClaims) string {
			return signed(jwt.SigningMethodNone, c, jwt.UnsafeAllowNoneSignatureType)
		}
	},
	"HS256 with the client secret": func(h *hostile, _ *app) {
		h.sign = func(c jwt.MapClaims) string { return signed(jwt.SigningMethodHS256, c, []byte(clientSecret)) }
	},
	"HS256 with the public key": func(h *hostile, _ *app) {
		h.sign = func(c jwt.MapClaims) string {
			return signed(jwt.SigningMethodHS256, c, providerKey().PublicKey.N.Bytes())
		}
	},
	"a broken signature": func(h *hostile, _ *app) {
		h.sign = func(c jwt.MapClaims) string { text := rs256(c); return text[:len(text)-8] + "AAAAAAAA" }
	},
	"no ID token":       func(h *hostile, _ *app) { h.token = func(r map[string]any) { delete(r, "id_token") } },
	"no access token":   func(h *hostile, _ *app) { h.token = func(r map[string]any) { delete(r, "access_token") } },
	"an answer of 2 MB": func(h *hostile, _ *app) { h.token = func(r map[string]any) { r["more"] = strings.Repeat("x", 2<<20) } },
	"metadata of 2 MB": func(h *hostile, _ *app) {
		h.metadata = func(m map[string]any) { m["more"] = strings.Repeat("x", 2<<20) }
	},
	"another issuer in the metadata": func(h *hostile, _ *app) { h.metadata = func(m map[string]any) { m["issuer"] = h.URL + "/" } },
	"plain http in the metadata": func(h *hostile, _ *app) {
		h.metadata = func(m map[string]any) { m["token_endpoint"] = "http://example.com/token" }
	},
	"no keys in the metadata": func(h *hostile, _ *app) { h.metadata = func(m map[string]any) { delete(m, "jwks_uri") } },
	"link-local address in the metadata": func(h *hostile, _ *app) {
		h.metadata = func(m map[string]any) { m["token_endpoint"] = "https://169.254.169.254/token" }
	},
	"redirect to a link-local address": redirect("http://169.254.169.254/latest/meta-data"),
	"redirect to another host":         redirect("http://localhost:1/token"),
	"redirect to a file":               redirect("file:///etc/passwd"),
	"keys of 2 MB": func(h *hostile, _ *app) {
		h.handle["/keys"] = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) }
	},
	"a slow body": func(h *hostile, a *app) {
		oidclogin.SetTimeout(a.Logins, "idp", 50*time.Millisecond)
		h.handle["/token"] = func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"access_token":`))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	},
	"an error": func(h *hostile, _ *app) {
		h.handle["/token"] = func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<script>", http.StatusInternalServerError)
		}
	},
	"user info of another subject": userInfo("sub", "bob"),
	"user info without a subject":  userInfo("sub", nil),
	"array in the user info":       userInfo("email", []string{"ann@example.com"}),
	"2 MB of user info":            userInfo("more", strings.Repeat("x", 2<<20)),
	"user info of an error": func(h *hostile, _ *app) {
		h.userInfo = true
		h.handle["/userinfo"] = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"sub":"ann","email":"ann@example.com","email_verified":true}`))
		}
	},
	"no user info": func(h *hostile, _ *app) {
		h.userInfo = true
		h.handle["/userinfo"] = http.NotFound
	},
	"mixed-up issuer":              func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Set("iss", "https://other.example.com") } },
	"issuer and a / in the answer": func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Set("iss", q.Get("iss")+"/") } },
	"no issuer in the answer":      func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Del("iss") } },
	"two issuers in the answer":    func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Add("iss", q.Get("iss")) } },
	"a code that was never issued": func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Set("code", "made up") } },
	"two codes":                    func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Add("code", "another") } },
	"a code and an error":          func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Set("error", "server_error") } },
	"an error with a script": func(h *hostile, _ *app) {
		h.answer = func(q url.Values) {
			q.Del("code")
			q.Set("error", "<script>alert(1)</script>")
			q.Set("error_description", "<script>alert(2)</script>")
		}
	},
	"another state":   func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Set("state", "aaaa.bbbb") } },
	"a state cut off": func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Set("state", q.Get("state")[:40]) } },
	"no state":        func(h *hostile, _ *app) { h.answer = func(q url.Values) { q.Del("state") } },
}

func claim(name string, value any) func(*hostile, *app) { return claims(name, value) }

// claims changes claims of the ID token. Nil removes one.
func claims(pairs ...any) func(*hostile, *app) {
	return func(h *hostile, _ *app) {
		h.claims = func(c jwt.MapClaims) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i+1] == nil {
					delete(c, pairs[i].(string))
				} else {
					c[pairs[i].(string)] = pairs[i+1]
				}
			}
		}
	}
}

// userInfo changes a claim of the user info. Nil removes it.
func userInfo(name string, value any) func(*hostile, *app) {
	return func(h *hostile, _ *app) {
		h.userInfo = true
		h.info = func(m map[string]any) {
			if m[name] = value; value == nil {
				delete(m, name)
			}
		}
	}
}

func redirect(location string) func(*hostile, *app) {
	return func(h *hostile, _ *app) {
		h.handle["/token"] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}
}

// tryLogin goes as far as a login gets.
func (c *client) tryLogin() page {
	c.t.Helper()
	p := c.do("GET", "/oidc/idp", nil)
	if p.StatusCode != http.StatusSeeOther {
		return p
	}
	return c.do("GET", c.atProvider(p.Header.Get("Location")), nil)
}

// OA-01, OA-02, OA-06, OA-08, OA-12: every answer that is wrong is refused. The
// response is the same whether or not the address has an account, no session
// begins, nothing is stored, and no text of the provider is shown.
func TestHostileProvider(t *testing.T) {
	t.Parallel()
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen []string
			for _, exists := range []bool{false, true} {
				h := newHostile(t)
				p := generic(h)
				p.Email = oidclogin.EmailLinks // the most that can be lost
				a := newApp(t, []oidclogin.Provider{p})
				if exists {
					a.add("ann@example.com", true)
				}
				before := a.accounts()
				attack(h, a)
				c := a.browser()
				response := c.tryLogin()
				require.GreaterOrEqual(t, response.StatusCode, 400, response.body)
				require.Empty(t, c.user())
				require.Empty(t, c.cookies["__Host-session"])
				require.Equal(t, before, a.accounts())
				require.NotContains(t, response.body, "script")
				require.NotContains(t, response.body, "@")
				_, err := a.store.IdentityBySubject(t.Context(), h.URL, "ann")
				require.ErrorIs(t, err, oidclogin.ErrNoIdentity)
				seen = append(seen, response.Status+response.body)
			}
			require.Equal(t, seen[0], seen[1], "the response reveals who has an account")
		})
	}
}

// Without the attack, the same login succeeds.
func TestHostileProviderCanBeRight(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.claims = func(c jwt.MapClaims) {
		c["aud"], c["azp"], c["sub"] = []string{clientID, "another client"}, clientID, strings.Repeat("s", 255)
		sum := sha256.Sum256([]byte("access-1"))
		c["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	h.token = func(r map[string]any) { r["access_token"] = "access-1" }
	h.metadata = func(m map[string]any) { m["userinfo_endpoint"] = h.URL + "/userinfo" }
	h.handle["/userinfo"] = func(http.ResponseWriter, *http.Request) { t.Error("the ID token has the address") }
	a := newApp(t, []oidclogin.Provider{generic(h)})
	c := a.browser()
	require.Equal(t, "ann@example.com", c.requireUser(c.login()).Email)
	require.Contains(t, a.kinds(), authkit.EventLoginSuccess)
}

// OA-12: if the metadata does not mention iss, a callback without it is accepted.
func TestIssuerParameterIsOptional(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.metadata = func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }
	a := newApp(t, []oidclogin.Provider{generic(h)})
	h.answer = func(q url.Values) { q.Del("iss") }
	c := a.browser()
	c.requireUser(c.login())
	h.answer = func(q url.Values) { q.Set("iss", "https://other.example.com") }
	require.Equal(t, http.StatusUnauthorized, a.browser().login().StatusCode)
}

// OA-12: after a wrong issuer, the code is not sent anywhere.
func TestMixedUpIssuerKeepsTheCode(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	h.answer = func(q url.Values) { q.Set("iss", "https://other.example.com") }
	require.Equal(t, http.StatusUnauthorized, a.browser().login().StatusCode)
	require.Zero(t, h.tokens)
}

// OA-01, OA-13: an answer of one provider is no answer of another one, and a
// code is redeemed by the browser that asked for it.
func TestAnswersBelongToOneFlow(t *testing.T) {
	t.Parallel()
	h, other := newHostile(t), newHostile(t)
	second := generic(other)
	second.Name = "other"
	a := newApp(t, []oidclogin.Provider{generic(h), second})

	// The callback of one provider at the path of the other.
	c := a.browser()
	callback := c.begin("")
	require.Equal(t, http.StatusBadRequest, c.do("GET", strings.Replace(callback, "/idp/", "/other/", 1), nil).StatusCode)
	require.Equal(t, http.StatusBadRequest, c.do("GET", callback, nil).StatusCode, "the flow is used up")

	// The code of one flow with the state of another one.
	victim, attacker := a.browser(), a.browser()
	stolen, err := url.Parse(victim.begin(""))
	require.NoError(t, err)
	own, err := url.Parse(attacker.begin(""))
	require.NoError(t, err)
	query := own.Query()
	query.Set("code", stolen.Query().Get("code"))
	own.RawQuery = query.Encode()
	require.Equal(t, http.StatusUnauthorized, attacker.do("GET", own.String(), nil).StatusCode)
	require.Empty(t, attacker.user())

	// The whole answer in another browser, with that browser's cookie or without one.
	for _, thief := range []*client{a.browser(), attacker} {
		victim := a.browser()
		callback := victim.begin("")
		require.Equal(t, http.StatusBadRequest, thief.do("GET", callback, nil).StatusCode)
		require.Empty(t, thief.user())
	}

	// The same answer twice.
	c = a.browser()
	callback = c.begin("")
	c.requireUser(c.do("GET", callback, nil))
	require.Equal(t, http.StatusBadRequest, c.do("GET", callback, nil).StatusCode)

	// Two tabs of a browser do not disturb each other.
	c = a.browser()
	first, last := c.begin(""), c.begin("")
	c.requireUser(c.do("GET", first, nil))
	c.requireUser(c.do("GET", last, nil))
}

// OA-01: the request to the provider has PKCE, a state and a nonce. None of them
// is the secret in the cookie, and the ticket holds none of them.
func TestRequest(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	a := newApp(t, []oidclogin.Provider{generic(h)})
	c := a.browser()
	p := c.do("GET", "/oidc/idp?return=/there", nil)
	u, err := url.Parse(p.Header.Get("Location"))
	require.NoError(t, err)
	query := u.Query()
	require.Equal(t, "S256", query.Get("code_challenge_method"))
	require.Equal(t, "code", query.Get("response_type"))
	require.Equal(t, "openid email profile", query.Get("scope"))
	require.Equal(t, site+"/oidc/idp/callback", query.Get("redirect_uri"))
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		require.GreaterOrEqual(t, len(query.Get(name)), 43, name)
		require.NotContains(t, query.Get(name), c.cookies["__Host-oidclogin"])
	}
	require.Len(t, c.cookies["__Host-oidclogin"], 43)
	next, err := url.Parse(a.browser().do("GET", "/oidc/idp", nil).Header.Get("Location"))
	require.NoError(t, err)
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		require.NotEqual(t, query.Get(name), next.Query().Get(name), name)
	}
	require.Equal(t, "no-store", p.Header.Get("Cache-Control"))
	require.Equal(t, "no-referrer", p.Header.Get("Referrer-Policy"))
	require.Equal(t, "nosniff", p.Header.Get("X-Content-Type-Options")) // TR-02

	// Two flows of one browser, and the two secrets of one flow, differ.
	again, err := url.Parse(c.do("GET", "/oidc/idp", nil).Header.Get("Location"))
	require.NoError(t, err)
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		require.NotEqual(t, query.Get(name), again.Query().Get(name), name)
	}
	sum := sha256.Sum256([]byte(query.Get("nonce")))
	require.NotEqual(t, query.Get("code_challenge"), base64.RawURLEncoding.EncodeToString(sum[:]), "the nonce is not the verifier")

	// Another cookie is replaced.
	for _, other := range []string{"x", base64.RawURLEncoding.EncodeToString(make([]byte, 31)), strings.Repeat("!", 43)} {
		c := a.browser()
		c.cookies["__Host-oidclogin"] = other
		c.do("GET", "/oidc/idp", nil)
		require.Len(t, c.cookies["__Host-oidclogin"], 43)
		require.NotEqual(t, other, c.cookies["__Host-oidclogin"])
	}
}
