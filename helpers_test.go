package authkit_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/refresh"
)

const testSecret = "0d7fa9c4e1b2835f96a0c7d4e8b1f352"

// quickHasher is the default chain with a primary scheme that is quick.
func quickHasher() authkit.Hasher {
	return authkit.Schemes(quickBcrypt, authkit.PBKDF2SHA256{}, authkit.Argon2id{})
}

var quickBcrypt = authkit.Bcrypt{Cost: 4, InsecureLowCost: true}

// newKit returns a Kit for tests: quick hashes, a secret, and events that go nowhere
// unless a change such as [recorder.listen] says where.
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
	cfg.OnEvent = append(cfg.OnEvent, scanned(t))
	kit, err := authkit.New(cfg)
	require.NoError(t, err)
	return kit
}

// secretTexts matches what no event and no line of a log may hold: a hash of any scheme, an access
// token, a refresh token, and the passwords that the tests log in with. The ID of a session, which
// is 22 letters, may begin as a token does.
var secretTexts = regexp.MustCompile(`\$2[abxy]\$\d\d\$|\$pbkdf2-sha256\$|\$argon2id\$|pbkdf2_sha256\$` +
	`|(?:^|[^A-Za-z0-9_-])(?:eyJ[A-Za-z0-9_-]{20}|ak[rsp]_[A-Za-z0-9_-]{19})` +
	`|(?:^|[^a-z])(?:` + regexp.QuoteMeta(password) + `|` + regexp.QuoteMeta(loginPassword) + `)(?:[^a-z]|$)|` + testSecret)

// scanned returns a listener that looks at every event of a test, as it is logged and in all of
// its members (AU-03).
func scanned(t testing.TB) func(context.Context, authkit.Event) {
	return func(ctx context.Context, e authkit.Event) {
		var line strings.Builder
		authkit.LogEvents(slog.New(slog.NewTextHandler(&line, &slog.HandlerOptions{Level: slog.LevelDebug})))(ctx, e)
		_, _ = fmt.Fprintf(&line, "%+v %#v", e, authkit.ClientFrom(ctx))
		if found := secretTexts.FindString(line.String()); found != "" {
			t.Errorf("an event holds a secret, %.12q: %s", found, line.String())
		}
	}
}

func TestScannedFindsSecrets(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	u := addUser(t, kit, "scan@example.com", password)
	token, err := kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	for _, secret := range []string{token.AccessToken, token.AccessToken[:30], "the password " + password, string(bcryptHash(t, "x", 4)), testSecret, refresh.New().Text(), refresh.New().CookieText(false), refresh.New().CookieText(true)} {
		require.NotEmpty(t, secretTexts.FindString("error="+secret))
	}
	for _, fine := range []string{u.ID, token.User.ID, "authn_login_fail", "q-eyJabc", "eyJmHURntxbsLj5Ry1_nVg", "akr_HURntxbsLj5Ry1_nVg", "wrong_password"} {
		require.Empty(t, secretTexts.FindString("x="+fine))
	}
}

// addUser makes an account and returns it.
func addUser(t testing.TB, kit *authkit.Kit, email, password string, roles ...string) authkit.User {
	t.Helper()
	u, err := kit.CreateUser(context.Background(), authkit.User{Email: email, Roles: roles}, password)
	require.NoError(t, err)
	return u
}

// A recorder keeps events. Its zero value is ready for use:
//
//	var events recorder
//	kit := newKit(t, events.listen)
type recorder struct {
	mu   sync.Mutex
	seen []authkit.Event
}

// listen is a change for [newKit].
func (r *recorder) listen(c *authkit.Config) {
	c.OnEvent = []func(context.Context, authkit.Event){r.record}
}

// record is a Config.OnEvent.
func (r *recorder) record(_ context.Context, e authkit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, e)
}

// all returns the events so far.
func (r *recorder) all() []authkit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// kinds returns the kinds of the events so far.
func (r *recorder) kinds() []authkit.EventKind {
	var kinds []authkit.EventKind
	for _, e := range r.all() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// last returns the latest event, or the zero Event.
func (r *recorder) last() authkit.Event {
	all := r.all()
	if len(all) == 0 {
		return authkit.Event{}
	}
	return all[len(all)-1]
}

// reset forgets the events so far.
func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

// A hookStore is a store with methods that a test may replace.
type hookStore struct {
	authkit.UserStore
	byEmail func(ctx context.Context, email string) (authkit.StoredUser, error)
	byID    func(ctx context.Context, id string) (authkit.StoredUser, error)
	create  func(ctx context.Context, u authkit.StoredUser) error
	update  func(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error)
}

// newHookStore returns a MemoryStore with nothing replaced yet.
func newHookStore() *hookStore {
	s := authkit.NewMemoryStore()
	return &hookStore{UserStore: s, byEmail: s.UserByEmail, byID: s.UserByID, create: s.CreateUser, update: s.UpdateUser}
}

// listen is a change for [newKit].
func (s *hookStore) listen(c *authkit.Config) { c.Users = s }

func (s *hookStore) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	return s.byEmail(ctx, email)
}

func (s *hookStore) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	return s.byID(ctx, id)
}

func (s *hookStore) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	return s.create(ctx, u)
}

func (s *hookStore) UpdateUser(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
	return s.update(ctx, id, change, at)
}

// noted returns a handler that keeps the principal of each request.
func noted(p *authkit.Principal) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { *p, _ = authkit.PrincipalFrom(r.Context()) })
}
