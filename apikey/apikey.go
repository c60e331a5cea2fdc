// Package apikey lets programs authenticate with API keys. Users create keys
// for themselves, limited to some of their permissions.
//
//	authenticator, err := apikey.NewAuthenticator(apikey.Config{Store: store})
//	...
//	kit, err := authkit.New(authkit.Config{
//		Authenticators: []authkit.Authenticator{authenticator},
//		UserData:       []authkit.UserData{authenticator},
//		Roles:          map[string][]string{"editor": {"notes:read", "notes:write"}},
//		...
//	})
//	...
//	keys, err := apikey.New(kit, authenticator)
//	...
//	keys.Mount(mux, "/users/me/keys")
//	go keys.Run(ctx)
//
// A route admits keys only if its policy has OrMachines:
//
//	mux.Handle("GET /notes", authkit.Permissions("notes:read").OrMachines(), notes)
//
// # The text of a key
//
// A key is a prefix, an ID, a secret of 256 random bits, and a checksum, such as
//
//	ak_8f14e45fceea167a_0a3c…64 digits…9b1f55b0ed43
//
// This regular expression finds keys in files and logs; see
// [Authenticator.Pattern]:
//
//	ak_[0-9a-f]{16}_[0-9a-f]{72}
//
// The last eight digits are the CRC-32 (IEEE) of all characters before them, so
// a scanner can tell keys from other texts. A text with a wrong prefix or
// checksum is refused before the store is called.
//
// A client sends the key as a bearer token, or in the header X-API-Key:
//
//	Authorization: Bearer ak_...
//
// # Permissions of a key
//
// A key has those of its scopes that the roles of its owner grant at the time of
// the request. A key without scopes has no permissions. It passes no policy of
// roles, and no policy without OrMachines.
//
// A key is refused when the account of its owner is disabled, deleted or reset.
// [authkit.Kit.SetPassword] and [authkit.Kit.LogoutEverywhere] end all keys of
// an account, because an attacker may have created one.
//
// # Services
//
// A [Service] is a program without an account. Its keys belong to it and to no
// user. With [authkit.Config].Clients, it gets access tokens for five minutes from the
// token endpoint, by the client-credentials grant of OAuth 2.0. The client_id is
// the ID of the service, and the client_secret is the text of a key. Guards
// without a store accept these tokens; see [authkit.ClientAuthenticator]. If a
// key is revoked, its tokens are too: at once at the Kit, and at guards that
// follow its revocations (package revocation).
//
// # Changing keys
//
// Creating, listing, rotating and revoking keys requires a login of the owner
// that is at most five minutes old. A key can do none of this. The text of a key
// is shown once. The store keeps its SHA-256.
//
// A person who finds a leaked key can revoke it; see [Keys.RevokeLeaked].
package apikey

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/authkit-go/authkit"
)

// Config configures an [Authenticator]. Its zero value works for a single
// program that may lose its keys.
type Config struct {
	// Store keeps the keys. If nil, it is a new [MemoryStore], which loses them
	// when the program ends.
	Store Store

	// StoreTimeout limits each call of Store. If zero, it is 5 seconds. A
	// MemoryStore has no limit.
	StoreTimeout time.Duration

	// Prefix begins every key, before an underscore. Choose one for your
	// service, so that scanners recognize it: 2 to 16 of a to z and 0 to 9, the
	// first a letter. If empty, it is "ak". Keys of another prefix are refused,
	// so do not change it.
	Prefix string

	// ImportedPrefixes are the prefixes of the keys of other systems that were
	// imported by their hashes, such as "sk_live_"; see [Keys.Import]. Each has
	// at least 3 characters. Such keys have no checksum that is known here, so
	// each text with such a prefix costs a call of the store. It has at most 512
	// characters and no dot.
	ImportedPrefixes []string

	// Throttle, if not nil, limits the requests of each key. It is called with
	// the action [authkit.ActionAPIKey] and the ID of the key as account, after
	// the key was checked. So a client without the key cannot use up its
	// requests. Further requests get 429. Package throttle admits 600
	// requests at once and ten more each second, unless its Limits say
	// otherwise.
	Throttle authkit.Throttle
}

