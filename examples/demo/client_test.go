package main

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// TestOAuth2Client logs in with golang.org/x/oauth2 as its users do, and lets it refresh by
// itself: twice, since each refresh token is good for one exchange.
func TestOAuth2Client(t *testing.T) {
	t.Parallel()
	base := start(t, testConfig(t))
	for name, style := range map[string]oauth2.AuthStyle{
		"style by itself": oauth2.AuthStyleAutoDetect,
		"in the form":     oauth2.AuthStyleInParams,
		"in the header":   oauth2.AuthStyleInHeader,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := oauth2.Config{ClientID: "a-client", Endpoint: oauth2.Endpoint{TokenURL: base + "/token", AuthStyle: style}}
			_, err := cfg.PasswordCredentialsToken(t.Context(), "user@example.com", "wrong")
			requireOAuth2Error(t, err, http.StatusUnauthorized)

			first, err := cfg.PasswordCredentialsToken(t.Context(), "user@example.com", userPassword)
			require.NoError(t, err)
			require.Equal(t, "Bearer", first.Type())
			require.NotEmpty(t, first.RefreshToken)
			require.WithinDuration(t, time.Now().Add(30*time.Minute), first.Expiry, time.Minute)

			second := expireAndCall(t, &cfg, first, base+"/users/me/")
			third := expireAndCall(t, &cfg, second, base+"/users/me/")
			require.NotEqual(t, second.RefreshToken, third.RefreshToken)

			logout, err := cfg.Client(t.Context(), third).Post(base+"/logout", "", nil)
			require.NoError(t, err)
			require.NoError(t, logout.Body.Close())
			require.Equal(t, http.StatusNoContent, logout.StatusCode)
			third.Expiry = time.Now().Add(-time.Minute)
			_, err = cfg.TokenSource(t.Context(), third).Token()
			requireOAuth2Error(t, err, http.StatusBadRequest)
		})
	}
}

// expireAndCall makes a call with a token that has expired as far as the client knows, and
// returns the one that the client has then.
func expireAndCall(t *testing.T, cfg *oauth2.Config, token *oauth2.Token, url string) *oauth2.Token {
	t.Helper()
	token.Expiry = time.Now().Add(-time.Minute)
	source := cfg.TokenSource(t.Context(), token)
	resp, err := oauth2.NewClient(context.Background(), source).Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
	require.Contains(t, string(body), `"email":"user@example.com"`)

	next, err := source.Token()
	require.NoError(t, err)
	require.NotEqual(t, token.AccessToken, next.AccessToken)
	require.NotEqual(t, token.RefreshToken, next.RefreshToken)
	return next
}

// requireOAuth2Error asserts that the client understood why it was refused.
func requireOAuth2Error(t *testing.T, err error, status int) {
	t.Helper()
	var refused *oauth2.RetrieveError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, status, refused.Response.StatusCode)
	require.Equal(t, "invalid_grant", refused.ErrorCode)
	require.NotEmpty(t, refused.ErrorDescription)
}
