// Package peers gives the same work to authkit and the libraries that it is
// compared with.
//
// The work is one token (sub, uid, jti, roles, iat, exp): issue it; verify its
// signature and its expiry, and return the subject and the roles as Go values;
// guard a request with it, check a role, and let a handler read the subject
// from the context. Each library is used as documented, with its fastest
// documented settings. Comments explain the choices.
package peers

import (
	"errors"
	"time"
)

// The subject and role of the valid token.
const (
	Subject  = "0199b1d2-7c3e-7a41-8f00-5d2c6e1b9a07"
	Stranger = "0199b1d2-7c3e-7a41-8f00-5d2c6e1b9a08" // has another role
	TokenID  = "0199b1d3-04aa-7b02-9a11-6f0d3c2e8b55"
	Role     = "admin"
)

// Algorithms that are measured.
const (
	HS256 = "HS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
	RS256 = "RS256"
)

// A Kind is the part of a contender in a table.
type Kind string

const (
	Ours  Kind = "ours"  // authkit
	Peer  Kind = "peer"  // another library as documented: authkit is judged by the best of these
	Tuned Kind = "tuned" // another library, with part of its work done by the program: only reported
	Floor Kind = "floor" // the bare work, for scale
)

// Claims are the claims of a token. Every contender issues and reads all of
// them.
type Claims struct {
	Subject, UserID, ID string
	Roles               []string
	IssuedAt, ExpiresAt time.Time
}

// NewClaims returns the claims of a token issued at now for half an hour.
func NewClaims(now time.Time) Claims {
	return Claims{
		Subject:   Subject,
		UserID:    Subject,
		ID:        TokenID,
		Roles:     []string{Role, "user"},
		IssuedAt:  now,
		ExpiresAt: now.Add(30 * time.Minute),
	}
}

// An Identity is the result of verifying a token.
type Identity struct {
	Subject string
	Roles   []string
}

var (
	errExpired = errors.New("expired")
	errInvalid = errors.New("invalid token")
)

// Modules returns the module paths of the peers, for a report that names their
// versions.
func Modules() []string {
	return []string{
		"github.com/golang-jwt/jwt/v5",
		"github.com/cristalhq/jwt/v5",
		"github.com/pascaldekloe/jwt",
		"github.com/kataras/jwt",
		"github.com/go-jose/go-jose/v4",
		"github.com/lestrrat-go/jwx/v3",
		"github.com/appleboy/gin-jwt/v3",
		"github.com/labstack/echo-jwt/v4",
		"github.com/go-chi/jwtauth/v5",
		"github.com/auth0/go-jwt-middleware/v3",
		"github.com/go-pkgz/auth/v2",
	}
}
