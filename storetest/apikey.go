package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit/apikey"
)

// TestAPIKeyStore tests an implementation of [apikey.Store] against the
// contract in that interface's comment. The function open returns an empty
// store that no other test uses; it may register a cleanup. The subtests run in
// parallel.
func TestAPIKeyStore(t *testing.T, open func(t *testing.T) apikey.Store) {
	for name, test := range map[string]func(*testing.T, apikey.Store){
		"CreateAndRead":    testKeyCreateAndRead,
		"TakenIDs":         testKeyTakenIDs,
		"BrokenIDs":        testKeyBrokenIDs,
		"Owners":           testKeyOwners,
		"OtherOwners":      testKeyOtherOwners,
		"Order":            testKeyOrder,
		"Rotate":           testKeyRotate,
		"RotateAtOnce":     testKeyRotateAtOnce,
		"Delete":           testKeyDelete,
		"DeleteAll":        testKeyDeleteAll,
		"Touch":            testKeyTouch,
		"TouchKeepsRest":   testKeyTouchKeepsRest,
		"Expired":          testKeyExpired,
		"SharesNoMemory":   testKeySharesNoMemory,
		"CancelledContext": testKeyCancelledContext,
		"DeletedStaysGone": testKeyDeletedStaysGone,
		"Services":         testServices,
		"ServicePages":     testServicePages,
		"DeleteService":    testDeleteService,
		"ServicesAtOnce":   testServicesAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var keyOwner = apikey.OfUser("user-1")

// newKey returns a key in which every field is set.
func newKey(id string, owner apikey.Owner) apikey.StoredKey {
	return apikey.StoredKey{
		Key: apikey.Key{
			Owner: owner, ID: id, Name: "the key é " + id, Scopes: []string{"notes:read", "notes:write"},
			Networks:  []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			CreatedAt: start.Add(123456 * time.Microsecond), ExpiresAt: start.Add(time.Hour + 654321*time.Microsecond),
			LastUsedAt: start.Add(time.Minute), RotatedAt: start.Add(2 * time.Minute), PreviousUntil: start.Add(3 * time.Minute),
		},
		Hash: sha256.Sum256([]byte(id)), PreviousHash: sha256.Sum256([]byte("previous " + id)), Version: 3,
	}
}

func createKeys(t *testing.T, s apikey.Store, keys ...apikey.StoredKey) {
	t.Helper()
	for _, k := range keys {
		if err := s.CreateKey(t.Context(), k); err != nil {
			t.Fatalf("CreateKey(%s): %v", k.ID, err)
		}
	}
}

// hasKey checks that the store has exactly this key.
func hasKey(t *testing.T, s apikey.Store, want apikey.StoredKey) {
	t.Helper()
	got, err := s.KeyByID(t.Context(), want.ID)
	if err != nil {
		t.Fatalf("KeyByID(%s): %v", want.ID, err)
	}
	sameKey(t, got.Key, want.Key)
	if got.Hash != want.Hash || got.PreviousHash != want.PreviousHash || got.Version != want.Version {
		t.Fatalf("KeyByID(%s): hashes %x, %x, version %d; want %x, %x, %d", want.ID, got.Hash, got.PreviousHash, got.Version, want.Hash, want.PreviousHash, want.Version)
	}
}

func sameKey(t *testing.T, got, want apikey.Key) {
	t.Helper()
	if got.Owner != want.Owner || got.ID != want.ID || got.Name != want.Name || !slices.Equal(got.Scopes, want.Scopes) || !slices.Equal(got.Networks, want.Networks) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for name, times := range map[string][2]time.Time{
		"CreatedAt": {got.CreatedAt, want.CreatedAt}, "ExpiresAt": {got.ExpiresAt, want.ExpiresAt}, "LastUsedAt": {got.LastUsedAt, want.LastUsedAt},
		"RotatedAt": {got.RotatedAt, want.RotatedAt}, "PreviousUntil": {got.PreviousUntil, want.PreviousUntil},
	} {
		if !times[0].Equal(times[1]) {
			t.Fatalf("the key %s has %s %v, want %v", want.ID, name, times[0], times[1])
		}
	}
}

// noKey checks that the store does not have a key.
func noKey(t *testing.T, s apikey.Store, id string) {
	t.Helper()
	if k, err := s.KeyByID(t.Context(), id); !errors.Is(err, apikey.ErrNotFound) {
		t.Fatalf("KeyByID(%q): %+v, %v; want ErrNotFound", id, k, err)
	}
}

func testKeyCreateAndRead(t *testing.T, s apikey.Store) {
	noKey(t, s, "a")
	want := newKey("a", keyOwner)
	bare := apikey.StoredKey{Key: apikey.Key{Owner: keyOwner, ID: "bare", CreatedAt: start}, Hash: want.Hash, Version: 1}
	createKeys(t, s, want, bare)
	hasKey(t, s, want)
	hasKey(t, s, bare)
	got, _ := s.KeyByID(t.Context(), "bare")
	for _, at := range []time.Time{got.ExpiresAt, got.LastUsedAt, got.RotatedAt, got.PreviousUntil} {
		if !at.IsZero() {
			t.Errorf("a time that was not set is %v", at)
		}
	}
	noKey(t, s, "A") // compared byte by byte
}

func testKeyTakenIDs(t *testing.T, s apikey.Store) {
	want := newKey("a", keyOwner)
	createKeys(t, s, want)
	other := newKey("a", apikey.OfUser("user-2"))
	other.Hash = sha256.Sum256([]byte("another"))
	if err := s.CreateKey(t.Context(), other); !errors.Is(err, apikey.ErrExists) {
		t.Errorf("CreateKey with an ID that exists: %v; want ErrExists", err)
	}
	hasKey(t, s, want)
	createKeys(t, s, newKey("A", keyOwner))
}

func testKeyBrokenIDs(t *testing.T, s apikey.Store) {
	for _, id := range []string{"", "\x00", "\xff", strings.Repeat("a", 1000)} {
		noKey(t, s, id)
		owner := apikey.OfUser(id)
		if keys, err := s.KeysByOwner(t.Context(), owner); err != nil || len(keys) != 0 {
			t.Errorf("KeysByOwner(%q): %v, %v", id, keys, err)
		}
		if err := s.RotateKey(t.Context(), owner, id, apikey.Rotation{Version: 1, At: start}); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("RotateKey(%q): %v; want ErrNotFound", id, err)
		}
		if err := s.DeleteKey(t.Context(), owner, id); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("DeleteKey(%q): %v; want ErrNotFound", id, err)
		}
		if err := s.DeleteKeys(t.Context(), owner); err != nil {
			t.Errorf("DeleteKeys(%q): %v", id, err)
		}
		if err := s.TouchKey(t.Context(), id, start); err != nil {
			t.Errorf("TouchKey(%q): %v", id, err)
		}
	}
}

