package authkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	ticketLogin   = "authkit_login" // the kind of a pending login
	challengeLife = 5 * time.Minute

	// enrollAttempts are the attempts of a pending login that sets up a factor.
	// Its client knows the secret of the factor, so there is nothing to guess.
	enrollAttempts = 20
)

var (
	errWrongCode   = &authError{ErrInvalidCredentials, ReasonWrongCode, nil}
	errNoChallenge = &authError{ErrInvalidCredentials, ReasonMalformed, nil}

	errWrongEnrollment = &authError{ErrInvalidCredentials, ReasonWrongCode, nil}
	errFactorDisabled  = &authError{ErrInvalidCredentials, ReasonFactorDisabled, nil}
	errNoFactorLeft    = &authError{ErrInvalidCredentials, ReasonMissingFactor, nil}
)

// A SecondFactor is a further way to authenticate a user after the first one,
// such as a one-time code. Set it in [Config].SecondFactors. Implementations
// must be safe for concurrent use. [Config].StoreTimeout does not limit the
// calls: set a deadline.
//
// Change factors with the methods of the Kit, such as [Kit.ChangeFactor]: they
// end the sessions from before the change. A factor that users set up themselves
// is also an [Enroller].
type SecondFactor interface {
	// Method is the name of the factor in RFC 8176, such as "otp". It does not change.
	Method() string

	// Enrolled reports whether the user has set up the factor.
	Enrolled(ctx context.Context, userID string) (bool, error)

	// Verify checks the response of a user. It accepts every response once: of several
	// concurrent calls with one response at most one returns nil. It returns
	// ErrInvalidCode for a response that is refused, and ErrFactorDisabled for the one
	// after which it refuses all. Any other error means that the response could not be
	// checked.
	Verify(ctx context.Context, userID, response string) error
}

// A ChallengeError is returned for a login that needs a second factor. Pass its Token and
// the user's response to [Kit.AnswerChallenge]. [Kit.TokenHandler] answers it with 400 and
// the members "error": "mfa_required", "mfa_token" and "mfa_methods", and takes the
// response in a second form.
//
// If Enroll is true, the user has no factor and must have one by
// [Config].RequireFactors. Call [Kit.EnrollChallenge] before AnswerChallenge. The
// "error" is then "mfa_enrollment_required".
type ChallengeError struct {
	Token     string    // names the pending login; opaque
	Methods   []string  // the factors that the user can answer with, or set up
	Enroll    bool      // the user must set up one of the factors
	ExpiresAt time.Time // five minutes after the first factor
}

// Error returns a fixed text.
func (*ChallengeError) Error() string { return "authkit: second factor required" }

// Format implements fmt.Formatter. It prints the error without the token, for every verb.
func (e *ChallengeError) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.Error())) }

// pendingLogin is the body of the ticket of a pending login.
type pendingLogin struct {
	UserID   string    `json:"user_id"`
	Methods  []string  `json:"methods"`
	AuthTime time.Time `json:"auth_time"`
	Version  int64     `json:"version"`
	Missing  []string  `json:"missing"`          // the methods that can complete it
	Enroll   bool      `json:"enroll,omitempty"` // by setting up one of them
	Device   string    `json:"device"`           // of the client that began it

	// The attempt that the throttle counts as a failure until the login is complete.
	Action  string `json:"action"`
	Account string `json:"account"`
}

// checkFactors returns why the second factors of a configuration cannot be used, or nil.
func checkFactors(factors []SecondFactor, tickets TicketStore) error {
	var names []string
	for i, f := range factors {
		if f == nil {
			return fmt.Errorf("the element %d is nil; leave it out", i)
		}
		name := f.Method()
		if !validRole(name) || slices.Contains(names, name) || name == MethodPassword || name == MethodMultiple || name == MethodTrustedDevice {
			return fmt.Errorf("the method %q is malformed, reserved or there twice; give each factor a name of RFC 8176", name)
		}
		names = append(names, name)
	}
	if len(factors) > 0 && tickets == nil {
		return errors.New("pending logins need a store; set Tickets, or Users to a store that is a TicketStore")
	}
	return nil
}

