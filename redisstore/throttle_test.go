package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
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
	"github.com/authkit-go/authkit/throttle"
)

// openThrottle returns an empty throttle and its prefix. Its keys are deleted after the test.
func openThrottle(tb testing.TB, client redis.UniversalClient) (*redisstore.Throttle, string) {
	tb.Helper()
	prefix := "test-" + rand.Text()
	tb.Cleanup(func() { remove(tb, client, prefix) })
	return throttleOn(tb, client, prefix), prefix
}

func throttleOn(tb testing.TB, client redis.UniversalClient, prefix string) *redisstore.Throttle {
	tb.Helper()
	s, err := redisstore.NewThrottle(client, redisstore.Options{Prefix: prefix})
	require.NoError(tb, err)
	return s
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	client := dial(t)
	storetest.TestThrottleStore(t, func(t *testing.T) throttle.Store {
		s, _ := openThrottle(t, client)
		return s
	})
}

// throttleInstances calls each of its throttles in turn. Each sees the counts of the others.
type throttleInstances struct {
	all  []*redisstore.Throttle
	turn atomic.Int64
}

func (i *throttleInstances) next() *redisstore.Throttle {
	return i.all[int(i.turn.Add(1))%len(i.all)]
}

func (i *throttleInstances) Reserve(ctx context.Context, a throttle.Reservation) (throttle.Decision, error) {
	return i.next().Reserve(ctx, a)
}

func (i *throttleInstances) Finish(ctx context.Context, a throttle.Reservation, outcome authkit.AttemptOutcome) error {
	return i.next().Finish(ctx, a, outcome)
}

func (i *throttleInstances) Clear(ctx context.Context, a throttle.Reservation) error {
	return i.next().Clear(ctx, a)
}

