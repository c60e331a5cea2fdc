package contract_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/contract/internal/vulnerable"
	"github.com/authkit-go/authkit/internal/race"
)

var provider = sync.OnceValue(func() *contract.Provider {
	p, err := contract.NewProvider()
	if err != nil {
		panic(err)
	}
	return p
})

// target describes a service of package vulnerable.
func target(s *vulnerable.Service) contract.Target {
	p := provider()
	s.Connect(p.Issuer, p.ClientID, p.ClientSecret)
	return contract.Target{
		Handler: s,
		User:    contract.Account{Name: vulnerable.UserName, Password: vulnerable.UserPassword},
		Other:   contract.Account{Name: vulnerable.OtherName, Password: vulnerable.OtherPassword},
		Admin:   contract.Account{Name: vulnerable.AdminName, Password: vulnerable.AdminPassword},
		Routes: []contract.Route{
			{Method: "GET", Path: "/", Access: contract.Public},
			{Method: "GET", Path: "/me", Access: contract.LoggedIn},
			{Method: "POST", Path: "/items", Access: contract.LoggedIn, Body: `{"name":"a"}`},
			{Method: "GET", Path: "/admin", Access: contract.AdminOnly},
			{Method: "POST", Path: "/admin/users", Access: contract.AdminOnly, Body: `{"name":"a"}`},
		},
		Refresh: true, LogoutPath: "/logout", PasswordPath: "/password", CookiePath: "/login", KeySetPath: "/keys",
		Secret: s.Secret, Hashes: s.Hashes, Origins: []string{vulnerable.Origin},
		NewAccount: func(_ context.Context, password string) (contract.Account, error) {
			return contract.Account{Name: s.AddUser(password), Password: password}, nil
		},
		Disable: func(_ context.Context, a contract.Account) error { s.Disable(a.Name); return nil },
		Enroll:  func(_ context.Context, a contract.Account) ([]string, error) { return s.Enroll(a.Name), nil }, FactorMethod: "recovery",
		APIKey:    func(_ context.Context, a contract.Account) (string, error) { return s.AddKey(a.Name), nil },
		ResetPath: "/reset", RegisterPath: "/register", Mails: s.Mails,
		Provider: p, SocialPath: "/social", LinkPath: "/social/link",
		Orgs: orgs(s),
		NewUnverified: func(_ context.Context, password string) (contract.Account, error) {
			return contract.Account{Name: s.AddUnverified(password), Password: password}, nil
		},
	}
}

// orgs describes the organizations of a service of package vulnerable.
func orgs(s *vulnerable.Service) *contract.Orgs {
	return &contract.Orgs{
		New: func(_ context.Context, owner contract.Account) (org, user string, err error) {
			return s.NewOrg(owner.Name), owner.Name, nil
		},
		Add: func(_ context.Context, org string, a contract.Account, role string) (string, error) {
			s.AddMember(org, a.Name, role)
			return a.Name, nil
		},
		Owner: vulnerable.Owner, Manager: vulnerable.Manager, Member: vulnerable.Member,
		Routes: []contract.Route{
			{Method: "GET", Path: "/orgs/{org}/board", Access: contract.LoggedIn},
			{Method: "GET", Path: "/orgs/{org}/invitations", Access: contract.AdminOnly},
		},
		SetRole:    contract.Route{Method: "PUT", Path: "/orgs/{org}/members/{user}", Body: `{"role":"{role}"}`},
		Remove:     contract.Route{Method: "DELETE", Path: "/orgs/{org}/members/{user}"},
		Invite:     contract.Route{Method: "POST", Path: "/orgs/{org}/invitations", Body: `{"email":"{email}","role":"{role}"}`},
		Accept:     contract.Route{Method: "POST", Path: "/orgs/accept", Body: `{"token":"{token}"}`},
		Invitation: func(_ context.Context, email string) (string, error) { return s.Invitation(email), nil },
		Switch:     contract.Route{Method: "POST", Path: "/orgs/{org}/switch"},
		Active:     contract.Route{Method: "GET", Path: "/board"},
	}
}

// notUnderRace skips a test under the race detector. It makes the requests of TestSafeService,
// which runs there, and .ci/run runs it without the detector.
func notUnderRace(t *testing.T) {
	if race.Enabled {
		t.Skip("TestSafeService makes the same requests under the race detector")
	}
}

