package org

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/authkit-go/authkit"
)

// newID returns 128 random bits as text.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// An Invite is an invitation as it is sent to its address.
type Invite struct {
	Invitation
	Org Org

	// Token is the secret of the invitation. Put it into a link to a page of your
	// program, which passes it to [Orgs.Accept] when the user has logged in.
	Token string
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging an Invite does not reveal its token.
func (Invite) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("org.Invite{[redacted]}")) }

// LogValue implements slog.LogValuer. It returns a fixed text.
func (i Invite) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(i)) }

// MarshalJSON returns a fixed text.
func (i Invite) MarshalJSON() ([]byte, error) { return []byte(`"` + fmt.Sprint(i) + `"`), nil }

// Invite invites an address to an organization, with roles, and sends the
// invitation with [Config].Send. The address need not have an account: the person
// signs up with it and then accepts. An earlier invitation of the address to the
// organization is void.
//
// The user of ctx needs [ManageMembers] and must hold all of the roles; an owner
// holds all. The errors are those of [Orgs.SetRoles], a *ThrottledError if the
// address gets too many mails, [ErrLimit], and ErrUnavailable, which wraps the
// error, if Send fails.
func (o *Orgs) Invite(ctx context.Context, orgID, email string, roles ...string) (Invitation, error) {
	who, err := o.actor(ctx)
	if err != nil {
		return Invitation{}, err
	}
	if _, err := o.manager(ctx, orgID, who); err != nil { // before the throttle counts
		return Invitation{}, err
	}
	email, err = authkit.NormalizeEmail(email)
	if err != nil {
		return Invitation{}, invalid("email", "must be an e-mail address")
	}
	if err := o.checkRoles(roles); err != nil {
		return Invitation{}, err
	}
	var sent Invite
	err = o.kit.Admit(ctx, authkit.Attempt{Action: authkit.ActionRegister, Account: email}, func(ctx context.Context) error {
		var err error
		sent, err = o.invite(ctx, who, orgID, email, roles)
		return err
	})
	if err != nil {
		return Invitation{}, err
	}
	if err := o.mail(ctx, sent); err != nil {
		_ = o.revoke(context.WithoutCancel(ctx), orgID, sent.ID) // an invitation that stays expires
		return Invitation{}, err
	}
	return sent.Invitation, nil
}

// sendTimeout limits a call of Config.Send.
const sendTimeout = 10 * time.Second

// mail calls Config.Send. It reports an error, and returns it for callers.
func (o *Orgs) mail(ctx context.Context, i Invite) error {
	timed, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := o.send(timed, i)
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	err = fmt.Errorf("org: Config.Send: %w: %w", authkit.ErrUnavailable, err)
	o.kit.Emit(ctx, authkit.Event{Kind: authkit.EventMailFailure, Reason: authkit.ReasonInternal, Err: err})
	return err
}

// invite stores an invitation.
func (o *Orgs) invite(ctx context.Context, who actor, orgID, email string, roles []string) (Invite, error) {
	ticket, token := authkit.NewTicket(kind, "", o.life)
	i := StoredInvitation{
		Invitation: Invitation{
			ID: ticket.ID, OrgID: orgID, Email: email, Roles: slices.Clone(roles), InvitedBy: who.userID,
			CreatedAt: ticket.CreatedAt, ExpiresAt: ticket.ExpiresAt,
		},
		Hash: ticket.Hash,
	}
	var target Org
	err := o.change(ctx, orgID, func(ctx context.Context) (Change, authkit.Event, error) {
		event := authkit.Event{Kind: authkit.EventMemberInvited}
		held, err := o.manager(ctx, orgID, who)
		if err != nil {
			return Change{}, event, err
		}
		if !covers(held, roles) {
			return Change{}, event, authkit.ErrForbidden
		}
		if target, _, err = o.store.Org(ctx, orgID); err != nil {
			return Change{}, event, err
		}
		pending, err := o.store.Invitations(ctx, orgID)
		if err != nil {
			return Change{}, event, err
		}
		c, at := Change{PutInvitation: &i}, now()
		for _, p := range pending {
			if p.Email == email || !p.ExpiresAt.After(at) {
				c.RemoveInvitations = append(c.RemoveInvitations, p.ID)
			}
		}
		if len(pending)-len(c.RemoveInvitations) >= maxPending {
			return Change{}, event, ErrLimit
		}
		return c, event, nil
	})
	return Invite{i.Invitation, target, token}, err
}

