package doctor_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/doctor"
)

// Every test runs with a processor to spare for the hashes, as doctor.Check advises.
func TestMain(m *testing.M) {
	spareProcessor()
	m.Run()
}

func spareProcessor() { runtime.GOMAXPROCS(runtime.NumCPU() + 1) }

const testSecret = "0d7fa9c4e1b2835f96a0c7d4e8b1f352"

// quickHasher hashes quickly, and reads every scheme.
func quickHasher() authkit.Hasher {
	return authkit.Schemes(authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, authkit.PBKDF2SHA256{}, authkit.Argon2id{})
}

// newKit returns a Kit that logs nothing.
func newKit(t testing.TB, change ...func(*authkit.Config)) *authkit.Kit {
	t.Helper()
	cfg := authkit.Config{
		Secret:    []byte(testSecret),
		Passwords: authkit.PasswordConfig{Hasher: quickHasher()},
		Logger:    slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	kit, err := authkit.New(cfg)
	require.NoError(t, err)
	return kit
}

// goodConfig is a configuration whose only problem is that it keeps everything in memory.
func goodConfig(cfg *authkit.Config) {
	store := authkit.NewMemoryStore()
	cfg.Secret = []byte("f3b7c2c5a4d58e0196e2f7718e3a0b4cd2951c7f08e6a3b4975dd1c0e8f2a661")
	cfg.Users, cfg.Sessions.Store = store, store
	cfg.Passwords.Hasher = cannedHasher{authkit.Schemes(authkit.Bcrypt{}, authkit.PBKDF2SHA256{})}
	cfg.Roles = map[string][]string{"user": nil, "admin": {"users:write"}}
	cfg.Passwords.MinLength = 15
	cfg.Throttle = struct{ authkit.Throttle }{}
	cfg.Passwords.Check = func(context.Context, string, authkit.User) error { return nil }
}

// A cannedHasher returns a fixed hash of cost 12, which takes no time.
type cannedHasher struct{ authkit.Hasher }

func (cannedHasher) Hash(string) (authkit.PasswordHash, error) {
	return "$2a$12$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK", nil
}

// codes returns the findings, each as "WARN code".
func codes(found []authkit.Finding) []string {
	list := []string{}
	for _, f := range found {
		list = append(list, f.Severity.String()+" "+f.Code)
	}
	return list
}

func TestDoctorConfig(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	good := []string{"WARN memory_store"}
	for name, tc := range map[string]struct {
		change func(*authkit.Config)
		want   []string // all findings
	}{
		"nothing to fix": {func(*authkit.Config) {}, good},
		"a secret of words": {func(c *authkit.Config) { c.Secret = []byte("my-super-secret-signing-key-for-production") },
			[]string{"WARN weak_secret", "WARN memory_store"}},
		"a secret that repeats": {func(c *authkit.Config) { c.Secret = []byte("Passw0rd!Passw0rd!Passw0rd!Passw0rd!") },
			[]string{"ERROR weak_secret", "WARN memory_store"}},
		"sessions off": {func(c *authkit.Config) { c.Sessions.Store = nil },
			[]string{"WARN long_access_tokens", "WARN memory_store", "INFO sessions_off"}},
		"sessions off, and short tokens": {func(c *authkit.Config) { c.Sessions.Store, c.Tokens.Lifetime = nil, 15*time.Minute },
			[]string{"WARN memory_store", "INFO sessions_off"}},
		"long sessions": {func(c *authkit.Config) { c.Sessions.AbsoluteTimeout = 90 * 24 * time.Hour },
			[]string{"WARN memory_store", "INFO long_sessions"}},
		"others verify, and no audience": {func(c *authkit.Config) {
			c.Secret, c.Tokens.Keys = nil, []authkit.Key{{ID: "a", Algorithm: authkit.EdDSA, Private: private}}
		}, []string{"WARN no_audience", "WARN memory_store"}},
		"others verify": {func(c *authkit.Config) {
			c.Secret, c.Tokens.Keys = nil, []authkit.Key{{ID: "a", Algorithm: authkit.EdDSA, Private: private}}
			c.Tokens.Audience = "orders"
		}, good},
		"the e-mail as subject": {func(c *authkit.Config) { c.EmailSubject = true }, []string{"WARN memory_store", "INFO email_subject"}},
		"bcrypt for tests": {func(c *authkit.Config) { c.Passwords.Hasher = quickHasher() },
			[]string{"ERROR low_cost", "WARN memory_store"}},
		"bcrypt of cost 10": {func(c *authkit.Config) { c.Passwords.Hasher = authkit.Bcrypt{Cost: 10} },
			[]string{"WARN low_cost", "WARN memory_store"}},
		"PBKDF2 for tests": {func(c *authkit.Config) {
			c.Passwords.Hasher = authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}
		},
			[]string{"ERROR low_cost", "WARN memory_store"}},
		"Argon2id for tests": {func(c *authkit.Config) {
			c.Passwords.Hasher = authkit.Argon2id{Time: 1, MemoryKiB: 64, Threads: 1, InsecureLowCost: true}
		}, []string{"ERROR low_cost", "WARN memory_store"}},
		"Argon2id": {func(c *authkit.Config) { c.Passwords.Hasher = authkit.Argon2id{} }, good},
		"the least Argon2id of OWASP": {func(c *authkit.Config) { c.Passwords.Hasher = authkit.Argon2id{Time: 5, MemoryKiB: 7 << 10} },
			good},
		"a hasher of the program that wraps one": {func(c *authkit.Config) { c.Passwords.Hasher = struct{ authkit.Hasher }{authkit.Bcrypt{Cost: 11}} },
			[]string{"WARN low_cost", "WARN memory_store"}},
		"a hasher of the program": {func(c *authkit.Config) { c.Passwords.Hasher = ownHasher{} }, []string{"WARN memory_store", "INFO other_hasher"}},
		"no list of passwords":    {func(c *authkit.Config) { c.Passwords.Check = nil }, []string{"WARN unchecked_passwords", "WARN memory_store"}},
		"short passwords":         {func(c *authkit.Config) { c.Passwords.MinLength = 0 }, []string{"WARN memory_store", "INFO short_passwords"}},
		"no throttle":             {func(c *authkit.Config) { c.Throttle = nil }, []string{"WARN no_throttle", "WARN memory_store"}},
		"no role table":           {func(c *authkit.Config) { c.Roles = nil }, []string{"WARN memory_store", "INFO no_role_table"}},
		"sessions in memory": {func(c *authkit.Config) { c.Users = struct{ authkit.UserStore }{c.Users} },
			[]string{"WARN memory_sessions", "INFO no_tickets"}},
		"accounts in memory": {func(c *authkit.Config) { c.Sessions.Store = struct{ authkit.SessionStore }{c.Sessions.Store} },
			[]string{"ERROR sessions_outlive_accounts", "WARN memory_store"}},
		"two databases": {func(c *authkit.Config) {
			c.Users, c.Sessions.Store = struct{ authkit.UserStore }{c.Users}, struct{ authkit.SessionStore }{c.Sessions.Store}
		}, []string{"INFO no_tickets", "INFO stores_apart"}},
		"tickets in memory": {func(c *authkit.Config) {
			store := struct {
				authkit.UserStore
				authkit.SessionStore
			}{c.Users, c.Sessions.Store}
			c.Users, c.Sessions.Store, c.Tickets = store, store, authkit.NewMemoryStore()
		}, []string{"WARN memory_tickets"}},
		"tickets nowhere": {func(c *authkit.Config) {
			store := struct {
				authkit.UserStore
				authkit.SessionStore
			}{c.Users, c.Sessions.Store}
			c.Users, c.Sessions.Store = store, store
		}, []string{"INFO no_tickets"}},
		"a second factor": {func(c *authkit.Config) { c.SecondFactors = []authkit.SecondFactor{factor{}} }, good},
		"a second factor, and no throttle": {func(c *authkit.Config) {
			c.SecondFactors, c.Throttle = []authkit.SecondFactor{factor{}}, nil
		}, []string{"ERROR unthrottled_factors", "WARN no_throttle", "WARN memory_store"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit := newKit(t, goodConfig, tc.change)
			found := doctor.Check(t.Context(), kit)
			require.Equal(t, tc.want, codes(found))
			for _, f := range found {
				require.NotEmpty(t, f.Text)
				require.NotEmpty(t, f.Fix)
			}
		})
	}
}