// Each call of the suite goes to another of three instances. Each instance has its own client.
func TestThrottleOfManyInstances(t *testing.T) {
	t.Parallel()
	a, b := dial(t), dial(t)
	c := redis.NewClient(&redis.Options{Addr: a.Options().Addr, ContextTimeoutEnabled: true, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	storetest.TestThrottleStore(t, func(t *testing.T) throttle.Store {
		first, prefix := openThrottle(t, a)
		return &throttleInstances{all: []*redisstore.Throttle{first, throttleOn(t, b, prefix), throttleOn(t, c, prefix)}}
	})
}

func TestNewThrottleFaults(t *testing.T) {
	t.Parallel()
	_, err := redisstore.NewThrottle(redis.NewClusterClient(&redis.ClusterOptions{ReadOnly: true}), redisstore.Options{Prefix: "{}"})
	for _, want := range []string{"replicas", "ContextTimeoutEnabled", "Prefix"} {
		require.ErrorContains(t, err, want)
	}
	s, err := redisstore.NewThrottle(nil, redisstore.Options{})
	require.ErrorContains(t, err, "<nil>")
	require.Nil(t, s)
}

// curve is the one of package throttle.
var curve = throttle.Backoff{
	FreeFailures: 4, InitialDelay: 30 * time.Second, MaxDelay: time.Hour, LockAfter: 100,
	DecayPerFailure: 24 * time.Hour, TrustFor: 90 * 24 * time.Hour,
}

func throttleKey(text string) (k throttle.Key) {
	copy(k[:], text)
	return k
}

// guess is an attempt at an account from an address, at a time after start.
func guess(account, address string, after time.Duration) throttle.Reservation {
	return throttle.Reservation{
		At: start.Add(after), Backoff: curve,
		Buckets: []throttle.Bucket{{Key: throttleKey(address), Limit: throttle.Limit{Burst: 20, Every: 3 * time.Second}}},
		Counter: throttleKey("c" + account), ClearedAt: throttleKey("p" + account), Source: throttleKey("s" + account + address),
	}
}

// letIn checks that an attempt is admitted.
func letIn(tb testing.TB, s throttle.Store, a throttle.Reservation) {
	tb.Helper()
	v, err := s.Reserve(tb.Context(), a)
	require.NoError(tb, err)
	require.Equal(tb, throttle.Decision{}, v)
}

// failures makes an account fail n times in a row, each time as early as possible. It returns the
// time at which the next attempt would be admitted.
func failures(tb testing.TB, s throttle.Store, account string, n int) (after time.Duration) {
	tb.Helper()
	for i := range n {
		letIn(tb, s, guess(account, fmt.Sprint("far", i), after))
		after += curve.Wait(i + 1)
	}
	return after
}

// lives returns the time to live of each key of a store, by its name without the prefix. It is
// -1 ns for a key that does not expire.
func lives(tb testing.TB, client redis.UniversalClient, prefix string) map[string]time.Duration {
	tb.Helper()
	found := map[string]time.Duration{}
	for _, key := range keys(tb, client, prefix) {
		ttl, err := client.PTTL(tb.Context(), key).Result()
		require.NoError(tb, err)
		found[strings.TrimPrefix(key, "{"+prefix+"}:t:")] = ttl
	}
	return found
}

// Every key expires a minute after it stops to count. The caller's clock decides, and may differ
// from that of Redis by years. The counter of an account at its limit does not expire.
func TestThrottleTimeToLive(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openThrottle(t, client)
	const day = 24 * time.Hour
	name := func(kind, text string) string { k := throttleKey(text); return fmt.Sprintf("%s:%x", kind, k[:]) }
	// expect checks the keys, without the marks of calls that were made.
	expect := func(want map[string]time.Duration) {
		t.Helper()
		got := lives(t, client, prefix)
		maps.DeleteFunc(got, func(key string, ttl time.Duration) bool {
			done := strings.HasPrefix(key, "d:")
			if done {
				require.InDelta(t, time.Minute, ttl, float64(10*time.Second))
			}
			return done
		})
		require.ElementsMatch(t, slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)))
		for key, ttl := range want {
			if ttl < 0 {
				require.Equal(t, ttl, got[key], key)
				continue
			}
			require.LessOrEqual(t, got[key], ttl+time.Minute, key)
			require.Greater(t, got[key], ttl+50*time.Second, key)
		}
	}

	letIn(t, s, guess("a", "near", 0))
	bucket, counter, source := name("b", "near"), name("c", "ca"), name("c", "sanear")
	expect(map[string]time.Duration{bucket: 3 * time.Second, counter: day})
	letIn(t, s, guess("a", "near", time.Second))
	expect(map[string]time.Duration{bucket: 5 * time.Second, counter: 2 * day})
	require.NoError(t, s.Finish(t.Context(), guess("a", "near", time.Second), authkit.AttemptUndecided))
	expect(map[string]time.Duration{bucket: 2 * time.Second, counter: day})
	require.NoError(t, s.Finish(t.Context(), guess("a", "near", time.Second), authkit.AttemptSucceeded))
	expect(map[string]time.Duration{bucket: 0, source: 90 * day})
	letIn(t, s, guess("a", "near", day)) // is known, but not for longer
	expect(map[string]time.Duration{bucket: 3 * time.Second, source: 89*day + time.Second})
	require.NoError(t, s.Clear(t.Context(), guess("a", "near", day)))
	expect(map[string]time.Duration{bucket: 3 * time.Second, source: 89*day + time.Second, name("p", "pa"): 100 * day})

	remove(t, client, prefix)
	after := failures(t, s, "b", 99)
	require.InDelta(t, 99*day, lives(t, client, prefix)[name("c", "cb")], float64(2*time.Minute))
	letIn(t, s, guess("b", "near", after))
	require.Equal(t, time.Duration(-1), lives(t, client, prefix)[name("c", "cb")])
	for _, after := range []time.Duration{after, after + 1000*day} {
		v, err := s.Reserve(t.Context(), guess("b", "near", after))
		require.NoError(t, err)
		require.Equal(t, time.Hour, v.Counter)
	}
	require.NoError(t, s.Finish(t.Context(), guess("b", "near", after), authkit.AttemptUndecided)) // which was no failure
	require.Positive(t, lives(t, client, prefix)[name("c", "cb")])
	letIn(t, s, guess("b", "near", after+time.Hour))
	require.Equal(t, time.Duration(-1), lives(t, client, prefix)[name("c", "cb")])
	require.NoError(t, s.Clear(t.Context(), guess("b", "near", after+time.Hour)))
	require.NotContains(t, lives(t, client, prefix), name("c", "cb"))
}

