package integration_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/account/accountsql"
	"github.com/authkit-go/authkit/apikey"
	"github.com/authkit-go/authkit/apikey/apikeysql"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/org"
	"github.com/authkit-go/authkit/org/orgsql"
	"github.com/authkit-go/authkit/sqlstore"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/totp/totpsql"
	"github.com/authkit-go/authkit/trusteddevice"
	"github.com/authkit-go/authkit/trusteddevice/trusteddevicesql"
)

// Every statement of the store, as it is run, is answered from an index: none looks at a whole
// table, however large that gets.
func TestEveryStatementUsesAnIndex(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, d database) {
		dsn := d.create(t)
		plain := pool(t, d.driver, dsn)
		fill(t, plain, storeOn(t, plain, d, nil), d, 500)
		db, seen := record(plain, dsn)
		t.Cleanup(func() { _ = db.Close() })
		callEverything(t, storeOn(t, db, d, nil))

		conn, err := plain.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		if d.dialect == sqlstore.Postgres { // with few rows it would rather read all of them
			_, err := conn.ExecContext(t.Context(), "SET enable_seqscan = off")
			require.NoError(t, err)
		}
		explained := 0
		for _, query := range seen.statements() {
			if !strings.Contains(query, "authkit_") || strings.Contains(query, "authkit_migrations") || strings.HasPrefix(query, "INSERT") && !strings.Contains(query, " FROM ") {
				continue
			}
			explained++
			args := seen.seen[query]
			for _, step := range explain(t, conn, d, query, args) {
				require.NotRegexp(t, wholeTable, step, query)
			}
		}
		// What there is no index for would be noticed.
		require.Regexp(t, wholeTable, strings.Join(explain(t, conn, d, "SELECT id FROM authkit_users WHERE full_name = 'x'", nil), "\n"))
		require.GreaterOrEqual(t, explained, 14, "%q", seen.statements())
	})
}

// wholeTable matches a step that reads all of a table, or of an index.
var wholeTable = regexp.MustCompile(`Seq Scan|^SCAN |\b(ALL|index)\b <- type`)

// fill adds rows to each table. With 500, an index pays.
func fill(t *testing.T, db *sql.DB, s *sqlstore.DB, d database, rows int) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	ctx := s.WithTx(t.Context(), tx)
	for i := range rows {
		u := userNamed(fmt.Sprint("user", i))
		require.NoError(t, s.CreateUser(ctx, u))
		x := sessionNamed(fmt.Sprint("session", i), u.ID)
		x.ExpiresAt = start.Add(time.Duration(i) * time.Hour)
		require.NoError(t, s.CreateSession(ctx, x, 50))
		require.NoError(t, s.RevokeSessions(ctx, fmt.Sprint("gone", i), "", x.ExpiresAt))
		k := ticketNamed(fmt.Sprint("ticket", i), u.ID)
		k.ExpiresAt = x.ExpiresAt
		require.NoError(t, s.PutTicket(ctx, k))
		require.NoError(t, auditsql.New(s).AppendAudit(ctx, []audit.Entry{{Seq: uint64(i + 1), ActorID: u.ID, TargetID: u.ID}}))
		orgs, orgID := orgsql.New(s), fmt.Sprint("org", i)
		require.NoError(t, orgs.CreateOrg(ctx, org.Org{ID: orgID}, org.Member{UserID: u.ID, Roles: []string{org.Owner}}))
		require.NoError(t, orgs.Apply(ctx, orgID, 1, org.Change{PutInvitation: &org.StoredInvitation{Invitation: org.Invitation{ID: fmt.Sprint("invitation", i), ExpiresAt: x.ExpiresAt}}}))
		require.NoError(t, orgs.SetActive(ctx, x.ID, orgID, x.ExpiresAt))
		jobs := accountsql.New(s)
		require.NoError(t, jobs.PutJob(ctx, account.Job{ID: fmt.Sprint("job", i), DueAt: x.ExpiresAt, ExpiresAt: x.ExpiresAt.Add(time.Hour)}))
		require.NoError(t, jobs.SetTimes(ctx, fmt.Sprint("key", i), []time.Time{start}, 0, x.ExpiresAt))
		require.NoError(t, apikeysql.New(s).CreateKey(ctx, apikey.StoredKey{Key: apikey.Key{Owner: apikey.OfUser(u.ID), ID: fmt.Sprint("key", i), ExpiresAt: x.ExpiresAt}}))
		require.NoError(t, apikeysql.New(s).CreateService(ctx, apikey.Service{ID: fmt.Sprint("service", i), Roles: []string{"user"}}))
		require.NoError(t, trusteddevicesql.New(s).PutDevice(ctx, deviceNamed(fmt.Sprint("device", i), u.ID), 20))
		factors := totpsql.New(s)
		require.NoError(t, factors.SetPending(ctx, u.ID, []byte("sealed"), start))
		require.NoError(t, factors.SetCodes(ctx, u.ID, [][32]byte{{1}, {2}}, start))
	}
	require.NoError(t, tx.Commit())
	for _, table := range []string{"users", "sessions", "session_owners", "revocations", "tickets", "audit", "account_jobs", "account_times", "api_keys", "services", "trusted_devices", "totp_factors", "totp_codes", "orgs", "org_members", "org_invitations", "org_active"} {
		analyze := "ANALYZE authkit_" + table
		if d.dialect == sqlstore.MySQL {
			analyze = "ANALYZE TABLE authkit_" + table
		}
		mustExec(t, db, analyze)
	}
}

