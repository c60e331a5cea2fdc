package main

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/oidclogin"
)

// A client is a browser at the site and at the provider.
type client struct {
	t    *testing.T
	base string
	http *http.Client
}

// secureJar sends Secure cookies to loopback addresses without TLS, as browsers
// do.
type secureJar struct{ *cookiejar.Jar }

func (j secureJar) Cookies(u *url.URL) []*http.Cookie {
	secure := *u
	secure.Scheme = "https"
	return j.Jar.Cookies(&secure)
}

func (j secureJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	secure := *u
	secure.Scheme = "https"
	j.Jar.SetCookies(&secure, cookies)
}

func (c *client) do(method, target string, fields ...string) string {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, target, strings.NewReader(form.Encode()))
	require.NoError(c.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	response, err := c.http.Do(r)
	require.NoError(c.t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	require.NoError(c.t, response.Body.Close())
	return response.Request.URL.String() + "\n" + string(body)
}

// atProvider fills in the login form of the provider.
func (c *client) atProvider(user, page string) string {
	c.t.Helper()
	target, _, _ := strings.Cut(page, "\n")
	id := regexp.MustCompile(`authRequestID=([^&\s]+)`).FindStringSubmatch(target)
	require.NotNil(c.t, id, page)
	u, err := url.Parse(target)
	require.NoError(c.t, err)
	u.RawQuery = ""
	return c.do(http.MethodPost, u.String(), "username", user, "password", providerPassword, "id", id[1])
}

// The example works against the provider that it starts: a login, a second one,
// a link, and the removal of the link (OA-09).
func TestSocial(t *testing.T) {
	var h http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	issuer, err := startProvider("web", "secret", server.URL+"/oidc/idp/callback")
	require.NoError(t, err)
	p := oidclogin.Provider{Name: "idp", Label: "the provider", Issuer: issuer, ClientID: "web", ClientSecret: "secret", Email: oidclogin.EmailVerified}
	h, err = newHandler(t.Context(), authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, server.URL, p)
	require.NoError(t, err)
	browser := func() *client {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		return &client{t, server.URL, &http.Client{Jar: secureJar{jar}}}
	}
	login := func(c *client) string { return c.atProvider(providerUser, c.do(http.MethodGet, c.base+"/oidc/idp")) }

	c := browser()
	require.Contains(t, login(c), "Hello, test-user@zitadel.ch")
	second := browser()
	require.Contains(t, login(second), "Hello, test-user@zitadel.ch")
	page := c.do(http.MethodGet, c.base+"/")
	unlink := regexp.MustCompile(`/oidc/identities/[^"]+/unlink`).FindString(page)
	require.Contains(t, c.do(http.MethodPost, c.base+unlink), "The last way to log in stays")

	// The step-up: the provider reports the time of the login.
	require.Contains(t, c.atProvider(providerUser, c.do(http.MethodGet, c.base+"/oidc/idp?max_age=1")), "Hello, test-user@zitadel.ch")

	ann := browser()
	ann.do(http.MethodPost, ann.base+"/login", "username", email, "password", password)
	link := func(user string) string {
		page := ann.do(http.MethodPost, ann.base+"/oidc/idp/link")
		location := regexp.MustCompile(`<a href="([^"]+)">Continue`).FindStringSubmatch(page)
		require.NotNil(t, location, page)
		return ann.atProvider(user, ann.do(http.MethodGet, html.UnescapeString(location[1])))
	}
	require.Contains(t, link(providerUser), "belongs to another account")
	page = link("test-user2")
	require.Contains(t, page, "Hello, "+email)
	require.Contains(t, page, "test-user2@zitadel.ch")
	page = ann.do(http.MethodPost, ann.base+regexp.MustCompile(`/oidc/identities/[^"]+/unlink`).FindString(page))
	require.Contains(t, page, "No provider is linked.")
}