// All keys of a throttle are in one slot and differ from those of sessions. One Key can name a
// bucket, a counter and a pardon.
func TestThrottleKeys(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openThrottle(t, client)
	sessions, err := redisstore.New(client, redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	x := newSession("user-1", 1)
	begin(t, sessions, x)
	k := throttleKey("the same")
	a := throttle.Reservation{At: start, Backoff: curve, Counter: k, ClearedAt: k, Buckets: []throttle.Bucket{{Key: k, Limit: throttle.Limit{Burst: 9, Every: time.Second}}}}
	letIn(t, s, a)
	require.NoError(t, s.Clear(t.Context(), a))
	a.At = a.At.Add(time.Second)
	letIn(t, s, a)
	tag := "{" + prefix + "}:"
	var found []string
	for _, key := range keys(t, client, prefix) {
		if !strings.HasPrefix(key, tag+"t:d:") {
			found = append(found, key)
		}
	}
	hex := fmt.Sprintf("%x", k[:])
	require.ElementsMatch(t, []string{
		tag + "t:b:" + hex, tag + "t:c:" + hex, tag + "t:p:" + hex,
		tag + "s:session-1", tag + "u:user-1", tag + "expiry",
	}, found)
	got, err := sessions.SessionByID(t.Context(), x.ID)
	require.NoError(t, err)
	require.Equal(t, *x, got)
}

// A Finish that is sent again has no second effect. A Reservation counts twice, which refuses more.
func TestThrottleSentTwice(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openThrottle(t, client)
	again := dial(t)
	again.AddHook(twice{})
	resent := throttleOn(t, again, prefix)
	bucket := throttle.Reservation{At: start, Backoff: curve, Buckets: guess("", "near", 0).Buckets}
	for range 20 {
		letIn(t, s, bucket)
	}
	for _, outcome := range []authkit.AttemptOutcome{authkit.AttemptSucceeded, authkit.AttemptUndecided} { // gives back one attempt
		require.NoError(t, resent.Finish(t.Context(), bucket, outcome))
		letIn(t, s, bucket)
		v, err := s.Reserve(t.Context(), bucket)
		require.NoError(t, err)
		require.Equal(t, throttle.Decision{Bucket: 3 * time.Second}, v)
	}

	after := failures(t, s, "a", 7)
	undecided := guess("a", "", after)
	undecided.Source = throttle.Key{}
	letIn(t, s, undecided)
	require.NoError(t, resent.Finish(t.Context(), undecided, authkit.AttemptUndecided)) // takes the eighth back, and not the seventh
	v, err := s.Reserve(t.Context(), guess("a", "near", after))
	require.NoError(t, err)
	require.Equal(t, curve.Wait(7), v.Counter)

	// Other logins fail between the two calls. Their failures still count.
	between := sentTwice(t, client, prefix)
	for method, call := range map[string]func(*redisstore.Throttle, throttle.Reservation) error{
		"Finish": func(s *redisstore.Throttle, a throttle.Reservation) error {
			return s.Finish(t.Context(), a, authkit.AttemptSucceeded)
		},
		"Clear": func(s *redisstore.Throttle, a throttle.Reservation) error { return s.Clear(t.Context(), a) },
	} {
		a := guess(method, "", 0)
		a.Source = throttle.Key{}
		later := a
		later.At = start.Add(time.Microsecond)
		require.NoError(t, call(between(func() {
			for range 5 {
				letIn(t, s, later)
			}
		}), a))
		v, err := s.Reserve(t.Context(), later)
		require.NoError(t, err)
		require.Equal(t, curve.InitialDelay, v.Counter, method)
	}

	twice := guess("b", "elsewhere", 0)
	for range 2 {
		_, err := resent.Reserve(t.Context(), twice)
		require.NoError(t, err)
	}
	letIn(t, s, twice) // the fifth, after two that count twice
	v, err = s.Reserve(t.Context(), twice)
	require.NoError(t, err)
	require.Equal(t, curve.InitialDelay, v.Counter)
}

// sentTwice returns a throttle whose scripts are sent twice, with a call of between in the middle.
func sentTwice(tb testing.TB, client *redis.Client, prefix string) func(between func()) *redisstore.Throttle {
	return func(between func()) *redisstore.Throttle {
		c := redis.NewClient(client.Options())
		tb.Cleanup(func() { _ = c.Close() })
		c.AddHook(inBetween{between})
		return throttleOn(tb, c, prefix)
	}
}

type inBetween struct{ do func() }

func (inBetween) DialHook(next redis.DialHook) redis.DialHook { return next }

func (inBetween) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b inBetween) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			if err := next(ctx, cmd); err != nil {
				return err
			}
			b.do()
		}
		return next(ctx, cmd)
	}
}

