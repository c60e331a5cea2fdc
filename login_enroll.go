package authkit

import (
	"context"
	"errors"
)

// EnrollChallenge starts to set up a second factor for the pending login of a
// [ChallengeError] with Enroll. It returns the data for the client, such as a
// secret; see [Enroller]. Then pass the user's response to
// [Kit.AnswerChallenge]. A further call starts anew.
//
// The errors are ErrInvalidCredentials for every refusal, a *ThrottledError if
// [Config].Throttle refuses the attempt, ErrUnavailable if a store failed, or the
// error of ctx.
func (k *Kit) EnrollChallenge(ctx context.Context, token, method string) (any, error) {
	var l login
	data, err := k.enrollPending(ctx, &l, token, method)
	if err != nil {
		e := failureEvent(ctx, EventLoginFailure, err)
		e.UserID = l.user.ID
		k.emit(ctx, e)
	}
	return data, err
}

func (k *Kit) enrollPending(ctx context.Context, l *login, token, method string) (any, error) {
	_, p, err := k.admitPending(ctx, l, token, method)
	if err != nil {
		return nil, err
	}
	f, err := k.enroller(method)
	if err != nil || !p.Enroll {
		return nil, errNoChallenge
	}
	data, err := k.beginEnrollment(ctx, f, l.user.User)
	if errors.Is(err, ErrFactorEnrolled) { // since the login began
		return nil, errAccountChanged
	}
	return data, err
}

// confirmPending sets up the factor of a pending login, and consumes the pending
// login in the same change. It returns the data to show.
func (k *Kit) confirmPending(ctx context.Context, t *trial, l *login, ticket *Ticket, method, response string) (any, error) {
	f, err := k.enroller(method)
	if err != nil {
		return nil, errNoChallenge
	}
	changed, data, err := k.confirmEnrollment(ctx, &l.user, f, response, "", func(ctx context.Context) error {
		return k.consumePending(ctx, ticket)
	})
	switch {
	case errors.Is(err, ErrInvalidCode):
		return nil, errWrongEnrollment
	case errors.Is(err, ErrConflict), errors.Is(err, ErrUserNotFound), errors.Is(err, ErrFactorEnrolled):
		return nil, errAccountChanged
	case err != nil:
		return nil, err
	}
	t.compared = true
	l.proof.Version = changed.Version
	l.user, err = k.users.UserByID(ctx, l.user.ID) // with the time from which its tokens are valid
	if err != nil {
		return nil, storeError(ctx, err)
	}
	return data, nil
}
