package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

func TestCreateUser(t *testing.T) {
	t.Parallel()
	var events recorder
	users := authkit.NewMemoryStore()
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users = users })
	roles := []string{"user", "admin"}
	began := time.Now().Truncate(time.Microsecond)
	u, err := kit.CreateUser(t.Context(), authkit.User{
		ID: "mine", Email: "Ada@Example.com", FullName: "Ada Lovelace", Roles: roles, Disabled: true,
		CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(2, 0),
	}, loginPassword)
	require.NoError(t, err)
	require.Equal(t, authkit.User{
		ID: u.ID, Email: "ada@example.com", FullName: "Ada Lovelace", Roles: []string{"user", "admin"}, Disabled: true,
		CreatedAt: u.CreatedAt, UpdatedAt: u.CreatedAt, Version: 1,
	}, u)
	require.Len(t, u.ID, 36)
	require.Equal(t, time.UTC, u.CreatedAt.Location())
	require.Equal(t, u.CreatedAt, u.CreatedAt.Truncate(time.Microsecond))
	require.WithinRange(t, u.CreatedAt, began, time.Now())

	stored, err := users.UserByID(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, u, stored.User)
	require.NoError(t, quickBcrypt.Verify(loginPassword, stored.PasswordHash))
	require.Equal(t, []authkit.Event{{Kind: authkit.EventUserCreated, UserID: u.ID}}, events.all())

	roles[0] = "changed"
	require.Equal(t, []string{"user", "admin"}, u.Roles)
	u.Roles[1] = "changed"
	stored, err = users.UserByID(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"user", "admin"}, stored.Roles)

	bare := addUser(t, kit, "bare@example.com", loginPassword)
	require.Equal(t, []string{}, bare.Roles, "an empty list in JSON, not null")
}

func manyRoles(n int) []string {
	roles := make([]string, n)
	for i := range roles {
		roles[i] = fmt.Sprintf("role-%d", i)
	}
	return roles
}

