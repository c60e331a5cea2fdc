package storetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
)

// brokenUsers is a MemoryStore with one or two methods replaced.
type brokenUsers struct {
	*authkit.MemoryStore
	create func(ctx context.Context, u authkit.StoredUser) error
	byID   func(ctx context.Context, id string) (authkit.StoredUser, error)
	list   func(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error)
	count  func(ctx context.Context, q authkit.UserQuery) (int, error)
	update func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error)
	remove func(ctx context.Context, id, keepRole string) error
}

func (b *brokenUsers) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	if b.create != nil {
		return b.create(ctx, u)
	}
	return b.MemoryStore.CreateUser(ctx, u)
}

func (b *brokenUsers) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	if b.byID != nil {
		return b.byID(ctx, id)
	}
	return b.MemoryStore.UserByID(ctx, id)
}

func (b *brokenUsers) ListUsers(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
	if b.list != nil {
		return b.list(ctx, q)
	}
	return b.MemoryStore.ListUsers(ctx, q)
}

func (b *brokenUsers) CountUsers(ctx context.Context, q authkit.UserQuery) (int, error) {
	if b.count != nil {
		return b.count(ctx, q)
	}
	return b.MemoryStore.CountUsers(ctx, q)
}

func (b *brokenUsers) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if b.update != nil {
		return b.update(ctx, id, c, at)
	}
	return b.MemoryStore.UpdateUser(ctx, id, c, at)
}

func (b *brokenUsers) DeleteUser(ctx context.Context, id, keepRole string) error {
	if b.remove != nil {
		return b.remove(ctx, id, keepRole)
	}
	return b.MemoryStore.DeleteUser(ctx, id, keepRole)
}

// listing returns a ListUsers that selects with a function.
func listing(m *authkit.MemoryStore, selects func(u authkit.User, q authkit.UserQuery) bool) func(context.Context, authkit.UserQuery) ([]authkit.User, error) {
	return func(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
		all, err := m.ListUsers(ctx, authkit.UserQuery{After: q.After, Limit: 1000})
		all = slices.DeleteFunc(all, func(u authkit.User) bool { return !selects(u, q) })
		return all[:max(0, min(len(all), q.Limit))], err
	}
}

// exactly selects as a store should.
func exactly(u authkit.User, q authkit.UserQuery) bool {
	return strings.HasPrefix(u.Email, q.EmailPrefix) && (q.Role == "" || slices.Contains(u.Roles, q.Role)) && (q.Disabled == nil || *q.Disabled == u.Disabled)
}

// like is the LIKE of SQL.
func like(text, pattern string) bool {
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '%':
		return like(text, pattern[1:]) || text != "" && like(text[1:], pattern)
	case text == "":
		return false
	case pattern[0] == '\\' && len(pattern) > 1:
		return text[0] == pattern[1] && like(text[1:], pattern[2:])
	}
	return (pattern[0] == '_' || pattern[0] == text[0]) && like(text[1:], pattern[1:])
}

// lastAdmin reports whether no other account is an enabled administrator.
func lastAdmin(ctx context.Context, m *authkit.MemoryStore, id string) bool {
	admins, err := m.ListUsers(ctx, authkit.UserQuery{Role: "admin", Disabled: new(false), Limit: 1000})
	return err == nil && !slices.ContainsFunc(admins, func(u authkit.User) bool { return u.ID != id })
}