// factor is a second factor that no user has set up.
type factor struct{}

func (factor) Method() string                                 { return "otp" }
func (factor) Enrolled(context.Context, string) (bool, error) { return false, nil }
func (factor) Verify(context.Context, string, string) error   { return authkit.ErrInvalidCode }

// ownHasher is a scheme that the library does not have.
type ownHasher struct{}

func (ownHasher) Hash(string) (authkit.PasswordHash, error)        { return "$own$", nil }
func (ownHasher) Verify(string, authkit.PasswordHash) error        { return authkit.ErrPasswordMismatch }
func (ownHasher) NeedsRehash(h authkit.PasswordHash) (bool, error) { return false, nil }

// HA-12. Not parallel: it changes GOMAXPROCS.
func TestDoctorHashes(t *testing.T) {
	t.Cleanup(spareProcessor)
	cores := runtime.NumCPU()
	byDefault := []string{"WARN memory_store", "INFO hashes_leave_a_core"}
	if cores == 1 {
		byDefault = []string{"WARN hashes_take_all", "WARN memory_store"}
	}
	for name, tc := range map[string]struct {
		procs, hashes int
		want          []string // all findings
	}{
		"one processor for the hash and all else": {1, 0, []string{"WARN hashes_take_all", "WARN memory_store"}},
		"as many processors as cores":             {cores, 0, byDefault},
		"a processor to spare":                    {cores + 1, 0, []string{"WARN memory_store"}},
		"many processors":                         {cores + 8, 0, []string{"WARN memory_store"}},
		"a lower number is meant":                 {cores + 3, 1, []string{"WARN memory_store"}},
		"a hash for each processor":               {cores + 1, cores + 1, []string{"WARN hashes_take_all", "WARN memory_store"}},
	} {
		runtime.GOMAXPROCS(tc.procs)
		kit := newKit(t, goodConfig, func(c *authkit.Config) { c.Passwords.MaxConcurrentHashes = tc.hashes })
		require.Equal(t, tc.want, codes(doctor.Check(t.Context(), kit)), name)
	}
}

