// Package org adds organizations: groups of users inside one tenant, with
// memberships, separate roles and invitations.
//
//	store := orgsql.New(db)
//	kit, err := authkit.New(authkit.Config{
//		UserData: []authkit.UserData{org.UserData(store)},
//		...
//	})
//	...
//	orgs, err := org.New(kit, org.Config{Store: store, Send: sendInvitation})
//	...
//	orgs.Mount(mux, "/orgs")
//	mux.Handle("POST /orgs/{org}/projects", orgs.Member("project:write"), h)
//
// A tenant is a partition of accounts; see sqlstore.Options. An organization is
// rows inside it. A user can be a member of many.
//
// # Actors
//
// Each method acts for the principal of its context. It must be a login of a
// user: API keys, limited credentials and impersonators are refused. Your program
// itself acts with [authkit.WithSystem]. It may do everything that an owner may.
// A context without a principal is refused.
//
// # Roles
//
// Roles of an organization are those of [Config].Roles. They are separate from
// the roles of accounts. The role [Owner] has every permission. Users grant and
// remove roles that they hold themselves, and owners all roles.
//
// An organization always has an owner. The account of that owner can be
// disabled: your program can then make another member an owner, with
// [authkit.WithSystem].
//
// # When changes take effect
//
// Memberships are read from the store at each request, so a removal takes effect
// at the next request on every instance. No token carries them.
package org

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

const (
	// Owner is the role with every permission of [Config].Roles and with
	// [ManageMembers]. Only owners grant it and delete the organization.
	Owner = "owner"

	// ManageMembers is the permission to invite and to remove members, and to
	// change their roles.
	ManageMembers = "org:members"
)

const (
	maxInviteLife = 7 * 24 * time.Hour // OR-01
	maxName       = 128                // characters
	maxOrgs       = 100                // of a user, to create another one
	maxPending    = 100                // invitations of an organization
	maxPage       = 100
	storeTimeout  = 5 * time.Second
	tries         = 64 // of a change, if others change the organization at the same time
	kind          = "org_invitation"
)

// ErrLimit is returned if a user has 100 memberships and creates an
// organization, or if an organization has 100 pending invitations.
var ErrLimit = errors.New("org: too many")

// Config configures [Orgs].
type Config struct {
	// Store keeps the organizations. It is required. Pass the same one to
	// [UserData]. A [MemoryStore] loses them when the program ends. Package
	// orgsql has another Store.
	Store Store

	// Roles are the roles of members, each with its permissions. The role
	// [Owner] always exists; leave it out. If nil, they are "admin", with [ManageMembers], and
	// "member".
	Roles map[string][]string

	// Send mails an invitation to its address. It is required. [Orgs.Invite]
	// calls it after the invitation was stored, with a deadline of 10 seconds. If
	// it returns an error, the invitation is revoked. It must be safe for
	// concurrent use.
	Send func(ctx context.Context, i Invite) error

	// InviteLife is how long an invitation is valid. If zero, it is 7 days,
	// which is also the maximum.
	InviteLife time.Duration
}

// Orgs are the organizations of a Kit. Make one with [New]. It is safe for
// concurrent use.
type Orgs struct {
	kit   *authkit.Kit
	users authkit.UserStore
	store checked
	roles map[string][]string // without Owner
	send  func(context.Context, Invite) error
	life  time.Duration
}

