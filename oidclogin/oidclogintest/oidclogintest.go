// Package oidclogintest tests implementations of [oidclogin.Store].
package oidclogintest

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authkit-go/authkit/oidclogin"
)

// TestStore tests an implementation of [oidclogin.Store] against the contract in
// that interface's comment. The function open returns an empty store that no
// other test uses; it may register a cleanup. The subtests run in parallel.
func TestStore(t *testing.T, open func(t *testing.T) oidclogin.Store) {
	for name, test := range map[string]func(*testing.T, oidclogin.Store){
		"RoundTrip":        testRoundTrip,
		"Unique":           testUnique,
		"Bytes":            testBytes,
		"OtherUsers":       testOtherUsers,
		"Delete":           testDelete,
		"Tokens":           testTokens,
		"BrokenTexts":      testBrokenTexts,
		"SharesNoMemory":   testSharesNoMemory,
		"CancelledContext": testCancelledContext,
		"Race":             testRace,
		"DeleteRace":       testDeleteRace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const issuer = "https://accounts.example.com"

var start = time.Date(2025, 1, 2, 3, 4, 5, 678901000, time.UTC)

// identity returns the identity of a subject.
func identity(id, userID, subject string) oidclogin.Identity {
	return oidclogin.Identity{ID: id, UserID: userID, Provider: "example", Issuer: issuer, Subject: subject, Email: subject + "@example.com", CreatedAt: start, Tokens: []byte("tokens of " + id + "\x00\xff")}
}

func create(t *testing.T, s oidclogin.Store, all ...oidclogin.Identity) {
	t.Helper()
	for _, id := range all {
		if err := s.CreateIdentity(t.Context(), id); err != nil {
			t.Fatalf("CreateIdentity(%v): %v", id, err)
		}
	}
}

// has checks that an identity is stored as it is here.
func has(t *testing.T, s oidclogin.Store, want oidclogin.Identity) {
	t.Helper()
	got, err := s.IdentityBySubject(t.Context(), want.Issuer, want.Subject)
	if err != nil {
		t.Fatalf("IdentityBySubject(%s): %v", want.Subject, err)
	}
	same := got.CreatedAt.Equal(want.CreatedAt) && bytes.Equal(got.Tokens, want.Tokens)
	got.CreatedAt, got.Tokens = want.CreatedAt, want.Tokens
	if !same || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func hasNot(t *testing.T, s oidclogin.Store, issuer, subject string) {
	t.Helper()
	if id, err := s.IdentityBySubject(t.Context(), issuer, subject); !errors.Is(err, oidclogin.ErrNoIdentity) {
		t.Fatalf("IdentityBySubject(%s, %s): %v, %v; want ErrNoIdentity", issuer, subject, id, err)
	}
}

// owns checks the number of identities of a user.
func owns(t *testing.T, s oidclogin.Store, userID string, want int) {
	t.Helper()
	list, err := s.IdentitiesByUser(t.Context(), userID)
	if err != nil || len(list) != want {
		t.Fatalf("IdentitiesByUser(%s): %v, %v; want %d", userID, list, err, want)
	}
	for _, id := range list {
		if id.UserID != userID {
			t.Fatalf("IdentitiesByUser(%s): %v", userID, id)
		}
	}
}

func testRoundTrip(t *testing.T, s oidclogin.Store) {
	hasNot(t, s, issuer, "1")
	owns(t, s, "ann", 0)
	a, b := identity("a", "ann", "1"), identity("b", "ann", "2")
	b.Tokens, b.Email = nil, ""
	create(t, s, a, b, identity("c", "bob", "3"))
	has(t, s, a)
	has(t, s, b)
	owns(t, s, "ann", 2)
	owns(t, s, "bob", 1)
}

func testUnique(t *testing.T, s oidclogin.Store) {
	a := identity("a", "ann", "1")
	create(t, s, a)
	for name, id := range map[string]oidclogin.Identity{"another user": identity("b", "bob", "1"), "the same user": identity("c", "ann", "1")} {
		if err := s.CreateIdentity(t.Context(), id); !errors.Is(err, oidclogin.ErrIdentityTaken) {
			t.Errorf("an identity that exists, for %s: %v; want ErrIdentityTaken", name, err)
		}
	}
	for name, id := range map[string]oidclogin.Identity{"that exists": identity("a", "bob", "2"), "that is empty": identity("", "bob", "3")} {
		if err := s.CreateIdentity(t.Context(), id); err == nil || errors.Is(err, oidclogin.ErrIdentityTaken) {
			t.Errorf("an ID %s: %v", name, err)
		}
	}
	has(t, s, a)
	owns(t, s, "bob", 0)
	elsewhere := identity("d", "bob", "1")
	elsewhere.Issuer = "https://other.example.com"
	create(t, s, elsewhere)
	has(t, s, a)
	has(t, s, elsewhere)
}

// testBytes: issuers and subjects are compared byte by byte.
func testBytes(t *testing.T, s oidclogin.Store) {
	create(t, s, identity("a", "ann", "subject"))
	for _, subject := range []string{"Subject", "subject ", "súbject", "subjec"} {
		hasNot(t, s, issuer, subject)
	}
	hasNot(t, s, issuer+"/", "subject")
	hasNot(t, s, strings.ToUpper(issuer), "subject")
	create(t, s, identity("A", "Ann", "Subject"), identity("b", "ann", "subject "))
	owns(t, s, "ann", 2)
	long := identity("l", "ann", strings.Repeat("s", 255))
	create(t, s, long)
	has(t, s, long)
}

func testOtherUsers(t *testing.T, s oidclogin.Store) {
	a := identity("a", "ann", "1")
	create(t, s, a)
	if err := s.DeleteIdentity(t.Context(), "bob", "a"); !errors.Is(err, oidclogin.ErrNoIdentity) {
		t.Errorf("DeleteIdentity of another user: %v; want ErrNoIdentity", err)
	}
	if err := s.SetTokens(t.Context(), "bob", "a", []byte("x")); !errors.Is(err, oidclogin.ErrNoIdentity) {
		t.Errorf("SetTokens of another user: %v; want ErrNoIdentity", err)
	}
	if err := s.DeleteIdentities(t.Context(), "bob"); err != nil {
		t.Errorf("DeleteIdentities of a user without any: %v", err)
	}
	has(t, s, a)
}

func testDelete(t *testing.T, s oidclogin.Store) {
	create(t, s, identity("a", "ann", "1"), identity("b", "ann", "2"), identity("c", "bob", "3"), identity("d", "ann", "4"))
	if err := s.DeleteIdentity(t.Context(), "ann", "a"); err != nil {
		t.Fatal(err)
	}
	hasNot(t, s, issuer, "1")
	if err := s.DeleteIdentity(t.Context(), "ann", "a"); !errors.Is(err, oidclogin.ErrNoIdentity) {
		t.Errorf("DeleteIdentity of one that is gone: %v; want ErrNoIdentity", err)
	}
	owns(t, s, "ann", 2)
	if err := s.DeleteIdentities(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	owns(t, s, "ann", 0)
	owns(t, s, "bob", 1)
	again := identity("e", "bob", "1") // what was removed is free
	create(t, s, again)
	has(t, s, again)
}

func testTokens(t *testing.T, s oidclogin.Store) {
	a := identity("a", "ann", "1")
	create(t, s, a, identity("b", "ann", "2"))
	for _, tokens := range [][]byte{[]byte("new\x00"), []byte("new\x00"), nil, bytes.Repeat([]byte{1}, 20_000)} {
		if err := s.SetTokens(t.Context(), "ann", "a", tokens); err != nil {
			t.Fatal(err)
		}
		a.Tokens = tokens
		has(t, s, a)
	}
	has(t, s, identity("b", "ann", "2"))
	if err := s.SetTokens(t.Context(), "ann", "z", nil); !errors.Is(err, oidclogin.ErrNoIdentity) {
		t.Errorf("SetTokens of no identity: %v; want ErrNoIdentity", err)
	}
}

func testBrokenTexts(t *testing.T, s oidclogin.Store) {
	for _, text := range []string{"\x00", "\xff", "", strings.Repeat("a", 3000)} {
		hasNot(t, s, issuer, text)
		hasNot(t, s, text, "1")
		owns(t, s, text, 0)
		if err := s.DeleteIdentity(t.Context(), text, text); !errors.Is(err, oidclogin.ErrNoIdentity) {
			t.Errorf("DeleteIdentity(%.10q): %v; want ErrNoIdentity", text, err)
		}
		if err := s.SetTokens(t.Context(), text, text, nil); !errors.Is(err, oidclogin.ErrNoIdentity) {
			t.Errorf("SetTokens(%.10q): %v; want ErrNoIdentity", text, err)
		}
		if err := s.DeleteIdentities(t.Context(), text); err != nil {
			t.Errorf("DeleteIdentities(%.10q): %v", text, err)
		}
	}
}

func testSharesNoMemory(t *testing.T, s oidclogin.Store) {
	want := identity("a", "ann", "1")
	given := want
	given.Tokens = bytes.Clone(want.Tokens)
	create(t, s, given)
	given.Tokens[0] = 'X'
	has(t, s, want)
	got, _ := s.IdentityBySubject(t.Context(), issuer, "1")
	got.Tokens[0] = 'X'
	list, _ := s.IdentitiesByUser(t.Context(), "ann")
	list[0].Tokens[1] = 'X'
	has(t, s, want)
	tokens := []byte("later")
	if err := s.SetTokens(t.Context(), "ann", "a", tokens); err != nil {
		t.Fatal(err)
	}
	tokens[0] = 'X'
	want.Tokens = []byte("later")
	has(t, s, want)
}

func testCancelledContext(t *testing.T, s oidclogin.Store) {
	a := identity("a", "ann", "1")
	create(t, s, a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"CreateIdentity":    func() error { return s.CreateIdentity(ctx, identity("b", "bob", "2")) },
		"IdentityBySubject": func() error { _, err := s.IdentityBySubject(ctx, issuer, "1"); return err },
		"IdentitiesByUser":  func() error { _, err := s.IdentitiesByUser(ctx, "ann"); return err },
		"SetTokens":         func() error { return s.SetTokens(ctx, "ann", "a", nil) },
		"DeleteIdentity":    func() error { return s.DeleteIdentity(ctx, "ann", "a") },
		"DeleteIdentities":  func() error { return s.DeleteIdentities(ctx, "ann") },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want the error of the context", name, err)
		}
	}
	has(t, s, a)
	owns(t, s, "bob", 0)
}

// atOnce calls f from 32 goroutines and returns how many calls returned nil. All
// others must have returned the given error.
func atOnce(t *testing.T, refusal error, f func(i int) error) int {
	t.Helper()
	var won atomic.Int32
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			switch err := f(i); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, refusal):
				t.Error(err)
			}
		})
	}
	group.Wait()
	return int(won.Load())
}

// testRace: of several callers with one identity, one succeeds (OA-15).
func testRace(t *testing.T, s oidclogin.Store) {
	n := atOnce(t, oidclogin.ErrIdentityTaken, func(i int) error {
		name := strings.Repeat("x", i+1)
		return s.CreateIdentity(t.Context(), identity(name, name, "1"))
	})
	if n != 1 {
		t.Errorf("%d callers stored one identity", n)
	}
}

func testDeleteRace(t *testing.T, s oidclogin.Store) {
	create(t, s, identity("a", "ann", "1"))
	if n := atOnce(t, oidclogin.ErrNoIdentity, func(int) error { return s.DeleteIdentity(t.Context(), "ann", "a") }); n != 1 {
		t.Errorf("%d callers deleted one identity", n)
	}
}
