package authkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MethodRecovery is the [SecondFactor].Method of recovery codes. A login that
// used one emits [EventRecoveryUsed].
const MethodRecovery = "recovery"

// factorFresh is how old the login of a user may be who changes factors.
const factorFresh = 5 * time.Minute

// An Enroller is a [SecondFactor] that users set up themselves: logged in with
// [Kit.EnrollFactor] and [Kit.ConfirmFactor], or during a login that
// [Config].RequireFactors does not let pass otherwise. The Kit authorizes the
// change, calls these methods within its transaction, ends the user's other
// sessions and emits the event.
type Enroller interface {
	SecondFactor

	// BeginEnrollment starts to set up the factor for a user. It returns the
	// data for the client, such as a secret, as a value that encodes as a JSON
	// object. The factor does not count before ConfirmEnrollment. A later call
	// replaces an earlier one. It returns ErrFactorEnrolled if the user has the
	// factor and cannot have another.
	BeginEnrollment(ctx context.Context, u User) (any, error)

	// ConfirmEnrollment sets up the factor if the response is right. It returns
	// the data that the client must show once, such as recovery codes, as a
	// value that encodes as a JSON object, or nil. It returns ErrInvalidCode
	// for a wrong response. Verify does not accept the same response later.
	ConfirmEnrollment(ctx context.Context, u User, response string) (any, error)

	// Unenroll removes the factor of a user with all of its credentials. It
	// returns nil if there is none. It may return ErrLastFactor if users remove
	// their only way to log in.
	Unenroll(ctx context.Context, userID string) error
}

// A FactorCounter is a [SecondFactor] of which a user can have several, such as
// passkeys. A user who must have a factor can remove one of them if Count is
// more than one. For other factors the number is one.
type FactorCounter interface {
	SecondFactor

	// Count returns the number of credentials that the user has set up.
	Count(ctx context.Context, userID string) (int, error)
}

// A FactorStatus describes the second factors of a user. Its JSON form is for
// the user's settings page.
type FactorStatus struct {
	Enrolled  []string `json:"enrolled"`  // the methods that the user has set up
	Available []string `json:"available"` // the methods that the user can set up, whether or not that is done

	// Required reports that the user must have a factor by
	// [Config].RequireFactors. RequiredFrom is when that takes effect; zero if
	// it has none.
	Required     bool      `json:"required"`
	RequiredFrom time.Time `json:"required_from,omitzero"`
}

// Factors returns which second factors a user has and can have.
//
// The errors are ErrUserNotFound, ErrUnavailable, or the error of ctx.
func (k *Kit) Factors(ctx context.Context, userID string) (FactorStatus, error) {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return FactorStatus{}, err
	}
	enrolled, err := k.enrolled(ctx, userID)
	if err != nil {
		return FactorStatus{}, err
	}
	status := FactorStatus{Enrolled: enrolled, Available: []string{}, Required: k.required.covers(&u.User)}
	if status.Required {
		status.RequiredFrom = k.required.From
	}
	for _, f := range k.factors {
		if _, ok := f.(Enroller); ok {
			status.Available = append(status.Available, f.Method())
		}
	}
	return status, nil
}

// enrolled returns the methods of the factors that a user has set up.
func (k *Kit) enrolled(ctx context.Context, userID string) ([]string, error) {
	methods := []string{}
	for _, f := range k.factors {
		ok, err := f.Enrolled(ctx, userID)
		if err != nil {
			return nil, storeError(ctx, err)
		}
		if ok {
			methods = append(methods, f.Method())
		}
	}
	return methods, nil
}

// factor returns the second factor of a method, or nil.
func (k *Kit) factor(method string) SecondFactor {
	for _, f := range k.factors {
		if f.Method() == method {
			return f
		}
	}
	return nil
}

// enroller returns the second factor of a method, if users can set it up.
func (k *Kit) enroller(method string) (Enroller, error) {
	if e, ok := k.factor(method).(Enroller); ok {
		return e, nil
	}
	return nil, ErrNoFactor
}

// EnrollFactor starts to set up a second factor for a user, and returns the data
// for the client; see [Enroller]. The factor counts after [Kit.ConfirmFactor].
//
// The errors are those of [Kit.ChangeFactor], ErrNoFactor if no [Enroller] has
// the method, and ErrFactorEnrolled if the user has the factor and cannot have
// another.
func (k *Kit) EnrollFactor(ctx context.Context, userID, method string) (any, error) {
	f, err := k.enroller(method)
	if err != nil {
		return nil, err
	}
	u, err := k.mayChangeFactors(ctx, userID, EventFactorAdded)
	if err != nil {
		return nil, err
	}
	return k.beginEnrollment(ctx, f, u.User)
}

