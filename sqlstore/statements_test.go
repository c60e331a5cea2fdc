package sqlstore_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

var update = flag.Bool("update", false, "write testdata/statements.txt")

// TestStatements compares every statement and its arguments with
// testdata/statements.txt, so that a change of one shows in a review. Each of
// them has the tenant.
func TestStatements(t *testing.T) {
	t.Parallel()
	all := maps.Clone(calls)
	// With all values, each of them another one.
	at := func(n int) time.Time { return time.UnixMicro(int64(n)).UTC() }
	user := authkit.StoredUser{
		User: authkit.User{
			ID: "id-ann", Email: "ann@example.com", FullName: "Ann", Roles: []string{"a", "b"}, Disabled: true,
			CreatedAt: at(1), UpdatedAt: at(2), EmailVerifiedAt: at(3), LockedUntil: at(4),
		},
		PasswordHash: "hash", TokensValidAfter: at(5),
	}
	session := authkit.StoredSession{
		Session: authkit.Session{
			ID: "s", UserID: "id-ann", Device: "Safari", Address: "192.0.2.1", CreatedAt: at(1), LastUsedAt: at(2), ExpiresAt: at(3),
			AbsoluteExpiresAt: at(4), AuthTime: at(5), Methods: []string{"pwd", "otp"},
		},
		TokenHash: [32]byte{1}, ParentHash: [32]byte{2}, RotatedAt: at(6), Successor: []byte("next"),
	}
	ticket := authkit.Ticket{Kind: "k", ID: "t", Subject: "id-ann", Hash: [32]byte{1}, Body: []byte("body"), Attempts: 1, MaxAttempts: 5, CreatedAt: at(1), ExpiresAt: at(2)}
	bare := authkit.Ticket{Kind: "k", ID: "t", Attempts: -1, MaxAttempts: math.MaxInt}
	change := authkit.UserUpdate{
		Email: new("new@example.com"), FullName: new("New"), Roles: &[]string{"c"}, Disabled: new(true), EmailVerifiedAt: new(at(1)), LockedUntil: new(at(2)),
		PasswordHash: new(authkit.PasswordHash("new")), TokensValidAfter: new(at(3)), IfVersion: 3, KeepRole: "other",
	}
	query := authkit.UserQuery{EmailPrefix: "an", Role: `a"b`, Disabled: new(true), After: "id-a", Limit: 5}
	maps.Copy(all, map[string]func(ctx context.Context, db *sqlstore.DB) (any, error){
		"CreateUser with all": func(ctx context.Context, db *sqlstore.DB) (any, error) { return nil, db.CreateUser(ctx, user) },
		"CreateUser of no role": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			u := user
			u.Roles = nil
			return nil, db.CreateUser(ctx, u)
		},
		"CreateUsers of two": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			return nil, db.CreateUsers(ctx, []authkit.StoredUser{user, named("bob")})
		},
		"UpdateUser with all": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			return db.UpdateUser(ctx, "id-ann", change, at(9))
		},
		"DeleteUser that keeps a role": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			return nil, db.DeleteUser(ctx, "id-bob", "other")
		},
		"ListUsers with all":  func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.ListUsers(ctx, query) },
		"CountUsers with all": func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.CountUsers(ctx, query) },
		"ListUsers of a last prefix": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			return db.ListUsers(ctx, authkit.UserQuery{EmailPrefix: "\U0010ffff\U0010ffff", Limit: 1})
		},
		"ListUsers of a high prefix": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			return db.ListUsers(ctx, authkit.UserQuery{EmailPrefix: "a\U0010ffff", Limit: 1})
		},
		"ListUsers below surrogates": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			return db.ListUsers(ctx, authkit.UserQuery{EmailPrefix: "a\ud7ff", Limit: 1})
		},
		"CreateSession with all": func(ctx context.Context, db *sqlstore.DB) (any, error) { return nil, db.CreateSession(ctx, session, 3) },
		"PutTicket with all":     func(ctx context.Context, db *sqlstore.DB) (any, error) { return nil, db.PutTicket(ctx, ticket) },
		"PutTicket out of range": func(ctx context.Context, db *sqlstore.DB) (any, error) { return nil, db.PutTicket(ctx, bare) },
		"RotateSession with all": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			_, rotated, err := db.RotateSession(ctx, "s", authkit.Rotation{Old: [32]byte{1}, New: [32]byte{2}, Successor: []byte("next"), At: at(1), ExpiresAt: at(2), Address: "192.0.2.1"})
			return rotated, err
		},
		"CreateUser that fails":  calls["CreateUser"],
		"CreateUsers that fails": calls["CreateUsers"],
		"UpdateUser that fails":  calls["UpdateUser with the e-mail"],
		"UpdateUser of another version": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			return db.UpdateUser(ctx, "id-ann", authkit.UserUpdate{IfVersion: 4}, now)
		},
		"Doctor": func(ctx context.Context, db *sqlstore.DB) (any, error) { return db.Doctor(ctx), nil },
		"RevokeSessions but none": func(ctx context.Context, db *sqlstore.DB) (any, error) {
			return nil, db.RevokeSessions(ctx, "id-ann", "\x00", now)
		},
	})
	var got strings.Builder
	for _, d := range dialects {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintf(&got, "%v: %s\n", d, name)
			s := &script{answer: func(ctx context.Context, query string, args []any) reply {
				if query == "CONNECT" || strings.HasPrefix(query, "PREPARE") {
					return reply{}
				}
				fmt.Fprintf(&got, "\t%s\n", query)
				if len(args) > 0 {
					fmt.Fprint(&got, "\t\t")
					for i, arg := range args {
						if i > 0 {
							got.WriteString(", ")
						}
						if hash, ok := arg.([]byte); ok && len(hash) == 32 {
							fmt.Fprintf(&got, "%d...", hash[0])
						} else {
							fmt.Fprintf(&got, "%q", fmt.Sprint(arg))
						}
					}
					got.WriteString("\n")
				}
				r := answers(ctx, query, args)
				if done := migrated(true, own...)(ctx, query, args); len(done.rows) > 0 {
					r = done
				}
				change := strings.HasPrefix(query, "INSERT INTO authkit_users") || strings.HasPrefix(query, "UPDATE authkit_users")
				if change && strings.HasSuffix(name, "fails") {
					return reply{err: errOwn}
				}
				if change && strings.HasSuffix(name, "version") && name != "UpdateUser of a version" {
					return reply{}
				}
				if strings.HasPrefix(query, "SELECT id FROM authkit_sessions") {
					r.rows = [][]any{{"s2"}, {"s1"}}
				}
				return r
			}}
			_, err := all[name](t.Context(), s.open(t, d, &sqlstore.Options{Tenant: "acme"}))
			if err != nil {
				fmt.Fprintf(&got, "\t%v\n", err)
			}
		}
	}
	const file = "testdata/statements.txt"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String(), "if the change is meant, run: go test ./sqlstore -run TestStatements -update")
	for line := range strings.SplitSeq(got.String(), "\n") {
		if strings.HasPrefix(line, "\t\t") && !strings.Contains(line, "authkit_migrations") {
			require.Contains(t, line, `"acme"`)
		}
	}
}

