package foreign

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

// keyPrefix begins every key, so that scanners for leaked secrets recognize it.
const keyPrefix = "ak_"

// APIKeys is an [authkit.Authenticator] for API keys: "Authorization: Bearer
// ak_..." or "X-API-Key: ak_...". The zero value is ready for use.
type APIKeys struct {
	mu   sync.Mutex
	byID map[string]apiKey
}

type apiKey struct {
	owner     string
	scopes    []string
	hash      [sha256.Size]byte
	expiresAt time.Time // zero: never
}

// Create stores a key of an account, limited to scopes, and returns its text. A
// life of zero means no expiry.
func (k *APIKeys) Create(owner string, life time.Duration, scopes ...string) (text string) {
	secret := strings.ToLower(rand.Text() + rand.Text())
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	id := hex.EncodeToString(random)
	key := apiKey{owner: owner, scopes: slices.Clone(scopes), hash: sha256.Sum256([]byte(secret))}
	if life != 0 {
		key.expiresAt = time.Now().Add(life)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID == nil {
		k.byID = make(map[string]apiKey)
	}
	k.byID[id] = key
	return keyPrefix + id + "_" + secret
}

// Revoke deletes the key of a text.
func (k *APIKeys) Revoke(text string) {
	id, _, _ := strings.Cut(strings.TrimPrefix(text, keyPrefix), "_")
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.byID, id)
}

// Challenge implements [authkit.Authenticator].
func (*APIKeys) Challenge() string { return "ApiKey" }

// Authenticate implements [authkit.Authenticator].
func (k *APIKeys) Authenticate(r *http.Request) (authkit.Credential, error) {
	text, err := keyOf(r)
	if err != nil {
		return authkit.Credential{}, err
	}
	id, secret, _ := strings.Cut(strings.TrimPrefix(text, keyPrefix), "_")
	k.mu.Lock()
	key, ok := k.byID[id]
	k.mu.Unlock()
	hash := sha256.Sum256([]byte(secret))
	if !ok || subtle.ConstantTimeCompare(hash[:], key.hash[:]) != 1 {
		return authkit.Credential{}, authkit.ErrInvalidToken
	}
	return authkit.Credential{
		Kind: "api_key", ID: id, UserID: key.owner, Machine: true,
		Limited: true, Permissions: key.scopes, ExpiresAt: key.expiresAt,
	}, nil
}

// keyOf returns the one key of a request.
func keyOf(r *http.Request) (string, error) {
	bearer, err := authkit.BearerToken(r)
	if err == nil && !strings.HasPrefix(bearer, keyPrefix) {
		err = authkit.ErrNoCredentials // a bearer token of another kind
	}
	found := r.Header.Values("X-Api-Key")
	switch {
	case len(found) == 0:
		return bearer, err
	case len(found) > 1 || err == nil || !strings.HasPrefix(found[0], keyPrefix):
		return "", authkit.ErrInvalidToken
	}
	return found[0], nil
}
