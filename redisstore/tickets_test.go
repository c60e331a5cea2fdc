package redisstore_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/storetest"
)

func newTicket(kind, subject string, n int) authkit.Ticket {
	at := start.Add(time.Duration(n) * time.Second)
	return authkit.Ticket{
		Kind: kind, ID: fmt.Sprint("ticket-", n), Subject: subject, Hash: sha256.Sum256(fmt.Append(nil, n)),
		Body: fmt.Append(nil, "body ", n), MaxAttempts: 5, CreatedAt: at, ExpiresAt: at.Add(time.Hour),
	}
}

func put(t *testing.T, s authkit.TicketStore, tickets ...authkit.Ticket) {
	t.Helper()
	for _, x := range tickets {
		require.NoError(t, s.PutTicket(t.Context(), x))
	}
}

// ticketExists reports whether a ticket can be attempted, and counts an attempt.
func ticketExists(t *testing.T, s authkit.TicketStore, x authkit.Ticket) bool {
	t.Helper()
	got, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, x.CreatedAt)
	if errors.Is(err, authkit.ErrTicketNotFound) {
		require.Zero(t, got)
		return false
	}
	require.NoError(t, err)
	require.Equal(t, x.Hash, got.Hash)
	return true
}

// ticketCalls calls every method with the values of a ticket, and returns the errors.
func ticketCalls(ctx context.Context, s authkit.TicketStore, x authkit.Ticket) map[string]error {
	errs := make(map[string]error)
	errs["PutTicket"] = s.PutTicket(ctx, x)
	_, errs["AttemptTicket"] = s.AttemptTicket(ctx, x.Kind, x.ID, x.CreatedAt)
	errs["ConsumeTicket"] = s.ConsumeTicket(ctx, x.Kind, x.ID, x.CreatedAt)
	errs["DeleteTickets"] = s.DeleteTickets(ctx, x.Subject)
	_, errs["DeleteExpiredTickets"] = s.DeleteExpiredTickets(ctx, x.ExpiresAt, 10)
	return errs
}

// ticketsFail checks that every method returns the error of a store that failed.
func ticketsFail(t *testing.T, s authkit.TicketStore, x authkit.Ticket) {
	t.Helper()
	for method, err := range ticketCalls(t.Context(), s, x) {
		require.Error(t, err, method)
		require.NotErrorIs(t, err, authkit.ErrTicketNotFound, method)
	}
}

func (i *instances) PutTicket(ctx context.Context, x authkit.Ticket) error {
	return i.next().PutTicket(ctx, x)
}

func (i *instances) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	return i.next().AttemptTicket(ctx, kind, id, at)
}

func (i *instances) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	return i.next().ConsumeTicket(ctx, kind, id, at)
}

func (i *instances) DeleteTickets(ctx context.Context, subject string) error {
	return i.next().DeleteTickets(ctx, subject)
}

func (i *instances) DeleteExpiredTickets(ctx context.Context, at time.Time, limit int) (int, error) {
	return i.next().DeleteExpiredTickets(ctx, at, limit)
}

// Each call of the suite goes to another of three instances.
func TestTicketsOfManyInstances(t *testing.T) {
	t.Parallel()
	open := manyInstances(t)
	storetest.TestTicketStore(t, func(t *testing.T) authkit.TicketStore { return open(t) })
}

// A ticket is redeemed once, by the right token and kind.
func TestRedeem(t *testing.T) {
	t.Parallel()
	s := open(t, dial(t))
	ticket, token := authkit.NewTicket("login", "user-1", time.Hour)
	ticket.Body = []byte("body")
	put(t, s, ticket)
	_, err := authkit.RedeemTicket(t.Context(), s, "other", token)
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	_, err = authkit.RedeemTicket(t.Context(), s, "login", token+"x")
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	got, err := authkit.RedeemTicket(t.Context(), s, "login", token)
	require.NoError(t, err)
	require.Equal(t, 2, got.Attempts)
	require.Equal(t, "user-1", got.Subject)
	require.Equal(t, ticket.Body, got.Body)
	_, err = authkit.RedeemTicket(t.Context(), s, "login", token)
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
}

