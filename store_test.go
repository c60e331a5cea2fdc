package authkit_test

import (
	"context"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
	"github.com/stretchr/testify/require"
)

// ST-01, ST-02, ST-03, ST-07, RE-01.
func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.TestUserStore(t, func(*testing.T) authkit.UserStore { return authkit.NewMemoryStore() })
}

func TestMemoryStoreSessions(t *testing.T) {
	t.Parallel()
	storetest.TestSessionStore(t, func(*testing.T) authkit.SessionStore { return authkit.NewMemoryStore() })
}

func TestMemoryStoreTickets(t *testing.T) {
	t.Parallel()
	storetest.TestTicketStore(t, func(*testing.T) authkit.TicketStore { return authkit.NewMemoryStore() })
}

func TestMemoryStoreTransactions(t *testing.T) {
	t.Parallel()
	storetest.TestTransactor(t, func(*testing.T) storetest.TransactorStore { return authkit.NewMemoryStore() })
}

// A MemoryStore keeps nothing under an empty ID.
func TestMemoryStoreRefusesEmptyIDs(t *testing.T) {
	t.Parallel()
	s := authkit.NewMemoryStore()
	require.ErrorContains(t, s.CreateUser(t.Context(), authkit.StoredUser{User: authkit.User{Email: "a@example.com"}}), "empty")
	require.ErrorContains(t, s.CreateSession(t.Context(), authkit.StoredSession{Session: authkit.Session{UserID: "u"}}, 1), "empty")
	require.ErrorContains(t, s.PutTicket(t.Context(), authkit.Ticket{Kind: "x", Subject: "u", MaxAttempts: 1, ExpiresAt: time.Now().Add(time.Hour)}), "empty")
}

// Expired sessions are found in every order in which sessions begin, end and expire.
func TestMemoryStoreFindsExpiredSessions(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	for range 100 {
		s := authkit.NewMemoryStore()
		left := map[string]int{} // the second at which a session expires
		for i := range 60 {
			id, second := strconv.Itoa(i), random.IntN(1000)
			x := authkit.StoredSession{Session: authkit.Session{ID: id, UserID: id, ExpiresAt: start.Add(time.Duration(second) * time.Second)}}
			require.NoError(t, s.CreateSession(t.Context(), x, 1))
			left[id] = second
		}
		for id := range left {
			if random.IntN(2) == 0 {
				revoked, err := s.RevokeSession(t.Context(), id, id, start)
				require.NoError(t, err)
				require.True(t, revoked)
				delete(left, id)
			}
		}
		for until := 100; until <= 1000; until += 100 {
			want := 0
			for id, second := range left {
				if second < until {
					want++
					delete(left, id)
				}
			}
			got, err := s.DeleteExpired(t.Context(), start.Add(time.Duration(until)*time.Second), start, 1000)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
}

// A transaction does not begin with a context that is done, and is not committed
// if its context is done at the end.
func TestMemoryStoreTransactionOfADoneContext(t *testing.T) {
	t.Parallel()
	s := authkit.NewMemoryStore()
	create := func(ctx context.Context) error {
		return s.CreateUser(ctx, authkit.StoredUser{User: authkit.User{ID: "u", Email: "u@example.com"}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, s.InTx(ctx, func(ctx context.Context) error {
		defer cancel()
		return create(ctx)
	}), context.Canceled)
	_, err := s.UserByID(t.Context(), "u")
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
	for range 100 {
		require.ErrorIs(t, s.InTx(ctx, func(context.Context) error { panic("called") }), context.Canceled)
	}
}

func TestNewUserID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := make(map[string]bool)
	for range 10_000 {
		id := authkit.NewUserID()
		require.Regexp(t, form, id)
		require.False(t, seen[id], "an ID twice")
		seen[id] = true
	}
}

func TestNewUserIDSortsByTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		for range 100 {
			ids = append(ids, authkit.NewUserID())
			time.Sleep(time.Millisecond)
		}
		require.True(t, slices.IsSorted(ids))
	})
}
