package audit_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/audit"
)

// linked returns an entry of a chain.
func linked() (audit.Entry, *audit.Chain) {
	list := []audit.Entry{{Kind: "a", ActorID: "ann", SessionID: "s", Address: "192.0.2.1", Agent: "b", RequestID: "r", TargetID: "bob"}}
	chain := audit.NewChain(testKey)
	chain.Link(audit.Head{}, list)
	return list[0], chain
}

// AU-06: each part of the personal data is as it was, or erased.
func TestPersonal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(e *audit.Entry)
		erased int
		ok     bool
	}{
		"nothing":                  {func(*audit.Entry) {}, 0, true},
		"the actor":                {func(e *audit.Entry) { e.ActorID = "eve" }, 0, false},
		"the session":              {func(e *audit.Entry) { e.SessionID = "" }, 0, false},
		"the address":              {func(e *audit.Entry) { e.Address = "" }, 0, false},
		"the agent":                {func(e *audit.Entry) { e.Agent = "" }, 0, false},
		"the request":              {func(e *audit.Entry) { e.RequestID = "" }, 0, false},
		"the target":               {func(e *audit.Entry) { e.TargetID = "eve" }, 0, false},
		"a salt":                   {func(e *audit.Entry) { e.ClientSalt = e.ClientSalt[:15] }, 0, false},
		"the other salt":           {func(e *audit.Entry) { e.TargetSalt = e.TargetSalt[:15] }, 0, false},
		"erased":                   {func(e *audit.Entry) { e.Erase("ann"); e.Erase("bob") }, 2, true},
		"the client is erased":     {func(e *audit.Entry) { e.Erase("ann") }, 1, true},
		"the target is erased":     {func(e *audit.Entry) { e.Erase("bob") }, 1, true},
		"erased, and the actor":    {func(e *audit.Entry) { e.Erase("ann"); e.ActorID = "eve" }, 1, false},
		"erased, and the target":   {func(e *audit.Entry) { e.Erase("bob"); e.TargetID = "eve" }, 1, false},
		"both, and the actor":      {func(e *audit.Entry) { e.Erase("ann"); e.Erase("bob"); e.ActorID = "eve" }, 2, false},
		"the target, and an actor": {func(e *audit.Entry) { e.Erase("bob"); e.ActorID = "eve" }, 1, false},
	} {
		e, chain := linked()
		c.change(&e)
		erased, ok := chain.Personal(&e)
		require.Equal(t, c.erased, erased, name)
		require.Equal(t, c.ok, ok, name)
		require.True(t, chain.Follows(audit.Head{}, &e), "the chain has the hashes only")
	}
}

// AU-06: erasing a user removes the parts that are about the user, and no others.
func TestErase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor, target, user string
		client, account     bool
	}{
		{"ann", "bob", "ann", true, false},
		{"ann", "bob", "bob", false, true},
		{"ann", "bob", "eve", false, false},
		{"ann", "ann", "ann", true, true},
		{"", "bob", "bob", true, true},
		{"", "bob", "eve", false, false},
		{"", "", "", false, false},
	} {
		list := []audit.Entry{{Kind: "a", ActorID: c.actor, Address: "192.0.2.1", TargetID: c.target}}
		audit.NewChain(testKey).Link(audit.Head{}, list)
		e := list[0]
		want := 0
		for _, removed := range []bool{c.client, c.account} {
			if removed {
				want++
			}
		}
		require.Equal(t, want, e.Erase(c.user), "%+v", c)
		require.Equal(t, c.client, e.Address == "" && e.ClientSalt == nil && e.ActorID == "", "%+v", c)
		require.Equal(t, c.account, e.TargetID == "" && e.TargetSalt == nil && c.target != "", "%+v", c)
		require.Zero(t, e.Erase(c.user), "erased already")
	}
}

// A client that was erased before is not erased again with the target.
func TestEraseTwoUsers(t *testing.T) {
	t.Parallel()
	e, _ := linked()
	require.Equal(t, 1, e.Erase("ann"))
	require.Equal(t, 1, e.Erase("bob"))
}

// A head has one text.
func TestHeadText(t *testing.T) {
	t.Parallel()
	e, _ := linked()
	head := e.Head()
	require.EqualValues(t, 1, head.Seq)
	require.Equal(t, e.MAC, head.MAC[:])
	text, err := head.MarshalText()
	require.NoError(t, err)
	var again audit.Head
	require.NoError(t, again.UnmarshalText(text))
	require.Equal(t, head, again)
	mac := head.String()[2:]
	for _, bad := range []string{"", "1", "1:", ":" + mac, "x:" + mac, "-1:" + mac, "1:" + mac[:42], "1:" + mac + "A", "1:" + mac + "=", "1:" + mac[:42] + "!", "1:" + mac + ":1"} {
		kept := head
		require.Error(t, kept.UnmarshalText([]byte(bad)), bad)
		require.Equal(t, head, kept)
	}
}