// beginEnrollment starts to set up a factor.
func (k *Kit) beginEnrollment(ctx context.Context, f Enroller, u User) (any, error) {
	data, err := f.BeginEnrollment(ctx, u)
	return data, k.factorError(ctx, err)
}

// factorError returns the error of an [Enroller] for callers.
func (k *Kit) factorError(ctx context.Context, err error) error {
	for _, known := range []error{nil, ErrInvalidCode, ErrFactorEnrolled, ErrLastFactor, ErrUnavailable} {
		if errors.Is(err, known) {
			return err
		}
	}
	return k.storeFailed(ctx, err)
}

// ConfirmFactor sets up a second factor, if the response of the user is right.
// It returns the data that the client must show once, such as recovery codes, or
// nil; see [Enroller].
//
// The errors are those of [Kit.ChangeFactor], ErrNoFactor if no [Enroller] has
// the method, ErrInvalidCode if the response is wrong, and a *ThrottledError if
// [Config].Throttle refuses the attempt.
func (k *Kit) ConfirmFactor(ctx context.Context, userID, method, response string) (any, error) {
	f, err := k.enroller(method)
	if err != nil {
		return nil, err
	}
	u, err := k.mayChangeFactors(ctx, userID, EventFactorAdded)
	if err != nil {
		return nil, err
	}
	var data any
	err = k.throttled(ctx, Attempt{Action: ActionCode, Account: u.Email}, func(t *trial) (err error) {
		t.compared = true
		_, data, err = k.confirmEnrollment(ctx, &u, f, response, k.ownSession(ctx, userID), nil)
		return err
	})
	return data, err
}

// confirmEnrollment sets up a factor of an account that was read, and ends its
// sessions but one. It calls also, if not nil, in the same transaction. It
// returns the account as it then is, and the data to show.
func (k *Kit) confirmEnrollment(ctx context.Context, u *StoredUser, f Enroller, response, except string, also func(context.Context) error) (User, any, error) {
	var data any
	var own error // of the factor
	e := Event{Kind: EventFactorAdded, UserID: u.ID, Method: f.Method()}
	changed, err := k.changeFactor(ctx, u, e, except, func(ctx context.Context) error {
		if data, own = f.ConfirmEnrollment(ctx, u.User, response); own != nil || also == nil {
			return own
		}
		return also(ctx)
	})
	switch {
	case err != nil && err == own:
		return User{}, nil, k.factorError(ctx, err)
	case err != nil:
		return User{}, nil, err
	}
	return changed, data, nil
}

// RemoveFactor removes a second factor of a user with all of its credentials. If
// the user does not have it, nothing changes.
//
// The errors are those of [Kit.ChangeFactor], and ErrNoFactor if no [Enroller]
// has the method.
func (k *Kit) RemoveFactor(ctx context.Context, userID, method string) error {
	f, err := k.enroller(method)
	if err != nil {
		return err
	}
	u, err := k.mayChangeFactors(ctx, userID, EventFactorRemoved)
	if err != nil {
		return err
	}
	if enrolled, err := f.Enrolled(ctx, userID); err != nil || !enrolled {
		return k.factorError(ctx, err)
	}
	var own error // of the factor
	e := Event{Kind: EventFactorRemoved, UserID: userID, Method: method}
	_, err = k.changeFactor(ctx, &u, e, k.ownSession(ctx, userID), func(ctx context.Context) error {
		if own = k.keepsFactor(ctx, &u, method, true); own == nil {
			own = f.Unenroll(ctx, userID)
		}
		return own
	})
	if err == own {
		return k.factorError(ctx, err)
	}
	return err
}

