package org

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/authkit-go/authkit"
)

// ErrConflict is returned by [Store].Apply if the version is another one by now.
var ErrConflict = errors.New("org: the organization was changed meanwhile")

// An Org is an organization.
type Org struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// A Member is a user in an organization.
type Member struct {
	OrgID    string    `json:"-"`
	UserID   string    `json:"user_id"`
	Roles    []string  `json:"roles"`
	JoinedAt time.Time `json:"joined_at"`
}

// A Membership is an organization of a user.
type Membership struct {
	Org      Org       `json:"org"`
	Roles    []string  `json:"roles"`
	JoinedAt time.Time `json:"joined_at"`
	Active   bool      `json:"active"` // chosen with [Orgs.Switch]; set by [Orgs.List] and [Orgs.Switch]
}

// An Invitation is a pending invitation, without its secret.
type Invitation struct {
	ID        string    `json:"id"`
	OrgID     string    `json:"-"`
	Email     string    `json:"email"`
	Roles     []string  `json:"roles"`
	InvitedBy string    `json:"invited_by"` // empty if the program did
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// A StoredInvitation is an invitation with the hash of its secret.
type StoredInvitation struct {
	Invitation
	Hash [32]byte `json:"-"`
}

// Format implements fmt.Formatter. It prints the invitation without its hash.
func (i StoredInvitation) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%+v", i.Invitation) }

// LogValue implements slog.LogValuer. It returns the invitation without its hash.
func (i StoredInvitation) LogValue() slog.Value { return slog.AnyValue(i.Invitation) }

// A Change is a change of one organization, for [Store].Apply.
type Change struct {
	PutMember         *Member           // added, or replaced if the user is a member
	RemoveMember      string            // a user ID; empty for none
	PutInvitation     *StoredInvitation // added
	RemoveInvitations []string          // IDs; those of other organizations stay
	Delete            bool              // the organization, with its members and invitations
}

// A Store keeps organizations. [MemoryStore] is one, and package orgsql has
// another. An implementation of your own is correct if it passes
// storetest.TestOrgStore.
//
// The rules for an [authkit.UserStore] apply. In addition:
//   - Each organization has a version, which starts at 1. All changes of its
//     members and invitations go through Apply, which compares it. So a caller
//     can decide by what it has read before.
//   - If ctx carries a transaction of the accounts, a call joins it if the store
//     can. A call that reads may then return the state before the transaction.
//   - Lists are in the order of their IDs, byte by byte.
//   - A look-up of an ID that a backend cannot store finds nothing and does not
//     fail.
type Store interface {
	// CreateOrg stores a new organization with its first member. An ID that is
	// empty or exists is an error that changes nothing.
	CreateOrg(ctx context.Context, o Org, first Member) error

	// Org returns an organization and its version, or ErrNotFound.
	Org(ctx context.Context, id string) (o Org, version int64, err error)

	// Apply makes all parts of a change and adds one to the version. If version
	// is not that of the organization, or if there is none, it changes nothing
	// and returns ErrConflict. Of several callers with one version exactly one
	// succeeds.
	Apply(ctx context.Context, id string, version int64, c Change) error

	// Member returns a member of an organization, or ErrNotFound. Each request
	// behind a policy calls it.
	Member(ctx context.Context, orgID, userID string) (Member, error)

	// Members returns at most limit members whose user IDs follow after.
	Members(ctx context.Context, orgID, after string, limit int) ([]Member, error)

	// HasOtherOwner reports whether another user than userID has the role Owner
	// in an organization.
	HasOtherOwner(ctx context.Context, orgID, userID string) (bool, error)

	// Memberships returns the memberships of a user, ordered by organization.
	Memberships(ctx context.Context, userID string) ([]Membership, error)

	// Invitation returns an invitation, also an expired one, or ErrNotFound.
	Invitation(ctx context.Context, id string) (StoredInvitation, error)

	// Invitations returns all invitations of an organization.
	Invitations(ctx context.Context, orgID string) ([]Invitation, error)

	// SetActive stores the active organization of a session, and replaces an
	// earlier one.
	SetActive(ctx context.Context, sessionID, orgID string, expires time.Time) error

	// Active returns the active organization of a session, or ErrNotFound.
	Active(ctx context.Context, sessionID string) (orgID string, err error)

	// DeleteExpired removes invitations and active organizations that do not
	// expire after at. It removes at most limit of each, or none if limit is not
	// positive, and returns the number removed.
	DeleteExpired(ctx context.Context, at time.Time, limit int) (deleted int, err error)
}

// checked gives every call of a Store a deadline, reports its failures as events,
// and returns them as ErrUnavailable. Its methods are written out, so that a
// method that is forgotten here does not compile (FR-11).
type checked struct {
	store   Store
	timeout time.Duration
	kit     *authkit.Kit // nil for the UserData, whose Kit reports their errors
}

// call makes a call that returns a result.
func call[T any](s checked, ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	result, err := f(timed)
	switch {
	case err == nil, errors.Is(err, authkit.ErrNotFound), errors.Is(err, ErrConflict):
		return result, err
	case errors.Is(ctx.Err(), context.Canceled):
		return result, ctx.Err()
	}
	err = fmt.Errorf("org: %w: %w", authkit.ErrUnavailable, err)
	if s.kit != nil {
		s.kit.Emit(ctx, authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: err})
	}
	return result, err
}

