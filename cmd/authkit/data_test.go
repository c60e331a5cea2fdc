package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/auditsql"
	"github.com/authkit-go/authkit/audit/trail"
)

// Hashes of "admin123", of schemes that others have.
const (
	passlibHash = "$pbkdf2-sha256$1000$AAECAwQFBgcICQoLDA0ODw$tzK2P1lIsJv8KKWG6Jtvk9M0R3D5mmsyRop6.rUhjTk"
	bcryptHash  = "$2a$12$abcdefghijklmnopqrstuu8nVP5YIGOh70Ay1z97h1tTXrbCO0wzK"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// accounts are lines of an import.
func accounts(n int) string {
	var b strings.Builder
	for i := range n {
		hash := bcryptHash
		if i%10 == 0 {
			hash = passlibHash
		}
		fmt.Fprintf(&b, `{"email": "user%d@example.com", "roles": ["user"], "password_hash": %q, "created_at": "2020-01-02T03:04:05Z"}`+"\n", i, hash)
	}
	return b.String()
}

func TestImportAndRehashReport(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		lines := accounts(530)
		file := write(t, "users.jsonl", "\n"+lines)
		out := tl.run("", "import", "-check", file)
		require.Equal(t, "read\timported\tskipped\n530\t0\t0\n", out.stdout, out.stderr)
		require.Equal(t, "id\temail\tfull_name\troles\tdisabled\tcreated_at\tupdated_at\n", tl.ok("", "list-users"), "nothing was imported")

		// A part of it is there already.
		require.Equal(t, `{"read":7,"imported":7,"skipped":0}`+"\n", tl.ok(accounts(7), "import", "-json"))
		out = tl.run("", "import", file)
		require.Equal(t, 1, out.code)
		require.Contains(t, out.stderr, "line 2: authkit: e-mail taken, by an existing account")
		require.Contains(t, out.stderr, "-skip-existing")
		out = tl.run("", "import", "-skip-existing", file)
		require.Equal(t, "read\timported\tskipped\n530\t523\t7\n", out.stdout, out.stderr)
		require.Equal(t, "523 of 523 accounts (100 %)\n", out.stderr)
		require.Equal(t, "read\timported\tskipped\n530\t0\t530\n", tl.ok(lines, "import", "-skip-existing", "-"))
		require.Contains(t, tl.ok("", "list-users", "-limit", "1"), "\tuser\tfalse\t2020-01-02T03:04:05Z\t")

		tl.ok(`{"email": "nobody@example.com"}`, "import")
		out = tl.run("", "rehash-report")
		require.Equal(t, "scheme\taccounts\tdue\nbcrypt, cost 12\t477\tfalse\nnone\t1\tfalse\npbkdf2-sha256, 1000 rounds\t53\ttrue\n", out.stdout)
		require.Empty(t, out.stderr)
		require.Contains(t, tl.ok("", "rehash-report", "-cost", "13"), "bcrypt, cost 12\t477\ttrue\n")
		require.Contains(t, tl.ok("", "rehash-report", "-scheme", "argon2id"), "bcrypt, cost 12\t477\ttrue\n")

		// Who logs in is counted no more.
		_, err := tl.kit().Login(t.Context(), "user0@example.com", "admin123")
		require.Error(t, err, "that kit reads no PBKDF2")
	})
}

// A countingQuerier counts the queries of a report.
type countingQuerier struct {
	querier
	queries int
}

func (q *countingQuerier) Query(ctx context.Context, each func(scan func(...any) error) error, query string, args ...any) error {
	q.queries++
	return q.querier.Query(ctx, each, query, args...)
}

// However many accounts there are, the report is one query, of one tenant. It recognizes a
// damaged hash by more than its beginning and its length.
func TestRehashReportIsOneQuery(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		tl.ok(accounts(1200), "import")
		tl.ok(`{"email": "ann@example.com"}`, "import", "-tenant", "blue")
		c := newCall(command{}, nil, nil, nil, nil, func(name string) string { return tl.env[name] })
		store, err := c.open(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.close() })
		now := time.Now()
		require.NoError(t, store.CreateUser(t.Context(), authkit.StoredUser{
			User:         authkit.User{ID: authkit.NewUserID(), Email: "damaged@example.com", CreatedAt: now, UpdatedAt: now},
			PasswordHash: authkit.PasswordHash(strings.Replace(bcryptHash, "abc", "a*c", 1)),
		}))

		db := &countingQuerier{querier: store}
		counts, err := countHashes(t.Context(), db, authkit.Schemes(authkit.Bcrypt{}, authkit.PBKDF2SHA256{}))
		require.NoError(t, err)
		require.Equal(t, map[kindOfHash]int{
			{"bcrypt, cost 12", false}:           1080,
			{"pbkdf2-sha256, 1000 rounds", true}: 120,
			{"unreadable", true}:                 1,
		}, counts)
		require.Equal(t, 1, db.queries)
	})
}

