package jwks_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/jwks"
)

// FR-18: RFC 9864 names the algorithm Ed25519, and crypto.subtle.exportKey of Node
// writes that into the key. Tokens with that alg are accepted too.
func TestEd25519Name(t *testing.T) {
	t.Parallel()
	const jwk = `{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","kid":"e","key_ops":["verify"],"ext":true,"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	k, err := jwks.ParseKey([]byte(jwk))
	require.NoError(t, err)
	require.Equal(t, authkit.EdDSA, k.Algorithm)
	keys, skipped, err := jwks.ParseSet([]byte(`{"keys":[` + jwk + `]}`))
	require.NoError(t, err)
	require.Empty(t, skipped)
	require.Equal(t, []authkit.Key{k}, keys)
	_, err = jwks.ParseKey([]byte(strings.Replace(jwk, `"alg":"Ed25519"`, `"alg":"ED25519"`, 1)))
	require.Error(t, err)
}

// FR-17: a fetched set keeps its good keys, and reports the others once for each set.
func TestRemoteReportsSkippedEntries(t *testing.T) {
	t.Parallel()
	good := served(t, jwks.Handler(newRing(t, generated()[authkit.ES256]))).Body.String()
	set := strings.Replace(good, `{"keys":[`, `{"keys":[{"kty":"XYZ"},{"kty":"oct","k":"AAAA"},{"kty":"RSA","use":"enc"},`, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) }))
	t.Cleanup(server.Close)
	var reported []error
	ring, err := jwks.NewRemote(jwks.RemoteConfig{URL: server.URL, Client: server.Client(), OnError: func(err error) { reported = append(reported, err) }})
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, ring.Fetch(t.Context()))
		require.Len(t, ring.PublicKeys(), 1)
	}
	require.Len(t, reported, 2)
	for i, err := range reported {
		var entry *jwks.EntryError
		require.ErrorAs(t, err, &entry)
		require.Equal(t, i, entry.Index)
		require.Error(t, entry.Unwrap())
	}
}

// Environment variables hold a PEM text on one line, with line ends written as two characters.
func TestParsePEMOnOneLine(t *testing.T) {
	t.Parallel()
	k := generated()[authkit.ES256]
	text, err := jwks.MarshalPEM(k)
	require.NoError(t, err)
	for _, end := range []string{`\n`, `\r\n`, "\r\n"} {
		parsed, err := jwks.ParsePEM([]byte(strings.ReplaceAll(string(text), "\n", end)))
		require.NoError(t, err, "%q", end)
		require.Equal(t, k.Private, parsed.Private)
	}
}
