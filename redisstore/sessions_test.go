package redisstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/storetest"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)

func newSession(userID string, n int) *authkit.StoredSession {
	at := start.Add(time.Duration(n) * time.Second)
	return &authkit.StoredSession{
		Session: authkit.Session{
			ID: fmt.Sprintf("session-%d", n), UserID: userID, Device: "Browser", Address: "192.0.2.1",
			CreatedAt: at, LastUsedAt: at, ExpiresAt: at.Add(time.Hour), AbsoluteExpiresAt: at.Add(24 * time.Hour),
		},
		TokenHash: sha256.Sum256(fmt.Append(nil, "token ", n)),
		Successor: []byte{},
	}
}

func rotation(s *authkit.StoredSession, text string) authkit.Rotation {
	at := s.LastUsedAt.Add(time.Minute)
	return authkit.Rotation{
		Old: s.TokenHash, New: sha256.Sum256([]byte(text)), Successor: []byte("sealed " + text),
		At: at, ExpiresAt: at.Add(time.Hour), Address: text,
	}
}

func begin(t *testing.T, s authkit.SessionStore, sessions ...*authkit.StoredSession) {
	t.Helper()
	for _, x := range sessions {
		require.NoError(t, s.CreateSession(t.Context(), *x, 1000))
	}
}

// calls calls every method with the values of a session, and returns the errors.
func calls(ctx context.Context, s authkit.SessionStore, x *authkit.StoredSession) map[string]error {
	errs := make(map[string]error)
	errs["CreateSession"] = s.CreateSession(ctx, *x, 1)
	_, errs["SessionByID"] = s.SessionByID(ctx, x.ID)
	_, errs["SessionsByUser"] = s.SessionsByUser(ctx, x.UserID)
	_, _, errs["RotateSession"] = s.RotateSession(ctx, x.ID, rotation(x, "next"))
	_, errs["RevokeSession"] = s.RevokeSession(ctx, x.UserID, x.ID, start)
	errs["RevokeSessions, all"] = s.RevokeSessions(ctx, x.UserID, "", start)
	errs["RevokeSessions, others"] = s.RevokeSessions(ctx, x.UserID, x.ID, start)
	_, errs["Revocations"] = s.Revocations(ctx, time.Time{})
	_, errs["DeleteExpired"] = s.DeleteExpired(ctx, start, start, 10)
	return errs
}

// instances calls each of its stores in turn. Each store sees the changes of the others.
type instances struct {
	all  []*redisstore.Store
	turn atomic.Int64
}

func (i *instances) next() *redisstore.Store { return i.all[int(i.turn.Add(1))%len(i.all)] }

func (i *instances) CreateSession(ctx context.Context, s authkit.StoredSession, limit int) error {
	return i.next().CreateSession(ctx, s, limit)
}

func (i *instances) SessionByID(ctx context.Context, id string) (authkit.StoredSession, error) {
	return i.next().SessionByID(ctx, id)
}

func (i *instances) SessionsByUser(ctx context.Context, userID string) ([]authkit.Session, error) {
	return i.next().SessionsByUser(ctx, userID)
}

func (i *instances) RotateSession(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
	return i.next().RotateSession(ctx, id, r)
}

func (i *instances) RevokeSession(ctx context.Context, userID, id string, at time.Time) (bool, error) {
	return i.next().RevokeSession(ctx, userID, id, at)
}

func (i *instances) RevokeSessions(ctx context.Context, userID, except string, at time.Time) error {
	return i.next().RevokeSessions(ctx, userID, except, at)
}

func (i *instances) Revocations(ctx context.Context, since time.Time) ([]authkit.Revocation, error) {
	return i.next().Revocations(ctx, since)
}

func (i *instances) DeleteExpired(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
	return i.next().DeleteExpired(ctx, at, revokedBefore, limit)
}

