package peers

import "github.com/kataras/jwt"

type katarasClaims struct {
	UserID string   `json:"uid"`
	Roles  []string `json:"roles"`
}

func katarasCodecs(alg string, keys Keys) ([]Codec, error) {
	method := map[string]jwt.Alg{HS256: jwt.HS256, ES256: jwt.ES256, EdDSA: jwt.EdDSA, RS256: jwt.RS256}[alg]
	private, public := keys.private(alg), keys.public(alg)
	return []Codec{
		{
			Name: "kataras",
			Kind: Peer,
			SignBytes: func(c Claims) ([]byte, error) {
				return jwt.Sign(method, private, katarasClaims{UserID: c.UserID, Roles: c.Roles}, jwt.Claims{
					Subject: c.Subject, ID: c.ID, IssuedAt: c.IssuedAt.Unix(), Expiry: c.ExpiresAt.Unix(),
				})
			},
			// Verify decodes and checks the standard claims; Claims decodes the
			// rest.
			VerifyBytes: func(token []byte) (Identity, error) {
				t, err := jwt.Verify(method, public, token)
				if err != nil {
					return Identity{}, err
				}
				var c katarasClaims
				if err := t.Claims(&c); err != nil {
					return Identity{}, err
				}
				return Identity{Subject: t.StandardClaims.Subject, Roles: c.Roles}, nil
			},
		},
		{
			Name: "kataras, one struct",
			Kind: Peer,
			Note: "issues one struct of all claims, which spares the library its merge of two JSON objects",
			SignBytes: func(c Claims) ([]byte, error) {
				return jwt.Sign(method, private, newPlainClaims(c))
			},
		},
	}, nil
}
