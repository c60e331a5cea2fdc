package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/audit"
	"github.com/authkit-go/authkit/audit/trail"
)

// TestAuditStore tests an implementation of [audit.Store] against the contract
// in the comment of that interface. The function open returns an empty store
// for one test, which keeps at least 5,000 entries. It may register a cleanup.
// The subtests run in parallel.
func TestAuditStore(t *testing.T, open func(t *testing.T) audit.Store) {
	for name, test := range map[string]func(*testing.T, audit.Store){
		"AppendAndRead":      testAuditAppendAndRead,
		"Queries":            testAuditQueries,
		"TakenNumbers":       testAuditTakenNumbers,
		"AllOrNone":          testAuditAllOrNone,
		"GapsAreAllowed":     testAuditGapsAreAllowed,
		"Erase":              testAuditErase,
		"EraseCountsOnce":    testAuditEraseCountsOnce,
		"ComparesBytes":      testAuditComparesBytes,
		"NobodyHasABrokenID": testAuditNobodyHasABrokenID,
		"SharesNoMemory":     testAuditSharesNoMemory,
		"CancelledContext":   testAuditCancelledContext,
		"Pages":              testAuditPages,
		"WritersAreOneChain": testAuditWritersAreOneChain,
		"EraseBesideWriters": testAuditEraseBesideWriters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var auditKey = []byte("the key of the audit suite, 32 bytes long")

// newEntries returns linked entries from first to last, each with all texts.
func newEntries(first, last int64) []audit.Entry {
	var entries []audit.Entry
	for n := first; n <= last; n++ {
		entries = append(entries, audit.Entry{
			Time: start.Add(time.Duration(n%10_000)*time.Second + 123456*time.Microsecond), Kind: authkit.EventLoginSuccess, Outcome: audit.Success,
			Reason: "a reason", Route: `GET /"a route"/{id...}`, Count: uint64(n%10_000) << 40,
			ActorID: fmt.Sprintf("actor-%d", n), SessionID: fmt.Sprintf("session-%d", n), Address: "2001:db8::1%eth0",
			Agent: "Mözilla 'x' \\ % _ " + strings.Repeat("語", 79), RequestID: fmt.Sprintf("request-%d", n), TargetID: fmt.Sprintf("target-%d", n),
		})
	}
	audit.NewChain(auditKey).Link(audit.Head{Seq: uint64(first) - 1}, entries)
	return entries
}

// equalEntries treats a nil salt like an empty one.
func equalEntries(a, b audit.Entry) bool {
	same := bytes.Equal(a.ClientSalt, b.ClientSalt) && bytes.Equal(a.ClientHash, b.ClientHash) && bytes.Equal(a.TargetSalt, b.TargetSalt) &&
		bytes.Equal(a.TargetHash, b.TargetHash) && bytes.Equal(a.MAC, b.MAC) && a.Time.Equal(b.Time)
	return same && a.Seq == b.Seq && a.Kind == b.Kind && a.Outcome == b.Outcome && a.Reason == b.Reason && a.Route == b.Route && a.Count == b.Count &&
		a.ActorID == b.ActorID && a.SessionID == b.SessionID && a.Address == b.Address && a.Agent == b.Agent && a.RequestID == b.RequestID &&
		a.TargetID == b.TargetID
}

func appendAudit(t *testing.T, s audit.Store, entries []audit.Entry) {
	t.Helper()
	if err := s.AppendAudit(t.Context(), entries); err != nil {
		t.Fatalf("AppendAudit of %d entries from %d: %v", len(entries), entries[0].Seq, err)
	}
}

// auditHas checks the result of a query.
func auditHas(t *testing.T, s audit.Store, q audit.Query, want ...audit.Entry) {
	t.Helper()
	got, err := s.AuditEntries(t.Context(), q)
	if err != nil {
		t.Fatalf("AuditEntries(%+v): %v", q, err)
	}
	if !slices.EqualFunc(got, want, equalEntries) {
		t.Fatalf("AuditEntries(%+v):\ngot  %+v\nwant %+v", q, got, want)
	}
}

// everyEntry is a query for all entries of a test.
var everyEntry = audit.Query{Limit: 100_000}

func testAuditAppendAndRead(t *testing.T, s audit.Store) {
	auditHas(t, s, everyEntry)
	auditHas(t, s, audit.Query{Newest: true, Limit: 1})
	appendAudit(t, s, nil)
	entries := newEntries(1, 3)
	entries = append(entries, audit.Entry{Time: start.In(time.UTC), Kind: audit.KindStarted, Outcome: audit.Success}) // the rest is empty
	audit.NewChain(auditKey).Link(entries[2].Head(), entries[3:])
	appendAudit(t, s, entries[:1])
	appendAudit(t, s, entries[1:])
	auditHas(t, s, everyEntry, entries...)
	got, err := s.AuditEntries(t.Context(), everyEntry)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range got {
		if e.Time != e.Time.UTC() {
			t.Errorf("the time of entry %d is in %v, want UTC", e.Seq, e.Time.Location())
		}
	}
}

func testAuditQueries(t *testing.T, s audit.Store) {
	e := newEntries(1, 9)
	for i := range e {
		e[i].ActorID, e[i].TargetID = []string{"a", "b", "c"}[i%3], []string{"x", "a"}[i%2]
	}
	audit.NewChain(auditKey).Link(audit.Head{}, e)
	appendAudit(t, s, e)
	newest := slices.Clone(e)
	slices.Reverse(newest)
	for _, c := range []struct {
		q    audit.Query
		want []audit.Entry
	}{
		{audit.Query{}, nil},
		{audit.Query{Limit: -1}, nil},
		{audit.Query{Limit: 9}, e},
		{audit.Query{Limit: 2}, e[:2]},
		{audit.Query{Limit: 2, After: 3}, e[3:5]},
		{audit.Query{Limit: 9, After: 9}, nil},
		{audit.Query{Limit: 9, After: 1 << 40}, nil},
		{audit.Query{Limit: 9, Before: 4}, e[:3]},
		{audit.Query{Limit: 9, Before: 1}, nil},
		{audit.Query{Limit: 9, After: 2, Before: 5}, e[2:4]},
		{audit.Query{Limit: 9, After: 5, Before: 5}, nil},
		{audit.Query{Limit: 9, Newest: true}, newest},
		{audit.Query{Limit: 2, Newest: true}, newest[:2]},
		{audit.Query{Limit: 2, Newest: true, Before: 5}, newest[5:7]},
		{audit.Query{Limit: 9, Newest: true, After: 7}, newest[:2]},
		{audit.Query{Limit: 9, UserID: "a"}, []audit.Entry{e[0], e[1], e[3], e[5], e[6], e[7]}},
		{audit.Query{Limit: 2, UserID: "a", After: 2}, []audit.Entry{e[3], e[5]}},
		{audit.Query{Limit: 9, UserID: "c", Newest: true, Before: 9}, []audit.Entry{e[5], e[2]}},
		{audit.Query{Limit: 9, UserID: "nobody"}, nil},
		{audit.Query{Limit: 9, UserID: "b"}, []audit.Entry{e[1], e[4], e[7]}},
		{audit.Query{Limit: 9, After: 8}, e[8:]}, // whatever the earlier query was
		{audit.Query{Limit: 1, UserID: "b"}, e[1:2]},
		{audit.Query{Limit: 9, After: 2}, e[2:]},
	} {
		auditHas(t, s, c.q, c.want...)
	}
}

// taken checks that an append conflicts and stores nothing.
func taken(t *testing.T, s audit.Store, entries []audit.Entry, there ...audit.Entry) {
	t.Helper()
	if err := s.AppendAudit(t.Context(), entries); !errors.Is(err, audit.ErrConflict) {
		t.Fatalf("AppendAudit of %d to %d: got %v, want ErrConflict", entries[0].Seq, entries[len(entries)-1].Seq, err)
	}
	auditHas(t, s, everyEntry, there...)
}

func testAuditTakenNumbers(t *testing.T, s audit.Store) {
	e, others := newEntries(1, 6), newEntries(1, 8)
	appendAudit(t, s, e)
	for _, r := range [][2]int{{0, 1}, {5, 6}, {0, 6}, {5, 8}, {2, 4}} {
		taken(t, s, others[r[0]:r[1]], e...)
	}
	taken(t, s, e, e...) // equal entries conflict too: the caller compares them
	appendAudit(t, s, others[6:])
	auditHas(t, s, everyEntry, append(e, others[6:]...)...)
}

func testAuditAllOrNone(t *testing.T, s audit.Store) {
	e := newEntries(1, 700)
	appendAudit(t, s, e[500:501])
	taken(t, s, e[300:], e[500])
	taken(t, s, e[499:502], e[500])
}

func testAuditGapsAreAllowed(t *testing.T, s audit.Store) {
	e := newEntries(1, 9)
	appendAudit(t, s, e[:2])
	appendAudit(t, s, e[6:])
	auditHas(t, s, everyEntry, append(e[:2:2], e[6:]...)...)
	far := newEntries(1<<53+1, 1<<53+2)
	appendAudit(t, s, far)
	auditHas(t, s, audit.Query{Limit: 9, After: 1 << 53}, far...)
}

// erased returns entries as Entry.Erase leaves them.
func erased(entries []audit.Entry, userID string) (left []audit.Entry, parts int) {
	left = slices.Clone(entries)
	for i := range left {
		parts += left[i].Erase(userID)
	}
	return left, parts
}

// testErase erases a user and compares with Entry.Erase.
func testErase(t *testing.T, s audit.Store, entries []audit.Entry, userID string) []audit.Entry {
	t.Helper()
	left, want := erased(entries, userID)
	parts, err := s.EraseAudit(t.Context(), userID)
	if err != nil || parts != want {
		t.Fatalf("EraseAudit(%q): %d, %v; want %d", userID, parts, err, want)
	}
	auditHas(t, s, everyEntry, left...)
	return left
}

func testAuditErase(t *testing.T, s audit.Store) {
	e := newEntries(1, 12)
	for i := range e {
		e[i].ActorID, e[i].TargetID = []string{"", "a", "b"}[i%3], []string{"", "a", "b", "c"}[i%4]
	}
	audit.NewChain(auditKey).Link(audit.Head{}, e)
	appendAudit(t, s, e)
	for _, user := range []string{"nobody", "", "a", "a", "c", "b"} {
		e = testErase(t, s, e, user)
	}
	if _, err := trail.Verify(audit.All(t.Context(), s), auditKey); err != nil {
		t.Error(err)
	}
	auditHas(t, s, audit.Query{UserID: "a", Limit: 9})
}

// testAuditEraseCountsOnce checks that an erased client does not count as a
// client that was unknown from the start.
func testAuditEraseCountsOnce(t *testing.T, s audit.Store) {
	e := newEntries(1, 1)
	appendAudit(t, s, e)
	e = testErase(t, s, e, e[0].ActorID)
	e = testErase(t, s, e, e[0].TargetID)
	if parts := len(e[0].ClientSalt) + len(e[0].TargetSalt); parts != 0 {
		t.Fatal("both parts should be erased")
	}
}

// similar are IDs that a database may confuse.
var similar = []string{"user", "User", "user ", " user", "usér", "use\u0301r", "us%r", "us_r", "üser", "ußer", "usser"}

func testAuditComparesBytes(t *testing.T, s audit.Store) {
	e := newEntries(1, int64(len(similar)))
	for i := range e {
		e[i].ActorID, e[i].TargetID = similar[i], similar[i]
	}
	audit.NewChain(auditKey).Link(audit.Head{}, e)
	appendAudit(t, s, e)
	for i := range e {
		auditHas(t, s, audit.Query{UserID: similar[i], Limit: 99}, e[i])
	}
	for _, user := range []string{"user", "us%r", "use\u0301r"} {
		e = testErase(t, s, e, user)
	}
}

func testAuditNobodyHasABrokenID(t *testing.T, s audit.Store) {
	e := newEntries(1, 2)
	appendAudit(t, s, e)
	for _, id := range []string{"\x00", "actor-1\x00", "\xff", strings.Repeat("x", 5000)} {
		auditHas(t, s, audit.Query{UserID: id, Limit: 9})
		testErase(t, s, e, id)
	}
}

func testAuditSharesNoMemory(t *testing.T, s audit.Store) {
	want := newEntries(1, 2)
	e := slices.Clone(want)
	scribble := func(e []audit.Entry) {
		for i := range e {
			for _, b := range []*[]byte{&e[i].ClientSalt, &e[i].ClientHash, &e[i].TargetSalt, &e[i].TargetHash, &e[i].MAC} {
				if len(*b) > 0 {
					(*b)[0]++
				}
			}
			e[i].ActorID = "scribbled"
		}
	}
	for i := range e { // memory of its own bytes
		e[i].ClientSalt, e[i].ClientHash = bytes.Clone(e[i].ClientSalt), bytes.Clone(e[i].ClientHash)
		e[i].TargetSalt, e[i].TargetHash, e[i].MAC = bytes.Clone(e[i].TargetSalt), bytes.Clone(e[i].TargetHash), bytes.Clone(e[i].MAC)
	}
	appendAudit(t, s, e)
	scribble(e)
	auditHas(t, s, everyEntry, want...)
	got, err := s.AuditEntries(t.Context(), everyEntry)
	if err != nil {
		t.Fatal(err)
	}
	scribble(got)
	auditHas(t, s, everyEntry, want...)
}

func testAuditCancelledContext(t *testing.T, s audit.Store) {
	e := newEntries(1, 2)
	appendAudit(t, s, e[:1])
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.AppendAudit(ctx, e[1:]); err == nil {
		t.Error("AppendAudit with a cancelled context: no error")
	}
	if _, err := s.AuditEntries(ctx, everyEntry); err == nil {
		t.Error("AuditEntries with a cancelled context: no error")
	}
	if _, err := s.EraseAudit(ctx, "actor-1"); err == nil {
		t.Error("EraseAudit with a cancelled context: no error")
	}
	auditHas(t, s, everyEntry, e[:1]...)
}

func testAuditPages(t *testing.T, s audit.Store) {
	e := newEntries(1, 2345)
	for chunk := range slices.Chunk(e, 500) {
		appendAudit(t, s, chunk)
	}
	next := 0
	for got, err := range audit.All(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		if next == len(e) || !equalEntries(got, e[next]) {
			t.Fatalf("entry %d is %+v", next, got)
		}
		next++
	}
	if next != len(e) {
		t.Fatalf("All yields %d entries, want %d", next, len(e))
	}
}

// testAuditWritersAreOneChain lets several logs, as of several instances, write
// concurrently.
func testAuditWritersAreOneChain(t *testing.T, s audit.Store) {
	const writers, rounds, each = 4, 10, 5
	logs(t, s, writers, func(l *audit.Log, n int) {
		for range rounds {
			for i := range each {
				l.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLoginSuccess, UserID: fmt.Sprint(n, "-", i)})
			}
			if err := l.Flush(t.Context()); err != nil {
				t.Errorf("writer %d: %v", n, err)
			}
		}
	})
	report, err := trail.Verify(audit.All(t.Context(), s), auditKey)
	if err != nil || report.Entries != writers*rounds*each || report.Head.Seq != writers*rounds*each {
		t.Errorf("got %+v, %v; want %d entries in one chain", report, err, writers*rounds*each)
	}
}

func testAuditEraseBesideWriters(t *testing.T, s audit.Store) {
	const writers, rounds = 3, 10
	logs(t, s, writers, func(l *audit.Log, n int) {
		for range rounds {
			l.OnEvent(t.Context(), authkit.Event{Kind: authkit.EventLoginSuccess, UserID: fmt.Sprint("user-", n)})
			if err := l.Erase(t.Context(), fmt.Sprint("user-", n)); err != nil {
				t.Errorf("writer %d: %v", n, err)
			}
		}
	})
	report, err := trail.Verify(audit.All(t.Context(), s), auditKey)
	if err != nil || report.Erased != 2*writers*rounds || report.ErasedByLog != report.Erased || report.Entries != 2*writers*rounds {
		t.Errorf("got %+v, %v; want %d parts erased", report, err, 2*writers*rounds)
	}
}

// logs runs a function concurrently, each with its own log on the store.
func logs(t *testing.T, s audit.Store, n int, write func(l *audit.Log, n int)) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		l, err := audit.New(s, audit.Options{Key: auditKey})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { write(l, i) })
	}
	wg.Wait()
}