// ownsKeys checks the IDs of the keys of an owner.
func ownsKeys(t *testing.T, s apikey.Store, o apikey.Owner, want ...string) {
	t.Helper()
	keys, err := s.KeysByOwner(t.Context(), o)
	var got []string
	for _, k := range keys {
		got = append(got, k.ID)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("KeysByOwner(%+v): %v, %v; want %v", o, got, err, want)
	}
}

func testKeyOwners(t *testing.T, s apikey.Store) {
	service := apikey.OfService("user-1") // the name of the user
	createKeys(t, s, newKey("a", keyOwner), newKey("b", service), newKey("c", apikey.OfUser("USER-1")))
	ownsKeys(t, s, keyOwner, "a")
	ownsKeys(t, s, service, "b")
	ownsKeys(t, s, apikey.OfUser("USER-1"), "c")
	ownsKeys(t, s, apikey.OfUser("user-2"))
	keys, _ := s.KeysByOwner(t.Context(), keyOwner)
	sameKey(t, keys[0], newKey("a", keyOwner).Key)
}

// testKeyOtherOwners: the key of another owner answers like a missing one.
func testKeyOtherOwners(t *testing.T, s apikey.Store) {
	want := newKey("a", keyOwner)
	createKeys(t, s, want)
	for _, o := range []apikey.Owner{apikey.OfUser("user-2"), {ServiceID: "user-1"}, {}} {
		if err := s.RotateKey(t.Context(), o, "a", apikey.Rotation{Version: 3, At: start, ExpiresAt: start}); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("RotateKey by %+v: %v; want ErrNotFound", o, err)
		}
		if err := s.DeleteKey(t.Context(), o, "a"); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("DeleteKey by %+v: %v; want ErrNotFound", o, err)
		}
		if err := s.DeleteKeys(t.Context(), o); err != nil {
			t.Errorf("DeleteKeys by %+v: %v", o, err)
		}
	}
	hasKey(t, s, want)
}