// A ticket is returned as it was put, with any bytes in its texts.
func TestTicketsOfAnyBytes(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	texts := []string{"a", "a:", ":a", "1:a", "1:a1:a", "}", "{}", "\x00", "\xff\xfe", "\r\n", strings.Repeat("ä", 300)}
	var all []authkit.Ticket
	for _, kind := range append(texts, "") {
		for i, id := range texts {
			x := newTicket(kind, fmt.Sprintf("%q of %q", id, kind), i)
			x.ID, x.Body = id, []byte(id+"\x00"+kind)
			all = append(all, x)
		}
	}
	for i, subject := range append(texts, "") { // of another kind, so that none is replaced
		x := newTicket(fmt.Sprint("kind-", i), subject, i)
		x.CreatedAt, x.ExpiresAt, x.Body, x.MaxAttempts = time.Time{}, time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), nil, math.MaxInt
		all = append(all, x)
	}
	put(t, s, all...)
	for _, x := range all {
		got, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, start)
		require.NoError(t, err)
		x.Attempts = 1
		require.Equal(t, x, got)
	}
	for i, x := range all {
		switch i % 3 {
		case 0:
			require.NoError(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, start))
		case 1:
			require.NoError(t, s.DeleteTickets(t.Context(), x.Subject))
		}
		if i%3 == 2 || x.Subject == "" && i%3 == 1 {
			require.True(t, ticketExists(t, s, x))
		} else {
			require.False(t, ticketExists(t, s, x))
		}
	}
	left := int(client.ZCard(t.Context(), "{"+prefix+"}:tickets").Val())
	n, err := s.DeleteExpiredTickets(t.Context(), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), 1000)
	require.NoError(t, err)
	require.Equal(t, left, n)
	for _, key := range keys(t, client, prefix) {
		require.Equal(t, []string{"consumed"}, client.HKeys(t.Context(), key).Val())
	}
}

// A new ticket replaces the ticket of its kind and subject, and no other ticket.
func TestPutReplaces(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	old, next := newTicket("login", "user-1", 1), newTicket("login", "user-1", 2)
	others := []authkit.Ticket{newTicket("mail", "user-1", 3), newTicket("login", "user-2", 4), newTicket("login", "", 5), newTicket("login", "", 6)}
	put(t, s, old)
	put(t, s, others...)
	require.Error(t, s.PutTicket(t.Context(), old))
	again := newTicket("login", "user-2", 1)
	require.Error(t, s.PutTicket(t.Context(), again), "the ID exists for another subject")
	require.True(t, ticketExists(t, s, old))
	put(t, s, next)
	require.False(t, ticketExists(t, s, old))
	for _, x := range append(others, next) {
		require.True(t, ticketExists(t, s, x), x.ID)
	}
	require.Error(t, s.PutTicket(t.Context(), authkit.Ticket{Kind: "login", CreatedAt: start, ExpiresAt: start}))
	require.Equal(t, int64(5), client.ZCard(t.Context(), "{"+prefix+"}:tickets").Val())

	require.NoError(t, s.DeleteTickets(t.Context(), "user-1"))
	require.NoError(t, s.DeleteTickets(t.Context(), ""))
	require.False(t, ticketExists(t, s, next))
	require.False(t, ticketExists(t, s, others[0]))
	for _, x := range others[1:] {
		require.True(t, ticketExists(t, s, x), x.ID)
	}
	put(t, s, old) // its ID is free again
	require.True(t, ticketExists(t, s, old))
}

