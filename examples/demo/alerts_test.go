package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// A scene is what happens to the whole service in some minutes of virtual time, in which it is
// scraped every fifteen seconds as by a Prometheus, and the alerts that this makes fire, no more and
// no less, in the last half hour.
type scene struct {
	act     func(*stage)
	alerts  []string
	lasts   time.Duration // zero: twenty minutes
	after   time.Duration // when act begins; zero: after a minute
	busy    bool          // ten times as much goes on, and goes wrong, every day
	unkept  bool          // nobody writes the audit log
	crashes time.Duration // when the instance is gone; zero: never
}

// A stage is where a scene is played.
type stage struct {
	t        *testing.T
	handler  http.Handler
	service  *server
	store    *faultyStore
	accounts []authkit.StoredUser
	series   map[string][]string // the values of each, "_" where there was none
	scrapes  int
}

const (
	scrapeEvery = 15 * time.Second
	sceneUsers  = 700
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

// A sceneHasher takes as long as bcrypt of cost 12 in virtual time, and no other.
type sceneHasher struct{}

func (sceneHasher) Hash(password string) (authkit.PasswordHash, error) {
	return authkit.PasswordHash("$scene$" + password), nil
}

func (h sceneHasher) Verify(password string, hash authkit.PasswordHash) error {
	time.Sleep(200 * time.Millisecond)
	if want, _ := h.Hash(password); want != hash {
		return authkit.ErrPasswordMismatch
	}
	return nil
}

func (sceneHasher) NeedsRehash(authkit.PasswordHash) (bool, error) { return false, nil }

// play plays a scene beside what goes on every day, and returns the alerts that fire in it.
func play(t *testing.T, promtool string, sc scene) []string {
	s := &stage{t: t, series: map[string][]string{}}
	sc.lasts, sc.after = cmp.Or(sc.lasts, 20*time.Minute), cmp.Or(sc.after, time.Minute)
	cfg := testConfig(t)
	cfg.throttle, cfg.hasher, cfg.accounts = throttleOn, sceneHasher{}, nil
	for i := range sceneUsers {
		cfg.accounts = append(cfg.accounts, authkit.StoredUser{
			User:         authkit.User{Email: fmt.Sprintf("user%d@example.com", i), FullName: "A User", Roles: []string{"user"}},
			PasswordHash: "$scene$" + userPassword,
		})
	}
	s.accounts = cfg.accounts
	synctest.Test(t, func(t *testing.T) {
		s.t, s.store = t, &faultyStore{MemoryStore: authkit.NewMemoryStore(), log: audit.NewMemoryStore(0)}
		var err error
		s.service, err = newServerOn(t.Context(), cfg, &storage{users: s.store, sessions: s.store.MemoryStore, audit: s.store})
		require.NoError(t, err)
		s.handler = s.service.handler()
		ctx, cancel := context.WithTimeout(t.Context(), sc.lasts)
		defer cancel()
		go s.everyDay(ctx, sc.busy)
		if !sc.unkept {
			go func() { _ = s.service.run(ctx) }()
		}
		go func() {
			for i := time.Duration(0); i*scrapeEvery < cmp.Or(sc.crashes, sc.lasts); i++ {
				s.scrape()
				time.Sleep(scrapeEvery)
			}
		}()
		time.Sleep(sc.after)
		sc.act(s)
		<-ctx.Done()
		s.store.logFails.Store(false) // so that the log ends
		time.Sleep(time.Minute)
	})
	return s.firing(t, promtool, sc.lasts)
}

// ask makes a request from an address, and returns its answer.
func (s *stage) ask(address string, c call) answer {
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
func (s *stage) guess(address, email string) int {
	return s.ask(address, loginCall(email, "guess")).status
}

// everyDay is what goes on without an attack: 40 users log in every ten minutes or so, refresh,
// read, log out; one login in eight has a typing error, and some name no account. On a busy day it is
// 400 users, who make twice as many errors.
func (s *stage) everyDay(ctx context.Context, busy bool) {
	users, pause, typos := 40, 15*time.Second, 8
	if busy {
		users, pause, typos = 400, 1500*time.Millisecond, 4
	}
	for i := 0; ctx.Err() == nil; i++ {
		user, from := s.accounts[i%users], fmt.Sprintf("192.0.2.%d", i%users%250)
		if i%typos == i/users%typos {
			s.guess(from, user.Email)
		}
		if i%31 == 0 {
			s.guess(from, fmt.Sprintf("typing-error%d@example.com", i%users))
		}
		if access, refresh := s.login(from, user.Email); access != "" {
			s.ask(from, call{method: "GET", path: "/users/me", token: access})
			s.ask(from, call{method: "GET", path: "/admin/users", token: access})
			if i%10 == 0 {
				s.ask(from, call{method: "GET", path: "/users/me", token: access + "x"})
			}
			s.ask(from, refreshCall(refresh))
			s.ask(from, refreshCall(refresh)) // another tab
			if i%3 == 0 {
				s.ask(from, call{method: "POST", path: "/logout", token: access})
			}
		}
		time.Sleep(pause)
	}
}

// login logs an account in, and returns its tokens; none, if that was refused.
func (s *stage) login(address, email string) (access, refresh string) {
	var token struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if a := s.ask(address, loginCall(email, userPassword)); a.status == http.StatusOK {
		if err := json.Unmarshal(a.body, &token); err != nil {
			s.t.Error(err)
		}
	}
	return token.Access, token.Refresh
}

// scrape adds the values of this moment to the series.
func (s *stage) scrape() {
	families, err := s.service.monitor.registry.Gather()
	if err != nil {
		s.t.Error(err)
	}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "authkit_") {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := []string{`job="demo"`, `instance="a"`}
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
func (s *stage) firing(t *testing.T, promtool string, lasts time.Duration) []string {
	rules, err := filepath.Abs("monitoring/alerts.yml")
	require.NoError(t, err)
	var file strings.Builder
	fmt.Fprintf(&file, "rule_files: [%q]\nevaluation_interval: 15s\ntests:\n- interval: 15s\n  input_series:\n", rules)
	for name, values := range s.series {
		fmt.Fprintf(&file, "  - series: '%s'\n    values: '%s'\n", name, strings.Join(values, " "))
	}
	fmt.Fprintf(&file, `  promql_expr_test:
  - expr: count by (alertname) (last_over_time(ALERTS{alertstate="firing"}[30m]))
    eval_time: %dm
    exp_samples: [{labels: '{alertname="none"}', value: -1}]
`, int(lasts.Minutes()))
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

// spray tries one password on many accounts, from many addresses, and logs in to an account of the
// attacker's own in between.
func spray(s *stage) {
	for i := range 600 {
		from := fmt.Sprintf("198.51.100.%d", i%250)
		s.guess(from, s.accounts[50+i].Email)
		s.login(from, s.accounts[690].Email)
		time.Sleep(time.Second)
	}
}

// stuff tries a list of names that are mostly not those of accounts.
func stuff(s *stage) {
	for i := range 1000 {
		email := fmt.Sprintf("somebody%d@example.org", i)
		if i%20 == 0 {
			email = s.accounts[50+i/20].Email
		}
		s.guess(fmt.Sprintf("198.51.100.%d", i%250), email)
		time.Sleep(600 * time.Millisecond)
	}
}

// nothing more happens than on every other day.
func nothing(*stage) {}

const long, late = 100 * time.Minute, 85 * time.Minute // so that it is known what is usual

var scenes = map[string]scene{
	"a quiet day": {act: nothing},
	"a busy day":  {act: nothing, busy: true, lasts: long},

	"one password, tried on many accounts from many addresses": {act: spray, alerts: []string{"PasswordSpraying"}},
	"the same on a busy day":                                   {act: spray, alerts: []string{"PasswordSpraying"}, busy: true, lasts: long, after: late},

	"a list of names and passwords of another service": {act: stuff, alerts: []string{"CredentialStuffing"}},
	"the same list on a busy day":                      {act: stuff, alerts: []string{"CredentialStuffing"}, busy: true, lasts: long, after: late},

	"one account, guessed from many addresses": {act: func(s *stage) {
		for i := range 200 {
			s.guess(fmt.Sprintf("198.51.100.%d", i), s.accounts[60].Email)
			time.Sleep(3 * time.Second)
		}
	}, alerts: []string{"AccountsLockedOut"}},

	"a stolen refresh token": {act: func(s *stage) {
		_, stolen := s.login("192.0.2.99", s.accounts[60].Email)
		require.Equal(s.t, http.StatusOK, s.ask("192.0.2.99", refreshCall(stolen)).status)
		time.Sleep(time.Minute)
		require.Equal(s.t, http.StatusBadRequest, s.ask("198.51.100.1", refreshCall(stolen)).status)
	}, alerts: []string{"RefreshTokenReuse"}},

	"forged tokens": {act: func(s *stage) {
		token, _ := s.login("192.0.2.99", s.accounts[60].Email)
		for range 300 {
			s.ask("198.51.100.1", call{method: "GET", path: "/admin/users", token: token[:len(token)-4] + "AAAA"})
			time.Sleep(2 * time.Second)
		}
	}, alerts: []string{"ForgedTokens"}},

	"a full disk under the audit log": {act: func(s *stage) {
		s.store.logFails.Store(true)
		time.Sleep(5 * time.Minute)
		s.store.logFails.Store(false)
	}, alerts: []string{"AuditNotWritten"}},

	"nobody runs the audit log": {act: nothing, unkept: true, alerts: []string{"AuditNotWritten"}},

	"a flood that the audit log cannot hold": {act: func(s *stage) {
		s.store.logFails.Store(true)
		for i := range 9000 { // of as many addresses: equal events are one entry
			s.ask(fmt.Sprintf("198.51.%d.%d", i/250, i%250), call{method: "GET", path: "/users/me", token: "rubbish"})
		}
		time.Sleep(30 * time.Second)
		s.store.logFails.Store(false)
	}, alerts: []string{"AuditEventsLost"}},

	"a database that is down": {act: func(s *stage) {
		s.store.usersFail.Store(true)
		time.Sleep(3 * time.Minute)
		s.store.usersFail.Store(false)
	}, alerts: []string{"StoreFailing"}},

	"more logins than can be hashed": {act: func(s *stage) {
		atOnce := 200 + 20*runtime.GOMAXPROCS(0) // a processor hashes one, and 16 wait for it
		for range 10 {
			for i := range atOnce {
				go s.login(fmt.Sprintf("203.0.%d.%d", i/250, i%250), s.accounts[100+i%500].Email)
			}
			time.Sleep(20 * time.Second)
		}
	}, alerts: []string{"LoginsOverloaded"}},

	"a crash": {act: nothing, crashes: 12 * time.Minute, lasts: 30 * time.Minute, alerts: []string{"InstanceGone"}},
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
			require.ElementsMatch(t, c.alerts, play(t, promtool, c))
		})
	}
	for _, rule := range ruleNames(t) {
		require.Truef(t, covered[rule], "no scene makes %s fire", rule)
	}
	require.True(t, slices.Contains(ruleNames(t), "PasswordSpraying"))
}
