package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/stretchr/testify/require"
)

// A scene is twenty minutes of the whole service in virtual time, scraped every fifteen seconds
// as a Prometheus would.
type scene struct {
	t        *testing.T
	handler  http.Handler
	service  *server
	store    *faultyStore
	accounts []authkit.StoredUser
	series   map[string][]string // the values of each, "_" where there was none
	scrapes  int
}

const (
	sceneTime   = 20 * time.Minute
	scrapeEvery = 15 * time.Second
)

// A faultyStore keeps accounts, sessions and the audit log, until it is told to fail.
type faultyStore struct {
	*authkit.MemoryStore
	log                 *audit.MemoryStore
	usersFail, logFails atomic.Bool
}

var errFaulty = errors.New("faulty")

func (s *faultyStore) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	if s.usersFail.Load() {
		return authkit.StoredUser{}, errFaulty
	}
	return s.MemoryStore.UserByEmail(ctx, email)
}

func (s *faultyStore) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	if s.logFails.Load() {
		return errFaulty
	}
	return s.log.AppendAudit(ctx, entries)
}

func (s *faultyStore) AuditEntries(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
	return s.log.AuditEntries(ctx, q)
}

func (s *faultyStore) EraseAudit(ctx context.Context, userID string) (int, error) {
	return s.log.EraseAudit(ctx, userID)
}

// A slowHasher takes as long as a hash of cost 12, in virtual time.
type slowHasher struct{ authkit.Hasher }

func (h slowHasher) Verify(password string, hash authkit.PasswordHash) error {
	time.Sleep(200 * time.Millisecond)
	return h.Hasher.Verify(password, hash)
}

// play plays a scene beside what goes on every day, and returns the alerts that fire in it.
func play(t *testing.T, promtool string, act func(*scene)) []string {
	s := &scene{t: t, series: map[string][]string{}}
	cfg := testConfig(t)
	cfg.throttle, cfg.hasher = throttleOn, slowHasher{cheapBcrypt}
	for i := range 400 {
		cfg.accounts = append(cfg.accounts, authkit.StoredUser{
			User:         authkit.User{Email: fmt.Sprintf("user%d@example.com", i), FullName: "A User", Roles: []string{"user"}},
			PasswordHash: cfg.accounts[1].PasswordHash,
		})
	}
	s.accounts = cfg.accounts[len(cfg.accounts)-400:]
	synctest.Test(t, func(t *testing.T) {
		s.t, s.store = t, &faultyStore{MemoryStore: authkit.NewMemoryStore(), log: audit.NewMemoryStore(0)}
		var err error
		s.service, err = newServerOn(t.Context(), cfg, &storage{users: s.store, sessions: s.store.MemoryStore})
		require.NoError(t, err)
		s.handler = s.service.handler()
		ctx, cancel := context.WithTimeout(t.Context(), sceneTime)
		defer cancel()
		go s.everyDay(ctx)
		go func() { _ = s.service.run(ctx) }()
		go func() {
			time.Sleep(time.Minute)
			act(s)
		}()
		for ctx.Err() == nil {
			s.scrape()
			time.Sleep(scrapeEvery)
		}
		s.store.logFails.Store(false) // so that the log ends
		time.Sleep(time.Minute)
	})
	return s.firing(t, promtool)
}

// ask makes a request from an address, and returns its answer.
func (s *scene) ask(address string, c call) answer {
	r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
	r.RemoteAddr = address + ":1234"
	r.Header.Set("Content-Type", c.contentType)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return answer{call: c, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
}

// guess tries a password from an address.
func (s *scene) guess(address, email string) int {
	return s.ask(address, loginCall(email, "guess")).status
}

// everyDay is what goes on without an attack: 40 users log in every ten minutes or so, refresh,
// read, log out; one login in eight has a typing error, and some name no account.
func (s *scene) everyDay(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		user, from := s.accounts[i%40], fmt.Sprintf("192.0.2.%d", i%40)
		if i%8 == 0 {
			s.guess(from, user.Email)
		}
		if i%31 == 0 {
			s.guess(from, "typing-error@example.com")
		}
		a := s.ask(from, loginCall(user.Email, userPassword))
		if a.status == http.StatusOK {
			access, refresh := a.object(s.t)["access_token"].(string), a.object(s.t)["refresh_token"].(string)
			s.ask(from, call{method: "GET", path: "/users/me", token: access})
			s.ask(from, call{method: "GET", path: "/admin/users", token: access})
			s.ask(from, call{method: "GET", path: "/users/me", token: access + "x"})
			s.ask(from, refreshCall(refresh))
			s.ask(from, refreshCall(refresh)) // another tab
			if i%3 == 0 {
				s.ask(from, call{method: "POST", path: "/logout", token: access})
			}
		}
		time.Sleep(15 * time.Second)
	}
}

// scrape adds the values of this moment to the series.
func (s *scene) scrape() {
	families, err := s.service.monitor.registry.Gather()
	require.NoError(s.t, err)
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "authkit_") {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := []string{`instance="a"`}
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := family.GetName() + "{" + strings.Join(labels, ",") + "}"
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue() // it has one of the two
			for len(s.series[name]) < s.scrapes {
				s.series[name] = append(s.series[name], "_")
			}
			s.series[name] = append(s.series[name], fmt.Sprint(value))
		}
	}
	s.scrapes++
}

