package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/storetest"
)

// mutants are stores that each break one promise of authkit.UserStore; the suite has
// to fail for every one of them, in the subtest named.
var mutants = map[string]struct {
	caught  string
	breakIt func(*authkit.MemoryStore) authkit.UserStore
}{
	"second account takes the address over": {"EmailIsUnique", func(s *authkit.MemoryStore) authkit.UserStore { return replacing{s} }},
	"look-then-insert":                      {"OneCreatorWins", func(s *authkit.MemoryStore) authkit.UserStore { return &lookThenInsert{MemoryStore: s} }},
	"look-then-update":                      {"OneVersionWins", func(s *authkit.MemoryStore) authkit.UserStore { return lookThenUpdate{s} }},
	"ignores the version":                   {"IfVersion", func(s *authkit.MemoryStore) authkit.UserStore { return versionless{s} }},
	"ignores the context":                   {"CancelledContext", func(s *authkit.MemoryStore) authkit.UserStore { return deaf{s} }},
	"shares its slices":                     {"SharesNoMemory", func(s *authkit.MemoryStore) authkit.UserStore { return &sharing{MemoryStore: s} }},
	"not found is no error":                 {"NotFound", func(s *authkit.MemoryStore) authkit.UserStore { return silent{s} }},
	"pages from the start":                  {"Pages", func(s *authkit.MemoryStore) authkit.UserStore { return firstPage{s} }},
	"update in two steps":                   {"ReadersSeeWholeRecords", func(s *authkit.MemoryStore) authkit.UserStore { return twoSteps{s} }},
	"valid-from moves back":                 {"TokensValidAfterMovesForward", func(s *authkit.MemoryStore) authkit.UserStore { return &movesBack{MemoryStore: s} }},
	"look-then-move":                        {"LatestTokensValidAfterWins", func(s *authkit.MemoryStore) authkit.UserStore { return &lookThenMove{movesBack{MemoryStore: s}} }},
	"hash first, valid-from later":          {"HashAndTokensValidAfterAtOnce", func(s *authkit.MemoryStore) authkit.UserStore { return hashFirst{s} }},
	"rehash over a change":                  {"RehashLosesToAChange", func(s *authkit.MemoryStore) authkit.UserStore { return lookThenUpdate{s} }},
	"forgets the times":                     {"Update", func(s *authkit.MemoryStore) authkit.UserStore { return timeless{s} }},
}

type replacing struct{ *authkit.MemoryStore }

func (s replacing) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	if old, err := s.UserByEmail(ctx, u.Email); err == nil {
		_ = s.DeleteUser(ctx, old.ID, "")
	}
	return s.MemoryStore.CreateUser(ctx, u)
}

type lookThenInsert struct {
	*authkit.MemoryStore
	mu sync.Mutex
}

func (s *lookThenInsert) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	if _, err := s.UserByEmail(ctx, u.Email); err == nil {
		return authkit.ErrEmailTaken
	}
	time.Sleep(time.Millisecond) // as a round trip to a database takes
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, err := s.UserByEmail(ctx, u.Email); err == nil {
		_ = s.DeleteUser(ctx, old.ID, "")
	}
	return s.MemoryStore.CreateUser(ctx, u)
}

type lookThenUpdate struct{ *authkit.MemoryStore }

func (s lookThenUpdate) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if c.IfVersion != 0 {
		u, err := s.UserByID(ctx, id)
		if err != nil {
			return authkit.User{}, err
		}
		if u.Version != c.IfVersion {
			return authkit.User{}, authkit.ErrConflict
		}
		roundTrip()
	}
	return versionless(s).UpdateUser(ctx, id, c, at)
}

type versionless struct{ *authkit.MemoryStore }

func (s versionless) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
	c.IfVersion = 0
	return s.MemoryStore.UpdateUser(ctx, id, c, at)
}

type deaf struct{ *authkit.MemoryStore }

func (s deaf) CreateUser(ctx context.Context, u authkit.StoredUser) error {
	return s.MemoryStore.CreateUser(context.WithoutCancel(ctx), u)
}

type sharing struct {
	*authkit.MemoryStore
	roles sync.Map
}

func (s *sharing) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	u, err := s.MemoryStore.UserByID(ctx, id)
	if shared, _ := s.roles.LoadOrStore(id, u.Roles); err == nil {
		u.Roles = shared.([]string)
	}
	return u, err
}

type silent struct{ *authkit.MemoryStore }