// manyInstances returns a function that makes three instances of one store. Each instance has its
// own client.
func manyInstances(t *testing.T) func(*testing.T) *instances {
	a, b := dial(t), dial(t)
	c := redis.NewClient(&redis.Options{Addr: a.Options().Addr, ContextTimeoutEnabled: true, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return func(t *testing.T) *instances {
		first, prefix := openNamed(t, a)
		all := &instances{all: []*redisstore.Store{first}}
		for _, client := range []*redis.Client{b, c} {
			s, err := redisstore.New(client, redisstore.Options{Prefix: prefix})
			require.NoError(t, err)
			all.all = append(all.all, s)
		}
		return all
	}
}

// Each call of the suite goes to another of three instances.
func TestSessionsOfManyInstances(t *testing.T) {
	t.Parallel()
	open := manyInstances(t)
	storetest.TestSessionStore(t, func(t *testing.T) authkit.SessionStore { return open(t) })
}

func TestNewFaults(t *testing.T) {
	t.Parallel()
	good := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	defer func() { _ = good.Close() }()
	for name, test := range map[string]struct {
		client redis.UniversalClient
		prefix string
		want   []string // nil if New succeeds
	}{
		"good":                 {good, "", nil},
		"good prefix":          {good, "tenant-1.a_b:c", nil},
		"good cluster":         {redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: true}), "", nil},
		"good sentinels":       {redis.NewFailoverClient(&redis.FailoverOptions{ContextTimeoutEnabled: true}), "", nil},
		"nil":                  {nil, "", []string{"<nil>"}},
		"nil client":           {(*redis.Client)(nil), "", []string{"nil"}},
		"nil cluster":          {(*redis.ClusterClient)(nil), "", []string{"nil"}},
		"ring":                 {redis.NewRing(&redis.RingOptions{ContextTimeoutEnabled: true}), "", []string{"*redis.Ring"}},
		"no deadlines":         {redis.NewClient(&redis.Options{}), "", []string{"ContextTimeoutEnabled"}},
		"brace":                {good, "a{b", []string{"Prefix"}},
		"closing brace":        {good, "a}b", []string{"Prefix"}},
		"line end":             {good, "a\n", []string{"Prefix"}},
		"long prefix":          {good, strings.Repeat("x", 65), []string{"Prefix"}},
		"replicas":             {redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: true, ReadOnly: true}), "", []string{"replicas"}},
		"replicas by latency":  {redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: true, RouteByLatency: true}), "", []string{"replicas"}},
		"replicas at random":   {redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: true, RouteRandomly: true}), "", []string{"replicas"}},
		"three faults at once": {redis.NewClusterClient(&redis.ClusterOptions{ReadOnly: true}), "{}", []string{"replicas", "ContextTimeoutEnabled", "Prefix"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := redisstore.New(test.client, redisstore.Options{Prefix: test.prefix})
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.Nil(t, s)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// No method reads or changes the sessions of another prefix, even if the prefixes begin alike.
func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	client := dial(t)
	ours, prefix := openNamed(t, client)
	a, b := newSession("user-1", 1), newSession("user-1", 2)
	begin(t, ours, a, b)
	revoked, err := ours.RevokeSession(t.Context(), "user-1", b.ID, start)
	require.NoError(t, err)
	require.True(t, revoked)

	for _, other := range []string{prefix + "x", prefix[:len(prefix)-1], "s:" + prefix, prefix + ":s"} {
		t.Cleanup(func() { remove(t, client, other) })
		theirs, err := redisstore.New(client, redisstore.Options{Prefix: other})
		require.NoError(t, err)
		_, err = theirs.SessionByID(t.Context(), a.ID)
		require.ErrorIs(t, err, authkit.ErrSessionNotFound)
		_, _, err = theirs.RotateSession(t.Context(), a.ID, rotation(a, "theirs"))
		require.ErrorIs(t, err, authkit.ErrSessionNotFound)
		list, err := theirs.SessionsByUser(t.Context(), "user-1")
		require.NoError(t, err)
		require.Empty(t, list)
		revoked, err := theirs.RevokeSession(t.Context(), "user-1", a.ID, start)
		require.NoError(t, err)
		require.False(t, revoked)
		require.NoError(t, theirs.RevokeSessions(t.Context(), "user-1", "another", start))
		revocations, err := theirs.Revocations(t.Context(), time.Time{})
		require.NoError(t, err)
		require.Empty(t, revocations)
		n, err := theirs.DeleteExpired(t.Context(), start.Add(1000*time.Hour), start.Add(1000*time.Hour), 10)
		require.NoError(t, err)
		require.Zero(t, n)
		same := newSession("user-1", 1) // is another session under this prefix
		same.Device = other
		require.NoError(t, theirs.CreateSession(t.Context(), *same, 1))
		require.NoError(t, theirs.RevokeSessions(t.Context(), "user-1", "", start))
	}
	got, err := ours.SessionByID(t.Context(), a.ID)
	require.NoError(t, err)
	require.Equal(t, *a, got)
	revocations, err := ours.Revocations(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Equal(t, []authkit.Revocation{{UserID: "user-1", SessionID: b.ID, At: start}}, revocations)
}

// An ID of any bytes finds its own session and no other.
func TestIDsOfAnyBytes(t *testing.T) {
	t.Parallel()
	s := open(t, dial(t))
	texts := []string{"a", "a:", ":a", "1:a", "2:1:", "}", "{}", "a\x00", "\x00", "\xff\xfe", "\r\n", "%s", "s:a", strings.Repeat("ä", 300)}
	n := 0
	for _, user := range append(texts, "") {
		for _, id := range texts {
			x := newSession(user, n)
			x.ID = id + user + fmt.Sprint(n)
			x.ExpiresAt = start.Add(time.Hour)
			begin(t, s, x)
			got, err := s.SessionByID(t.Context(), x.ID)
			require.NoError(t, err)
			require.Equal(t, *x, got)
			n++
		}
		list, err := s.SessionsByUser(t.Context(), user)
		require.NoError(t, err)
		require.Len(t, list, len(texts))
		revoked, err := s.RevokeSession(t.Context(), user, list[0].ID, start)
		require.NoError(t, err)
		require.True(t, revoked)
		revocations, err := s.Revocations(t.Context(), start)
		require.NoError(t, err)
		require.Contains(t, revocations, authkit.Revocation{UserID: user, SessionID: list[0].ID, At: start})
	}
	deleted, err := s.DeleteExpired(t.Context(), start.Add(2*time.Hour), start, n)
	require.NoError(t, err)
	require.Equal(t, n-len(texts)-1, deleted)
}

// A store has few keys. All are in one slot, and none is left in the end.
func TestKeys(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	a, b, c := newSession("user-1", 1), newSession("user-1", 2), newSession("{x}", 3)
	c.ID = "{y}"
	begin(t, s, a, b, c)
	require.NoError(t, s.RevokeSessions(t.Context(), "user-2", "", start))
	tag := "{" + prefix + "}:"
	require.ElementsMatch(t, []string{
		tag + "s:session-1", tag + "s:session-2", tag + "s:{y}", tag + "u:user-1", tag + "u:{x}", tag + "expiry", tag + "revoked",
	}, keys(t, client, prefix))

	_, err := s.RevokeSession(t.Context(), "user-1", a.ID, start)
	require.NoError(t, err)
	require.Equal(t, int64(1), client.SCard(t.Context(), tag+"u:user-1").Val())
	require.NoError(t, s.CreateSession(t.Context(), *newSession("user-1", 4), 1)) // which ends b
	require.Equal(t, int64(1), client.SCard(t.Context(), tag+"u:user-1").Val())
	require.Equal(t, int64(2), client.ZCard(t.Context(), tag+"expiry").Val())
	require.NoError(t, s.RevokeSessions(t.Context(), "user-1", "", start))
	late := start.Add(1000 * time.Hour)
	n, err := s.DeleteExpired(t.Context(), late, late, 10)
	require.NoError(t, err)
	require.Equal(t, 1+5, n) // a session, and the revocations of three, user-1 and user-2
	require.Empty(t, keys(t, client, prefix))
}

// Redis expires a session a day after its ExpiresAt, whatever the clock of the caller.
func TestTimeToLive(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	left := func(x *authkit.StoredSession) time.Duration {
		ttl, err := client.PTTL(t.Context(), "{"+prefix+"}:s:"+x.ID).Result()
		require.NoError(t, err)
		return ttl.Round(time.Hour)
	}
	long, forever, expired, old := newSession("u", 1), newSession("u", 2), newSession("u", 3), newSession("u", 4)
	long.ExpiresAt = long.CreatedAt.Add(400 * 24 * time.Hour)
	forever.ExpiresAt = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	expired.ExpiresAt = expired.CreatedAt.Add(-time.Minute)
	old.CreatedAt, old.ExpiresAt = time.Time{}, time.Time{}
	begin(t, s, long, forever, expired, old)
	require.Equal(t, 401*24*time.Hour, left(long))
	require.Greater(t, left(forever), 200*365*24*time.Hour)
	require.Equal(t, 24*time.Hour, left(expired))
	require.Equal(t, 24*time.Hour, left(old))
	r := rotation(long, "next")
	r.ExpiresAt = r.At.Add(7 * 24 * time.Hour)
	_, rotated, err := s.RotateSession(t.Context(), long.ID, r)
	require.NoError(t, err)
	require.True(t, rotated)
	require.Equal(t, 8*24*time.Hour, left(long))
}

// A session that Redis has expired is gone for every method. Its index entries are deleted by
// DeleteExpired, or when the sessions of the user are counted.
func TestDroppedByRedis(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	drop := func(x *authkit.StoredSession) {
		require.NoError(t, client.Del(t.Context(), "{"+prefix+"}:s:"+x.ID).Err())
	}
	dropped, a, b, c := newSession("user-1", 9), newSession("user-1", 1), newSession("user-1", 2), newSession("user-1", 3)
	begin(t, s, dropped, a)
	drop(dropped)
	_, err := s.SessionByID(t.Context(), dropped.ID)
	require.ErrorIs(t, err, authkit.ErrSessionNotFound)
	_, _, err = s.RotateSession(t.Context(), dropped.ID, rotation(dropped, "next"))
	require.ErrorIs(t, err, authkit.ErrSessionNotFound)
	revoked, err := s.RevokeSession(t.Context(), "user-1", dropped.ID, start)
	require.NoError(t, err)
	require.False(t, revoked)
	list, err := s.SessionsByUser(t.Context(), "user-1")
	require.NoError(t, err)
	require.Equal(t, []authkit.Session{a.Session}, list)

	// It does not count as a session of the user.
	require.NoError(t, s.CreateSession(t.Context(), *b, 2))
	list, err = s.SessionsByUser(t.Context(), "user-1")
	require.NoError(t, err)
	require.Equal(t, []authkit.Session{b.Session, a.Session}, list)
	require.Equal(t, int64(2), client.SCard(t.Context(), "{"+prefix+"}:u:user-1").Val())
	require.Equal(t, int64(2), client.ZCard(t.Context(), "{"+prefix+"}:expiry").Val())

	// It is not revoked.
	drop(a)
	require.NoError(t, s.RevokeSessions(t.Context(), "user-1", b.ID, start))
	revocations, err := s.Revocations(t.Context(), time.Time{})
	require.NoError(t, err)
	require.Empty(t, revocations)
	require.Equal(t, int64(1), client.SCard(t.Context(), "{"+prefix+"}:u:user-1").Val())

	// It is deleted, and counted.
	begin(t, s, c)
	drop(c)
	n, err := s.DeleteExpired(t.Context(), start.Add(1000*time.Hour), start, 10)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Empty(t, keys(t, client, prefix))
}

// twice sends every script a second time, as a client does if the connection broke before the
// reply.
type twice struct{}

func (twice) DialHook(next redis.DialHook) redis.DialHook { return next }

func (twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			if err := next(ctx, cmd); err != nil {
				return err
			}
		}
		return next(ctx, cmd)
	}
}