func TestCreateUserValidation(t *testing.T) {
	t.Parallel()
	const (
		emailRule = "must be an e-mail address"
		nameRule  = "must be UTF-8 of at most 256 bytes, without control characters"
		countRule = "must be at most 64"
		roleRule  = "must be roles of this service, each once"
		fewRule   = "must have at least 8 characters"
		bytesRule = "must have at most 72 bytes in UTF-8"
		textRule  = "must be UTF-8 without a NUL byte"
	)
	table := func(c *authkit.Config) { c.Roles = map[string][]string{"admin": {"all"}, "user": nil} }
	fifteen := func(c *authkit.Config) { c.Passwords.MinLength = 15 }
	pbkdf2First := func(c *authkit.Config) {
		c.Passwords.Hasher = authkit.Schemes(authkit.PBKDF2SHA256{Rounds: 1000, InsecureLowRounds: true}, quickBcrypt)
	}
	wrapped := func(c *authkit.Config) { c.Passwords.Hasher = &workHasher{Hasher: quickBcrypt} }
	none := func(*authkit.Config) {}

	good := authkit.User{Email: "ada@example.com"}
	with := func(change func(*authkit.User)) authkit.User {
		u := good
		change(&u)
		return u
	}
	for _, c := range []struct {
		name     string
		config   func(*authkit.Config)
		user     authkit.User
		password string
		want     []authkit.FieldError
	}{
		{"good", none, good, loginPassword, nil},
		{"everything at once", none, authkit.User{Email: "ada", FullName: "\x00", Roles: []string{"No Role"}}, "short", []authkit.FieldError{
			{Field: "email", Message: emailRule}, {Field: "full_name", Message: nameRule}, {Field: "roles", Message: roleRule}, {Field: "password", Message: fewRule},
		}},
		{"nothing at all", none, authkit.User{}, "", []authkit.FieldError{{Field: "email", Message: emailRule}, {Field: "password", Message: fewRule}}},

		{"e-mail with a control character", none, with(func(u *authkit.User) { u.Email = "a\x7fda@example.com" }), loginPassword, []authkit.FieldError{{Field: "email", Message: emailRule}}},
		{"e-mail with outer space", none, with(func(u *authkit.User) { u.Email = " ada@example.com" }), loginPassword, []authkit.FieldError{{Field: "email", Message: emailRule}}},

		{"full name of 256 bytes", none, with(func(u *authkit.User) { u.FullName = strings.Repeat("é", 128) }), loginPassword, nil},
		{"full name of 257 bytes", none, with(func(u *authkit.User) { u.FullName = strings.Repeat("é", 128) + "x" }), loginPassword, []authkit.FieldError{{Field: "full_name", Message: nameRule}}},
		{"full name with a line end", none, with(func(u *authkit.User) { u.FullName = "Ada\nadmin" }), loginPassword, []authkit.FieldError{{Field: "full_name", Message: nameRule}}},
		{"full name with an escape", none, with(func(u *authkit.User) { u.FullName = "Ada\x1b[2J" }), loginPassword, []authkit.FieldError{{Field: "full_name", Message: nameRule}}},
		{"full name with a C1 control", none, with(func(u *authkit.User) { u.FullName = "Ada\u0085" }), loginPassword, []authkit.FieldError{{Field: "full_name", Message: nameRule}}},
		{"full name not in UTF-8", none, with(func(u *authkit.User) { u.FullName = "Ad\xe4" }), loginPassword, []authkit.FieldError{{Field: "full_name", Message: nameRule}}},

		{"64 roles", none, with(func(u *authkit.User) { u.Roles = manyRoles(64) }), loginPassword, nil},
		{"65 roles", none, with(func(u *authkit.User) { u.Roles = manyRoles(65) }), loginPassword, []authkit.FieldError{{Field: "roles", Message: countRule}}},
		{"a role of 64 bytes", none, with(func(u *authkit.User) { u.Roles = []string{strings.Repeat("r", 64)} }), loginPassword, nil},
		{"a role of 65 bytes", none, with(func(u *authkit.User) { u.Roles = []string{strings.Repeat("r", 65)} }), loginPassword, []authkit.FieldError{{Field: "roles", Message: roleRule}}},
		{"all letters of a role", none, with(func(u *authkit.User) { u.Roles = []string{"abcdefghijklmnopqrstuvwxyz0123456789:-_"} }), loginPassword, nil},
		{"an empty role", none, with(func(u *authkit.User) { u.Roles = []string{""} }), loginPassword, []authkit.FieldError{{Field: "roles", Message: roleRule}}},
		{"roles as others write them", none, with(func(u *authkit.User) { u.Roles = []string{"Task.Write", "ROLE_ADMIN", "admin", "Admin"} }), loginPassword, nil}, // FR-18
		{"a role with a slash", none, with(func(u *authkit.User) { u.Roles = []string{"a/dmin"} }), loginPassword, []authkit.FieldError{{Field: "roles", Message: roleRule}}},
		{"a role with a space", none, with(func(u *authkit.User) { u.Roles = []string{"admin "} }), loginPassword, []authkit.FieldError{{Field: "roles", Message: roleRule}}},
		{"a role twice", none, with(func(u *authkit.User) { u.Roles = []string{"admin", "user", "admin"} }), loginPassword, []authkit.FieldError{{Field: "roles", Message: roleRule}}},
		{"two faulty roles, said once", none, with(func(u *authkit.User) { u.Roles = []string{"a/", "b/"} }), loginPassword, []authkit.FieldError{{Field: "roles", Message: roleRule}}},
		{"roles of the table", table, with(func(u *authkit.User) { u.Roles = []string{"admin", "user"} }), loginPassword, nil},
		{"a role outside the table", table, with(func(u *authkit.User) { u.Roles = []string{"admn"} }), loginPassword, []authkit.FieldError{{Field: "roles", Message: roleRule}}},
		{"a permission for a role", table, with(func(u *authkit.User) { u.Roles = []string{"all"} }), loginPassword, []authkit.FieldError{{Field: "roles", Message: roleRule}}},

		{"7 letters", none, good, "1234567", []authkit.FieldError{{Field: "password", Message: fewRule}}},
		{"8 letters", none, good, "12345678", nil},
		{"8 spaces", none, good, "        ", nil},
		{"7 emoji, 28 bytes", none, good, strings.Repeat("🔑", 7), []authkit.FieldError{{Field: "password", Message: fewRule}}},
		{"8 emoji", none, good, strings.Repeat("🔑", 8), nil},
		{"8 code points that show as 4", none, good, strings.Repeat("e\u0301", 4), nil},
		{"14 letters of 15", fifteen, good, "12345678901234", []authkit.FieldError{{Field: "password", Message: "must have at least 15 characters"}}},
		{"15 letters of 15", fifteen, good, "123456789012345", nil},
		{"72 bytes", none, good, strings.Repeat("k", 72), nil},
		{"73 bytes", none, good, strings.Repeat("k", 73), []authkit.FieldError{{Field: "password", Message: bytesRule}}}, // HA-04
		{"19 emoji, 76 bytes", none, good, strings.Repeat("🔑", 19), []authkit.FieldError{{Field: "password", Message: bytesRule}}},
		{"a megabyte", none, good, strings.Repeat("k", 1<<20), []authkit.FieldError{{Field: "password", Message: bytesRule}}},
		{"1,024 bytes for PBKDF2", pbkdf2First, good, strings.Repeat("k", 1024), nil},
		{"1,025 bytes for PBKDF2", pbkdf2First, good, strings.Repeat("k", 1025), []authkit.FieldError{{Field: "password", Message: "must have at most 1024 bytes in UTF-8"}}},               // HA-07
		{"73 bytes for a host's bcrypt", wrapped, good, strings.Repeat("k", 73), []authkit.FieldError{{Field: "password", Message: authkit.ProblemFor(authkit.ErrPasswordTooLong).Detail}}}, // which New cannot ask
		{"1,025 bytes for a host's bcrypt", wrapped, good, strings.Repeat("k", 1025), []authkit.FieldError{{Field: "password", Message: "must have at most 1024 bytes in UTF-8"}}},
		{"NUL", none, good, "correct\x00horse", []authkit.FieldError{{Field: "password", Message: textRule}}},       // HA-05
		{"not UTF-8", none, good, "correct\xffhorse", []authkit.FieldError{{Field: "password", Message: textRule}}}, // HA-06
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			users := authkit.NewMemoryStore()
			kit := newKit(t, events.listen, func(cfg *authkit.Config) { cfg.Users = users }, c.config)
			if c.want == nil {
				require.NoError(t, kit.CheckUser(t.Context(), c.user, c.password))
			}
			u, err := kit.CreateUser(t.Context(), c.user, c.password)
			all, listErr := users.ListUsers(t.Context(), authkit.UserQuery{Limit: 10})
			require.NoError(t, listErr)
			if c.want == nil {
				require.NoError(t, err)
				require.Equal(t, []authkit.User{u}, all)
				token, err := kit.Login(t.Context(), c.user.Email, c.password)
				require.NoError(t, err)
				require.Equal(t, u, token.User)
				return
			}
			require.Zero(t, u)
			invalid, ok := errors.AsType[*authkit.ValidationError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, c.want, invalid.Fields)
			if c.name != "73 bytes for a host's bcrypt" { // which takes a hash to find out
				require.Equal(t, err, kit.CheckUser(t.Context(), c.user, c.password))
			}
			require.Empty(t, all)
			require.Empty(t, events.all())
			p := authkit.ProblemFor(err)
			require.Equal(t, 422, p.Status)
			require.Equal(t, c.want, p.Errors)
		})
	}
}

