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
)

var (
	errWrongCode   = &authError{ErrInvalidCredentials, ReasonWrongCode, nil}
	errNoChallenge = &authError{ErrInvalidCredentials, ReasonMalformed, nil}
)

// A SecondFactor is a further way to authenticate a user after the first one,
// such as a one-time code. Set it in [Config].SecondFactors. Implementations
// must be safe for concurrent use. [Config].StoreTimeout does not limit the
// calls: set a deadline.
//
// Sessions from before the factor was enrolled continue without it. A package
// that enrols a factor ends them with [Kit.LogoutOthers], after it has stored
// the factor.
type SecondFactor interface {
	// Method is the name of the factor in RFC 8176, such as "otp". It does not change.
	Method() string

	// Enrolled reports whether the user has set up the factor.
	Enrolled(ctx context.Context, userID string) (bool, error)

	// Verify checks the response of a user. It accepts every response once: of several
	// concurrent calls with one response at most one returns nil. It returns
	// ErrInvalidCode for a response that is refused; any other error means that the
	// response could not be checked.
	Verify(ctx context.Context, userID, response string) error
}

// A ChallengeError is returned for a login that needs a second factor. Pass its Token and
// the user's response to [Kit.AnswerChallenge]. [Kit.TokenHandler] answers it with 400 and
// the members "error": "mfa_required", "mfa_token" and "mfa_methods", and takes the
// response in a second form.
type ChallengeError struct {
	Token     string    // names the pending login; opaque
	Methods   []string  // the factors that the user can answer with
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
	Missing  []string  `json:"missing"` // the methods that can complete it
	Device   string    `json:"device"`  // of the client that began it

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
		if !validRole(name) || slices.Contains(names, name) || name == MethodPassword || name == MethodMultiple {
			return fmt.Errorf("the method %q is malformed, reserved or there twice; give each factor a name of RFC 8176", name)
		}
		names = append(names, name)
	}
	if len(factors) > 0 && tickets == nil {
		return errors.New("pending logins need a store; set Tickets, or Users to a store that is a TicketStore")
	}
	return nil
}

// missingFactors returns the methods of which one must still be answered. It
// returns none if the proof suffices.
func (k *Kit) missingFactors(ctx context.Context, p *Proof) ([]string, error) {
	if slices.Contains(p.Methods, MethodMultiple) {
		return nil, nil
	}
	var missing []string
	for _, f := range k.factors {
		if slices.Contains(p.Methods, f.Method()) {
			continue
		}
		enrolled, err := f.Enrolled(ctx, p.UserID)
		if err != nil {
			return nil, storeError(ctx, err)
		}
		if enrolled {
			missing = append(missing, f.Method())
		}
	}
	return missing, nil
}

// challenge stores a login as pending, and returns its *ChallengeError. The
// user's older pending logins end.
func (k *Kit) challenge(ctx context.Context, l *login, missing []string) error {
	t, token := NewTicket(ticketLogin, l.user.ID, challengeLife)
	body, err := json.Marshal(pendingLogin{
		UserID: l.user.ID, Methods: l.proof.Methods, AuthTime: l.proof.AuthTime, Version: l.proof.Version,
		Missing: missing, Device: ClientFrom(ctx).Device, Action: l.attempt.Action, Account: l.attempt.Account,
	})
	if err != nil {
		return fmt.Errorf("authkit: encoding a pending login: %w", err)
	}
	t.Body = body
	if err := k.tickets.PutTicket(ctx, t); err != nil {
		return storeError(ctx, err)
	}
	return &ChallengeError{Token: token, Methods: missing, ExpiresAt: t.ExpiresAt}
}

// AnswerChallenge completes the pending login of a [ChallengeError] with the
// user's response to one of its methods. A pending login is valid for five
// minutes and five attempts. The User-Agent must be that of the client that
// began it; see [WithClient]. If the account changes or the attempt is
// throttled, the pending login ends, and the user must log in again.
//
// The errors are ErrInvalidCredentials for every refusal, and those of
// [Kit.Login] except a *ChallengeError.
func (k *Kit) AnswerChallenge(ctx context.Context, token, method, response string) (Token, error) {
	var l login
	err := k.answer(ctx, &l, token, method, response)
	return l.token, k.concluded(ctx, &l, err)
}

func (k *Kit) answer(ctx context.Context, l *login, token, method, response string) error {
	var ticket Ticket
	var p pendingLogin
	// Tokens that name no pending login count against the address.
	err := k.throttled(ctx, Attempt{Action: ActionCode}, func(*trial) (err error) {
		ticket, p, err = k.pending(ctx, l, token, method)
		return err
	})
	if err != nil {
		return err
	}
	factor := k.factor(method) // pending has refused unknown methods
	err = k.throttled(ctx, Attempt{Action: ActionCode, Account: l.user.Email}, func(t *trial) error {
		switch err := factor.Verify(ctx, p.UserID, response); {
		case errors.Is(err, ErrInvalidCode):
			return errWrongCode
		case err != nil:
			return storeError(ctx, err)
		}
		t.compared = true
		// The first of several responses consumes the pending login. The others
		// fail.
		switch err := k.tickets.ConsumeTicket(ctx, ticketLogin, ticket.ID, now()); {
		case errors.Is(err, ErrTicketNotFound):
			return errNoChallenge
		case err != nil:
			return storeError(ctx, err)
		}
		l.proof.Methods = append(l.proof.Methods, method, MethodMultiple)
		l.proof.AuthTime = now()
		return k.finishLogin(ctx, l)
	})
	switch {
	case isThrottled(err):
		// After the wait the user must enter the password again (MF-22).
		if err := k.tickets.ConsumeTicket(context.WithoutCancel(ctx), ticketLogin, ticket.ID, now()); err != nil && !errors.Is(err, ErrTicketNotFound) {
			_ = k.storeFailed(ctx, err)
		}
	case err == nil:
		k.succeeded(ctx, Attempt{Action: p.Action, Account: p.Account})
	}
	return err
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
