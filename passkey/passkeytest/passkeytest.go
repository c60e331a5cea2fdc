// Package passkeytest tests implementations of passkey.Store, and has an
// authenticator in software for the tests of programs.
//
//	func TestStore(t *testing.T) {
//		passkeytest.TestStore(t, func(t *testing.T) passkey.Store { return newStore(t) })
//	}
package passkeytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit/passkey"
)

// TestStore tests an implementation of [passkey.Store] against the contract in
// that interface's comment. The function open returns an empty store that no
// other test uses; it may register a cleanup. The subtests run in parallel.
func TestStore(t *testing.T, open func(t *testing.T) passkey.Store) {
	for name, test := range map[string]func(*testing.T, passkey.Store){
		"Handle":           testHandle,
		"HandleRace":       testHandleRace,
		"AddAndGet":        testAddAndGet,
		"Order":            testOrder,
		"Limit":            testLimit,
		"LimitRace":        testLimitRace,
		"Exists":           testExists,
		"ExistsRace":       testExistsRace,
		"WrongHandle":      testWrongHandle,
		"Use":              testUse,
		"UseRace":          testUseRace,
		"Rename":           testRename,
		"Delete":           testDelete,
		"DeleteAll":        testDeleteAll,
		"DeleteRace":       testDeleteRace,
		"BrokenTexts":      testBrokenTexts,
		"SharesNoMemory":   testSharesNoMemory,
		"CancelledContext": testCancelledContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// start is when the passkeys of the tests were made. It has microseconds.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

const limit = 20

// newPasskey returns a passkey of a user, with a value in every field.
func newPasskey(userID, id string, handle []byte) passkey.Passkey {
	return passkey.Passkey{
		ID: id, UserID: userID, Name: "Schlüssel " + id, AAGUID: "bada5566-a7aa-401f-bd96-45619a55120d", Transports: []string{"internal", "hybrid"},
		BackupEligible: true, BackedUp: true, UserVerified: true, CreatedAt: start, LastUsedAt: start.Add(time.Hour + time.Microsecond),
		CredentialID: []byte("credential " + id + "\x00\xff"), PublicKey: []byte("key of " + id + "\x00\xff"), UserHandle: handle,
		Attestation: "none", SignCount: 1<<32 - 1, Version: 1,
	}
}

// handleOf returns the handle of a user, which is made if there is none.
func handleOf(t *testing.T, s passkey.Store, userID string) []byte {
	t.Helper()
	handle, err := s.UserHandle(t.Context(), userID, bytes.Repeat([]byte(userID[:1]), 64))
	if err != nil {
		t.Fatalf("UserHandle(%s): %v", userID, err)
	}
	return handle
}

// add adds a passkey of a user.
func add(t *testing.T, s passkey.Store, userID, id string) passkey.Passkey {
	t.Helper()
	p := newPasskey(userID, id, handleOf(t, s, userID))
	if err := s.AddPasskey(t.Context(), p, limit); err != nil {
		t.Fatalf("AddPasskey(%s): %v", id, err)
	}
	return p
}

// get returns a passkey.
func get(t *testing.T, s passkey.Store, id string) passkey.Passkey {
	t.Helper()
	p, err := s.PasskeyByID(t.Context(), id)
	if err != nil {
		t.Fatalf("PasskeyByID(%s): %v", id, err)
	}
	return p
}

// ids checks the IDs of the passkeys of a user.
func ids(t *testing.T, s passkey.Store, userID string, want ...string) {
	t.Helper()
	list, err := s.PasskeysByUser(t.Context(), userID)
	var got []string
	for _, p := range list {
		got = append(got, p.ID)
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("PasskeysByUser(%s): %v, %v; want %v", userID, got, err, want)
	}
}

// check checks the error of a call.
func check(t *testing.T, call string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v; want %v", call, err, want)
	}
}

// same checks that two passkeys are equal.
func same(t *testing.T, got, want passkey.Passkey) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// race calls f from 16 goroutines at once, and returns how often each error was
// returned. Errors that are not in known fail the test.
func race(t *testing.T, known []error, f func(i int) error) map[error]int {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	counts := map[error]int{}
	begin := make(chan struct{})
	for i := range 16 {
		group.Go(func() {
			<-begin
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			for _, k := range known {
				if errors.Is(err, k) {
					counts[k]++
					return
				}
			}
			t.Errorf("call %d: %v", i, err)
		})
	}
	close(begin)
	group.Wait()
	return counts
}

func testHandle(t *testing.T, s passkey.Store) {
	_, err := s.UserHandle(t.Context(), "ann", nil)
	check(t, "UserHandle of nobody", err, passkey.ErrNotFound)
	first := bytes.Repeat([]byte{0, 255}, 32)
	for _, proposed := range [][]byte{first, bytes.Repeat([]byte{1}, 64), nil} {
		handle, err := s.UserHandle(t.Context(), "ann", proposed)
		if err != nil || !bytes.Equal(handle, first) {
			t.Fatalf("UserHandle: %x, %v", handle, err)
		}
	}
	if other := handleOf(t, s, "bob"); bytes.Equal(other, first) {
		t.Fatal("two users have one handle")
	}
}

func testHandleRace(t *testing.T, s passkey.Store) {
	var mu sync.Mutex
	handles := map[string]bool{}
	race(t, []error{nil}, func(i int) error {
		handle, err := s.UserHandle(t.Context(), "ann", bytes.Repeat([]byte{byte(i)}, 64))
		mu.Lock()
		defer mu.Unlock()
		handles[string(handle)] = true
		return err
	})
	if len(handles) != 1 {
		t.Fatalf("%d handles of one user", len(handles))
	}
}

func testAddAndGet(t *testing.T, s passkey.Store) {
	want := add(t, s, "ann", "a")
	same(t, get(t, s, "a"), want)
	handle := handleOf(t, s, "ann")
	plain := passkey.Passkey{
		ID: "b", UserID: "ann", Name: "x", AAGUID: "00000000-0000-0000-0000-000000000000", Transports: []string{}, CreatedAt: start,
		CredentialID: []byte{1}, PublicKey: []byte{2}, UserHandle: handle, Attestation: "none", Version: 7,
	}
	check(t, "AddPasskey", s.AddPasskey(t.Context(), plain, limit), nil)
	plain.Version = 1
	same(t, get(t, s, "b"), plain)
	list, err := s.PasskeysByUser(t.Context(), "ann")
	if err != nil || len(list) != 2 {
		t.Fatalf("PasskeysByUser: %v, %v", list, err)
	}
	same(t, list[0], want)
	_, err = s.PasskeyByID(t.Context(), "A")
	check(t, "PasskeyByID in another case", err, passkey.ErrNotFound)
	ids(t, s, "bob")
}

func testOrder(t *testing.T, s passkey.Store) {
	handle := handleOf(t, s, "ann")
	for i, id := range []string{"d", "a", "c", "b"} {
		p := newPasskey("ann", id, handle)
		p.CreatedAt = start.Add(time.Duration(-i/2) * time.Microsecond)
		check(t, "AddPasskey", s.AddPasskey(t.Context(), p, limit), nil)
	}
	ids(t, s, "ann", "b", "c", "a", "d")
}

func testLimit(t *testing.T, s passkey.Store) {
	add(t, s, "bob", "other")
	handle := handleOf(t, s, "ann")
	for i := range 3 {
		check(t, "AddPasskey", s.AddPasskey(t.Context(), newPasskey("ann", fmt.Sprint(i), handle), 3), nil)
	}
	check(t, "AddPasskey over the limit", s.AddPasskey(t.Context(), newPasskey("ann", "3", handle), 3), passkey.ErrTooMany)
	ids(t, s, "ann", "0", "1", "2")
	check(t, "DeletePasskey", s.DeletePasskey(t.Context(), "ann", "1"), nil)
	check(t, "AddPasskey after a deletion", s.AddPasskey(t.Context(), newPasskey("ann", "3", handle), 3), nil)
}

func testLimitRace(t *testing.T, s passkey.Store) {
	handle := handleOf(t, s, "ann")
	counts := race(t, []error{nil, passkey.ErrTooMany}, func(i int) error {
		return s.AddPasskey(t.Context(), newPasskey("ann", fmt.Sprint(i), handle), 3)
	})
	list, err := s.PasskeysByUser(t.Context(), "ann")
	if err != nil || counts[nil] != 3 || len(list) != 3 {
		t.Fatalf("%d calls succeeded, and there are %d passkeys (%v); want 3", counts[nil], len(list), err)
	}
}

func testExists(t *testing.T, s passkey.Store) {
	want := add(t, s, "ann", "a")
	again := newPasskey("ann", "a", handleOf(t, s, "ann"))
	again.Name = "again"
	check(t, "AddPasskey again", s.AddPasskey(t.Context(), again, limit), passkey.ErrExists)
	check(t, "AddPasskey of another user", s.AddPasskey(t.Context(), newPasskey("bob", "a", handleOf(t, s, "bob")), limit), passkey.ErrExists)
	same(t, get(t, s, "a"), want)
	ids(t, s, "bob")
}

func testExistsRace(t *testing.T, s passkey.Store) {
	handles := [2][]byte{handleOf(t, s, "ann"), handleOf(t, s, "bob")}
	counts := race(t, []error{nil, passkey.ErrExists}, func(i int) error {
		return s.AddPasskey(t.Context(), newPasskey([]string{"ann", "bob"}[i%2], "a", handles[i%2]), limit)
	})
	if counts[nil] != 1 {
		t.Fatalf("%d calls succeeded, want 1", counts[nil])
	}
}

func testWrongHandle(t *testing.T, s passkey.Store) {
	bob := handleOf(t, s, "bob")
	check(t, "AddPasskey without a handle", s.AddPasskey(t.Context(), newPasskey("ann", "a", bob), limit), passkey.ErrNotFound)
	handleOf(t, s, "ann")
	check(t, "AddPasskey with the handle of another user", s.AddPasskey(t.Context(), newPasskey("ann", "a", bob), limit), passkey.ErrNotFound)
	check(t, "AddPasskey with no handle", s.AddPasskey(t.Context(), newPasskey("ann", "a", nil), limit), passkey.ErrNotFound)
	ids(t, s, "ann")
	if err := s.AddPasskey(t.Context(), newPasskey("bob", "", bob), limit); err == nil {
		t.Fatal("AddPasskey takes an empty ID")
	}
}

func testUse(t *testing.T, s passkey.Store) {
	want := add(t, s, "ann", "a")
	other := add(t, s, "ann", "b")
	u := passkey.Use{At: start.Add(2*time.Hour + time.Microsecond), SignCount: 7}
	check(t, "UsePasskey", s.UsePasskey(t.Context(), "a", 1, u), nil)
	want.LastUsedAt, want.SignCount, want.BackupEligible, want.BackedUp, want.Version = u.At, 7, false, false, 2
	same(t, get(t, s, "a"), want)
	check(t, "UsePasskey of an old version", s.UsePasskey(t.Context(), "a", 1, passkey.Use{At: start, SignCount: 9}), passkey.ErrConflict)
	check(t, "UsePasskey of a later version", s.UsePasskey(t.Context(), "a", 3, passkey.Use{At: start, SignCount: 9}), passkey.ErrConflict)
	same(t, get(t, s, "a"), want)
	check(t, "UsePasskey again", s.UsePasskey(t.Context(), "a", 2, passkey.Use{At: u.At, SignCount: 7, BackupEligible: true, BackedUp: true}), nil)
	want.BackupEligible, want.BackedUp, want.Version = true, true, 3
	same(t, get(t, s, "a"), want)
	same(t, get(t, s, "b"), other)
	check(t, "UsePasskey of none", s.UsePasskey(t.Context(), "c", 1, u), passkey.ErrNotFound)
}

func testUseRace(t *testing.T, s passkey.Store) {
	add(t, s, "ann", "a")
	counts := race(t, []error{nil, passkey.ErrConflict}, func(i int) error {
		return s.UsePasskey(t.Context(), "a", 1, passkey.Use{At: start, SignCount: uint32(i)})
	})
	if p := get(t, s, "a"); counts[nil] != 1 || p.Version != 2 {
		t.Fatalf("%d calls with one version succeeded, and the version is %d", counts[nil], p.Version)
	}
}

func testRename(t *testing.T, s passkey.Store) {
	want := add(t, s, "ann", "a")
	other := add(t, s, "bob", "b")
	for range 2 { // the same name again is no error
		check(t, "RenamePasskey", s.RenamePasskey(t.Context(), "ann", "a", "Clé 🔑"), nil)
	}
	want.Name = "Clé 🔑"
	same(t, get(t, s, "a"), want)
	check(t, "RenamePasskey of another user", s.RenamePasskey(t.Context(), "ann", "b", "mine"), passkey.ErrNotFound)
	check(t, "RenamePasskey of none", s.RenamePasskey(t.Context(), "ann", "c", "mine"), passkey.ErrNotFound)
	same(t, get(t, s, "b"), other)
}

func testDelete(t *testing.T, s passkey.Store) {
	add(t, s, "ann", "a")
	add(t, s, "bob", "b")
	check(t, "DeletePasskey of another user", s.DeletePasskey(t.Context(), "ann", "b"), passkey.ErrNotFound)
	check(t, "DeletePasskey", s.DeletePasskey(t.Context(), "ann", "a"), nil)
	check(t, "DeletePasskey again", s.DeletePasskey(t.Context(), "ann", "a"), passkey.ErrNotFound)
	ids(t, s, "ann")
	ids(t, s, "bob", "b")
	add(t, s, "ann", "a")
	if _, err := s.UserHandle(t.Context(), "ann", nil); err != nil {
		t.Fatalf("the handle is gone: %v", err)
	}
}

func testDeleteAll(t *testing.T, s passkey.Store) {
	old := add(t, s, "ann", "a")
	add(t, s, "ann", "b")
	add(t, s, "bob", "c")
	for range 2 {
		check(t, "DeletePasskeys", s.DeletePasskeys(t.Context(), "ann"), nil)
	}
	ids(t, s, "ann")
	ids(t, s, "bob", "c")
	_, err := s.PasskeyByID(t.Context(), "a")
	check(t, "PasskeyByID after DeletePasskeys", err, passkey.ErrNotFound)
	_, err = s.UserHandle(t.Context(), "ann", nil)
	check(t, "UserHandle after DeletePasskeys", err, passkey.ErrNotFound)
	check(t, "AddPasskey after DeletePasskeys", s.AddPasskey(t.Context(), old, limit), passkey.ErrNotFound)
}

func testDeleteRace(t *testing.T, s passkey.Store) {
	handle := handleOf(t, s, "ann")
	race(t, []error{nil, passkey.ErrNotFound}, func(i int) error {
		if i == 8 {
			return s.DeletePasskeys(t.Context(), "ann")
		}
		return s.AddPasskey(t.Context(), newPasskey("ann", fmt.Sprint(i), handle), limit)
	})
	ids(t, s, "ann") // none has outlived the deletion
}

// broken are texts that some databases cannot store.
var broken = []string{"a\x00b", "\xff"}

func testBrokenTexts(t *testing.T, s passkey.Store) {
	add(t, s, "ann", "a")
	for _, text := range broken {
		_, err := s.PasskeyByID(t.Context(), text)
		check(t, "PasskeyByID", err, passkey.ErrNotFound)
		check(t, "UsePasskey", s.UsePasskey(t.Context(), text, 1, passkey.Use{At: start}), passkey.ErrNotFound)
		check(t, "RenamePasskey", s.RenamePasskey(t.Context(), "ann", text, "x"), passkey.ErrNotFound)
		check(t, "DeletePasskey", s.DeletePasskey(t.Context(), "ann", text), passkey.ErrNotFound)
		check(t, "DeletePasskey", s.DeletePasskey(t.Context(), text, "a"), passkey.ErrNotFound)
		check(t, "DeletePasskeys", s.DeletePasskeys(t.Context(), text), nil)
		ids(t, s, text)
		_, err = s.UserHandle(t.Context(), text, nil)
		check(t, "UserHandle", err, passkey.ErrNotFound)
	}
	ids(t, s, "ann", "a")
}

func testSharesNoMemory(t *testing.T, s passkey.Store) {
	handle := bytes.Repeat([]byte{1}, 64)
	got, err := s.UserHandle(t.Context(), "ann", handle)
	if err != nil {
		t.Fatal(err)
	}
	p := newPasskey("ann", "a", bytes.Clone(handle))
	want := newPasskey("ann", "a", bytes.Clone(handle))
	check(t, "AddPasskey", s.AddPasskey(t.Context(), p, limit), nil)
	scribble := func(p passkey.Passkey) {
		p.CredentialID[0], p.PublicKey[0], p.UserHandle[0], p.Transports[0] = '!', '!', '!', "!"
	}
	handle[0], got[0] = '!', '!'
	scribble(p)
	scribble(get(t, s, "a"))
	list, err := s.PasskeysByUser(t.Context(), "ann")
	if err != nil || len(list) != 1 {
		t.Fatalf("PasskeysByUser: %v, %v", list, err)
	}
	scribble(list[0])
	same(t, get(t, s, "a"), want)
	if got := handleOf(t, s, "ann"); !bytes.Equal(got, want.UserHandle) {
		t.Fatalf("the handle is %x", got)
	}
}

func testCancelledContext(t *testing.T, s passkey.Store) {
	want := add(t, s, "ann", "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := newPasskey("ann", "b", want.UserHandle)
	_, handle := s.UserHandle(ctx, "bob", want.UserHandle)
	_, byID := s.PasskeyByID(ctx, "a")
	_, byUser := s.PasskeysByUser(ctx, "ann")
	for call, err := range map[string]error{
		"UserHandle": handle, "PasskeyByID": byID, "PasskeysByUser": byUser, "AddPasskey": s.AddPasskey(ctx, p, limit),
		"UsePasskey": s.UsePasskey(ctx, "a", 1, passkey.Use{At: start}), "RenamePasskey": s.RenamePasskey(ctx, "ann", "a", "x"),
		"DeletePasskey": s.DeletePasskey(ctx, "ann", "a"), "DeletePasskeys": s.DeletePasskeys(ctx, "ann"),
	} {
		check(t, call, err, context.Canceled)
	}
	same(t, get(t, s, "a"), want)
	ids(t, s, "ann", "a")
	_, err := s.UserHandle(t.Context(), "bob", nil)
	check(t, "UserHandle", err, passkey.ErrNotFound)
}
