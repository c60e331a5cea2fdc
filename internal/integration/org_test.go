package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/org/orgsql"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/storetest"
)

// An orgApp is a program with organizations.
type orgApp struct {
	*org.Orgs
	kit   *authkit.Kit
	store org.Store
	calls *faults
	mu    sync.Mutex
	mails map[string]org.Invite // by address
}

func newOrgApp(t testing.TB, users storetest.TransactorStore, orgs org.Store) *orgApp {
	t.Helper()
	f := new(faults)
	a := &orgApp{store: orgs, calls: f, mails: map[string]org.Invite{}}
	wrapped, faulty := &faultyAccounts{users, f}, &faultyOrgs{orgs, f}
	a.kit = newKit(t, wrapped, wrapped, func(c *authkit.Config) {
		c.UserData = []authkit.UserData{org.UserData(faulty)}
		c.StoreTimeout, c.Sessions.ReuseGrace = 50*time.Second, time.Minute
		c.Sessions.ReuseGrace = time.Minute
	})
	var err error
	a.Orgs, err = org.New(a.kit, org.Config{Store: faulty, Send: func(_ context.Context, i org.Invite) error {
		if err := f.next("Send"); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.mails[i.Email] = i
		return nil
	}})
	require.NoError(t, err)
	return a
}

// onEachOrgs runs a test in memory and on each of the databases.
func onEachOrgs(t *testing.T, test func(t *testing.T, a *orgApp)) {
	t.Helper()
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		test(t, newOrgApp(t, authkit.NewMemoryStore(), org.NewMemoryStore()))
	})
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		test(t, newOrgApp(t, s, orgsql.New(s)))
	})
}

// A person is a user who has logged in.
type person struct {
	context.Context
	authkit.User
	token string
}

func (a *orgApp) person(t testing.TB, name string) person {
	t.Helper()
	u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: name + "@example.com"}, password)
	require.NoError(t, err)
	u, err = a.kit.VerifyEmail(t.Context(), u.ID, u.Email)
	require.NoError(t, err)
	token, err := a.kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	ctx, _, err := a.kit.IdentifyToken(t.Context(), token.AccessToken)
	require.NoError(t, err)
	return person{ctx, u, token.AccessToken}
}

// create returns the ID of a new organization of which all are owners.
func (a *orgApp) create(t testing.TB, name string, owners ...person) string {
	t.Helper()
	m, err := a.Create(owners[0], name)
	require.NoError(t, err)
	for _, p := range owners[1:] {
		a.join(t, owners[0], m.Org.ID, p, org.Owner)
	}
	return m.Org.ID
}

// join makes a person a member by an invitation.
func (a *orgApp) join(t testing.TB, inviter person, orgID string, p person, roles ...string) {
	t.Helper()
	_, err := a.Accept(p, a.invite(t, inviter, orgID, p.Email, roles...))
	require.NoError(t, err)
}

// invite returns the token of an invitation.
func (a *orgApp) invite(t testing.TB, inviter person, orgID, address string, roles ...string) string {
	t.Helper()
	_, err := a.Invite(inviter, orgID, address, roles...)
	require.NoError(t, err)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mails[address].Token
}

// owners returns the number of owners and of members.
func (a *orgApp) owners(t testing.TB, orgID string) (owners, members int) {
	t.Helper()
	list, err := a.store.Members(t.Context(), orgID, "", 1000)
	require.NoError(t, err)
	for _, m := range list {
		for _, role := range m.Roles {
			if role == org.Owner {
				owners++
			}
		}
	}
	return owners, len(list)
}

