package oidclogin

import (
	"context"
	"errors"
	"slices"

	"github.com/authkit-go/authkit"
)

// loginTries are the tries of a login whose account or identity another login
// creates at the same time.
const loginTries = 3

// logIn logs in the user of an identity. It creates the account if there is
// none. prove runs within the throttle.
func (l *Logins) logIn(ctx context.Context, p *provider, action string, prove func(context.Context) (person, error)) (authkit.Token, person, error) {
	var who person
	token, err := l.kit.LoginWith(ctx, authkit.Attempt{Action: action}, func(ctx context.Context) (authkit.Proof, error) {
		var err error
		if who, err = prove(ctx); err != nil {
			return authkit.Proof{}, err
		}
		return l.proof(ctx, p, p.Email, who)
	})
	return token, who, err
}

// proof returns the account of an identity.
func (l *Logins) proof(ctx context.Context, p *provider, trust EmailTrust, who person) (authkit.Proof, error) {
	for try := 1; ; try++ {
		proof, err := l.known(ctx, p, who)
		if !errors.Is(err, ErrNoIdentity) {
			return proof, err
		}
		// Insert first, then handle the conflict: another login may do the same
		// at this moment (OA-15).
		if err := l.adopt(ctx, p, trust, who); err != nil && (!lostRace(err) || try == loginTries) {
			return authkit.Proof{}, err
		}
		if try > loginTries { // the identity is removed again and again
			return authkit.Proof{}, authkit.ErrInvalidCredentials
		}
	}
}

// known returns the account of an identity, or ErrNoIdentity. The identity is
// read after the version of the account: if it is unlinked later, the version
// has changed, and the login fails.
func (l *Logins) known(ctx context.Context, p *provider, who person) (authkit.Proof, error) {
	found, err := l.store.IdentityBySubject(ctx, p.Issuer, who.Subject)
	if err != nil {
		return authkit.Proof{}, l.lookupFailed(ctx, err)
	}
	u, err := l.kit.User(ctx, found.UserID)
	if err != nil {
		return authkit.Proof{}, err
	}
	again, err := l.store.IdentityBySubject(ctx, p.Issuer, who.Subject)
	if err != nil {
		return authkit.Proof{}, l.lookupFailed(ctx, err)
	}
	if again.ID != found.ID {
		return authkit.Proof{}, authkit.ErrInvalidCredentials
	}
	proof := authkit.Proof{UserID: u.ID, Methods: []string{MethodFederated}, AuthTime: who.AuthTime, Version: u.Version}
	return proof, l.keepTokens(ctx, found, who)
}

// lookupFailed returns ErrNoIdentity, or the error of the store for callers.
func (l *Logins) lookupFailed(ctx context.Context, err error) error {
	if errors.Is(err, ErrNoIdentity) {
		return err
	}
	return l.storeFailed(ctx, err)
}

// lostRace reports whether another login created the account or the identity
// first.
func lostRace(err error) bool {
	return errors.Is(err, authkit.ErrEmailTaken) || errors.Is(err, ErrIdentityTaken) || errors.Is(err, authkit.ErrConflict) || errors.Is(err, authkit.ErrUserNotFound)
}

// adopt gives an identity that is not known to an account: to a new one, or to
// the one with its address, where that is on. It is the only place in which a
// login links an identity.
func (l *Logins) adopt(ctx context.Context, p *provider, trust EmailTrust, who person) error {
	if who.Email == "" || !who.Verified || trust == EmailIgnored {
		return ErrMailboxUnproved // whether or not an account has the address
	}
	ctx = system(ctx)
	u, err := l.kit.UserByEmail(ctx, who.Email)
	switch {
	case errors.Is(err, authkit.ErrUserNotFound):
		return l.create(ctx, p, who)
	case err != nil:
		return err
	case trust != EmailLinks:
		return l.unlessLinked(ctx, p, who, ErrAccountExists)
	case u.Disabled || now().Before(u.LockedUntil):
		return authkit.ErrInvalidCredentials
	}
	return l.linkByEmail(ctx, p, who, u)
}

// unlessLinked returns err, or nil if another login has linked the identity
// meanwhile: the account that exists may be the one that it created.
func (l *Logins) unlessLinked(ctx context.Context, p *provider, who person, err error) error {
	if _, lookup := l.store.IdentityBySubject(ctx, p.Issuer, who.Subject); lookup != nil {
		if e := l.lookupFailed(ctx, lookup); !errors.Is(e, ErrNoIdentity) {
			return e
		}
		return err
	}
	return nil
}

// create creates the account of an identity, whose address is proved.
func (l *Logins) create(ctx context.Context, p *provider, who person) error {
	u := authkit.User{Email: who.Email, FullName: who.Name, Roles: l.roles, EmailVerifiedAt: now()}
	id, err := l.newIdentity(p, who)
	if err != nil {
		return err
	}
	return l.kit.InTx(system(ctx), func(ctx context.Context) error {
		created, err := l.kit.CreateUserWithoutPassword(ctx, u)
		if err != nil {
			return err
		}
		id.UserID = created.ID
		return l.insert(ctx, id)
	})
}