// New returns Orgs for the users of a Kit, or an error that joins all problems of
// cfg. The Kit needs [UserData] with the same store in
// authkit.Config.UserData, so that memberships end with accounts.
func New(kit *authkit.Kit, cfg Config) (*Orgs, error) {
	if kit == nil {
		return nil, errors.New("org: the Kit is nil")
	}
	var errs []error
	problem := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("org: Config."+field+": "+format, args...))
	}
	settings := kit.Settings()
	if cfg.Store == nil {
		problem("Store", "is nil; set one, such as NewMemoryStore(), also in UserData of the Kit")
	}
	if m, ok := cfg.Store.(*MemoryStore); ok && (m == nil || m.orgs == nil) {
		problem("Store", "an empty MemoryStore; make it with NewMemoryStore")
	}
	if !slices.ContainsFunc(settings.UserData, func(d authkit.UserData) bool {
		own, _ := d.(userData)
		return cfg.Store != nil && reflect.TypeOf(cfg.Store).Comparable() && own.store == cfg.Store
	}) {
		errs = append(errs, errors.New("org: the Kit has no org.UserData with this store; add it to authkit.Config.UserData"))
	}
	if cfg.Send == nil {
		problem("Send", "is nil; set a function that mails the invitation")
	}
	life := cmp.Or(cfg.InviteLife, maxInviteLife)
	if life < 0 || life > maxInviteLife {
		problem("InviteLife", "%v; use up to %v, or 0 for that", life, maxInviteLife)
	}
	roles := map[string][]string{"admin": {ManageMembers}, "member": {}}
	if cfg.Roles != nil {
		roles = map[string][]string{}
	}
	for role, permissions := range cfg.Roles {
		for _, name := range append([]string{role}, permissions...) {
			if !roleForm.MatchString(name) {
				problem("Roles", "%q; use 1 to 64 of A-Z, a-z, 0-9, colon, dot, hyphen, underscore", name)
			}
		}
		if roles[role] = slices.Clone(permissions); role == Owner {
			problem("Roles", "the role %q always exists, with every permission; leave it out", Owner)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	store := checked{cfg.Store, settings.StoreTimeout, kit}
	return &Orgs{kit: kit, users: settings.Users, store: store, roles: roles, send: cfg.Send, life: life}, nil
}

// roleForm is the form of the name of a role or a permission.
var roleForm = regexp.MustCompile(`^[A-Za-z0-9:._-]{1,64}$`)

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// holds reports whether roles grant a permission.
func (o *Orgs) holds(roles []string, permission string) bool {
	return slices.Contains(roles, Owner) || slices.ContainsFunc(roles, func(role string) bool {
		return slices.Contains(o.roles[role], permission)
	})
}

// covers reports whether a holder of some roles may grant others (OR-02).
func covers(held, granted []string) bool {
	return slices.Contains(held, Owner) || !slices.ContainsFunc(granted, func(role string) bool {
		return !slices.Contains(held, role)
	})
}

// checkRoles returns a *ValidationError if a member cannot have the roles.
func (o *Orgs) checkRoles(roles []string) error {
	ok := len(roles) > 0
	for i, role := range roles {
		_, known := o.roles[role]
		ok = ok && (known || role == Owner) && !slices.Contains(roles[:i], role)
	}
	if !ok {
		return invalid("roles", "must be roles of organizations, each once, and at least one")
	}
	return nil
}

func invalid(field, message string) error {
	return &authkit.ValidationError{Fields: []authkit.FieldError{{Field: field, Message: message}}}
}

// checkName returns a *ValidationError if an organization cannot have the name.
func checkName(name string) error {
	if name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName || strings.TrimSpace(name) != name ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return invalid("name", fmt.Sprintf("must be 1 to %d characters that print, without spaces around them", maxName))
	}
	return nil
}

// An actor is the party that calls a method.
type actor struct {
	userID string // empty for the program itself
	system bool
}

// actor returns the actor of ctx, or ErrForbidden.
func (o *Orgs) actor(ctx context.Context) (actor, error) {
	p, _ := authkit.PrincipalFrom(ctx)
	switch {
	case p.Kind == authkit.System:
		return actor{system: true}, nil
	case p.UserID == "":
		return actor{}, authkit.ErrForbidden
	}
	return actor{userID: p.UserID}, o.kit.RequireSelf(ctx, p.UserID)
}

// user is like actor for methods that only a user can call.
func (o *Orgs) user(ctx context.Context) (string, error) {
	who, err := o.actor(ctx)
	if who.system {
		err = authkit.ErrForbidden
	}
	return who.userID, err
}

// rolesOf returns the roles with which an actor acts in an organization. The
// error is ErrNotFound if the actor is not a member (OR-04).
func (o *Orgs) rolesOf(ctx context.Context, orgID string, who actor) ([]string, error) {
	if who.system {
		return []string{Owner}, nil
	}
	m, err := o.store.Member(ctx, orgID, who.userID)
	return m.Roles, err
}

// manager is rolesOf for an actor with [ManageMembers].
func (o *Orgs) manager(ctx context.Context, orgID string, who actor) ([]string, error) {
	roles, err := o.rolesOf(ctx, orgID, who)
	if err == nil && !o.holds(roles, ManageMembers) {
		err = authkit.ErrForbidden
	}
	return roles, err
}