// The time of the call decides whether a ticket has expired.
func TestTicketExpiry(t *testing.T) {
	t.Parallel()
	s := open(t, dial(t))
	x := newTicket("login", "user-1", 1)
	x.MaxAttempts = 2
	put(t, s, x)
	for range 3 {
		_, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, x.ExpiresAt)
		require.ErrorIs(t, err, authkit.ErrTicketNotFound)
	}
	require.ErrorIs(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.ExpiresAt), authkit.ErrTicketNotFound)
	last := x.ExpiresAt.Add(-time.Microsecond)
	for n := 1; n <= 2; n++ {
		got, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, last)
		require.NoError(t, err)
		require.Equal(t, n, got.Attempts)
	}
	_, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, last)
	require.ErrorIs(t, err, authkit.ErrTicketNotFound)
	n, err := s.DeleteExpiredTickets(t.Context(), last, 10)
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, s.ConsumeTicket(t.Context(), x.Kind, x.ID, last), "the attempts do not matter")
	n, err = s.DeleteExpiredTickets(t.Context(), x.ExpiresAt, 10)
	require.NoError(t, err)
	require.Zero(t, n)

	for n := range 5 {
		put(t, s, newTicket("login", fmt.Sprint("user-", n), n))
	}
	for _, c := range []struct {
		at          time.Time
		limit, want int
	}{
		{start.Add(time.Hour), 10, 1}, {start.Add(2 * time.Hour), 0, 0}, {start.Add(2 * time.Hour), -1, 0},
		{start.Add(2 * time.Hour), 3, 3}, {start.Add(2 * time.Hour), math.MaxInt, 1}, {start.Add(2 * time.Hour), 3, 0},
	} {
		n, err := s.DeleteExpiredTickets(t.Context(), c.at, c.limit)
		require.NoError(t, err)
		require.Equal(t, c.want, n)
	}
}

// Concurrent attempts never exceed the limit, and concurrent callers consume a ticket once.
func TestTicketRaces(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	x := newTicket("login", "user-1", 1)
	put(t, s, x)
	var attempts, consumed, puts atomic.Int64
	together := func(f func(i int)) {
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() { f(i) })
		}
		group.Wait()
	}
	count := func(n *atomic.Int64, err error) {
		if err == nil {
			n.Add(1)
		} else if !errors.Is(err, authkit.ErrTicketNotFound) {
			t.Error(err)
		}
	}
	together(func(int) {
		_, err := s.AttemptTicket(t.Context(), x.Kind, x.ID, x.CreatedAt)
		count(&attempts, err)
	})
	require.Equal(t, int64(x.MaxAttempts), attempts.Load())
	together(func(int) { count(&consumed, s.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt)) })
	require.Equal(t, int64(1), consumed.Load())

	together(func(int) {
		if s.PutTicket(t.Context(), x) == nil {
			puts.Add(1)
		}
	})
	require.Equal(t, int64(1), puts.Load())
	together(func(i int) {
		if err := s.PutTicket(t.Context(), newTicket("login", "user-1", 10+i)); err != nil {
			t.Error(err)
		}
	})
	require.Equal(t, int64(1), client.ZCard(t.Context(), "{"+prefix+"}:tickets").Val(), "each replaced another")
	together(func(i int) {
		var err error
		if i%2 == 0 {
			err = s.DeleteTickets(t.Context(), "user-1")
		} else {
			err = s.PutTicket(t.Context(), newTicket(fmt.Sprint("kind-", i), "user-1", 50+i))
		}
		if err != nil {
			t.Error(err)
		}
	})
	require.NoError(t, s.DeleteTickets(t.Context(), "user-1"))
	require.Zero(t, client.Exists(t.Context(), "{"+prefix+"}:tickets", "{"+prefix+"}:j:user-1").Val())
}

// The keys of tickets are in one slot. Only the mark of a consumption is left in the end.
func TestTicketKeys(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	a, b := newTicket("login", "user-1", 1), newTicket("{x}", "", 2)
	b.ExpiresAt = b.CreatedAt.Add(-time.Hour)
	put(t, s, a, b)
	tag := "{" + prefix + "}:"
	require.ElementsMatch(t, []string{tag + "k:5:loginticket-1", tag + "k:3:{x}ticket-2", tag + "j:user-1", tag + "tickets"}, keys(t, client, prefix))
	ttl := func(key string) time.Duration { return client.PTTL(t.Context(), tag+key).Val() }
	require.Equal(t, 25*time.Hour, ttl("k:5:loginticket-1").Round(time.Hour))
	require.Equal(t, 24*time.Hour, ttl("k:3:{x}ticket-2").Round(time.Hour))
	n, err := s.DeleteExpiredTickets(t.Context(), b.ExpiresAt, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, s.ConsumeTicket(t.Context(), a.Kind, a.ID, a.CreatedAt))
	require.Equal(t, []string{tag + "k:5:loginticket-1"}, keys(t, client, prefix))
	require.LessOrEqual(t, ttl("k:5:loginticket-1"), time.Minute)
	require.Positive(t, ttl("k:5:loginticket-1"))
	put(t, s, a) // in place of the mark
	require.False(t, client.HExists(t.Context(), tag+"k:5:loginticket-1", "consumed").Val())
	require.Equal(t, 25*time.Hour, ttl("k:5:loginticket-1").Round(time.Hour))
}

