package peers

import "github.com/golang-jwt/jwt/v5"

type golangJWTClaims struct {
	UserID string   `json:"uid"`
	Roles  []string `json:"roles"`
	jwt.RegisteredClaims
}

func golangJWTCodecs(alg string, keys Keys) ([]Codec, error) {
	method := jwt.GetSigningMethod(alg)
	private, public := keys.private(alg), keys.public(alg)
	keyFunc := func(*jwt.Token) (any, error) { return public, nil }

	kept := Codec{
		Name: "golang-jwt",
		Kind: Peer,
		SignString: func(c Claims) (string, error) {
			return jwt.NewWithClaims(method, golangJWTClaims{
				UserID: c.UserID,
				Roles:  c.Roles,
				RegisteredClaims: jwt.RegisteredClaims{
					Subject:   c.Subject,
					ID:        c.ID,
					IssuedAt:  jwt.NewNumericDate(c.IssuedAt),
					ExpiresAt: jwt.NewNumericDate(c.ExpiresAt),
				},
			}).SignedString(private)
		},
	}
	// One parser for all requests: its options are read once. Claims go into a struct, which is faster than MapClaims.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithExpirationRequired())
	kept.VerifyString = func(token string) (Identity, error) {
		var c golangJWTClaims
		if _, err := parser.ParseWithClaims(token, &c, keyFunc); err != nil {
			return Identity{}, err
		}
		return Identity{Subject: c.Subject, Roles: c.Roles}, nil
	}
	if alg != HS256 {
		return []Codec{kept}, nil
	}

	// What most tutorials show, and most middlewares do: a parser per request and a map of claims.
	naive := Codec{
		Name: "golang-jwt, per request",
		Kind: Peer,
		Note: "a parser made for each token, claims in a map",
		SignString: func(c Claims) (string, error) {
			return jwt.NewWithClaims(method, jwt.MapClaims{
				"sub": c.Subject, "uid": c.UserID, "roles": c.Roles, "jti": c.ID,
				"iat": c.IssuedAt.Unix(), "exp": c.ExpiresAt.Unix(),
			}).SignedString(private)
		},
		VerifyString: func(token string) (Identity, error) {
			t, err := jwt.Parse(token, keyFunc, jwt.WithValidMethods([]string{alg}), jwt.WithExpirationRequired())
			if err != nil {
				return Identity{}, err
			}
			return identityOfMap(t.Claims.(jwt.MapClaims))
		},
	}
	return []Codec{kept, naive}, nil
}
