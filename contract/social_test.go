package contract_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/contract/internal/vulnerable"
)

// A provider is started before the service, which is connected to it.
func ExampleNewProvider() {
	provider, err := contract.NewProvider()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer provider.Close()
	service := vulnerable.New("no PKCE")
	service.Connect(provider.Issuer, provider.ClientID, provider.ClientSecret)
	report, err := contract.Check(context.Background(), contract.Target{
		Handler:    service,
		User:       contract.Account{Name: "user@example.com", Password: "Password of the User 1"},
		Routes:     []contract.Route{{Method: "GET", Path: "/me", Access: contract.LoggedIn}},
		Provider:   provider,
		SocialPath: "/social",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	for _, r := range report.Results {
		if r.Outcome == contract.Succeeded {
			fmt.Println(r.Severity, r.ID)
		}
	}
	// Output: medium social.pkce
}

// AU-03: no report and no formatted value has the secret of the client.
func TestProviderHidesItsSecret(t *testing.T) {
	p := provider()
	r, err := contract.CheckOne(t.Context(), target(vulnerable.New("error of a provider")), "social.error-secret")
	require.NoError(t, err)
	require.Equal(t, contract.Succeeded, r.Outcome)
	require.NotEmpty(t, r.Evidence)
	report := contract.Report{Results: []contract.Result{r}}
	var text, asJSON, page bytes.Buffer
	require.NoError(t, report.WriteText(&text))
	require.NoError(t, report.WriteJSON(&asJSON))
	require.NoError(t, report.WriteHTML(&page))
	for _, written := range []string{text.String(), asJSON.String(), page.String(), fmt.Sprintf("%v %+v %#v", p, p, p)} {
		assert.NotContains(t, written, p.ClientSecret)
	}
}

// A service that logs in without an ID token does not withstand the attacks on
// ID tokens: they do not apply.
func TestWithoutIDTokens(t *testing.T) {
	r, err := contract.CheckOne(t.Context(), target(vulnerable.New("user info alone")), "idtoken.none")
	require.NoError(t, err)
	assert.Equal(t, contract.NotApplicable, r.Outcome, r.Note)
}

// A service whose login does not work, and an organization that its members
// cannot use, withstand nothing.
func TestBrokenCapabilities(t *testing.T) {
	full := target(vulnerable.New(""))
	full.SocialPath = "/me"
	full.Orgs.Routes[0].Path = "/orgs/{org}/unknown"
	for _, a := range contract.Attacks() {
		switch group, _, _ := strings.Cut(a.ID, "."); group {
		case "social", "idtoken", "identity", "link", "org", "invite":
			r, err := contract.CheckOne(t.Context(), full, a.ID)
			require.NoError(t, err)
			assert.Equal(t, contract.Failed, r.Outcome, "%s: %s", a.ID, r.Note)
		}
	}
	full = target(vulnerable.New(""))
	full.Orgs.Add = func(context.Context, string, contract.Account, string) (string, error) {
		return "", errors.New("no such role")
	}
	r, err := contract.CheckOne(t.Context(), full, "org.member")
	require.NoError(t, err)
	assert.Equal(t, contract.Failed, r.Outcome)
	assert.Contains(t, r.Note, "no such role")
}

// A description of organizations that is incomplete is refused.
func TestOrgsProblems(t *testing.T) {
	full := target(vulnerable.New(""))
	full.Orgs = &contract.Orgs{}
	_, err := contract.Check(t.Context(), full)
	for _, text := range []string{"New, Add, Owner and Member", "Target.Orgs.Routes has no GET route"} {
		assert.ErrorContains(t, err, text)
	}
}