// RF-05: a script that is sent again recognizes its own earlier change.
func TestSentTwice(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s := open(t, client)
	client.AddHook(twice{})
	a, b, c := newSession("user-1", 1), newSession("user-1", 2), newSession("user-1", 3)
	begin(t, s, a, b)
	require.NoError(t, s.CreateSession(t.Context(), *c, 2)) // which ends a
	require.Error(t, s.CreateSession(t.Context(), *c, 2))
	r := rotation(b, "next")
	got, rotated, err := s.RotateSession(t.Context(), b.ID, r)
	require.NoError(t, err)
	require.True(t, rotated)
	require.Equal(t, r.Apply(*b), got)
	_, rotated, err = s.RotateSession(t.Context(), b.ID, r)
	require.NoError(t, err)
	require.False(t, rotated)
	for _, want := range []bool{true, false} {
		revoked, err := s.RevokeSession(t.Context(), "user-1", b.ID, start)
		require.NoError(t, err)
		require.Equal(t, want, revoked)
	}
	require.NoError(t, s.RevokeSessions(t.Context(), "user-1", "", start))
	list, err := s.Revocations(t.Context(), time.Time{})
	require.NoError(t, err)
	require.ElementsMatch(t, []authkit.Revocation{
		{UserID: "user-1", SessionID: a.ID, At: c.CreatedAt}, {UserID: "user-1", SessionID: b.ID, At: start},
		{UserID: "user-1", SessionID: c.ID, At: start}, {UserID: "user-1", At: start},
	}, list)
}