// OR-05: of owners that leave, give up their role or are deleted at once, one
// stays.
func TestOrgLastOwnerAtOnce(t *testing.T) {
	t.Parallel()
	onEachOrgs(t, func(t *testing.T, a *orgApp) {
		for name, leave := range map[string]func(orgID string, p person, next person) error{
			"leave":   func(orgID string, p, _ person) error { return a.Remove(p, orgID, p.ID) },
			"remove":  func(orgID string, p, next person) error { return a.Remove(p, orgID, next.ID) },
			"demote":  func(orgID string, p, _ person) error { _, err := a.SetRoles(p, orgID, p.ID, "member"); return err },
			"deleted": func(_ string, p, _ person) error { return a.kit.DeleteUser(t.Context(), p.ID) },
		} {
			const n = 4
			owners := make([]person, n)
			for i := range owners {
				owners[i] = a.person(t, fmt.Sprint(name, i))
			}
			member := a.person(t, name+"-member")
			id := a.create(t, name, owners...)
			a.join(t, owners[0], id, member, "member")
			var group sync.WaitGroup
			var succeeded atomic.Int32
			for i := range owners {
				group.Go(func() {
					err := leave(id, owners[i], owners[(i+1)%n])
					if err == nil {
						succeeded.Add(1)
					} else if !errors.Is(err, authkit.ErrLastOwner) && !errors.Is(err, authkit.ErrNotFound) && !errors.Is(err, authkit.ErrForbidden) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			group.Wait()
			left, members := a.owners(t, id)
			require.GreaterOrEqual(t, left, 1, name)
			if name != "remove" { // of which several can refuse each other
				require.Equal(t, 1, left, name)
				require.EqualValues(t, n-1, succeeded.Load(), name)
			}
			require.GreaterOrEqual(t, members, 2, name)
		}
	})
}

// OR-01: an invitation that is accepted many times at once is one membership.
func TestOrgAcceptedAtOnce(t *testing.T) {
	t.Parallel()
	onEachOrgs(t, func(t *testing.T, a *orgApp) {
		ann, bob := a.person(t, "ann"), a.person(t, "bob")
		id := a.create(t, "Acme", ann)
		token := a.invite(t, ann, id, bob.Email, "member")
		require.Equal(t, 1, atOnce(t, func(int) error { _, err := a.Accept(bob, token); return err }))
		_, members := a.owners(t, id)
		require.Equal(t, 2, members)
		pending, err := a.Invitations(ann, id)
		require.NoError(t, err)
		require.Empty(t, pending)
	})
}

// An interruptedOrgs calls functions before and after a change, once.
type interruptedOrgs struct {
	org.Store
	before, after func()
}

func (s *interruptedOrgs) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	before, after := s.before, s.after
	s.before, s.after = nil, nil
	if before != nil {
		before()
	}
	if after != nil {
		defer after()
	}
	return s.Store.Apply(ctx, id, version, c)
}

// An account that is deleted while it accepts an invitation leaves no membership
// behind, whichever is first.
func TestOrgAcceptedWhileDeleted(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, users storetest.TransactorStore, store org.Store, waits bool) {
		s := &interruptedOrgs{Store: store}
		a := newOrgApp(t, users, s)
		ann := a.person(t, "ann")
		id := a.create(t, "Acme", ann)
		for _, name := range []string{"before", "after"} {
			bob := a.person(t, name)
			token := a.invite(t, ann, id, bob.Email, "member")
			deleted := make(chan error, 1)
			remove := func() { go func() { deleted <- a.kit.DeleteUser(t.Context(), bob.ID) }() }
			if name == "after" {
				s.after = remove
			} else {
				s.before = func() {
					if remove(); !waits { // nothing of the acceptance is written yet
						deleted <- <-deleted
					}
				}
			}
			_, err := a.Accept(bob, token)
			if err != nil {
				require.ErrorIs(t, err, authkit.ErrForbidden, name)
			}
			require.NoError(t, <-deleted, name)
			_, members := a.owners(t, id)
			require.Equal(t, 1, members, name)
		}
	}
	t.Run("Memory", func(t *testing.T) {
		t.Parallel()
		run(t, authkit.NewMemoryStore(), org.NewMemoryStore(), true)
	})
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		run(t, s, orgsql.New(s), d.dialect == sqlstore.SQLite) // where writers wait for each other
	})
}

// A staleOrgs makes a change with an old version first.
type staleOrgs struct {
	org.Store
	stale bool
}

func (s *staleOrgs) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	if s.stale {
		s.stale = false
		version--
	}
	return s.Store.Apply(ctx, id, version, c)
}