// afterFirst calls a function after the first script.
type afterFirst struct {
	twice
	once *sync.Once
	do   func()
}

func (h afterFirst) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if strings.HasPrefix(cmd.Name(), "eval") && err == nil {
			h.once.Do(h.do)
		}
		return err
	}
}

// A ticket that is replaced while DeleteExpiredTickets runs is judged by its new ExpiresAt.
func TestTicketReplacedDuringDeletion(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	x := newTicket("login", "user-1", 1)
	put(t, s, x)
	next := x
	next.ExpiresAt = x.ExpiresAt.Add(time.Hour)
	other := dial(t)
	other.AddHook(afterFirst{once: new(sync.Once), do: func() {
		require.NoError(t, s.DeleteTickets(t.Context(), x.Subject))
		put(t, s, next)
	}})
	slow, err := redisstore.New(other, redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	n, err := slow.DeleteExpiredTickets(t.Context(), x.ExpiresAt, 10)
	require.NoError(t, err)
	require.Zero(t, n)
	require.True(t, ticketExists(t, s, next))
}

// A ticket that Redis has expired is gone for every method. DeleteExpiredTickets and the next
// ticket delete its index entries.
func TestTicketDroppedByRedis(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	a, b, c := newTicket("login", "user-1", 1), newTicket("login", "user-1", 2), newTicket("login", "user-2", 3)
	drop := func(x authkit.Ticket) {
		require.Equal(t, int64(1), client.Del(t.Context(), "{"+prefix+"}:k:5:login"+x.ID).Val())
	}
	put(t, s, a)
	drop(a)
	require.False(t, ticketExists(t, s, a))
	require.ErrorIs(t, s.ConsumeTicket(t.Context(), a.Kind, a.ID, a.CreatedAt), authkit.ErrTicketNotFound)
	put(t, s, a) // the same ID again
	require.True(t, ticketExists(t, s, a))
	drop(a)
	put(t, s, b, c)
	require.Equal(t, int64(2), client.ZCard(t.Context(), "{"+prefix+"}:tickets").Val())
	drop(b)
	drop(c)
	require.NoError(t, s.DeleteTickets(t.Context(), "user-1"))
	n, err := s.DeleteExpiredTickets(t.Context(), c.ExpiresAt, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Empty(t, keys(t, client, prefix))
}

// A record that this package did not store is a failure, and not a missing ticket.
func TestTicketNotAsItWasStored(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	ctx, tag := t.Context(), "{"+prefix+"}:"
	for n, broken := range []func(key string) error{
		func(key string) error { return client.HSet(ctx, key, "hash", "short").Err() },
		func(key string) error { return client.HSet(ctx, key, "expires", "tomorrow").Err() },
		func(key string) error { return client.HSet(ctx, key, "created", "yesterday").Err() },
		func(key string) error { return client.HSet(ctx, key, "max", "many").Err() },
		func(key string) error { return client.HDel(ctx, key, "body").Err() },
		func(key string) error { return client.HDel(ctx, key, "calls").Err() },
		func(key string) error { return client.Set(ctx, key, "text", 0).Err() },
	} {
		x := newTicket("login", fmt.Sprint("user-", n), n)
		put(t, s, x)
		require.NoError(t, broken(tag+"k:5:login"+x.ID))
		_, err := s.AttemptTicket(ctx, x.Kind, x.ID, x.CreatedAt)
		require.Error(t, err, n)
		require.NotErrorIs(t, err, authkit.ErrTicketNotFound, n)
	}
	for _, member := range []string{"x", "9:x", "-1:x", "5:login", "5:login9:x"} {
		require.NoError(t, client.ZAdd(ctx, tag+"tickets", redis.Z{Score: 1, Member: member}).Err())
		_, err := s.DeleteExpiredTickets(ctx, start, 10)
		require.Error(t, err, member)
		require.NoError(t, client.ZRem(ctx, tag+"tickets", member).Err())
	}
}

// No method reads or changes the tickets of another prefix.
func TestTicketPrefixesAreApart(t *testing.T) {
	t.Parallel()
	client := dial(t)
	ours, prefix := openNamed(t, client)
	x := newTicket("login", "user-1", 1)
	put(t, ours, x)
	for _, other := range []string{prefix + "x", prefix[:len(prefix)-1], "k:" + prefix, prefix + ":k"} {
		t.Cleanup(func() { remove(t, client, other) })
		theirs, err := redisstore.New(client, redisstore.Options{Prefix: other})
		require.NoError(t, err)
		require.False(t, ticketExists(t, theirs, x))
		require.ErrorIs(t, theirs.ConsumeTicket(t.Context(), x.Kind, x.ID, x.CreatedAt), authkit.ErrTicketNotFound)
		put(t, theirs, x)
		require.NoError(t, theirs.DeleteTickets(t.Context(), "user-1"))
		n, err := theirs.DeleteExpiredTickets(t.Context(), x.ExpiresAt, 10)
		require.NoError(t, err)
		require.Zero(t, n)
	}
	require.True(t, ticketExists(t, ours, x))
}

// oldFields returns the fields of a session that was stored without AuthTime and Methods.
func oldFields(x *authkit.StoredSession) []any {
	us := func(at time.Time) any { return fmt.Sprint(at.UnixMicro()) }
	return []any{
		"call", "0123456789abcdef", "user", x.UserID, "device", x.Device, "address", x.Address, "created", us(x.CreatedAt),
		"used", us(x.LastUsedAt), "expires", us(x.ExpiresAt), "ends", us(x.AbsoluteExpiresAt), "token", x.TokenHash[:], "parent", x.ParentHash[:],
		"rotated", us(x.RotatedAt), "successor", x.Successor,
	}
}

// A session keeps its AuthTime and Methods. A session that was stored without them has neither,
// also after a rotation.
func TestSessionAuthentication(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	check := func(x *authkit.StoredSession) {
		t.Helper()
		got, err := s.SessionByID(t.Context(), x.ID)
		require.NoError(t, err)
		require.Equal(t, *x, got)
		list, err := s.SessionsByUser(t.Context(), x.UserID)
		require.NoError(t, err)
		require.Equal(t, []authkit.Session{x.Session}, list)
		r := rotation(x, "next")
		got, rotated, err := s.RotateSession(t.Context(), x.ID, r)
		require.NoError(t, err)
		require.True(t, rotated)
		require.Equal(t, r.Apply(*x), got)
	}
	for n, methods := range [][]string{nil, {"pwd"}, {"pwd", "otp"}, {""}, {"", "1:", "\x00\xff"}} {
		x := newSession(fmt.Sprint("user-", n), n)
		x.AuthTime, x.Methods = start.Add(-time.Minute), slices.Clone(methods)
		begin(t, s, x)
		check(x)
	}
	old, tag := newSession("user-old", 100), "{"+prefix+"}:"
	require.NoError(t, client.HSet(t.Context(), tag+"s:"+old.ID, oldFields(old)...).Err())
	require.NoError(t, client.SAdd(t.Context(), tag+"u:"+old.UserID, old.ID).Err())
	check(old)

	broken := newSession("user-broken", 101)
	for field, value := range map[string]string{"auth": "never", "methods": "9:pwd"} {
		begin(t, s, broken)
		require.NoError(t, client.HSet(t.Context(), tag+"s:"+broken.ID, field, value).Err())
		_, err := s.SessionByID(t.Context(), broken.ID)
		require.Error(t, err)
		require.NotErrorIs(t, err, authkit.ErrSessionNotFound)
		require.NoError(t, s.RevokeSessions(t.Context(), broken.UserID, "", start))
	}
}