// FR-18: rows as other databases and frameworks write them.
func TestImportOfOthers(t *testing.T) {
	t.Parallel()
	tl := onSQLite(t)
	lines := "\ufeff" + `{"id":17,"email":"a@example.com","disabled":1,"password_hash":"!4Yx0t","created_at":"2020-01-02 03:04:05"}` + "\r\n" +
		`{"id":"18","email":"b@example.com","disabled":0,"password_hash":null,"roles":null,"created_at":"2020-01-02T03:04:05.25"}` + "\n" +
		`{"id":900719925474099300,"email":"c@example.com","disabled":"true","password_hash":"!","created_at":"2020-01-02 05:04:05+02"}` + "\n" +
		`{"email":"d@example.com","disabled":null,"created_at":"2020-01-02","updated_at":null,"roles":["ROLE_ADMIN"]}`
	require.Equal(t, "read\timported\tskipped\n4\t4\t0\n", tl.ok(lines, "import"))
	listed := tl.ok("", "list-users")
	for _, want := range []string{
		"17\ta@example.com\t\t\ttrue\t2020-01-02T03:04:05Z", "18\tb@example.com\t\t\tfalse\t2020-01-02T03:04:05Z",
		"900719925474099300\tc@example.com\t\t\ttrue\t2020-01-02T03:04:05Z", "d@example.com\t\tROLE_ADMIN\tfalse\t2020-01-02T00:00:00Z",
	} {
		require.Contains(t, listed, want)
	}
	require.Contains(t, tl.ok("", "rehash-report"), "none\t4\tfalse\n")
}

// TestImportFaults: what is wrong is told by line, nothing is imported, and nothing of it is shown.
func TestImportFaults(t *testing.T) {
	t.Parallel()
	tl := onSQLite(t)
	tl.secrets = append(tl.secrets, "hunter2")
	for name, tc := range map[string]struct{ lines, want string }{
		"no JSON":             {"\n{}x\nhunter2", "line 2: more than one JSON object; line 3: not a JSON object of id, email"},
		"an unknown name":     {`{"email": "a@example.com", "password": "hunter2"}`, `line 1: "password": unknown; the members are id, email`},
		"a wrong type":        {`{"email": "a@example.com", "roles": "hunter2"}`, `line 1: "roles": not a list of texts`},
		"several members":     {`{"id":1.5,"email": "a@example.com", "disabled": "hunter2"}` + "\n" + `{"email":7,"created_at":"hunter2"}`, `line 1: "id": not a text or a whole number; line 1: "disabled": not true, false, 0 or 1; line 2: "email": not a text; line 2: "created_at": not a time`},
		"a member twice":      {`{"email": "a@example.com", "email": "b@example.com"}`, `line 1: "email": there twice`},
		"several accounts":    {`{"email": "hunter"}` + "\n" + `{"email": "a@example.com"}` + "\n" + `{"email": "a@example.com","full_name":"\u0000"}`, "line 1: authkit: invalid input: email: must be an e-mail address; line 3: authkit: invalid input: full_name"},
		"an unknown scheme":   {`{"email": "a@example.com"}` + "\n\n" + `{"email": "b@example.com", "password_hash": "hunter2"}`, "line 3: authkit: password hash of an unknown scheme; the schemes are bcrypt"},
		"a broken hash":       {`{"email": "b@example.com", "password_hash": "$2a$12$hunter2"}`, "line 1: authkit: malformed password hash"},
		"no address":          {`{"email": "hunter"}`, "line 1: authkit: invalid input: email"},
		"the same address":    {accounts(2) + accounts(1), "line 3: authkit: e-mail taken"},
		"a line without end":  {strings.Repeat("x", 2<<20), "line 1: bufio.Scanner: token too long"},
		"wrong throughout":    {strings.Repeat("x\n", 100), "line 10: "},
		"no account but text": {"null", "line 1: not a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tl := &tool{t: t, env: tl.env, secrets: tl.secrets}
			for _, args := range [][]string{{"import"}, {"import", "-check"}} {
				r := tl.run(tc.lines, args...)
				require.Equal(t, 1, r.code)
				require.Contains(t, r.stderr, tc.want)
				require.Contains(t, r.stderr, "nothing was imported")
				require.NotContains(t, r.stderr, "line 11")
			}
			require.Equal(t, 1, strings.Count(tl.ok("", "list-users"), "\n"))
		})
	}
}