// An organization is deleted in a transaction of the program also if it has
// changed meanwhile.
func TestOrgConflictWithinTransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		db := newStore(t, d)
		s := &staleOrgs{Store: orgsql.New(db)}
		a := newOrgApp(t, db, s)
		ann := a.person(t, "ann")
		id := a.create(t, "Acme", ann)
		s.stale = true
		require.NoError(t, a.kit.InTx(ann, func(ctx context.Context) error { return a.Delete(ctx, id) }))
		require.False(t, s.stale)
		_, _, err := s.Org(t.Context(), id)
		require.ErrorIs(t, err, authkit.ErrNotFound)
	})
}

// OR-04: a member of another organization reads and changes nothing, on any
// route.
func TestOrgOthersChangeNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		s := newStore(t, d)
		a := newOrgApp(t, s, orgsql.New(s))
		ann, bob, eve := a.person(t, "ann"), a.person(t, "bob"), a.person(t, "eve")
		id := a.create(t, "Acme", ann)
		a.join(t, ann, id, bob, "admin")
		other := a.create(t, "Other", eve)
		a.invite(t, ann, id, "new@example.com", "member")
		pending, err := a.Invitations(ann, id)
		require.NoError(t, err)
		mine := a.invite(t, eve, other, "eve2@example.com", org.Owner)
		mux := a.kit.NewMux()
		a.Mount(mux, "/orgs")
		mux.HandleFunc("GET /orgs/{org}/projects", a.Member(), func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secret")) })
		before := dumpOrgs(t, s)
		tried := 0
		for _, route := range mux.AccessMatrix() {
			if !strings.Contains(route.Pattern, "{org}") {
				continue
			}
			for _, ids := range []*strings.Replacer{
				strings.NewReplacer("{org}", id, "{user}", bob.ID, "{id}", pending[0].ID),
				strings.NewReplacer("{org}", id, "{user}", eve.ID, "{id}", pending[0].ID),
				strings.NewReplacer("{org}", other, "{user}", bob.ID, "{id}", pending[0].ID), // IDs of one under the other
				strings.NewReplacer("{org}", "nothing", "{user}", bob.ID, "{id}", "nothing"),
			} {
				path := ids.Replace(route.Pattern)
				if strings.HasPrefix(path, "/orgs/"+other) && !strings.Contains(route.Pattern, "{user}") && !strings.Contains(route.Pattern, "{id}") {
					continue // eve's own
				}
				tried++
				body := `{"roles": ["owner"]}`
				if route.Method == "POST" && strings.HasSuffix(path, "invitations") {
					body = `{"email": "eve@example.com", "roles": ["owner"]}`
				}
				r := httptest.NewRequestWithContext(t.Context(), route.Method, path, strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+eve.token)
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				require.Equal(t, 404, w.Code, "%s %s: %s", route.Method, path, w.Body)
				require.JSONEq(t, `{"type": "about:blank", "title": "Not Found", "status": 404, "detail": "Not found"}`, w.Body.String())
			}
		}
		require.GreaterOrEqual(t, tried, 25)
		for name, call := range map[string]func() error{ // the same by the methods
			"Members":     func() error { _, err := a.Members(eve, id, "", 0); return err },
			"SetRoles":    func() error { _, err := a.SetRoles(eve, id, bob.ID, org.Owner); return err },
			"Remove":      func() error { return a.Remove(eve, id, bob.ID) },
			"Leave":       func() error { return a.Remove(eve, id, eve.ID) },
			"Delete":      func() error { return a.Delete(eve, id) },
			"Invite":      func() error { _, err := a.Invite(eve, id, eve.Email, "member"); return err },
			"Invitations": func() error { _, err := a.Invitations(eve, id); return err },
			"Revoke":      func() error { return a.Revoke(eve, id, pending[0].ID) },
			"Foreign":     func() error { return a.Revoke(eve, other, pending[0].ID) },
			"Switch":      func() error { _, err := a.Switch(eve, id); return err },
		} {
			require.ErrorIs(t, call(), authkit.ErrNotFound, name)
		}
		require.Equal(t, before, dumpOrgs(t, s))
		require.NotContains(t, before, strings.Split(mine, ".")[1], "OR-01: the tables hold a hash")
	})
}

// dumpOrgs returns all rows of organizations.
func dumpOrgs(t *testing.T, s *sqlstore.DB) string {
	t.Helper()
	return dumpOf(t, s, "orgs") + dumpOf(t, s, "org_members") + dumpOf(t, s, "org_invitations") + dumpOf(t, s, "org_active")
}

