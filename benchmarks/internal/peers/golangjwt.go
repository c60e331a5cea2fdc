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

	inStruct := Codec{
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
	// One parser for all tokens, so that its options are read once.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithExpirationRequired())
	inStruct.VerifyString = func(token string) (Identity, error) {
		var c golangJWTClaims
		if _, err := parser.ParseWithClaims(token, &c, keyFunc); err != nil {
			return Identity{}, err
		}
		return Identity{Subject: c.Subject, Roles: c.Roles}, nil
	}
	// Claims in a map, as in most tutorials and middleware. Verification is
	// slightly faster: the library's types for dates and audiences are decoded
	// separately.
	inMap := Codec{
		Name: "golang-jwt, MapClaims",
		Kind: Peer,
		SignString: func(c Claims) (string, error) {
			return jwt.NewWithClaims(method, jwt.MapClaims{
				"sub": c.Subject, "uid": c.UserID, "roles": c.Roles, "jti": c.ID,
				"iat": c.IssuedAt.Unix(), "exp": c.ExpiresAt.Unix(),
			}).SignedString(private)
		},
		VerifyString: func(token string) (Identity, error) {
			t, err := parser.Parse(token, keyFunc)
			if err != nil {
				return Identity{}, err
			}
			return identityOfMap(t.Claims.(jwt.MapClaims))
		},
	}
	return []Codec{inStruct, inMap}, nil
}