// A paged store counts its reads, and fails from one of them on.
type paged struct {
	audit.Store
	reads, fails int
}

func (s *paged) AuditEntries(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
	if s.reads++; s.reads == s.fails {
		return nil, errors.New("no disk")
	}
	return s.Store.AuditEntries(ctx, q)
}

// All reads page by page, until the reader stops or the store fails.
func TestAll(t *testing.T) {
	t.Parallel()
	s := &paged{Store: audit.NewMemoryStore(0)}
	require.NoError(t, s.AppendAudit(t.Context(), nil))
	list := make([]audit.Entry, 1001)
	audit.NewChain(testKey).Link(audit.Head{}, list)
	require.NoError(t, s.AppendAudit(t.Context(), list))
	count := func(stop int) (n int, failed error) {
		s.reads = 0
		for _, err := range audit.All(t.Context(), s) {
			if err != nil {
				failed = err
				continue
			}
			if n++; n == stop {
				break
			}
		}
		return n, failed
	}
	n, err := count(0)
	require.NoError(t, err)
	require.Equal(t, []int{1001, 2}, []int{n, s.reads})
	n, err = count(5)
	require.NoError(t, err)
	require.Equal(t, []int{5, 1}, []int{n, s.reads})
	s.fails = 2
	n, err = count(0)
	require.ErrorContains(t, err, "no disk")
	require.Equal(t, []int{1000, 2}, []int{n, s.reads})

	// Callers and the store share no memory.
	page, err := s.Store.AuditEntries(t.Context(), audit.Query{Limit: 1, UserID: ""})
	require.NoError(t, err)
	mac := bytes.Clone(page[0].MAC)
	page[0].MAC[0] ^= 1
	list[0].MAC[1] ^= 1
	again, err := s.Store.AuditEntries(t.Context(), audit.Query{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, mac, again[0].MAC)
	require.NoError(t, s.AppendAudit(t.Context(), nil))
}

// A query selects the entries with a user as actor or as target.
func TestMatches(t *testing.T) {
	t.Parallel()
	e := &audit.Entry{Seq: 5, ActorID: "ann", TargetID: "bob"}
	for _, c := range []struct {
		q    audit.Query
		want bool
	}{
		{audit.Query{}, true}, {audit.Query{UserID: "ann"}, true}, {audit.Query{UserID: "bob"}, true}, {audit.Query{UserID: "eve"}, false},
		{audit.Query{After: 4}, true}, {audit.Query{After: 5}, false}, {audit.Query{Before: 6}, true}, {audit.Query{Before: 5}, false},
	} {
		require.Equal(t, c.want, c.q.Matches(e), "%+v", c.q)
	}
}

// A batch is written with one call. An entry of a user who is not in the log
// erases nothing, and adds no entry.
func TestWritesOnce(t *testing.T) {
	t.Parallel()
	calls := 0
	store := &faultyStore{MemoryStore: audit.NewMemoryStore(0)}
	store.before = func(context.Context, []audit.Entry) error { calls++; return nil }
	l := newLog(t, store)
	for i := range 500 {
		l.OnEvent(t.Context(), event(i))
	}
	require.NoError(t, l.Flush(t.Context()))
	require.NoError(t, l.Flush(t.Context()))
	require.Equal(t, 1, calls)
	require.NoError(t, l.Erase(t.Context(), "nobody"))
	require.EqualValues(t, 500, l.Stats().Written)
	require.NoError(t, l.Erase(t.Context(), "user-7"))
	require.EqualValues(t, 501, l.Stats().Written)
	entries, report := all(t, store)
	require.Equal(t, audit.KindErased, entries[500].Kind)
	require.EqualValues(t, 2, entries[500].Count)
	require.EqualValues(t, 501, report.Head.Seq)
	store.before = func(context.Context, []audit.Entry) error { return errors.New("no disk") }
	l.OnEvent(t.Context(), event(1))
	require.Error(t, l.Erase(t.Context(), "user-8"), "the latest entries cannot be written")
	kept, err := store.AuditEntries(t.Context(), audit.Query{UserID: "user-8", Limit: 9})
	require.NoError(t, err)
	require.Len(t, kept, 1, "nothing is erased then")
}
