package passkey

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/authkit-go/authkit"
)

// The kinds of tickets, one for each ceremony: a challenge is valid for the
// ceremony that it was made for.
const (
	ticketRegister = "passkey_register"
	ticketLogin    = "passkey_login"
	ticketFactor   = "passkey_factor"
)

// maxResponse is the longest response of a client, in bytes.
const maxResponse = 64 << 10

// errRefused is for every response that is refused. Callers return the error
// that their own callers know.
var errRefused = errors.New("passkey: response refused")

// ceremony is the body of a ticket.
type ceremony struct {
	UserID string `json:"user_id,omitempty"` // of ticketRegister

	challenge string // that of the options
}

// encode is the base64url of WebAuthn, without padding.
func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// idOf returns the ID of the passkey with a credential ID.
func idOf(credentialID []byte) string {
	sum := sha256.Sum256(credentialID)
	return encode(sum[:])
}

// challenge stores the ticket of a ceremony, and returns the challenge: the
// token that redeems the ticket, in base64url. So the response names its ticket
// and is bound to it.
func (f *Factor) challenge(ctx context.Context, kind, userID string) (string, error) {
	tickets, err := f.tickets()
	if err != nil {
		return "", err
	}
	t, token := authkit.NewTicket(kind, userID, ceremonyLife)
	if t.Body, err = json.Marshal(ceremony{UserID: userID}); err != nil {
		return "", fmt.Errorf("passkey: encoding a ticket: %w", err)
	}
	if err := tickets.PutTicket(ctx, t); err != nil {
		return "", f.failed(ctx, err)
	}
	return encode([]byte(token)), nil
}

// redeem uses up the ticket that a response names by its challenge. The error is
// errRefused if there is none of the kind.
func (f *Factor) redeem(ctx context.Context, kind, challenge string) (ceremony, error) {
	var c ceremony
	tickets, err := f.tickets()
	if err != nil {
		return c, err
	}
	token, err := base64.RawURLEncoding.DecodeString(challenge)
	if err != nil {
		return c, errRefused
	}
	t, err := authkit.RedeemTicket(ctx, tickets, kind, string(token))
	switch {
	case errors.Is(err, authkit.ErrInvalidTicket):
		return c, errRefused
	case err != nil:
		return c, err
	}
	if err := json.Unmarshal(t.Body, &c); err != nil {
		return c, fmt.Errorf("passkey: decoding a ticket: %w", err)
	}
	c.challenge = encode(token)
	return c, nil
}

// The parts of options in JSON, by WebAuthn sections 5.4 and 5.5.
type (
	credentialDescriptor struct {
		Type       string   `json:"type"`
		ID         string   `json:"id"`
		Transports []string `json:"transports,omitempty"`
	}
	entity struct {
		ID          string `json:"id"`
		Name        string `json:"name"`
		DisplayName string `json:"displayName,omitempty"`
	}
	parameter struct {
		Type string `json:"type"`
		Alg  int    `json:"alg"`
	}
	selection struct {
		ResidentKey        string `json:"residentKey"`
		RequireResidentKey bool   `json:"requireResidentKey"` // for clients of Level 1
		UserVerification   string `json:"userVerification"`
	}
	creationOptions struct {
		RP          entity                 `json:"rp"`
		User        entity                 `json:"user"`
		Challenge   string                 `json:"challenge"`
		Parameters  []parameter            `json:"pubKeyCredParams"`
		Timeout     int64                  `json:"timeout"` // milliseconds
		Exclude     []credentialDescriptor `json:"excludeCredentials"`
		Selection   selection              `json:"authenticatorSelection"`
		Attestation string                 `json:"attestation"`
	}
	requestOptions struct {
		Challenge        string `json:"challenge"`
		Timeout          int64  `json:"timeout"` // milliseconds
		RPID             string `json:"rpId"`
		UserVerification string `json:"userVerification"`
	}
)

// algorithms are those of new passkeys: ES256, EdDSA and RS256, as WebAuthn
// section 5.4 recommends.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: -7},
	{Type: protocol.PublicKeyCredentialType, Algorithm: -8},
	{Type: protocol.PublicKeyCredentialType, Algorithm: -257},
}

// Options are the options of a ceremony, in the JSON form of WebAuthn. Send
// them to the page.
type Options struct {
	// PublicKey is for PublicKeyCredential.parseCreationOptionsFromJSON or
	// parseRequestOptionsFromJSON.
	PublicKey json.RawMessage `json:"publicKey"`
}

// newOptions returns the options that are encoded from a value.
func newOptions(v any) (Options, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return Options{}, fmt.Errorf("passkey: encoding options: %w", err)
	}
	return Options{text}, nil
}

// An AcceptedCredentials is the argument of
// PublicKeyCredential.signalAllAcceptedCredentials. With it, a page informs the
// authenticators of a user which passkeys remain. The page calls it after a
// passkey was added or deleted, and after logins.
type AcceptedCredentials struct {
	RPID          string   `json:"rpId"`
	UserID        string   `json:"userId"` // the user handle
	CredentialIDs []string `json:"allAcceptedCredentialIds"`
}

// An UnknownCredentialError is returned for a login with a passkey that is not
// registered, such as one that was deleted. It wraps
// authkit.ErrInvalidCredentials. Its JSON form is the argument of
// PublicKeyCredential.signalUnknownCredential, with which a page makes the
// authenticator forget the passkey.
type UnknownCredentialError struct {
	RPID         string `json:"rpId"`
	CredentialID string `json:"credentialId"`
}

// Error returns a fixed text.
func (*UnknownCredentialError) Error() string { return "passkey: unknown credential" }

// Unwrap returns authkit.ErrInvalidCredentials.
func (*UnknownCredentialError) Unwrap() error { return authkit.ErrInvalidCredentials }
