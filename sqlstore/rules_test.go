package sqlstore_test

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

// TestKeepRole asserts which changes leave nobody with a role, on each database.
func TestKeepRole(t *testing.T) {
	t.Parallel()
	const admin = "admin"
	lock := func(at time.Time) authkit.UserUpdate { return authkit.UserUpdate{LockedUntil: &at} }
	for name, tc := range map[string]struct {
		others   []string // the roles of other accounts
		roles    string   // of the account
		disabled bool
		locked   time.Time
		change   authkit.UserUpdate
		want     error
	}{
		"another one has it":            {[]string{`["admin"]`}, `["admin"]`, false, time.Time{}, authkit.UserUpdate{Disabled: new(true)}, nil},
		"another one after broken ones": {[]string{`x`, `["xadmin"]`, `["admin"]`, `x`}, `["admin"]`, false, time.Time{}, authkit.UserUpdate{Disabled: new(true)}, nil},
		"only broken ones":              {[]string{`x`, `["xadmin"]`}, `["admin"]`, false, time.Time{}, authkit.UserUpdate{Disabled: new(true)}, authkit.ErrLastAdmin},
		"disabled":                      {nil, `["admin"]`, false, time.Time{}, authkit.UserUpdate{Disabled: new(true)}, authkit.ErrLastAdmin},
		"without the role":              {nil, `["admin"]`, false, time.Time{}, authkit.UserUpdate{Roles: &[]string{"user"}}, authkit.ErrLastAdmin},
		"locked":                        {nil, `["admin"]`, false, time.Time{}, lock(now.Add(time.Second)), authkit.ErrLastAdmin},
		"locked until now":              {nil, `["admin"]`, false, time.Time{}, lock(now), nil},
		"another name":                  {nil, `["admin"]`, false, time.Time{}, authkit.UserUpdate{FullName: new("New")}, nil},
		"it was disabled":               {nil, `["admin"]`, true, time.Time{}, authkit.UserUpdate{FullName: new("New")}, authkit.ErrLastAdmin},
		"it was locked":                 {nil, `["admin"]`, false, now.Add(time.Second), authkit.UserUpdate{FullName: new("New")}, authkit.ErrLastAdmin},
		"it had another role":           {nil, `["user"]`, false, time.Time{}, authkit.UserUpdate{FullName: new("New")}, authkit.ErrLastAdmin},
		"it is enabled":                 {nil, `["admin"]`, true, time.Time{}, authkit.UserUpdate{Disabled: new(false)}, nil},
		"it gets the role":              {nil, `["user"]`, false, time.Time{}, authkit.UserUpdate{Roles: &[]string{"user", "admin"}}, nil},
		"its version":                   {nil, `["admin"]`, false, time.Time{}, authkit.UserUpdate{FullName: new("New"), IfVersion: 3}, nil},
		"another version":               {nil, `["admin"]`, false, time.Time{}, authkit.UserUpdate{Disabled: new(true), IfVersion: 2}, authkit.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEach(t, func(t *testing.T, d sqlstore.Dialect) {
				s := &script{answer: func(ctx context.Context, query string, args []any) reply {
					r := answers(ctx, query, args)
					switch {
					case strings.HasPrefix(query, "SELECT roles"):
						r.rows = nil
						for _, roles := range tc.others {
							r.rows = append(r.rows, []any{[]byte(roles)})
						}
					case strings.Contains(query, "id, email, full_name") && len(r.rows) == 1:
						r.rows[0][3], r.rows[0][4], r.rows[0][10] = []byte(tc.roles), tc.disabled, tc.locked.UnixMicro()
					}
					return r
				}}
				change := tc.change
				change.KeepRole = admin
				_, err := s.open(t, d, nil).UpdateUser(t.Context(), "id-ann", change, now)
				require.Equal(t, tc.want, err)
				log := s.statements()
				updated := 0
				if err == nil {
					updated = 1
				}
				require.Equal(t, updated, count(log, "UPDATE authkit_users"), "%v", log)
				require.Equal(t, updated, count(log, "COMMIT"))

				err = s.open(t, d, nil).DeleteUser(t.Context(), "id-ann", admin)
				log = s.statements()
				if len(tc.others) > 0 && name != "only broken ones" {
					require.NoError(t, err)
					require.Equal(t, 1, count(log, "DELETE"))
					return
				}
				require.Equal(t, authkit.ErrLastAdmin, err)
				require.Zero(t, count(log, "DELETE"))
			})
		})
	}
	for _, d := range dialects {
		s := &script{answer: answers}
		_, err := s.open(t, d, nil).UpdateUser(t.Context(), "id-ann", authkit.UserUpdate{KeepRole: "a\x00b"}, now)
		require.Equal(t, authkit.ErrLastAdmin, err)
		require.Zero(t, count(s.statements(), "SELECT roles"), "no account can have it")
	}
}