func (s silent) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	u, err := s.MemoryStore.UserByID(ctx, id)
	if errors.Is(err, authkit.ErrUserNotFound) {
		return authkit.StoredUser{}, nil
	}
	return u, err
}

type firstPage struct{ *authkit.MemoryStore }

func (s firstPage) ListUsers(ctx context.Context, q authkit.UserQuery) ([]authkit.User, error) {
	if q.After != "" {
		return nil, nil
	}
	return s.MemoryStore.ListUsers(ctx, q)
}

type twoSteps struct{ *authkit.MemoryStore }

func (s twoSteps) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if _, err := s.MemoryStore.UpdateUser(ctx, id, authkit.UserUpdate{FullName: c.FullName}, at); err != nil {
		return authkit.User{}, err
	}
	time.Sleep(time.Millisecond)
	return s.MemoryStore.UpdateUser(ctx, id, c, at)
}

type timeless struct{ *authkit.MemoryStore }

func (s timeless) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, _ time.Time) (authkit.User, error) {
	u, err := s.UserByID(ctx, id)
	if err != nil {
		return authkit.User{}, err
	}
	return s.MemoryStore.UpdateUser(ctx, id, c, u.UpdatedAt)
}

// movesBack keeps the cut-offs itself, the last one that it was given.
type movesBack struct {
	*authkit.MemoryStore
	from sync.Map
}

func (s *movesBack) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
	u, err := s.MemoryStore.UpdateUser(ctx, id, c, at)
	if err == nil && c.TokensValidAfter != nil {
		s.from.Store(id, *c.TokensValidAfter)
	}
	return u, err
}

func (s *movesBack) UserByID(ctx context.Context, id string) (authkit.StoredUser, error) {
	u, err := s.MemoryStore.UserByID(ctx, id)
	if from, ok := s.from.Load(id); ok && err == nil {
		u.TokensValidAfter = from.(time.Time)
	}
	return u, err
}

func (s *movesBack) UserByEmail(ctx context.Context, email string) (authkit.StoredUser, error) {
	u, err := s.MemoryStore.UserByEmail(ctx, email)
	if err != nil {
		return u, err
	}
	return s.UserByID(ctx, u.ID)
}

type lookThenMove struct{ movesBack }

func (s *lookThenMove) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if u, err := s.UserByID(ctx, id); err == nil && c.TokensValidAfter != nil && !c.TokensValidAfter.After(u.TokensValidAfter) {
		c.TokensValidAfter = nil
	}
	time.Sleep(time.Millisecond)
	return s.movesBack.UpdateUser(ctx, id, c, at)
}

type hashFirst struct{ *authkit.MemoryStore }

func (s hashFirst) UpdateUser(ctx context.Context, id string, c authkit.UserUpdate, at time.Time) (authkit.User, error) {
	if _, err := s.MemoryStore.UpdateUser(ctx, id, authkit.UserUpdate{PasswordHash: c.PasswordHash}, at); err != nil {
		return authkit.User{}, err
	}
	time.Sleep(time.Millisecond)
	return s.MemoryStore.UpdateUser(ctx, id, c, at)
}

const mutantVariable = "STORETEST_MUTANT"

// TestSuiteFails runs the suite on every mutant, in a process of its own, since a
// subtest that fails cannot be caught in this one.
func TestSuiteFails(t *testing.T) {
	caught := make(map[string]string)
	for name, m := range mutants {
		caught[name] = m.caught
	}
	failsIn(t, "TestSuiteFails", caught, func(name string) {
		storetest.TestUserStore(t, func(*testing.T) authkit.UserStore {
			return mutants[name].breakIt(authkit.NewMemoryStore())
		})
	})
}

// failsIn runs a test again for every mutant, which gets to run there, and in which the
// subtest that has to catch it must fail: as itself, not because something panicked.
func failsIn(t *testing.T, test string, caught map[string]string, run func(mutant string)) {
	if name := os.Getenv(mutantVariable); name != "" {
		run(name)
		return
	}
	for name, subtest := range caught {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$/^"+subtest+"$", "-test.count=1")
			cmd.Env = append(os.Environ(), mutantVariable+"="+name)
			out, err := cmd.CombinedOutput()
			_, failed := errors.AsType[*exec.ExitError](err)
			if !failed || !bytes.Contains(out, []byte("--- FAIL: "+test+"/"+subtest+" (")) || bytes.Contains(out, []byte("panic: ")) {
				t.Errorf("the subtest %s does not fail: %v\n%s", subtest, err, out)
			}
		})
	}
}
