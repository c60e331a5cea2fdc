package passkey

import (
	"bytes"
	"context"
	"errors"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/authkit-go/authkit"
)

// BeginLogin returns the options of a login without a name: the user chooses
// one of the passkeys that the authenticator has for the RP ID. A
// throttle of the Kit limits how many options an address gets.
//
// The errors are a *ThrottledError, ErrUnavailable, and that of ctx.
func (p *Passkeys) BeginLogin(ctx context.Context) (Options, error) {
	return p.beginAssertion(ctx, ticketLogin, "required")
}

// BeginFactor returns the options with which a user answers a
// [authkit.ChallengeError] that names [Method]. The response to
// [authkit.Kit.AnswerChallenge] is the result of PublicKeyCredential.toJSON, as
// JSON text. The errors are those of [Passkeys.BeginLogin].
func (p *Passkeys) BeginFactor(ctx context.Context) (Options, error) {
	return p.beginAssertion(ctx, ticketFactor, "preferred")
}

// beginAssertion returns the options of an assertion by any passkey.
func (p *Passkeys) beginAssertion(ctx context.Context, kind, verification string) (o Options, err error) {
	err = p.kit.Admit(ctx, authkit.Attempt{Action: authkit.ActionChallenge}, func(ctx context.Context) error {
		challenge, err := p.factor.challenge(ctx, kind, "")
		if err != nil {
			return err
		}
		o, err = newOptions(requestOptions{challenge, ceremonyLife.Milliseconds(), p.factor.cfg.RPID, verification})
		return err
	})
	return o, err
}

// Login logs in the user of a passkey by a response to the options of
// [Passkeys.BeginLogin]: the result of PublicKeyCredential.toJSON. The response
// is accepted once. The login counts as two factors, since user verification is
// required.
//
// The errors are those of [authkit.Kit.LoginWith]: ErrInvalidCredentials for a
// response that is refused. It is an *UnknownCredentialError if the passkey is
// not registered.
func (p *Passkeys) Login(ctx context.Context, response []byte) (authkit.Token, error) {
	return p.kit.LoginWith(ctx, authkit.Attempt{Action: authkit.ActionLogin}, func(ctx context.Context) (authkit.Proof, error) {
		proof, err := p.factor.asserted(ctx, ticketLogin, "", response)
		if errors.Is(err, errRefused) {
			err = authkit.ErrInvalidCredentials
		}
		return proof, err
	})
}

// Method implements [authkit.SecondFactor].
func (*Factor) Method() string { return Method }

// Enrolled implements [authkit.SecondFactor]. A user with a passkey has the
// factor.
func (f *Factor) Enrolled(ctx context.Context, userID string) (bool, error) {
	n, err := f.Count(ctx, userID)
	return n > 0, err
}

// Count implements [authkit.FactorCounter].
func (f *Factor) Count(ctx context.Context, userID string) (int, error) {
	list, err := f.store.PasskeysByUser(ctx, userID)
	return len(list), err
}

// Verify implements [authkit.SecondFactor]. The response is that to the options
// of [Passkeys.BeginFactor].
func (f *Factor) Verify(ctx context.Context, userID, response string) error {
	_, err := f.asserted(ctx, ticketFactor, userID, []byte(response))
	if errors.Is(err, errRefused) || errors.Is(err, authkit.ErrInvalidCredentials) {
		return authkit.ErrInvalidCode
	}
	return err
}

// asserted checks a response to the options of an assertion (WebAuthn section
// 7.2), records the use and returns the proof of a login. If userID is not
// empty, the passkey must be that user's. The error is errRefused if the
// response is refused.
func (f *Factor) asserted(ctx context.Context, kind, userID string, response []byte) (authkit.Proof, error) {
	none := authkit.Proof{}
	if len(response) > maxResponse {
		return none, errRefused
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return none, errRefused
	}
	c, err := f.redeem(ctx, kind, parsed.Response.CollectedClientData.Challenge)
	if err != nil {
		return none, err
	}
	const tries = 3 // concurrent uses of one passkey
	for try := 1; ; try++ {
		k, err := f.store.PasskeyByID(ctx, idOf(parsed.RawID))
		if errors.Is(err, ErrNotFound) {
			return none, &UnknownCredentialError{f.cfg.RPID, encode(parsed.RawID)}
		} else if err != nil {
			return none, f.failed(ctx, err)
		}
		if err := f.judge(ctx, &k, kind, userID, c.challenge, parsed); err != nil {
			return none, err
		}
		// The account is read before the use is recorded. If the passkey is deleted
		// after that, the account has changed, and the login fails.
		proof, err := f.proof(ctx, kind, k.UserID)
		if err != nil {
			return none, err
		}
		flags := parsed.Response.AuthenticatorData.Flags
		use := Use{At: now(), SignCount: parsed.Response.AuthenticatorData.Counter, BackupEligible: flags.HasBackupEligible(), BackedUp: flags.HasBackupState()}
		err = f.store.UsePasskey(ctx, k.ID, k.Version, use)
		switch {
		case err == nil:
			f.report(ctx, &k, use)
			return proof, nil
		case errors.Is(err, ErrNotFound):
			return none, &UnknownCredentialError{f.cfg.RPID, encode(parsed.RawID)}
		case !errors.Is(err, ErrConflict) || try == tries:
			return none, f.busy(ctx, err)
		}
	}
}