// TestWhyNotUpdated asserts what an update that changes no row returns.
func TestWhyNotUpdated(t *testing.T) {
	t.Parallel()
	refused := sqlState("23505")
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres} {
		for name, tc := range map[string]struct {
			update reply
			read   reply
			change authkit.UserUpdate
			want   error
			reads  int
		}{
			"no account":                  {reply{}, reply{}, authkit.UserUpdate{}, authkit.ErrUserNotFound, 0},
			"no account, with an e-mail":  {reply{}, reply{rows: [][]any{{"id-bob"}}}, authkit.UserUpdate{Email: new("bob@example.com")}, authkit.ErrUserNotFound, 0},
			"no account of a version":     {reply{}, reply{}, authkit.UserUpdate{IfVersion: 3}, authkit.ErrUserNotFound, 1},
			"another version":             {reply{}, reply{rows: [][]any{{"id-ann"}}}, authkit.UserUpdate{IfVersion: 3}, authkit.ErrConflict, 1},
			"it cannot tell the version":  {reply{}, reply{err: errOwn}, authkit.UserUpdate{IfVersion: 3}, errOwn, 1},
			"the e-mail of another":       {reply{err: refused}, reply{rows: [][]any{{"id-bob"}}}, authkit.UserUpdate{Email: new("bob@example.com")}, authkit.ErrEmailTaken, 1},
			"its own e-mail":              {reply{err: refused}, reply{rows: [][]any{{"id-ann"}}}, authkit.UserUpdate{Email: new("ann@example.com")}, refused, 1},
			"an e-mail of nobody":         {reply{err: refused}, reply{}, authkit.UserUpdate{Email: new("ann@example.com")}, refused, 1},
			"it cannot tell the e-mail":   {reply{err: refused}, reply{rows: [][]any{{"id-bob"}}, late: errOwn}, authkit.UserUpdate{Email: new("ann@example.com")}, refused, 1},
			"no e-mail":                   {reply{err: refused}, reply{rows: [][]any{{"id-bob"}}}, authkit.UserUpdate{FullName: new("Ann")}, refused, 0},
			"an error of a version":       {reply{err: refused}, reply{rows: [][]any{{"id-ann"}}}, authkit.UserUpdate{IfVersion: 3}, refused, 0},
			"a scan that fails":           {reply{rows: [][]any{{"a"}}}, reply{rows: [][]any{{"id-ann"}}}, authkit.UserUpdate{IfVersion: 3}, nil, 0},
			"the e-mail in another words": {reply{err: errOwn}, reply{rows: [][]any{{"id-bob"}}}, authkit.UserUpdate{Email: new("bob@example.com")}, authkit.ErrEmailTaken, 1},
		} {
			s := &script{answer: func(_ context.Context, query string, _ []any) reply {
				switch {
				case strings.HasPrefix(query, "UPDATE"):
					return tc.update
				case strings.HasPrefix(query, "SELECT"):
					return tc.read
				}
				return reply{}
			}}
			_, err := s.open(t, d, nil).UpdateUser(t.Context(), "id-ann", tc.change, now)
			require.Error(t, err, name)
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want, name)
			}
			reads := 0
			for _, query := range s.statements() {
				if strings.HasPrefix(strings.TrimPrefix(query, "EXECUTE "), "SELECT") {
					reads++
				}
			}
			require.Equal(t, tc.reads, reads, name)
		}
	}
}

// TestDeviceThatCannotBeHeld asserts that the User-Agent of a client fails no login:
// what the database cannot hold of it is replaced.
func TestDeviceThatCannotBeHeld(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		for _, tc := range []struct {
			device string
			err    error
			want   []string // the devices that are tried
		}{
			{"\u0080pp\x7f\u20ac", sqlState("22P05"), []string{"\u0080pp\x7f\u20ac", "?pp\x7f?"}},
			{"\u0080pp", sqlState("23505"), []string{"\u0080pp"}},
			{"App\x7f", sqlState("22P05"), []string{"App\x7f"}},
		} {
			var devices []string
			s := &script{answer: func(ctx context.Context, query string, args []any) reply {
				if strings.Contains(query, "INSERT INTO authkit_sessions") && len(args) > 10 {
					for _, arg := range args {
						if text, ok := arg.(string); ok && strings.Contains(text, "pp") {
							devices = append(devices, text)
						}
					}
					if len(devices) == 1 {
						return reply{err: tc.err}
					}
				}
				return answers(ctx, query, args)
			}}
			x := storedSession()
			x.Device = tc.device
			err := s.open(t, d, nil).CreateSession(t.Context(), x, 1)
			require.Equal(t, tc.want, devices)
			if len(tc.want) == 2 {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tc.err)
			}
		}
	})
}