// OR-06: a removal acts at the next request on every instance, and so does a
// change of roles.
func TestOrgRemovalOnEveryInstance(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		pool, again := d.open(t)
		first, second := storeOn(t, pool, d, nil), storeOn(t, again(t), d, nil)
		a, b := newOrgApp(t, first, orgsql.New(first)), newOrgApp(t, second, orgsql.New(second))
		ann, bob := a.person(t, "ann"), a.person(t, "bob")
		id := a.create(t, "Acme", ann)
		a.join(t, ann, id, bob, "admin")
		mux := b.kit.NewMux()
		mux.HandleFunc("GET /orgs/{org}", b.Member(org.ManageMembers), func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("GET /active", b.Active(), func(http.ResponseWriter, *http.Request) {})
		status := func(path string) int {
			r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
			r.Header.Set("Authorization", "Bearer "+bob.token)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			return w.Code
		}
		require.Equal(t, 404, status("/active"))
		_, err := a.Switch(bob, id) // OR-07
		require.NoError(t, err)
		require.Equal(t, 200, status("/active"))
		require.Equal(t, 200, status("/orgs/"+id))
		_, err = a.SetRoles(ann, id, bob.ID, "member")
		require.ErrorIs(t, err, nil)
		require.Equal(t, 403, status("/orgs/"+id))
		require.Equal(t, 200, status("/active"))
		require.NoError(t, a.Remove(ann, id, bob.ID))
		require.Equal(t, 404, status("/orgs/"+id))
		require.Equal(t, 404, status("/active"))
	})
}

// A faultyOrgs is a store of organizations whose calls can fail, before they have
// an effect.
type faultyOrgs struct {
	org.Store
	f *faults
}

func (s *faultyOrgs) CreateOrg(ctx context.Context, o org.Org, first org.Member) error {
	if err := s.f.next("CreateOrg"); err != nil {
		return err
	}
	return s.Store.CreateOrg(ctx, o, first)
}

func (s *faultyOrgs) Org(ctx context.Context, id string) (org.Org, int64, error) {
	if err := s.f.next("Org"); err != nil {
		return org.Org{}, 0, err
	}
	return s.Store.Org(ctx, id)
}

func (s *faultyOrgs) Apply(ctx context.Context, id string, version int64, c org.Change) error {
	if err := s.f.next("Apply"); err != nil {
		return err
	}
	return s.Store.Apply(ctx, id, version, c)
}

func (s *faultyOrgs) Member(ctx context.Context, orgID, userID string) (org.Member, error) {
	if err := s.f.next("Member"); err != nil {
		return org.Member{}, err
	}
	return s.Store.Member(ctx, orgID, userID)
}

func (s *faultyOrgs) Members(ctx context.Context, orgID, after string, limit int) ([]org.Member, error) {
	if err := s.f.next("Members"); err != nil {
		return nil, err
	}
	return s.Store.Members(ctx, orgID, after, limit)
}

func (s *faultyOrgs) HasOtherOwner(ctx context.Context, orgID, userID string) (bool, error) {
	if err := s.f.next("HasOtherOwner"); err != nil {
		return false, err
	}
	return s.Store.HasOtherOwner(ctx, orgID, userID)
}

func (s *faultyOrgs) Memberships(ctx context.Context, userID string) ([]org.Membership, error) {
	if err := s.f.next("Memberships"); err != nil {
		return nil, err
	}
	return s.Store.Memberships(ctx, userID)
}

func (s *faultyOrgs) Invitation(ctx context.Context, id string) (org.StoredInvitation, error) {
	if err := s.f.next("Invitation"); err != nil {
		return org.StoredInvitation{}, err
	}
	return s.Store.Invitation(ctx, id)
}

func (s *faultyOrgs) Invitations(ctx context.Context, orgID string) ([]org.Invitation, error) {
	if err := s.f.next("Invitations"); err != nil {
		return nil, err
	}
	return s.Store.Invitations(ctx, orgID)
}

func (s *faultyOrgs) SetActive(ctx context.Context, sessionID, orgID string, expires time.Time) error {
	if err := s.f.next("SetActive"); err != nil {
		return err
	}
	return s.Store.SetActive(ctx, sessionID, orgID, expires)
}

