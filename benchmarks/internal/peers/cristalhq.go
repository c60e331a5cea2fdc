package peers

import (
	"crypto/ed25519"
	"time"

	"github.com/cristalhq/jwt/v5"
)

type cristalhqClaims struct {
	UserID string   `json:"uid"`
	Roles  []string `json:"roles"`
	jwt.RegisteredClaims
}

func cristalhqCodecs(alg string, keys Keys) ([]Codec, error) {
	signer, verifier, err := cristalhqKey(alg, keys)
	if err != nil {
		return nil, err
	}
	builder := jwt.NewBuilder(signer)
	documented := Codec{
		Name: "cristalhq",
		Kind: Peer,
		SignBytes: func(c Claims) ([]byte, error) {
			t, err := builder.Build(&cristalhqClaims{
				UserID: c.UserID,
				Roles:  c.Roles,
				RegisteredClaims: jwt.RegisteredClaims{
					Subject:   c.Subject,
					ID:        c.ID,
					IssuedAt:  jwt.NewNumericDate(c.IssuedAt),
					ExpiresAt: jwt.NewNumericDate(c.ExpiresAt),
				},
			})
			if err != nil {
				return nil, err
			}
			return t.Bytes(), nil
		},
		VerifyBytes: func(token []byte) (Identity, error) {
			var c cristalhqClaims
			if err := jwt.ParseClaims(token, verifier, &c); err != nil {
				return Identity{}, err
			}
			if !c.IsValidAt(time.Now()) {
				return Identity{}, errExpired
			}
			return Identity{Subject: c.Subject, Roles: c.Roles}, nil
		},
	}
	// Builder and parser accept any claims. Without the library's
	// RegisteredClaims, and with plain integers for the times, it is fastest,
	// but checks only the signature.
	plain := Codec{
		Name: "cristalhq, own claims",
		Kind: Tuned,
		Note: "without the library's claims type: the program decodes the payload and checks the expiry",
		SignBytes: func(c Claims) ([]byte, error) {
			t, err := builder.Build(newPlainClaims(c))
			if err != nil {
				return nil, err
			}
			return t.Bytes(), nil
		},
		VerifyBytes: func(token []byte) (Identity, error) {
			t, err := jwt.Parse(token, verifier)
			if err != nil {
				return Identity{}, err
			}
			return identityOfJSON(t.Claims())
		},
	}
	return []Codec{documented, plain}, nil
}

func cristalhqKey(alg string, keys Keys) (jwt.Signer, jwt.Verifier, error) {
	switch alg {
	case ES256:
		s, err := jwt.NewSignerES(jwt.ES256, keys.ECDSA)
		if err != nil {
			return nil, nil, err
		}
		v, err := jwt.NewVerifierES(jwt.ES256, &keys.ECDSA.PublicKey)
		return s, v, err
	case EdDSA:
		s, err := jwt.NewSignerEdDSA(keys.Ed25519)
		if err != nil {
			return nil, nil, err
		}
		v, err := jwt.NewVerifierEdDSA(keys.Ed25519.Public().(ed25519.PublicKey))
		return s, v, err
	case RS256:
		s, err := jwt.NewSignerRS(jwt.RS256, keys.RSA)
		if err != nil {
			return nil, nil, err
		}
		v, err := jwt.NewVerifierRS(jwt.RS256, &keys.RSA.PublicKey)
		return s, v, err
	default:
		s, err := jwt.NewSignerHS(jwt.HS256, keys.Secret)
		return s, s, err
	}
}
