package trail_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
)

var testKey = []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")

// openLog opens a log in a file.
func openLog(t testing.TB, path string) (*audit.Log, *trail.FileStore) {
	t.Helper()
	store, err := trail.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	log, err := audit.New(store, audit.Options{Key: testKey})
	require.NoError(t, err)
	return log, store
}

// writeLog writes n entries to a file, each of another user, and returns its lines.
func writeLog(t testing.TB, path string, n int) []string {
	t.Helper()
	log, _ := openLog(t, path)
	for i := range n {
		ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprint("192.0.2.", i+1), Device: "Firefox", RequestID: fmt.Sprint("req-", i+1)})
		log.OnEvent(ctx, authkit.Event{Kind: authkit.EventLoginSuccess, UserID: fmt.Sprint("user-", i+1), SessionID: fmt.Sprint("session-", i+1)})
	}
	require.NoError(t, log.Flush(t.Context()))
	return readLines(t, path)
}

func readLines(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return slices.Collect(strings.Lines(string(text)))
}

func verify(lines []string, heads ...audit.Head) (trail.Report, error) {
	return trail.Verify(trail.ReadEntries(strings.NewReader(strings.Join(lines, ""))), testKey, heads...)
}

// headOf returns the head that a log of these lines has.
func headOf(t testing.TB, lines []string) audit.Head {
	t.Helper()
	report, err := verify(lines)
	require.NoError(t, err)
	return report.Head
}

// forge returns a line changed by whoever has another key: the personal data are hashed anew,
// and so is the entry, unless its MAC is kept.
func forge(t testing.TB, line string, keepMAC bool, change func(*audit.Entry)) string {
	t.Helper()
	for e, err := range trail.ReadEntries(strings.NewReader(line)) {
		require.NoError(t, err)
		change(&e)
		forged := []audit.Entry{e}
		audit.NewChain([]byte("another key, which the forger has")).Link(audit.Head{Seq: e.Seq - 1}, forged)
		if keepMAC {
			forged[0].MAC = e.MAC
		}
		return lineOf(t, forged[0])
	}
	return ""
}