func TestRotateKey(t *testing.T) {
	t.Parallel()
	for _, alg := range []authkit.Algorithm{authkit.EdDSA, authkit.ES256, authkit.HS256, authkit.HS512} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			tl := newTool(t, "")
			file := filepath.Join(t.TempDir(), "signing.key")
			previous := filepath.Join(filepath.Dir(file), "signing.previous.key")
			out := tl.ok("", "rotate-key", "-alg", string(alg), file)
			old, err := readKey(file)
			require.NoError(t, err)
			require.Equal(t, "key_id\talgorithm\tfile\told_key_id\told_file\n"+old.ID+"\t"+string(alg)+"\t"+file+"\t\t\n", out)
			require.NoFileExists(t, previous)

			issuer, err := authkit.NewTokenIssuer(authkit.TokenConfig{Keys: []authkit.Key{old}})
			require.NoError(t, err)
			token, err := issuer.Issue(authkit.Claims{Subject: "ann"})
			require.NoError(t, err)

			// The same algorithm, without being told.
			var row map[string]string
			require.NoError(t, json.Unmarshal([]byte(tl.ok("", "rotate-key", "-json", file)), &row))
			next, err := readKey(file)
			require.NoError(t, err)
			require.NotEqual(t, old.ID, next.ID)
			require.Equal(t, alg, next.Algorithm)
			require.Equal(t, map[string]string{"key_id": next.ID, "algorithm": string(alg), "file": file, "old_key_id": old.ID, "old_file": previous}, row)
			for _, f := range []string{file, previous} {
				info, err := os.Stat(f)
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			}

			// What both files hold verifies what was issued, and signs with the new key alone.
			kept, err := readKey(previous)
			require.NoError(t, err)
			require.Nil(t, kept.Private)
			verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{next, kept}})
			require.NoError(t, err)
			_, err = verifier.Verify(token)
			require.NoError(t, err)

			// Again at once would end what the first key signed.
			r := tl.run("", "rotate-key", file)
			require.Equal(t, 1, r.code)
			require.Contains(t, r.stderr, "may still be valid; wait 1h")
			same, err := readKey(file)
			require.NoError(t, err)
			require.Equal(t, next.ID, same.ID)
			require.NoError(t, os.Chtimes(previous, time.Time{}, time.Now().Add(-2*time.Hour)))
			tl.ok("", "rotate-key", file)
			tl.ok("", "rotate-key", "-force", file)

			left, err := os.ReadDir(filepath.Dir(file))
			require.NoError(t, err)
			require.Len(t, left, 2, "temporary files")
		})
	}
	tl := newTool(t, "")
	r := tl.run("", "rotate-key", "-alg", "none", filepath.Join(t.TempDir(), "x.pem"))
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "use EdDSA")
	file := write(t, "x.pem", "no key")
	r = tl.run("", "rotate-key", file)
	require.Equal(t, 1, r.code)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "no key", string(text), "what is not understood is not replaced")
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		r := tl.run("", "doctor")
		require.Equal(t, 0, r.code)
		require.Equal(t, "severity\tcode\ttext\tfix\n", r.stdout)
		require.Contains(t, r.stderr, "doctor.Check")

		tl.ok(accounts(20), "import")
		r = tl.run("", "doctor")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stdout, "\nWARN\thashes_due\tof the first 20 accounts, 2 have a password hash")
		require.Equal(t, 2, strings.Count(r.stdout, "\n"))

		key := filepath.Join(t.TempDir(), "signing.pem")
		tl.ok("", "rotate-key", key)
		require.Equal(t, r.stdout, tl.run("", "doctor", "-key", key).stdout)
		require.NoError(t, os.Chmod(key, 0o644))
		require.NoError(t, os.Chtimes(key, time.Time{}, time.Now().AddDate(-2, 0, 0)))
		r = tl.run("", "doctor", "-key", key, "-json")
		var codes []string
		for line := range strings.Lines(r.stdout) {
			var f authkit.Finding
			require.NoError(t, json.Unmarshal([]byte(line), &f))
			codes = append(codes, f.Severity.String()+" "+f.Code)
		}
		require.Equal(t, []string{"ERROR open_key_file", "WARN old_key", "WARN hashes_due"}, codes)
	})
}

func TestDoctorSecret(t *testing.T) {
	t.Parallel()
	tl := onSQLite(t)
	for secret, want := range map[string]string{
		"my-super-secret-signing-key-for-production": "WARN\tweak_secret\t",
		"your-256-bit-secret-your-256-bit-secret":    "ERROR\trefused_key\tthe library refuses the signing key: the secret is one that tutorials print",
		"hunter2": "ERROR\trefused_key\tthe library refuses the signing key: the secret has 7 bytes",
		"5c1c4de2d0bbd53a1d0c8b3f8f2e6e9f1f0a6b7c2d9e8f7a6b5c4d3e2f1a0b9c": "",
	} {
		tl := &tool{t: t, env: map[string]string{"DATABASE_URL": tl.env["DATABASE_URL"], "SECRET_KEY": secret}, secrets: []string{secret}}
		r := tl.run("", "doctor")
		require.Contains(t, r.stdout, want)
		require.Equal(t, min(1, len(want)), r.code)
	}
}