// An orgFault is a change of which a call fails. It returns the step and a
// function that reports whether the change was made.
type orgFault func(t *testing.T, a *orgApp, n int) (step func() error, done func() bool)

var orgFaults = map[string]orgFault{
	"Create": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p := a.person(t, fmt.Sprint("create", n))
		return func() error { _, err := a.Create(p, "Acme"); return err }, func() bool {
			list, err := a.List(p)
			require.NoError(t, err)
			return len(list) == 1
		}
	},
	"Invite": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p := a.person(t, fmt.Sprint("invite", n))
		id := a.create(t, "Acme", p)
		return func() error { _, err := a.Invite(p, id, "new@example.com", "member"); return err }, func() bool {
			list, err := a.Invitations(p, id)
			require.NoError(t, err)
			return len(list) == 1
		}
	},
	"Accept": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p, q := a.person(t, fmt.Sprint("inviter", n)), a.person(t, fmt.Sprint("invited", n))
		id := a.create(t, "Acme", p)
		token := a.invite(t, p, id, q.Email, "member")
		return func() error { _, err := a.Accept(q, token); return err }, a.members(t, id, 2)
	},
	"SetRoles": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p, q := a.person(t, fmt.Sprint("setter", n)), a.person(t, fmt.Sprint("changed", n))
		id := a.create(t, "Acme", p, q)
		return func() error { _, err := a.SetRoles(p, id, q.ID, "member"); return err }, func() bool {
			owners, _ := a.owners(t, id)
			return owners == 1
		}
	},
	"Remove": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p, q := a.person(t, fmt.Sprint("remover", n)), a.person(t, fmt.Sprint("removed", n))
		id := a.create(t, "Acme", p, q)
		return func() error { return a.Remove(p, id, q.ID) }, a.members(t, id, 1)
	},
	"Revoke": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p := a.person(t, fmt.Sprint("revoker", n))
		id := a.create(t, "Acme", p)
		a.invite(t, p, id, "new@example.com", "member")
		list, err := a.Invitations(p, id)
		require.NoError(t, err)
		return func() error { return a.Revoke(p, id, list[0].ID) }, func() bool {
			list, err := a.Invitations(p, id)
			require.NoError(t, err)
			return len(list) == 0
		}
	},
	"Delete": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p := a.person(t, fmt.Sprint("deleter", n))
		id := a.create(t, "Acme", p)
		return func() error { return a.Delete(p, id) }, a.members(t, id, 0)
	},
	"Switch": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p := a.person(t, fmt.Sprint("switcher", n))
		id := a.create(t, "Acme", p)
		return func() error { _, err := a.Switch(p, id); return err }, func() bool {
			list, err := a.List(p)
			require.NoError(t, err)
			return list[0].Active
		}
	},
	"DeleteUser": func(t *testing.T, a *orgApp, n int) (func() error, func() bool) {
		p := a.person(t, fmt.Sprint("leaver", n))
		id := a.create(t, "Acme", p)
		return func() error { return a.kit.DeleteUser(t.Context(), p.ID) }, a.members(t, id, 0)
	},
}

// members returns a function that reports whether an organization has a number of
// members.
func (a *orgApp) members(t *testing.T, id string, want int) func() bool {
	return func() bool { _, n := a.owners(t, id); return n == want }
}

// TestOrgFaults fails each call of a store in turn, the commit, and the mail. A
// step that fails changes nothing, and succeeds afterwards.
func TestOrgFaults(t *testing.T) {
	t.Parallel()
	onEachOrgs(t, func(t *testing.T, a *orgApp) {
		for name, prepare := range orgFaults {
			failed := 0
			for n := 1; ; n++ {
				step, done := prepare(t, a, n)
				a.calls.at(n)
				err := step()
				hit := a.calls.stop()
				if hit == "" {
					require.NoError(t, err, name)
					require.True(t, done(), name)
					break
				}
				failed++
				at := fmt.Sprintf("%s: call %d, %s", name, n, hit)
				require.True(t, errors.Is(err, authkit.ErrUnavailable) || errors.Is(err, errFault), "%s: %v", at, err)
				require.False(t, done(), at)
				require.NoError(t, step(), at)
				require.True(t, done(), at)
			}
			require.Greater(t, failed, 1, name)
		}
	})
}