func TestCreateUserTaken(t *testing.T) {
	t.Parallel()
	var events recorder
	users := authkit.NewMemoryStore()
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users = users })
	ada := addUser(t, kit, "ada@example.com", loginPassword, "admin")
	before, err := users.UserByID(t.Context(), ada.ID)
	require.NoError(t, err)
	events.reset()
	for _, email := range []string{"ada@example.com", "ADA@example.com", "ada@EXAMPLE.COM", "aDa@eXample.cOm"} {
		u, err := kit.CreateUser(t.Context(), authkit.User{Email: email, FullName: "Mallory", Roles: []string{"user"}}, "another password")
		require.Zero(t, u)
		require.ErrorIs(t, err, authkit.ErrEmailTaken)
		require.NotErrorIs(t, err, authkit.ErrUnavailable)
		require.Equal(t, 409, authkit.ProblemFor(err).Status)
	}
	after, err := users.UserByID(t.Context(), ada.ID)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Empty(t, events.all())
}

// Of many that want the same e-mail at once exactly one gets it. RE-01.
func TestCreateUserConcurrently(t *testing.T) {
	t.Parallel()
	const racers = 32
	users := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users, c.Passwords.MaxConcurrentHashes = users, racers })
	var (
		wg   sync.WaitGroup
		errs [racers]error
		made [racers]authkit.User
	)
	for i := range racers {
		wg.Go(func() {
			email := []byte("ada@example.com")
			email[i%3] -= 'a' - 'A' // one of its letters in upper case
			made[i], errs[i] = kit.CreateUser(context.Background(), authkit.User{Email: string(email)}, fmt.Sprintf("password %d", i))
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, winner, "two winners")
			winner = i
			continue
		}
		require.ErrorIs(t, err, authkit.ErrEmailTaken)
	}
	require.NotEqual(t, -1, winner)
	all, err := users.ListUsers(t.Context(), authkit.UserQuery{Limit: 10})
	require.NoError(t, err)
	require.Equal(t, []authkit.User{made[winner]}, all)
	_, err = kit.Login(t.Context(), "ada@example.com", fmt.Sprintf("password %d", winner))
	require.NoError(t, err)
}

