package authkit

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// A User is an account without its secrets. Its JSON form is for responses. Never decode
// a request into it: the client would choose its own roles.
type User struct {
	// ID is random and opaque. It is never given to another account.
	ID string `json:"id"`

	// Email is in the form of [NormalizeEmail]. It is unique within a store.
	Email string `json:"email"`

	FullName  string    `json:"full_name"`
	Roles     []string  `json:"roles"`
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	// EmailVerifiedAt is when the user proved to read the mail of Email. The zero time
	// means never.
	EmailVerifiedAt time.Time `json:"email_verified_at,omitzero"`

	// LockedUntil is when a locked account can log in again. Until then every login and
	// every refresh is refused. See [Kit.LockUser].
	LockedUntil time.Time `json:"locked_until,omitzero"`

	// Version counts the changes of the account: 1 when it is created, one more with
	// every update. A change that names it as a precondition fails with ErrConflict if
	// another change came first.
	Version int64 `json:"-"`
}

// A StoredUser is an account as a [UserStore] keeps it. Only stores and logins see the
// password hash. It has no JSON form, so JSON cannot be used to store accounts. If
// PasswordHash is empty, the account has no password.
type StoredUser struct {
	User
	PasswordHash PasswordHash `json:"-"`

	// TokensValidAfter is the cut-off of the account: tokens and sessions issued before it are
	// refused, as are tokens issued within the same second. The zero time means no
	// cut-off. Methods such as [Kit.SetPassword] set it.
	TokensValidAfter time.Time `json:"-"`
}

// Format implements fmt.Formatter. It prints the account without its password hash, for
// every verb.
func (u StoredUser) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%+v %s}", u.User, redacted)
}

// A UserUpdate is a change to an account. Nil fields stay as they are.
type UserUpdate struct {
	Email           *string // in the form of [NormalizeEmail]
	FullName        *string
	Roles           *[]string
	Disabled        *bool
	EmailVerifiedAt *time.Time
	LockedUntil     *time.Time

	// A new hash alone does not end the sessions begun with the old password. See
	// [Kit.SetPassword], which sets both fields.
	PasswordHash     *PasswordHash
	TokensValidAfter *time.Time // moves forward only; an earlier time changes nothing

	// IfVersion is a precondition: the update fails with ErrConflict unless the account
	// has this Version. Zero means no precondition.
	IfVersion int64

	// KeepRole is a precondition: the update fails with ErrLastAdmin unless the
	// store has at least one account with this role afterwards that is neither
	// disabled nor locked. An account is locked if its LockedUntil is after the
	// time of the update. Empty means no precondition.
	KeepRole string
}

// A UserQuery selects accounts of a [UserStore]. The zero value selects all of them.
type UserQuery struct {
	EmailPrefix string // accounts whose e-mail begins with it, compared byte by byte
	Role        string // accounts that have exactly this role
	Disabled    *bool  // accounts that are disabled, or that are not

	// After and Limit page through the result, which is ordered by ID: at most Limit
	// accounts with an ID greater than After. Counting ignores both.
	After string
	Limit int
}

// NewUserID returns a new user ID: a UUID of version 7 (RFC 9562), which sorts by
// time. It is unique, and not a secret.
func NewUserID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	ms := uint64(time.Now().UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
