package smtpmail_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/smtpmail"
)

// Each problem of a configuration has the name of its field, and all are reported at once.
func TestConfig(t *testing.T) {
	t.Parallel()
	good := smtpmail.Config{Host: "smtp.example.com", From: "no-reply@example.com"}
	newMailer(t, good)
	for name, tc := range map[string]struct {
		change func(*smtpmail.Config)
		want   string
	}{
		"no host":                       {func(c *smtpmail.Config) { c.Host = "" }, "Config.Host"},
		"a host with a port":            {func(c *smtpmail.Config) { c.Host = "smtp.example.com/x" }, "Config.Host"},
		"a socket":                      {func(c *smtpmail.Config) { c.Host = "unix:///run/smtp" }, "Config.Host"},
		"a host of two lines":           {func(c *smtpmail.Config) { c.Host = "a\r\nb" }, "Config.Host"},
		"a negative port":               {func(c *smtpmail.Config) { c.Port = -1 }, "Config.Port: -1"},
		"a large port":                  {func(c *smtpmail.Config) { c.Port = 65536 }, "Config.Port: 65536"},
		"a negative timeout":            {func(c *smtpmail.Config) { c.Timeout = -time.Second }, "Config.Timeout"},
		"no sender":                     {func(c *smtpmail.Config) { c.From = "" }, "Config.From"},
		"a sender without a domain":     {func(c *smtpmail.Config) { c.From = "no-reply" }, "Config.From"},
		"two senders":                   {func(c *smtpmail.Config) { c.From = "a@example.com, b@example.com" }, "Config.From"},
		"a sender of two lines":         {func(c *smtpmail.Config) { c.From = "A\r\n B <a@example.com>" }, "Config.From"},
		"an encoded line in the sender": {func(c *smtpmail.Config) { c.From = "=?utf-8?q?a=0D=0ABcc:_b?= <a@example.com>" }, "Config.From"},
		"a quoted sender":               {func(c *smtpmail.Config) { c.From = `"a b"@example.com` }, "Config.From"},
		"a password without a name":     {func(c *smtpmail.Config) { c.Password = "x" }, "Config.Password"},
		"a NUL in the password":         {func(c *smtpmail.Config) { c.Username, c.Password = "a", "b\x00c" }, "Config.Username or Password"},
		"no TLS to another machine":     {func(c *smtpmail.Config) { c.InsecureNoTLS = true }, "Config.InsecureNoTLS"},
		"no TLS to a name of loopback":  {func(c *smtpmail.Config) { c.Host, c.InsecureNoTLS = "localhost.example.com", true }, "Config.InsecureNoTLS"},
		"no TLS and implicit TLS":       {func(c *smtpmail.Config) { c.Host, c.InsecureNoTLS, c.ImplicitTLS = "::1", true, true }, "Config.InsecureNoTLS"},
		"no TLS at port 465":            {func(c *smtpmail.Config) { c.Host, c.InsecureNoTLS, c.Port = "127.0.0.1", true, 465 }, "Config.InsecureNoTLS"},
		"no TLS and a configuration":    {func(c *smtpmail.Config) { c.Host, c.InsecureNoTLS, c.TLSConfig = "localhost", true, &tls.Config{} }, "Config.InsecureNoTLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			tc.change(&cfg)
			mailer, err := smtpmail.New(cfg)
			require.ErrorContains(t, err, "smtpmail: "+tc.want)
			require.Nil(t, mailer)
		})
	}
	_, err := smtpmail.New(smtpmail.Config{Port: -1, Timeout: -1})
	for _, field := range []string{"Host", "Port", "Timeout", "From"} {
		require.ErrorContains(t, err, "Config."+field)
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]smtpmail.Config{
		"smtp://smtp.example.com?from=a@example.com": {Host: "smtp.example.com", From: "a@example.com"},
		"smtps://user%40example.com:p%2Fw%3F%26@smtp.example.com:4650/?from=A+%3Ca@example.com%3E": {
			Host: "smtp.example.com", Port: 4650, Username: "user@example.com", Password: "p/w?&", From: "A <a@example.com>", ImplicitTLS: true},
		"smtp://[::1]:1025?insecure_no_tls=true&from=a@example.com": {Host: "::1", Port: 1025, From: "a@example.com", InsecureNoTLS: true},
	} {
		cfg, err := smtpmail.ParseURL(text)
		require.NoError(t, err, text)
		require.True(t, want == cfg, "%s: %#v", text, cfg.From) // a Config prints nothing
		newMailer(t, cfg)
	}
	for _, text := range []string{
		"", "smtp.example.com", "https://u:s3cret@h?from=a@example.com", "smtp:s3cret", "smtp://u:s3cret@h/x", "smtp://u:s3cret/x@h:1",
		"smtp://u:s3cret%zz@h", "smtp://u:s3cret@h?fro=a@example.com", "smtp://u:s3cret@h?from=a&from=b", "smtp://u:s3cret@h?insecure_no_tls=s3cret",
		"smtp://u:s3cret@h?from=%zzs3cret", "smtp://u:s3cret#x@h", "smtp://u:s3cret@h:0", "smtp://u:s3cret@h?s3cret=1", "smtp://u:p?s3cret@h", "smtp://h:99999999999999999999",
	} {
		cfg, err := smtpmail.ParseURL(text)
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), "s3cret", text)
		require.True(t, cfg == smtpmail.Config{}, text)
	}
}
