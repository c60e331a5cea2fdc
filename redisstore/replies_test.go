package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/redisstore"
	"github.com/authkit-go/authkit/throttle"
)

// replying is a Redis that has a reply for each script in turn, and repeats the
// last one. It needs no server.
type replying struct {
	replies []any
	scripts [][]string // the keys and arguments of each script
	during  func()     // called while a script runs, if not nil
}

func (r *replying) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *replying) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		var texts []string
		for _, arg := range cmd.Args()[2:] {
			if text, ok := arg.([]byte); ok {
				arg = string(text)
			}
			texts = append(texts, fmt.Sprint(arg))
		}
		r.scripts = append(r.scripts, texts)
		if r.during != nil {
			r.during()
		}
		reply := r.replies[min(len(r.scripts), len(r.replies))-1]
		if err, ok := reply.(error); ok {
			cmd.SetErr(err)
			return err
		}
		cmd.(*redis.Cmd).SetVal(reply)
		return nil
	}
}

func (r *replying) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// answering returns stores on a Redis with these replies.
func answering(t *testing.T, replies ...any) (*replying, *redisstore.Store, *redisstore.Throttle) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	r := &replying{replies: replies}
	client.AddHook(r)
	store, err := redisstore.New(client, redisstore.Options{})
	require.NoError(t, err)
	limits, err := redisstore.NewThrottle(client, redisstore.Options{})
	require.NoError(t, err)
	return r, store, limits
}

var at = time.UnixMicro(1_700_000_000_000_000).UTC()

// scripted are the methods. A result has to be zero after an error.
var scripted = map[string]func(ctx context.Context, s *redisstore.Store, t *redisstore.Throttle) (any, error){
	"CreateSession": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return nil, s.CreateSession(ctx, authkit.StoredSession{Session: authkit.Session{ID: "s", UserID: "u"}}, 5)
	},
	"SessionByID": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return s.SessionByID(ctx, "s")
	},
	"SessionsByUser": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return s.SessionsByUser(ctx, "u")
	},
	"RotateSession": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		x, rotated, err := s.RotateSession(ctx, "s", authkit.Rotation{At: at, ExpiresAt: at})
		if rotated {
			return rotated, err
		}
		return x, err
	},
	"RevokeSession": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return s.RevokeSession(ctx, "u", "s", at)
	},
	"RevokeSessions": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return nil, s.RevokeSessions(ctx, "u", "", at)
	},
	"Revocations": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return s.Revocations(ctx, at)
	},
	"DeleteExpired": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return s.DeleteExpired(ctx, at, at, 10)
	},
	"PutTicket": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return nil, s.PutTicket(ctx, authkit.Ticket{Kind: "k", ID: "t", Subject: "u", CreatedAt: at, ExpiresAt: at})
	},
	"AttemptTicket": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return s.AttemptTicket(ctx, "k", "t", at)
	},
	"ConsumeTicket": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return nil, s.ConsumeTicket(ctx, "k", "t", at)
	},
	"DeleteTickets": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return nil, s.DeleteTickets(ctx, "u")
	},
	"DeleteExpiredTickets": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return s.DeleteExpiredTickets(ctx, at, 10)
	},
	"Reserve": func(ctx context.Context, _ *redisstore.Store, t *redisstore.Throttle) (any, error) {
		return t.Reserve(ctx, throttle.Reservation{At: at, Counter: throttle.Key{1}, ClearedAt: throttle.Key{2}})
	},
	"Check": func(ctx context.Context, s *redisstore.Store, _ *redisstore.Throttle) (any, error) {
		return nil, s.Check(ctx)
	},
}

func texts(values ...string) (list []any) {
	list = []any{}
	for _, value := range values {
		list = append(list, value)
	}
	return list
}

var (
	hash32    = strings.Repeat("h", 32)
	session13 = []string{"u", "Safari", "192.0.2.1", "1", "2", "3", "4", hash32, hash32, "5", "next", "6", "3:pwd"}
	ticket7   = []string{"u", hash32, "body", "1", "5", "7", "8"}
)