// missing are the factors of which a login still needs one.
type missing struct {
	methods []string
	enroll  bool // the user must set one up
}

// missingFactors returns the factors of which one must still be answered or set
// up. It returns nil if the proof suffices.
func (k *Kit) missingFactors(ctx context.Context, u *User, p *Proof) (*missing, error) {
	if usedFactors(p.Methods) {
		return nil, nil
	}
	var answer, enroll []string
	for _, f := range k.factors {
		method := f.Method()
		if slices.Contains(p.Methods, method) {
			continue
		}
		enrolled, err := f.Enrolled(ctx, p.UserID)
		if err != nil {
			return nil, storeError(ctx, err)
		}
		if enrolled {
			answer = append(answer, method)
		} else if _, ok := f.(Enroller); ok {
			enroll = append(enroll, method)
		}
	}
	switch {
	case len(answer) > 0:
		return &missing{methods: answer}, nil
	case !k.required.now(u):
		return nil, nil
	case len(enroll) == 0: // the only factor was the first one
		return nil, errNoFactorLeft
	}
	return &missing{methods: enroll, enroll: true}, nil
}

// usedFactors reports whether a login by the methods needs no further factor.
func usedFactors(methods []string) bool {
	return slices.Contains(methods, MethodMultiple) || slices.Contains(methods, MethodTrustedDevice)
}

// lacksFactor reports whether a user must have a second factor, and a login by
// the methods did not use one.
func (k *Kit) lacksFactor(u *User, methods []string) bool {
	return k.required.now(u) && !usedFactors(methods)
}

// challenge stores a login as pending, and returns its *ChallengeError. The
// user's older pending logins end.
func (k *Kit) challenge(ctx context.Context, l *login, m *missing) error {
	t, token := NewTicket(ticketLogin, l.user.ID, challengeLife)
	if m.enroll {
		t.MaxAttempts = enrollAttempts
	}
	body, err := json.Marshal(pendingLogin{
		UserID: l.user.ID, Methods: l.proof.Methods, AuthTime: l.proof.AuthTime, Version: l.proof.Version,
		Missing: m.methods, Enroll: m.enroll, Device: ClientFrom(ctx).Device, Action: l.attempt.Action, Account: l.attempt.Account,
	})
	if err != nil {
		return fmt.Errorf("authkit: encoding a pending login: %w", err)
	}
	t.Body = body
	if err := k.tickets.PutTicket(ctx, t); err != nil {
		return storeError(ctx, err)
	}
	return &ChallengeError{Token: token, Methods: m.methods, Enroll: m.enroll, ExpiresAt: t.ExpiresAt}
}

// AnswerChallenge completes the pending login of a [ChallengeError] with the
// user's response to one of its methods. A pending login is valid for five
// minutes and five attempts. The User-Agent must be that of the client that
// began it; see [WithClient]. If the account changes, the attempt is throttled,
// or the factor is disabled, the pending login ends, and the user must log in
// again.
//
// If the user must set up a factor, the response confirms it. It is then set up,
// the user's sessions and tokens end, and [Token].Enrollment is the data that the
// client must show once. Such a pending login is valid for 20 attempts.
//
// The errors are ErrInvalidCredentials for every refusal, and those of
// [Kit.Login] except a *ChallengeError.
func (k *Kit) AnswerChallenge(ctx context.Context, token, method, response string) (Token, error) {
	var l login
	err := k.answer(ctx, &l, token, method, response)
	return l.token, k.concluded(ctx, &l, err)
}