// TestResults asserts that what is read is what the rows have.
func TestResults(t *testing.T) {
	t.Parallel()
	s := &script{}
	at := func(n int64) time.Time { return time.UnixMicro(n).UTC() }
	userRow := []any{"id-ann", "ann@example.com", "Ann", []byte(`["a","b"]`), true, "hash", int64(1), int64(2), int64(3), int64(4), int64(5), int64(6)}
	user := authkit.StoredUser{
		User: authkit.User{
			ID: "id-ann", Email: "ann@example.com", FullName: "Ann", Roles: []string{"a", "b"}, Disabled: true, CreatedAt: at(2), UpdatedAt: at(3),
			EmailVerifiedAt: at(4), LockedUntil: at(5), Version: 6,
		},
		PasswordHash: "hash", TokensValidAfter: at(1),
	}
	first, second := make([]byte, 32), make([]byte, 32)
	first[0], second[0] = 1, 2
	listRow := []any{"s", "id-ann", "Safari", "192.0.2.1", int64(1), int64(2), int64(3), int64(4), int64(5), []byte(`["pwd"]`)}
	sessionRow := append(slices.Clone(listRow), first, second, int64(6), []byte("next"))
	session := authkit.StoredSession{
		Session: authkit.Session{
			ID: "s", UserID: "id-ann", Device: "Safari", Address: "192.0.2.1", CreatedAt: at(1), LastUsedAt: at(2), ExpiresAt: at(3),
			AbsoluteExpiresAt: at(4), AuthTime: at(5), Methods: []string{"pwd"},
		},
		TokenHash: [32]byte{1}, ParentHash: [32]byte{2}, RotatedAt: at(6), Successor: []byte("next"),
	}
	ticket := authkit.Ticket{Kind: "k", ID: "t", Subject: "id-ann", Hash: [32]byte{1}, Body: []byte("body"), Attempts: 1, MaxAttempts: 5, CreatedAt: at(7), ExpiresAt: at(8)}
	ticketRow := []any{"k", "t", "id-ann", first, []byte("body"), int64(1), int64(5), int64(7), int64(8)}
	for name, tc := range map[string]struct {
		row  []any
		want any
	}{
		"UserByID":       {userRow, user},
		"UserByEmail":    {userRow, user},
		"ListUsers":      {userRow, []authkit.User{user.User}},
		"CountUsers":     {[]any{int64(7)}, 7},
		"SessionByID":    {sessionRow, session},
		"SessionsByUser": {listRow, []authkit.Session{session.Session}},
		"Revocations":    {[]any{"id-ann", "s", int64(7)}, []authkit.Revocation{{UserID: "id-ann", SessionID: "s", At: at(7)}}},
		"AttemptTicket":  {ticketRow, ticket},
	} {
		s.answer = func(context.Context, string, []any) reply { return reply{rows: [][]any{tc.row}} }
		got, err := calls[name](t.Context(), s.open(t, sqlstore.Postgres, nil))
		require.NoError(t, err)
		require.Equal(t, tc.want, got, name)
	}
	s.answer = func(context.Context, string, []any) reply {
		return reply{rows: [][]any{append(sessionRow, userRow...)}}
	}
	x, u, err := s.open(t, sqlstore.Postgres, nil).SessionUser(t.Context(), "s")
	require.NoError(t, err)
	require.Equal(t, session, x)
	require.Equal(t, user, u)

	// MySQL counts an attempt first, and reads the ticket then.
	s.answer = func(_ context.Context, query string, _ []any) reply {
		if strings.HasPrefix(query, "UPDATE") {
			return reply{changed: 1, id: 3}
		}
		return reply{rows: [][]any{ticketRow}}
	}
	got, err := s.open(t, sqlstore.MySQL, nil).AttemptTicket(t.Context(), "k", "t", now)
	require.NoError(t, err)
	require.Equal(t, 3, got.Attempts, "whatever other calls have counted since")
	s.answer = func(_ context.Context, query string, _ []any) reply {
		return reply{rows: [][]any{ticketRow}}
	}
	_, err = s.open(t, sqlstore.MySQL, nil).AttemptTicket(t.Context(), "k", "t", now)
	require.ErrorIs(t, err, authkit.ErrTicketNotFound, "no attempt was left")
}