// A record that this package did not store is a failure, and not a counter of zero.
func TestThrottleNotAsItWasStored(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openThrottle(t, client)
	a := guess("a", "near", 0)
	for kind, k := range map[string]throttle.Key{"b": a.Buckets[0].Key, "c": a.Counter, "p": a.ClearedAt} {
		key := fmt.Sprintf("{%s}:t:%s:%x", prefix, kind, k[:])
		for _, broken := range []func() error{
			func() error { return client.Set(t.Context(), key, "a text", 0).Err() },
			func() error { return client.SAdd(t.Context(), key, "a set").Err() },
		} {
			require.NoError(t, client.Del(t.Context(), key).Err())
			require.NoError(t, broken())
			_, err := s.Reserve(t.Context(), a)
			require.ErrorContains(t, err, "redisstore: Reservation: ", key)
			require.ErrorContains(t, s.Finish(t.Context(), a, authkit.AttemptSucceeded), "redisstore: Finish: ", key)
			require.Len(t, lives(t, client, prefix), 1, "nothing is done by halves")
		}
		require.NoError(t, client.Del(t.Context(), key).Err())
	}
	letIn(t, s, a)
}

// testSecret is the secret of all instances.
var testSecret = []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")

// An instance is one of several services with a throttle on the same Redis.
type instance struct {
	kit    *authkit.Kit
	limits *throttle.Throttle
	events chan authkit.Event
}

func newInstance(tb testing.TB, store throttle.Store, failClosed bool) *instance {
	tb.Helper()
	i := &instance{events: make(chan authkit.Event, 10_000)}
	listen := func(_ context.Context, e authkit.Event) { i.events <- e }
	var err error
	i.limits, err = throttle.New(throttle.Config{
		Store: store, Secret: testSecret, FailClosed: failClosed, OnEvent: listen,
		Limits: map[string]throttle.Limit{"search": {Burst: 50, Every: 24 * time.Hour}},
	})
	require.NoError(tb, err)
	i.kit, err = authkit.New(authkit.Config{
		Secret: testSecret, Throttle: i.limits, OnEvent: []func(context.Context, authkit.Event){listen},
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, MaxConcurrentHashes: 64},
	})
	require.NoError(tb, err)
	return i
}

func (i *instance) login(ctx context.Context, email, address string) error {
	_, err := i.kit.Login(authkit.WithClient(ctx, authkit.ClientInfo{Address: address}), email, "a guess")
	return err
}