// A service without a defect withstands every attack.
func TestSafeService(t *testing.T) {
	report, err := contract.Check(t.Context(), target(vulnerable.New("")))
	require.NoError(t, err)
	for _, r := range report.Results {
		assert.Equal(t, contract.Withstood, r.Outcome, "%s: %s %v", r.ID, r.Note, r.Evidence)
	}
	assert.Zero(t, report.Worst())
}

// Each attack notices a service with a defect that lets it succeed.
func TestEachAttackCanSucceed(t *testing.T) {
	attacks := contract.Attacks()
	assert.Len(t, trips, len(attacks))
	for _, a := range attacks {
		t.Run(a.ID, func(t *testing.T) {
			defect, ok := trips[a.ID]
			require.True(t, ok, "no defect is named for the attack")
			r, err := contract.CheckOne(t.Context(), target(vulnerable.New(defect)), a.ID)
			require.NoError(t, err)
			assert.Equal(t, contract.Succeeded, r.Outcome, r.Note)
			assert.NotEmpty(t, r.Note)
			if strings.HasPrefix(a.ID, "leak.") { // TestSafeService has the service without the defect
				return
			}
			r, err = contract.CheckOne(t.Context(), target(vulnerable.New("")), a.ID)
			require.NoError(t, err)
			assert.Equal(t, contract.Withstood, r.Outcome, "without the defect: %s", r.Note)
		})
	}
}

// Attacks are described completely.
func TestAttacks(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range contract.Attacks() {
		assert.Regexp(t, regexp.MustCompile(`^[a-z]+\.[a-z0-9-]+$`), a.ID)
		assert.False(t, seen[a.ID], "%s is there twice", a.ID)
		seen[a.ID] = true
		assert.Regexp(t, `^[A-Z].*\.$`, a.Text, a.ID)
		assert.Regexp(t, `^[A-Z]{2}-\d\d[a-z]?$`, a.Requirement, a.ID)
		assert.NotEmpty(t, a.Source, a.ID)
		assert.NotZero(t, a.Severity, a.ID)
	}
}

// A target with nothing but the required fields is attacked, and the rest of
// the attacks is reported as not applicable.
func TestSmallTarget(t *testing.T) {
	s := vulnerable.New("")
	full := target(s)
	report, err := contract.Check(t.Context(), contract.Target{Handler: s, User: full.User, Routes: full.Routes[:2]})
	require.NoError(t, err)
	assert.Zero(t, report.Count(contract.Succeeded))
	assert.Zero(t, report.Count(contract.Failed))
	assert.Greater(t, report.Count(contract.NotApplicable), 20)
	assert.Greater(t, report.Count(contract.Withstood), 80)
	for _, r := range report.Results {
		if r.Outcome == contract.NotApplicable {
			assert.NotEmpty(t, r.Note, r.ID)
		}
	}
	var text bytes.Buffer
	require.NoError(t, report.WriteText(&text))
	assert.Contains(t, text.String(), " not applicable because Target.Secret is not set\n")
	assert.Contains(t, text.String(), " not applicable because Target.Enroll is not set\n", "all that an attack lacks")
}

// A description that is incomplete is refused with all of its problems.
func TestProblems(t *testing.T) {
	_, err := contract.Check(t.Context(), contract.Target{BaseURL: "localhost", Routes: []contract.Route{{Path: "me"}}})
	for _, text := range []string{"BaseURL", "Target.User", "Routes[0]", "no GET route"} {
		assert.ErrorContains(t, err, text)
	}
	_, err = contract.Check(t.Context(), contract.Target{
		LogoutPath: "logout", Admin: contract.Account{Name: "admin"}, Other: contract.Account{Password: "other"}, Routes: []contract.Route{{Path: "/me?a=b"}},
	})
	for _, text := range []string{"LogoutPath is \"logout\"", "Target.Admin has only", "Target.Other has only", "has a query"} {
		assert.ErrorContains(t, err, text)
	}
	_, err = contract.Check(t.Context(), contract.Target{})
	assert.ErrorContains(t, err, "Target.Handler is nil")
}

