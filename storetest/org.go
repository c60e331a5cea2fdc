package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/org"
)

// TestOrgStore tests an implementation of [org.Store] against the contract in
// that interface's comment. The function open returns an empty store that no
// other test uses; it may register a cleanup. The subtests run in parallel.
func TestOrgStore(t *testing.T, open func(t *testing.T) org.Store) {
	for name, test := range map[string]func(*testing.T, org.Store){
		"Create":           testOrgCreate,
		"Members":          testOrgMembers,
		"Pages":            testOrgPages,
		"Owners":           testOrgOwners,
		"Memberships":      testOrgMemberships,
		"Versions":         testOrgVersions,
		"VersionsAtOnce":   testOrgVersionsAtOnce,
		"Invitations":      testOrgInvitations,
		"OtherOrgs":        testOrgOthers,
		"Delete":           testOrgDelete,
		"Active":           testOrgActive,
		"Expired":          testOrgExpired,
		"BrokenIDs":        testOrgBrokenIDs,
		"SharesNoMemory":   testOrgSharesNoMemory,
		"CancelledContext": testOrgCancelledContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func newMember(orgID, userID string, roles ...string) org.Member {
	return org.Member{OrgID: orgID, UserID: userID, Roles: roles, JoinedAt: start.Add(123456 * time.Microsecond)}
}

func newOrg(id string) org.Org {
	return org.Org{ID: id, Name: "The Größe of " + id, CreatedAt: start.Add(654321 * time.Microsecond)}
}

func newInvitation(orgID, id string) org.StoredInvitation {
	return org.StoredInvitation{
		Invitation: org.Invitation{
			ID: id, OrgID: orgID, Email: id + "@example.com", Roles: []string{"admin", "member"}, InvitedBy: "ann",
			CreatedAt: start.Add(123456 * time.Microsecond), ExpiresAt: start.Add(time.Hour + 123456*time.Microsecond),
		},
		Hash: [32]byte{0, 1, 0xff, 31: 7},
	}
}

// createOrg creates an organization whose owner is "ann".
func createOrg(t *testing.T, s org.Store, id string) {
	t.Helper()
	if err := s.CreateOrg(t.Context(), newOrg(id), newMember(id, "ann", org.Owner)); err != nil {
		t.Fatalf("CreateOrg(%s): %v", id, err)
	}
}

func versionOf(t *testing.T, s org.Store, id string) int64 {
	t.Helper()
	_, version, err := s.Org(t.Context(), id)
	if err != nil {
		t.Fatalf("Org(%s): %v", id, err)
	}
	return version
}

func applyOrg(t *testing.T, s org.Store, id string, c org.Change) {
	t.Helper()
	if err := s.Apply(t.Context(), id, versionOf(t, s, id), c); err != nil {
		t.Fatalf("Apply(%s): %v", id, err)
	}
}

func equalMember(a, b org.Member) bool {
	return a.OrgID == b.OrgID && a.UserID == b.UserID && slices.Equal(a.Roles, b.Roles) && a.JoinedAt.Equal(b.JoinedAt)
}

func hasMember(t *testing.T, s org.Store, want org.Member) {
	t.Helper()
	got, err := s.Member(t.Context(), want.OrgID, want.UserID)
	if err != nil || !equalMember(got, want) {
		t.Fatalf("Member: %+v, %v; want %+v", got, err, want)
	}
}

func noMember(t *testing.T, s org.Store, orgID, userID string) {
	t.Helper()
	if got, err := s.Member(t.Context(), orgID, userID); !errors.Is(err, authkit.ErrNotFound) {
		t.Fatalf("Member(%q, %q): %+v, %v; want ErrNotFound", orgID, userID, got, err)
	}
}

func testOrgCreate(t *testing.T, s org.Store) {
	if _, _, err := s.Org(t.Context(), "a"); !errors.Is(err, authkit.ErrNotFound) {
		t.Fatalf("Org of nothing: %v; want ErrNotFound", err)
	}
	createOrg(t, s, "a")
	got, version, err := s.Org(t.Context(), "a")
	if want := newOrg("a"); err != nil || version != 1 || got.ID != want.ID || got.Name != want.Name || !got.CreatedAt.Equal(want.CreatedAt) {
		t.Fatalf("Org: %+v, version %d, %v", got, version, err)
	}
	hasMember(t, s, newMember("a", "ann", org.Owner))
	for _, id := range []string{"a", ""} {
		if err := s.CreateOrg(t.Context(), newOrg(id), newMember(id, "bob", org.Owner)); err == nil {
			t.Errorf("the ID %q was stored", id)
		}
	}
	noMember(t, s, "a", "bob")
	createOrg(t, s, "A") // compared byte by byte
	noMember(t, s, "a", "Ann")
}

func testOrgMembers(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	bob := newMember("a", "bob", "admin", "member")
	applyOrg(t, s, "a", org.Change{PutMember: &bob})
	hasMember(t, s, bob)
	bob.Roles = []string{"member"}
	applyOrg(t, s, "a", org.Change{PutMember: &bob})
	hasMember(t, s, bob)
	if list, err := s.Members(t.Context(), "a", "", 10); err != nil || len(list) != 2 {
		t.Fatalf("Members: %+v, %v; want 2", list, err)
	}
	applyOrg(t, s, "a", org.Change{RemoveMember: "bob"})
	noMember(t, s, "a", "bob")
	hasMember(t, s, newMember("a", "ann", org.Owner))
	applyOrg(t, s, "a", org.Change{RemoveMember: "nobody"})
}

func testOrgPages(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	for _, id := range []string{"dora", "Bob", "carl"} {
		applyOrg(t, s, "a", org.Change{PutMember: new(newMember("a", id, "member"))})
	}
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 10, []string{"Bob", "ann", "carl", "dora"}}, {"", 2, []string{"Bob", "ann"}}, {"ann", 2, []string{"carl", "dora"}},
		{"b", 10, []string{"carl", "dora"}}, {"dora", 10, nil}, {"", 0, nil}, {"", -1, nil},
	} {
		list, err := s.Members(t.Context(), "a", c.after, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range list {
			if got = append(got, m.UserID); m.OrgID != "a" || m.JoinedAt.IsZero() || len(m.Roles) != 1 {
				t.Errorf("Members: %+v", m)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("Members(%q, %d): %q, want %q", c.after, c.limit, got, c.want)
		}
	}
}

func testOrgOwners(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	createOrg(t, s, "b")
	applyOrg(t, s, "b", org.Change{PutMember: new(newMember("b", "carl", org.Owner))})
	has := func(userID string, want bool) {
		t.Helper()
		if got, err := s.HasOtherOwner(t.Context(), "a", userID); err != nil || got != want {
			t.Fatalf("HasOtherOwner(%s): %v, %v; want %v", userID, got, err, want)
		}
	}
	has("ann", false)
	has("bob", true)
	applyOrg(t, s, "a", org.Change{PutMember: new(newMember("a", "bob", "owners", "co-owner"))})
	has("ann", false)
	applyOrg(t, s, "a", org.Change{PutMember: new(newMember("a", "bob", "member", org.Owner))})
	has("ann", true)
	applyOrg(t, s, "a", org.Change{PutMember: new(newMember("a", "bob", "member"))})
	has("ann", false)
}

func testOrgMemberships(t *testing.T, s org.Store) {
	createOrg(t, s, "b")
	createOrg(t, s, "a")
	applyOrg(t, s, "a", org.Change{PutMember: new(newMember("a", "bob", "member"))})
	got, err := s.Memberships(t.Context(), "ann")
	if err != nil || len(got) != 2 || got[0].Org.ID != "a" || got[1].Org.ID != "b" {
		t.Fatalf("Memberships: %+v, %v; want a and b", got, err)
	}
	if m, want := got[1], newOrg("b"); m.Org.Name != want.Name || !m.Org.CreatedAt.Equal(want.CreatedAt) || !slices.Equal(m.Roles, []string{org.Owner}) || !m.JoinedAt.Equal(newMember("", "").JoinedAt) {
		t.Fatalf("Memberships: %+v", m)
	}
	applyOrg(t, s, "a", org.Change{RemoveMember: "bob"})
	if got, err := s.Memberships(t.Context(), "bob"); err != nil || len(got) != 0 {
		t.Fatalf("Memberships after removal: %+v, %v", got, err)
	}
}

func testOrgVersions(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	bob := newMember("a", "bob", "member")
	for _, version := range []int64{0, 2, -1} {
		c := org.Change{PutMember: &bob, RemoveMember: "ann", PutInvitation: new(newInvitation("a", "i")), Delete: true}
		if err := s.Apply(t.Context(), "a", version, c); !errors.Is(err, org.ErrConflict) {
			t.Errorf("Apply with version %d: %v; want ErrConflict", version, err)
		}
	}
	if err := s.Apply(t.Context(), "nothing", 1, org.Change{}); !errors.Is(err, org.ErrConflict) {
		t.Errorf("Apply to nothing: %v; want ErrConflict", err)
	}
	noMember(t, s, "a", "bob")
	hasMember(t, s, newMember("a", "ann", org.Owner))
	if _, err := s.Invitation(t.Context(), "i"); !errors.Is(err, authkit.ErrNotFound) {
		t.Errorf("Invitation: %v", err)
	}
	if v := versionOf(t, s, "a"); v != 1 {
		t.Errorf("version %d after conflicts, want 1", v)
	}
	for want := int64(2); want < 4; want++ {
		applyOrg(t, s, "a", org.Change{})
		if v := versionOf(t, s, "a"); v != want {
			t.Errorf("version %d, want %d", v, want)
		}
	}
}

// testOrgVersionsAtOnce: of several callers with one version, one succeeds, and
// only its change is there.
func testOrgVersionsAtOnce(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	for version := int64(1); version < 4; version++ {
		var won atomic.Int32
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				m := newMember("a", string(rune('a'+i))+string(rune('0'+version)), "member")
				switch err := s.Apply(t.Context(), "a", version, org.Change{PutMember: &m}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, org.ErrConflict):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := won.Load(); n != 1 {
			t.Fatalf("%d callers changed version %d", n, version)
		}
		if list, err := s.Members(t.Context(), "a", "", 100); err != nil || int64(len(list)) != version+1 {
			t.Fatalf("%d members, %v; want %d", len(list), err, version+1)
		}
	}
}

func testOrgInvitations(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	want := newInvitation("a", "i")
	applyOrg(t, s, "a", org.Change{PutInvitation: &want})
	applyOrg(t, s, "a", org.Change{PutInvitation: new(newInvitation("a", "I"))}) // compared byte by byte
	got, err := s.Invitation(t.Context(), "i")
	if err != nil || !bytes.Equal(got.Hash[:], want.Hash[:]) || !equalInvitation(got.Invitation, want.Invitation) {
		t.Fatalf("Invitation: %+v, %x, %v", got, got.Hash, err)
	}
	list, err := s.Invitations(t.Context(), "a")
	if err != nil || len(list) != 2 || list[0].ID != "I" || !equalInvitation(list[1], want.Invitation) {
		t.Fatalf("Invitations: %+v, %v", list, err)
	}
	other := newInvitation("a", "i")
	other.Email, other.Roles = "other@example.com", nil
	if err := s.Apply(t.Context(), "a", versionOf(t, s, "a"), org.Change{PutInvitation: &other}); err == nil {
		t.Error("an ID that exists was stored")
	}
	if err := s.Apply(t.Context(), "a", versionOf(t, s, "a"), org.Change{PutInvitation: new(newInvitation("a", ""))}); err == nil {
		t.Error("an empty ID was stored")
	}
	if got, err := s.Invitation(t.Context(), "i"); err != nil || got.Email != want.Email {
		t.Errorf("Invitation: %+v, %v", got, err)
	}
	applyOrg(t, s, "a", org.Change{RemoveInvitations: []string{"i", "nothing"}})
	if _, err := s.Invitation(t.Context(), "i"); !errors.Is(err, authkit.ErrNotFound) {
		t.Errorf("Invitation after removal: %v", err)
	}
	if _, err := s.Invitation(t.Context(), "I"); err != nil {
		t.Errorf("another invitation: %v", err)
	}
}

func equalInvitation(a, b org.Invitation) bool {
	return a.ID == b.ID && a.OrgID == b.OrgID && a.Email == b.Email && slices.Equal(a.Roles, b.Roles) && a.InvitedBy == b.InvitedBy &&
		a.CreatedAt.Equal(b.CreatedAt) && a.ExpiresAt.Equal(b.ExpiresAt)
}

// testOrgOthers: a change of one organization reaches no other.
func testOrgOthers(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	createOrg(t, s, "b")
	applyOrg(t, s, "a", org.Change{PutInvitation: new(newInvitation("a", "i"))})
	applyOrg(t, s, "b", org.Change{RemoveMember: "ann", RemoveInvitations: []string{"i"}})
	hasMember(t, s, newMember("a", "ann", org.Owner))
	noMember(t, s, "b", "ann")
	if _, err := s.Invitation(t.Context(), "i"); err != nil {
		t.Errorf("the invitation of another organization was removed: %v", err)
	}
	if list, err := s.Invitations(t.Context(), "b"); err != nil || len(list) != 0 {
		t.Errorf("Invitations of b: %+v, %v", list, err)
	}
	if list, err := s.Members(t.Context(), "b", "", 10); err != nil || len(list) != 0 {
		t.Errorf("Members of b: %+v, %v", list, err)
	}
	if v := versionOf(t, s, "a"); v != 2 {
		t.Errorf("version %d of a, want 2", v)
	}
}

func testOrgDelete(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	createOrg(t, s, "b")
	applyOrg(t, s, "a", org.Change{PutMember: new(newMember("a", "bob", "member")), PutInvitation: new(newInvitation("a", "i"))})
	applyOrg(t, s, "b", org.Change{PutInvitation: new(newInvitation("b", "j"))})
	applyOrg(t, s, "a", org.Change{Delete: true})
	if _, _, err := s.Org(t.Context(), "a"); !errors.Is(err, authkit.ErrNotFound) {
		t.Fatalf("Org: %v; want ErrNotFound", err)
	}
	noMember(t, s, "a", "ann")
	noMember(t, s, "a", "bob")
	if _, err := s.Invitation(t.Context(), "i"); !errors.Is(err, authkit.ErrNotFound) {
		t.Errorf("Invitation: %v; want ErrNotFound", err)
	}
	if list, err := s.Memberships(t.Context(), "ann"); err != nil || len(list) != 1 {
		t.Errorf("Memberships: %+v, %v; want b", list, err)
	}
	if _, err := s.Invitation(t.Context(), "j"); err != nil {
		t.Errorf("another organization's invitation: %v", err)
	}
	if err := s.Apply(t.Context(), "a", 3, org.Change{}); !errors.Is(err, org.ErrConflict) {
		t.Errorf("Apply after deletion: %v; want ErrConflict", err)
	}
	createOrg(t, s, "a") // begins anew
	noMember(t, s, "a", "bob")
	if v := versionOf(t, s, "a"); v != 1 {
		t.Errorf("version %d, want 1", v)
	}
}

func testOrgActive(t *testing.T, s org.Store) {
	is := func(sessionID, want string) {
		t.Helper()
		got, err := s.Active(t.Context(), sessionID)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, authkit.ErrNotFound) {
			t.Fatalf("Active(%q): %q, %v; want %q", sessionID, got, err, want)
		}
	}
	is("s", "")
	for _, id := range []string{"a", "b"} {
		if err := s.SetActive(t.Context(), "s", id, start.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		is("s", id)
	}
	is("S", "")
	is("", "")
}

func testOrgExpired(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	end := start.Add(time.Hour)
	for _, id := range []string{"x", "y", "z", "later"} {
		i := newInvitation("a", id)
		if i.ExpiresAt = end; id == "later" {
			i.ExpiresAt = end.Add(time.Microsecond)
		}
		applyOrg(t, s, "a", org.Change{PutInvitation: &i})
	}
	for id, expires := range map[string]time.Time{"s": end, "later": end.Add(time.Microsecond)} {
		if err := s.SetActive(t.Context(), id, "a", expires); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{0, 0, 3, 1, 0} {
		limit := []int{-1, 0, 2, 2, 2}[i]
		if n, err := s.DeleteExpired(t.Context(), end, limit); err != nil || n != want {
			t.Fatalf("DeleteExpired(%d): %d, %v; want %d", limit, n, err, want)
		}
	}
	if _, err := s.Invitation(t.Context(), "later"); err != nil {
		t.Errorf("an invitation that has not expired: %v", err)
	}
	if _, err := s.Active(t.Context(), "later"); err != nil {
		t.Errorf("an active organization that has not expired: %v", err)
	}
	if _, err := s.Active(t.Context(), "s"); !errors.Is(err, authkit.ErrNotFound) {
		t.Errorf("an active organization that has expired: %v", err)
	}
}

func testOrgBrokenIDs(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	for _, id := range []string{"\x00", "\xff", "a\x00"} {
		noMember(t, s, "a", id)
		noMember(t, s, id, "ann")
		if _, _, err := s.Org(t.Context(), id); !errors.Is(err, authkit.ErrNotFound) {
			t.Errorf("Org(%q): %v", id, err)
		}
		if _, err := s.Invitation(t.Context(), id); !errors.Is(err, authkit.ErrNotFound) {
			t.Errorf("Invitation(%q): %v", id, err)
		}
		if _, err := s.Active(t.Context(), id); !errors.Is(err, authkit.ErrNotFound) {
			t.Errorf("Active(%q): %v", id, err)
		}
		if err := s.Apply(t.Context(), id, 1, org.Change{}); !errors.Is(err, org.ErrConflict) {
			t.Errorf("Apply(%q): %v", id, err)
		}
		for name, call := range map[string]func() (int, error){
			"Members":     func() (int, error) { l, err := s.Members(t.Context(), id, "", 10); return len(l), err },
			"Memberships": func() (int, error) { l, err := s.Memberships(t.Context(), id); return len(l), err },
			"Invitations": func() (int, error) { l, err := s.Invitations(t.Context(), id); return len(l), err },
		} {
			if n, err := call(); n != 0 || err != nil {
				t.Errorf("%s(%q): %d, %v", name, id, n, err)
			}
		}
	}
}

func testOrgSharesNoMemory(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	bob, i := newMember("a", "bob", "member"), newInvitation("a", "i")
	applyOrg(t, s, "a", org.Change{PutMember: &bob, PutInvitation: &i})
	bob.Roles[0], i.Roles[0] = "x", "x"
	got, _ := s.Member(t.Context(), "a", "bob")
	got.Roles[0] = "y"
	hasMember(t, s, newMember("a", "bob", "member"))
	list, _ := s.Memberships(t.Context(), "bob")
	list[0].Roles[0] = "y"
	members, _ := s.Members(t.Context(), "a", "ann", 1)
	members[0].Roles[0] = "y"
	hasMember(t, s, newMember("a", "bob", "member"))
	stored, _ := s.Invitation(t.Context(), "i")
	if stored.Roles[0] != "admin" {
		t.Fatal("the store shares the roles of an invitation")
	}
	stored.Roles[0] = "y"
	pending, _ := s.Invitations(t.Context(), "a")
	pending[0].Roles[0] = "y"
	if again, _ := s.Invitation(t.Context(), "i"); again.Roles[0] != "admin" {
		t.Fatal("the store shares the roles that it returned")
	}
}

func testOrgCancelledContext(t *testing.T, s org.Store) {
	createOrg(t, s, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"CreateOrg":     func() error { return s.CreateOrg(ctx, newOrg("b"), newMember("b", "ann", org.Owner)) },
		"Org":           func() error { _, _, err := s.Org(ctx, "a"); return err },
		"Apply":         func() error { return s.Apply(ctx, "a", 1, org.Change{RemoveMember: "ann"}) },
		"Member":        func() error { _, err := s.Member(ctx, "a", "ann"); return err },
		"Members":       func() error { _, err := s.Members(ctx, "a", "", 1); return err },
		"HasOtherOwner": func() error { _, err := s.HasOtherOwner(ctx, "a", "bob"); return err },
		"Memberships":   func() error { _, err := s.Memberships(ctx, "ann"); return err },
		"Invitation":    func() error { _, err := s.Invitation(ctx, "i"); return err },
		"Invitations":   func() error { _, err := s.Invitations(ctx, "a"); return err },
		"SetActive":     func() error { return s.SetActive(ctx, "s", "a", start) },
		"Active":        func() error { _, err := s.Active(ctx, "s"); return err },
		"DeleteExpired": func() error { _, err := s.DeleteExpired(ctx, start, 1); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want the error of the context", name, err)
		}
	}
	hasMember(t, s, newMember("a", "ann", org.Owner))
	if v := versionOf(t, s, "a"); v != 1 {
		t.Errorf("version %d, want 1", v)
	}
}
