package passkey

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/authkit-go/authkit"
)

// Registered is the result of a registration.
type Registered struct {
	Passkey  Passkey             `json:"passkey"`
	Accepted AcceptedCredentials `json:"accepted"`
}

// BeginRegistration returns the options with which a user registers a passkey.
// They exclude the authenticators that have one.
//
// The errors are:
//   - ErrForbidden if the principal of ctx is not a login of the user.
//   - ErrTooMany if the user has 20 passkeys.
//   - authkit.ErrUserNotFound, ErrUnavailable, or the error of ctx.
func (p *Passkeys) BeginRegistration(ctx context.Context, userID string) (Options, error) {
	if err := p.kit.RequireSelf(ctx, userID); err != nil {
		return Options{}, err
	}
	u, err := p.kit.User(ctx, userID)
	if err != nil {
		return Options{}, err
	}
	return p.factor.beginRegistration(ctx, u)
}

// FinishRegistration stores the passkey of a response: the result of
// PublicKeyCredential.toJSON. The response is accepted once. The
// passkey is named after its provider or the device. The other sessions of the
// user end, and an event reports the factor; see [authkit.Kit.ChangeFactor].
//
// The errors are:
//   - authkit.ErrInvalidCode if the response is refused.
//   - ErrExists if the credential is registered already.
//   - ErrTooMany if the user has 20 passkeys.
//   - Those of [authkit.Kit.ChangeFactor].
func (p *Passkeys) FinishRegistration(ctx context.Context, userID string, response []byte) (Registered, error) {
	if err := p.kit.RequireSelf(ctx, userID); err != nil {
		return Registered{}, err
	}
	k, err := p.factor.registered(ctx, userID, response)
	if err != nil {
		return Registered{}, err
	}
	var accepted AcceptedCredentials
	e := authkit.Event{Kind: authkit.EventFactorAdded, UserID: userID, Method: Method}
	err = p.kit.ChangeFactor(ctx, e, func(ctx context.Context) error {
		list, err := p.List(ctx, userID)
		if err != nil {
			return err
		}
		accepted = p.factor.accepted(k.UserHandle, append(list, k))
		return p.factor.failed(ctx, p.factor.store.AddPasskey(ctx, k, MaxPerUser))
	})
	if err != nil {
		return Registered{}, err
	}
	return Registered{k, accepted}, nil
}

// BeginEnrollment implements [authkit.Enroller]. It returns [Options].
func (f *Factor) BeginEnrollment(ctx context.Context, u authkit.User) (any, error) {
	return f.beginRegistration(ctx, u)
}

// ConfirmEnrollment implements [authkit.Enroller]. The response is that of
// [Passkeys.FinishRegistration]. It returns the [Passkey]. If the response is
// refused, the challenge stays valid, since the transaction of the caller is
// rolled back.
func (f *Factor) ConfirmEnrollment(ctx context.Context, u authkit.User, response string) (any, error) {
	k, err := f.registered(ctx, u.ID, []byte(response))
	if err != nil {
		return nil, err
	}
	if err := f.store.AddPasskey(ctx, k, MaxPerUser); err != nil {
		return nil, f.failed(ctx, err)
	}
	return k, nil
}