// source is an authkit.KeySource that a test changes.
type source struct {
	keys []authkit.Key
	err  error
}

func (s *source) Keys(context.Context) ([]authkit.Key, time.Duration, error) {
	return s.keys, time.Hour, s.err
}

func TestDoctorKeys(t *testing.T) {
	t.Parallel()
	key := func(id string) authkit.Key {
		_, private, err := ed25519.GenerateKey(nil)
		require.NoError(t, err)
		return authkit.Key{ID: id, Algorithm: authkit.EdDSA, Private: private}
	}
	keys := []authkit.Key{key("a"), key("b"), key("c")}
	ring, err := authkit.NewKeyRing(keys...)
	require.NoError(t, err)
	kit := newKit(t, goodConfig, func(c *authkit.Config) { c.Secret, c.Tokens.Ring, c.Tokens.Audience = nil, ring, "orders" })
	require.Contains(t, codes(doctor.Check(t.Context(), kit)), "INFO many_keys")

	require.NoError(t, ring.Replace())
	require.Equal(t, []string{"ERROR no_signing_key", "ERROR no_keys", "WARN memory_store"}, codes(doctor.Check(t.Context(), kit)))

	synctest.Test(t, func(t *testing.T) {
		source := &source{keys: keys}
		ring := authkit.NewKeyRingFrom(source, func(error) {})
		require.NoError(t, ring.Fetch(t.Context()))
		kit := newKit(t, goodConfig, func(c *authkit.Config) { c.Secret, c.Tokens.Ring, c.Tokens.Audience = nil, ring, "orders" })
		source.err = errors.New("down")
		time.Sleep(24 * time.Hour)
		require.Equal(t, []string{"ERROR no_keys", "WARN memory_store"}, codes(doctor.Check(t.Context(), kit)))
	})
}

