package apikey

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authkit-go/authkit"
)

const (
	// fresh is the maximum age of the login of a user who changes keys.
	fresh = 5 * time.Minute

	defaultLife = 90 * 24 * time.Hour
	maxLife     = 366 * 24 * time.Hour
	maxOverlap  = 24 * time.Hour

	maxKeys      = 50 // of an owner
	maxScopes    = 64
	maxNetworks  = 16
	maxNameRunes = 64
)

// Keys creates, lists, rotates and revokes API keys. Make it with [New]. It is
// safe for concurrent use.
//
// If ctx has a principal, each method requires that it is a login of the owner
// which is at most five minutes old. The keys of services, and the services,
// belong to administrators, who have [authkit.Config].AdminRole. Without a
// principal, or by [authkit.WithSystem], your program acts.
type Keys struct {
	kit   *authkit.Kit
	auth  *Authenticator
	roles map[string][]string // the role table
	admin string              // the role of administrators
}

// New returns the Keys of a Kit, or an error if the Kit does not have the
// Authenticator in its Authenticators and UserData.
func New(kit *authkit.Kit, a *Authenticator) (*Keys, error) {
	if kit == nil || a == nil || a.store == nil {
		return nil, errors.New("apikey: the Kit or the Authenticator is nil; make it with authkit.New and NewAuthenticator")
	}
	settings := kit.Settings()
	var errs []error
	if !slices.Contains(settings.Authenticators, authkit.Authenticator(a)) {
		errs = append(errs, errors.New("apikey: authkit.Config.Authenticators does not have the Authenticator; without it no key is accepted"))
	}
	if !slices.Contains(settings.UserData, authkit.UserData(a)) {
		errs = append(errs, errors.New("apikey: authkit.Config.UserData does not have the Authenticator; without it the keys of a reset account stay"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Keys{kit: kit, auth: a, roles: settings.Roles, admin: settings.AdminRole}, nil
}

// Options are the properties of a new key.
type Options struct {
	Name string // for the list; at most 64 characters that print

	// Scopes are the permissions that the key can have, at most 64. If ctx has
	// a principal, it must have each of them. For a service, the roles of the
	// service must grant them. None means that the key has no permission.
	Scopes []string

	// Networks are the addresses from which the key is accepted, at most 16. If
	// empty, it is accepted from every address. The address is that of the
	// connection, or that of [authkit.WithClient], as behind
	// throttle.TrustProxies.
	Networks []netip.Prefix

	// Life is the time until the key expires, at most 366 days. If zero, it is
	// 90 days.
	Life time.Duration

	// InsecureNoExpiry makes a key that never expires. A leaked key is then
	// good until someone finds it.
	InsecureNoExpiry bool
}

// An Issued is a key with its text, which is shown once. It redacts the text
// wherever it is formatted or logged. Its JSON form, which is for the response,
// has the text.
type Issued struct {
	Key
	Text string `json:"key"`
}

func (i Issued) describe() string { return fmt.Sprintf("apikey.Issued{ID: %q, [redacted]}", i.ID) }

// String returns the ID of the key, not its text.
func (i Issued) String() string { return i.describe() }

// Format implements fmt.Formatter. It prints the text of String for every verb.
func (i Issued) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(i.describe())) }

// LogValue implements slog.LogValuer. It returns the text of String.
func (i Issued) LogValue() slog.Value { return slog.StringValue(i.describe()) }

// Create creates a key of an owner and returns its text, which cannot be read
// again.
//
// The errors are:
//   - A *authkit.ValidationError with every invalid field.
//   - authkit.ErrForbidden if the principal of ctx is not a login of the user,
//     or for a service, of an administrator.
//   - A *authkit.StepUpError if that login is too old.
//   - authkit.ErrUserNotFound if there is no such account.
//   - ErrNotFound if there is no such service.
//   - ErrTooManyKeys if the owner has 50 keys. Concurrent calls can exceed this
//     number.
//   - authkit.ErrUnavailable, or the error of ctx.
func (k *Keys) Create(ctx context.Context, owner Owner, o Options) (Issued, error) {
	if err := k.mayManage(ctx, owner); err != nil {
		return Issued{}, err
	}
	if err := k.check(ctx, owner, &o); err != nil {
		return Issued{}, err
	}
	held, err := k.auth.store.KeysByOwner(ctx, owner)
	if err != nil {
		return Issued{}, k.failed(ctx, err)
	}
	if len(held) >= maxKeys {
		return Issued{}, ErrTooManyKeys
	}
	at := now()
	id := newID()
	text := newText(k.auth.prefix, id)
	key := StoredKey{Hash: Hash(text), Version: 1, Key: Key{
		Owner: owner, ID: id, Name: o.Name, Scopes: append([]string{}, o.Scopes...), Networks: append([]netip.Prefix{}, o.Networks...),
		CreatedAt: at, ExpiresAt: at.Add(o.Life),
	}}
	if o.InsecureNoExpiry {
		key.ExpiresAt = time.Time{}
	}
	if err := k.auth.store.CreateKey(ctx, key); err != nil {
		return Issued{}, k.failed(ctx, err)
	}
	k.emit(ctx, authkit.EventKeyCreated, &key.Key)
	return Issued{key.Key, text}, nil
}

// List returns the keys of an owner, the oldest first. Keys that have expired are
// in it for 30 days. Keys that [authkit.Kit.SetPassword] or
// [authkit.Kit.LogoutEverywhere] has ended are in it until then, or until they
// are revoked. The errors are those of [Keys.Create] about the principal,
// and authkit.ErrUnavailable.
func (k *Keys) List(ctx context.Context, owner Owner) ([]Key, error) {
	if err := k.mayManage(ctx, owner); err != nil {
		return nil, err
	}
	keys, err := k.auth.store.KeysByOwner(ctx, owner)
	if err != nil {
		return nil, k.failed(ctx, err)
	}
	return append([]Key{}, keys...), nil // in JSON an empty list, not null
}

// Rotate gives a key a new secret and returns its text. The ID stays.
// The old secret is accepted for the time of overlap, at most 24 hours, so that
// programs can change over. If overlap is zero, it ends at once. A secret before
// the old one ends in any case. The key expires after as long as it did after
// its creation or its latest rotation. To respond to a leak, use [Keys.Revoke].
//
// The errors are:
//   - ErrNotFound if the owner has no such key, if the key has expired, or if
//     [authkit.Kit.SetPassword] or [authkit.Kit.LogoutEverywhere] has ended it.
//   - ErrConflict if another call has rotated the key at the same time.
//   - A *authkit.ValidationError for another overlap.
//   - Those of [Keys.Create] about the principal.
//   - authkit.ErrUnavailable, or the error of ctx.
func (k *Keys) Rotate(ctx context.Context, owner Owner, keyID string, overlap time.Duration) (Issued, error) {
	if err := k.mayManage(ctx, owner); err != nil {
		return Issued{}, err
	}
	if overlap < 0 || overlap > maxOverlap {
		return Issued{}, invalid("overlap", "must be at most 24 hours")
	}
	key, err := k.auth.store.KeyByID(ctx, keyID)
	at := now()
	switch {
	case err != nil:
		return Issued{}, k.failed(ctx, err)
	case key.ID != keyID || key.Owner != owner || !key.ExpiresAt.IsZero() && !at.Before(key.ExpiresAt):
		return Issued{}, ErrNotFound
	}
	if ended, err := k.ended(ctx, &key.Key); err != nil {
		return Issued{}, k.failed(ctx, err)
	} else if ended {
		return Issued{}, ErrNotFound
	}
	text := newText(k.auth.prefix, keyID)
	r := Rotation{Version: key.Version, Hash: Hash(text), At: at}
	if overlap > 0 {
		r.PreviousUntil = at.Add(overlap)
	}
	if !key.ExpiresAt.IsZero() {
		began := key.CreatedAt
		if !key.RotatedAt.IsZero() {
			began = key.RotatedAt
		}
		r.ExpiresAt = at.Add(key.ExpiresAt.Sub(began))
	}
	if err := k.auth.store.RotateKey(ctx, owner, keyID, r); err != nil {
		return Issued{}, k.failed(ctx, err)
	}
	key.RotatedAt, key.ExpiresAt, key.PreviousUntil = at, r.ExpiresAt, r.PreviousUntil
	k.emit(ctx, authkit.EventKeyRotated, &key.Key)
	return Issued{key.Key, text}, nil
}

// ended reports whether a change of the account of its owner has ended a key.
// Guards refuse such a key, and would refuse a new secret too.
func (k *Keys) ended(ctx context.Context, key *Key) (bool, error) {
	if key.UserID == "" {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	u, err := k.kit.Settings().Users.UserByID(ctx, key.UserID)
	if errors.Is(err, authkit.ErrUserNotFound) {
		return true, nil
	}
	return key.CreatedAt.Before(u.TokensValidAfter), err
}

// Revoke deletes a key. It is refused from the next request on, by
// every instance on the same store.
//
// The errors are ErrNotFound if the owner has no such key, those of
// [Keys.Create] about the principal, and authkit.ErrUnavailable.
func (k *Keys) Revoke(ctx context.Context, owner Owner, keyID string) error {
	if err := k.mayManage(ctx, owner); err != nil {
		return err
	}
	key, err := k.auth.store.KeyByID(ctx, keyID)
	if err != nil {
		return k.failed(ctx, err)
	}
	if key.ID != keyID || key.Owner != owner {
		return ErrNotFound
	}
	return k.revoke(ctx, &key.Key)
}

// revoke deletes a key. The tokens of a service end first: after an error the
// key is still there, so that the caller can try again.
func (k *Keys) revoke(ctx context.Context, key *Key) error {
	if key.ServiceID != "" {
		if err := k.kit.RevokeServiceTokens(ctx, key.ServiceID, key.ID); err != nil {
			return err
		}
	}
	if err := k.auth.store.DeleteKey(ctx, key.Owner, key.ID); err != nil {
		return k.failed(ctx, err)
	}
	k.emit(ctx, authkit.EventKeyRevoked, key)
	return nil
}

// RevokeLeaked deletes the key of a text that someone has found. Possession of
// the text authorizes the call: its holder could use the key, and does less harm
// by ending it. A secret before the latest rotation counts too, while it is
// accepted. It returns nil for every other text.
//
// The error is authkit.ErrUnavailable, or the error of ctx.
func (k *Keys) RevokeLeaked(ctx context.Context, text string) error {
	key, _, err := k.auth.find(ctx, text)
	switch {
	case errors.Is(err, authkit.ErrInvalidToken):
		return nil
	case err != nil:
		return k.failed(ctx, err)
	}
	if err := k.revoke(ctx, &key.Key); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// An Import is a key of another system or another store, of which only the hash
// is known.
type Import struct {
	Owner Owner

	// Hash is the SHA-256 of the whole text of the key; see [Hash].
	Hash [sha256.Size]byte

	// ID is the ID of a key of this package. It is empty for a key of another
	// system, whose prefix must be in [Config].ImportedPrefixes. Its ID is then
	// the beginning of its hash.
	ID string

	Options // as in [Keys.Create]
}

// Import stores a key by its hash. Import only keys with at least 128 random
// bits: the ID of a key of another system shows a part of its hash. Scopes must
// be permissions of the role table. It is for commands and migrations, and
// returns ErrForbidden if ctx has a principal other than
// [authkit.WithSystem].
//
// The errors are also ErrExists if the key was imported before, a
// *authkit.ValidationError, authkit.ErrUserNotFound and
// authkit.ErrUnavailable.
func (k *Keys) Import(ctx context.Context, i Import) (Key, error) {
	if p, ok := authkit.PrincipalFrom(ctx); ok && p.Kind != authkit.System {
		return Key{}, authkit.ErrForbidden
	}
	if err := k.check(ctx, i.Owner, &i.Options); err != nil {
		return Key{}, err
	}
	switch {
	case i.Hash == [sha256.Size]byte{}:
		return Key{}, invalid("hash", "must be the SHA-256 of the key")
	case i.ID == "":
		i.ID = importedID(i.Hash)
	case len(i.ID) != idLen || !isHex(i.ID):
		return Key{}, invalid("id", "must be empty, or 16 hexadecimal digits")
	}
	at := now()
	key := StoredKey{Hash: i.Hash, Version: 1, Key: Key{
		Owner: i.Owner, ID: i.ID, Name: i.Name, Scopes: append([]string{}, i.Scopes...), Networks: append([]netip.Prefix{}, i.Networks...),
		CreatedAt: at, ExpiresAt: at.Add(i.Life),
	}}
	if i.InsecureNoExpiry {
		key.ExpiresAt = time.Time{}
	}
	if err := k.auth.store.CreateKey(ctx, key); err != nil {
		return Key{}, k.failed(ctx, err)
	}
	k.emit(ctx, authkit.EventKeyCreated, &key.Key)
	return key.Key, nil
}

// mayManage returns why the principal of ctx may not manage the keys of an
// owner, or nil (AK-07).
func (k *Keys) mayManage(ctx context.Context, owner Owner) error {
	p, ok := authkit.PrincipalFrom(ctx)
	if !ok || p.Kind == authkit.System {
		return nil
	}
	policy, self := authkit.Authenticated(), owner.UserID
	if owner.ServiceID != "" {
		policy, self = authkit.Roles(k.admin), p.UserID
	}
	if err := k.kit.RequireSelf(ctx, self); err != nil {
		return err
	}
	return policy.Fresh(fresh).Check(p)
}

func invalid(field, message string) error {
	return &authkit.ValidationError{Fields: []authkit.FieldError{{Field: field, Message: message}}}
}

// check returns the invalid properties of a new key, or an error if there is no
// such owner. It fills in the default life and masks the networks.
func (k *Keys) check(ctx context.Context, owner Owner, o *Options) error {
	granted, err := k.granted(ctx, owner)
	if err != nil {
		return err
	}
	var fields []authkit.FieldError
	add := func(field, message string) {
		fields = append(fields, authkit.FieldError{Field: field, Message: message})
	}
	if !utf8.ValidString(o.Name) || utf8.RuneCountInString(o.Name) > maxNameRunes || slices.ContainsFunc([]rune(o.Name), func(r rune) bool { return !unicode.IsPrint(r) }) {
		add("name", "must have at most "+strconv.Itoa(maxNameRunes)+" characters that print")
	}
	if rule := scopesRule(o.Scopes, granted); rule != "" {
		add("scopes", rule)
	}
	networks, ok := masked(o.Networks)
	if !ok {
		add("networks", "must be at most "+strconv.Itoa(maxNetworks)+" networks such as 192.0.2.0/24")
	}
	o.Networks = networks
	if o.Life < 0 || o.Life > maxLife || o.InsecureNoExpiry && o.Life != 0 {
		add("life", "must be at most 366 days")
	}
	if o.Life == 0 {
		o.Life = defaultLife
	}
	if fields != nil {
		return &authkit.ValidationError{Fields: fields}
	}
	return nil
}

// granted returns a function that reports whether a key of an owner can be
// created with a permission (AK-05). If ctx has a principal, that is the user,
// who must have the permission. Your program can create a key with a permission
// that the user gets later.
func (k *Keys) granted(ctx context.Context, owner Owner) (func(permission string) bool, error) {
	if owner.UserID != "" && owner.ServiceID != "" {
		return nil, ErrNotFound
	}
	if owner.ServiceID != "" {
		s, err := k.auth.store.ServiceByID(ctx, owner.ServiceID)
		if err != nil {
			return nil, k.failed(ctx, err)
		}
		return func(permission string) bool {
			return slices.ContainsFunc(s.Roles, func(role string) bool { return slices.Contains(k.roles[role], permission) })
		}, nil
	}
	if _, err := k.kit.User(ctx, owner.UserID); err != nil {
		return nil, err
	}
	if p, _ := authkit.PrincipalFrom(ctx); p.Kind == authkit.Person {
		return p.HasPermission, nil
	}
	return func(permission string) bool {
		for _, permissions := range k.roles {
			if slices.Contains(permissions, permission) {
				return true
			}
		}
		return false
	}, nil
}

// scopesRule returns the rule that scopes break, or "".
func scopesRule(scopes []string, granted func(permission string) bool) string {
	for i, s := range scopes {
		if slices.Contains(scopes[:i], s) || !granted(s) {
			return "must be permissions that the owner has, each once"
		}
	}
	if len(scopes) > maxScopes {
		return "must be at most " + strconv.Itoa(maxScopes)
	}
	return ""
}

// masked returns networks in their canonical form.
func masked(networks []netip.Prefix) ([]netip.Prefix, bool) {
	if len(networks) > maxNetworks {
		return nil, false
	}
	list := make([]netip.Prefix, 0, len(networks))
	for _, n := range networks {
		if !n.IsValid() || n.Addr().Is4In6() { // a Prefix has no zone
			return nil, false
		}
		list = append(list, n.Masked())
	}
	return list, true
}

// emit emits the event of a change of a key.
func (k *Keys) emit(ctx context.Context, kind authkit.EventKind, key *Key) {
	target := key.UserID
	if key.ServiceID != "" {
		target = servicePrefix + key.ServiceID
	}
	k.kit.Emit(ctx, authkit.Event{Kind: kind, UserID: target, SessionID: key.ID})
}

// failed returns an error of the store as callers see it.
func (k *Keys) failed(ctx context.Context, err error) error {
	for _, known := range []error{ErrNotFound, ErrExists, ErrConflict} {
		if errors.Is(err, known) {
			return known
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	err = fmt.Errorf("apikey: %w: %w", authkit.ErrUnavailable, err)
	k.report(ctx, err)
	return err
}