// A record that this package did not store is a failure, and not a missing session.
func TestNotAsItWasStored(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	ctx, tag := t.Context(), "{"+prefix+"}:"
	for n, broken := range []func(key string) error{
		func(key string) error { return client.HSet(ctx, key, "token", "short").Err() },
		func(key string) error { return client.HSet(ctx, key, "parent", "").Err() },
		func(key string) error { return client.HSet(ctx, key, "expires", "tomorrow").Err() },
		func(key string) error { return client.HDel(ctx, key, "device").Err() },
		func(key string) error { return client.Set(ctx, key, "text", 0).Err() },
	} {
		x := newSession(fmt.Sprint("user-", n), n)
		begin(t, s, x)
		require.NoError(t, broken(tag+"s:"+x.ID))
		_, err := s.SessionByID(ctx, x.ID)
		require.Error(t, err)
		require.NotErrorIs(t, err, authkit.ErrSessionNotFound)
		_, err = s.SessionsByUser(ctx, x.UserID)
		require.Error(t, err)
		wrong := rotation(x, "next")
		wrong.Old[0]++
		_, _, err = s.RotateSession(ctx, x.ID, wrong)
		require.Error(t, err)
		require.NotErrorIs(t, err, authkit.ErrSessionNotFound)
	}
	late := start.Add(1000 * time.Hour)
	for key, call := range map[string]func() error{
		tag + "revoked": func() error { _, err := s.Revocations(ctx, time.Time{}); return err },
		tag + "expiry":  func() error { _, err := s.DeleteExpired(ctx, late, late, 100); return err },
	} {
		for _, member := range []string{"x", "9:x", "-1:x", strings.Repeat("x", 20), strings.Repeat("x", 16) + "1:9:y", strings.Repeat("x", 16) + "y:0:z"} {
			require.NoError(t, client.ZAdd(ctx, key, redis.Z{Score: 1, Member: member}).Err())
			if strings.HasSuffix(key, "expiry") && strings.Count(member, ":") == 2 {
				continue // is a valid entry of a session
			}
			require.Error(t, call(), "%q", member)
			require.NoError(t, client.ZRem(ctx, key, member).Err())
		}
	}
}