// TestRevokedOnce asserts that a session that is gone is not revoked again, and
// that nothing is revoked by a transaction that fails.
func TestRevokedOnce(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, d sqlstore.Dialect) {
		s := &script{}
		db := s.open(t, d, nil)
		revoked, err := db.RevokeSession(t.Context(), "id-ann", "s", now)
		require.NoError(t, err)
		require.True(t, revoked)
		s.statements()
		s.answer = func(context.Context, string, []any) reply { return reply{} }
		revoked, err = db.RevokeSession(t.Context(), "id-ann", "s", now)
		require.NoError(t, err)
		require.False(t, revoked)
		log := s.statements()
		require.Zero(t, count(log, "INSERT")+count(log, "EXECUTE INSERT"), "%v", log)
		s.answer = failing("COMMIT", errOwn)
		revoked, err = db.RevokeSession(t.Context(), "id-ann", "s", now)
		if d != sqlstore.Postgres { // where it is one statement
			require.ErrorIs(t, err, errOwn)
			require.False(t, revoked)
		}
	})
	// An error is not taken for an ID that exists.
	s := &script{answer: func(_ context.Context, query string, _ []any) reply {
		return reply{rows: [][]any{{int64(1), int64(0)}}, late: errOwn}
	}}
	require.ErrorIs(t, s.open(t, sqlstore.Postgres, nil).CreateSession(t.Context(), storedSession(), 1), errOwn)
	s = &script{answer: func(_ context.Context, query string, _ []any) reply {
		if strings.Contains(query, "INSERT INTO authkit_session_owners (tenant") {
			return reply{err: errOwn}
		}
		return reply{rows: [][]any{{int64(0), int64(0)}}}
	}}
	require.ErrorIs(t, s.open(t, sqlstore.Postgres, nil).CreateSession(t.Context(), storedSession(), 1), errOwn, "there is no lock")
	require.Equal(t, 3, count(s.statements(), "WITH"))
}

// TestRotationThatIsLate asserts that a rotation of another token returns the
// session as it is.
func TestRotationThatIsLate(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		late := func(ctx context.Context, query string, args []any) reply {
			if strings.HasPrefix(query, "UPDATE") {
				return reply{}
			}
			return answers(ctx, query, args)
		}
		rotate := func(ctx context.Context, db *sqlstore.DB) {
			x, rotated, err := db.RotateSession(ctx, "s", authkit.Rotation{New: [32]byte{9}, At: now, ExpiresAt: now})
			require.NoError(t, err)
			require.False(t, rotated)
			require.Equal(t, "s", x.ID)
			require.Equal(t, []byte("next"), x.Successor)
		}
		rotate(t.Context(), (&script{answer: late}).open(t, d, nil))
		log := hosted(t, &script{answer: late}, d, rotate)
		require.Equal(t, d == sqlstore.MySQL, strings.Contains(log[1], "FOR UPDATE"), "it may have an old view: %v", log)
	}
}

// A brokenFS fails in one of its methods.
type brokenFS struct {
	fstest.MapFS
	sub, glob error
}

func (b brokenFS) Sub(string) (fs.FS, error)     { return b, b.sub }
func (b brokenFS) Glob(string) ([]string, error) { return []string{"0001_a.sql"}, b.glob }

// TestBrokenMigrations asserts that no part of broken migrations is run.
func TestBrokenMigrations(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]fs.FS{
		"no folder":    brokenFS{sub: errOwn},
		"no list":      brokenFS{MapFS: fstest.MapFS{"0001_a.sql": {}}, glob: errOwn},
		"no file":      brokenFS{},
		"only folders": fstest.MapFS{"migrations/mysql/0001_a.sql": {Mode: fs.ModeDir}},
	} {
		s := &script{}
		require.Error(t, s.open(t, sqlstore.MySQL, nil).Migrate(t.Context(), sqlstore.Migrations{Package: "other", Files: files}), name)
		require.Empty(t, s.statements())
	}
	none, err := fs.Glob(sqlstore.Migrations{Files: fstest.MapFS{"migrations/Dialect(0)/0001_a.sql": {}}}.For(0), "*")
	require.NoError(t, err)
	require.Empty(t, none)
	broken := sqlstore.Migrations{Files: brokenFS{sub: errOwn, glob: errOwn}}.For(sqlstore.MySQL)
	none, err = fs.Glob(broken, "*")
	require.NoError(t, err)
	require.Empty(t, none)

	// Half of an answer is no answer.
	for _, d := range dialects {
		s := &script{answer: func(ctx context.Context, query string, args []any) reply {
			r := migrated(true)(ctx, query, args)
			if len(r.rows) > 0 {
				r.late = errOwn
			}
			return r
		}}
		_, err := s.open(t, d, nil).Pending(t.Context())
		require.ErrorIs(t, err, errOwn)
	}
}
