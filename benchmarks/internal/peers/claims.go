package peers

import (
	"encoding/json"
	"time"
)

// plainClaims are the claims of a program whose library accepts any claims.
type plainClaims struct {
	Subject  string   `json:"sub"`
	UserID   string   `json:"uid"`
	Roles    []string `json:"roles"`
	ID       string   `json:"jti"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
}

func newPlainClaims(c Claims) *plainClaims {
	return &plainClaims{
		Subject: c.Subject, UserID: c.UserID, Roles: c.Roles, ID: c.ID,
		IssuedAt: c.IssuedAt.Unix(), Expires: c.ExpiresAt.Unix(),
	}
}

// identityOfJSON decodes the payload of a token whose signature was verified,
// and checks its expiry.
func identityOfJSON(payload []byte) (Identity, error) {
	var c plainClaims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Identity{}, err
	}
	if time.Now().Unix() >= c.Expires {
		return Identity{}, errExpired
	}
	return Identity{Subject: c.Subject, Roles: c.Roles}, nil
}

// identityOfMap reads the subject and the roles out of claims that a library
// keeps in a map.
func identityOfMap(claims map[string]any) (Identity, error) {
	sub, ok := claims["sub"].(string)
	if !ok {
		return Identity{}, errInvalid
	}
	roles, ok := stringsOf(claims["roles"])
	if !ok {
		return Identity{}, errInvalid
	}
	return Identity{Subject: sub, Roles: roles}, nil
}

func stringsOf(v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, len(list))
	for i, e := range list {
		if out[i], ok = e.(string); !ok {
			return nil, false
		}
	}
	return out, true
}