// linkByEmail links an identity to the account with its address. The account
// must not have changed since u was read. If its address was never verified,
// everything that an earlier holder could log in with is removed (OA-04). The
// user is notified by mail.
func (l *Logins) linkByEmail(ctx context.Context, p *provider, who person, u authkit.User) error {
	id, err := l.newIdentity(p, who)
	if err != nil {
		return err
	}
	id.UserID = u.ID
	err = l.kit.InTx(ctx, func(ctx context.Context) error {
		proved, err := l.kit.VerifyEmail(ctx, u.ID, u.Email)
		if err != nil {
			return err
		}
		if proved.Version != u.Version+1 || proved.Disabled || now().Before(proved.LockedUntil) {
			return authkit.ErrConflict
		}
		if u.EmailVerifiedAt.IsZero() {
			if err := l.kit.ResetUser(ctx, u.ID); err != nil {
				return err
			}
		}
		if err := l.insert(ctx, id); err != nil {
			return err
		}
		l.kit.Emit(ctx, authkit.Event{Kind: authkit.EventFactorAdded, UserID: u.ID, Method: MethodFederated})
		return nil
	})
	if err == nil {
		l.notify(ctx, u.ID, "added", p.Label)
	}
	return err
}

// newIdentity returns the identity of a person, without its account.
func (l *Logins) newIdentity(p *provider, who person) (Identity, error) {
	id := Identity{ID: authkit.NewUserID(), Provider: p.Name, Issuer: p.Issuer, Subject: who.Subject, Email: who.Email, CreatedAt: now()}
	var err error
	if who.tokens != nil {
		id.Tokens, err = l.sealTokens(id.ID, who.tokens)
	}
	return id, err
}

// insert stores an identity within a transaction.
func (l *Logins) insert(ctx context.Context, id Identity) error {
	err := l.store.CreateIdentity(ctx, id)
	if err == nil || errors.Is(err, ErrIdentityTaken) {
		return err
	}
	return l.storeFailed(ctx, err)
}

// Identities returns the identities of a user, the oldest first. The caller
// must authorize the call. The errors are ErrUnavailable, and that of ctx.
func (l *Logins) Identities(ctx context.Context, userID string) ([]Identity, error) {
	list, err := l.store.IdentitiesByUser(ctx, userID)
	if err != nil {
		return nil, l.storeFailed(ctx, err)
	}
	slices.SortFunc(list, func(a, b Identity) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return list, nil
}

// link gives an identity to the user of the principal in ctx.
func (l *Logins) link(ctx context.Context, p *provider, userID string, who person) error {
	owned := func() (bool, error) {
		found, err := l.store.IdentityBySubject(ctx, p.Issuer, who.Subject)
		switch {
		case errors.Is(err, ErrNoIdentity):
			return false, nil
		case err != nil:
			return false, l.storeFailed(ctx, err)
		case found.UserID != userID:
			return false, ErrIdentityTaken
		}
		return true, l.keepTokens(ctx, found, who)
	}
	if done, err := owned(); done || err != nil {
		return err
	}
	id, err := l.newIdentity(p, who)
	if err != nil {
		return err
	}
	id.UserID = userID
	event := authkit.Event{Kind: authkit.EventFactorAdded, UserID: userID, Method: MethodFederated}
	err = l.kit.ChangeFactor(ctx, event, func(ctx context.Context) error { return l.insert(ctx, id) })
	if errors.Is(err, ErrIdentityTaken) {
		if done, again := owned(); done || again != nil {
			return again
		}
	}
	if err == nil {
		l.notify(ctx, userID, "added", p.Label)
	}
	return err
}

// Unlink removes an identity of a user, and ends the user's other sessions. The
// last way in which the user can log in stays.
//
// The errors are ErrNoIdentity, ErrLastLogin, and those of
// [authkit.Kit.ChangeFactor]: the principal of ctx must have logged in within
// the last five minutes.
func (l *Logins) Unlink(ctx context.Context, userID, identityID string) error {
	event := authkit.Event{Kind: authkit.EventFactorRemoved, UserID: userID, Method: MethodFederated}
	label := ""
	err := l.kit.ChangeFactor(ctx, event, func(ctx context.Context) error {
		list, err := l.store.IdentitiesByUser(ctx, userID)
		if err != nil {
			return l.storeFailed(ctx, err)
		}
		i := slices.IndexFunc(list, func(id Identity) bool { return id.ID == identityID })
		if i < 0 {
			return ErrNoIdentity
		}
		label = list[i].Provider
		usable := slices.ContainsFunc(list, func(id Identity) bool { return id.ID != identityID && l.serves(id) })
		if !usable {
			if ok, err := l.hasOtherLogin(ctx, userID); err != nil {
				return err
			} else if !ok {
				return ErrLastLogin
			}
		}
		if err := l.store.DeleteIdentity(ctx, userID, identityID); err != nil {
			return l.lookupFailed(ctx, err)
		}
		return nil
	})
	if err == nil {
		l.notify(ctx, userID, "removed", label)
	}
	return err
}

// serves reports whether a login with an identity is possible: a provider that
// left the configuration is no way in.
func (l *Logins) serves(id Identity) bool {
	return slices.ContainsFunc(l.providers, func(p *provider) bool { return p.Issuer == id.Issuer })
}

// hasOtherLogin reports whether a user can log in without an identity.
func (l *Logins) hasOtherLogin(ctx context.Context, userID string) (bool, error) {
	read, cancel := context.WithTimeout(ctx, l.store.timeout)
	defer cancel()
	u, err := l.users.UserByID(read, userID)
	if err != nil {
		return false, l.storeFailed(ctx, err)
	}
	if u.PasswordHash != "" || l.other == nil {
		return u.PasswordHash != "", nil
	}
	return l.other(ctx, userID)
}
