package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/harden"
)

// A client is a browser at the site.
type client struct {
	t    *testing.T
	url  string
	http *http.Client
}

// serve starts the site, and returns a function that opens another browser.
func serve(t *testing.T) func() *client {
	h, err := newHandler(t.Context(), authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, 10*time.Millisecond)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(h)
	server.Config = harden.Server("", h)
	server.StartTLS()
	t.Cleanup(server.Close)
	return func() *client {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		return &client{t, server.URL, &http.Client{Transport: server.Client().Transport, Jar: jar}}
	}
}

// do sends a request of a page, which is one of the site without another origin, and returns
// the response to the last redirect.
func (c *client) do(method, path, origin string, fields ...string) (*http.Response, string) {
	form := make(url.Values)
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(form.Encode()))
	require.NoError(c.t, err)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", origin)
	if origin == "" {
		r.Header.Set("Origin", c.url)
	}
	response, err := c.http.Do(r)
	require.NoError(c.t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(c.t, errors.Join(err, response.Body.Close()))
	return response, string(body)
}

func (c *client) logIn() *client {
	response, body := c.do("POST", "/login", "", "username", email, "password", password)
	require.Equal(c.t, 200, response.StatusCode, body)
	require.Contains(c.t, body, "Hello, Ann")
	return c
}

// stream opens the stream of events, and reads the first.
func (c *client) stream() *bufio.Reader {
	response, err := c.http.Get(c.url + "/events")
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(c.t, "text/event-stream", response.Header.Get("Content-Type"))
	lines := bufio.NewReader(response.Body)
	line, err := lines.ReadString('\n')
	require.NoError(c.t, err)
	require.True(c.t, strings.HasPrefix(line, "data: event 1 at "), line)
	return lines
}

// socket opens the WebSocket as a page of an origin does.
func (c *client) socket(origin string) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(c.t.Context(), c.url+"/echo", &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: http.Header{"Origin": {origin}}})
}

func TestPages(t *testing.T) {
	t.Parallel()
	c := serve(t)()
	for _, path := range []string{"/", "/password"} {
		response, body := c.do("GET", path, "")
		require.Equal(t, "/login", response.Request.URL.Path)
		require.Contains(t, body, `name="return" value="`+path+`"`)
	}
	response, body := c.do("POST", "/login", "", "username", `"><script>`+email, "password", "wrong", "remember", "on", "return", "/password")
	require.Equal(t, 401, response.StatusCode)
	require.Contains(t, body, `role="alert">Incorrect username or password.`)
	require.Contains(t, body, `type="checkbox" checked`)
	require.NotContains(t, body, "<script>")

	response, _ = c.do("POST", "/login", "", "username", email, "password", password, "return", "/password")
	require.Equal(t, "/password", response.Request.URL.Path)
	c.logIn()
	response, _ = c.do("POST", "/logout", "", "return", "/login")
	require.Equal(t, "/login", response.Request.URL.Path)
	response, _ = c.do("GET", "/", "")
	require.Equal(t, "/login", response.Request.URL.Path)
}

// Every page allows no inline script, is kept in no cache, and names its fields.
func TestPagesAreStrict(t *testing.T) {
	t.Parallel()
	open := serve(t)
	c := open().logIn()
	inline := regexp.MustCompile(`(?i)<script>|<style|\s(on[a-z]+|style)=|javascript:`)
	field := regexp.MustCompile(`<input id="(\w+)"[^>]*>`)
	for path, c := range map[string]*client{"/login": open(), "/": c, "/password": c} {
		response, body := c.do("GET", path, "")
		require.Equal(t, path, response.Request.URL.Path)
		policy := response.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'; script-src 'self';")
		require.NotContains(t, policy, "unsafe")
		require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
		require.NotRegexp(t, inline, body)
		require.Contains(t, body, `<html lang="en">`)
		for _, m := range field.FindAllStringSubmatch(body, -1) {
			require.Contains(t, body, `<label for="`+m[1]+`">`)
			require.Contains(t, m[0], "autocomplete=")
		}
	}
	for path, contentType := range map[string]string{"/app.js": "text/javascript; charset=utf-8", "/style.css": "text/css; charset=utf-8"} {
		response, body := open().do("GET", path, "")
		require.Equal(t, contentType, response.Header.Get("Content-Type"))
		require.NotEmpty(t, body)
	}
}

