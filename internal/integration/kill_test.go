package integration_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/sqlstore"
)

// killChild names the database of a process that TestKill starts and kills.
const killChild = "AUTHKIT_TEST_KILL_CHILD"

func TestMain(m *testing.M) {
	if where := os.Getenv(killChild); where != "" {
		driver, dsn, _ := strings.Cut(where, " ")
		if err := writeUntilKilled(driver, dsn); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	// Tests wait for servers, so more of them run at once than there are cores. A flag on the
	// command line replaces this.
	_ = flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0))))
	os.Exit(m.Run())
}

// writeUntilKilled creates accounts and rotates tokens, one after the other, and says before each
// change what it is about to do, and after it that it was acknowledged.
func writeUntilKilled(driver, dsn string) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	d := map[string]sqlstore.Dialect{"sqlite": sqlstore.SQLite, "pgx": sqlstore.Postgres, "mysql": sqlstore.MySQL}[driver]
	s, err := sqlstore.Open(db, d, nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	say := func(what string, change func() error) error {
		fmt.Println("try", what)
		if err := change(); err != nil {
			return err
		}
		fmt.Println("did", what)
		return nil
	}
	for n := 0; ; n++ {
		name := fmt.Sprintf("%d-%d", os.Getpid(), n)
		u, x := userNamed(name), sessionNamed("session-"+name, "id-"+name)
		if err := say("user "+u.ID, func() error { return s.CreateUser(ctx, u) }); err != nil {
			return err
		}
		if err := say("session "+x.ID+" "+hex.EncodeToString(x.TokenHash[:]), func() error { return s.CreateSession(ctx, x, 5) }); err != nil {
			return err
		}
		for range 3 {
			var next [32]byte
			for i := range next {
				next[i] = byte(rand.IntN(256))
			}
			r := authkit.Rotation{Old: x.TokenHash, New: next, Successor: next[:], At: start, ExpiresAt: start}
			err := say("rotate "+x.ID+" "+hex.EncodeToString(next[:]), func() error {
				_, rotated, err := s.RotateSession(ctx, x.ID, r)
				if err == nil && !rotated {
					return fmt.Errorf("nobody else rotates %s, and it was not rotated", x.ID)
				}
				return err
			})
			if err != nil {
				return err
			}
			x.TokenHash = next
		}
	}
}

// RE-04: a process that writes is killed fifty times, at any point, and ten times under the race
// detector. Afterwards the database has every change that it acknowledged, and every other change
// in full or not at all. A session has one token.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 50
	if raced {
		kills = 10
	}
	onEach(t, func(t *testing.T, d database) {
		dsn := d.create(t)
		s := storeOn(t, pool(t, d.driver, dsn), d, nil)
		known := &ledger{sessions: make(map[string]*tokens), users: make(map[string]bool)}
		for range kills {
			known.killedAfter(t, d.driver, dsn, 1+rand.IntN(40), time.Duration(rand.IntN(2000))*time.Microsecond)
			known.check(t, s)
		}
		t.Logf("%d accounts and %d sessions were acknowledged, %d changes were cut off", len(known.users), known.checked, known.cutOff)
		require.Greater(t, len(known.users), kills)
		require.Greater(t, known.checked, kills)
	})
}

// tokens are those that a session can have.
type tokens struct{ acknowledged, tried string }

// A ledger is what a process that was killed has said.
type ledger struct {
	users    map[string]bool // acknowledged
	maybe    []string        // accounts that were tried, and not acknowledged
	sessions map[string]*tokens
	checked  int // sessions
	cutOff   int
}

// killedAfter lets a process go on until it has acknowledged n changes and a moment more, and
// kills it.
func (l *ledger) killedAfter(t *testing.T, driver, dsn string, n int, moment time.Duration) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), killChild+"="+driver+" "+dsn)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	trying := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		verb, what, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "try":
			trying = what
			l.note(what, false)
		case "did":
			require.Equal(t, trying, what)
			trying = ""
			l.note(what, true)
			if n--; n == 0 {
				time.AfterFunc(moment, func() { _ = child.Process.Kill() })
			}
		default:
			t.Fatal(lines.Text())
		}
	}
	_ = child.Wait() // killed
	if trying != "" {
		l.cutOff++
	}
}

func (l *ledger) note(what string, done bool) {
	f := strings.Fields(what)
	switch {
	case f[0] == "user" && done:
		l.users[f[1]] = true
	case f[0] == "user":
		l.maybe = append(l.maybe, f[1])
	case done:
		l.sessions[f[1]] = &tokens{acknowledged: f[2]}
	case l.sessions[f[1]] != nil:
		l.sessions[f[1]].tried = f[2]
	}
}

func (l *ledger) check(t *testing.T, s *sqlstore.DB) {
	t.Helper()
	for id := range l.users {
		u, err := s.UserByID(t.Context(), id)
		require.NoError(t, err, "an account that was acknowledged")
		require.Equal(t, "hash of "+strings.TrimPrefix(id, "id-"), string(u.PasswordHash), "half an account")
	}
	for _, id := range l.maybe {
		byID, err := s.UserByID(t.Context(), id)
		byEmail, emailErr := s.UserByEmail(t.Context(), strings.TrimPrefix(id, "id-")+"@example.com")
		require.Equal(t, err == nil, emailErr == nil, "half an account")
		require.Equal(t, byID.PasswordHash, byEmail.PasswordHash)
	}
	for id, want := range l.sessions {
		x, err := s.SessionByID(t.Context(), id)
		require.NoError(t, err, "a session that was acknowledged")
		token, parent := hex.EncodeToString(x.TokenHash[:]), hex.EncodeToString(x.ParentHash[:])
		switch token {
		case want.acknowledged:
		case want.tried:
			require.Equal(t, want.acknowledged, parent, "a rotation of something else")
			require.Equal(t, token, hex.EncodeToString(x.Successor), "half a rotation")
			want.acknowledged, want.tried = token, ""
		default:
			t.Fatalf("session %s has the token %s, which is neither the one that was acknowledged nor the one that was tried", id, token)
		}
	}
	// What is checked once does not change any more: the next process has others.
	l.checked += len(l.sessions)
	clear(l.sessions)
	l.maybe = nil
}