// TestListsOfTexts asserts how stored roles are read: what is no list of texts
// is no role.
func TestListsOfTexts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`["a"]`: {"a"}, `["a","b c"]`: {"a", "b c"}, `["~"]`: {"~"}, `["a", "b"]`: {"a", "b"}, ` ["a"]`: {"a"}, `[]`: {}, `[""]`: {""},
		`["a\"b"]`: {`a"b`}, `["\u0041"]`: {"A"}, `["\\"]`: {`\`}, `["ä"]`: {"ä"}, "[\"\x7f\"]": {"\x7f"}, "[\"\xff\"]": {"\ufffd"},
		"": nil, "x": nil, `{}`: nil, `["a"`: nil, `["a`: nil, `a"]`: nil, `"a"`: nil, `["a",1,"b"]`: nil, `["a"b"]`: nil, "[\"a\tb\"]": nil, "[\"\t\"]": nil, `null`: nil,
	} {
		s := &script{answer: func(ctx context.Context, query string, args []any) reply {
			r := answers(ctx, query, args)
			if len(r.rows) == 1 {
				r.rows[0][3] = []byte(text)
			}
			return r
		}}
		u, err := s.open(t, sqlstore.Postgres, nil).UserByID(t.Context(), "id-ann")
		require.NoError(t, err)
		require.Equal(t, want, u.Roles, text)
	}
}