// with returns a copy of a list with another element.
func with(list []string, i int, value string) any {
	list = slices.Clone(list)
	list[i] = value
	return texts(list...)
}

// TestRepliesOfOthers asserts that a reply that no script of the package gives
// is an error, and neither a result nor a panic.
func TestRepliesOfOthers(t *testing.T) {
	t.Parallel()
	one, zero := int64(1), int64(0)
	notTexts := []any{"x", nil, one, []any{one}, []any{"a", nil}}
	notPairs := []any{"x", nil, one, []any{}, []any{one, one, one}, []any{int64(2), one}, []any{"1", one}, []any{zero, "x", "y"}}
	notSessions := append([]any{
		texts(session13[:12]...), texts(append(slices.Clone(session13), "more")...),
		with(session13, 7, "short"), with(session13, 8, "short"), with(session13, 7, hash32+"h"), with(session13, 8, hash32+"h"),
		with(session13, 12, "x"), with(session13, 12, "4:pwd"), with(session13, 12, "-1:pwd"), with(session13, 12, "3:pwd3"),
	}, notTexts...)
	for _, i := range []int{3, 4, 5, 6, 9, 11} {
		notSessions = append(notSessions, with(session13, i, "x"))
	}
	notTickets := append([]any{texts(ticket7[:6]...), texts(append(slices.Clone(ticket7), "more")...), with(ticket7, 1, "short"), with(ticket7, 1, hash32+"h")}, notTexts...)
	for _, i := range []int{3, 4, 5, 6} {
		notTickets = append(notTickets, with(ticket7, i, "x"))
	}
	second := func(first any, replies []any) (pairs [][]any) {
		for _, reply := range replies {
			pairs = append(pairs, []any{first, reply})
		}
		return pairs
	}
	alone := func(replies []any) (lists [][]any) {
		for _, reply := range replies {
			lists = append(lists, []any{reply})
		}
		return lists
	}
	before := func(replies []any, second any) (pairs [][]any) {
		for _, reply := range replies {
			pairs = append(pairs, []any{reply, second})
		}
		return pairs
	}
	inside := func(first int64, replies []any) (pairs []any) {
		for _, reply := range replies {
			pairs = append(pairs, []any{first, reply})
		}
		return pairs
	}
	notCounts := []any{"1", nil, []any{one}}
	revoked := []any{texts(""), texts("x"), texts(strings.Repeat("c", 16) + "x:1:su"), texts(strings.Repeat("c", 16) + "5"), texts(strings.Repeat("c", 16) + "5:9:su")}
	notEntries := []any{texts("x"), texts("9:s"), texts("-1:s")}
	for method, cases := range map[string][][]any{
		"CreateSession":  slices.Concat(alone(notPairs), alone(inside(zero, notTexts))),
		"RevokeSessions": slices.Concat(alone(notPairs), alone(inside(zero, notTexts)), before(inside(2, []any{texts("s")}), []any{one})),
		"SessionsByUser": slices.Concat(alone(notPairs), alone(inside(zero, notTexts)), alone(inside(one, []any{nil, "x", texts("s")})),
			second([]any{zero, texts("s")}, inside(one, []any{[]any{}, []any{"x", "y"}, "x"})),
			second([]any{zero, texts("s")}, func() (all []any) {
				for _, record := range notSessions {
					all = append(all, []any{one, []any{record}})
				}
				return all
			}())),
		"SessionByID":          alone(notSessions),
		"RotateSession":        slices.Concat(alone(notPairs), alone(inside(zero, notSessions)), alone(inside(one, notSessions))),
		"RevokeSession":        alone(notCounts),
		"Revocations":          slices.Concat(alone(notTexts), alone(revoked)),
		"DeleteExpired":        slices.Concat(alone(notTexts), before(notEntries, one), second(texts("1:su"), notCounts)),
		"PutTicket":            slices.Concat(alone(notPairs), alone(inside(zero, []any{nil, one, texts("x")})), alone(inside(one, []any{nil, "1", int64(2)}))),
		"ConsumeTicket":        slices.Concat(alone(notPairs), alone(inside(zero, []any{nil, one, texts("x")})), alone(inside(one, []any{nil, "1", int64(2)}))),
		"DeleteTickets":        slices.Concat(alone(notPairs), alone(inside(zero, notTexts))),
		"DeleteExpiredTickets": slices.Concat(alone(notTexts), before(append(notEntries, texts("1:kx"), texts("1:k2:s")), one), second(texts("1:k1:tu"), notCounts)),
		"AttemptTicket":        alone(notTickets),
		"Reserve":              alone([]any{"x", nil, []any{}, []any{one, one}, []any{one, one, one, one}, []any{"1", one, one}, []any{one, "1", one}, []any{one, one, "1"}}),
		"Check":                slices.Concat(alone(notTexts), alone([]any{texts(), texts("", "", "", "1"), texts("", "", "", "x", "1"), texts("", "", "", "1", "x"), texts("", "", "", "1", "1", "1")})),
	} {
		for i, replies := range cases {
			_, store, limits := answering(t, replies...)
			result, err := scripted[method](t.Context(), store, limits)
			require.ErrorContains(t, err, "redisstore: "+map[bool]string{true: "Reservation", false: method}[method == "Reserve"], "%s %d: %v", method, i, replies)
			require.ErrorContains(t, err, "is not one of this package", "%s %d: %v", method, i, replies)
			require.Zero(t, result, "%s %d: %v", method, i, replies)
		}
	}
}

