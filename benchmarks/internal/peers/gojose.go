package peers

import (
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

type goJOSEClaims struct {
	UserID string   `json:"uid"`
	Roles  []string `json:"roles"`
	jwt.Claims
}

func goJOSECodecs(alg string, keys Keys) ([]Codec, error) {
	algs := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}
	public := keys.public(alg)
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: algs[0], Key: keys.private(alg)},
		(&jose.SignerOptions{}).WithType("JWT"),
	)
	if err != nil {
		return nil, err
	}
	return []Codec{{
		Name: "go-jose",
		Kind: Peer,
		// One struct for all claims: the builder merges several through maps.
		SignString: func(c Claims) (string, error) {
			return jwt.Signed(signer).Claims(goJOSEClaims{
				UserID: c.UserID,
				Roles:  c.Roles,
				Claims: jwt.Claims{
					Subject:  c.Subject,
					ID:       c.ID,
					IssuedAt: jwt.NewNumericDate(c.IssuedAt),
					Expiry:   jwt.NewNumericDate(c.ExpiresAt),
				},
			}).Serialize()
		},
		VerifyString: func(token string) (Identity, error) {
			t, err := jwt.ParseSigned(token, algs)
			if err != nil {
				return Identity{}, err
			}
			var c goJOSEClaims
			if err := t.Claims(public, &c); err != nil {
				return Identity{}, err
			}
			if err := c.ValidateWithLeeway(jwt.Expected{Time: time.Now()}, 0); err != nil {
				return Identity{}, err
			}
			return Identity{Subject: c.Subject, Roles: c.Roles}, nil
		},
	}}, nil
}