// change makes a change of an organization. The function decide reads what it
// needs and returns the change, which takes effect only if nothing in the
// organization has changed since. Otherwise change calls it again.
func (o *Orgs) change(ctx context.Context, orgID string, decide func(ctx context.Context) (Change, authkit.Event, error)) error {
	for try := 1; ; try++ {
		var conflict bool
		err := o.kit.InTx(ctx, func(ctx context.Context) error {
			_, version, err := o.store.Org(ctx, orgID)
			if err != nil {
				return err
			}
			c, event, err := decide(ctx)
			if err != nil {
				return err
			}
			err = o.store.Apply(ctx, orgID, version, c)
			if conflict = errors.Is(err, ErrConflict); conflict {
				return nil // nothing has changed; an error would end a transaction of the caller
			}
			if err != nil {
				return err
			}
			if event.Kind == authkit.EventMemberAdded {
				if err := o.confirm(ctx, orgID, event.UserID); err != nil {
					return err
				}
			}
			event.OrgID = orgID
			o.kit.Emit(ctx, event)
			return nil
		})
		if err != nil || !conflict {
			return err
		}
		if try == tries {
			return authkit.ErrConflict
		}
	}
}

// confirm ends a membership that was just stored, with ErrForbidden, if the
// account is deleted or disabled by now, and if that cannot be found out. To find
// out it changes the version of the account. In a database,
// [authkit.Kit.DeleteUser] waits for the end of a transaction with that change,
// starts again and finds the membership.
func (o *Orgs) confirm(ctx context.Context, orgID, userID string) error {
	_, err := call(o.store, ctx, func(ctx context.Context) (authkit.User, error) {
		u, err := o.users.UpdateUser(ctx, userID, authkit.UserUpdate{}, now())
		if errors.Is(err, authkit.ErrUserNotFound) || err == nil && u.Disabled {
			err = authkit.ErrNotFound
		}
		return u, err
	})
	if err != nil { // without transactions, the membership would stay
		_ = leave(context.WithoutCancel(ctx), o.store, Membership{Org: Org{ID: orgID}}, userID)
	}
	if errors.Is(err, authkit.ErrNotFound) {
		return authkit.ErrForbidden
	}
	return err
}

// Create creates an organization, with the user of ctx as its owner. It changes
// the version of the account, which ends the pending logins, links and codes of
// its user. The errors are a *ValidationError for the name, ErrForbidden, also if
// the account is deleted or disabled at the same time, [ErrLimit], ErrUnavailable,
// or the error of ctx.
func (o *Orgs) Create(ctx context.Context, name string) (Membership, error) {
	userID, err := o.user(ctx)
	if err != nil {
		return Membership{}, err
	}
	if err := checkName(name); err != nil {
		return Membership{}, err
	}
	mine, err := o.store.Memberships(ctx, userID)
	if err != nil {
		return Membership{}, err
	}
	if len(mine) >= maxOrgs {
		return Membership{}, ErrLimit
	}
	created := Org{ID: newID(), Name: name, CreatedAt: now()}
	owner := Member{OrgID: created.ID, UserID: userID, Roles: []string{Owner}, JoinedAt: created.CreatedAt}
	err = o.kit.InTx(ctx, func(ctx context.Context) error {
		if err := o.store.CreateOrg(ctx, created, owner); err != nil {
			return err
		}
		if err := o.confirm(ctx, created.ID, userID); err != nil {
			return err
		}
		o.kit.Emit(ctx, authkit.Event{Kind: authkit.EventOrgCreated, UserID: userID, OrgID: created.ID})
		return nil
	})
	return Membership{Org: created, Roles: owner.Roles, JoinedAt: owner.JoinedAt}, err
}

// List returns the memberships of the user of ctx, in the order of the IDs of
// the organizations. The errors are ErrForbidden, ErrUnavailable, or the error of
// ctx.
func (o *Orgs) List(ctx context.Context) ([]Membership, error) {
	userID, err := o.user(ctx)
	if err != nil {
		return nil, err
	}
	list, err := o.store.Memberships(ctx, userID)
	if err != nil {
		return nil, err
	}
	p, _ := authkit.PrincipalFrom(ctx)
	active, err := o.store.Active(ctx, p.SessionID)
	if errors.Is(err, authkit.ErrNotFound) {
		return list, nil
	}
	for i := range list {
		list[i].Active = list[i].Org.ID == active
	}
	return list, err
}

