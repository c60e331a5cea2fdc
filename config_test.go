package authkit_test

import (
	"crypto/ed25519"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

// New returns every problem of a Config, with its field and its fix.
func TestNewFaults(t *testing.T) {
	t.Parallel()
	const mend = "make one with: openssl rand -hex 32"
	key := authkit.Key{Algorithm: authkit.HS256, Secret: []byte(testSecret)}
	type faulty struct {
		name   string
		change func(*authkit.Config)
		want   []string
	}
	faults := []faulty{
		{"no secret", func(c *authkit.Config) { c.Secret = nil }, []string{"Config.Secret: the secret has 0 bytes and needs at least 32; " + mend}},
		{"empty secret", func(c *authkit.Config) { c.Secret = []byte{} }, []string{"Config.Secret: the secret has 0 bytes"}},
		{"31 bytes", func(c *authkit.Config) { c.Secret = c.Secret[:31] }, []string{"Config.Secret: the secret has 31 bytes and needs at least 32; " + mend}},
		{"one byte, often", func(c *authkit.Config) { c.Secret = []byte(strings.Repeat("a", 64)) }, []string{"Config.Secret: the secret has only 1 different bytes; " + mend}},
		{"seven bytes, often", func(c *authkit.Config) { c.Secret = []byte(strings.Repeat("1234567", 9)) }, []string{"Config.Secret: the secret has only 7 different bytes; " + mend}},
		{"both Secret and Keys", func(c *authkit.Config) { c.Tokens.Keys = []authkit.Key{key} }, []string{"Config.Secret: set along with Tokens.Keys; set one of the two"}},

		{"lifetime", func(c *authkit.Config) { c.Tokens.Lifetime = 2 * time.Hour }, []string{"Config.Tokens.Lifetime: 2h0m0s; use whole seconds up to 1h0m0s, or 0 for 30m0s"}},
		{"lifetime of half seconds", func(c *authkit.Config) { c.Tokens.Lifetime = 1500 * time.Millisecond }, []string{"Config.Tokens.Lifetime: 1.5s"}},
		{"negative lifetime", func(c *authkit.Config) { c.Tokens.Lifetime = -time.Second }, []string{"Config.Tokens.Lifetime: -1s"}},
		{"leeway", func(c *authkit.Config) { c.Tokens.Leeway = 2 * time.Minute }, []string{"Config.Tokens.Leeway: 2m0s; use whole seconds up to 1m0s"}},
		{"cache of HS256", func(c *authkit.Config) { c.Tokens.CacheSize = 1 }, []string{"Config.Tokens.CacheSize: a cache makes HS256 slower"}},
		{"negative cache", func(c *authkit.Config) { c.Tokens.CacheSize = -1 }, []string{"Config.Tokens.CacheSize: -1"}},
		{"weak key", func(c *authkit.Config) {
			c.Secret, c.Tokens.Keys = nil, []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte("short")}}
		}, []string{"Config.Tokens.Keys[0]: the secret has 5 bytes and needs at least 32; " + mend}},
		{"key that cannot sign", func(c *authkit.Config) {
			c.Secret, c.Tokens.Keys = nil, []authkit.Key{{Algorithm: authkit.EdDSA, Public: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public()}}
		}, []string{"Config.Tokens.Keys[0]: the first key signs, and this one cannot; set Private"}},

		{"zero MemoryStore", func(c *authkit.Config) { c.Users = &authkit.MemoryStore{} }, []string{"Config.Users: an empty MemoryStore; make it with NewMemoryStore"}},
		{"nil MemoryStore", func(c *authkit.Config) { c.Users = (*authkit.MemoryStore)(nil) }, []string{"Config.Users: "}},
		{"store timeout", func(c *authkit.Config) { c.StoreTimeout = -1 }, []string{"Config.StoreTimeout: -1ns"}},
		{"role name", func(c *authkit.Config) { c.Roles = map[string][]string{"ad min": nil} }, []string{`Config.Roles: the role "ad min": use 1 to 64 of A-Z, a-z, 0-9, colon, dot, hyphen, underscore`}},
		{"empty role name", func(c *authkit.Config) { c.Roles = map[string][]string{"": nil} }, []string{`Config.Roles: the role "": `}},
		{"role name of 65", func(c *authkit.Config) { c.Roles = map[string][]string{strings.Repeat("r", 65): nil} }, []string{`Config.Roles: the role "rrr`}},
		{"permission name", func(c *authkit.Config) { c.Roles = map[string][]string{"admin": {"write", "write all"}} }, []string{`Config.Roles: the permission "write all": use 1 to 64`}},

		{"trusted devices without a factor", func(c *authkit.Config) { c.TrustedDevices = &faultyDevices{} }, []string{"Config.TrustedDevices: set without SecondFactors"}},
		{"administrators of another table", func(c *authkit.Config) {
			c.Roles, c.AdminRole = map[string][]string{"user": nil}, "owner"
		}, []string{`Config.AdminRole: the role "owner" is not in Roles`}},
		{"tenant of others", func(c *authkit.Config) { c.Users, c.Tokens.Tenant = tenantStore{authkit.NewMemoryStore(), "a"}, "b" }, []string{`Config.Tokens.Tenant: "b", and the accounts are those of the tenant "a"`}},

		{"UserData that is nil", func(c *authkit.Config) { c.UserData = []authkit.UserData{nil} }, []string{"Config.UserData: the element 0 is nil; leave it out"}},
		{"UserData without a name", func(c *authkit.Config) { c.UserData = []authkit.UserData{namedData("")} }, []string{`Config.UserData: the name "" is empty, reserved or there twice`}},
		{"UserData of a reserved name", func(c *authkit.Config) { c.UserData = []authkit.UserData{namedData("sessions")} }, []string{`Config.UserData: the name "sessions"`}},
		{"UserData of one name", func(c *authkit.Config) { c.UserData = []authkit.UserData{namedData("a"), namedData("a")} }, []string{`Config.UserData: the name "a"`}},

		{"password length 7", func(c *authkit.Config) { c.Passwords.MinLength = 7 }, []string{"Config.Passwords.MinLength: 7; use 8 to 64, or 0 for 8"}},
		{"password length 65", func(c *authkit.Config) { c.Passwords.MinLength = 65 }, []string{"Config.Passwords.MinLength: 65;"}},
		{"password length -1", func(c *authkit.Config) { c.Passwords.MinLength = -1 }, []string{"Config.Passwords.MinLength: -1;"}},

		{"hashes at once -1", func(c *authkit.Config) { c.Passwords.MaxConcurrentHashes = -1 }, []string{"Config.Passwords.MaxConcurrentHashes: -1; use 1 to 1024, or 0 for one less than GOMAXPROCS"}},
		{"hashes at once 1,025", func(c *authkit.Config) { c.Passwords.MaxConcurrentHashes = 1025 }, []string{"Config.Passwords.MaxConcurrentHashes: 1025;"}},

		{"hasher that is not safe", func(c *authkit.Config) { c.Passwords.Hasher = authkit.Bcrypt{Cost: 4} }, []string{"Config.Passwords.Hasher: bcrypt cost 4: use 10 to 15, or 0 for 12"}},
		{"hashers that are not safe", func(c *authkit.Config) {
			c.Passwords.Hasher = authkit.Schemes(authkit.Bcrypt{Cost: 4}, authkit.PBKDF2SHA256{Rounds: 1, InsecureLowRounds: true}, authkit.Argon2id{Time: 1})
		}, []string{"Config.Passwords.Hasher: bcrypt cost 4", "PBKDF2 rounds 1: ", "argon2id with 1 passes"}},
		{"hasher that fails", func(c *authkit.Config) {
			c.Passwords.Hasher = &brokenHasher{hash: errors.New("no memory"), broken: true}
		}, []string{"Config.Passwords.Hasher: no memory"}},
	}
	// All faults of one Config that do not shadow each other.
	faults = append(faults, faulty{"everything at once", func(c *authkit.Config) {
		c.Secret, c.Tokens.Lifetime, c.Tokens.Leeway = []byte("short"), time.Nanosecond, time.Hour
		c.Roles = map[string][]string{"A/": {"B/"}}
		c.Passwords.MinLength, c.Passwords.MaxConcurrentHashes, c.Passwords.Hasher = 1, -5, authkit.Bcrypt{Cost: 99}
	}, []string{
		"Config.Secret: the secret has 5 bytes", "Config.Tokens.Lifetime: 1ns", "Config.Tokens.Leeway: 1h0m0s", `the role "A/"`, `the permission "B/"`,
		"Config.Passwords.MinLength: 1;", "Config.Passwords.MaxConcurrentHashes: -5;", "Config.Passwords.Hasher: bcrypt cost 99",
	}})
	for _, secret := range []string{
		"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
		"your-256-bit-secret",
		"your-256-bit-secret-your-256-bit-secret",
		"a-string-secret-at-least-256-bits-long",
		"please-use-your-secret-key-0123456789",
		"change-me-0123456789abcdefghijklmnopqrstuv",
		"0123456789abcdefghijklmnopqrstuv-changeme",
		"changeit0123456789abcdefghijklmnopqrstuv",
	} {
		faults = append(faults, faulty{secret, func(c *authkit.Config) { c.Secret = []byte(secret) }, []string{"Config.Secret: the secret is one that tutorials print; " + mend}})
	}
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := authkit.Config{Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: quickHasher()}}
			c.change(&cfg)
			kit, err := authkit.New(cfg)
			require.Nil(t, kit)
			require.Error(t, err)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			joined, ok := err.(interface{ Unwrap() []error })
			require.True(t, ok)
			for _, err := range joined.Unwrap() {
				require.ErrorContains(t, err, "authkit: Config.")
			}
			if c.name != "everything at once" {
				require.Len(t, joined.Unwrap(), 1, "one fault is told once")
			}
			if secret := string(cfg.Secret); len(secret) > 7 {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

// The least and the most of every setting are good.
func TestNewTakes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*authkit.Config){
		"nothing but a secret": func(*authkit.Config) {},
		"a random secret": func(c *authkit.Config) {
			c.Secret = []byte("\x00\xff\x01\xfe\x02\xfd\x03\xfc" + strings.Repeat("\x80", 24))
		},
		"password length 8":   func(c *authkit.Config) { c.Passwords.MinLength = 8 },
		"password length 64":  func(c *authkit.Config) { c.Passwords.MinLength = 64 },
		"hashes at once":      func(c *authkit.Config) { c.Passwords.MaxConcurrentHashes = 1024 },
		"lifetime of an hour": func(c *authkit.Config) { c.Tokens.Lifetime, c.Tokens.Leeway = time.Hour, time.Minute },
		"an empty role table": func(c *authkit.Config) { c.Roles = map[string][]string{} },
		"no leeway":           func(c *authkit.Config) { c.Tokens.Leeway = -1 },
		"sessions as short as a token": func(c *authkit.Config) {
			c.Sessions.Store, c.Sessions.IdleTimeout = authkit.NewMemoryStore(), 30*time.Minute
		},
		"sessions of 400 days": func(c *authkit.Config) {
			c.Sessions.Store, c.Sessions.AbsoluteTimeout = authkit.NewMemoryStore(), 400*24*time.Hour
		},
		"cookies of two minutes": func(c *authkit.Config) {
			c.Sessions.Store = authkit.NewMemoryStore()
			c.Sessions.Cookies = &authkit.SessionCookieConfig{AbsoluteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute}
		},
		"bcrypt of cost 15": func(c *authkit.Config) { c.Passwords.Hasher = authkit.Bcrypt{Cost: 15} },
		"the same tenant": func(c *authkit.Config) {
			c.Users, c.Tokens.Tenant = tenantStore{authkit.NewMemoryStore(), "a"}, "a"
		},
		"a tenant of tokens only": func(c *authkit.Config) {
			c.Users, c.Tokens.Tenant = tenantStore{authkit.NewMemoryStore(), ""}, "a"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := authkit.Config{Secret: []byte(testSecret), Passwords: authkit.PasswordConfig{Hasher: quickHasher()}}
			change(&cfg)
			_, err := authkit.New(cfg)
			require.NoError(t, err)
		})
	}
}