// firing returns the alerts that fire at any time, as Prometheus itself finds: the rules are
// evaluated by promtool.
func (s *scene) firing(t *testing.T, promtool string) []string {
	rules, err := filepath.Abs("monitoring/alerts.yml")
	require.NoError(t, err)
	var file strings.Builder
	fmt.Fprintf(&file, "rule_files: [%q]\nevaluation_interval: 15s\ntests:\n- interval: 15s\n  input_series:\n", rules)
	for name, values := range s.series {
		fmt.Fprintf(&file, "  - series: '%s'\n    values: '%s'\n", name, strings.Join(values, " "))
	}
	fmt.Fprintf(&file, `  promql_expr_test:
  - expr: count by (alertname) (last_over_time(ALERTS{alertstate="firing"}[1h]))
    eval_time: %dm
    exp_samples: [{labels: '{alertname="none"}', value: -1}]
`, int(sceneTime.Minutes()))
	name := filepath.Join(t.TempDir(), "scene.yml")
	require.NoError(t, os.WriteFile(name, []byte(file.String()), 0o600))
	out, _ := exec.Command(promtool, "test", "rules", name).CombinedOutput() // it fails: nobody expects what fires
	_, got, ok := strings.Cut(string(out), "got:")
	require.True(t, ok, "%s", out)
	var firing []string
	for _, rule := range ruleNames(t) {
		if strings.Contains(got, fmt.Sprintf("alertname=%q", rule)) {
			firing = append(firing, rule)
		}
	}
	return firing
}

// ruleNames returns the names of all alerts.
func ruleNames(t *testing.T) (names []string) {
	text, err := os.ReadFile("monitoring/alerts.yml")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- alert: "); ok {
			names = append(names, name)
		}
	}
	return names
}

// promtool returns the program, without which a test is left out where it is not CI.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("promtool is not installed: apt-get install prometheus")
	}
	require.NoError(t, err)
	return path
}

// scenes are what happens, and the alerts that it makes fire, no more and no less.
var scenes = map[string]struct {
	act    func(*scene)
	alerts []string
}{
	"a quiet day": {func(*scene) {}, nil},

	"one password, tried on many accounts from many addresses": {func(s *scene) {
		for i := range 300 {
			s.guess(fmt.Sprintf("198.51.100.%d", i%250), s.accounts[50+i].Email)
			time.Sleep(2 * time.Second)
		}
	}, []string{"PasswordSpraying"}},

	"a list of names and passwords of another service": {func(s *scene) {
		for i := range 500 {
			email := fmt.Sprintf("somebody%d@example.org", i)
			if i%20 == 0 {
				email = s.accounts[50+i/20].Email
			}
			s.guess(fmt.Sprintf("198.51.100.%d", i%250), email)
			time.Sleep(1500 * time.Millisecond)
		}
	}, []string{"CredentialStuffing"}},

	"one account, guessed from many addresses": {func(s *scene) {
		for i := range 200 {
			s.guess(fmt.Sprintf("198.51.100.%d", i), s.accounts[60].Email)
			time.Sleep(3 * time.Second)
		}
	}, []string{"AccountsLockedOut"}},

	"a stolen refresh token": {func(s *scene) {
		stolen := s.ask("192.0.2.99", loginCall(s.accounts[60].Email, userPassword)).object(s.t)["refresh_token"].(string)
		require.Equal(s.t, http.StatusOK, s.ask("192.0.2.99", refreshCall(stolen)).status)
		time.Sleep(time.Minute)
		require.Equal(s.t, http.StatusBadRequest, s.ask("198.51.100.1", refreshCall(stolen)).status)
	}, []string{"RefreshTokenReuse"}},

	"forged tokens": {func(s *scene) {
		token := s.ask("192.0.2.99", loginCall(s.accounts[60].Email, userPassword)).object(s.t)["access_token"].(string)
		for range 300 {
			s.ask("198.51.100.1", call{method: "GET", path: "/admin/users", token: token[:len(token)-4] + "AAAA"})
			time.Sleep(2 * time.Second)
		}
	}, []string{"ForgedTokens"}},

	"a full disk under the audit log": {func(s *scene) {
		s.store.logFails.Store(true)
		time.Sleep(5 * time.Minute)
		s.store.logFails.Store(false)
	}, []string{"AuditNotWritten"}},

	"a flood that the audit log cannot hold": {func(s *scene) {
		s.store.logFails.Store(true)
		for range 9000 {
			s.ask("198.51.100.1", call{method: "GET", path: "/users/me", token: "rubbish"})
		}
		time.Sleep(30 * time.Second)
		s.store.logFails.Store(false)
	}, []string{"AuditEventsLost"}},

	"a database that is down": {func(s *scene) {
		s.store.usersFail.Store(true)
		time.Sleep(3 * time.Minute)
		s.store.usersFail.Store(false)
	}, []string{"StoreFailing"}},

	"more logins than can be hashed": {func(s *scene) {
		for range 10 {
			for i := range 200 {
				go s.ask(fmt.Sprintf("203.0.113.%d", i), loginCall(s.accounts[100+i].Email, userPassword))
			}
			time.Sleep(20 * time.Second)
		}
	}, []string{"LoginsOverloaded"}},
}

// TestAlerts plays every scene, and asserts which alerts fire.
func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool := promtool(t)
	covered := map[string]bool{}
	for name, c := range scenes {
		for _, alert := range c.alerts {
			covered[alert] = true
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ElementsMatch(t, c.alerts, play(t, promtool, c.act))
		})
	}
	for _, rule := range ruleNames(t) {
		require.Truef(t, covered[rule], "no scene makes %s fire", rule)
	}
	require.True(t, slices.Contains(ruleNames(t), "PasswordSpraying"))
}