// A service that refuses everybody withstands nothing: the attacks do not even
// begin.
func TestClosedService(t *testing.T) {
	full := target(vulnerable.New(""))
	full.Handler = http.NotFoundHandler()
	_, err := contract.Check(t.Context(), full)
	assert.ErrorContains(t, err, "cannot log in")
	full.Refresh = false // its login has no refresh token
	full.LogIn = func(context.Context, *http.Client, string, contract.Account) (contract.Tokens, error) {
		return contract.Tokens{Access: "x"}, nil
	}
	_, err = contract.Check(t.Context(), full)
	assert.ErrorContains(t, err, "404")
}

// reportOf returns the report of one attack, or of all if the ID is "".
func reportOf(t *testing.T, s *vulnerable.Service, id string) *contract.Report {
	t.Helper()
	if id == "" {
		report, err := contract.Check(t.Context(), target(s))
		require.NoError(t, err)
		return report
	}
	r, err := contract.CheckOne(t.Context(), target(s), id)
	require.NoError(t, err)
	return &contract.Report{Results: []contract.Result{r}}
}

// AU-03: no report has a password, a token or the secret.
func TestReportsHaveNoSecrets(t *testing.T) {
	notUnderRace(t)
	for defect, id := range map[string]string{"leaked password": "leak.password", "leaked secret": "", "unchecked": "", "fixation": "cookie.fixation"} {
		s := vulnerable.New(defect)
		report := reportOf(t, s, id)
		require.NotZero(t, report.Worst())
		var text, asJSON, page bytes.Buffer
		require.NoError(t, report.WriteText(&text))
		require.NoError(t, report.WriteJSON(&asJSON))
		require.NoError(t, report.WriteHTML(&page))
		assert.True(t, json.Valid(asJSON.Bytes()))
		for _, written := range []string{text.String(), asJSON.String(), page.String()} {
			for _, secret := range []string{vulnerable.UserPassword, vulnerable.AdminPassword, string(s.Secret)} {
				assert.NotContains(t, written, secret)
			}
			assert.NotRegexp(t, `eyJ[\w-]+\.[\w-]+\.[\w-]{20,}`, written)
			assert.NotRegexp(t, `__Host-session=[\w-]{20,}`, written)
		}
	}
}

// A report names the attack, its standard and its evidence.
func TestReport(t *testing.T) {
	report := reportOf(t, vulnerable.New("expired"), "claim.expired")
	assert.Equal(t, contract.High, report.Worst())
	var text, page bytes.Buffer
	require.NoError(t, report.WriteText(&text))
	require.NoError(t, report.WriteHTML(&page))
	for _, want := range []string{"claim.expired", "RFC 7519 section 4.1.4", "high", "TK-06"} {
		assert.Contains(t, text.String(), want)
		assert.Contains(t, page.String(), want)
	}
	assert.Contains(t, page.String(), "GET /me", "the evidence")
	assert.NotContains(t, page.String(), "<script")
}

// The progress of the attacks is reported, and they end with their context.
func TestProgressAndEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	full := target(vulnerable.New(""))
	calls := 0
	full.Progress = func(done, all int, a contract.Attack) {
		assert.Equal(t, calls, done)
		assert.Equal(t, len(contract.Attacks()), all)
		if calls++; calls == 10 {
			cancel()
		}
	}
	report, err := contract.Check(ctx, full)
	require.ErrorIs(t, err, context.Canceled)
	assert.Len(t, report.Results, 10)
}

// A target with Refresh whose login returns no refresh token is refused: its
// attacks would panic, or count as withstood.
func TestNoRefreshToken(t *testing.T) {
	full := target(vulnerable.New(""))
	full.LogIn = func(ctx context.Context, c *http.Client, base string, a contract.Account) (contract.Tokens, error) {
		r, err := c.PostForm(base+"/token", url.Values{"username": {a.Name}, "password": {a.Password}})
		if err != nil {
			return contract.Tokens{}, err
		}
		defer r.Body.Close()
		var body struct {
			Token string `json:"access_token"`
		}
		err = json.NewDecoder(r.Body).Decode(&body)
		return contract.Tokens{Access: body.Token}, err
	}
	_, err := contract.CheckOne(t.Context(), full, "session.refresh-forged")
	assert.ErrorContains(t, err, "returns no refresh token")
}
