package trail_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
	"github.com/authkit-go/authkit/storetest"
)

func TestFileStore(t *testing.T) {
	t.Parallel()
	storetest.TestAuditStore(t, func(t *testing.T) audit.Store {
		store, err := trail.Open(filepath.Join(t.TempDir(), "log"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = store.Close() })
		return store
	})
}

func TestOpenIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	writeLog(t, path, 1)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestOpenFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := trail.Open(dir)
	require.Error(t, err)
	_, err = trail.Open(filepath.Join(dir, "missing", "log"))
	require.ErrorIs(t, err, os.ErrNotExist)

	path := filepath.Join(dir, "log")
	require.NoError(t, os.WriteFile(path, []byte("not an entry\n"), 0o600))
	_, err = trail.Open(path)
	require.ErrorIs(t, err, trail.ErrMalformed)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "not an entry\n", string(text), "what may be evidence stays")
}

// A line that a crash left behind is cut off, wherever it was torn, and the chain goes on.
func TestOpenRepairsTornLines(t *testing.T) {
	t.Parallel()
	whole := writeLog(t, filepath.Join(t.TempDir(), "log"), 3)
	last := whole[2]
	for _, c := range []struct {
		name string
		text string
		left int
	}{
		{"nothing torn", strings.Join(whole, ""), 3},
		{"all but the end", strings.Join(whole[:2], "") + last[:len(last)-1], 2},
		{"one byte", strings.Join(whole[:2], "") + last[:1], 2},
		{"a long one of zeros", strings.Join(whole[:2], "") + strings.Repeat("\x00", 300_000), 2},
		{"the only line", whole[0][:40], 0},
		{"an empty file", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			report, err := verify([]string{c.text})
			require.NoError(t, err, "a torn line is no fault")
			require.Equal(t, c.left != 3 && c.text != "", report.Torn)
			lines := writeLog(t, path, 2)
			require.Len(t, lines, c.left+2)
			report, err = verify(lines)
			require.NoError(t, err)
			require.False(t, report.Torn)
		})
	}
}

// What is cut off or put away while the program runs shows: it does not go on as if the end of
// the file were the end of the log.
func TestFileThatChangesUnderTheLog(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, path string, lines []string)
		want   string // what Verify says
	}{
		"truncated": {func(t *testing.T, path string, lines []string) {
			require.NoError(t, os.Truncate(path, int64(len(lines[0]))))
		}, "position 2, entry 4: missing"},
		"removed": {func(t *testing.T, path string, _ []string) {
			require.NoError(t, os.Remove(path))
		}, "position 1, entry 4: missing"},
		"replaced by a copy": {func(t *testing.T, path string, lines []string) {
			require.NoError(t, os.WriteFile(path+".copy", []byte(strings.Join(lines, "")), 0o600))
			require.NoError(t, os.Rename(path+".copy", path))
		}, ""},
		"torn by somebody else": {func(t *testing.T, path string, lines []string) {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("half a li")
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, ""},
		"longer by another program": {func(t *testing.T, path string, _ []string) {
			writeLog(t, path, 2)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			log, _ := openLog(t, path)
			for i := range 3 {
				log.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLogout, UserID: fmt.Sprint(i)})
			}
			require.NoError(t, log.Flush(t.Context()))
			c.change(t, path, readLines(t, path))
			log.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLogout, UserID: "u"})
			require.NoError(t, log.Flush(t.Context()))
			report, err := verify(readLines(t, path))
			if c.want == "" {
				require.NoError(t, err)
				require.GreaterOrEqual(t, report.Entries, 4)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Erasing leaves what cannot be read where it was, and the file as private as it was.
func TestErase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	lines := writeLog(t, path, 6)
	log, store := openLog(t, path)
	head := headOf(t, lines)

	admin := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: "198.51.100.1"})
	require.NoError(t, log.Erase(admin, "user-2"))
	require.NoError(t, log.Erase(admin, "user-5"))
	require.NoError(t, log.Erase(admin, "nobody"))
	require.NoError(t, log.Erase(admin, ""))
	after := readLines(t, path)
	require.Len(t, after, 8)
	text := strings.Join(after, "")
	for _, gone := range []string{"user-2", "user-5", "192.0.2.2", "192.0.2.5", "session-5", "req-2"} {
		require.NotContains(t, text, gone)
	}
	require.Equal(t, lines[0], after[0])
	require.Contains(t, after[6], `"kind":"audit_erased"`)
	report, err := verify(after, head)
	require.NoError(t, err)
	require.EqualValues(t, 4, report.Erased)
	require.EqualValues(t, 4, report.ErasedByLog)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	left, err := filepath.Glob(filepath.Dir(path) + "/*")
	require.NoError(t, err)
	require.Equal(t, []string{path}, left)

	// What somebody else erased shows by the numbers.
	parts, err := store.EraseAudit(t.Context(), "user-1")
	require.NoError(t, err)
	require.Equal(t, 2, parts)
	report, err = verify(readLines(t, path))
	require.NoError(t, err)
	require.EqualValues(t, 6, report.Erased)
	require.EqualValues(t, 4, report.ErasedByLog)

	// Garbage is copied as it is.
	all := readLines(t, path)
	all[1] = "garbage\n"
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(all, "")), 0o600))
	require.NoError(t, log.Erase(admin, "user-3"))
	require.Equal(t, "garbage\n", readLines(t, path)[1])
	require.NotContains(t, readLines(t, path)[2], "user-3")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = store.EraseAudit(ctx, "user-4")
	require.ErrorIs(t, err, context.Canceled)
	require.Contains(t, readLines(t, path)[3], "user-4")
}

