package authkit_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/authkit-go/authkit"
)

// FR-18: other services keep the capitals of an address in the subject.
func TestSubjectInUpperCase(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.EmailSubject, c.Users, c.Sessions.Store = true, store, store })
	const address = "Ann.Smith@example.com"
	require.NoError(t, kit.ImportUsers(t.Context(), []authkit.StoredUser{{User: authkit.User{Email: address}}}))
	h := kit.Authenticate(whoami)
	sign := func(sub, more string) string {
		return "Bearer " + tokSign(t, tokKeyOf(testSecret), tokHeader, fmt.Sprintf(`{"sub":%q,"exp":%d%s}`, sub, time.Now().Add(time.Minute).Unix(), more))
	}
	for sub, want := range map[string]int{
		address: 200, strings.ToLower(address): 200, strings.ToUpper(address): 200,
		"ann.smith@example.org": 401, " " + address: 401, "ann.smith": 401, "\u212ann.smith@example.com": 401,
	} {
		require.Equal(t, want, do(h, "GET", "/", "Authorization", sign(sub, "")).Code, sub)
	}
	require.Equal(t, 401, do(h, "GET", "/", "Authorization", sign(address, `,"uid":"another"`)).Code)
}

func tokKeyOf(secret string) authkit.Key {
	return authkit.Key{Algorithm: authkit.HS256, Secret: []byte(secret)}
}

// FR-18: a token may name its algorithm as RFC 9864 does.
func TestVerifyEd25519Name(t *testing.T) {
	t.Parallel()
	key := tokKeys()[authkit.EdDSA]
	verifier := tokVerifier(t, key)
	for _, header := range []string{`{"alg":"Ed25519","typ":"JWT"}`, `{"typ":"JWT","alg":"Ed25519"}`, `{"alg":"Ed25519"}`} {
		tokAccepted(t, verifier, tokSign(t, key, header, tokPayload))
	}
	for _, alg := range []string{"ED25519", "ed25519", "Ed448"} {
		tokRefused(t, verifier, tokSign(t, key, `{"alg":"`+alg+`","typ":"JWT"}`, tokPayload))
	}
}

// FR-18: a token with all groups of a user is longer than 8 KiB. It has a reason of its own,
// and a setting.
func TestLargeToken(t *testing.T) {
	t.Parallel()
	var groups []string
	for range 500 {
		groups = append(groups, authkit.NewUserID())
	}
	key := tokKeyOf(testSecret)
	large := tokIssuerFor(t, authkit.TokenConfig{Keys: []authkit.Key{key}, MaxBytes: 32 << 10})
	for n, most := range map[int]int{200: 16 << 10, 500: 32 << 10} {
		token := tokIssue(t, large, authkit.Claims{Subject: "a", Extra: map[string]any{"groups": groups[:n]}})
		require.Greater(t, len(token), 8192)
		for limit, want := range map[int]int{0: 401, most: 200, len(token): 200, len(token) - 1: 401} {
			var events recorder
			guard, err := authkit.NewGuard(authkit.GuardConfig{
				Tokens:  authkit.TokenConfig{Keys: []authkit.Key{key}, MaxBytes: limit},
				OnEvent: []func(context.Context, authkit.Event){events.record},
			})
			require.NoError(t, err)
			h := guard.Authenticate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				p, _ := authkit.PrincipalFrom(r.Context())
				var c struct{ Groups []string }
				require.NoError(t, p.DecodeClaims(&c))
				require.Equal(t, groups[:n], c.Groups)
			}))
			require.Equal(t, want, do(h, "GET", "/", "Authorization", "Bearer "+token).Code, "%d bytes, limit %d", len(token), limit)
			if want == 401 {
				require.Equal(t, authkit.ReasonTooLarge, events.last().Reason)
			}
		}
	}
	for _, good := range []int{1024, 32 << 10} {
		_, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{key}, MaxBytes: good})
		require.NoError(t, err)
	}
	for _, bad := range []int{-1, 1023, 32<<10 + 1} {
		_, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{key}, MaxBytes: bad})
		require.ErrorContains(t, err, "TokenConfig.MaxBytes")
	}
}