// An Authenticator checks the API keys of requests. Set it in
// [authkit.Config].Authenticators and UserData. It is safe for concurrent use.
type Authenticator struct {
	store    Store
	prefix   string // with the underscore
	imported []string
	throttle authkit.Throttle
	used     *uses
}

var (
	_ authkit.Authenticator = (*Authenticator)(nil)
	_ authkit.UserData      = (*Authenticator)(nil)
)

var prefixForm = regexp.MustCompile(`^[a-z][a-z0-9]{1,15}$`)

// NewAuthenticator returns an Authenticator, or an error that joins all
// problems of cfg.
func NewAuthenticator(cfg Config) (*Authenticator, error) {
	var errs []error
	problem := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("apikey: Config."+field+": "+format, args...))
	}
	if m, ok := cfg.Store.(*MemoryStore); ok && (m == nil || m.keys == nil) {
		problem("Store", "an empty MemoryStore; make it with NewMemoryStore")
	}
	if cfg.StoreTimeout < 0 {
		problem("StoreTimeout", "%v; use a positive one, or 0 for 5s", cfg.StoreTimeout)
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "ak"
	}
	if !prefixForm.MatchString(cfg.Prefix) {
		problem("Prefix", "%q; use 2 to 16 of a to z and 0 to 9, the first a letter, without an underscore", cfg.Prefix)
	}
	for _, p := range cfg.ImportedPrefixes {
		if len(p) < 3 || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }) {
			problem("ImportedPrefixes", "%q; use at least 3 characters of ASCII that print, without a dot", p)
		}
		if strings.HasPrefix(p, cfg.Prefix+"_") || strings.HasPrefix(cfg.Prefix+"_", p) {
			problem("ImportedPrefixes", "%q overlaps with the Prefix %q; import keys of this package with their IDs", p, cfg.Prefix)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Authenticator{
		store: timedStoreOf(cfg.Store, cfg.StoreTimeout), prefix: cfg.Prefix + "_", imported: slices.Clone(cfg.ImportedPrefixes),
		throttle: cfg.Throttle, used: newUses(),
	}, nil
}

// Pattern returns a regular expression that matches the keys of this
// configuration, for scanners that look for leaked secrets. It does not match
// imported keys.
func (a *Authenticator) Pattern() string {
	return fmt.Sprintf("%s[0-9a-f]{%d}_[0-9a-f]{%d}", a.prefix, idLen, secretLen+checksumLen)
}

// Challenge implements [authkit.Authenticator]. It returns "", because the
// challenge of a guard is that of keys too.
func (*Authenticator) Challenge() string { return "" }

// Authenticate implements [authkit.Authenticator].
func (a *Authenticator) Authenticate(r *http.Request) (authkit.Credential, error) {
	text, err := a.textOf(r)
	if err != nil {
		return authkit.Credential{}, err
	}
	ctx := contextOf(r)
	k, mark, err := a.find(ctx, text)
	if err != nil {
		return authkit.Credential{}, err
	}
	return a.use(ctx, &k.Key, mark)
}

// use returns the credential of a key that was presented, and notes its use. The
// mark follows the ID.
func (a *Authenticator) use(ctx context.Context, k *Key, mark string) (authkit.Credential, error) {
	client := authkit.ClientFrom(ctx)
	if !k.admits(client.Address) {
		return authkit.Credential{}, authkit.ErrInvalidToken
	}
	if a.throttle != nil {
		// Without an End, the request stays counted.
		if err := a.throttle.Begin(ctx, authkit.Attempt{Action: authkit.ActionAPIKey, Account: k.ID, Client: client}); err != nil {
			return authkit.Credential{}, err
		}
	}
	c, err := a.credential(ctx, k)
	if err != nil {
		return authkit.Credential{}, err
	}
	c.ID += mark
	a.used.note(k, now())
	return c, nil
}

