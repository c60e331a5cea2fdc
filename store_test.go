package authkit_test

import (
	"regexp"
	"slices"
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