// A large set accepts the unusual header of each of its keys, and does not try all of them.
func TestVerifyLargeSet(t *testing.T) {
	t.Parallel()
	var keys []authkit.Key
	for i := range 100 {
		k := tokKeyOf(fmt.Sprintf("%s-%d", testSecret, i))
		k.ID = fmt.Sprintf("key %d", i)
		keys = append(keys, k)
	}
	verifier := tokVerifier(t, keys...)
	for _, i := range []int{0, 1, 50, 99} {
		for _, form := range []string{`{ "alg":"HS256","kid":%q}`, `{"x":1,"alg":"HS256","kid":%q,"typ":"JWT"}`} {
			tokAccepted(t, verifier, tokSign(t, keys[i], fmt.Sprintf(form, keys[i].ID), tokPayload))
			tokRefused(t, verifier, tokSign(t, keys[i], fmt.Sprintf(form, "key 7"), tokPayload))
		}
	}
	// A header that names all keys gets sixteen tries.
	var named []string
	for _, k := range keys {
		named = append(named, k.ID)
	}
	all, err := json.Marshal(named)
	require.NoError(t, err)
	greedy := func(i int) string {
		return tokSign(t, keys[i], fmt.Sprintf(`{"x":%s,"alg":"HS256","kid":%q}`, all, keys[i].ID), tokPayload)
	}
	tokAccepted(t, verifier, greedy(15))
	tokRefused(t, verifier, greedy(16))
	tokAccepted(t, verifier, tokSign(t, keys[0], `{ "alg":"HS256"}`, tokPayload))
	tokRefused(t, verifier, tokSign(t, keys[99], `{ "alg":"HS256"}`, tokPayload))
}

// FR-18: "admin" and "Admin" are two roles.
func TestRolesCompareExactly(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "u@example.com", Roles: []string{"Admin", "ROLE_ADMIN", "Task.Write"}}, loginPassword)
	require.NoError(t, err)
	token, err := kit.Login(t.Context(), "u@example.com", loginPassword)
	require.NoError(t, err)
	for role, want := range map[string]int{"Admin": 200, "ROLE_ADMIN": 200, "Task.Write": 200, "admin": 403, "role_admin": 403, "task.write": 403} {
		require.Equal(t, want, do(kit.RequireRoles(role)(whoami), "GET", "/", "Authorization", "Bearer "+token.AccessToken).Code, role)
	}
}

