//go:build !race

package authkit_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// The budgets of a token. They are not held under the race detector, which makes sync.Pool forget at
// random. AllocsPerRun rules out t.Parallel.
func TestTokenAllocations(t *testing.T) {
	issuer, verifier := tokIssuer(t, tokKey), tokVerifier(t, tokKey)
	claims := authkit.Claims{Subject: "user@example.com", UserID: authkit.NewUserID(), Roles: []string{"admin", "user"}}
	token := tokIssue(t, issuer, claims)
	cut := strings.LastIndexByte(token, '.') + 1

	cfg := authkit.TokenConfig{Keys: []authkit.Key{tokKeys()[authkit.EdDSA]}, CacheSize: 8}
	cached, remembered := tokVerifierFor(t, cfg), tokIssue(t, tokIssuerFor(t, cfg), claims)
	tokAccepted(t, cached, remembered)

	// Keys that may change cost nothing while they do not.
	ring := fetchedRing(t, &keySource{keys: []authkit.Key{tokKey}, maxAge: time.Hour})
	ringIssuer, ringVerifier := ringTokens(t, ring)

	for _, tc := range []struct {
		name   string
		budget float64
		run    func() error
		good   bool
	}{
		{"issue", 2, func() error { _, err := issuer.Issue(claims); return err }, true},
		{"verify", 2, func() error { _, err := verifier.Verify(token); return err }, true},
		{"issue, with a ring", 2, func() error { _, err := ringIssuer.Issue(claims); return err }, true},
		{"verify, with a ring", 2, func() error { _, err := ringVerifier.Verify(token); return err }, true},
		{"verify, remembered", 4, func() error { _, err := cached.Verify(remembered); return err }, true},
		{"bad signature", 0, func() error { _, err := verifier.Verify(token[:cut] + token[:len(token)-cut]); return err }, false},
		{"no signature", 0, func() error { _, err := verifier.Verify(token[:cut]); return err }, false},
		{"no token", 0, func() error { _, err := verifier.Verify("x"); return err }, false},
	} {
		err := tc.run()
		require.Equal(t, tc.good, err == nil, tc.name)
		budget := tc.budget
		if tc.name == "bad signature" {
			budget++ // the token is put together in the test
		}
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _ = tc.run() }), budget, tc.name)
	}
}

// CVE-2025-30204, section 13: what nobody signed costs the same whatever it holds, so it is not
// parsed, and takes no memory by its size.
func TestRefusalAllocations(t *testing.T) {
	for _, alg := range tokAlgorithms() {
		key := tokKeys()[alg]
		verifier := tokVerifier(t, key)
		sig := strings.Split(tokSign(t, key, "{}", "{}"), ".")[2]
		usual := tok64(fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, alg))
		costs := make(map[string]float64)
		for _, tc := range []struct{ name, token string }{
			{"100 bytes", usual + "." + strings.Repeat("A", 100) + "." + sig},
			{"6 KB", usual + "." + strings.Repeat("A", 6000) + "." + sig},
			{"claims", usual + "." + tok64(tokPayload) + "." + sig},
			{"deep", usual + "." + tok64(strings.Repeat("[", 4000)) + "." + sig},
			{"dots", usual + strings.Repeat(".", 6000) + "." + sig},
			{"header of 100 bytes", strings.Repeat("A", 100) + ".AAAA." + sig},
			{"header of 6 KB", strings.Repeat("A", 6000) + ".AAAA." + sig},
			{"header of claims", tok64(`{"alg":"none","kid":"`+strings.Repeat("x", 3000)+`"}`) + ".AAAA." + sig},
		} {
			tokRefused(t, verifier, tc.token)
			costs[tc.name] = testing.AllocsPerRun(100, func() { _, _ = verifier.Verify(tc.token) })
		}
		for name, cost := range costs {
			require.Equal(t, costs["100 bytes"], cost, "%s: %s", alg, name)
		}
		if key.Secret != nil {
			require.Zero(t, costs["100 bytes"], "%s", alg)
		}
		// A signature of another length than the key's is not worth a look.
		for _, s := range []string{"", "A", sig[1:], sig + "A", strings.Repeat("A", 5000)} {
			token := usual + ".e30." + s
			require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = verifier.Verify(token) }), "%s %d", alg, len(s))
		}
	}

	// Beyond the cap there is no work at all, and below it at most four times the length.
	verifier := tokVerifier(t, tokKey)
	for _, token := range []string{
		strings.Repeat("A", 1<<20), strings.Repeat(".", 1<<20), strings.Repeat("A", 1<<20) + ".." + strings.Repeat("A", 43),
	} {
		require.Zero(t, testing.AllocsPerRun(20, func() { _, _ = verifier.Verify(token) }))
	}
	for _, alg := range tokAlgorithms() {
		key := tokKeys()[alg]
		verifier := tokVerifier(t, key)
		for _, header := range []string{fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, alg), fmt.Sprintf(`{"alg":%q }`, alg)} {
			sig := strings.Split(tokSign(t, key, "{}", "{}"), ".")[2]
			token := tok64(header) + "." + strings.Repeat("A", 6000) + "." + sig
			const runs = 100
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				_, _ = verifier.Verify(token)
			}
			runtime.ReadMemStats(&after)
			require.Less(t, (after.TotalAlloc-before.TotalAlloc)/runs, uint64(4*len(token)), "%s %s", alg, header)
		}
	}
}