// Invitations returns the pending invitations of an organization, without their
// secrets. The user of ctx needs [ManageMembers]. The errors are ErrNotFound,
// ErrForbidden, ErrUnavailable, or the error of ctx.
func (o *Orgs) Invitations(ctx context.Context, orgID string) ([]Invitation, error) {
	who, err := o.actor(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := o.manager(ctx, orgID, who); err != nil {
		return nil, err
	}
	list, err := o.store.Invitations(ctx, orgID)
	at := now()
	return slices.DeleteFunc(list, func(i Invitation) bool { return !i.ExpiresAt.After(at) }), err
}

// Revoke removes a pending invitation of an organization. The user of ctx needs
// [ManageMembers]. The errors are ErrNotFound, also for an invitation of another
// organization, ErrForbidden, ErrConflict, ErrUnavailable, or the error of ctx.
func (o *Orgs) Revoke(ctx context.Context, orgID, invitationID string) error {
	who, err := o.actor(ctx)
	if err != nil {
		return err
	}
	return o.change(ctx, orgID, func(ctx context.Context) (Change, authkit.Event, error) {
		if _, err := o.manager(ctx, orgID, who); err != nil {
			return Change{}, authkit.Event{}, err
		}
		return o.revocation(ctx, orgID, invitationID)
	})
}

// revoke removes an invitation for the program itself.
func (o *Orgs) revoke(ctx context.Context, orgID, invitationID string) error {
	return o.change(ctx, orgID, func(ctx context.Context) (Change, authkit.Event, error) {
		return o.revocation(ctx, orgID, invitationID)
	})
}

func (o *Orgs) revocation(ctx context.Context, orgID, invitationID string) (Change, authkit.Event, error) {
	event := authkit.Event{Kind: authkit.EventInviteRevoked}
	i, err := o.store.Invitation(ctx, invitationID)
	if err == nil && i.OrgID != orgID {
		err = authkit.ErrNotFound
	}
	return Change{RemoveInvitations: []string{invitationID}}, event, err
}

// invitationTickets lets [authkit.AttemptTicket] check the token of an
// invitation.
type invitationTickets struct {
	authkit.TicketStore // nil; AttemptTicket is the only method that is called

	store Store
	found StoredInvitation
}

// AttemptTicket implements [authkit.TicketStore]. It counts no attempts, because
// 256 random bits cannot be guessed. Accept checks when the invitation expires.
func (s *invitationTickets) AttemptTicket(ctx context.Context, _, id string, _ time.Time) (authkit.Ticket, error) {
	i, err := s.store.Invitation(ctx, id)
	if errors.Is(err, authkit.ErrNotFound) {
		return authkit.Ticket{}, authkit.ErrTicketNotFound
	}
	s.found = i
	return authkit.Ticket{Kind: kind, ID: i.ID, Hash: i.Hash}, err
}

// Accept makes the user of ctx a member by an invitation. The account must have
// the address of the invitation, and the address must be verified. If the user
// is a member already, the invitation is used up and the roles stay. Becoming a
// member changes the version of the account, which ends the pending logins, links
// and codes of its user.
//
// The errors are:
//   - ErrInvalidTicket if the token is unknown, used, revoked or expired, if the
//     invitation is for another address, or if the inviter may not grant its
//     roles any more.
//   - ErrEmailUnverified if the address of the account is not verified.
//   - ErrForbidden if ctx has no user who has logged in, or if the account is
//     deleted or disabled at the same time.
//   - ErrConflict, ErrUnavailable, or the error of ctx. Without transactions, the
//     invitation can be used up then.
func (o *Orgs) Accept(ctx context.Context, token string) (Membership, error) {
	userID, err := o.user(ctx)
	if err != nil {
		return Membership{}, err
	}
	tickets := &invitationTickets{store: o.store}
	if _, err := authkit.AttemptTicket(ctx, tickets, kind, token); err != nil {
		return Membership{}, err
	}
	invitationID, orgID := tickets.found.ID, tickets.found.OrgID
	var joined Membership
	err = o.change(ctx, orgID, func(ctx context.Context) (Change, authkit.Event, error) {
		event := authkit.Event{Kind: authkit.EventMemberAdded, UserID: userID}
		i, err := o.store.Invitation(ctx, invitationID) // unused until now
		if err == nil {
			err = o.acceptable(ctx, i, userID)
		}
		if err != nil {
			return Change{}, event, err
		}
		target, _, err := o.store.Org(ctx, orgID)
		if err != nil {
			return Change{}, event, err
		}
		m, err := o.store.Member(ctx, orgID, userID)
		c := Change{RemoveInvitations: []string{invitationID}}
		if errors.Is(err, authkit.ErrNotFound) {
			m = Member{OrgID: orgID, UserID: userID, Roles: i.Roles, JoinedAt: now()}
			c.PutMember, err = &m, nil
		} else {
			event.Kind = authkit.EventInviteRevoked
		}
		joined = Membership{Org: target, Roles: m.Roles, JoinedAt: m.JoinedAt}
		return c, event, err
	})
	if errors.Is(err, authkit.ErrNotFound) {
		err = authkit.ErrInvalidTicket
	}
	if err != nil {
		return Membership{}, err
	}
	return joined, nil
}

// acceptable returns why a user cannot accept an invitation, or nil (OR-01,
// OR-02).
func (o *Orgs) acceptable(ctx context.Context, i StoredInvitation, userID string) error {
	u, err := o.kit.User(ctx, userID)
	switch {
	case err != nil:
		return err
	case u.Email != i.Email || !i.ExpiresAt.After(now()):
		return authkit.ErrInvalidTicket
	case u.EmailVerifiedAt.IsZero():
		return authkit.ErrEmailUnverified
	case o.checkRoles(i.Roles) != nil: // a role left the table
		return authkit.ErrInvalidTicket
	case i.InvitedBy == "": // the program itself
		return nil
	}
	inviter, err := o.store.Member(ctx, i.OrgID, i.InvitedBy)
	if err == nil && (!o.holds(inviter.Roles, ManageMembers) || !covers(inviter.Roles, i.Roles)) {
		err = authkit.ErrInvalidTicket
	}
	if err != nil {
		return err
	}
	account, err := o.kit.User(ctx, i.InvitedBy)
	if err == nil && account.Disabled {
		err = authkit.ErrInvalidTicket
	}
	return err
}