const crashVariable = "AUTHKIT_TEST_AUDIT_LOG"

// RE-09, AU-06: kill -9 in the middle of writes, again and again, leaves a log that verifies,
// that has all that was acknowledged, and that goes on.
func TestKill(t *testing.T) {
	if path := os.Getenv(crashVariable); path != "" {
		writeUntilKilled(t, path)
		return
	}
	t.Parallel()
	files, kills := 8, 5
	if testing.Short() {
		files = 1
	}
	torn, entries := 0, 0
	for range files {
		path := filepath.Join(t.TempDir(), "log")
		var known []audit.Head // the last acknowledged before each kill
		for kill := range kills {
			known = append(known, runAndKill(t, path))
			report, err := verify(readLines(t, path), known...)
			require.NoError(t, err, "kill %d", kill)
			if report.Torn {
				torn++
			}
		}
		report, err := verify(writeLog(t, path, 1), known...)
		require.NoError(t, err)
		entries += report.Entries
	}
	t.Logf("%d kills, %d entries, %d torn lines; every acknowledged entry is there", files*kills, entries, torn)
}

// runAndKill runs writeUntilKilled for a few batches, and returns the last head that it said was
// on the disk.
func runAndKill(t *testing.T, path string) (last audit.Head) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$", "-test.count=1")
	cmd.Env = append(os.Environ(), crashVariable+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewScanner(out)
	for n := 1 + rand.IntN(8); n > 0 && said.Scan(); n-- {
		require.NoError(t, last.UnmarshalText(said.Bytes()), said.Text())
	}
	require.NoError(t, cmd.Process.Kill())
	for said.Scan() { // what it said in its last moments counts
		var head audit.Head
		if head.UnmarshalText(said.Bytes()) == nil {
			last = head
		}
	}
	_ = cmd.Wait()
	require.NotZero(t, last)
	return last
}

// writeUntilKilled writes batches and says the head of each that is on the disk.
func writeUntilKilled(t *testing.T, path string) {
	log, store := openLog(t, path)
	for i := 0; ; i++ {
		for j := range 1 + rand.IntN(60) {
			log.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLoginFailure, UserID: fmt.Sprint(i, "-", j), Reason: authkit.ReasonWrongPassword})
		}
		require.NoError(t, log.Flush(t.Context()))
		last, err := store.AuditEntries(t.Context(), audit.Query{Newest: true, Limit: 1})
		require.NoError(t, err)
		if _, err := fmt.Println(last[0].Head()); err != nil {
			return
		}
	}
}

func TestReadsTheEndOfALargeFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	writeLog(t, path, 1000) // several blocks
	_, store := openLog(t, path)
	newest, err := store.AuditEntries(t.Context(), audit.Query{Newest: true, Limit: 700})
	require.NoError(t, err)
	require.Len(t, newest, 700)
	for i, e := range newest {
		require.EqualValues(t, 1000-i, e.Seq)
	}
	n := uint64(0)
	for e, err := range audit.All(t.Context(), store) {
		require.NoError(t, err)
		n++
		require.Equal(t, n, e.Seq)
	}
	require.EqualValues(t, 1000, n)
}

// A broken line hides nothing but itself.
func TestQueriesPassOverBrokenLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	lines := writeLog(t, path, 5)
	lines[2] = "broken\n"
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
	_, store := openLog(t, path)
	for _, newest := range []bool{false, true} {
		found, err := store.AuditEntries(t.Context(), audit.Query{Limit: 9, Newest: newest})
		require.NoError(t, err)
		require.Len(t, found, 4)
	}
}

func TestClosedFile(t *testing.T) {
	t.Parallel()
	log, store := openLog(t, filepath.Join(t.TempDir(), "log"))
	require.NoError(t, store.Close())
	log.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLogout})
	require.ErrorIs(t, log.Flush(t.Context()), os.ErrClosed)
	_, err := store.EraseAudit(t.Context(), "u")
	require.ErrorIs(t, err, os.ErrClosed)
}
