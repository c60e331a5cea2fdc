package oidclogintest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authkit-go/authkit/oidclogin"
	"github.com/authkit-go/authkit/oidclogin/oidclogintest"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	oidclogintest.TestStore(t, func(*testing.T) oidclogin.Store { return oidclogin.NewMemoryStore() })
}

// A broken store is a MemoryStore with some methods replaced.
type broken struct {
	*oidclogin.MemoryStore
	create    func(ctx context.Context, id oidclogin.Identity) error
	find      func(ctx context.Context, issuer, subject string) (oidclogin.Identity, error)
	list      func(ctx context.Context, userID string) ([]oidclogin.Identity, error)
	tokens    func(ctx context.Context, userID, id string, tokens []byte) error
	remove    func(ctx context.Context, userID, id string) error
	removeAll func(ctx context.Context, userID string) error
}

func (b *broken) CreateIdentity(ctx context.Context, id oidclogin.Identity) error {
	return b.create(ctx, id)
}

func (b *broken) IdentityBySubject(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
	return b.find(ctx, issuer, subject)
}

func (b *broken) IdentitiesByUser(ctx context.Context, userID string) ([]oidclogin.Identity, error) {
	return b.list(ctx, userID)
}

func (b *broken) SetTokens(ctx context.Context, userID, id string, tokens []byte) error {
	return b.tokens(ctx, userID, id, tokens)
}

func (b *broken) DeleteIdentity(ctx context.Context, userID, id string) error {
	return b.remove(ctx, userID, id)
}

func (b *broken) DeleteIdentities(ctx context.Context, userID string) error {
	return b.removeAll(ctx, userID)
}

func newBroken() *broken {
	m := oidclogin.NewMemoryStore()
	return &broken{m, m.CreateIdentity, m.IdentityBySubject, m.IdentitiesByUser, m.SetTokens, m.DeleteIdentity, m.DeleteIdentities}
}

