package peers_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/authkit-go/authkit/benchmarks/internal/peers"
	"github.com/stretchr/testify/require"
)

// Nobody wins by not checking: every contender accepts the good token, yields the same values, and refuses the rest.

func TestCodecs(t *testing.T) {
	keys, err := peers.NewKeys()
	require.NoError(t, err)
	for _, alg := range []string{peers.HS256, peers.ES256, peers.EdDSA, peers.RS256} {
		codecs, err := peers.Codecs(alg, keys)
		require.NoError(t, err)
		tokens, err := peers.NewTokens(alg, keys, nil)
		require.NoError(t, err)
		var verify []peers.Codec
		for _, c := range codecs {
			if c.VerifyString != nil || c.VerifyBytes != nil {
				verify = append(verify, c)
			}
		}
		for _, c := range verify {
			t.Run(alg+"/"+c.Name+"/verify", func(t *testing.T) {
				for range 3 { // the third time from any cache
					id, err := c.Verify(tokens.Good)
					require.NoError(t, err)
					require.Equal(t, want(), id)
					id, err = c.Verifier(tokens.Good)()
					require.NoError(t, err)
					require.Equal(t, want(), id)
				}
				_, err := c.Verify(tokens.BadSignature)
				require.Error(t, err)
				_, err = c.Verify(tokens.Expired)
				require.Error(t, err)
			})
		}
		for _, c := range codecs {
			if c.SignString == nil && c.SignBytes == nil {
				continue
			}
			t.Run(alg+"/"+c.Name+"/issue", func(t *testing.T) {
				// Issued ten seconds ago, for the peer that rounds the present down.
				token, err := c.Sign(peers.NewClaims(time.Now().Add(-10 * time.Second)))
				require.NoError(t, err)
				for _, v := range verify {
					if v.Kind == peers.Floor && c.Kind != peers.Floor {
						continue // knows one layout of the payload only
					}
					id, err := v.Verify(token)
					require.NoError(t, err, v.Name)
					require.Equal(t, want(), id, v.Name)
				}
			})
		}
	}
}

func TestBare(t *testing.T) {
	keys, err := peers.NewKeys()
	require.NoError(t, err)
	for _, alg := range []string{peers.ES256, peers.EdDSA, peers.RS256} {
		tokens, err := peers.NewTokens(alg, keys, nil)
		require.NoError(t, err)
		good, err := peers.Bare(alg, keys, tokens.Good)
		require.NoError(t, err)
		require.NoError(t, good())
		bad, err := peers.Bare(alg, keys, tokens.BadSignature)
		require.NoError(t, err)
		require.Error(t, bad())
	}
}

func TestGuards(t *testing.T) {
	keys, err := peers.NewKeys()
	require.NoError(t, err)
	guards, err := peers.Guards(keys)
	require.NoError(t, err)
	testGuards(t, guards)
}

func TestLookingUpGuards(t *testing.T) {
	keys, err := peers.NewKeys()
	require.NoError(t, err)
	guards, err := peers.LookingUpGuards(keys)
	require.NoError(t, err)
	testGuards(t, guards)
}

func testGuards(t *testing.T, guards []peers.Guard) {
	slugs := map[string]bool{}
	for _, g := range guards {
		require.False(t, slugs[g.Slug], g.Slug)
		slugs[g.Slug] = true
		t.Run(g.Name, func(t *testing.T) {
			w := httptest.NewRecorder()
			g.Handler.ServeHTTP(w, g.GoodRequest())
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, peers.Subject, w.Body.String())

			for name, value := range map[string]string{
				"no token":      "",
				"bad signature": g.Prefix + g.Tokens.BadSignature,
				"expired":       g.Prefix + g.Tokens.Expired,
				"no admin":      g.Prefix + g.Tokens.NoAdmin,
			} {
				w := httptest.NewRecorder()
				g.Handler.ServeHTTP(w, g.Request(value))
				require.GreaterOrEqual(t, w.Code, 400, name)
				require.Less(t, w.Code, 500, name)
				require.NotContains(t, w.Body.String(), "0199b1d2", name)
			}
		})
	}
}

func want() peers.Identity {
	return peers.Identity{Subject: peers.Subject, Roles: []string{peers.Role, "user"}}
}