// Members returns at most limit members of an organization, those whose user IDs
// follow after, in the order of user IDs. A limit outside of 1 to 100 is 100. The
// user of ctx must be a member; otherwise the error is ErrNotFound.
func (o *Orgs) Members(ctx context.Context, orgID, after string, limit int) ([]Member, error) {
	who, err := o.actor(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := o.rolesOf(ctx, orgID, who); err != nil {
		return nil, err
	}
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	return o.store.Members(ctx, orgID, after, limit)
}

// SetRoles replaces the roles of a member. The user of ctx needs
// [ManageMembers], and must hold every role that is added or taken away; an
// owner holds all.
//
// The errors are:
//   - ErrNotFound if the user of ctx or the other user is not a member.
//   - ErrForbidden if the user of ctx may not make the change.
//   - A *ValidationError for the roles.
//   - ErrLastOwner if the organization would have no owner.
//   - ErrConflict if the organization keeps changing.
//   - ErrUnavailable, or the error of ctx.
func (o *Orgs) SetRoles(ctx context.Context, orgID, userID string, roles ...string) (Member, error) {
	who, err := o.actor(ctx)
	if err != nil {
		return Member{}, err
	}
	var changed Member
	err = o.change(ctx, orgID, func(ctx context.Context) (Change, authkit.Event, error) {
		event := authkit.Event{Kind: authkit.EventMemberChanged, UserID: userID}
		held, err := o.manager(ctx, orgID, who)
		if err != nil {
			return Change{}, event, err
		}
		if err := o.checkRoles(roles); err != nil {
			return Change{}, event, err
		}
		m, err := o.store.Member(ctx, orgID, userID)
		if err != nil {
			return Change{}, event, err
		}
		if !covers(held, difference(m.Roles, roles)) || !covers(held, difference(roles, m.Roles)) {
			return Change{}, event, authkit.ErrForbidden
		}
		if err := o.keepOwner(ctx, m, roles); err != nil {
			return Change{}, event, err
		}
		m.Roles = slices.Clone(roles)
		changed = m
		return Change{PutMember: &m}, event, nil
	})
	return changed, err
}

// difference returns the roles that are not among others.
func difference(roles, others []string) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return slices.Contains(others, r) })
}

// keepOwner returns ErrLastOwner if a member is the last owner and would not be
// one with other roles (OR-05).
func (o *Orgs) keepOwner(ctx context.Context, m Member, roles []string) error {
	if !slices.Contains(m.Roles, Owner) || slices.Contains(roles, Owner) {
		return nil
	}
	other, err := o.store.HasOtherOwner(ctx, m.OrgID, m.UserID)
	if err == nil && !other {
		err = authkit.ErrLastOwner
	}
	return err
}

// Remove removes a member. Every member can remove itself. To remove another
// one, the user of ctx needs [ManageMembers] and must hold all roles of that
// member; an owner holds all. The errors are those of [Orgs.SetRoles].
func (o *Orgs) Remove(ctx context.Context, orgID, userID string) error {
	who, err := o.actor(ctx)
	if err != nil {
		return err
	}
	return o.change(ctx, orgID, func(ctx context.Context) (Change, authkit.Event, error) {
		event := authkit.Event{Kind: authkit.EventMemberRemoved, UserID: userID}
		held, err := o.rolesOf(ctx, orgID, who)
		if err != nil {
			return Change{}, event, err
		}
		self := who.userID == userID
		if !self && !o.holds(held, ManageMembers) {
			return Change{}, event, authkit.ErrForbidden
		}
		m, err := o.store.Member(ctx, orgID, userID)
		if err != nil {
			return Change{}, event, err
		}
		if !covers(held, m.Roles) {
			return Change{}, event, authkit.ErrForbidden
		}
		return Change{RemoveMember: userID}, event, o.keepOwner(ctx, m, nil)
	})
}

// Delete deletes an organization with its memberships and invitations. The user
// of ctx must be an owner. The errors are ErrNotFound, ErrForbidden, ErrConflict,
// ErrUnavailable, or the error of ctx.
//
// Delete your own rows of the organization in the same transaction: call it in
// [authkit.Kit.InTx]. Credentials of the organization itself, such as keys of a
// service, are among these rows.
func (o *Orgs) Delete(ctx context.Context, orgID string) error {
	who, err := o.actor(ctx)
	if err != nil {
		return err
	}
	return o.change(ctx, orgID, func(ctx context.Context) (Change, authkit.Event, error) {
		event := authkit.Event{Kind: authkit.EventOrgDeleted}
		held, err := o.rolesOf(ctx, orgID, who)
		if err == nil && !slices.Contains(held, Owner) {
			err = authkit.ErrForbidden
		}
		return Change{Delete: true}, event, err
	})
}

// Run deletes expired invitations and choices of [Orgs.Switch] every hour, until
// ctx is done. It returns the error of ctx. Every instance can run it.
func (o *Orgs) Run(ctx context.Context) error {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		o.deleteExpired(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// deleteExpired deletes in steps, until a step finds little. The store reports
// its errors.
func (o *Orgs) deleteExpired(ctx context.Context) {
	const step = 500
	for {
		if n, err := o.store.DeleteExpired(ctx, now(), step); err != nil || n < step {
			return
		}
	}
}