// HA-13: the hook for a list of known passwords.
func TestCheckPassword(t *testing.T) {
	t.Parallel()
	type contextKey struct{}
	cause := errors.New("the list cannot be read")
	var asked []string
	var events recorder
	users := authkit.NewMemoryStore()
	kit := newKit(t, events.listen, func(c *authkit.Config) {
		c.Users = users
		c.Passwords.Check = func(ctx context.Context, password string, u authkit.User) error {
			asked = append(asked, fmt.Sprint(password, " ", u.Email, " ", ctx.Value(contextKey{})))
			switch password {
			case "password1":
				return fmt.Errorf("number 7 on the list: %w", authkit.ErrPasswordRefused)
			case "password2":
				return cause
			}
			return nil
		}
	})
	ctx := context.WithValue(t.Context(), contextKey{}, "request")
	ada := authkit.User{Email: "Ada@example.com"}

	_, err := kit.CreateUser(ctx, ada, "password1")
	invalid, ok := errors.AsType[*authkit.ValidationError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []authkit.FieldError{{Field: "password", Message: "is too easy to guess"}}, invalid.Fields)

	_, err = kit.CreateUser(ctx, authkit.User{}, "password1")
	invalid, ok = errors.AsType[*authkit.ValidationError](err)
	require.True(t, ok, "%v", err)
	require.Len(t, invalid.Fields, 2)

	_, err = kit.CreateUser(ctx, ada, "password2")
	require.ErrorIs(t, err, cause)
	require.ErrorContains(t, err, "authkit: Config.Passwords.Check: ")
	require.Equal(t, err, kit.CheckUser(ctx, ada, "password2"))
	asked = asked[:len(asked)-1]
	_, ok = errors.AsType[*authkit.ValidationError](err)
	require.False(t, ok)
	require.Equal(t, 500, authkit.ProblemFor(err).Status)
	require.Equal(t, []string{"password1 ada@example.com request", "password1  request", "password2 ada@example.com request"}, asked)

	for _, password := range []string{"short", strings.Repeat("k", 73), "with a\x00NUL", "not\xffUTF-8"} {
		_, err = kit.CreateUser(ctx, ada, password)
		require.Error(t, err)
	}
	require.Len(t, asked, 3, "passwords that break another rule are not asked about")
	require.Empty(t, events.all())
	all, err := users.ListUsers(ctx, authkit.UserQuery{Limit: 10})
	require.NoError(t, err)
	require.Empty(t, all)

	u, err := kit.CreateUser(ctx, ada, "password3")
	require.NoError(t, err)
	require.ErrorIs(t, kit.SetPassword(ctx, u.ID, "password2"), cause)
	_, err = kit.Login(ctx, u.Email, "password3")
	require.NoError(t, err)
	_, err = kit.HashPassword(ctx, "password1")
	require.NoError(t, err, "HashPassword applies no rule of choice")
}

// RG-14: an account without a password is checked as one with a password is.
func TestCreateUserWithoutPasswordChecks(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	for field, u := range map[string]authkit.User{
		"email":     {Email: "no address"},
		"full_name": {Email: "ada@example.com", FullName: "a\nb"},
		"roles":     {Email: "ada@example.com", Roles: []string{"No Role"}},
	} {
		_, err := kit.CreateUserWithoutPassword(t.Context(), u)
		var invalid *authkit.ValidationError
		require.ErrorAs(t, err, &invalid, field)
		require.Equal(t, field, invalid.Fields[0].Field)
	}
	n, err := kit.CountUsers(t.Context(), authkit.UserQuery{})
	require.NoError(t, err)
	require.Zero(t, n)
}

// unlisted is a store that cannot list.
type unlisted struct{ authkit.UserStore }

func (unlisted) ListUsers(context.Context, authkit.UserQuery) ([]authkit.User, error) {
	return nil, errCrash
}

func (unlisted) CountUsers(context.Context, authkit.UserQuery) (int, error) { return 0, errCrash }

// ST-02: a list of a store that fails is not an empty one.
func TestUsersStoreFails(t *testing.T) {
	t.Parallel()
	var events recorder
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users = unlisted{authkit.NewMemoryStore()} })
	_, err := kit.Users(t.Context(), authkit.UserQuery{})
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	_, err = kit.CountUsers(t.Context(), authkit.UserQuery{})
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.Equal(t, []authkit.EventKind{authkit.EventStoreFailure, authkit.EventStoreFailure}, events.kinds())
}