func testKeyOrder(t *testing.T, s apikey.Store) {
	for i, id := range []string{"d", "b", "c", "a"} {
		k := newKey(id, keyOwner)
		k.CreatedAt = start.Add(time.Duration(i/2) * time.Microsecond)
		createKeys(t, s, k)
	}
	ownsKeys(t, s, keyOwner, "b", "d", "a", "c")
}

func rotationOf(version int64, text string) apikey.Rotation {
	return apikey.Rotation{
		Version: version, Hash: sha256.Sum256([]byte(text)), At: start.Add(time.Second),
		ExpiresAt: start.Add(5 * time.Hour), PreviousUntil: start.Add(6 * time.Hour),
	}
}

func testKeyRotate(t *testing.T, s apikey.Store) {
	want := newKey("a", keyOwner)
	createKeys(t, s, want, newKey("b", keyOwner))
	for _, version := range []int64{0, 2, 4} {
		if err := s.RotateKey(t.Context(), keyOwner, "a", rotationOf(version, "new")); !errors.Is(err, apikey.ErrConflict) {
			t.Errorf("RotateKey of version %d: %v; want ErrConflict", version, err)
		}
	}
	hasKey(t, s, want)
	r := rotationOf(3, "new")
	if err := s.RotateKey(t.Context(), keyOwner, "a", r); err != nil {
		t.Fatal(err)
	}
	want.PreviousHash, want.Hash, want.Version = want.Hash, r.Hash, 4
	want.RotatedAt, want.ExpiresAt, want.PreviousUntil = r.At, r.ExpiresAt, r.PreviousUntil
	hasKey(t, s, want)

	r = rotationOf(4, "newer") // without an overlap, and without an end
	r.PreviousUntil, r.ExpiresAt = time.Time{}, time.Time{}
	if err := s.RotateKey(t.Context(), keyOwner, "a", r); err != nil {
		t.Fatal(err)
	}
	want.PreviousHash, want.Hash, want.Version = [sha256.Size]byte{}, r.Hash, 5
	want.ExpiresAt, want.PreviousUntil = time.Time{}, time.Time{}
	hasKey(t, s, want)
	hasKey(t, s, newKey("b", keyOwner))
}

