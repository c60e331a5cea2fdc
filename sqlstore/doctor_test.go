package sqlstore_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/sqlstore"
)

// A patient describes a database that Doctor examines.
type patient struct {
	pending  bool
	roles    []string
	skew     time.Duration
	timeout  int64
	file     string
	tables   [2]int64
	encoding string
	backends [2]int64
	charset  string
	mode     string
	late     bool   // the clock fails after its answer
	fails    string // a part of the statement that fails
	err      error
}

var healthy = patient{
	roles: []string{`["user"]`, `[]`}, timeout: 5000, file: "auth.db", tables: [2]int64{4, 4}, encoding: "UTF8", backends: [2]int64{1, 2},
	charset: "utf8mb4", mode: "STRICT_TRANS_TABLES,NO_ZERO_DATE",
}

func (p patient) script() *script {
	tables, backends := 0, 0
	return &script{answer: func(ctx context.Context, query string, args []any) reply {
		if p.fails != "" && strings.Contains(query, p.fails) {
			return reply{err: p.err}
		}
		one := func(values ...any) reply { return reply{rows: [][]any{values}} }
		switch {
		case strings.HasPrefix(query, "PREPARE"), query == "CONNECT":
			return reply{}
		case strings.HasPrefix(query, "SELECT roles"):
			r := reply{}
			for _, roles := range p.roles {
				r.rows = append(r.rows, []any{[]byte(roles)})
			}
			return r
		case strings.Contains(query, "clock_timestamp"), strings.Contains(query, "UNIX_TIMESTAMP"):
			r := one(time.Now().Add(p.skew).UnixMicro())
			if p.late {
				r.late = errOwn
			}
			return r
		case query == "PRAGMA busy_timeout":
			return one(p.timeout)
		case strings.Contains(query, "pragma_database_list"):
			return one(p.file)
		case query == "SELECT COUNT(*) FROM sqlite_master":
			tables++
			return one(p.tables[tables-1])
		case strings.Contains(query, "server_encoding"):
			return one(p.encoding)
		case strings.Contains(query, "pg_backend_pid"):
			backends++
			return one(p.backends[backends-1])
		case strings.Contains(query, "character_set_client"):
			return one(p.charset, p.mode)
		}
		if p.pending {
			return migrated(true, own[1:]...)(ctx, query, args)
		}
		return migrated(true, own...)(ctx, query, args)
	}}
}

// TestDoctorFindings asserts the findings for each database.
func TestDoctorFindings(t *testing.T) {
	t.Parallel()
	const lite, pg, my = sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL
	for name, tc := range map[string]struct {
		change func(p *patient)
		of     []sqlstore.Dialect
		code   string // empty for none
		level  slog.Level
		text   string
	}{
		"healthy":               {func(*patient) {}, dialects, "", 0, ""},
		"pending":               {func(p *patient) { p.pending, p.roles = true, []string{"x"} }, dialects, "pending_migrations", slog.LevelError, "lacks 0001_users.sql"},
		"roles":                 {func(p *patient) { p.roles = []string{`["a"]`, `x`, `{}`, ``} }, dialects, "unreadable_roles", slog.LevelWarn, "3 of the first 1000"},
		"a little fast":         {func(p *patient) { p.skew = 5 * time.Second }, dialects, "", 0, ""},
		"a little slow":         {func(p *patient) { p.skew = -5 * time.Second }, dialects, "", 0, ""},
		"fast":                  {func(p *patient) { p.skew = 6 * time.Second }, []sqlstore.Dialect{pg, my}, "clock_skew", slog.LevelWarn, "is 6s from"},
		"slow":                  {func(p *patient) { p.skew = -6 * time.Second }, []sqlstore.Dialect{pg, my}, "clock_skew", slog.LevelWarn, "is -6s from"},
		"no clock of its own":   {func(p *patient) { p.skew = time.Hour }, []sqlstore.Dialect{lite}, "", 0, ""},
		"no timeout":            {func(p *patient) { p.timeout = 0 }, []sqlstore.Dialect{lite}, "no_busy_timeout", slog.LevelWarn, ""},
		"memory of each":        {func(p *patient) { p.file, p.tables[1] = "", 0 }, []sqlstore.Dialect{lite}, "memory_per_connection", slog.LevelError, ""},
		"memory of all":         {func(p *patient) { p.file = "" }, []sqlstore.Dialect{lite}, "", 0, ""},
		"a file that grows":     {func(p *patient) { p.tables[1] = 5 }, []sqlstore.Dialect{lite}, "", 0, ""},
		"another encoding":      {func(p *patient) { p.encoding = "LATIN1" }, []sqlstore.Dialect{pg}, "character_set", slog.LevelWarn, `"LATIN1"`},
		"a pooler":              {func(p *patient) { p.backends[1] = 1 }, []sqlstore.Dialect{pg}, "pooler_in_transaction_mode", slog.LevelInfo, ""},
		"no backend":            {func(p *patient) { p.backends = [2]int64{} }, []sqlstore.Dialect{pg}, "", 0, ""},
		"another character set": {func(p *patient) { p.charset = "utf8mb3" }, []sqlstore.Dialect{my}, "character_set", slog.LevelWarn, `"utf8mb3"`},
		"not strict":            {func(p *patient) { p.mode = "NO_ZERO_DATE" }, []sqlstore.Dialect{my}, "sql_mode", slog.LevelError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, d := range tc.of {
				synctest.Test(t, func(t *testing.T) {
					p := healthy
					tc.change(&p)
					db, pool := p.script().openPool(t, d, &sqlstore.Options{TablePrefix: "my_"})
					found := db.Doctor(t.Context())
					require.Zero(t, pool.Stats().InUse)
					if tc.code == "" {
						require.Empty(t, found)
						return
					}
					require.Len(t, found, 1)
					require.Equal(t, tc.code, found[0].Code)
					require.Equal(t, tc.level, found[0].Severity)
					require.Contains(t, found[0].Text, tc.text)
					require.NotEmpty(t, found[0].Fix)
				})
			}
		})
	}
}

