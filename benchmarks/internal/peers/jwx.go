package peers

import (
	"encoding/json"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

func jwxCodecs(alg string, keys Keys) ([]Codec, error) {
	method, _ := jwa.LookupSignatureAlgorithm(alg)
	private, public := keys.private(alg), keys.public(alg)
	signKey, verifyKey := jwt.WithKey(method, private), jwt.WithKey(method, public)
	// Decodes the private claim straight into its type, for the whole process;
	// cheaper than the option per call.
	jwt.RegisterCustomField("roles", []string(nil))
	tokens := Codec{
		Name: "jwx",
		Kind: Peer,
		SignBytes: func(c Claims) ([]byte, error) {
			t, err := jwt.NewBuilder().
				Subject(c.Subject).
				JwtID(c.ID).
				IssuedAt(c.IssuedAt).
				Expiration(c.ExpiresAt).
				Claim("uid", c.UserID).
				Claim("roles", c.Roles).
				Build()
			if err != nil {
				return nil, err
			}
			return jwt.Sign(t, signKey)
		},
		VerifyBytes: func(token []byte) (Identity, error) {
			t, err := jwt.Parse(token, verifyKey) // validates exp by default
			if err != nil {
				return Identity{}, err
			}
			var id Identity
			var ok bool
			if id.Subject, ok = t.Subject(); !ok {
				return Identity{}, errInvalid
			}
			if err := t.Get("roles", &id.Roles); err != nil {
				return Identity{}, err
			}
			return id, nil
		},
	}
	// The documentation's advice for speed: handle the JWS, and decode into
	// your own struct.
	jwsKey := jws.WithKey(method, private)
	plain := Codec{
		Name: "jwx, plain struct",
		Kind: Peer,
		Note: "jws.VerifyCompactFast and encoding/json into the program's struct, expiry checked by hand",
		SignBytes: func(c Claims) ([]byte, error) {
			payload, err := json.Marshal(newPlainClaims(c))
			if err != nil {
				return nil, err
			}
			return jws.Sign(payload, jwsKey)
		},
		VerifyBytes: func(token []byte) (Identity, error) {
			payload, err := jws.VerifyCompactFast(public, token, method)
			if err != nil {
				return Identity{}, err
			}
			return identityOfJSON(payload)
		},
	}
	return []Codec{tokens, plain}, nil
}