// The data in the stores shows problems that no setting shows.
func TestDoctorData(t *testing.T) {
	t.Parallel()
	const old = "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk"
	at := time.Now().UTC()
	for name, tc := range map[string]struct {
		users    []authkit.StoredUser
		sessions func(userID string) authkit.Session
		want     string
		text     string // part of the finding
	}{
		"nothing": {},
		"due": {users: []authkit.StoredUser{{PasswordHash: old}, {PasswordHash: old}, {PasswordHash: ""}},
			want: "WARN hashes_due", text: "of the first 3 accounts, 2 have"},
		"unreadable": {users: []authkit.StoredUser{{PasswordHash: "md5:5f4dcc3b5aa765d61d8327deb882cf99"}},
			want: "ERROR unreadable_hashes", text: "of the first 1 accounts, 1 have"},
		"roles": {users: []authkit.StoredUser{{User: authkit.User{Roles: []string{"user", "admni"}}}},
			want: "WARN unknown_roles", text: "1 have a role"},
		"some addresses are verified": {users: []authkit.StoredUser{{User: authkit.User{EmailVerifiedAt: at}}, {}},
			want: "INFO unverified_logins", text: "1 have verified their e-mail address, and 1 can log in without"},
		"no address is verified":     {users: make([]authkit.StoredUser, 2)},
		"all addresses are verified": {users: []authkit.StoredUser{{User: authkit.User{EmailVerifiedAt: at}}}},
		"an account of tomorrow":     {users: []authkit.StoredUser{{User: authkit.User{CreatedAt: at.Add(time.Hour)}}}, want: "ERROR clock_skew"},
		"a cut-off of tomorrow":      {users: []authkit.StoredUser{{TokensValidAfter: at.Add(time.Hour)}}, want: "ERROR clock_skew"},
		"a session of tomorrow": {users: make([]authkit.StoredUser, 1), want: "ERROR clock_skew",
			sessions: func(string) authkit.Session {
				return authkit.Session{LastUsedAt: at.Add(time.Hour), ExpiresAt: at.Add(2 * time.Hour)}
			}},
		"no instance calls Run": {users: make([]authkit.StoredUser, 1), want: "WARN expired_sessions", text: "there are 1 sessions",
			sessions: func(string) authkit.Session { return authkit.Session{ExpiresAt: at.Add(-2 * time.Hour)} }},
		"a proxy": {users: make([]authkit.StoredUser, 5), want: "WARN one_address", text: `"10.0.0.7"`,
			sessions: func(string) authkit.Session {
				return authkit.Session{Address: "10.0.0.7", ExpiresAt: at.Add(time.Hour)}
			}},
		"a small office": {users: make([]authkit.StoredUser, 4),
			sessions: func(string) authkit.Session {
				return authkit.Session{Address: "10.0.0.7", ExpiresAt: at.Add(time.Hour)}
			}},
		"unknown addresses": {users: make([]authkit.StoredUser, 5),
			sessions: func(string) authkit.Session { return authkit.Session{ExpiresAt: at.Add(time.Hour)} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := authkit.NewMemoryStore()
			for i, u := range tc.users {
				u.ID, u.Email = authkit.NewUserID(), fmt.Sprintf("user%d@example.com", i)
				require.NoError(t, store.CreateUser(t.Context(), u))
				if tc.sessions != nil {
					s := tc.sessions(u.ID)
					s.ID, s.UserID = fmt.Sprint("session", i), u.ID
					require.NoError(t, store.CreateSession(t.Context(), authkit.StoredSession{Session: s}, 10))
				}
			}
			kit := newKit(t, goodConfig, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store })
			want := []string{"WARN memory_store"}
			if strings.HasPrefix(tc.want, "ERROR") {
				want = append([]string{tc.want}, want...)
			} else if tc.want != "" {
				want = append(want, tc.want)
			}
			found := doctor.Check(t.Context(), kit)
			require.Equal(t, want, codes(found))
			if tc.text != "" {
				require.Contains(t, fmt.Sprint(found), tc.text)
			}
			require.NotRegexp(t, `user\d@example|pbkdf2-sha256\$`, fmt.Sprint(found), "an account, or a hash")
		})
	}
}

// A million accounts take no longer than a thousand.
func TestDoctorIsBounded(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	for i := range 1300 {
		u := authkit.StoredUser{User: authkit.User{ID: fmt.Sprintf("%05d", i), Email: fmt.Sprintf("u%d@example.com", i)}, PasswordHash: "broken"}
		require.NoError(t, store.CreateUser(t.Context(), u))
	}
	kit := newKit(t, goodConfig, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store })
	require.Contains(t, fmt.Sprint(doctor.Check(t.Context(), kit)), "of the first 1000 accounts, 1000 have")
}

