package passkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"github.com/authkit-go/authkit/passkey"
)

// An Authenticator is a browser with one passkey, in software, for the tests of
// programs. Make one with [NewAuthenticator]. Change its fields to make it
// misbehave. It is for one goroutine at a time.
type Authenticator struct {
	Origin string // of the page
	RPID   string

	// The flags UP, UV, BE and BS of WebAuthn section 6.1.
	UserPresent, UserVerified, BackupEligible, BackedUp bool

	// SignCount is the counter of the next response. Each response adds one,
	// unless it is zero.
	SignCount uint32

	AAGUID       [16]byte
	Transports   []string
	CredentialID []byte
	UserHandle   []byte // set by Create
	Key          *ecdsa.PrivateKey

	// If they are not nil, these functions change the client data and the
	// attestation object of a response, before they are encoded and signed. The
	// latter has the members "alg", "fmt" and "attStmt".
	ClientData  func(data map[string]any)
	Attestation func(object map[string]any)

	t testing.TB
}

// NewAuthenticator returns an Authenticator with a new key, for a page of an
// origin. It verifies its user.
func NewAuthenticator(t testing.TB, rpID, origin string) *Authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	return &Authenticator{
		Origin: origin, RPID: rpID, UserPresent: true, UserVerified: true, SignCount: 1,
		Transports: []string{"internal"}, CredentialID: id, Key: key, t: t,
	}
}

// encode is the base64url of WebAuthn, without padding.
func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Create returns the response to the options of a registration: the result of
// PublicKeyCredential.toJSON after navigator.credentials.create.
func (a *Authenticator) Create(o passkey.Options) []byte {
	a.t.Helper()
	var options struct {
		Challenge string
		User      struct{ ID string }
	}
	a.must(json.Unmarshal(o.PublicKey, &options))
	handle, err := base64.RawURLEncoding.DecodeString(options.User.ID)
	a.must(err)
	a.UserHandle = handle
	object := map[string]any{"alg": -7, "fmt": "none", "attStmt": map[string]any{}}
	if a.Attestation != nil {
		a.Attestation(object)
	}
	point, err := a.Key.PublicKey.Bytes() // 4, X, Y
	a.must(err)
	public, err := webauthncbor.Marshal(map[int]any{1: 2, 3: object["alg"], -1: 1, -2: point[1:33], -3: point[33:]})
	a.must(err)
	attested := binary.BigEndian.AppendUint16(a.AAGUID[:len(a.AAGUID):len(a.AAGUID)], uint16(len(a.CredentialID)))
	delete(object, "alg")
	const flagAT = 1 << 6
	object["authData"] = a.data(flagAT, append(append(attested, a.CredentialID...), public...))
	encoded, err := webauthncbor.Marshal(object)
	a.must(err)
	return a.response(map[string]any{
		"clientDataJSON": encode(a.clientData("webauthn.create", options.Challenge)), "attestationObject": encode(encoded), "transports": a.Transports,
	})
}

// Get returns the response to the options of a login or a factor: the result of
// PublicKeyCredential.toJSON after navigator.credentials.get.
func (a *Authenticator) Get(o passkey.Options) []byte {
	a.t.Helper()
	var options struct{ Challenge string }
	a.must(json.Unmarshal(o.PublicKey, &options))
	client, data := a.clientData("webauthn.get", options.Challenge), a.data(0, nil)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.Key, digest[:])
	a.must(err)
	return a.response(map[string]any{
		"clientDataJSON": encode(client), "authenticatorData": encode(data), "signature": encode(signature), "userHandle": encode(a.UserHandle),
	})
}

func (a *Authenticator) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// clientData returns the client data of a ceremony.
func (a *Authenticator) clientData(kind, challenge string) []byte {
	data := map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": false}
	if a.ClientData != nil {
		a.ClientData(data)
	}
	text, err := json.Marshal(data)
	a.must(err)
	return text
}

// data returns authenticator data with further flags and bytes.
func (a *Authenticator) data(flags byte, more []byte) []byte {
	for i, set := range []bool{a.UserPresent, false, a.UserVerified, a.BackupEligible, a.BackedUp} {
		if set {
			flags |= 1 << i
		}
	}
	hash := sha256.Sum256([]byte(a.RPID))
	data := binary.BigEndian.AppendUint32(append(hash[:], flags), a.SignCount)
	if a.SignCount > 0 {
		a.SignCount++
	}
	return append(data, more...)
}

// response returns the JSON of a credential.
func (a *Authenticator) response(r map[string]any) []byte {
	text, err := json.Marshal(map[string]any{
		"id": encode(a.CredentialID), "rawId": encode(a.CredentialID), "type": "public-key",
		"authenticatorAttachment": "platform", "clientExtensionResults": map[string]any{}, "response": r,
	})
	a.must(err)
	return text
}