func (k *Kit) answer(ctx context.Context, l *login, token, method, response string) error {
	ticket, p, err := k.admitPending(ctx, l, token, method)
	if err != nil {
		return err
	}
	var data any // of an enrollment
	err = k.throttled(ctx, Attempt{Action: ActionCode, Account: l.user.Email}, func(t *trial) (err error) {
		if p.Enroll {
			data, err = k.confirmPending(ctx, t, l, &ticket, method, response)
		} else {
			err = k.verifyPending(ctx, t, l, &ticket, method, response)
		}
		if err != nil {
			return err
		}
		l.proof.Methods = append(l.proof.Methods, method, MethodMultiple)
		l.proof.AuthTime = now()
		return k.finishLogin(ctx, l)
	})
	switch {
	case isThrottled(err), err == errFactorDisabled:
		// After the wait the user must enter the password again (MF-22).
		if err := k.tickets.ConsumeTicket(context.WithoutCancel(ctx), ticketLogin, ticket.ID, now()); err != nil && !errors.Is(err, ErrTicketNotFound) {
			_ = k.storeFailed(ctx, err)
		}
	case err == nil:
		l.token.Enrollment = data
		k.succeeded(ctx, Attempt{Action: p.Action, Account: p.Account})
	}
	return err
}

// verifyPending checks a response to the factor of a pending login, and consumes
// the pending login.
func (k *Kit) verifyPending(ctx context.Context, t *trial, l *login, ticket *Ticket, method, response string) error {
	switch err := k.factor(method).Verify(ctx, l.user.ID, response); {
	case errors.Is(err, ErrFactorDisabled):
		k.emit(ctx, Event{Kind: EventFactorDisabled, UserID: l.user.ID, Method: method})
		return errFactorDisabled
	case errors.Is(err, ErrInvalidCode):
		return errWrongCode
	case err != nil:
		return storeError(ctx, err)
	}
	t.compared = true
	if method == MethodRecovery {
		k.emit(ctx, Event{Kind: EventRecoveryUsed, UserID: l.user.ID, Method: method})
	}
	// The first of several responses consumes the pending login. The others
	// fail.
	return k.consumePending(ctx, ticket)
}

// consumePending consumes a pending login: of several callers one goes on.
func (k *Kit) consumePending(ctx context.Context, ticket *Ticket) error {
	switch err := k.tickets.ConsumeTicket(ctx, ticketLogin, ticket.ID, now()); {
	case errors.Is(err, ErrTicketNotFound):
		return errNoChallenge
	case err != nil:
		return storeError(ctx, err)
	}
	return nil
}

// admitPending is pending within the limits of the throttle: tokens that name no
// pending login count against the address.
func (k *Kit) admitPending(ctx context.Context, l *login, token, method string) (ticket Ticket, p pendingLogin, err error) {
	err = k.throttled(ctx, Attempt{Action: ActionCode}, func(*trial) (err error) {
		ticket, p, err = k.pending(ctx, l, token, method)
		return err
	})
	return ticket, p, err
}

// pending returns the pending login of a token, and puts its account and its
// proof into l. It counts an attempt.
func (k *Kit) pending(ctx context.Context, l *login, token, method string) (Ticket, pendingLogin, error) {
	var p pendingLogin
	if k.factor(method) == nil {
		return Ticket{}, p, errNoChallenge
	}
	ticket, err := AttemptTicket(ctx, k.tickets, ticketLogin, token)
	switch {
	case errors.Is(err, ErrInvalidTicket):
		return Ticket{}, p, errNoChallenge
	case err != nil:
		return Ticket{}, p, err
	}
	if err := json.Unmarshal(ticket.Body, &p); err != nil {
		return Ticket{}, p, fmt.Errorf("authkit: decoding a pending login: %w", err)
	}
	if p.Device != ClientFrom(ctx).Device || !slices.Contains(p.Missing, method) {
		return Ticket{}, p, errNoChallenge
	}
	l.proof = Proof{UserID: p.UserID, Methods: p.Methods, AuthTime: p.AuthTime, Version: p.Version}
	l.user, err = k.users.UserByID(ctx, p.UserID)
	switch {
	case errors.Is(err, ErrUserNotFound):
		return Ticket{}, p, errUnknownUser
	case err != nil:
		return Ticket{}, p, storeError(ctx, err)
	case l.user.Version != p.Version:
		return Ticket{}, p, errAccountChanged
	}
	return ticket, p, k.mayLogIn(&l.user)
}
