package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

func (c *calls) TouchKey(ctx context.Context, id string, at time.Time) error {
	if err := c.count("TouchKey"); err != nil {
		return err
	}
	return c.Store.TouchKey(ctx, id, at)
}

func (c *calls) DeleteExpiredKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := c.count("DeleteExpiredKeys"); err != nil {
		return max(0, 3-c.of("DeleteExpiredKeys")), err // some, and then the error
	}
	return c.Store.DeleteExpiredKeys(ctx, before, limit)
}

func (c *calls) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[name]
}

// run runs the background work until the function that it returns is called.
func (a *app) run(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
}

// AK-04, AK-08: 100,000 requests with one key over ten minutes write its last
// use at most once a minute, and never within a request.
func TestLastUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := counted(apikey.NewMemoryStore())
		a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = store })
		key := a.create(t, apikey.Options{})
		r := httptest.NewRequest("GET", "/any", nil)
		r.Header.Set("X-API-Key", key.Text)
		for range 1000 {
			_, err := a.auth.Authenticate(r)
			require.NoError(t, err)
		}
		require.Zero(t, store.of("TouchKey"), "no request writes")
		stop := a.run(t)
		began := time.Now()
		const requests = 99_000
		for range requests {
			if _, err := a.auth.Authenticate(r); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute / requests)
		}
		stop()
		minutes := int(time.Since(began)/time.Minute) + 1
		require.LessOrEqual(t, store.of("TouchKey"), minutes)
		require.GreaterOrEqual(t, store.of("TouchKey"), minutes/2-1)
		stored, err := store.KeyByID(t.Context(), key.ID)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), stored.LastUsedAt, 2*time.Minute)
	})
}

// AK-08: a store that fails is an event, fails no request, and loses no use.
func TestLastUseWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &failingTouch{Store: apikey.NewMemoryStore()}
		a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = store })
		key := a.create(t, apikey.Options{})
		stop := a.run(t)
		store.err = errors.New("no connection")
		used := time.Now()
		require.Equal(t, 200, a.with(key.Text, "/any"))
		time.Sleep(90 * time.Second)
		synctest.Wait()
		require.Equal(t, authkit.EventStoreFailure, a.last().Kind)
		store.err = nil
		stop()
		stored, err := store.KeyByID(t.Context(), key.ID)
		require.NoError(t, err)
		require.WithinDuration(t, used, stored.LastUsedAt, 0)
	})
}

// AK-08: a use is written if the last one was written a minute ago, and uses
// that were written before an error are not written again.
func TestLastUseIsWrittenOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		touches, fails := 0, 0
		s := &hooked{Store: apikey.NewMemoryStore()}
		s.touch = func(error) error {
			if touches++; touches == fails {
				return errors.New("no connection")
			}
			return nil
		}
		a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = s })
		one, two := a.create(t, apikey.Options{}), a.create(t, apikey.Options{})
		use := func(keys ...apikey.Issued) {
			for _, k := range keys {
				require.Equal(t, 200, a.with(k.Text, "/any"))
			}
			a.run(t)()
		}
		use(one)
		require.Equal(t, 1, touches)
		time.Sleep(time.Minute - time.Microsecond)
		use(one)
		require.Equal(t, 1, touches)
		time.Sleep(time.Microsecond)
		use(one)
		require.Equal(t, 2, touches)
		require.NotEqual(t, authkit.EventStoreFailure, a.last().Kind)

		time.Sleep(time.Minute)
		fails = 4
		use(one, two)
		require.Equal(t, 4, touches)
		require.Equal(t, authkit.EventStoreFailure, a.last().Kind)
		use()
		require.Equal(t, 5, touches)
	})
}

type failingTouch struct {
	apikey.Store
	err error
}

func (s *failingTouch) TouchKey(ctx context.Context, id string, at time.Time) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.TouchKey(ctx, id, at)
}

// AK-08: at most 100,000 keys wait, whatever is used, and the first of them
// stay.
func TestUsesAreBounded(t *testing.T) {
	t.Parallel()
	u := apikey.NewUses()
	at := time.Now()
	for i := range 150_000 {
		u.Note(fmt.Sprint("key-", i), at)
	}
	u.Note("key-0", at.Add(time.Second))
	waiting := u.Take()
	require.Len(t, waiting, 100_000)
	require.Equal(t, at.Add(time.Second), waiting["key-0"])
	require.Empty(t, u.Take())
	u.Note("key-0", at.Add(time.Minute))
	u.PutBack(map[string]time.Time{"key-0": at})
	require.Equal(t, map[string]time.Time{"key-0": at.Add(time.Minute)}, u.Take(), "the newer use stays")
	for i := range 60_000 {
		u.Note(fmt.Sprint("new-", i), at)
	}
	u.PutBack(waiting)
	require.Len(t, u.Take(), 100_000)
}

// Expired keys are deleted after 30 days.
func TestExpiredKeysAreDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		key := a.create(t, apikey.Options{Life: time.Hour})
		defer a.run(t)()
		time.Sleep(30 * 24 * time.Hour)
		_, err := a.store.KeyByID(t.Context(), key.ID)
		require.NoError(t, err)
		time.Sleep(time.Hour + 10*time.Minute + time.Second)
		_, err = a.store.KeyByID(t.Context(), key.ID)
		require.ErrorIs(t, err, apikey.ErrNotFound)
	})
}

func TestRunStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := counted(apikey.NewMemoryStore())
		a := newApp(t, func(k *apikey.Config, _ *authkit.Config) { k.Store = store })
		store.fail = errors.New("no connection")
		stop := a.run(t)
		time.Sleep(11 * time.Minute)
		stop()
		require.Equal(t, 2, store.of("DeleteExpiredKeys"))
		require.Equal(t, authkit.EventStoreFailure, a.last().Kind)
	})
}