// previousMark follows the ID of a key in [authkit.Principal].TokenID and in
// events if the secret before the latest rotation was used (AK-10).
const previousMark = ".previous"

// textOf returns the one key of a request.
func (a *Authenticator) textOf(r *http.Request) (string, error) {
	bearer, err := authkit.BearerToken(r)
	if err == nil && !a.mine(bearer) {
		err = authkit.ErrNoCredentials // another kind of bearer token
	}
	found := r.Header["X-Api-Key"]
	switch {
	case len(found) == 0:
		return bearer, err
	case len(found) > 1 || err == nil:
		return "", authkit.ErrInvalidToken
	}
	return found[0], nil
}

// mine reports whether a text has one of the prefixes of keys.
func (a *Authenticator) mine(text string) bool {
	return strings.HasPrefix(text, a.prefix) || a.isImported(text)
}

// isImported reports whether a text has the prefix of another system. A text
// with dots is a token.
func (a *Authenticator) isImported(text string) bool {
	return slices.ContainsFunc(a.imported, func(p string) bool { return strings.HasPrefix(text, p) }) && !strings.Contains(text, ".")
}

// maxImported is the maximum length of a key of another system.
const maxImported = 512

// idOf returns the ID of a text, and whether it can be a key. It calls no
// store.
func (a *Authenticator) idOf(text string, hash *[sha256.Size]byte) (id string, ok bool) {
	if tail, ok := strings.CutPrefix(text, a.prefix); ok {
		if id, ok = parse(text, tail); ok {
			*hash = Hash(text)
		}
		return id, ok
	}
	if !a.isImported(text) || len(text) > maxImported {
		return "", false
	}
	*hash = Hash(text)
	return importedID(*hash), true
}

// find returns the key of a text, and previousMark if the text is that before
// the latest rotation.
func (a *Authenticator) find(ctx context.Context, text string) (k StoredKey, mark string, err error) {
	var hash [sha256.Size]byte
	id, ok := a.idOf(text, &hash)
	if !ok {
		return k, "", authkit.ErrInvalidToken
	}
	k, err = a.store.KeyByID(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return k, "", authkit.ErrInvalidToken
	case err != nil:
		return k, "", fmt.Errorf("apikey: %w", err)
	}
	if subtle.ConstantTimeCompare(hash[:], k.Hash[:]) == 1 {
		return k, "", nil
	}
	if now().Before(k.PreviousUntil) && subtle.ConstantTimeCompare(hash[:], k.PreviousHash[:]) == 1 {
		return k, previousMark, nil
	}
	return k, "", authkit.ErrInvalidToken
}

// admits reports whether the key is accepted from an address.
func (k *Key) admits(address string) bool {
	if len(k.Networks) == 0 {
		return true
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(k.Networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// contextOf returns the context of a request, with the client that sent it.
func contextOf(r *http.Request) context.Context {
	ctx := r.Context()
	if authkit.ClientFrom(ctx) != (authkit.ClientInfo{}) {
		return ctx
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	return authkit.WithClient(ctx, authkit.ClientInfo{Address: address, Device: r.UserAgent()})
}

// Name implements [authkit.UserData].
func (*Authenticator) Name() string { return "api_keys" }

// Wipe implements [authkit.UserData]. It removes all keys of a user.
func (a *Authenticator) Wipe(ctx context.Context, userID string, _ authkit.Wipe) error {
	return unavailable(a.store.DeleteKeys(ctx, OfUser(userID)))
}

// Export implements [authkit.UserData]. It returns the keys of a user without
// their secrets.
func (a *Authenticator) Export(ctx context.Context, userID string) (any, error) {
	keys, err := a.store.KeysByOwner(ctx, OfUser(userID))
	if len(keys) == 0 {
		return nil, unavailable(err)
	}
	return keys, unavailable(err)
}

// unavailable returns the error of a store for a Kit.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("apikey: %w: %w", authkit.ErrUnavailable, err)
}

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
