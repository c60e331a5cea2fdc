package passkeytest_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/passkey/passkeytest"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	passkeytest.TestStore(t, func(*testing.T) passkey.Store { return passkey.NewMemoryStore() })
}

// A broken is a MemoryStore with one or two methods replaced.
type broken struct {
	*passkey.MemoryStore
	handle    func(ctx context.Context, userID string, proposed []byte) ([]byte, error)
	add       func(ctx context.Context, p passkey.Passkey, limit int) error
	byID      func(ctx context.Context, id string) (passkey.Passkey, error)
	byUser    func(ctx context.Context, userID string) ([]passkey.Passkey, error)
	use       func(ctx context.Context, id string, version int64, u passkey.Use) error
	rename    func(ctx context.Context, userID, id, name string) error
	remove    func(ctx context.Context, userID, id string) error
	removeAll func(ctx context.Context, userID string) error
}

func (b *broken) UserHandle(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
	if b.handle != nil {
		return b.handle(ctx, userID, proposed)
	}
	return b.MemoryStore.UserHandle(ctx, userID, proposed)
}

func (b *broken) AddPasskey(ctx context.Context, p passkey.Passkey, limit int) error {
	if b.add != nil {
		return b.add(ctx, p, limit)
	}
	return b.MemoryStore.AddPasskey(ctx, p, limit)
}

func (b *broken) PasskeyByID(ctx context.Context, id string) (passkey.Passkey, error) {
	if b.byID != nil {
		return b.byID(ctx, id)
	}
	return b.MemoryStore.PasskeyByID(ctx, id)
}

func (b *broken) PasskeysByUser(ctx context.Context, userID string) ([]passkey.Passkey, error) {
	if b.byUser != nil {
		return b.byUser(ctx, userID)
	}
	return b.MemoryStore.PasskeysByUser(ctx, userID)
}

func (b *broken) UsePasskey(ctx context.Context, id string, version int64, u passkey.Use) error {
	if b.use != nil {
		return b.use(ctx, id, version, u)
	}
	return b.MemoryStore.UsePasskey(ctx, id, version, u)
}

func (b *broken) RenamePasskey(ctx context.Context, userID, id, name string) error {
	if b.rename != nil {
		return b.rename(ctx, userID, id, name)
	}
	return b.MemoryStore.RenamePasskey(ctx, userID, id, name)
}

func (b *broken) DeletePasskey(ctx context.Context, userID, id string) error {
	if b.remove != nil {
		return b.remove(ctx, userID, id)
	}
	return b.MemoryStore.DeletePasskey(ctx, userID, id)
}

func (b *broken) DeletePasskeys(ctx context.Context, userID string) error {
	if b.removeAll != nil {
		return b.removeAll(ctx, userID)
	}
	return b.MemoryStore.DeletePasskeys(ctx, userID)
}

// A gap makes the callers of a broken store meet between a check and its
// change.
type gap struct {
	mu      sync.Mutex
	waiting int
	open    chan struct{}
}

// wait returns when n callers wait, or after a while.
func (g *gap) wait(n int) {
	g.mu.Lock()
	if g.open == nil {
		g.open = make(chan struct{})
	}
	open := g.open
	if g.waiting++; g.waiting == n {
		close(open)
	}
	g.mu.Unlock()
	select {
	case <-open:
	case <-time.After(time.Second):
	}
}