// newKit returns a kit with sessions and without users.
func newKit(tb testing.TB, s authkit.SessionStore) *authkit.Kit {
	tb.Helper()
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("a secret of 32 random bytes, or more"),
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}},
		Sessions:  authkit.SessionConfig{Store: s},
		Logger:    slog.New(slog.DiscardHandler),
	})
	require.NoError(tb, err)
	return kit
}

// ST-08: a dump of the store has no token.
func TestDumpHoldsNoToken(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openNamed(t, client)
	kit := newKit(t, s)
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "user@example.com"}, "correct horse")
	require.NoError(t, err)
	token, err := kit.Login(t.Context(), "user@example.com", "correct horse")
	require.NoError(t, err)
	next, err := kit.Refresh(t.Context(), token.RefreshToken)
	require.NoError(t, err)
	var dump bytes.Buffer
	for _, key := range keys(t, client, prefix) {
		fields, err := client.HGetAll(t.Context(), key).Result()
		if err == nil {
			fmt.Fprint(&dump, fields)
		}
	}
	require.Contains(t, dump.String(), "successor")
	for _, secret := range []string{token.RefreshToken, next.RefreshToken, token.AccessToken, next.AccessToken} {
		require.NotContains(t, dump.String(), secret)
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	options, err := redisstore.ParseURL("redis://app:hunter2@192.0.2.1:6380/3")
	require.NoError(t, err)
	require.Equal(t, "192.0.2.1:6380", options.Addr)
	require.Equal(t, 3, options.DB)
	require.True(t, options.ContextTimeoutEnabled)
	_, err = redisstore.New(redis.NewClient(options), redisstore.Options{})
	require.NoError(t, err)

	for _, address := range []string{"", "app:hunter2@192.0.2.1", "redis://app:hunter2@192.0.2.1/database", "redis://192.0.2.1:hunter2"} {
		_, err := redisstore.ParseURL(address)
		require.ErrorContains(t, err, "not an address")
		require.NotContains(t, err.Error(), "hunter2")
	}
}