// userMutants each break one promise of authkit.UserStore that the stores of users_test.go
// leave.
var userMutants = map[string]struct {
	caught  string
	breakIt func(b *brokenUsers, m *authkit.MemoryStore)
}{
	"stores the version that it was given": {"IfVersion", func(b *brokenUsers, m *authkit.MemoryStore) {
		given := make(map[string]int64)
		b.create = func(ctx context.Context, u authkit.StoredUser) error {
			given[u.ID] = u.Version
			return m.CreateUser(ctx, u)
		}
		b.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
			u, err := m.UserByID(ctx, id)
			u.Version += given[id] - 1
			return u, err
		}
	}},
	"counts only what changes": {"IfVersion", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			u, err := m.UserByID(ctx, id)
			if err == nil && c == (authkit.UserUpdate{}) {
				return u.User, nil
			}
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"changes before it compares": {"IfVersion", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			u, err := m.UpdateUser(ctx, id, c, at)
			if errors.Is(err, authkit.ErrConflict) {
				_, _ = m.UpdateUser(ctx, id, authkit.UserUpdate{FullName: c.FullName}, at)
			}
			return u, err
		}
	}},
	"a conflict is no account": {"IfVersion", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			u, err := m.UpdateUser(ctx, id, c, at)
			if errors.Is(err, authkit.ErrConflict) {
				err = authkit.ErrUserNotFound
			}
			return u, err
		}
	}},
	"no time is a time": {"KeepsTimes", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
			u, err := m.UserByID(ctx, id)
			if u.LockedUntil.IsZero() {
				u.LockedUntil = time.Unix(0, 0)
			}
			return u, err
		}
	}},
	"times of a new account are lost": {"KeepsTimes", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.create = func(ctx context.Context, u authkit.StoredUser) error {
			u.EmailVerifiedAt = time.Time{}
			return m.CreateUser(ctx, u)
		}
	}},
	"times to the millisecond": {"KeepsTimes", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			if c.EmailVerifiedAt != nil {
				c.EmailVerifiedAt = new(c.EmailVerifiedAt.Truncate(time.Millisecond))
			}
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"an unlocked account stays locked": {"Update", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			if c.LockedUntil != nil && c.LockedUntil.IsZero() {
				c.LockedUntil = nil
			}
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"the prefix is a pattern": {"Queries", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.list = listing(m, func(u authkit.User, q authkit.UserQuery) bool {
			prefix := q.EmailPrefix
			q.EmailPrefix = ""
			return exactly(u, q) && like(u.Email, prefix+"%")
		})
	}},
	"the prefix has no case": {"Queries", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.list = listing(m, func(u authkit.User, q authkit.UserQuery) bool {
			q.EmailPrefix = strings.ToLower(q.EmailPrefix)
			return exactly(u, q)
		})
	}},
	"a role is found in another": {"Queries", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.list = listing(m, func(u authkit.User, q authkit.UserQuery) bool {
			role := q.Role
			q.Role = ""
			return exactly(u, q) && strings.Contains(strings.Join(u.Roles, "\n"), role)
		})
	}},
	"a role is a pattern": {"Queries", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.list = listing(m, func(u authkit.User, q authkit.UserQuery) bool {
			role := q.Role
			q.Role = ""
			return exactly(u, q) && (role == "" || slices.ContainsFunc(u.Roles, func(r string) bool { return like(r, role) }))
		})
	}},
	"one filter at a time": {"Queries", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.list = listing(m, func(u authkit.User, q authkit.UserQuery) bool {
			if q.Role != "" {
				q.EmailPrefix = ""
			}
			return exactly(u, q)
		})
	}},
	"enabled or not is one": {"Queries", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.list = listing(m, func(u authkit.User, q authkit.UserQuery) bool {
			if q.Disabled != nil && !*q.Disabled {
				q.Disabled = nil
			}
			return exactly(u, q)
		})
	}},
	"a text that it cannot store is a failure": {"Queries", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.list = func(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
			if strings.ContainsRune(q.EmailPrefix, 0) {
				return nil, errors.New("invalid byte sequence")
			}
			return m.ListUsers(ctx, q)
		}
	}},
	"filters a page when it has it": {"QueryPages", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.list = func(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
			page, err := m.ListUsers(ctx, authkit.UserQuery{After: q.After, Limit: q.Limit})
			return slices.DeleteFunc(page, func(u authkit.User) bool { return !exactly(u, q) }), err
		}
	}},
	"counts a page": {"Counts", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.count = func(ctx context.Context, q authkit.UserQuery) (int, error) {
			if q.Limit <= 0 {
				return m.CountUsers(ctx, q)
			}
			page, err := m.ListUsers(ctx, q)
			return len(page), err
		}
	}},
	"counts all": {"Counts", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.count = func(ctx context.Context, _ authkit.UserQuery) (int, error) {
			return m.CountUsers(ctx, authkit.UserQuery{})
		}
	}},
	"demotes the last administrator": {"KeepRole", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			c.KeepRole = ""
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"deletes the last administrator": {"KeepRole", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.remove = func(ctx context.Context, id, _ string) error { return m.DeleteUser(ctx, id, "") }
	}},
	"disabled administrators count": {"KeepRole", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			if n, err := m.CountUsers(ctx, authkit.UserQuery{Role: c.KeepRole}); err == nil && n > 1 {
				c.KeepRole = ""
			}
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"locked administrators count": {"KeepRole", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			if c.KeepRole != "" && !lastAdmin(ctx, m, id) {
				c.KeepRole = ""
			}
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"a lock is no loss": {"KeepRole", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			if c.LockedUntil != nil {
				c.KeepRole = ""
			}
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"keeps whom it finds before the change": {"KeepRole", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			if c.KeepRole != "" && lastAdmin(ctx, m, id) {
				return authkit.User{}, authkit.ErrLastAdmin
			}
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"look-then-demote": {"LastAdminStays", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.update = func(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
			if c.KeepRole != "" && lastAdmin(ctx, m, id) {
				return authkit.User{}, authkit.ErrLastAdmin
			}
			roundTrip()
			c.KeepRole = ""
			return m.UpdateUser(ctx, id, c, at)
		}
	}},
	"look-then-delete": {"LastAdminStays", func(b *brokenUsers, m *authkit.MemoryStore) {
		b.remove = func(ctx context.Context, id, keepRole string) error {
			if keepRole != "" && lastAdmin(ctx, m, id) {
				return authkit.ErrLastAdmin
			}
			roundTrip()
			return m.DeleteUser(ctx, id, "")
		}
	}},
}

// TestUserSuiteFails runs the suite on every one of userMutants, as TestSuiteFails does.
func TestUserSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range userMutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestUserSuiteFails", caught, func(name string) {
		storetest.TestUserStore(t, func(*testing.T) authkit.UserStore {
			b := &brokenUsers{MemoryStore: authkit.NewMemoryStore()}
			userMutants[name].breakIt(b, b.MemoryStore)
			return b
		})
	})
}
