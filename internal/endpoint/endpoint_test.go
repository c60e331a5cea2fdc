package endpoint_test

import (
	"testing"

	"github.com/authkit-go/authkit/internal/endpoint"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ // the error with InsecureHTTP; "" for none
		"https://auth.example.com/keys":      "",
		"http://127.0.0.1:8000/keys":         "",
		"http://[::1]/keys":                  "",
		"http://localhost/keys":              "",
		"http://auth.example.com/keys":       "loopback",
		"http://localhost.example.com/keys":  "loopback",
		"http://127.0.0.1.example.com/keys":  "loopback",
		"ftp://127.0.0.1/keys":               "not https",
		"/keys":                              "with a host",
		"https:keys":                         "with a host",
		"https://:443/keys":                  "with a host",
		"https://auth.example.com/\x7f":      "with a host",
		"https://u:secret@auth.example.com/": "a user",
		"https://auth.example.com/#":         "a fragment",
	} {
		u, err := endpoint.Parse(text, true)
		if want == "" {
			require.NoError(t, err, text)
			require.Equal(t, text, u.String())
			continue
		}
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err := endpoint.Parse("http://127.0.0.1/keys", false)
	require.ErrorContains(t, err, "not https")
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.8.8": true, "::1": true,
		"": false, "example.com": false, "192.0.2.1": false, "0.0.0.0": false, "::": false, "127.1": false,
	} {
		require.Equal(t, want, endpoint.Loopback(host), host)
	}
}