// FR-19: a secret that everyone can read is none.
func TestPublicSecrets(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pkix, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	pkcs1 := x509.MarshalPKCS1PublicKey(tokKeys()[authkit.RS256].Private.Public().(*rsa.PublicKey))
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	std := base64.StdEncoding.EncodeToString
	const spring = "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970"
	ofHex, err := hex.DecodeString(spring)
	require.NoError(t, err)
	of64, err := base64.StdEncoding.DecodeString(spring)
	require.NoError(t, err)
	for name, c := range map[string]struct{ secret, want string }{
		"PEM public key":        {text("PUBLIC KEY", pkix), "a public key"},
		"PEM RSA public key":    {text("RSA PUBLIC KEY", pkcs1), "a public key"},
		"PEM on one line":       {strings.ReplaceAll(text("PUBLIC KEY", pkix), "\n", `\n`), "a public key"},
		"PGP public key":        {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBFw2", "a public key"},
		"PEM certificate":       {"x\n" + text("CERTIFICATE", certificate), "a certificate"},
		"DER public key":        {string(pkix), "a public key"},
		"DER RSA public key":    {string(pkcs1), "a public key"},
		"DER certificate":       {string(certificate), "a certificate"},
		"public key in base64":  {std(pkix), "a public key"},
		"public key and more":   {base64.RawURLEncoding.EncodeToString(pkcs1) + " !", "a public key"},
		"certificate in lines":  {std(certificate)[:64] + "\n" + std(certificate)[64:] + "\n", "a certificate"},
		"ssh line":              {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7Rv0S3wYJ0v0m8l5bq5H2z6dJYl0h1vQJ7xGq3TtQe ann@host", "SSH"},
		"ssh line with options": {"from=\"10.0.0.1\" ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDJ", "SSH"},
		"ssh line of ECDSA":     {"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY", "SSH"},
		"ssh line of a token":   {"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAA", "SSH"},
		"JWK":                   {`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "JSON Web Key"},
		"key set":               {` {"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`, "JSON Web Key"},
		"Spring":                {spring, "tutorials"},
		"Spring in lower case":  {strings.ToLower(spring), "tutorials"},
		"Spring from hex":       {string(ofHex), "tutorials"},
		"Spring from base64":    {string(of64), "tutorials"},
		"BezKoder":              {"======================BezKoder=Spring===========================", "tutorials"},
		"Flask":                 {"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", "tutorials"},
		"Django":                {"django-insecure-8x!k2^q0v7#m5@z1&w9$e4%r6*t3(y_u)i-o+p=a", "tutorials"},
		"FastAPI":               {"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "tutorials"},
		"RFC 7515":              {"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow", "tutorials"},
	} {
		_, err := authkit.NewKeyRing(tokKeyOf(c.secret))
		require.ErrorContains(t, err, c.want, name)
		_, err = authkit.New(authkit.Config{Secret: []byte(c.secret)})
		require.ErrorContains(t, err, "Config.Secret: the secret is", name)
	}
	// What is secret stays good, though it looks alike.
	random := make([]byte, 64)
	for range 200 {
		_, _ = rand.Read(random)
		random[0] = 0x30
		for _, good := range []string{string(random), std(random), hex.EncodeToString(random), "ssh-rsa " + std(random)} {
			_, err := authkit.NewKeyRing(tokKeyOf(good))
			require.NoError(t, err, "%q", good)
		}
	}
	word, err := base64.StdEncoding.DecodeString("changeme")
	require.NoError(t, err)
	for name, good := range map[string]string{
		"a word in the base64 of it": string(word) + string(random),
		"a secret JWK":               `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}`,
		"a private JWK":              `{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`,
		"another object":             `{"secret":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}`,
		"a list":                     `["AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"]`,
		"words that are no PEM":      "my PUBLIC KEY is not in here, of course",
	} {
		_, err := authkit.NewKeyRing(tokKeyOf(good))
		require.NoError(t, err, name)
	}
}

// FR-06: a token that lives longer than revocations are kept is refused, and not issued.
func TestMaxLifetime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := []authkit.Key{tokKey}
		day := authkit.TokenConfig{Keys: keys, MaxLifetime: 24 * time.Hour}
		for _, c := range []struct {
			life        time.Duration
			hour, dayOK bool
		}{
			{time.Hour, true, true}, {time.Hour + time.Second, false, true}, {24 * time.Hour, false, true}, {24*time.Hour + time.Second, false, false},
		} {
			claims := authkit.Claims{Subject: "u", ExpiresAt: time.Now().Add(c.life)}
			for cfg, want := range map[*authkit.TokenConfig]bool{{Keys: keys, MaxLifetime: time.Hour}: c.hour, &day: c.dayOK} {
				_, err := tokIssuerFor(t, *cfg).Issue(claims)
				require.Equal(t, want, err == nil, "%v: %v", c.life, err)
				token := tokIssue(t, tokIssuer(t, tokKey), claims)
				if want {
					tokAccepted(t, tokVerifierFor(t, *cfg), token)
				} else {
					tokRefused(t, tokVerifierFor(t, *cfg), token)
				}
			}
		}
		verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: keys})
		require.NoError(t, err)
		tokRefused(t, verifier, tokIssue(t, tokIssuer(t, tokKey), authkit.Claims{Subject: "u", ExpiresAt: time.Now().Add(time.Hour + time.Second)}))
		for _, bad := range []time.Duration{-time.Second, time.Millisecond, time.Minute + time.Nanosecond} {
			_, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: keys, MaxLifetime: bad})
			require.ErrorContains(t, err, "TokenConfig.MaxLifetime")
		}
		_, err = authkit.NewTokenIssuer(authkit.TokenConfig{Keys: keys, MaxLifetime: time.Minute})
		require.ErrorContains(t, err, "TokenConfig.MaxLifetime", "the default Lifetime is longer")
		_, err = authkit.NewTokenIssuer(authkit.TokenConfig{Keys: keys, Lifetime: time.Minute, MaxLifetime: time.Minute})
		require.NoError(t, err)
	})
	require.Equal(t, time.Hour+2*time.Minute, newKit(t).RevocationLife())
	require.Equal(t, 24*time.Hour+2*time.Minute, newKit(t, func(c *authkit.Config) { c.Tokens.MaxLifetime = 24 * time.Hour }).RevocationLife())
}