// AU-06: alter, drop, swap, truncate: each is seen, and where.
func TestVerifyFindsTampering(t *testing.T) {
	t.Parallel()
	lines := writeLog(t, filepath.Join(t.TempDir(), "log"), 10)
	head := headOf(t, lines)
	other := writeLog(t, filepath.Join(t.TempDir(), "log"), 12)
	replace := func(old, new string) func([]string) []string {
		return func(l []string) []string {
			require.Contains(t, l[4], old)
			l[4] = strings.Replace(l[4], old, new, 1)
			return l
		}
	}
	forged := func(keepMAC bool, change func(*audit.Entry)) func([]string) []string {
		return func(l []string) []string { l[4] = forge(t, l[4], keepMAC, change); return l }
	}
	at := func(position int, seq uint64, kind string) []trail.Problem {
		return []trail.Problem{{Position: position, Seq: seq, Kind: kind}}
	}
	altered := at(5, 5, trail.ProblemAltered)
	for name, c := range map[string]struct {
		tamper func([]string) []string
		faults []trail.Problem
		head   bool // it takes one
	}{
		"nothing":                 {tamper: func(l []string) []string { return l }},
		"altered kind":            {tamper: replace("authn_login_success", "authn_login_fail"), faults: altered},
		"altered outcome":         {tamper: replace(`"outcome":"success"`, `"outcome":"failure"`), faults: altered},
		"added reason":            {tamper: replace(`"outcome":"success"`, `"outcome":"success","reason":"disabled"`), faults: altered},
		"added count":             {tamper: replace(`"outcome":"success"`, `"outcome":"success","count":1`), faults: altered},
		"altered actor":           {tamper: replace(`"actor_id":"user-5"`, `"actor_id":"user-6"`), faults: altered},
		"altered target":          {tamper: replace(`"target_id":"user-5"`, `"target_id":"user-6"`), faults: altered},
		"altered address":         {tamper: replace("192.0.2.5", "192.0.2.6"), faults: altered},
		"address in the agent":    {tamper: replace(`"address":"192.0.2.5","agent":"Firefox"`, `"address":"192.0.2","agent":".5Firefox"`), faults: altered},
		"altered time":            {tamper: forged(true, func(e *audit.Entry) { e.Time = e.Time.Add(1000) }), faults: altered},
		"forged with another key": {tamper: forged(false, func(e *audit.Entry) { e.ActorID = "admin" }), faults: append(slices.Clone(altered), at(6, 6, trail.ProblemAltered)...)},
		"another number": {
			tamper: replace(`{"seq":5,`, `{"seq":50,`),
			faults: append(at(5, 50, trail.ProblemMissing), at(6, 6, trail.ProblemOrder)...),
		},
		"another spelling of a number": {tamper: replace(`{"seq":5,`, `{"seq":5.0,`), faults: append(at(5, 0, trail.ProblemMalformed), at(6, 6, trail.ProblemMissing)...)},
		"said twice":                   {tamper: replace(`{"seq":5,`, `{"Outcome":"failure","seq":5,`), faults: append(at(5, 0, trail.ProblemMalformed), at(6, 6, trail.ProblemMissing)...)},
		"a member of its own":          {tamper: replace(`{"seq":5,`, `{"note":"hello","seq":5,`), faults: append(at(5, 0, trail.ProblemMalformed), at(6, 6, trail.ProblemMissing)...)},
		"an empty line":                {tamper: func(l []string) []string { return slices.Insert(l, 4, "\n") }, faults: at(5, 0, trail.ProblemMalformed)},
		"a line without an end":        {tamper: func(l []string) []string { return slices.Insert(l, 4, strings.Repeat("x", 200_000)+"\n") }, faults: at(5, 0, trail.ProblemMalformed)},
		"another time zone": {
			tamper: func(l []string) []string {
				l[4] = forgeZone(t, l[4])
				return l
			},
			faults: append(at(5, 0, trail.ProblemMalformed), at(6, 6, trail.ProblemMissing)...),
		},
		"dropped":            {tamper: func(l []string) []string { return slices.Delete(l, 4, 5) }, faults: at(5, 6, trail.ProblemMissing)},
		"dropped first":      {tamper: func(l []string) []string { return l[1:] }, faults: at(1, 2, trail.ProblemMissing)},
		"swapped":            {tamper: func(l []string) []string { l[4], l[5] = l[5], l[4]; return l }, faults: append(append(at(5, 6, trail.ProblemMissing), at(6, 5, trail.ProblemOrder)...), at(7, 7, trail.ProblemMissing)...)},
		"doubled":            {tamper: func(l []string) []string { return slices.Insert(l, 5, l[4]) }, faults: at(6, 5, trail.ProblemOrder)},
		"truncated":          {tamper: func(l []string) []string { return l[:7] }, head: true, faults: at(8, 0, trail.ProblemTruncated)},
		"emptied":            {tamper: func([]string) []string { return nil }, head: true, faults: at(1, 0, trail.ProblemTruncated)},
		"the last cut short": {tamper: func(l []string) []string { l[9] = l[9][:30]; return l }, head: true, faults: at(11, 0, trail.ProblemTruncated)},
		"another log":        {tamper: func([]string) []string { return other }, head: true, faults: at(10, 10, trail.ProblemReplaced)},
		"a line of another":  {tamper: func(l []string) []string { l[4] = other[4]; return l }, faults: append(slices.Clone(altered), at(6, 6, trail.ProblemAltered)...)},
		"the end of another": {tamper: func(l []string) []string { return append(l[:6], other[6:10]...) }, head: true, faults: append(at(7, 7, trail.ProblemAltered), at(10, 10, trail.ProblemReplaced)...)},
		"cut, and gone on":   {tamper: func(l []string) []string { return append(l[:5], l[8:]...) }, faults: at(6, 9, trail.ProblemMissing)},
		"half erased":        {tamper: replace(`"address":"192.0.2.5",`, ``), faults: altered},
		"erased but for a hint": {tamper: func(l []string) []string {
			e := strings.Split(l[4], `"client_salt":"`)
			_, rest, _ := strings.Cut(e[1], `",`)
			l[4] = e[0] + rest
			return l
		}, faults: altered},
		"personal data hashed anew": {tamper: forged(true, func(e *audit.Entry) { e.ActorID = "admin" }), faults: altered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tampered := c.tamper(slices.Clone(lines))
			if c.head {
				_, err := verify(tampered)
				if name != "the end of another" {
					require.NoError(t, err, "without a head nobody can tell")
				}
			}
			report, err := verify(tampered, head)
			require.Equal(t, c.faults, report.Problems)
			if c.faults == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, trail.ErrBroken)
			require.ErrorContains(t, err, c.faults[0].String())
		})
	}
}

// Every byte of a log matters.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Join(writeLog(t, filepath.Join(t.TempDir(), "log"), 3), ""))
	for i := range text {
		flipped := bytes.Clone(text)
		flipped[i] ^= 1
		report, err := trail.Verify(trail.ReadEntries(bytes.NewReader(flipped)), testKey)
		if i == len(text)-1 {
			require.NoError(t, err, "that is a torn line")
			require.True(t, report.Torn)
			continue
		}
		require.ErrorIs(t, err, trail.ErrBroken, "byte %d of %s", i, text)
	}
}