// TestRepliesFail asserts that a call returns the error of each of its scripts.
func TestRepliesFail(t *testing.T) {
	t.Parallel()
	failure := errors.New("ERR no")
	zero, one := int64(0), int64(1)
	for method, first := range map[string]any{
		"CreateSession": []any{zero, texts("a")}, "RevokeSessions": []any{zero, texts("a")}, "SessionsByUser": []any{zero, texts("a")}, "SessionByID": nil,
		"RotateSession": nil, "RevokeSession": nil, "Revocations": nil, "DeleteExpired": texts("1:su"), "PutTicket": []any{zero, "other"},
		"ConsumeTicket": []any{zero, "u"}, "DeleteTickets": []any{zero, texts("k", "t")}, "DeleteExpiredTickets": texts("1:k1:tu"), "AttemptTicket": nil,
		"Reserve": nil, "Check": nil,
	} {
		for _, replies := range [][]any{{failure}, {first, failure}} {
			if replies[0] == nil {
				continue
			}
			r, store, limits := answering(t, replies...)
			result, err := scripted[method](t.Context(), store, limits)
			require.ErrorIs(t, err, failure, method)
			require.ErrorContains(t, err, "redisstore: ")
			require.Zero(t, result)
			require.Len(t, r.scripts, len(replies))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, store, limits := answering(t, one)
		_, err := scripted[method](ctx, store, limits)
		require.ErrorIs(t, err, context.Canceled, method)
		require.Empty(t, r.scripts, "the caller has gone")
	}
	_, store, _ := answering(t, failure)
	require.ErrorContains(t, store.CreateSession(t.Context(), authkit.StoredSession{}, 1), "the session ID is empty or exists")
	require.ErrorContains(t, store.PutTicket(t.Context(), authkit.Ticket{}), "the ticket ID is empty or exists")
	require.NoError(t, store.DeleteTickets(t.Context(), ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, store.DeleteTickets(ctx, ""), context.Canceled)
	_, _, limits := answering(t, failure)
	require.ErrorIs(t, limits.Finish(t.Context(), throttle.Reservation{}, authkit.AttemptFailed), failure)
	require.ErrorIs(t, limits.Clear(t.Context(), throttle.Reservation{}), failure)
}

// A context that ends during a call is part of the error of the connection.
func TestRepliesAfterTheContext(t *testing.T) {
	t.Parallel()
	failure := errors.New("i/o timeout")
	for text, tc := range map[string]struct {
		reply error
		ends  bool
	}{
		"redisstore: SessionByID: i/o timeout":                   {failure, false},
		"redisstore: SessionByID: context canceled: i/o timeout": {failure, true},
		"redisstore: SessionByID: context canceled":              {context.Canceled, true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		r, store, _ := answering(t, tc.reply)
		if tc.ends {
			r.during = cancel
		}
		_, err := store.SessionByID(ctx, "s")
		cancel()
		require.EqualError(t, err, text)
		require.ErrorIs(t, err, tc.reply)
		require.Equal(t, tc.ends, errors.Is(err, context.Canceled))
	}
}

// TestRepliesAreRead asserts the results that the replies of the scripts become.
func TestRepliesAreRead(t *testing.T) {
	t.Parallel()
	zero, one := int64(0), int64(1)
	us := func(n int64) time.Time { return time.UnixMicro(n).UTC() }
	session := authkit.StoredSession{
		Session: authkit.Session{
			ID: "s", UserID: "u", Device: "Safari", Address: "192.0.2.1", CreatedAt: us(1), LastUsedAt: us(2), ExpiresAt: us(3),
			AbsoluteExpiresAt: us(4), AuthTime: us(6), Methods: []string{"pwd"},
		},
		TokenHash: [32]byte([]byte(hash32)), ParentHash: [32]byte([]byte(hash32)), RotatedAt: us(5), Successor: []byte("next"),
	}
	old := session
	old.AuthTime, old.Methods = time.Time{}, nil
	former := slices.Clone(session13)
	former[11], former[12] = "", ""
	ticket := authkit.Ticket{Kind: "k", ID: "t", Subject: "u", Hash: [32]byte([]byte(hash32)), Body: []byte("body"), Attempts: 1, MaxAttempts: 5, CreatedAt: us(7), ExpiresAt: us(8)}
	bare := ticket
	bare.Body = nil
	call := strings.Repeat("c", 16)
	for name, tc := range map[string]struct {
		replies []any
		want    any
		err     error
	}{
		"CreateSession":                 {[]any{[]any{zero, texts("a", "b")}, []any{one, one}}, nil, nil},
		"SessionByID":                   {[]any{texts(session13...)}, session, nil},
		"SessionByID, of an old one":    {[]any{texts(former...)}, old, nil},
		"SessionByID, of none":          {[]any{texts()}, authkit.StoredSession{}, authkit.ErrSessionNotFound},
		"SessionsByUser":                {[]any{[]any{zero, texts("s", "t")}, []any{one, []any{texts(session13...), texts()}}}, []authkit.Session{session.Session}, nil},
		"RotateSession":                 {[]any{[]any{zero, texts(session13...)}}, session, nil},
		"RotateSession, rotated":        {[]any{[]any{one, texts(session13...)}}, true, nil},
		"RotateSession, of none":        {[]any{[]any{one, texts()}}, authkit.StoredSession{}, authkit.ErrSessionNotFound},
		"RevokeSession":                 {[]any{one}, true, nil},
		"RevokeSession, of none":        {[]any{zero}, false, nil},
		"RevokeSessions":                {[]any{[]any{zero, texts("a")}, []any{one}}, nil, nil},
		"Revocations":                   {[]any{texts(call+"7:1:su", call+"8:0:u")}, []authkit.Revocation{{UserID: "u", SessionID: "s", At: us(7)}, {UserID: "u", At: us(8)}}, nil},
		"DeleteExpired":                 {[]any{texts("1:su"), int64(3)}, 3, nil},
		"PutTicket":                     {[]any{[]any{zero, "other"}, []any{one, one}}, nil, nil},
		"ConsumeTicket":                 {[]any{[]any{zero, "u"}, []any{one, one}}, nil, nil},
		"ConsumeTicket, of none":        {[]any{[]any{one, zero}}, nil, authkit.ErrTicketNotFound},
		"DeleteTickets":                 {[]any{[]any{zero, texts("k", "t")}, []any{one}}, nil, nil},
		"DeleteTickets, of half a name": {[]any{[]any{zero, texts("k", "t", "k")}, []any{one}}, nil, nil},
		"DeleteExpiredTickets":          {[]any{texts("1:k1:tu"), int64(3)}, 3, nil},
		"AttemptTicket":                 {[]any{texts(ticket7...)}, ticket, nil},
		"AttemptTicket, without a body": {[]any{with(ticket7, 2, "")}, bare, nil},
		"AttemptTicket, of none":        {[]any{texts()}, authkit.Ticket{}, authkit.ErrTicketNotFound},
		"Reserve":                       {[]any{[]any{int64(5), int64(6), zero}}, throttle.Decision{Bucket: 5 * time.Microsecond, Counter: 6 * time.Microsecond}, nil},
		"Reserve, open":                 {[]any{[]any{zero, zero, one}}, throttle.Decision{Open: true}, nil},
	} {
		method, _, _ := strings.Cut(name, ",")
		r, store, limits := answering(t, tc.replies...)
		got, err := scripted[method](t.Context(), store, limits)
		require.Equal(t, tc.err, err, name)
		require.Equal(t, tc.want, got, name)
		require.Len(t, r.scripts, len(tc.replies), name)
		if last := r.scripts[len(r.scripts)-1]; len(r.scripts) == 2 { // the names of the keys that the first reply has named
			want := map[string][]string{
				"CreateSession": {"{authkit}:s:a", "{authkit}:s:b"}, "SessionsByUser": {"{authkit}:s:s", "{authkit}:s:t"}, "RevokeSessions": {"{authkit}:s:a"},
				"DeleteExpired": {"{authkit}:s:s", "{authkit}:u:u"}, "PutTicket": {"{authkit}:k:1:kother"}, "ConsumeTicket": {"{authkit}:j:u"},
				"DeleteTickets": {"{authkit}:k:1:kt"}, "DeleteExpiredTickets": {"{authkit}:k:1:kt", "{authkit}:j:u"},
			}[method]
			n, err := strconv.Atoi(last[0])
			require.NoError(t, err)
			require.Equal(t, want, last[1+n-len(want):1+n], name)
		}
	}
	for method, text := range map[string]string{"CreateSession": "the session ID is empty or exists", "PutTicket": "the ticket ID is empty or exists"} {
		_, store, limits := answering(t, []any{one, zero})
		_, err := scripted[method](t.Context(), store, limits)
		require.ErrorContains(t, err, text)
	}
}

// TestClockOfTheServer asserts which difference of the clocks is reported. The
// time that the call takes is none.
func TestClockOfTheServer(t *testing.T) {
	t.Parallel()
	const info = "role:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\naof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\n"
	for skew, want := range map[time.Duration]string{
		0: "", 5 * time.Second: "", -5 * time.Second: "", 5*time.Second + time.Microsecond: "5s", -5*time.Second - time.Microsecond: "-5s", time.Hour: "1h0m0s", -time.Hour: "-1h0m0s",
	} {
		synctest.Test(t, func(t *testing.T) {
			there := time.Now().Add(skew)
			_, store, limits := answering(t, texts(info, "", "", strconv.FormatInt(there.Unix(), 10), strconv.Itoa(there.Nanosecond()/1000)))
			err := store.Check(t.Context())
			if want == "" {
				require.NoError(t, err)
				require.NoError(t, limits.Check(t.Context()))
				require.Empty(t, store.Doctor(t.Context()))
				require.Empty(t, limits.Doctor(t.Context()))
				return
			}
			require.ErrorContains(t, err, fmt.Sprintf("the server's clock is %q", want))
			found := limits.Doctor(t.Context())
			require.Len(t, found, 1)
			require.Equal(t, "clock_skew", found[0].Code)
		})
	}
}
