package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
)

// queried returns accounts that a store may confuse: their e-mails contain the
// special characters of patterns, and their roles are prefixes or suffixes of
// others.
func queried() []authkit.StoredUser {
	var users []authkit.StoredUser
	for i, x := range []struct {
		email    string
		roles    []string
		disabled bool
	}{
		{"ada@example.com", []string{"admin"}, false},
		{"ada_l@example.com", []string{"admin2", "editor"}, false},
		{"adaxl@example.com", []string{"editor", "super_admin"}, true},
		{"a%da@example.com", []string{"superXadmin"}, false},
		{"a%%@example.com", []string{"editor", "user", "admin"}, true},
		{"a\\b@example.com", []string{"adm", "super_admin"}, false},
		{"a*b@example.com", []string{"Admin", "user:editor"}, false},
		{"a[b]@example.com", []string{"user-editor"}, true},
		{"a'b@example.com", nil, false},
		{"a?b@example.com", []string{"user", "editor"}, false},
		{"ælfrēd@example.com", []string{"user"}, false},
		{"ælf@example.com", []string{"user", "admin"}, true},
		{"z@example.com", nil, true},
	} {
		u := newUser(i)
		u.Email, u.Roles, u.Disabled = x.email, x.roles, x.disabled
		users = append(users, u)
	}
	return users
}

// queries returns queries with different results on queried.
func queries() []authkit.UserQuery {
	var all []authkit.UserQuery
	for _, prefix := range []string{
		"", "a", "A", "Ada", "ada", "ada@", "ada_", "ada_l@example.com", "ada_l@example.comx", "a_a", "a%", "a%%", "%", "%a", "_", "a\\", "\\", "\\%",
		"a*", "*", "a[", "a[b]", "a[a-z]", "a?", "?", "a'", "'", "æ", "ælf", "ælfr", "ælfre", "Æ", "ae", "z", " ", "a ", "example.com", "\xff", "a\x00", "\x00",
	} {
		all = append(all, authkit.UserQuery{EmailPrefix: prefix})
	}
	for _, role := range []string{
		"admin", "admin2", "adm", "Admin", "ADMIN", "dmin", "super_admin", "superXadmin", "super%", "%", "_", "user", "editor", "user:editor", "user-editor",
		"user,editor", "user editor", `user","editor`, "user\neditor", " user", "user ", ",", `"`, "[]", "null", "\xff", "user\x00",
	} {
		all = append(all, authkit.UserQuery{Role: role})
	}
	for _, disabled := range []*bool{nil, new(true), new(false)} {
		for _, role := range []string{"", "admin", "editor", "super_admin"} {
			for _, prefix := range []string{"", "a", "a%", "ada", "æ"} {
				all = append(all, authkit.UserQuery{EmailPrefix: prefix, Role: role, Disabled: disabled})
			}
		}
	}
	return all
}

// selected returns the accounts that a query selects, without pages.
func selected(users []authkit.StoredUser, q authkit.UserQuery) []authkit.User {
	var found []authkit.User
	for _, u := range users {
		prefix := len(u.Email) >= len(q.EmailPrefix) && u.Email[:len(q.EmailPrefix)] == q.EmailPrefix
		if prefix && (q.Role == "" || slices.Contains(u.Roles, q.Role)) && (q.Disabled == nil || *q.Disabled == u.Disabled) {
			found = append(found, u.User)
		}
	}
	return found
}

func describe(q authkit.UserQuery) string {
	disabled := map[bool]string{true: ", disabled", false: ", enabled"}
	state := ""
	if q.Disabled != nil {
		state = disabled[*q.Disabled]
	}
	return fmt.Sprintf("prefix %q, role %q%s", q.EmailPrefix, q.Role, state)
}

func testQueries(t *testing.T, s authkit.UserStore) {
	users := queried()
	create(t, s, users...)
	for _, q := range queries() {
		want := selected(users, q)
		q.Limit = len(users)
		got, err := s.ListUsers(t.Context(), q)
		if err != nil || !slices.EqualFunc(got, want, equal) {
			t.Errorf("ListUsers with %s: got %+v (%v), want %+v", describe(q), got, err, want)
		}
	}
}