// FR-06: without iat nothing says how long a token lives, so a guard with revocations refuses it.
func TestGuardRefusesUndatedTokens(t *testing.T) {
	t.Parallel()
	token := tokSign(t, tokKey, tokHeader, tokPayload)
	for revoked, want := range map[bool]int{false: 200, true: 401} {
		cfg := authkit.GuardConfig{Tokens: authkit.TokenConfig{Keys: []authkit.Key{tokKey}}}
		if revoked {
			cfg.Revoked = func(context.Context, authkit.Claims) (bool, error) { return false, nil }
		}
		guard, err := authkit.NewGuard(cfg)
		require.NoError(t, err)
		require.Equal(t, want, do(guard.Authenticate(whoami), "GET", "/", "Authorization", "Bearer "+token).Code)
	}
}

// tenantStore is a store of one tenant.
type tenantStore struct {
	*authkit.MemoryStore
	tenant string
}

func (s tenantStore) Tenant() string { return s.tenant }

// A wrappedStore shows its store as authotel does.
type wrappedStore struct{ authkit.UserStore }

func (s wrappedStore) Unwrap() any { return s.UserStore }

// FR-04: tenants on one key do not accept each other's tokens, though their IDs are the same.
func TestTenantsOnOneKey(t *testing.T) {
	t.Parallel()
	names := []string{"", "a", "b", "A"}
	var kits []*authkit.Kit
	var tokens []string
	for i, name := range names {
		kit := newKit(t, func(c *authkit.Config) {
			if i%2 == 0 { // by the store, or by the setting
				store := tenantStore{authkit.NewMemoryStore(), name}
				c.Users, c.Sessions.Store = store, store
				if i > 0 {
					c.Users = wrappedStore{store}
				}
				return
			}
			c.Tokens.Tenant = name
		})
		require.NoError(t, kit.ImportUsers(t.Context(), []authkit.StoredUser{{
			User: authkit.User{ID: "1", Email: "u@example.com", Roles: []string{"admin"}}, PasswordHash: bcryptHash(t, loginPassword, 4),
		}}))
		require.Equal(t, name, kit.Settings().Tokens.Tenant)
		token, err := kit.Login(t.Context(), "u@example.com", loginPassword)
		require.NoError(t, err)
		kits, tokens = append(kits, kit), append(tokens, token.AccessToken)
	}
	for i, kit := range kits {
		guard, err := authkit.NewGuard(authkit.GuardConfig{Tokens: authkit.TokenConfig{Keys: []authkit.Key{tokKeyOf(testSecret)}, Tenant: names[i]}})
		require.NoError(t, err)
		for j, token := range tokens {
			want := 401
			if i == j {
				want = 200
			}
			for _, h := range []http.Handler{kit.RequireRoles("admin")(whoami), guard.RequireRoles("admin")(whoami)} {
				require.Equal(t, want, do(h, "GET", "/", "Authorization", "Bearer "+token).Code, "a token of %q at %q", names[j], names[i])
			}
		}
	}
	_, err := authkit.New(authkit.Config{Secret: []byte(testSecret), Users: tenantStore{authkit.NewMemoryStore(), "a"}, Tokens: authkit.TokenConfig{Tenant: "b"}})
	require.ErrorContains(t, err, "Config.Tokens.Tenant")
	for _, bad := range []string{strings.Repeat("x", 65), "\xff", "a\nb"} {
		_, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{tokKey}, Tenant: bad})
		require.ErrorContains(t, err, "TokenConfig.Tenant")
	}
	_, err = tokIssuer(t, tokKey).Issue(authkit.Claims{Subject: "u", Tenant: "a"})
	require.ErrorContains(t, err, "tenant")
}