// do makes a call that returns only an error.
func (s checked) do(ctx context.Context, f func(context.Context) error) error {
	_, err := call(s, ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

func (s checked) CreateOrg(ctx context.Context, o Org, first Member) error {
	return s.do(ctx, func(ctx context.Context) error { return s.store.CreateOrg(ctx, o, first) })
}

func (s checked) Org(ctx context.Context, id string) (o Org, version int64, err error) {
	o, err = call(s, ctx, func(ctx context.Context) (Org, error) {
		var o Org
		var err error
		o, version, err = s.store.Org(ctx, id)
		return o, err
	})
	return o, version, err
}

func (s checked) Apply(ctx context.Context, id string, version int64, c Change) error {
	return s.do(ctx, func(ctx context.Context) error { return s.store.Apply(ctx, id, version, c) })
}

func (s checked) Member(ctx context.Context, orgID, userID string) (Member, error) {
	return call(s, ctx, func(ctx context.Context) (Member, error) { return s.store.Member(ctx, orgID, userID) })
}

func (s checked) Members(ctx context.Context, orgID, after string, limit int) ([]Member, error) {
	return call(s, ctx, func(ctx context.Context) ([]Member, error) { return s.store.Members(ctx, orgID, after, limit) })
}

func (s checked) HasOtherOwner(ctx context.Context, orgID, userID string) (bool, error) {
	return call(s, ctx, func(ctx context.Context) (bool, error) { return s.store.HasOtherOwner(ctx, orgID, userID) })
}

func (s checked) Memberships(ctx context.Context, userID string) ([]Membership, error) {
	return call(s, ctx, func(ctx context.Context) ([]Membership, error) { return s.store.Memberships(ctx, userID) })
}

func (s checked) Invitation(ctx context.Context, id string) (StoredInvitation, error) {
	return call(s, ctx, func(ctx context.Context) (StoredInvitation, error) { return s.store.Invitation(ctx, id) })
}

func (s checked) Invitations(ctx context.Context, orgID string) ([]Invitation, error) {
	return call(s, ctx, func(ctx context.Context) ([]Invitation, error) { return s.store.Invitations(ctx, orgID) })
}

func (s checked) SetActive(ctx context.Context, sessionID, orgID string, expires time.Time) error {
	return s.do(ctx, func(ctx context.Context) error { return s.store.SetActive(ctx, sessionID, orgID, expires) })
}

func (s checked) Active(ctx context.Context, sessionID string) (string, error) {
	return call(s, ctx, func(ctx context.Context) (string, error) { return s.store.Active(ctx, sessionID) })
}

func (s checked) DeleteExpired(ctx context.Context, at time.Time, limit int) (int, error) {
	return call(s, ctx, func(ctx context.Context) (int, error) { return s.store.DeleteExpired(ctx, at, limit) })
}
