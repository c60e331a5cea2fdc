package oidclogin

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

// An Identity is a user at a provider, who belongs to an account. Its JSON form
// is for the user's settings page.
type Identity struct {
	ID        string    `json:"id"` // random and unique
	UserID    string    `json:"-"`
	Provider  string    `json:"provider"` // the name, when it was linked
	Issuer    string    `json:"issuer"`
	Subject   string    `json:"subject"`
	Email     string    `json:"email,omitempty"` // that of the provider when it was linked; for display only
	CreatedAt time.Time `json:"created_at"`
	Tokens    []byte    `json:"-"` // encrypted; empty if none are kept
}

// Format implements fmt.Formatter. It prints the identity without its tokens,
// for every verb.
func (id Identity) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%s %s %s %s}", id.ID, id.UserID, id.Issuer, id.Subject)
}

// A Store keeps the identities of [Logins]. [MemoryStore] is one, and package
// oidcloginsql has another. An implementation of your own is correct if it
// passes oidclogintest.TestStore.
//
// The rules for an [authkit.UserStore] apply. If ctx carries a transaction of
// the accounts, a call joins it. Texts are compared byte by byte. A text that a
// backend cannot store finds nothing.
type Store interface {
	// CreateIdentity stores a new identity. It returns ErrIdentityTaken, and
	// changes nothing, if there is one with the same Issuer and Subject. Of
	// several callers with the same identity one succeeds. A transaction of ctx
	// stays usable after that error. An ID that is empty or exists is another
	// error.
	CreateIdentity(ctx context.Context, id Identity) error

	// IdentityBySubject returns the identity of an issuer and a subject, or
	// ErrNoIdentity.
	IdentityBySubject(ctx context.Context, issuer, subject string) (Identity, error)

	// IdentitiesByUser returns the identities of a user, in any order.
	IdentitiesByUser(ctx context.Context, userID string) ([]Identity, error)

	// SetTokens replaces the Tokens of an identity of a user. It returns
	// ErrNoIdentity if the user has no such identity.
	SetTokens(ctx context.Context, userID, id string, tokens []byte) error

	// DeleteIdentity removes an identity of a user. It returns ErrNoIdentity if
	// the user has no such identity.
	DeleteIdentity(ctx context.Context, userID, id string) error

	// DeleteIdentities removes all identities of a user.
	DeleteIdentities(ctx context.Context, userID string) error
}

// UserData returns an element of [authkit.Config].UserData: a reset removes the
// identities of an account, because others could log in with them, and so does
// the deletion of the account.
func UserData(s Store) authkit.UserData { return userData{s} }

type userData struct{ store Store }

// userDataTimeout limits the calls of a Kit.
const userDataTimeout = 5 * time.Second

// Name implements [authkit.UserData].
func (userData) Name() string { return "identities" }

// Wipe implements [authkit.UserData].
func (d userData) Wipe(ctx context.Context, userID string, _ authkit.Wipe) error {
	ctx, cancel := context.WithTimeout(ctx, userDataTimeout)
	defer cancel()
	return unavailable(d.store.DeleteIdentities(ctx, userID))
}

// unavailable returns the error of a store for a Kit.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("oidclogin: %w: %w", authkit.ErrUnavailable, err)
}

// Export implements [authkit.UserData].
func (d userData) Export(ctx context.Context, userID string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, userDataTimeout)
	defer cancel()
	list, err := d.store.IdentitiesByUser(ctx, userID)
	if err != nil || len(list) == 0 {
		return nil, unavailable(err)
	}
	return list, nil
}

// A MemoryStore is a [Store] in memory, for tests and single programs. Use it
// with an [authkit.MemoryStore]: in its transactions, changes take effect when
// they are committed.
type MemoryStore struct {
	mu        sync.Mutex
	byID      map[string]Identity
	bySubject map[[2]string]string // issuer and subject, to the ID
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{byID: map[string]Identity{}, bySubject: map[[2]string]string{}}
}

// lock locks the store, unless ctx is done.
func (m *MemoryStore) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	return nil
}