// TestDoctorFails asserts that a statement that fails is one finding, which
// names a pooler if the error does.
func TestDoctorFails(t *testing.T) {
	t.Parallel()
	const lite, pg, my = sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL
	for part, of := range map[string][]sqlstore.Dialect{
		"CONNECT": dialects, "SELECT name FROM my_migrations": dialects, "SELECT roles": dialects, "clock_timestamp": {pg}, "UNIX_TIMESTAMP": {my},
		"PRAGMA busy_timeout": {lite}, "pragma_database_list": {lite}, "SELECT COUNT(*) FROM sqlite_master": {lite},
		"server_encoding": {pg}, "pg_backend_pid": {pg}, "character_set_client": {my},
	} {
		for _, d := range of {
			for _, tc := range []struct {
				err  error
				code string
			}{
				{errOwn, "unavailable"}, {sqlState("42P01"), "unavailable"}, {sqlState("26000"), "pooler_prepared_statements"}, {sqlState("42P05"), "pooler_prepared_statements"},
			} {
				p := healthy
				p.fails, p.err = part, tc.err
				found := p.script().open(t, d, &sqlstore.Options{TablePrefix: "my_"}).Doctor(t.Context())
				require.Len(t, found, 1, "%s: %v", part, found)
				require.Equal(t, tc.code, found[0].Code)
				require.Equal(t, slog.LevelError, found[0].Severity)
				require.Contains(t, found[0].Text, tc.err.Error())
			}
		}
	}
}

// TestDoctorLosesConnections asserts that Doctor reports each connection that
// it does not get, and a clock that does not read like one.
func TestDoctorLosesConnections(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		lost := 0
		for first := range 12 {
			p, connected := healthy.script(), 0
			healthy := p.answer
			p.answer = func(ctx context.Context, query string, args []any) reply {
				if query == "CONNECT" {
					if connected++; connected > first {
						return reply{err: errOwn}
					}
				}
				return healthy(ctx, query, args)
			}
			db, pool := p.openPool(t, d, nil)
			pool.SetMaxIdleConns(-1)
			for _, finding := range db.Doctor(t.Context()) {
				require.Equal(t, "unavailable", finding.Code)
				lost++
			}
		}
		require.Greater(t, lost, 3)
	}
	for _, d := range []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL} {
		p := healthy
		p.late, p.skew = true, time.Hour
		found := p.script().open(t, d, nil).Doctor(t.Context())
		require.Len(t, found, 1)
		require.Equal(t, "unavailable", found[0].Code)

		s := healthy.script()
		well := s.answer
		s.answer = func(ctx context.Context, query string, args []any) reply {
			if strings.Contains(query, "TIMESTAMP") || strings.Contains(query, "clock_timestamp") {
				return reply{rows: [][]any{{"noon"}}}
			}
			return well(ctx, query, args)
		}
		found = s.open(t, d, nil).Doctor(t.Context())
		require.Len(t, found, 1)
		require.Equal(t, "unavailable", found[0].Code)
	}
}

// TestDoctorWithOneConnection asserts that Doctor does not wait for a second
// connection that the pool does not have, nor long for one that others hold.
func TestDoctorWithOneConnection(t *testing.T) {
	t.Parallel()
	for _, d := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres} {
		for _, most := range []int{1, 2} {
			synctest.Test(t, func(t *testing.T) {
				p := healthy
				p.file, p.tables[1], p.backends[1] = "", 0, 1
				db, pool := p.script().openPool(t, d, nil)
				pool.SetMaxOpenConns(most)
				begun := time.Now()
				if most == 2 {
					held, err := pool.Conn(t.Context())
					require.NoError(t, err)
					defer func() { _ = held.Close() }()
				}
				require.Empty(t, db.Doctor(t.Context()), "what two connections show is not seen by one")
				require.Equal(t, time.Duration(most-1)*2*time.Second, time.Since(begun))
			})
		}
	}
}