// ChangeFactor changes a second factor of the account e.UserID. Features call it
// for every change that [Kit.ConfirmFactor] and [Kit.RemoveFactor] do not make.
// It authorizes the change, calls change in a transaction (see [Kit.InTx]), ends
// the user's sessions except that of the principal, and emits e. A change also
// voids pending logins, links to reset the password, and trusted devices. The
// Kind of e is EventFactorAdded, EventFactorRemoved or EventRecoveryRenewed. Its
// Method is that of the factor. Other fields are ignored.
//
// If ctx has a principal, it must be a login. Users change the factors of their
// own account, within five minutes after the login. If they have a factor, the
// login must have used it. Administrators, which have [Config].AdminRole, can
// remove the factors of every account, and add none. API keys, limited credentials, and
// administrators who impersonate a user, change none. Without a principal, or by
// [WithSystem], your program acts.
//
// Put the same rule on the route, with [Policy.Fresh], so that it is visible in
// the access matrix.
//
// The errors are:
//   - ErrForbidden if the principal may not make the change.
//   - A [*StepUpError] if the user must log in again.
//   - ErrLastFactor if the user must have a factor and this is the last one.
//   - ErrUserNotFound, or ErrConflict if the account is changed at the same
//     time.
//   - That of change, unchanged.
//   - ErrUnavailable, or the error of ctx. If sessions are in another store,
//     which fails after the change, all sessions and tokens of the account end.
func (k *Kit) ChangeFactor(ctx context.Context, e Event, change func(ctx context.Context) error) error {
	switch e.Kind {
	case EventFactorAdded, EventFactorRemoved, EventRecoveryRenewed:
	default:
		return fmt.Errorf("authkit: ChangeFactor: %q is no change of a factor", e.Kind)
	}
	u, err := k.mayChangeFactors(ctx, e.UserID, e.Kind)
	if err != nil {
		return err
	}
	e = Event{Kind: e.Kind, UserID: e.UserID, Method: e.Method}
	_, err = k.changeFactor(ctx, &u, e, k.ownSession(ctx, e.UserID), change)
	return err
}

// ResetFactors removes all second factors of an account, for a user who has lost
// them. It ends all sessions and tokens of the account.
//
// A principal in ctx must be a login of another user, which is able to grant all
// roles of the account, as in [Kit.SetPassword]. Your program must authorize the
// change, and find out by other means that the user asks for it: afterwards the
// password alone is enough to log in.
//
// The errors are ErrForbidden, ErrUserNotFound, ErrConflict if the account is
// changed at the same time, any error of a factor, ErrUnavailable, or the error of
// ctx.
func (k *Kit) ResetFactors(ctx context.Context, userID string) error {
	u, err := k.stored(ctx, userID)
	if err != nil {
		return err
	}
	if err := k.mayControl(ctx, &u.User); err != nil {
		return err
	}
	if k.isSelf(ctx, userID) { // users remove their factors one by one, by stricter rules
		return k.forbid(ctx, userID, ReasonMissingFactor)
	}
	_, err = k.changeFactor(ctx, &u, Event{Kind: EventFactorReset, UserID: userID}, "", func(ctx context.Context) error {
		return k.unenrollAll(ctx, userID)
	})
	return err
}

// unenrollAll removes all factors of a user.
func (k *Kit) unenrollAll(ctx context.Context, userID string) error {
	for _, f := range k.factors {
		var err error
		switch f := f.(type) {
		case Enroller:
			err = f.Unenroll(ctx, userID)
		case UserData:
			err = f.Wipe(ctx, userID, WipeCredentials)
		default:
			return &callbackError{"SecondFactor " + f.Method(), errors.New("is neither an Enroller nor a UserData, so it cannot be removed")}
		}
		if err != nil {
			return k.featureFailed(ctx, "SecondFactor "+f.Method(), err)
		}
	}
	return nil
}

// isSelf reports whether the principal of ctx is the user.
func (k *Kit) isSelf(ctx context.Context, userID string) bool {
	c := fromContext(ctx)
	return c != nil && c.user.ID == userID
}

// ownSession returns the session of the principal of ctx, if it is the user.
func (k *Kit) ownSession(ctx context.Context, userID string) string {
	if p, _ := k.principal(ctx); k.sessions != nil && p.UserID == userID {
		return p.SessionID
	}
	return ""
}