func testCounts(t *testing.T, s authkit.UserStore) {
	users := queried()
	if n, err := s.CountUsers(t.Context(), authkit.UserQuery{}); err != nil || n != 0 {
		t.Fatalf("an empty store counts %d accounts (%v)", n, err)
	}
	create(t, s, users...)
	for i, q := range queries() {
		// A count ignores both.
		q.Limit, q.After = []int{0, 1, -1, 1000}[i%4], []string{"", "id-000005", "z"}[i%3]
		if n, err := s.CountUsers(t.Context(), q); err != nil || n != len(selected(users, q)) {
			t.Errorf("CountUsers with %s: got %d (%v), want %d", describe(q), n, err, len(selected(users, q)))
		}
	}
	update(t, s, &users[0], authkit.UserUpdate{}, start)
	if err := s.DeleteUser(t.Context(), users[1].ID, ""); err != nil {
		t.Fatal(err)
	}
	if n, err := s.CountUsers(t.Context(), authkit.UserQuery{}); err != nil || n != len(users)-1 {
		t.Fatalf("counted %d accounts (%v), want %d", n, err, len(users)-1)
	}
}

// testQueryPages reads the pages of a query that selects every third account.
func testQueryPages(t *testing.T, s authkit.UserStore) {
	const n = 60
	var users []authkit.StoredUser
	for i := range n {
		u := newUser(i)
		u.Disabled = i%3 == 0
		if i%2 == 0 {
			u.Roles = []string{"even"}
		}
		users = append(users, u)
	}
	for i := range users { // not in the order of the IDs
		create(t, s, users[(i*7)%n])
	}
	for _, q := range []authkit.UserQuery{
		{Disabled: new(true)}, {Disabled: new(false)}, {Role: "even"}, {Role: "even", Disabled: new(true)}, {EmailPrefix: "user1"},
		{EmailPrefix: "user1", Role: "even", Disabled: new(false)}, {Role: "odd"},
	} {
		for _, limit := range []int{1, 3, n} {
			var got []authkit.User
			q.After, q.Limit = "", limit
			for {
				page, err := s.ListUsers(t.Context(), q)
				if err != nil || len(page) > limit {
					t.Fatalf("%s: a page of %d (%v), limit %d", describe(q), len(page), err, limit)
				}
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				q.After = page[len(page)-1].ID
				if len(page) < limit {
					break
				}
			}
			if want := selected(users, q); !slices.EqualFunc(got, want, equal) {
				t.Fatalf("%s in pages of %d: got %+v, want %+v", describe(q), limit, got, want)
			}
		}
		q.Limit = 0
		if page, err := s.ListUsers(t.Context(), q); err != nil || len(page) != 0 {
			t.Fatalf("%s with limit 0: %+v (%v)", describe(q), page, err)
		}
	}
}

// testUserKeepsTimes checks the times that are optional, in new and in changed
// accounts.
func testUserKeepsTimes(t *testing.T, s authkit.UserStore) {
	zero := newUser(0)
	create(t, s, zero)
	if u := find(t, s, zero.ID); !u.EmailVerifiedAt.IsZero() || !u.LockedUntil.IsZero() || !u.TokensValidAfter.IsZero() {
		t.Fatalf("times that nobody set: verified %v, locked until %v, valid from %v", u.EmailVerifiedAt, u.LockedUntil, u.TokensValidAfter)
	}
	second := start.Truncate(time.Second)
	for i, at := range []time.Time{
		start, start.In(elsewhere), second, second.Add(time.Microsecond), second.Add(-time.Microsecond).In(elsewhere), {},
		time.Date(2024, 2, 29, 23, 59, 59, 999999000, elsewhere), time.Date(2100, 1, 1, 0, 0, 0, 1000, time.UTC),
	} {
		u := newUser(i + 1)
		u.EmailVerifiedAt = at
		if !at.IsZero() {
			u.LockedUntil = at.Add(time.Microsecond)
		}
		u.CreatedAt, u.UpdatedAt = start.In(elsewhere), start.Add(time.Microsecond).In(elsewhere)
		create(t, s, u)
		same(t, find(t, s, u.ID), u)

		zero.EmailVerifiedAt = at
		update(t, s, &zero, authkit.UserUpdate{EmailVerifiedAt: &at}, start.In(elsewhere))
		zero.LockedUntil = u.LockedUntil
		update(t, s, &zero, authkit.UserUpdate{LockedUntil: &u.LockedUntil}, start)
		update(t, s, &zero, authkit.UserUpdate{FullName: &zero.FullName}, start.Add(time.Microsecond))
		list, err := s.ListUsers(t.Context(), authkit.UserQuery{Limit: 1})
		if err != nil || len(list) != 1 || !equal(list[0], zero.User) || list[0].LockedUntil.IsZero() != at.IsZero() {
			t.Fatalf("ListUsers: got %+v (%v), want %+v", list, err, zero.User)
		}
	}
}