// mutants each break one promise of passkey.Store.
var mutants = map[string]struct {
	caught  string
	breakIt func(b *broken, m *passkey.MemoryStore)
}{
	"replaces a handle": {"Handle", func(b *broken, m *passkey.MemoryStore) {
		b.handle = func(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
			if len(proposed) > 0 {
				_ = m.DeletePasskeys(ctx, userID)
			}
			return m.UserHandle(ctx, userID, proposed)
		}
	}},
	"has one handle for all": {"Handle", func(b *broken, m *passkey.MemoryStore) {
		b.handle = func(ctx context.Context, _ string, proposed []byte) ([]byte, error) {
			return m.UserHandle(ctx, "all", proposed)
		}
	}},
	"returns the proposed handle to each": {"HandleRace", func(b *broken, m *passkey.MemoryStore) {
		b.handle = func(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
			_, err := m.UserHandle(ctx, userID, proposed)
			return proposed, err
		}
	}},
	"cuts times to the second": {"AddAndGet", func(b *broken, m *passkey.MemoryStore) {
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			p.CreatedAt = p.CreatedAt.Truncate(time.Second)
			return m.AddPasskey(ctx, p, limit)
		}
	}},
	"loses the verification": {"AddAndGet", func(b *broken, m *passkey.MemoryStore) {
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			p.UserVerified = false
			return m.AddPasskey(ctx, p, limit)
		}
	}},
	"cuts the counter": {"AddAndGet", func(b *broken, m *passkey.MemoryStore) {
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			p.SignCount &= 1<<31 - 1
			return m.AddPasskey(ctx, p, limit)
		}
	}},
	"keeps the version given": {"AddAndGet", func(b *broken, m *passkey.MemoryStore) {
		b.byID = func(ctx context.Context, id string) (passkey.Passkey, error) {
			p, err := m.PasskeyByID(ctx, id)
			if id == "b" {
				p.Version = 7
			}
			return p, err
		}
	}},
	"ignores case": {"AddAndGet", func(b *broken, m *passkey.MemoryStore) {
		b.byID = func(ctx context.Context, id string) (passkey.Passkey, error) {
			return m.PasskeyByID(ctx, string(bytes.ToLower([]byte(id))))
		}
	}},
	"orders by ID": {"Order", func(b *broken, m *passkey.MemoryStore) {
		b.byUser = func(ctx context.Context, userID string) ([]passkey.Passkey, error) {
			list, err := m.PasskeysByUser(ctx, userID)
			slices.SortFunc(list, func(a, b passkey.Passkey) int { return cmp.Compare(a.ID, b.ID) })
			return list, err
		}
	}},
	"allows one too many": {"Limit", func(b *broken, m *passkey.MemoryStore) {
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error { return m.AddPasskey(ctx, p, limit+1) }
	}},
	"counts all users": {"Limit", func(b *broken, m *passkey.MemoryStore) {
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			if p.UserID == "ann" {
				limit--
			}
			return m.AddPasskey(ctx, p, limit)
		}
	}},
	"counts before it adds": {"LimitRace", func(b *broken, m *passkey.MemoryStore) {
		g := new(gap)
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			list, err := m.PasskeysByUser(ctx, p.UserID)
			if err != nil || len(list) >= limit {
				return cmp.Or(err, passkey.ErrTooMany)
			}
			g.wait(16)
			return m.AddPasskey(ctx, p, 1000)
		}
	}},
	"replaces a passkey": {"Exists", func(b *broken, m *passkey.MemoryStore) {
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			_ = m.DeletePasskey(ctx, p.UserID, p.ID)
			return m.AddPasskey(ctx, p, limit)
		}
	}},
	"moves a passkey to another user": {"Exists", func(b *broken, m *passkey.MemoryStore) {
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			if p.UserID == "bob" {
				_ = m.DeletePasskey(ctx, "ann", p.ID)
			}
			return m.AddPasskey(ctx, p, limit)
		}
	}},
	"looks before it adds": {"ExistsRace", func(b *broken, m *passkey.MemoryStore) {
		g := new(gap)
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			if _, err := m.PasskeyByID(ctx, p.ID); err == nil {
				return passkey.ErrExists
			}
			g.wait(16)
			_, _ = m.DeletePasskey(ctx, "ann", p.ID), m.DeletePasskey(ctx, "bob", p.ID)
			return m.AddPasskey(ctx, p, limit)
		}
	}},
	"takes any handle": {"WrongHandle", func(b *broken, m *passkey.MemoryStore) {
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			p.UserHandle, _ = m.UserHandle(ctx, p.UserID, []byte("made up"))
			return m.AddPasskey(ctx, p, limit)
		}
	}},
	"forgets the counter": {"Use", func(b *broken, m *passkey.MemoryStore) {
		b.use = func(ctx context.Context, id string, version int64, u passkey.Use) error {
			p, _ := m.PasskeyByID(ctx, id)
			u.SignCount = p.SignCount
			return m.UsePasskey(ctx, id, version, u)
		}
	}},
	"forgets the flags": {"Use", func(b *broken, m *passkey.MemoryStore) {
		b.use = func(ctx context.Context, id string, version int64, u passkey.Use) error {
			p, _ := m.PasskeyByID(ctx, id)
			u.BackupEligible, u.BackedUp = p.BackupEligible, p.BackedUp
			return m.UsePasskey(ctx, id, version, u)
		}
	}},
	"ignores the version": {"Use", func(b *broken, m *passkey.MemoryStore) {
		b.use = func(ctx context.Context, id string, _ int64, u passkey.Use) error {
			p, err := m.PasskeyByID(ctx, id)
			return cmp.Or(err, m.UsePasskey(ctx, id, p.Version, u))
		}
	}},
	"reports a conflict for none": {"Use", func(b *broken, m *passkey.MemoryStore) {
		b.use = func(ctx context.Context, id string, version int64, u passkey.Use) error {
			if err := m.UsePasskey(ctx, id, version, u); err != nil {
				return passkey.ErrConflict
			}
			return nil
		}
	}},
	"looks at the version before": {"UseRace", func(b *broken, m *passkey.MemoryStore) {
		g := new(gap)
		var mu sync.Mutex
		b.use = func(ctx context.Context, id string, version int64, u passkey.Use) error {
			if p, err := m.PasskeyByID(ctx, id); err != nil || p.Version != version {
				return cmp.Or(err, passkey.ErrConflict)
			}
			g.wait(16)
			mu.Lock()
			defer mu.Unlock()
			p, _ := m.PasskeyByID(ctx, id)
			return m.UsePasskey(ctx, id, p.Version, u)
		}
	}},
	"renames for any user": {"Rename", func(b *broken, m *passkey.MemoryStore) {
		b.rename = func(ctx context.Context, _, id, name string) error {
			p, _ := m.PasskeyByID(ctx, id)
			return m.RenamePasskey(ctx, p.UserID, id, name)
		}
	}},
	"does not find a passkey that has the name": {"Rename", func(b *broken, m *passkey.MemoryStore) {
		b.rename = func(ctx context.Context, userID, id, name string) error {
			if p, _ := m.PasskeyByID(ctx, id); p.Name == name {
				return passkey.ErrNotFound
			}
			return m.RenamePasskey(ctx, userID, id, name)
		}
	}},
	"deletes for any user": {"Delete", func(b *broken, m *passkey.MemoryStore) {
		b.remove = func(ctx context.Context, _, id string) error {
			p, _ := m.PasskeyByID(ctx, id)
			return m.DeletePasskey(ctx, p.UserID, id)
		}
	}},
	"deletes without a word": {"Delete", func(b *broken, m *passkey.MemoryStore) {
		b.remove = func(ctx context.Context, userID, id string) error {
			_ = m.DeletePasskey(ctx, userID, id)
			return ctx.Err()
		}
	}},
	"deletes the handle with the last passkey": {"Delete", func(b *broken, m *passkey.MemoryStore) {
		b.handle = func(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
			if len(proposed) == 0 {
				return nil, passkey.ErrNotFound
			}
			return m.UserHandle(ctx, userID, proposed)
		}
	}},
	"keeps the handle": {"DeleteAll", func(b *broken, m *passkey.MemoryStore) {
		b.removeAll = func(ctx context.Context, userID string) error {
			list, err := m.PasskeysByUser(ctx, userID)
			for _, p := range list {
				err = errors.Join(err, m.DeletePasskey(ctx, userID, p.ID))
			}
			return err
		}
	}},
	"deletes those of all users": {"DeleteAll", func(b *broken, m *passkey.MemoryStore) {
		b.removeAll = func(ctx context.Context, userID string) error {
			return errors.Join(m.DeletePasskeys(ctx, userID), m.DeletePasskeys(ctx, "bob"))
		}
	}},
	"adds after the deletion": {"DeleteRace", func(b *broken, m *passkey.MemoryStore) {
		deleted := make(chan struct{})
		b.add = func(ctx context.Context, p passkey.Passkey, limit int) error {
			<-deleted
			_, _ = m.UserHandle(ctx, p.UserID, p.UserHandle)
			return m.AddPasskey(ctx, p, limit)
		}
		b.removeAll = func(ctx context.Context, userID string) error {
			defer close(deleted)
			return m.DeletePasskeys(ctx, userID)
		}
	}},
	"fails for texts that cannot be stored": {"BrokenTexts", func(b *broken, m *passkey.MemoryStore) {
		b.byID = func(ctx context.Context, id string) (passkey.Passkey, error) {
			if bytes.IndexByte([]byte(id), 0) >= 0 {
				return passkey.Passkey{}, errors.New("invalid byte sequence")
			}
			return m.PasskeyByID(ctx, id)
		}
	}},
	"shares memory": {"SharesNoMemory", func(b *broken, m *passkey.MemoryStore) {
		var last passkey.Passkey
		b.byID = func(ctx context.Context, id string) (p passkey.Passkey, err error) {
			if last.ID == "" {
				last, err = m.PasskeyByID(ctx, id)
			}
			return last, err
		}
	}},
	"ignores the context": {"CancelledContext", func(b *broken, m *passkey.MemoryStore) {
		b.removeAll = func(ctx context.Context, userID string) error {
			return m.DeletePasskeys(context.WithoutCancel(ctx), userID)
		}
	}},
}

const mutantVariable = "PASSKEYTEST_MUTANT"

// Each broken store fails the subtest of its promise.
func TestSuiteFails(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(mutantVariable); name != "" {
		passkeytest.TestStore(t, func(*testing.T) passkey.Store {
			b := &broken{MemoryStore: passkey.NewMemoryStore()}
			mutants[name].breakIt(b, b.MemoryStore)
			return b
		})
		return
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestSuiteFails$/^"+m.caught+"$", "-test.count=1")
			cmd.Env = append(os.Environ(), mutantVariable+"="+name)
			out, err := cmd.CombinedOutput()
			_, failed := errors.AsType[*exec.ExitError](err)
			if !failed || !bytes.Contains(out, []byte("--- FAIL: TestSuiteFails/"+m.caught+" (")) || bytes.Contains(out, []byte("panic: ")) {
				t.Errorf("the subtest %s does not fail: %v\n%s", m.caught, err, out)
			}
		})
	}
}