// deviceNamed returns a trusted device.
func deviceNamed(id, userID string) trusteddevice.StoredDevice {
	return trusteddevice.StoredDevice{Device: trusteddevice.Device{ID: id, UserID: userID, CreatedAt: start, ExpiresAt: start.Add(time.Hour)}}
}

// callEverything calls every method, so that every statement has been run.
func callEverything(t *testing.T, s *sqlstore.DB) {
	t.Helper()
	ctx := t.Context()
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	_, err := s.UserByID(ctx, "id-user7")
	ok(err)
	_, err = s.UserByEmail(ctx, "user7@example.com")
	ok(err)
	for _, q := range []authkit.UserQuery{
		{After: "id-user7", Limit: 10},
		{After: "id-user7", Limit: 10, EmailPrefix: "user7", Disabled: new(false)},
		{After: "id-user7", Limit: 10, Role: "user"},
	} {
		_, err = s.ListUsers(ctx, q)
		ok(err)
	}
	_, err = s.CountUsers(ctx, authkit.UserQuery{EmailPrefix: "user7"})
	ok(err)
	_, err = s.UpdateUser(ctx, "id-user7", authkit.UserUpdate{Email: new("new7@example.com"), IfVersion: 1}, start)
	ok(err)
	_, err = s.UpdateUser(ctx, "id-user7", authkit.UserUpdate{FullName: new("No"), IfVersion: 1}, start)
	require.ErrorIs(t, err, authkit.ErrConflict)
	_, err = s.UpdateUser(ctx, "id-user7", authkit.UserUpdate{Email: new("user8@example.com")}, start)
	require.ErrorIs(t, err, authkit.ErrEmailTaken)
	_, err = s.UpdateUser(ctx, "id-user7", authkit.UserUpdate{Roles: &[]string{"admin"}, KeepRole: "admin"}, start)
	ok(err)
	require.ErrorIs(t, s.DeleteUser(ctx, "id-user7", "admin"), authkit.ErrLastAdmin)
	ok(s.DeleteUser(ctx, "id-user7", ""))
	x := sessionNamed("new", "id-user8")
	ok(s.CreateSession(ctx, x, 1))
	_, err = s.SessionByID(ctx, "new")
	ok(err)
	_, _, err = s.SessionUser(ctx, "new")
	ok(err)
	_, err = s.SessionsByUser(ctx, "id-user8")
	ok(err)
	_, _, err = s.RotateSession(ctx, "new", authkit.Rotation{Old: x.TokenHash, New: [32]byte{2}, At: start, ExpiresAt: start.Add(time.Hour)})
	ok(err)
	_, _, err = s.RotateSession(ctx, "new", authkit.Rotation{Old: x.TokenHash, New: [32]byte{3}, At: start, ExpiresAt: start.Add(time.Hour)})
	ok(err)
	_, err = s.RevokeSession(ctx, "id-user8", "new", start)
	ok(err)
	ok(s.RevokeSessions(ctx, "id-user9", "", start))
	_, err = s.Revocations(ctx, start.Add(400*time.Hour))
	ok(err)
	ok(s.PutTicket(ctx, ticketNamed("new", "id-user9")))
	_, err = s.AttemptTicket(ctx, "test", "new", start)
	ok(err)
	ok(s.ConsumeTicket(ctx, "test", "new", start))
	ok(s.DeleteTickets(ctx, "id-user9"))
	_, err = s.DeleteExpiredTickets(ctx, start.Add(3*time.Hour), 2)
	ok(err)
	jobs := accountsql.New(s)
	ok(jobs.PutJob(ctx, account.Job{ID: "new", DueAt: start, ExpiresAt: start.Add(time.Hour)}))
	j, err := jobs.ClaimJob(ctx, start, start.Add(time.Minute))
	ok(err)
	ok(jobs.PostponeJob(ctx, j.ID, j.Attempts, start))
	_, err = jobs.DeleteJob(ctx, j.ID, j.Attempts)
	ok(err)
	_, version, err := jobs.Times(ctx, "key7")
	ok(err)
	ok(jobs.SetTimes(ctx, "key7", []time.Time{start}, version, start.Add(7*time.Hour)))
	_, err = jobs.DeleteExpiredJobs(ctx, start.Add(3*time.Hour), 2)
	ok(err)
	keys, owner := apikeysql.New(s), apikey.OfUser("id-user8")
	ok(keys.CreateKey(ctx, apikey.StoredKey{Key: apikey.Key{Owner: owner, ID: "new", CreatedAt: start}, Version: 1}))
	_, err = keys.KeysByOwner(ctx, owner)
	ok(err)
	ok(keys.RotateKey(ctx, owner, "new", apikey.Rotation{Version: 1, At: start}))
	ok(keys.RotateKey(ctx, owner, "new", apikey.Rotation{Version: 2, At: start, PreviousUntil: start.Add(time.Hour)}))
	ok(keys.TouchKey(ctx, "new", start))
	ok(keys.DeleteKey(ctx, owner, "new"))
	ok(keys.DeleteKeys(ctx, owner))
	_, err = keys.DeleteExpiredKeys(ctx, start.Add(3*time.Hour), 2)
	ok(err)
	devices := trusteddevicesql.New(s)
	ok(devices.PutDevice(ctx, deviceNamed("new", "id-user9"), 1))
	_, err = devices.Device(ctx, "id-user9", "new")
	ok(err)
	_, err = devices.DeleteDevice(ctx, "id-user9", "new")
	ok(err)
	ok(devices.DeleteDevices(ctx, "id-user10"))
	_, err = devices.DeleteExpiredDevices(ctx, start.Add(3*time.Hour), 2)
	ok(err)
	ok(keys.CreateService(ctx, apikey.Service{ID: "new", Roles: []string{"user"}}))
	_, err = keys.ServiceByID(ctx, "new")
	ok(err)
	_, err = keys.Services(ctx, "service7", 2)
	ok(err)
	ok(keys.SetServiceRoles(ctx, "new", []string{"admin"}))
	ok(keys.DeleteService(ctx, "new"))
	factors := totpsql.New(s)
	_, err = factors.Record(ctx, "id-user9")
	ok(err)
	_, err = factors.Confirm(ctx, "id-user9", start, []byte("sealed"), 1, start)
	ok(err)
	_, err = factors.CountAttempt(ctx, "id-user9", totp.Limits{Failures: 9, Total: 9})
	ok(err)
	_, err = factors.AcceptStep(ctx, "id-user9", start, 2)
	ok(err)
	_, err = factors.UseCode(ctx, "id-user9", [32]byte{1})
	ok(err)
	ok(factors.SetCodes(ctx, "id-user9", [][32]byte{{3}}, start))
	_, err = factors.Records(ctx, "id-user9", 10)
	ok(err)
	_, err = factors.Reseal(ctx, []totp.Resealing{{UserID: "id-user9", OldSecret: []byte("sealed"), NewSecret: []byte("again")}})
	ok(err)
	ok(factors.DeleteFactor(ctx, "id-user9"))
	callOrgs(t, orgsql.New(s))
	l := auditsql.New(s)
	ok(l.AppendAudit(ctx, []audit.Entry{{Seq: 1001, ActorID: "id-user9", TargetID: "id-user9", ClientSalt: []byte("salt")}}))
	for _, q := range []audit.Query{{Limit: 10}, {Limit: 10, UserID: "id-user9"}, {Limit: 10, UserID: "id-user9", Newest: true}} {
		_, err = l.AuditEntries(ctx, q)
		ok(err)
	}
	_, err = l.EraseAudit(ctx, "id-user9")
	ok(err)
	_, err = s.DeleteExpired(ctx, start.Add(3*time.Hour), start.Add(3*time.Hour), 2)
	ok(err)
}