// A talkingStore reports a problem, and counts the calls.
type talkingStore struct {
	*authkit.MemoryStore
	asked *int
	err   error
}

func (s talkingStore) Doctor(ctx context.Context) []authkit.Finding {
	*s.asked++
	if _, ok := ctx.Deadline(); !ok {
		return []authkit.Finding{{Code: "no_deadline", Severity: slog.LevelError}}
	}
	return []authkit.Finding{{Code: "pending_migrations", Severity: slog.LevelError, Text: "2 migrations are pending", Fix: "run them"}}
}

func (s talkingStore) ListUsers(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.MemoryStore.ListUsers(ctx, q)
}

type wrappedUsers struct {
	authkit.UserStore
	inside any
}

func (w wrappedUsers) Unwrap() any { return w.inside }

type wrappedSessions struct {
	authkit.SessionStore
	inside any
}

func (w wrappedSessions) Unwrap() any { return w.inside }

// A store that is both Users and Sessions.Store is asked once.
func TestDoctorAsksStores(t *testing.T) {
	t.Parallel()
	asked := 0
	store := talkingStore{authkit.NewMemoryStore(), &asked, nil}
	kit := newKit(t, goodConfig, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, store })
	require.Equal(t, []string{"ERROR pending_migrations"}, codes(doctor.Check(t.Context(), kit)))
	require.Equal(t, 1, asked)

	asked = 0 // once too if each is wrapped
	kit = newKit(t, goodConfig, func(c *authkit.Config) {
		c.Users, c.Sessions.Store = wrappedUsers{store, store}, wrappedSessions{store, store}
	})
	require.Equal(t, []string{"ERROR pending_migrations", "INFO no_tickets"}, codes(doctor.Check(t.Context(), kit)))
	require.Equal(t, 1, asked)

	store.err = errors.New("the disk is on fire")
	kit = newKit(t, goodConfig, func(c *authkit.Config) { c.Users, c.Sessions.Store = store, authkit.SessionStore(&store) })
	asked = 0
	found := doctor.Check(t.Context(), kit)
	require.Equal(t, []string{"ERROR unavailable", "ERROR pending_migrations", "ERROR pending_migrations", "INFO stores_apart"}, codes(found))
	require.Equal(t, 2, asked)
	require.Contains(t, found[0].Text, "the disk is on fire")
}

// A talkingThrottle reports a problem.
type talkingThrottle struct{ authkit.Throttle }

func (talkingThrottle) Doctor(ctx context.Context) []authkit.Finding {
	return talkingStore{asked: new(int)}.Doctor(ctx)
}

// The throttle is asked with a deadline, as stores are.
func TestDoctorAsksTheThrottle(t *testing.T) {
	t.Parallel()
	kit := newKit(t, goodConfig, func(c *authkit.Config) { c.Throttle = talkingThrottle{} })
	require.Equal(t, []string{"ERROR pending_migrations", "WARN memory_store"}, codes(doctor.Check(t.Context(), kit)))
}

// A talkingPart is every other part that reports its problems.
type talkingPart struct {
	factor
	name string
}

func (p talkingPart) Doctor(ctx context.Context) []authkit.Finding {
	return []authkit.Finding{{Code: p.name, Severity: slog.LevelInfo}}
}

func (talkingPart) Authenticate(*http.Request) (authkit.Credential, error) {
	return authkit.Credential{}, authkit.ErrNoCredentials
}
func (talkingPart) Challenge() string { return "" }

// Every part with a method Doctor is asked once.
func TestDoctorAsksEveryPart(t *testing.T) {
	t.Parallel()
	kit := newKit(t, goodConfig, func(c *authkit.Config) {
		c.SecondFactors = []authkit.SecondFactor{talkingPart{name: "factor"}}
		c.Authenticators = []authkit.Authenticator{talkingPart{name: "keys"}, talkingPart{name: "keys"}, talkingPart{name: "certificates"}}
	})
	require.Equal(t, []string{"WARN memory_store", "INFO factor", "INFO keys", "INFO certificates"}, codes(doctor.Check(t.Context(), kit)))
}