func TestVerifyWithAnotherKey(t *testing.T) {
	t.Parallel()
	lines := writeLog(t, filepath.Join(t.TempDir(), "log"), 200)
	report, err := trail.Verify(trail.ReadEntries(strings.NewReader(strings.Join(lines, ""))), []byte("another key of at least 32 bytes."))
	require.ErrorIs(t, err, trail.ErrBroken)
	require.Len(t, report.Problems, 100, "not one for every line of a large file")
	require.Equal(t, trail.Problem{Position: 1, Seq: 1, Kind: trail.ProblemAltered}, report.Problems[0])
}

// Old entries can be put away: the rest is verified with the head that they had.
func TestVerifyTheRest(t *testing.T) {
	t.Parallel()
	lines := writeLog(t, filepath.Join(t.TempDir(), "log"), 10)
	head := headOf(t, lines[:4])
	report, err := verify(lines[4:], head)
	require.NoError(t, err)
	require.Equal(t, 6, report.Entries)
	_, err = verify(lines[5:], head)
	require.ErrorContains(t, err, "position 1, entry 6: missing")
	_, err = verify(lines[4:], audit.Head{Seq: 4})
	require.ErrorContains(t, err, "position 1, entry 5: altered")
	_, err = verify(lines, head, audit.Head{Seq: 4})
	require.ErrorContains(t, err, "two heads")
	require.NotErrorIs(t, err, trail.ErrBroken)
}

func TestVerifyPassesErrorsOn(t *testing.T) {
	t.Parallel()
	lines := writeLog(t, filepath.Join(t.TempDir(), "log"), 2)
	boom := errors.New("boom")
	report, err := trail.Verify(trail.ReadEntries(io.MultiReader(strings.NewReader(lines[0]), iotest.ErrReader(boom))), testKey)
	require.ErrorIs(t, err, boom)
	require.Equal(t, 1, report.Entries)
	report, err = trail.Verify(trail.ReadEntries(strings.NewReader("")), testKey)
	require.NoError(t, err)
	require.Zero(t, report)
	for range trail.ReadEntries(strings.NewReader(lines[0] + lines[1])) {
		break // does not panic
	}
}

func TestHeadText(t *testing.T) {
	t.Parallel()
	head := audit.Head{Seq: 12, MAC: [32]byte{1, 2, 255}}
	text, err := head.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "12:AQL_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", string(text))
	var back audit.Head
	require.NoError(t, back.UnmarshalText(text))
	require.Equal(t, head, back)
	for _, bad := range []string{"", ":", "12", "12:AQL_", "x" + string(text), "-" + string(text), string(text) + "A", strings.Replace(string(text), "_", "/", 1)} {
		require.Error(t, back.UnmarshalText([]byte(bad)), bad)
	}
}

// A log that was written before is readable, and verifies, as long as there is this package.
func TestVerifyALogOfVersion1(t *testing.T) {
	t.Parallel()
	lines := readLines(t, "testdata/log.jsonl")
	report, err := verify(lines)
	require.NoError(t, err)
	report.Head = audit.Head{}
	require.Equal(t, trail.Report{Entries: 4, Erased: 2, ErasedByLog: 2}, report)
}

// FuzzReadEntries: whatever is in a file, it is read to its end; what is taken for an entry is
// written again as it stood there, and only what the key signed verifies.
func FuzzReadEntries(f *testing.F) {
	lines := readLines(f, "testdata/log.jsonl")
	for _, l := range lines {
		f.Add([]byte(l))
		f.Add([]byte(l[:len(l)-1]))
		f.Add([]byte(strings.Replace(l, `"seq"`, `"Seq"`, 1)))
	}
	f.Add([]byte(strings.Join(lines, "")))
	f.Add([]byte("{}\n\nnull\n\x00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all := slices.Collect(strings.Lines(string(text)))
		n := 0
		for e, err := range trail.ReadEntries(bytes.NewReader(text)) {
			line := all[n]
			n++
			switch {
			case errors.Is(err, trail.ErrTorn):
				require.False(t, strings.HasSuffix(line, "\n"))
			case err == nil:
				require.Equal(t, line, lineOf(t, e))
			default:
				require.ErrorIs(t, err, trail.ErrMalformed)
			}
		}
		require.Len(t, all, n)
		report, err := trail.Verify(trail.ReadEntries(bytes.NewReader(text)), testKey)
		if err == nil && report.Erased == 0 {
			for i := range report.Entries {
				require.Equal(t, lines[i], all[i])
			}
		}
	})
}