// LO-08: two instances with separate clients admit no more concurrent attempts than one would. This
// holds for attempts from one address, and for guesses at one account from many addresses.
func TestThrottleTwoInstances(t *testing.T) {
	t.Parallel()
	a, b := dial(t), dial(t)
	first, prefix := openThrottle(t, a)
	instances := []*instance{newInstance(t, first, true), newInstance(t, throttleOn(t, b, prefix), true)}
	var searches, guesses atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		for j, in := range instances {
			all.Go(func() {
				for n := range 20 {
					attempt := authkit.Attempt{Action: "search", Client: authkit.ClientInfo{Address: "192.0.2.1"}}
					var refused *authkit.ThrottledError
					switch err := in.limits.Begin(t.Context(), attempt); {
					case err == nil:
						searches.Add(1)
					case !errors.As(err, &refused):
						t.Error(err)
					}
					switch err := in.login(t.Context(), "user@example.com", fmt.Sprintf("10.%d.%d.%d", i, j, n)); {
					case errors.Is(err, authkit.ErrInvalidCredentials):
						guesses.Add(1)
					case !errors.As(err, &refused):
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	require.EqualValues(t, 50, searches.Load())
	require.EqualValues(t, 5, guesses.Load())
}

// Right logins at once through three instances all succeed, and none of them counts.
func TestThrottleRightLoginsThroughInstances(t *testing.T) {
	t.Parallel()
	a := dial(t)
	first, prefix := openThrottle(t, a)
	instances := []*instance{newInstance(t, first, false)}
	for range 2 {
		instances = append(instances, newInstance(t, throttleOn(t, dial(t), prefix), false))
	}
	for _, in := range instances {
		_, err := in.kit.CreateUser(t.Context(), authkit.User{Email: "user@example.com"}, "the right password")
		require.NoError(t, err)
	}
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			ctx := authkit.WithClient(t.Context(), authkit.ClientInfo{Address: fmt.Sprint("192.0.2.", i%7)})
			if _, err := instances[i%3].kit.Login(ctx, "user@example.com", "the right password"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range 5 {
		require.ErrorIs(t, instances[i%3].login(t.Context(), "user@example.com", fmt.Sprint("198.51.100.", i)), authkit.ErrInvalidCredentials)
	}
	var refused *authkit.ThrottledError
	require.ErrorAs(t, instances[0].login(t.Context(), "user@example.com", "198.51.100.9"), &refused)
}

// ST-08: a dump contains no password that failed, and no digest of one from an unknown place. At a
// known place it contains 16 bits, which differ for another account and another secret.
func TestThrottleDumpHoldsNoGuess(t *testing.T) {
	t.Parallel()
	client := dial(t)
	guesses := map[string]bool{}
	for _, secret := range []string{"0d7fa9c4e1b2835f96a0c7d4e8b1f352", "another secret of 32 bytes or so"} {
		s, prefix := openThrottle(t, client)
		limits, err := throttle.New(throttle.Config{Store: s, Secret: []byte(secret)})
		require.NoError(t, err)
		for _, account := range []string{"ann@example.com", "bob@example.com"} {
			a := authkit.Attempt{Action: authkit.ActionLogin, Account: account, Guess: authkit.NewGuess("hunter2")}
			for _, known := range []bool{false, true} {
				a.Client.Address = "192.0.2.1"
				for _, outcome := range []authkit.AttemptOutcome{authkit.AttemptSucceeded, authkit.AttemptFailed} {
					if !known && outcome == authkit.AttemptSucceeded {
						continue
					}
					require.NoError(t, limits.Begin(t.Context(), a))
					require.NoError(t, limits.End(t.Context(), a, outcome))
				}
				for _, key := range keys(t, client, prefix) {
					value, err := client.Get(t.Context(), key).Result()
					require.NoError(t, err)
					require.NotContains(t, value, "hunter2")
					fields := strings.Fields(value)
					if len(fields) != 6 {
						continue
					}
					guess := fields[5]
					if fields[2] == "0" { // not a known source
						require.Equal(t, "0", guess)
					} else if guess != "0" {
						require.LessOrEqual(t, len(guess), 5)
						guesses[guess] = true
					}
				}
			}
		}
	}
	require.Len(t, guesses, 4)
}

// ST-08: the stored keys contain no account and no address.
func TestThrottleDumpNamesNobody(t *testing.T) {
	t.Parallel()
	client := dial(t)
	s, prefix := openThrottle(t, client)
	in := newInstance(t, s, true)
	require.ErrorIs(t, in.login(t.Context(), "user@example.com", "192.0.2.1"), authkit.ErrInvalidCredentials)
	found := keys(t, client, prefix)
	require.Len(t, found, 3) // the counter, the limit, and the mark of Finish
	for _, key := range found {
		value, err := client.Get(t.Context(), key).Result()
		require.NoError(t, err)
		require.NotContains(t, key+value, "user")
		require.NotContains(t, key+value, "192.0.2.1")
	}
}