// explain returns the steps of a plan, each in a line.
func explain(t *testing.T, conn *sql.Conn, d database, query string, args []any) []string {
	t.Helper()
	prefix := map[sqlstore.Dialect]string{sqlstore.SQLite: "EXPLAIN QUERY PLAN ", sqlstore.Postgres: "EXPLAIN ", sqlstore.MySQL: "EXPLAIN "}[d.dialect]
	rows, err := conn.QueryContext(context.Background(), prefix+query, args...)
	require.NoError(t, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var steps []string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		step, temporary := "", false
		for i, column := range columns {
			switch {
			case column == "table":
				temporary = strings.HasPrefix(values[i].String, "<union")
			case column == "type":
				step += values[i].String + " <- type "
			case d.dialect != sqlstore.MySQL && i == len(columns)-1, column == "key", column == "Extra":
				step += values[i].String + " "
			}
		}
		if !temporary { // which is what the parts of a UNION found
			steps = append(steps, step)
		}
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, steps, query)
	return steps
}

// callOrgs calls every method of a store of organizations.
func callOrgs(t *testing.T, orgs *orgsql.Store) {
	t.Helper()
	ctx := t.Context()
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	_, version, err := orgs.Org(ctx, "org7")
	ok(err)
	ok(orgs.Apply(ctx, "org7", version, org.Change{
		PutMember: &org.Member{UserID: "id-user8", Roles: []string{"member"}}, RemoveMember: "id-user9", RemoveInvitations: []string{"invitation7"},
	}))
	ok(orgs.Apply(ctx, "org8", version, org.Change{Delete: true}))
	_, err = orgs.Member(ctx, "org7", "id-user7")
	ok(err)
	_, err = orgs.Members(ctx, "org7", "", 10)
	ok(err)
	_, err = orgs.HasOtherOwner(ctx, "org7", "id-user7")
	ok(err)
	_, err = orgs.Memberships(ctx, "id-user7")
	ok(err)
	_, err = orgs.Invitation(ctx, "invitation9")
	ok(err)
	_, err = orgs.Invitations(ctx, "org9")
	ok(err)
	_, err = orgs.Active(ctx, "session9")
	require.True(t, err == nil || errors.Is(err, authkit.ErrNotFound))
	_, err = orgs.DeleteExpired(ctx, start.Add(3*time.Hour), 2)
	ok(err)
}