// TestDoctorMigrations: a database without tables is one finding, not an error for each of them.
func TestDoctorMigrations(t *testing.T) {
	t.Parallel()
	tl := newTool(t, "sqlite:"+write(t, "auth.db", ""))
	r := tl.run("", "doctor")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stdout, "ERROR\tpending_migrations\t")
	require.NotContains(t, r.stdout, "unavailable")
}

// TestAudit: what the tool does is in the log that the service writes, and the log is verified.
func TestAudit(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, tl *tool) {
		tl.env["USER"] = "olga"
		key := write(t, "audit.key", strings.Repeat("k", 32)+"\n")
		tl.secrets = append(tl.secrets, "kkkk")
		empty := tl.ok("", "audit", "verify", "-audit-key", key)
		require.Regexp(t, `^entries\thead\tlost\ttorn\terased\terased_by_log\tfaults\n0\t0:A+\t0\tfalse\t0\t0\t\n$`, empty)

		ann := tl.create("ann@example.com", "-audit-key", key)
		tl.ok("", "disable", "-audit-key", key, ann)
		tl.ok("", "enable", "-audit-key", key, ann)
		tl.ok("", "revoke", "-audit-key", key, "-all", ann)
		tl.ok(password, "set-password", "-audit-key", key, "-cost", "10", ann)

		c := newCall(command{}, nil, nil, nil, nil, func(name string) string { return tl.env[name] })
		store, err := c.open(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, c.close()) }()
		var kinds []string
		for e, err := range audit.All(t.Context(), auditsql.New(store)) {
			require.NoError(t, err)
			kinds = append(kinds, string(e.Kind))
			require.Equal(t, ann, e.TargetID)
			require.Equal(t, "system:cli:olga", e.ActorID)
			require.Equal(t, "authkit command, run by olga", e.Agent)
			require.Equal(t, audit.Success, e.Outcome)
		}
		require.Equal(t, []string{"user_created", "user_disabled", "user_enabled", "authn_logout", "authn_password_change"}, kinds)

		fields := strings.Split(strings.Split(tl.ok("", "audit", "verify", "-audit-key", key), "\n")[1], "\t")
		require.Equal(t, "5", fields[0])
		tl.ok("", "audit", "verify", "-audit-key", key, "-head", fields[1])
		r := tl.run("", "audit", "verify", "-audit-key", key, "-head", "7:"+strings.Repeat("A", 43))
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, "truncated")
		r = tl.run("", "audit", "verify", "-audit-key", key, "-head", "7")
		require.Equal(t, 2, r.code)

		// With another key the chain would be broken for good.
		other := write(t, "other.key", strings.Repeat("K", 32))
		r = tl.run("", "disable", "-audit-key", other, ann)
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, "was written with another key than that in "+other)
		require.Contains(t, tl.ok("", "list-users"), "\tfalse\t", "nothing was changed")
		require.Equal(t, 1, tl.run("", "audit", "verify", "-audit-key", other).code)
		r = tl.run("", "disable", "-audit-key", write(t, "short.key", "kkkk"), ann)
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, "use 32 random ones")

		entries, err := auditsql.New(store).EraseAudit(t.Context(), ann)
		require.NoError(t, err)
		require.Equal(t, 5, entries, "the target of each; the actor is olga")
		require.Contains(t, tl.ok("", "audit", "verify", "-audit-key", key), "\tfalse\t5\t0\t\n")
	})
}

func TestAuditFile(t *testing.T) {
	t.Parallel()
	key := []byte(strings.Repeat("k", 32))
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	store, err := trail.Open(file)
	require.NoError(t, err)
	log, err := audit.New(store, audit.Options{Key: key})
	require.NoError(t, err)
	for i := range 5 {
		log.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLoginFailure, UserID: fmt.Sprintf("ann-%d", i)})
	}
	require.NoError(t, log.Flush(t.Context()))
	require.NoError(t, store.Close())

	tl := newTool(t, "") // it needs none
	keyFile := write(t, "audit.key", string(key))
	require.Contains(t, tl.ok("", "audit", "verify", "-audit-key", keyFile, file), "\n5\t5:")

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	broken := write(t, "broken.jsonl", lines[0]+lines[2]+lines[3]+lines[4])
	r := tl.run("", "audit", "verify", "-json", "-audit-key", keyFile, broken)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stdout, `"faults":["position 2, entry 3: missing"]`)
	require.Equal(t, "position 2, entry 3: missing\n", r.stderr)
	require.Equal(t, 1, tl.run("", "audit", "verify", "-audit-key", keyFile, file+"x").code)
}