// A stream and a WebSocket end with their session, in whatever way that ended.
func TestStreamsEndWithTheSession(t *testing.T) {
	t.Parallel()
	open := serve(t)
	for name, end := range map[string]func(*client){
		"a logout": func(c *client) { c.do("POST", "/logout", "") },
		"a login":  func(c *client) { c.logIn() },
		"another browser's change of the password": func(*client) {
			other := open().logIn()
			response, _ := other.do("POST", "/password", "", "current", password, "new", password+"!")
			require.Equal(t, 200, response.StatusCode)
			response, _ = other.do("POST", "/password", "", "current", password+"!", "new", password)
			require.Equal(t, 200, response.StatusCode)
		},
	} {
		c := open().logIn()
		events := c.stream()
		conn, _, err := c.socket(c.url)
		require.NoError(t, err, name)
		for _, text := range []string{"hello", "ä"} {
			require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte(text)))
			_, got, err := conn.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, text, string(got))
		}
		end(c)
		rest, err := io.ReadAll(events)
		require.NoError(t, err, name)
		require.True(t, strings.HasSuffix(string(rest), "event: ended\ndata: The session has ended.\n\n"), name)
		_, _, err = conn.Read(t.Context())
		require.Equal(t, websocket.StatusPolicyViolation, websocket.CloseStatus(err), name)
	}
}

// A browser that leaves ends its streams.
func TestStreamsEndWithTheClient(t *testing.T) {
	t.Parallel()
	c := serve(t)().logIn()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", c.url+"/events", nil)
	require.NoError(t, err)
	response, err := c.http.Do(r)
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(response.Body)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, response.Body.Close())
	// The server is closed at the end of the test, and waits for the handler.
}

func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	open := serve(t)
	c := open().logIn()
	for _, origin := range []string{"https://evil.example.net", "https://127.0.0.1:1", "null"} {
		for _, path := range []string{"/login", "/logout", "/password"} {
			response, body := c.do("POST", path, origin, "current", password, "new", "another password", "username", email, "password", password)
			require.Equal(t, 403, response.StatusCode, path)
			require.Contains(t, body, "The request comes from another origin")
			require.Empty(t, response.Cookies())
		}
		_, response, err := c.socket(origin)
		require.Error(t, err)
		require.Equal(t, 403, response.StatusCode)
		require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"), "the guard refuses it, before the handshake")
	}
	_, response, err := open().socket(c.url)
	require.Error(t, err)
	require.Equal(t, 401, response.StatusCode)
	_, body := c.do("GET", "/", "")
	require.Contains(t, body, "Hello, Ann")
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	c := serve(t)().logIn()
	for _, f := range []struct {
		current, next string
		status        int
		text          string
	}{
		{"wrong", "another password", 401, "The current password is not correct."},
		{password, "short", 422, "The new password must have at least 8 characters."},
		{"", "", 401, "The current password is not correct."},
	} {
		response, body := c.do("POST", "/password", "", "current", f.current, "new", f.next)
		require.Equal(t, f.status, response.StatusCode)
		require.Contains(t, body, f.text)
		require.NotContains(t, body, password)
	}
	site, err := url.Parse(c.url)
	require.NoError(t, err)
	before := c.http.Jar.Cookies(site)
	response, body := c.do("POST", "/password", "", "current", password, "new", "another password")
	require.Equal(t, "/password?changed", response.Request.URL.RequestURI())
	require.Contains(t, body, "The password is changed.")
	require.NotEqual(t, before, c.http.Jar.Cookies(site), "another cookie")
	response, _ = c.do("POST", "/login", "", "username", email, "password", password)
	require.Equal(t, 401, response.StatusCode)
}