// beginRegistration returns the options of a registration.
func (f *Factor) beginRegistration(ctx context.Context, u authkit.User) (Options, error) {
	list, err := f.store.PasskeysByUser(ctx, u.ID)
	if err != nil {
		return Options{}, f.failed(ctx, err)
	}
	if len(list) >= MaxPerUser {
		return Options{}, ErrTooMany
	}
	proposed := make([]byte, handleBytes)
	_, _ = rand.Read(proposed) // never fails
	handle, err := f.store.UserHandle(ctx, u.ID, proposed)
	if err != nil {
		return Options{}, f.failed(ctx, err)
	}
	challenge, err := f.challenge(ctx, ticketRegister, u.ID)
	if err != nil {
		return Options{}, err
	}
	exclude := []credentialDescriptor{}
	for _, k := range list {
		exclude = append(exclude, credentialDescriptor{"public-key", encode(k.CredentialID), k.Transports})
	}
	var parameters []parameter
	for _, a := range algorithms {
		parameters = append(parameters, parameter{string(a.Type), int(a.Algorithm)})
	}
	return newOptions(creationOptions{
		RP:          entity{ID: f.cfg.RPID, Name: f.cfg.RPName},
		User:        entity{ID: encode(handle), Name: u.Email, DisplayName: cmp.Or(u.FullName, u.Email)},
		Challenge:   challenge,
		Parameters:  parameters,
		Timeout:     ceremonyLife.Milliseconds(),
		Exclude:     exclude,
		Selection:   selection{"required", true, "required"},
		Attestation: "none",
	})
}

// registered returns the passkey of a response to the options of a registration
// (WebAuthn section 7.1). The error is authkit.ErrInvalidCode if the response is
// refused.
func (f *Factor) registered(ctx context.Context, userID string, response []byte) (Passkey, error) {
	k, err := f.attested(ctx, userID, response)
	if errors.Is(err, errRefused) {
		return Passkey{}, authkit.ErrInvalidCode
	}
	return k, err
}

func (f *Factor) attested(ctx context.Context, userID string, response []byte) (Passkey, error) {
	if len(response) > maxResponse {
		return Passkey{}, errRefused
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return Passkey{}, errRefused
	}
	c, err := f.redeem(ctx, ticketRegister, parsed.Response.CollectedClientData.Challenge)
	if errors.Is(err, authkit.ErrUnavailable) { // here is no login that tells of it
		f.reportStore(ctx, err)
	}
	if err != nil {
		return Passkey{}, err
	}
	if c.UserID != userID {
		return Passkey{}, errRefused
	}
	const verifyUser, verifyPresence, crossOrigin = true, true, false
	_, err = parsed.Verify(c.challenge, f.cfg.RPID, f.cfg.Origins, nil, nil, protocol.TopOriginExplicitVerificationMode,
		crossOrigin, verifyUser, verifyPresence, nil, algorithms, protocol.AttestationPolicy{}, protocol.SignaturePolicy{})
	data := parsed.Response.AttestationObject.AuthData
	if err != nil || data.Flags.HasBackupState() && !data.Flags.HasBackupEligible() {
		return Passkey{}, errRefused
	}
	handle, err := f.store.UserHandle(ctx, userID, nil)
	if errors.Is(err, ErrNotFound) { // removed since the options were made
		return Passkey{}, errRefused
	} else if err != nil {
		return Passkey{}, f.failed(ctx, err)
	}
	aaguid := uuidOf(data.AttData.AAGUID)
	k := Passkey{
		ID: idOf(data.AttData.CredentialID), UserID: userID, Name: nameOf(ctx, aaguid),
		CredentialID: bytes.Clone(data.AttData.CredentialID), PublicKey: bytes.Clone(data.AttData.CredentialPublicKey), UserHandle: handle,
		AAGUID: aaguid, Transports: transports(parsed.Response.Transports), Attestation: parsed.Response.AttestationObject.Format,
		UserVerified: data.Flags.HasUserVerified(), BackupEligible: data.Flags.HasBackupEligible(), BackedUp: data.Flags.HasBackupState(),
		SignCount: data.Counter, CreatedAt: now(), Version: 1,
	}
	return k, nil
}

// uuidOf returns an AAGUID as text.
func uuidOf(b []byte) string {
	var id [16]byte
	copy(id[:], b)
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// transports returns the transports of a response that are well-formed, at most
// eight.
func transports(reported []protocol.AuthenticatorTransport) []string {
	list := []string{}
	for _, t := range reported {
		text := string(t)
		plain := len(text) > 0 && len(text) <= 32
		for _, c := range []byte(text) {
			plain = plain && (c == '-' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
		}
		if plain && len(list) < 8 {
			list = append(list, text)
		}
	}
	return list
}