// mutants each break one promise of oidclogin.Store.
var mutants = map[string]struct {
	caught  string
	breakIt func(b *broken, m *oidclogin.MemoryStore)
}{
	"cuts times to the second": {"RoundTrip", func(b *broken, m *oidclogin.MemoryStore) {
		b.create = func(ctx context.Context, id oidclogin.Identity) error {
			id.CreatedAt = id.CreatedAt.Truncate(time.Second)
			return m.CreateIdentity(ctx, id)
		}
	}},
	"forgets the tokens": {"RoundTrip", func(b *broken, m *oidclogin.MemoryStore) {
		b.create = func(ctx context.Context, id oidclogin.Identity) error {
			id.Tokens = nil
			return m.CreateIdentity(ctx, id)
		}
	}},
	"replaces an identity": {"Unique", func(b *broken, m *oidclogin.MemoryStore) {
		b.create = func(ctx context.Context, id oidclogin.Identity) error {
			if old, err := m.IdentityBySubject(ctx, id.Issuer, id.Subject); err == nil {
				_ = m.DeleteIdentity(ctx, old.UserID, old.ID)
			}
			return m.CreateIdentity(ctx, id)
		}
	}},
	"is unique by subject alone": {"Unique", func(b *broken, m *oidclogin.MemoryStore) {
		b.create = func(ctx context.Context, id oidclogin.Identity) error {
			if strings.HasPrefix(id.Issuer, "https://other.") {
				return oidclogin.ErrIdentityTaken
			}
			return m.CreateIdentity(ctx, id)
		}
	}},
	"reports success for an identity that exists": {"Unique", func(b *broken, m *oidclogin.MemoryStore) {
		b.create = func(ctx context.Context, id oidclogin.Identity) error {
			if err := m.CreateIdentity(ctx, id); !errors.Is(err, oidclogin.ErrIdentityTaken) {
				return err
			}
			return nil
		}
	}},
	"ignores case": {"Bytes", func(b *broken, m *oidclogin.MemoryStore) {
		b.find = func(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
			return m.IdentityBySubject(ctx, issuer, strings.ToLower(subject))
		}
	}},
	"ignores spaces at the end": {"Bytes", func(b *broken, m *oidclogin.MemoryStore) {
		b.find = func(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
			return m.IdentityBySubject(ctx, issuer, strings.TrimRight(subject, " "))
		}
	}},
	"cuts long subjects": {"Bytes", func(b *broken, m *oidclogin.MemoryStore) {
		b.create = func(ctx context.Context, id oidclogin.Identity) error {
			id.Subject = id.Subject[:min(len(id.Subject), 200)]
			return m.CreateIdentity(ctx, id)
		}
	}},
	"deletes for another user": {"OtherUsers", func(b *broken, m *oidclogin.MemoryStore) {
		b.remove = func(ctx context.Context, userID, id string) error {
			err := m.DeleteIdentity(ctx, userID, id)
			if errors.Is(err, oidclogin.ErrNoIdentity) {
				return m.DeleteIdentity(ctx, "ann", id)
			}
			return err
		}
	}},
	"sets tokens of another user": {"OtherUsers", func(b *broken, m *oidclogin.MemoryStore) {
		b.tokens = func(ctx context.Context, _, id string, tokens []byte) error {
			return m.SetTokens(ctx, "ann", id, tokens)
		}
	}},
	"deletes one of several": {"Delete", func(b *broken, m *oidclogin.MemoryStore) {
		b.removeAll = func(ctx context.Context, userID string) error {
			list, err := m.IdentitiesByUser(ctx, userID)
			if err != nil || len(list) == 0 {
				return err
			}
			return m.DeleteIdentity(ctx, userID, list[0].ID)
		}
	}},
	"keeps a deleted subject taken": {"Delete", func(b *broken, m *oidclogin.MemoryStore) {
		var mu sync.Mutex
		ever := map[string]bool{}
		b.create = func(ctx context.Context, id oidclogin.Identity) error {
			mu.Lock()
			defer mu.Unlock()
			if ever[id.Subject] {
				return oidclogin.ErrIdentityTaken
			}
			ever[id.Subject] = true
			return m.CreateIdentity(ctx, id)
		}
	}},
	"finds no identity for equal tokens": {"Tokens", func(b *broken, m *oidclogin.MemoryStore) {
		b.tokens = func(ctx context.Context, userID, id string, tokens []byte) error {
			list, err := m.IdentitiesByUser(ctx, userID)
			for _, found := range list {
				if found.ID == id && bytes.Equal(found.Tokens, tokens) {
					return oidclogin.ErrNoIdentity
				}
			}
			return errors.Join(err, m.SetTokens(ctx, userID, id, tokens))
		}
	}},
	"fails for what cannot be stored": {"BrokenTexts", func(b *broken, m *oidclogin.MemoryStore) {
		b.find = func(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
			if subject == "\xff" {
				return oidclogin.Identity{}, errors.New("invalid byte sequence")
			}
			return m.IdentityBySubject(ctx, issuer, subject)
		}
	}},
	"shares tokens": {"SharesNoMemory", func(b *broken, m *oidclogin.MemoryStore) {
		var mu sync.Mutex
		shared := map[string][]byte{}
		b.find = func(ctx context.Context, issuer, subject string) (oidclogin.Identity, error) {
			mu.Lock()
			defer mu.Unlock()
			id, err := m.IdentityBySubject(ctx, issuer, subject)
			if shared[id.ID] == nil {
				shared[id.ID] = id.Tokens
			}
			id.Tokens = shared[id.ID]
			return id, err
		}
	}},
	"ignores a context that is done": {"CancelledContext", func(b *broken, m *oidclogin.MemoryStore) {
		b.list = func(ctx context.Context, userID string) ([]oidclogin.Identity, error) {
			return m.IdentitiesByUser(context.WithoutCancel(ctx), userID)
		}
	}},
	"looks before it stores": {"Race", func(b *broken, m *oidclogin.MemoryStore) {
		var mu sync.Mutex
		seen := 0
		b.create = func(ctx context.Context, id oidclogin.Identity) error {
			mu.Lock()
			defer mu.Unlock()
			if seen++; seen <= 2 && len(id.Issuer) > 0 { // two looked at the same time
				id.Issuer += strings.Repeat("/", seen-1)
			}
			return m.CreateIdentity(ctx, id)
		}
	}},
	"reports success to every deleter": {"DeleteRace", func(b *broken, m *oidclogin.MemoryStore) {
		b.remove = func(ctx context.Context, userID, id string) error {
			if err := m.DeleteIdentity(ctx, userID, id); !errors.Is(err, oidclogin.ErrNoIdentity) {
				return err
			}
			return nil
		}
	}},
}

const mutantVariable = "OIDCLOGIN_MUTANT"

// TestSuiteFails runs the suite on every one of mutants, each in another
// process, and expects the subtest to fail that is named there.
func TestSuiteFails(t *testing.T) {
	if name := os.Getenv(mutantVariable); name != "" {
		oidclogintest.TestStore(t, func(*testing.T) oidclogin.Store {
			b := newBroken()
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
