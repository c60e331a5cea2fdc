package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThrottling asserts what guessing gets, in each mode, and that the document tells of it.
func TestThrottling(t *testing.T) {
	t.Parallel()
	serve := func(t *testing.T, mode string) func(call) answer {
		cfg := testConfig(t)
		cfg.throttle = mode
		cfg.proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		url := start(t, cfg)
		contract := readContract(t, url)
		return func(c call) answer {
			a, err := send(url, c)
			require.NoError(t, err)
			contract.check(t, a)
			return a
		}
	}
	from := func(address string, c call) call {
		c.header = http.Header{"X-Forwarded-For": {address}}
		return c
	}
	hash := call{method: "POST", path: "/generate-hash/?password=x"}

	t.Run("on", func(t *testing.T) {
		t.Parallel()
		do := serve(t, throttleOn)
		first := do(from("192.0.2.1", loginCall("user@example.com", userPassword)))
		require.Equal(t, http.StatusOK, first.status)
		cookie := first.header.Get("Set-Cookie")
		require.Regexp(t, `^__Host-device=.*; Path=/; Max-Age=7776000; HttpOnly; Secure; SameSite=Strict$`, cookie)
		for i := range 5 {
			require.Equal(t, http.StatusUnauthorized, do(from(fmt.Sprintf("198.51.100.%d", i), loginCall("user@example.com", "guess"))).status)
		}
		a := do(from("198.51.100.9", loginCall("user@example.com", userPassword)))
		a.isProblem(t, http.StatusTooManyRequests, "Too many attempts; try again later")
		require.Equal(t, "temporarily_unavailable", a.object(t)["error"])
		require.Contains(t, []string{"29", "30"}, a.header.Get("Retry-After"))
		require.Equal(t, http.StatusOK, do(from("192.0.2.1", loginCall("user@example.com", userPassword))).status, "from the address of before")
		browser := from("198.51.100.9", loginCall("user@example.com", userPassword))
		browser.header.Set("Cookie", cookie)
		require.Equal(t, http.StatusOK, do(browser).status, "with the browser of before")

		for i := range 20 {
			require.Equal(t, http.StatusUnauthorized, do(from("203.0.113.1", loginCall(fmt.Sprintf("user%d@example.com", i), "guess"))).status)
		}
		require.Equal(t, http.StatusTooManyRequests, do(from("203.0.113.1", loginCall("admin@example.com", adminPassword))).status)
		require.Equal(t, http.StatusOK, do(from("203.0.113.2", loginCall("admin@example.com", adminPassword))).status)

		status := http.StatusOK
		for range 100 {
			a := do(from("203.0.113.3", hash))
			if status = a.status; status != http.StatusOK {
				a.isProblem(t, http.StatusTooManyRequests, "")
				require.NotEmpty(t, a.header.Get("RateLimit"))
				break
			}
		}
		require.Equal(t, http.StatusTooManyRequests, status)
	})
	t.Run("accounts", func(t *testing.T) {
		t.Parallel()
		do := serve(t, throttleAccounts)
		for i := range 50 {
			require.Equal(t, http.StatusUnauthorized, do(loginCall(fmt.Sprintf("user%d@example.com", i), "guess")).status)
		}
		for range 100 {
			require.Equal(t, http.StatusOK, do(hash).status)
		}
		for range 5 {
			require.Equal(t, http.StatusUnauthorized, do(loginCall("user@example.com", "guess")).status)
		}
		require.Equal(t, http.StatusTooManyRequests, do(loginCall("user@example.com", userPassword)).status)
	})
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		do := serve(t, throttleOff)
		for range 30 {
			require.Equal(t, http.StatusUnauthorized, do(loginCall("user@example.com", "guess")).status)
		}
		a := do(loginCall("user@example.com", userPassword))
		require.Equal(t, http.StatusOK, a.status)
		require.Empty(t, a.header.Get("Set-Cookie"))
	})
}

// TestThrottlingIsShared asserts that instances on one Redis count together.
func TestThrottlingIsShared(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.secret, cfg.redis, cfg.throttle = []byte(rand.Text()+rand.Text()), redisURL(t), throttleOn // keys of its own
	cfg.db = "sqlite:" + filepath.Join(t.TempDir(), "auth.db")
	instances := []string{start(t, cfg), start(t, cfg)}
	login := func(i int, password string) answer {
		a, err := send(instances[i%2], loginCall("user@example.com", password))
		require.NoError(t, err)
		return a
	}
	for i := range 5 {
		require.Equal(t, http.StatusUnauthorized, login(i, "guess").status)
	}
	for i := range instances {
		a := login(i, userPassword)
		a.isProblem(t, http.StatusTooManyRequests, "Too many attempts; try again later")
		require.NotEmpty(t, a.header.Get("Retry-After"))
	}
}

// TestUnsafeProxies asserts that the program does not start with proxies that are everybody.
func TestUnsafeProxies(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.proxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	_, err := newServer(t.Context(), cfg)
	require.ErrorContains(t, err, "so wide")
}