// mayChangeFactors returns the account, or why the principal of ctx may not
// change its factors.
//
// Only the user may add a factor or renew the recovery codes, since they log in
// with them.
func (k *Kit) mayChangeFactors(ctx context.Context, userID string, kind EventKind) (StoredUser, error) {
	if err := k.mayAct(ctx); err != nil {
		return StoredUser{}, err
	}
	c := fromContext(ctx)
	if c != nil && c.guard != nil {
		switch {
		case !c.isLogin():
			return StoredUser{}, k.forbid(ctx, c.user.ID, ReasonMachine)
		case c.user.ID == userID:
			// The account comes first: a factor that is set up after this read
			// fails the change, and one that was set up before is asked for.
			u, err := k.stored(ctx, userID)
			if err == nil {
				err = k.mayChangeOwn(ctx, c)
			}
			return u, err
		case kind != EventFactorRemoved || !slices.Contains(c.user.Roles, k.adminRole):
			return StoredUser{}, k.forbid(ctx, c.user.ID, ReasonMissingRole)
		}
	}
	return k.stored(ctx, userID)
}

// mayChangeOwn returns a *StepUpError if the login of a user is too old to
// change factors, or did not use the factor that the user has. A session that
// skipped the factor on a trusted device did not.
func (k *Kit) mayChangeOwn(ctx context.Context, c *requestContext) error {
	enrolled, err := k.enrolled(ctx, c.user.ID)
	if err != nil {
		return err
	}
	policy := Authenticated().Fresh(factorFresh)
	if len(enrolled) > 0 {
		policy = policy.Using(MethodMultiple)
	}
	facts := c.facts()
	return policy.check(&facts)
}

// changeFactor changes a factor of an account that was read, and ends its
// sessions but one. It returns the account as it then is.
func (k *Kit) changeFactor(ctx context.Context, u *StoredUser, e Event, except string, change func(context.Context) error) (User, error) {
	update := UserUpdate{IfVersion: u.Version}
	at := now()
	if except == "" {
		at = nextSecond(at) // tokens are dated in whole seconds
		update.TokensValidAfter = &at
	}
	var changed User
	var own error // of change
	err := k.inTxAfter(ctx, func(ctx context.Context) (err error) {
		own = nil
		// The update also keeps others from changing the account, and thus its
		// factors, before the end of the transaction.
		changed, err = k.users.UpdateUser(ctx, u.ID, update, now())
		return err
	}, func(ctx context.Context) error {
		if e.Kind == EventFactorRemoved {
			if err := k.keepsFactor(ctx, u, e.Method, false); err != nil {
				return err
			}
		}
		// The devices come first: a factor may be in a store that does not join the
		// transaction, and its change must not be left without the rest.
		if err := k.forgetDevices(ctx, u.ID); err != nil {
			return err
		}
		if own = change(ctx); own != nil {
			return own
		}
		if k.shared() {
			if err := k.revoke(ctx, &changed, except, at); err != nil {
				return err
			}
		}
		k.emit(ctx, e)
		return nil
	})
	switch {
	case own != nil:
		return User{}, own
	case errors.Is(err, ErrLastFactor):
		return User{}, err
	case err != nil:
		return User{}, k.userError(ctx, err)
	case !k.shared():
		err = k.revokeAfter(ctx, &changed, except, at)
	}
	return changed, err
}

// forgetDevices removes the trusted devices of a user.
func (k *Kit) forgetDevices(ctx context.Context, userID string) error {
	if k.devices == nil {
		return nil
	}
	return k.devices.Wipe(ctx, userID, WipeCredentials)
}

// keepsFactor returns ErrLastFactor if a user, who must have a factor, is about to
// remove one or all credentials of a method and has no other (MF-11). Factors
// that users cannot set up, such as recovery codes, do not count.
func (k *Kit) keepsFactor(ctx context.Context, u *StoredUser, method string, all bool) error {
	if !k.isSelf(ctx, u.ID) || !k.required.now(&u.User) {
		return nil
	}
	left := 0
	for _, f := range k.factors {
		if _, ok := f.(Enroller); !ok {
			continue
		}
		n, err := countOf(ctx, f, u.ID)
		if err != nil {
			return err
		}
		switch {
		case f.Method() != method:
		case all:
			n = 0
		default:
			n = max(0, n-1)
		}
		left += n
	}
	if left == 0 {
		return ErrLastFactor
	}
	return nil
}

// countOf returns how many credentials of a factor a user has.
func countOf(ctx context.Context, f SecondFactor, userID string) (int, error) {
	enrolled, err := f.Enrolled(ctx, userID)
	if err != nil || !enrolled {
		return 0, err
	}
	if c, ok := f.(FactorCounter); ok {
		return c.Count(ctx, userID)
	}
	return 1, nil
}