// proof returns the proof of a login with a passkey of a user. It is zero in a
// ceremony of a second factor: the Kit has read the account then.
func (f *Factor) proof(ctx context.Context, kind, userID string) (authkit.Proof, error) {
	if kind != ticketLogin {
		return authkit.Proof{}, nil
	}
	u, err := f.kit.Load().User(ctx, userID)
	if err != nil {
		return authkit.Proof{}, err
	}
	return authkit.Proof{UserID: u.ID, Version: u.Version, Methods: []string{Method, authkit.MethodMultiple}}, nil
}

// busy returns the error of a use that could not be recorded.
func (f *Factor) busy(ctx context.Context, err error) error {
	if errors.Is(err, ErrConflict) {
		err = errors.New("passkey: too many uses at once")
	}
	return f.failed(ctx, err)
}

// judge returns errRefused if a response does not prove the possession of a
// passkey, or its flags or counter are against the policy.
func (f *Factor) judge(ctx context.Context, k *Passkey, kind, userID, challenge string, parsed *protocol.ParsedCredentialAssertionData) error {
	if !bytes.Equal(parsed.Response.UserHandle, k.UserHandle) || len(k.UserHandle) == 0 || userID != "" && k.UserID != userID {
		return errRefused
	}
	alone := kind == ticketLogin // the one factor of the login
	if alone && !k.UserVerified {
		return errRefused
	}
	const verifyPresence, crossOrigin = true, false
	err := parsed.Verify(challenge, f.cfg.RPID, "", f.cfg.Origins, nil, nil, protocol.TopOriginExplicitVerificationMode,
		crossOrigin, alone, verifyPresence, k.PublicKey, protocol.SignaturePolicy{})
	data := parsed.Response.AuthenticatorData
	if err != nil || data.Flags.HasBackupState() && !data.Flags.HasBackupEligible() {
		return errRefused
	}
	if lostBackup(k, data.Flags.HasBackupEligible()) && !f.cfg.InsecureAllowBackupLoss {
		f.emit(ctx, authkit.Event{Kind: EventBackupLoss, UserID: k.UserID, Method: Method, Reason: authkit.ReasonWrongProof})
		return errRefused
	}
	if fellBack(k, data.Counter) && f.cfg.RefuseCounterRollback {
		f.emit(ctx, authkit.Event{Kind: EventCounterRollback, UserID: k.UserID, Method: Method, Reason: authkit.ReasonWrongProof})
		return errRefused
	}
	return nil
}

// report emits the events of a use that was accepted.
func (f *Factor) report(ctx context.Context, k *Passkey, u Use) {
	if u.BackupEligible && !k.BackupEligible {
		f.emit(ctx, authkit.Event{Kind: EventBackupEligible, UserID: k.UserID, Method: Method})
	}
	if lostBackup(k, u.BackupEligible) {
		f.emit(ctx, authkit.Event{Kind: EventBackupLoss, UserID: k.UserID, Method: Method})
	}
	if fellBack(k, u.SignCount) {
		f.emit(ctx, authkit.Event{Kind: EventCounterRollback, UserID: k.UserID, Method: Method})
	}
}

// lostBackup reports whether a passkey was eligible for backup and no longer
// says so.
func lostBackup(k *Passkey, eligible bool) bool { return k.BackupEligible && !eligible }

// fellBack reports whether a counter has not risen (WebAuthn section 6.1.1).
func fellBack(k *Passkey, count uint32) bool {
	return k.SignCount != 0 && count <= k.SignCount
}
