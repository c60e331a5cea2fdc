package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

// contractService returns the address of a service to attack. With a defect, it
// serves the page for users to everyone.
func contractService(t *testing.T, open bool) string {
	t.Helper()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Logger:    slog.New(slog.DiscardHandler),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
	})
	require.NoError(t, err)
	_, err = kit.CreateUser(authkit.WithSystem(t.Context(), "test"), authkit.User{Email: "ann@example.com", FullName: "Ann"}, password)
	require.NoError(t, err)
	policy := authkit.Authenticated()
	if open {
		policy = authkit.Public()
	}
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	mux.HandleFunc("GET /me", policy, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	server := httptest.NewUnstartedServer(mux)
	server.Config.MaxHeaderBytes = 32 << 10
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

func TestContractCommand(t *testing.T) {
	tl := newTool(t, "")
	tl.env["USER_PASSWORD"] = password
	attack := func(url string, args ...string) result {
		return tl.run("", append([]string{"contract", "-base", url, "-user", "ann@example.com", "-route", "GET /me user", "-interval", "0", "-severity", "high"}, args...)...)
	}
	r := attack(contractService(t, false))
	require.Equal(t, 0, r.code, r.stdout+r.stderr)
	require.Contains(t, r.stdout, " 1 succeeded", "response.no-sniff is below the severity")
	require.Contains(t, r.stderr, "token.none", "the progress")

	open := contractService(t, true)
	r = attack(open)
	require.Equal(t, exitFailed, r.code, r.stderr)
	require.Contains(t, r.stdout, "header.none")
	r = attack(open, "-json")
	require.Equal(t, exitFailed, r.code)
	var report struct {
		Results []struct{ ID, Outcome string }
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &report))
	require.Greater(t, len(report.Results), 150)
	r = attack(open, "-html")
	require.Equal(t, exitFailed, r.code)
	require.True(t, strings.HasPrefix(r.stdout, "<!doctype html>"))
}

func TestContractCommandLine(t *testing.T) {
	tl := newTool(t, "")
	for text, args := range map[string][]string{
		"no account":               {"-route", "GET /me user"},
		"no route":                 {"-user", "ann@example.com"},
		"like 'GET /users/me user": {"-user", "ann@example.com", "-route", "GET /me"},
		"another machine":          {"-user", "ann@example.com", "-route", "GET /me user", "-base", "https://example.com"},
		"is no URL":                {"-user", "ann@example.com", "-route", "GET /me user", "-base", "example.com"},
		"-severity":                {"-user", "ann@example.com", "-route", "GET /me user", "-severity", "x"},
		"ADMIN_PASSWORD":           {"-user", "ann@example.com", "-route", "GET /me user", "-admin", "root@example.com"},
	} {
		tl.env["USER_PASSWORD"] = password
		r := tl.run("", append([]string{"contract"}, args...)...)
		require.Equal(t, exitUsage, r.code, text)
		require.Contains(t, r.stderr, text)
	}
	r := tl.run("", "contract", "-base", "http://127.0.0.1:1", "-user", "ann@example.com", "-route", "GET /me user")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stderr, "cannot log in")
}