func TestCreateUserStoreFails(t *testing.T) {
	t.Parallel()
	cause := errors.New("dial tcp 10.0.0.1:5432: connection refused")
	var events recorder
	users := newHookStore()
	users.create = func(context.Context, authkit.StoredUser) error { return cause }
	kit := newKit(t, events.listen, users.listen)
	u, err := kit.CreateUser(t.Context(), authkit.User{Email: "ada@example.com"}, loginPassword)
	require.Zero(t, u)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.ErrorIs(t, err, cause)
	require.Equal(t, 503, authkit.ProblemFor(err).Status)
	e := events.last()
	require.Equal(t, []authkit.EventKind{authkit.EventStoreFailure}, events.kinds())
	require.Equal(t, authkit.ReasonStore, e.Reason)
	require.ErrorIs(t, e.Err, cause)

	// A client that leaves is no failure of the store.
	events.reset()
	ctx, cancel := context.WithCancel(t.Context())
	users.create = func(ctx context.Context, _ authkit.StoredUser) error {
		cancel()
		return ctx.Err()
	}
	for range 2 { // it leaves at the last moment, and is gone before the first
		_, err = kit.CreateUser(ctx, authkit.User{Email: "ada@example.com"}, loginPassword)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, authkit.ErrUnavailable)
	}
	require.Empty(t, events.all())
}

// A hasher of the host's that fails is neither the caller's fault nor a stored account.
func TestCreateUserHasherFails(t *testing.T) {
	t.Parallel()
	cause := errors.New("the machine has no memory left")
	hasher := &brokenHasher{Hasher: quickHasher(), hash: cause}
	kit := newKit(t, func(c *authkit.Config) { c.Passwords.Hasher = hasher })
	hasher.broken = true
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "ada@example.com"}, loginPassword)
	require.ErrorIs(t, err, cause)
	require.Equal(t, 500, authkit.ProblemFor(err).Status)

	// A scheme may have further rules for passwords.
	hasher.hash = authkit.ErrPasswordInvalid
	_, err = kit.CreateUser(t.Context(), authkit.User{Email: "ada@example.com"}, loginPassword)
	invalid, ok := errors.AsType[*authkit.ValidationError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "password", invalid.Fields[0].Field)
}

func TestHashPassword(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	hash, err := kit.HashPassword(t.Context(), "a")
	require.NoError(t, err, "rules of choice do not apply")
	require.NoError(t, quickBcrypt.Verify("a", hash))

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name     string
		ctx      context.Context
		password string
		want     error
	}{
		{"73 bytes", t.Context(), strings.Repeat("k", 73), authkit.ErrPasswordTooLong},
		{"1,025 bytes", t.Context(), strings.Repeat("k", 1025), authkit.ErrPasswordTooLong},
		{"NUL", t.Context(), "a\x00", authkit.ErrPasswordInvalid},
		{"not UTF-8", t.Context(), "a\xff", authkit.ErrPasswordInvalid},
		{"cancelled", canceled, "a", context.Canceled},
		{"NUL, cancelled", canceled, "a\x00", authkit.ErrPasswordInvalid},
	} {
		hash, err := kit.HashPassword(c.ctx, c.password)
		require.Empty(t, string(hash), c.name)
		require.ErrorIs(t, err, c.want, c.name)
	}
}

// namedData is a UserData of a name, for [TestNewFaults].
type namedData string

func (d namedData) Name() string                                   { return string(d) }
func (namedData) Wipe(context.Context, string, authkit.Wipe) error { return nil }
func (namedData) Export(context.Context, string) (any, error)      { return nil, nil }

// A password of exactly the least length is long enough. One that the Hasher refuses
// after all is a fault of the field.
func TestPasswordLimits(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	_, err := kit.CreateUser(t.Context(), authkit.User{Email: "eight@example.com"}, "correct8")
	require.NoError(t, err)
	_, err = kit.CreateUser(t.Context(), authkit.User{Email: "seven@example.com"}, "correct")
	require.ErrorContains(t, err, "at least 8 characters")
	for _, refusal := range []error{authkit.ErrPasswordTooLong, authkit.ErrPasswordInvalid} {
		kit := newKit(t, func(c *authkit.Config) { c.Passwords.Hasher = pickyHasher{cheapHasher{}, refusal} })
		_, err := kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, "refused by the scheme")
		var invalid *authkit.ValidationError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, "password", invalid.Fields[0].Field)
	}
}

// A pickyHasher refuses one password.
type pickyHasher struct {
	cheapHasher
	refusal error
}

func (h pickyHasher) Hash(password string) (authkit.PasswordHash, error) {
	if password == "refused by the scheme" {
		return "", h.refusal
	}
	return h.cheapHasher.Hash(password)
}
