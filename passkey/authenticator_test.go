package passkey_test

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
	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/passkey"
)

// The flags of authenticator data (WebAuthn section 6.1).
const (
	flagUP = 1 << 0
	flagUV = 1 << 2
	flagBE = 1 << 3
	flagBS = 1 << 4
	flagAT = 1 << 6
)

// An authenticator is a browser and an authenticator in software with one
// credential. Tests change its fields to make it misbehave.
type authenticator struct {
	t testing.TB

	origin, rpID string
	kind         string // of the client data; empty for the right one
	crossOrigin  bool
	flags        byte
	count        uint32
	step         uint32 // by which each assertion raises count
	aaguid       [16]byte
	alg          int // of the public key
	transports   []string
	attStmt      map[string]any

	key    *ecdsa.PrivateKey
	id     []byte
	handle []byte
}

func newAuthenticator(t testing.TB) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	return &authenticator{
		t: t, origin: "https://login.example.com", rpID: "example.com", flags: flagUP | flagUV, step: 1, alg: -7,
		transports: []string{"internal"}, attStmt: map[string]any{}, key: key, id: id,
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	return b
}

// clientData returns the client data of a ceremony.
func (a *authenticator) clientData(kind, challenge string) []byte {
	if a.kind != "" {
		kind = a.kind
	}
	text, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": a.crossOrigin})
	require.NoError(a.t, err)
	return text
}

// data returns authenticator data with further flags and bytes.
func (a *authenticator) data(flags byte, more []byte) []byte {
	hash := sha256.Sum256([]byte(a.rpID))
	data := append(hash[:], a.flags|flags)
	return append(binary.BigEndian.AppendUint32(data, a.count), more...)
}

// create answers the options of a registration.
func (a *authenticator) create(o passkey.Options) []byte {
	a.t.Helper()
	var options struct {
		Challenge string
		User      struct{ ID string }
	}
	require.NoError(a.t, json.Unmarshal(o.PublicKey, &options))
	a.handle = unb64(a.t, options.User.ID)
	point, err := a.key.PublicKey.Bytes() // 4, X, Y
	require.NoError(a.t, err)
	public, err := webauthncbor.Marshal(map[int]any{1: 2, 3: a.alg, -1: 1, -2: point[1:33], -3: point[33:]})
	require.NoError(a.t, err)
	more := append(a.aaguid[:], 0, 0)
	binary.BigEndian.PutUint16(more[16:], uint16(len(a.id)))
	more = append(append(more, a.id...), public...)
	object, err := webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": a.attStmt, "authData": a.data(flagAT, more)})
	require.NoError(a.t, err)
	return a.response(map[string]any{
		"clientDataJSON": b64(a.clientData("webauthn.create", options.Challenge)), "attestationObject": b64(object), "transports": a.transports,
	})
}

// get answers the options of an assertion.
func (a *authenticator) get(o passkey.Options) []byte {
	a.t.Helper()
	var options struct{ Challenge string }
	require.NoError(a.t, json.Unmarshal(o.PublicKey, &options))
	return a.sign(options.Challenge)
}

// sign returns the assertion of a challenge.
func (a *authenticator) sign(challenge string) []byte {
	a.count += a.step
	client, data := a.clientData("webauthn.get", challenge), a.data(0, nil)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	require.NoError(a.t, err)
	return a.response(map[string]any{
		"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature), "userHandle": b64(a.handle),
	})
}

// response is what PublicKeyCredential.toJSON returns.
func (a *authenticator) response(r map[string]any) []byte {
	text, err := json.Marshal(map[string]any{
		"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "authenticatorAttachment": "platform", "clientExtensionResults": map[string]any{}, "response": r,
	})
	require.NoError(a.t, err)
	return text
}
