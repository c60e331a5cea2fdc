package authkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A FactorPolicy selects the users who must have a second factor. A user who
// must have one and has none gets no session: the login fails with a
// [ChallengeError], and is completed by setting up a factor.
//
// The policy also holds for sessions. From the time on when a user must have a
// factor, such as when the user gets a role, a Kit refuses the access tokens and
// the session cookie of a login that did not use one. Its session ends at the
// next refresh. A [Guard] without accounts accepts such an access token until it
// expires.
type FactorPolicy struct {
	// Everyone selects every user. Roles selects users with at least one of
	// these roles. Set one of the two.
	Everyone bool
	Roles    []string

	// From is when the policy takes effect. Until then the users log in as
	// before; [Kit.Factors] returns the time for a page that asks them to set
	// up a factor. The zero time means at once.
	From time.Time
}

func (p FactorPolicy) clone() FactorPolicy {
	p.Roles = slices.Clone(p.Roles)
	return p
}

// covers reports whether a user must have a factor, now or later.
func (p *FactorPolicy) covers(u *User) bool {
	for _, role := range p.Roles { // a closure would move the account of each request to the heap
		if slices.Contains(u.Roles, role) {
			return true
		}
	}
	return p.Everyone
}

// now reports whether a user must have a factor now.
func (p *FactorPolicy) now(u *User) bool { return p.covers(u) && !time.Now().Before(p.From) }

// validate returns why the policy cannot be used, or nil.
func (p *FactorPolicy) validate(roles roleTable, factors []SecondFactor) error {
	none := !p.Everyone && len(p.Roles) == 0
	switch {
	case none && !p.From.IsZero():
		return errors.New("a time without users; set Everyone or Roles")
	case none:
		return nil
	case p.Everyone && len(p.Roles) > 0:
		return errors.New("both Everyone and Roles; set one of the two")
	}
	for _, role := range p.Roles {
		if !roles.knows(role) {
			return fmt.Errorf("the role %q is not in Config.Roles, or is not well-formed: %s", role, roleRule)
		}
	}
	if !slices.ContainsFunc(factors, func(f SecondFactor) bool { _, ok := f.(Enroller); return ok }) {
		return errors.New("no element of SecondFactors is an Enroller, so users could set up no factor; add one, such as a totp.Factor")
	}
	return nil
}

// describe returns the policy as text.
func (p FactorPolicy) describe() string {
	text := "none"
	if p.Everyone {
		text = "everyone"
	} else if len(p.Roles) > 0 {
		text = strings.Join(p.Roles, " ")
	}
	if !p.From.IsZero() {
		text += ", from " + p.From.UTC().Format(time.RFC3339)
	}
	return text
}

// TrustedDevices decides which devices skip the second factor. A Kit calls it
// after the first factor, if the user has a second one. A login that skipped it
// has [MethodTrustedDevice] instead of "mfa" among its methods, so that it passes
// no policy that is [Policy.Using] a factor, and cannot change factors.
//
// Wipe removes the trusted devices of a user, of whatever [Wipe]. A Kit calls it
// when the password or a factor changes, and when the user logs out everywhere,
// in the transaction of that change. Implementations must be safe for concurrent
// use. [Config].StoreTimeout does not limit the calls: set a deadline.
type TrustedDevices interface {
	UserData

	// Trusted reports whether the client of ctx is a trusted device of the
	// account. It is not if the password hash or TokensValidAfter has changed
	// since the device was trusted.
	Trusted(ctx context.Context, u StoredUser) (bool, error)
}
