package peers

import (
	"crypto/ed25519"
	"time"

	"github.com/pascaldekloe/jwt"
)

func pascaldekloeCodecs(alg string, keys Keys) ([]Codec, error) {
	// The reusable HMAC is what the library offers "for high usage scenarios".
	reused, err := jwt.NewHMAC(jwt.HS256, keys.Secret)
	if err != nil {
		return nil, err
	}
	var sign func(*jwt.Claims) ([]byte, error)
	var check func([]byte) (*jwt.Claims, error)
	switch alg {
	case HS256:
		sign = func(c *jwt.Claims) ([]byte, error) { return reused.Sign(c) }
		check = reused.Check
	case ES256:
		sign = func(c *jwt.Claims) ([]byte, error) { return c.ECDSASign(jwt.ES256, keys.ECDSA) }
		check = func(t []byte) (*jwt.Claims, error) { return jwt.ECDSACheck(t, &keys.ECDSA.PublicKey) }
	case EdDSA:
		public := keys.Ed25519.Public().(ed25519.PublicKey)
		sign = func(c *jwt.Claims) ([]byte, error) { return c.EdDSASign(keys.Ed25519) }
		check = func(t []byte) (*jwt.Claims, error) { return jwt.EdDSACheck(t, public) }
	case RS256:
		sign = func(c *jwt.Claims) ([]byte, error) { return c.RSASign(jwt.RS256, keys.RSA) }
		check = func(t []byte) (*jwt.Claims, error) { return jwt.RSACheck(t, &keys.RSA.PublicKey) }
	}
	return []Codec{{
		Name: "pascaldekloe",
		Kind: Peer,
		SignBytes: func(c Claims) ([]byte, error) {
			claims := jwt.Claims{
				Registered: jwt.Registered{
					Subject: c.Subject,
					ID:      c.ID,
					// Whole seconds, as the documentation advises: a fraction
					// costs more and some readers choke on it.
					Issued:  jwt.NewNumericTime(c.IssuedAt.Truncate(time.Second)),
					Expires: jwt.NewNumericTime(c.ExpiresAt.Truncate(time.Second)),
				},
				Set: map[string]any{"uid": c.UserID, "roles": c.Roles},
			}
			return sign(&claims)
		},
		VerifyBytes: func(token []byte) (Identity, error) {
			claims, err := check(token)
			if err != nil {
				return Identity{}, err
			}
			return pascaldekloeIdentity(claims)
		},
	}}, nil
}

func pascaldekloeIdentity(claims *jwt.Claims) (Identity, error) {
	if err := claims.AcceptTemporal(time.Now(), 0); err != nil {
		return Identity{}, err
	}
	roles, ok := stringsOf(claims.Set["roles"])
	if !ok {
		return Identity{}, errInvalid
	}
	return Identity{Subject: claims.Subject, Roles: roles}, nil
}
