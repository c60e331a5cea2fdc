package main

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// load reads a configuration from flags and an environment of "NAME=value".
func load(args []string, env ...string) (config, error) {
	return loadConfig(args, func(name string) (string, bool) {
		for _, pair := range env {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}, io.Discard)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	t.Run("defaults", func(t *testing.T) {
		t.Parallel()
		cfg, err := load(nil)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:8000", cfg.addr)
		require.Equal(t, 12, cfg.cost)
		require.True(t, cfg.generateHash)
		require.Equal(t, "on", cfg.throttle)
		require.Empty(t, cfg.proxies)
		require.True(t, cfg.randomSecret)
		require.GreaterOrEqual(t, len(cfg.secret), minSecretBytes)
		other, err := load(nil)
		require.NoError(t, err)
		require.NotEqual(t, cfg.secret, other.secret)
	})
	t.Run("environment", func(t *testing.T) {
		t.Parallel()
		cfg, err := load(nil, "ADDR=[::1]:80", "BCRYPT_COST=10", "USERS_FILE=u.json", "SECRET_KEY="+testSecret,
			"THROTTLE=accounts", "TRUSTED_PROXIES=10.1.0.0/16, ::1")
		require.NoError(t, err)
		require.Equal(t, config{addr: "[::1]:80", cost: 10, usersFile: "u.json", secret: []byte(testSecret), generateHash: true, db: inMemory,
			throttle: "accounts", proxies: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::1/128")}}, cfg)
	})
	t.Run("a proxy on a socket", func(t *testing.T) {
		t.Parallel()
		cfg, err := load([]string{"-addr", "unix:/run/demo.sock", "-trusted-proxies", "10.1.0.0/16,unix"})
		require.NoError(t, err)
		require.True(t, cfg.proxySocket)
		require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, cfg.proxies)
		require.Equal(t, []string{"unix", "10.1.0.0/16"}, proxyNames(cfg.proxies, cfg.proxySocket))
	})
	t.Run("flags win", func(t *testing.T) {
		t.Parallel()
		cfg, err := load([]string{"-addr", "a:1", "-cost=14", "-users", "v.json", "-no-generate-hash", "-redoc-js", "r.js", "-throttle", "off", "-config"},
			"THROTTLE=on", "ADDR=b:2", "BCRYPT_COST=10", "USERS_FILE=u.json", "SECRET_KEY="+testSecret)
		require.NoError(t, err)
		require.Equal(t, config{addr: "a:1", cost: 14, usersFile: "v.json", secret: []byte(testSecret), redocFile: "r.js", throttle: "off", printOnly: true, db: inMemory}, cfg)
	})
	t.Run("empty settings are none", func(t *testing.T) {
		t.Parallel()
		cfg, err := load(nil, "ADDR=", "BCRYPT_COST=", "USERS_FILE=")
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:8000", cfg.addr)
		require.Equal(t, 12, cfg.cost)
	})
	for name, c := range map[string]struct {
		args []string
		env  string
		want string
	}{
		"secret too short":   {nil, "SECRET_KEY=too-short-by-far", "SECRET_KEY has 16 bytes"},
		"secret empty":       {nil, "SECRET_KEY=", "SECRET_KEY has 0 bytes"},
		"cost too low":       {[]string{"-cost", "9"}, "", "10 to 14"},
		"cost too high":      {nil, "BCRYPT_COST=15", "10 to 14"},
		"cost no number":     {nil, "BCRYPT_COST=high", "BCRYPT_COST"},
		"no such database":   {nil, "DATABASE_URL=oracle://x", "use memory:"},
		"half of TLS":        {[]string{"-tls-cert", "c.pem"}, "", "-tls-key"},
		"any origin":         {[]string{"-cors", "*"}, "", "one exact origin"},
		"many origins":       {[]string{"-cors", "https://*.example.com"}, "", "one exact origin"},
		"null origin":        {[]string{"-cors", "null"}, "", "one exact origin"},
		"origin with path":   {nil, "CORS_ORIGINS=https://a.example/", "one exact origin"},
		"origin in clear":    {nil, "CORS_ORIGINS=https://a.example, http://b.example", "not https"},
		"unknown flag":       {[]string{"-nothing", "x"}, "", "nothing"},
		"throttle":           {[]string{"-throttle", "maybe"}, "", "on, accounts or off"},
		"proxies":            {[]string{"-trusted-proxies", "10.0.0.0/8,proxy.example.com"}, "", "proxy.example.com"},
		"proxy on no socket": {[]string{"-trusted-proxies", "unix"}, "", "set -addr to unix:PATH"},
		"socket of no name":  {nil, "ADDR=unix:", "unix:/run/demo.sock"},
		"google alone":       {[]string{"-google", "id"}, "", "ID:SECRET"},
		"github empty":       {nil, "GITHUB_CLIENT=:", "ID:SECRET"},
		"oidc without ID":    {[]string{"-oidc", "https://idp.example.com"}, "", "https://ID:SECRET@"},
		"argument":           {[]string{"serve"}, "", "serve"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(c.args, c.env)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "too-short-by-far")
		})
	}
}

func TestDotenv(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	values, err := readDotenv(path)
	require.NoError(t, err, "no file is no settings")
	require.Empty(t, values)

	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write("# a comment\n\nADDR=a:1\r\nexport SECRET_KEY = \"with # and = in it\"\n  USERS_FILE='u.json'\nEMPTY=\nEQUALS=a=b\nHASH=a # b")
	values, err = readDotenv(path)
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"ADDR": "a:1", "SECRET_KEY": "with # and = in it", "USERS_FILE": "u.json", "EMPTY": "", "EQUALS": "a=b", "HASH": "a # b",
	}, values)

	write("\ufeffADDR=a:1\r\n") // as some editors write it
	values, err = readDotenv(path)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"ADDR": "a:1"}, values)

	for _, line := range []string{"a secret alone", "=secret", "A B=secret", `A="secret`, `A='`} {
		write("A=b\n" + line)
		_, err = readDotenv(path)
		require.ErrorContains(t, err, "line 2", line)
		require.NotContains(t, err.Error(), "secret")
	}
}