// The zero Config and a secret: cost 12, the legacy schemes behind it, a store of its
// own. HA-01, HA-10.
func TestNewDefaults(t *testing.T) {
	t.Parallel()
	kit, err := authkit.New(authkit.Config{Secret: []byte(testSecret), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	other := newKit(t)
	rows := []authkit.StoredUser{
		{User: authkit.User{Email: "b@example.com"}, PasswordHash: bcryptOfAdmin},
		{User: authkit.User{Email: "p@example.com"}, PasswordHash: pbkdf2OfAdmin},
		{User: authkit.User{Email: "d@example.com"}, PasswordHash: djangoOfAdmin},
		{User: authkit.User{Email: "a@example.com"}, PasswordHash: argon2OfAdmin},
	}
	require.NoError(t, kit.ImportUsers(t.Context(), rows))
	require.NoError(t, other.ImportUsers(t.Context(), rows), "the stores are two")
	hash, err := kit.HashPassword(t.Context(), loginPassword)
	require.NoError(t, err)
	require.Regexp(t, `^\$2a\$12\$`, string(hash))
}

// Nothing of a Config is kept by reference.
func TestNewKeepsNoReference(t *testing.T) {
	t.Parallel()
	t.Run("Secret", func(t *testing.T) {
		t.Parallel()
		secret := []byte(testSecret)
		kit := newKit(t, func(c *authkit.Config) { c.Secret = secret })
		clear(secret)
		addUser(t, kit, "ada@example.com", loginPassword)
		token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
		require.NoError(t, err)
		tokenClaims(t, token)
	})
	t.Run("Keys", func(t *testing.T) {
		t.Parallel()
		secret := []byte(testSecret)
		keys := []authkit.Key{{Algorithm: authkit.HS256, Secret: secret}}
		kit := newKit(t, func(c *authkit.Config) { c.Secret, c.Tokens.Keys = nil, keys })
		clear(secret)
		clear(keys)
		addUser(t, kit, "ada@example.com", loginPassword)
		token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
		require.NoError(t, err)
		tokenClaims(t, token)
	})
	t.Run("Roles", func(t *testing.T) {
		t.Parallel()
		permissions := []string{"read"}
		roles := map[string][]string{"admin": permissions, "user": nil}
		kit := newKit(t, func(c *authkit.Config) { c.Roles = roles })
		maps.DeleteFunc(roles, func(role string, _ []string) bool { return role == "user" })
		roles["root"] = []string{"all"}
		permissions[0] = "write"

		addUser(t, kit, "ada@example.com", loginPassword, "admin", "user")
		_, err := kit.CreateUser(t.Context(), authkit.User{Email: "bob@example.com", Roles: []string{"root"}}, loginPassword)
		require.Error(t, err)
		kit.Require(authkit.Permissions("read"))
		require.Panics(t, func() { kit.Require(authkit.Permissions("write")) })
		require.Panics(t, func() { kit.RequireRoles("root") })
	})
	t.Run("RequireFactors", func(t *testing.T) {
		t.Parallel()
		roles := []string{"admin"}
		kit, _, _ := newSetupKit(t, func(c *authkit.Config) { c.RequireFactors.Roles = roles })
		roles[0] = "user"
		begin(t, kit)
	})
}

// An Ed25519 key is a slice too: a host that clears its copy keeps a Kit that signs.
func TestNewKeepsNoReferenceToAnEd25519Key(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed([]byte(testSecret))
	cfg := authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.EdDSA, Private: slices.Clone(private)}}}
	kit := newKit(t, func(c *authkit.Config) {
		c.Secret, c.Tokens.Keys = nil, []authkit.Key{{Algorithm: authkit.EdDSA, Private: private}}
	})
	clear(private)
	addUser(t, kit, "ada@example.com", loginPassword)
	token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
	require.NoError(t, err)
	verifier, err := authkit.NewTokenVerifier(cfg)
	require.NoError(t, err)
	_, err = verifier.Verify(token.AccessToken)
	require.NoError(t, err)
}