// FR-07: services without accounts learn of the e-mail whose tokens are revoked.
func TestRevocationsByEmail(t *testing.T) {
	t.Parallel()
	for _, subject := range []bool{true, false} {
		for name, change := range map[string]func(*authkit.Kit, authkit.User) error{
			"disabled":          func(k *authkit.Kit, u authkit.User) error { return k.DisableUser(t.Context(), u.ID) },
			"deleted":           func(k *authkit.Kit, u authkit.User) error { return k.DeleteUser(t.Context(), u.ID) },
			"logout everywhere": func(k *authkit.Kit, u authkit.User) error { return k.LogoutEverywhere(t.Context(), u.ID) },
			"another address": func(k *authkit.Kit, u authkit.User) error {
				_, err := k.SetEmail(t.Context(), u.ID, "new@example.com")
				return err
			},
		} {
			for _, shared := range []bool{true, false} {
				users, sessions := authkit.NewMemoryStore(), authkit.NewMemoryStore()
				if shared {
					sessions = users
				}
				kit := newKit(t, func(c *authkit.Config) { c.EmailSubject, c.Users, c.Sessions.Store = subject, users, sessions })
				u := addUser(t, kit, "u@example.com", loginPassword)
				require.NoError(t, change(kit, u), name)
				all, err := kit.Revocations(t.Context(), time.Time{})
				require.NoError(t, err)
				told := slices.ContainsFunc(all, func(r authkit.Revocation) bool { return r.Email() == "u@example.com" && r.SessionID == "" })
				require.Equal(t, subject, told, name)
				for _, r := range all {
					if r.Email() == "" {
						require.Equal(t, u.ID, r.UserID)
					}
				}
			}
		}
	}
}

// A user who cannot be found costs one verification of a hash that is as much work as any: the
// form of the hash is right, so that no reader refuses it before the work (HA-10).
func TestNewComputesNoHash(t *testing.T) {
	t.Parallel()
	for _, h := range []authkit.Hasher{
		authkit.Bcrypt{}, authkit.Bcrypt{Cost: 4, InsecureLowCost: true}, authkit.PBKDF2SHA256{}, authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true},
		authkit.Argon2id{}, authkit.Schemes(authkit.Argon2id{MemoryKiB: 8, Time: 1, InsecureLowCost: true}, authkit.Bcrypt{}),
	} {
		seen := make(map[authkit.PasswordHash]bool)
		real, err := h.Hash("x")
		require.NoError(t, err)
		for range 3 {
			kit := newKit(t, func(c *authkit.Config) { c.Passwords.Hasher = h })
			dummy := kit.Settings().SampleHash
			seen[dummy] = true
			require.NotEmpty(t, dummy)
			due, err := h.NeedsRehash(dummy)
			require.NoError(t, err, string(dummy))
			require.False(t, due, "a hash of the cost of new ones")
			require.ErrorIs(t, h.Verify("x", dummy), authkit.ErrPasswordMismatch, "and not malformed")
			if strings.HasPrefix(string(dummy), "$2a$") { // the reader below says which it was
				require.ErrorIs(t, bcrypt.CompareHashAndPassword([]byte(dummy), []byte("x")), bcrypt.ErrMismatchedHashAndPassword)
			}
			require.Len(t, string(dummy), len(real))
			prefix := func(hash authkit.PasswordHash) string {
				return string(hash[:strings.LastIndexByte(string(hash), '$')])[:6]
			}
			require.Equal(t, prefix(real), prefix(dummy))
		}
		require.Len(t, seen, 3, "random")
	}
}