// change calls f, which makes a change, with the lock held: now, or when the
// transaction of ctx is committed. The caller holds the lock.
func (m *MemoryStore) change(ctx context.Context, f func()) {
	inTx := authkit.AfterCommit(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		f()
	})
	if !inTx {
		f()
	}
}

// CreateIdentity implements [Store].
func (m *MemoryStore) CreateIdentity(ctx context.Context, id Identity) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	key := [2]string{id.Issuer, id.Subject}
	if _, taken := m.bySubject[key]; taken {
		return ErrIdentityTaken
	}
	if _, taken := m.byID[id.ID]; taken || id.ID == "" {
		return fmt.Errorf("oidclogin: the ID %q is empty or exists", id.ID)
	}
	id.Tokens = bytes.Clone(id.Tokens)
	m.change(ctx, func() { m.byID[id.ID], m.bySubject[key] = id, id.ID })
	return nil
}

// IdentityBySubject implements [Store].
func (m *MemoryStore) IdentityBySubject(ctx context.Context, issuer, subject string) (Identity, error) {
	if err := m.lock(ctx); err != nil {
		return Identity{}, err
	}
	defer m.mu.Unlock()
	id, ok := m.byID[m.bySubject[[2]string{issuer, subject}]]
	if !ok {
		return Identity{}, ErrNoIdentity
	}
	id.Tokens = bytes.Clone(id.Tokens)
	return id, nil
}

// IdentitiesByUser implements [Store].
func (m *MemoryStore) IdentitiesByUser(ctx context.Context, userID string) (list []Identity, err error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	for _, id := range m.byID {
		if id.UserID == userID {
			id.Tokens = bytes.Clone(id.Tokens)
			list = append(list, id)
		}
	}
	return list, nil
}

// SetTokens implements [Store].
func (m *MemoryStore) SetTokens(ctx context.Context, userID, id string, tokens []byte) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if found, ok := m.byID[id]; !ok || found.UserID != userID {
		return ErrNoIdentity
	}
	tokens = bytes.Clone(tokens)
	m.change(ctx, func() {
		if found, ok := m.byID[id]; ok {
			found.Tokens = tokens
			m.byID[id] = found
		}
	})
	return nil
}

// DeleteIdentity implements [Store].
func (m *MemoryStore) DeleteIdentity(ctx context.Context, userID, id string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if found, ok := m.byID[id]; !ok || found.UserID != userID {
		return ErrNoIdentity
	}
	m.change(ctx, func() { m.remove(id) })
	return nil
}

// remove removes an identity. The caller holds the lock.
func (m *MemoryStore) remove(id string) {
	if found, ok := m.byID[id]; ok {
		delete(m.bySubject, [2]string{found.Issuer, found.Subject})
		delete(m.byID, id)
	}
}

// DeleteIdentities implements [Store].
func (m *MemoryStore) DeleteIdentities(ctx context.Context, userID string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.change(ctx, func() {
		for id, found := range m.byID {
			if found.UserID == userID {
				m.remove(id)
			}
		}
	})
	return nil
}

// A timedStore gives every call a deadline. Its methods are written out, so
// that a method that is forgotten here does not compile (FR-11).
type timedStore struct {
	store   Store
	timeout time.Duration
}

var _ Store = timedStore{}

func (s timedStore) CreateIdentity(ctx context.Context, id Identity) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.CreateIdentity(ctx, id)
}

func (s timedStore) IdentityBySubject(ctx context.Context, issuer, subject string) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.IdentityBySubject(ctx, issuer, subject)
}

func (s timedStore) IdentitiesByUser(ctx context.Context, userID string) ([]Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.IdentitiesByUser(ctx, userID)
}

func (s timedStore) SetTokens(ctx context.Context, userID, id string, tokens []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.SetTokens(ctx, userID, id, tokens)
}

func (s timedStore) DeleteIdentity(ctx context.Context, userID, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteIdentity(ctx, userID, id)
}

func (s timedStore) DeleteIdentities(ctx context.Context, userID string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.DeleteIdentities(ctx, userID)
}