// testKeyRotateAtOnce: of several callers with one version, one succeeds, and
// its hash is the current one.
func testKeyRotateAtOnce(t *testing.T, s apikey.Store) {
	createKeys(t, s, newKey("a", keyOwner))
	for version := int64(3); version < 6; version++ {
		var won atomic.Int32
		var winner atomic.Value
		var group sync.WaitGroup
		for i := range 32 {
			group.Go(func() {
				r := rotationOf(version, fmt.Sprint(version, " ", i))
				switch err := s.RotateKey(t.Context(), keyOwner, "a", r); {
				case err == nil:
					won.Add(1)
					winner.Store(r.Hash)
				case !errors.Is(err, apikey.ErrConflict):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := won.Load(); n != 1 {
			t.Fatalf("%d callers rotated version %d", n, version)
		}
		if k, err := s.KeyByID(t.Context(), "a"); err != nil || k.Hash != winner.Load() || k.Version != version+1 {
			t.Fatalf("the key has not the hash of the winner, or not its version: %d, %v", k.Version, err)
		}
	}
}

func testKeyDelete(t *testing.T, s apikey.Store) {
	createKeys(t, s, newKey("a", keyOwner), newKey("b", keyOwner))
	if err := s.DeleteKey(t.Context(), keyOwner, "a"); err != nil {
		t.Fatal(err)
	}
	noKey(t, s, "a")
	ownsKeys(t, s, keyOwner, "b")
	if err := s.DeleteKey(t.Context(), keyOwner, "a"); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("DeleteKey of nothing: %v; want ErrNotFound", err)
	}
}

func testKeyDeleteAll(t *testing.T, s apikey.Store) {
	service := apikey.OfService("user-1")
	createKeys(t, s, newKey("a", keyOwner), newKey("b", keyOwner), newKey("c", apikey.OfUser("user-2")), newKey("d", service))
	if err := s.DeleteKeys(t.Context(), keyOwner); err != nil {
		t.Fatal(err)
	}
	ownsKeys(t, s, keyOwner)
	ownsKeys(t, s, apikey.OfUser("user-2"), "c")
	ownsKeys(t, s, service, "d")
}

func touch(t *testing.T, s apikey.Store, id string, at time.Time) {
	t.Helper()
	if err := s.TouchKey(t.Context(), id, at); err != nil {
		t.Fatalf("TouchKey: %v", err)
	}
}

func testKeyTouch(t *testing.T, s apikey.Store) {
	never, other := newKey("never", keyOwner), newKey("other", keyOwner)
	never.LastUsedAt = time.Time{}
	createKeys(t, s, never, other)
	first := start.Add(123456 * time.Microsecond)
	for _, step := range []struct {
		at    time.Time
		write bool
	}{
		{first, true},
		{first, false},
		{first.Add(time.Minute - time.Microsecond), false},
		{first.Add(time.Minute), true},
		{first.Add(-time.Hour), false},
		{first.Add(3 * time.Minute), true},
	} {
		touch(t, s, "never", step.at)
		if step.write {
			never.LastUsedAt = step.at
		}
		hasKey(t, s, never)
	}
	hasKey(t, s, other)
	touch(t, s, "nothing", start)
	noKey(t, s, "nothing")
}

// testKeyTouchKeepsRest: a use that is written late changes nothing else.
func testKeyTouchKeepsRest(t *testing.T, s apikey.Store) {
	want := newKey("a", keyOwner)
	createKeys(t, s, want)
	r := rotationOf(3, "new")
	if err := s.RotateKey(t.Context(), keyOwner, "a", r); err != nil {
		t.Fatal(err)
	}
	touch(t, s, "a", start.Add(time.Hour))
	want.PreviousHash, want.Hash, want.Version = want.Hash, r.Hash, 4
	want.RotatedAt, want.ExpiresAt, want.PreviousUntil, want.LastUsedAt = r.At, r.ExpiresAt, r.PreviousUntil, start.Add(time.Hour)
	hasKey(t, s, want)
}

func testKeyExpired(t *testing.T, s apikey.Store) {
	end := start.Add(time.Hour)
	for i := range 3 {
		k := newKey(fmt.Sprint("old-", i), keyOwner)
		k.ExpiresAt = end.Add(-time.Microsecond)
		createKeys(t, s, k)
	}
	at, never := newKey("at", keyOwner), newKey("never", keyOwner)
	at.ExpiresAt, never.ExpiresAt = end, time.Time{}
	createKeys(t, s, at, never)
	for i, want := range []int{0, 0, 2, 1, 0} {
		limit := []int{-1, 0, 2, 2, 2}[i]
		if n, err := s.DeleteExpiredKeys(t.Context(), end, limit); err != nil || n != want {
			t.Fatalf("DeleteExpiredKeys(%d): %d, %v; want %d", limit, n, err, want)
		}
	}
	hasKey(t, s, at)
	hasKey(t, s, never)
}

func testKeySharesNoMemory(t *testing.T, s apikey.Store) {
	k, want := newKey("a", keyOwner), newKey("a", keyOwner)
	createKeys(t, s, k)
	k.Scopes[0], k.Networks[0] = "changed", netip.Prefix{}
	hasKey(t, s, want)
	got, _ := s.KeyByID(t.Context(), "a")
	got.Scopes[0], got.Networks[0] = "changed", netip.Prefix{}
	hasKey(t, s, want)
	list, _ := s.KeysByOwner(t.Context(), keyOwner)
	list[0].Scopes[0], list[0].Networks[0] = "changed", netip.Prefix{}
	hasKey(t, s, want)
}

func testKeyCancelledContext(t *testing.T, s apikey.Store) {
	want := newKey("a", keyOwner)
	createKeys(t, s, want)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"CreateKey":         func() error { return s.CreateKey(ctx, newKey("b", keyOwner)) },
		"KeyByID":           func() error { _, err := s.KeyByID(ctx, "a"); return err },
		"KeysByOwner":       func() error { _, err := s.KeysByOwner(ctx, keyOwner); return err },
		"RotateKey":         func() error { return s.RotateKey(ctx, keyOwner, "a", rotationOf(3, "new")) },
		"DeleteKey":         func() error { return s.DeleteKey(ctx, keyOwner, "a") },
		"DeleteKeys":        func() error { return s.DeleteKeys(ctx, keyOwner) },
		"TouchKey":          func() error { return s.TouchKey(ctx, "a", start.Add(time.Hour)) },
		"DeleteExpiredKeys": func() error { _, err := s.DeleteExpiredKeys(ctx, start.Add(48*time.Hour), 10); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want the error of the context", name, err)
		}
	}
	hasKey(t, s, want)
	noKey(t, s, "b")
}

// testKeyDeletedStaysGone: a rotation and a use that run at the same time do
// not bring a deleted key back.
func testKeyDeletedStaysGone(t *testing.T, s apikey.Store) {
	for round := range 8 {
		id := fmt.Sprint("key-", round)
		createKeys(t, s, newKey(id, keyOwner))
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if err := s.RotateKey(t.Context(), keyOwner, id, rotationOf(3, "new")); err != nil && !errors.Is(err, apikey.ErrNotFound) && !errors.Is(err, apikey.ErrConflict) {
					t.Error(err)
				}
			})
			group.Go(func() {
				if err := s.TouchKey(t.Context(), id, start.Add(time.Hour)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Go(func() {
			if err := s.DeleteKey(t.Context(), keyOwner, id); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		noKey(t, s, id)
	}
}

func createServices(t *testing.T, s apikey.Store, services ...apikey.Service) {
	t.Helper()
	for _, service := range services {
		if err := s.CreateService(t.Context(), service); err != nil {
			t.Fatalf("CreateService(%s): %v", service.ID, err)
		}
	}
}

func hasService(t *testing.T, s apikey.Store, want apikey.Service) {
	t.Helper()
	got, err := s.ServiceByID(t.Context(), want.ID)
	if err != nil || got.ID != want.ID || !slices.Equal(got.Roles, want.Roles) || !got.CreatedAt.Equal(want.CreatedAt) {
		t.Fatalf("ServiceByID(%s): %+v, %v; want %+v", want.ID, got, err, want)
	}
}

func noService(t *testing.T, s apikey.Store, id string) {
	t.Helper()
	if got, err := s.ServiceByID(t.Context(), id); !errors.Is(err, apikey.ErrNotFound) {
		t.Fatalf("ServiceByID(%q): %+v, %v; want ErrNotFound", id, got, err)
	}
}

func testServices(t *testing.T, s apikey.Store) {
	noService(t, s, "billing")
	want := apikey.Service{ID: "billing", Roles: []string{"reader", "writer"}, CreatedAt: start.Add(123456 * time.Microsecond)}
	given := want
	given.Roles = slices.Clone(want.Roles)
	createServices(t, s, given, apikey.Service{ID: "bare", CreatedAt: start})
	given.Roles[0] = "changed"
	hasService(t, s, want)
	hasService(t, s, apikey.Service{ID: "bare", CreatedAt: start})
	noService(t, s, "Billing") // compared byte by byte
	other := apikey.Service{ID: "billing", Roles: []string{"admin"}, CreatedAt: start}
	if err := s.CreateService(t.Context(), other); !errors.Is(err, apikey.ErrExists) {
		t.Errorf("CreateService with an ID that exists: %v; want ErrExists", err)
	}
	hasService(t, s, want)
	for range 2 { // the second time nothing changes
		want.Roles = []string{"auditor"}
		if err := s.SetServiceRoles(t.Context(), "billing", want.Roles); err != nil {
			t.Fatal(err)
		}
		hasService(t, s, want)
	}
	hasService(t, s, apikey.Service{ID: "bare", CreatedAt: start})
	for _, id := range []string{"nothing", "", "\x00", "\xff"} {
		noService(t, s, id)
		if err := s.SetServiceRoles(t.Context(), id, nil); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("SetServiceRoles(%q): %v; want ErrNotFound", id, err)
		}
		if err := s.DeleteService(t.Context(), id); !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("DeleteService(%q): %v; want ErrNotFound", id, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"CreateService":   func() error { return s.CreateService(ctx, apikey.Service{ID: "new"}) },
		"ServiceByID":     func() error { _, err := s.ServiceByID(ctx, "billing"); return err },
		"Services":        func() error { _, err := s.Services(ctx, "", 10); return err },
		"SetServiceRoles": func() error { return s.SetServiceRoles(ctx, "billing", nil) },
		"DeleteService":   func() error { return s.DeleteService(ctx, "billing") },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want the error of the context", name, err)
		}
	}
	hasService(t, s, want)
	noService(t, s, "new")
}

func testServicePages(t *testing.T, s apikey.Store) {
	for _, id := range []string{"d", "b", "a", "c"} {
		createServices(t, s, apikey.Service{ID: id, Roles: []string{id}, CreatedAt: start})
	}
	for _, page := range []struct {
		after string
		limit int
		want  string
	}{{"", 10, "abcd"}, {"", 2, "ab"}, {"b", 2, "cd"}, {"bb", 1, "c"}, {"d", 2, ""}, {"", 0, ""}, {"", -1, ""}} {
		list, err := s.Services(t.Context(), page.after, page.limit)
		got := ""
		for _, service := range list {
			got += service.ID
			if !slices.Equal(service.Roles, []string{service.ID}) {
				t.Errorf("the service %s has the roles %v", service.ID, service.Roles)
			}
		}
		if err != nil || got != page.want {
			t.Errorf("Services(%q, %d): %s, %v; want %s", page.after, page.limit, got, err, page.want)
		}
	}
}

func testDeleteService(t *testing.T, s apikey.Store) {
	createServices(t, s, apikey.Service{ID: "billing", CreatedAt: start}, apikey.Service{ID: "other", CreatedAt: start})
	createKeys(t, s, newKey("a", apikey.OfService("billing")), newKey("b", apikey.OfService("billing")),
		newKey("c", apikey.OfService("other")), newKey("d", apikey.OfUser("billing")))
	if err := s.DeleteService(t.Context(), "billing"); err != nil {
		t.Fatal(err)
	}
	noService(t, s, "billing")
	noKey(t, s, "a")
	noKey(t, s, "b")
	ownsKeys(t, s, apikey.OfService("other"), "c")
	ownsKeys(t, s, apikey.OfUser("billing"), "d")
	hasService(t, s, apikey.Service{ID: "other", CreatedAt: start})
	createServices(t, s, apikey.Service{ID: "billing", CreatedAt: start})
	ownsKeys(t, s, apikey.OfService("billing"))
}

// testServicesAtOnce: of several callers with one ID, one creates the service,
// and one deletes it.
func testServicesAtOnce(t *testing.T, s apikey.Store) {
	var created, deleted atomic.Int32
	run := func(won *atomic.Int32, loses error, call func() error) {
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				switch err := call(); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, loses):
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	run(&created, apikey.ErrExists, func() error {
		return s.CreateService(t.Context(), apikey.Service{ID: "billing", CreatedAt: start})
	})
	run(&deleted, apikey.ErrNotFound, func() error { return s.DeleteService(t.Context(), "billing") })
	if created.Load() != 1 || deleted.Load() != 1 {
		t.Errorf("%d callers created the service, and %d deleted it", created.Load(), deleted.Load())
	}
}
