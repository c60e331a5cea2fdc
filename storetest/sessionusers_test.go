package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
)

// brokenSessionUsers is a MemoryStore with methods replaced.
type brokenSessionUsers struct {
	*brokenSessions
	both func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error)
}

func (b *brokenSessionUsers) SessionUser(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
	if b.both != nil {
		return b.both(ctx, id)
	}
	return b.MemoryStore.SessionUser(ctx, id)
}

// sessionUserMutants each break a promise of authkit.SessionUserStore, or one about the proof
// that a session keeps.
var sessionUserMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenSessionUsers, m *authkit.MemoryStore)
}{
	"a rotation forgets the proof": {"KeepsProof", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		var rotated sync.Map
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			rotated.Store(id, true)
			return m.RotateSession(ctx, id, r)
		}
		b.byID = func(ctx context.Context, id string) (authkit.StoredSession, error) {
			s, err := m.SessionByID(ctx, id)
			if _, ok := rotated.Load(id); ok {
				s.Methods = nil
			}
			return s, err
		}
	}},
	"a rotation is a proof": {"KeepsProof", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.byID = func(ctx context.Context, id string) (authkit.StoredSession, error) {
			s, err := m.SessionByID(ctx, id)
			if !s.RotatedAt.IsZero() {
				s.AuthTime = s.RotatedAt
			}
			return s, err
		}
	}},
	"the order of methods is lost": {"KeepsProof", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, s authkit.StoredSession, limit int) error {
			if len(s.Methods) > 1 {
				s.Methods = append([]string{s.Methods[len(s.Methods)-1]}, s.Methods[:len(s.Methods)-1]...)
			}
			return m.CreateSession(ctx, s, limit)
		}
	}},
	"the list has no proofs": {"CreateAndRead", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.byUser = func(ctx context.Context, userID string) ([]authkit.Session, error) {
			list, err := m.SessionsByUser(ctx, userID)
			for i := range list {
				list[i].AuthTime, list[i].Methods = time.Time{}, nil
			}
			return list, err
		}
	}},
	"the login is the proof": {"CreateAndRead", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, s authkit.StoredSession, limit int) error {
			if s.AuthTime.IsZero() {
				s.AuthTime = s.CreatedAt
			}
			return m.CreateSession(ctx, s, limit)
		}
	}},
	"shares its methods": {"SharesNoMemory", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		var given sync.Map
		b.create = func(ctx context.Context, s authkit.StoredSession, limit int) error {
			given.Store(s.ID, s.Methods)
			return m.CreateSession(ctx, s, limit)
		}
		b.byID = func(ctx context.Context, id string) (authkit.StoredSession, error) {
			s, err := m.SessionByID(ctx, id)
			if methods, ok := given.Load(id); ok {
				s.Methods = methods.([]string)
			}
			return s, err
		}
	}},
	"an earlier end is not found": {"DeleteExpired", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		var due sync.Map
		b.rotate = func(ctx context.Context, id string, r authkit.Rotation) (authkit.StoredSession, bool, error) {
			if s, err := m.SessionByID(ctx, id); err == nil && r.ExpiresAt.Before(s.ExpiresAt) {
				due.LoadOrStore("first", s.ExpiresAt)
			}
			return m.RotateSession(ctx, id, r)
		}
		b.expire = func(ctx context.Context, at, revokedBefore time.Time, limit int) (int, error) {
			if first, ok := due.Load("first"); ok && at.Before(first.(time.Time)) {
				return 0, nil
			}
			return m.DeleteExpired(ctx, at, revokedBefore, limit)
		}
	}},
	"returns some account": {"SessionUser", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			s, u, err := m.SessionUser(ctx, id)
			if list, listErr := m.ListUsers(ctx, authkit.UserQuery{Limit: 1}); err == nil && listErr == nil {
				u.User = list[0]
			}
			return s, u, err
		}
	}},
	"leaves the hash out": {"SessionUser", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			s, u, err := m.SessionUser(ctx, id)
			u.PasswordHash = ""
			return s, u, err
		}
	}},
	"leaves expired sessions out": {"SessionUser", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			s, u, err := m.SessionUser(ctx, id)
			if s.ExpiresAt.Before(s.CreatedAt) {
				err = cmp.Or(err, authkit.ErrSessionNotFound)
			}
			return s, u, err
		}
	}},
	"joins both, and sees no row": {"SessionUserNotFound", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			s, u, err := m.SessionUser(ctx, id)
			if errors.Is(err, authkit.ErrUserNotFound) {
				err = authkit.ErrSessionNotFound
			}
			return s, u, err
		}
	}},
	"fails for an ID that it cannot store": {"SessionUserNotFound", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			if strings.ContainsRune(id, 0) {
				return authkit.StoredSession{}, authkit.StoredUser{}, errors.New("invalid byte sequence")
			}
			return m.SessionUser(ctx, id)
		}
	}},
	"folds the case of the owner": {"SessionUserNotFound", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			s, u, err := m.SessionUser(ctx, id)
			if errors.Is(err, authkit.ErrUserNotFound) {
				u, err = m.UserByID(ctx, strings.ToLower(s.UserID))
			}
			return s, u, err
		}
	}},
	"shares the roles": {"SessionUserSharesNoMemory", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		var first sync.Once
		var roles []string
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			s, u, err := m.SessionUser(ctx, id)
			first.Do(func() { roles = u.Roles })
			u.Roles = roles
			return s, u, err
		}
	}},
	"has no context": {"SessionUserCancelled", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			return m.SessionUser(context.WithoutCancel(ctx), id)
		}
	}},
	"keeps what it has read": {"SessionUserSeesChanges", func(b *brokenSessionUsers, m *authkit.MemoryStore) {
		var cache sync.Map
		b.both = func(ctx context.Context, id string) (authkit.StoredSession, authkit.StoredUser, error) {
			s, u, err := m.SessionUser(ctx, id)
			if err != nil {
				return s, u, err
			}
			old, _ := cache.LoadOrStore(id, u)
			return s, old.(authkit.StoredUser), nil
		}
	}},
}

// TestSessionUserSuiteFails runs the suite on every one of sessionUserMutants, as TestSuiteFails does.
func TestSessionUserSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range sessionUserMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestSessionUserSuiteFails", caught, func(name string) {
		storetest.TestSessionStore(t, func(*testing.T) authkit.SessionStore {
			b := &brokenSessionUsers{brokenSessions: &brokenSessions{MemoryStore: authkit.NewMemoryStore()}}
			sessionUserMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}

// sessionsOnly hides the other methods of a MemoryStore.
type sessionsOnly struct{ authkit.SessionStore }

// A store that is no SessionUserStore is tested without its promises.
func TestSessionsAlone(t *testing.T) {
	t.Parallel()
	storetest.SessionStoreRounds(t, 5, func(*testing.T) authkit.SessionStore { return sessionsOnly{authkit.NewMemoryStore()} })
}
