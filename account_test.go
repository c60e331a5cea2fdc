package authkit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

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

	_, err = kit.CreateUser(ctx, ada, "password3")
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

func TestImportUsers(t *testing.T) {
	t.Parallel()
	var events recorder
	users := authkit.NewMemoryStore()
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users = users })
	longID := strings.Repeat("4", 255)
	then := time.Date(2020, 2, 29, 12, 0, 0, 123456000, time.UTC)
	rows := []authkit.StoredUser{
		{User: authkit.User{Email: "Bcrypt@Example.com", FullName: "B", Roles: []string{"admin"}}, PasswordHash: bcryptOfAdmin},
		{User: authkit.User{Email: "passlib@example.com", CreatedAt: then}, PasswordHash: pbkdf2OfAdmin},
		{User: authkit.User{Email: "django@example.com", CreatedAt: then, UpdatedAt: then.Add(time.Hour)}, PasswordHash: djangoOfAdmin},
		{User: authkit.User{Email: "argon2@example.com", Disabled: true}, PasswordHash: argon2OfAdmin},
		{User: authkit.User{ID: longID, Email: "old@example.com"}, PasswordHash: bcryptOfAdmin},
		{User: authkit.User{Email: "none@example.com", UpdatedAt: then}},
	}
	for i := range 20 {
		rows = append(rows, authkit.StoredUser{User: authkit.User{Email: fmt.Sprintf("user%d@example.com", i)}})
	}
	given := slices.Clone(rows)
	given[0].Roles = slices.Clone(rows[0].Roles)
	require.NoError(t, kit.ImportUsers(t.Context(), rows))
	require.Equal(t, given, rows, "the input is as it was")

	all, err := users.ListUsers(t.Context(), authkit.UserQuery{Limit: 100})
	require.NoError(t, err)
	require.Len(t, all, len(rows))
	order := slices.DeleteFunc(slices.Clone(rows), func(u authkit.StoredUser) bool { return u.ID != "" })
	assigned := slices.DeleteFunc(slices.Clone(all), func(u authkit.User) bool { return u.ID == longID })
	for i, u := range assigned { // in the order of their IDs
		require.Equal(t, strings.ToLower(order[i].Email), u.Email)
		require.Len(t, u.ID, 36)
		require.NotNil(t, u.Roles)
	}
	byEmail := func(email string) authkit.StoredUser {
		u, err := users.UserByEmail(t.Context(), email)
		require.NoError(t, err)
		return u
	}
	require.Equal(t, longID, byEmail("old@example.com").ID)
	require.Equal(t, then, byEmail("passlib@example.com").CreatedAt)
	require.Equal(t, then, byEmail("passlib@example.com").UpdatedAt)
	require.Equal(t, then.Add(time.Hour), byEmail("django@example.com").UpdatedAt)
	require.WithinDuration(t, time.Now(), byEmail("bcrypt@example.com").CreatedAt, time.Minute)
	require.Equal(t, byEmail("bcrypt@example.com").CreatedAt, byEmail("bcrypt@example.com").UpdatedAt)
	require.True(t, byEmail("argon2@example.com").Disabled)
	require.Equal(t, []string{"admin"}, byEmail("bcrypt@example.com").Roles)
	require.EqualValues(t, pbkdf2OfAdmin, byEmail("passlib@example.com").PasswordHash)

	require.Len(t, events.all(), len(rows))
	for _, e := range events.all() {
		require.Equal(t, authkit.EventUserCreated, e.Kind)
		require.NotEmpty(t, e.UserID)
	}

	for _, email := range []string{"bcrypt@example.com", "passlib@example.com", "django@example.com", "old@example.com"} {
		_, err := kit.Login(t.Context(), email, "admin123")
		require.NoError(t, err, email)
		require.NoError(t, quickBcrypt.Verify("admin123", byEmail(email).PasswordHash))
	}
	_, err = kit.Login(t.Context(), "argon2@example.com", "admin123")
	require.ErrorIs(t, err, authkit.ErrUserDisabled)
	for _, password := range []string{"", "admin123", "[redacted]"} {
		_, err = kit.Login(t.Context(), "none@example.com", password)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	}

	require.NoError(t, kit.ImportUsers(t.Context(), nil))
	require.NoError(t, kit.ImportUsers(t.Context(), []authkit.StoredUser{}))
}

func TestImportUsersRefuses(t *testing.T) {
	t.Parallel()
	cause := errors.New("the disk is full")
	ok := func(email string) authkit.StoredUser {
		return authkit.StoredUser{User: authkit.User{Email: email, Roles: []string{"user"}}, PasswordHash: bcryptOfAdmin}
	}
	with := func(change func(*authkit.StoredUser)) authkit.StoredUser {
		u := ok("bad@example.com")
		change(&u)
		return u
	}
	for _, c := range []struct {
		name string
		bad  authkit.StoredUser
		want error  // what the error is
		says string // what it says
	}{
		{"not an e-mail", with(func(u *authkit.StoredUser) { u.Email = "bad" }), nil, "account 1: authkit: invalid input: email: must be an e-mail address"},
		{"full name", with(func(u *authkit.StoredUser) { u.FullName = "\n" }), nil, "account 1: authkit: invalid input: full_name: "},
		{"role outside the table", with(func(u *authkit.StoredUser) { u.Roles = []string{"root"} }), nil, "account 1: authkit: invalid input: roles: "},
		{"two faults", with(func(u *authkit.StoredUser) { u.Email, u.Roles = "", []string{"root"} }), nil, "email: must be an e-mail address; roles: must be"},
		{"taken", ok("taken@example.com"), authkit.ErrEmailTaken, "account 1: authkit: e-mail taken"},
		{"taken, in another case", ok("TAKEN@example.com"), authkit.ErrEmailTaken, "account 1: "},
		{"twice in the list", ok("first@example.com"), authkit.ErrEmailTaken, "account 1: "},
		{"twice in the list, in another case", ok("First@Example.com"), authkit.ErrEmailTaken, "account 1: "},
		{"unknown hash", with(func(u *authkit.StoredUser) { u.PasswordHash = "$6$salt$sum" }), authkit.ErrUnknownScheme, "account 1: authkit: password hash of an unknown scheme"},
		{"locked hash", with(func(u *authkit.StoredUser) { u.PasswordHash = "!" }), authkit.ErrUnknownScheme, "account 1: "},
		{"password in the clear", with(func(u *authkit.StoredUser) { u.PasswordHash = "admin123" }), authkit.ErrUnknownScheme, "account 1: "},
		{"redacted hash", with(func(u *authkit.StoredUser) { u.PasswordHash = "[redacted]" }), authkit.ErrUnknownScheme, "account 1: "},
		{"broken hash", with(func(u *authkit.StoredUser) { u.PasswordHash = bcryptOfAdmin + "\n" }), authkit.ErrMalformedHash, "account 1: authkit: malformed password hash"},
		{"costly hash", with(func(u *authkit.StoredUser) { u.PasswordHash = authkit.PasswordHash("$2a$31$" + bcryptOfAdmin[7:]) }), authkit.ErrMalformedHash, "account 1: "},
		{"ID of 256 bytes", with(func(u *authkit.StoredUser) { u.ID = strings.Repeat("1", 256) }), nil, "account 1: authkit: invalid input: id: must be UTF-8 of at most 255 bytes"},
		{"ID that is not UTF-8", with(func(u *authkit.StoredUser) { u.ID = "\xff" }), nil, "account 1: authkit: invalid input: id: must be"},
		{"ID and e-mail", with(func(u *authkit.StoredUser) { u.ID, u.Email = "\xff", "" }), nil, "email: must be an e-mail address; id: must be"},
		{"ID taken", with(func(u *authkit.StoredUser) { u.ID = "taken" }), nil, "account 1: authkit: invalid input: id: is taken"},
		{"ID twice in the list", with(func(u *authkit.StoredUser) { u.ID = "1" }), nil, "account 1: authkit: invalid input: id: is taken"},
		{"the store fails to tell of an ID", with(func(u *authkit.StoredUser) { u.ID = "broken" }), cause, "account 1: authkit: store unavailable: the disk is full"},
		{"the store fails", ok("broken@example.com"), cause, "account 1: authkit: store unavailable: the disk is full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			users := newHookStore()
			healthy := users.byEmail
			users.byEmail = func(ctx context.Context, email string) (authkit.StoredUser, error) {
				if email == "broken@example.com" {
					return authkit.StoredUser{}, cause
				}
				return healthy(ctx, email)
			}
			users.byID = func(ctx context.Context, id string) (authkit.StoredUser, error) {
				if id == "broken" {
					return authkit.StoredUser{}, cause
				}
				return users.UserStore.UserByID(ctx, id)
			}
			kit := newKit(t, events.listen, users.listen, func(c *authkit.Config) { c.Roles = map[string][]string{"user": nil} })
			storeUser(t, users, authkit.StoredUser{User: authkit.User{ID: "taken", Email: "taken@example.com"}})

			first := ok("first@example.com")
			first.ID = "1"
			err := kit.ImportUsers(t.Context(), []authkit.StoredUser{first, c.bad, ok("third@example.com")})
			row, isImport := errors.AsType[*authkit.ImportError](err)
			require.True(t, isImport, "%v", err)
			require.Equal(t, 1, row.Row)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "admin123")
			require.NotContains(t, err.Error(), "$")
			if c.want == nil {
				_, invalid := errors.AsType[*authkit.ValidationError](err)
				require.True(t, invalid)
			} else {
				require.ErrorIs(t, err, c.want)
				require.Equal(t, c.want == cause, errors.Is(err, authkit.ErrUnavailable))
			}
			all, err := users.ListUsers(t.Context(), authkit.UserQuery{Limit: 10})
			require.NoError(t, err)
			require.Len(t, all, 1, "nothing is stored before everything was checked")
			require.Empty(t, events.all())
		})
	}
}

// When the store fails half-way, the error says where.
func TestImportUsersStoreFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		cause error
		want  error
		kinds []authkit.EventKind
	}{
		{"broken", errors.New("the disk is full"), authkit.ErrUnavailable, []authkit.EventKind{authkit.EventUserCreated, authkit.EventStoreFailure}},
		{"taken meanwhile", authkit.ErrEmailTaken, authkit.ErrEmailTaken, []authkit.EventKind{authkit.EventUserCreated}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			users := newHookStore()
			users.create = func(ctx context.Context, u authkit.StoredUser) error {
				if u.Email == "second@example.com" {
					return c.cause
				}
				return users.UserStore.CreateUser(ctx, u)
			}
			kit := newKit(t, events.listen, users.listen)
			err := kit.ImportUsers(t.Context(), []authkit.StoredUser{
				{User: authkit.User{Email: "first@example.com"}},
				{User: authkit.User{Email: "second@example.com"}},
				{User: authkit.User{Email: "third@example.com"}},
			})
			row, ok := errors.AsType[*authkit.ImportError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 1, row.Row)
			require.ErrorIs(t, err, c.want)
			require.ErrorIs(t, err, c.cause)
			require.Equal(t, c.kinds, events.kinds())
		})
	}
}

// Every row is checked before the first is stored: its ID too.
func TestImportUsersChecksIDs(t *testing.T) {
	t.Parallel()
	for name, ids := range map[string][2]string{
		"twice in the list":        {"1", "1"},
		"that of an older account": {"1", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			users := authkit.NewMemoryStore()
			kit := newKit(t, func(c *authkit.Config) { c.Users = users })
			storeUser(t, users, authkit.StoredUser{User: authkit.User{ID: "0", Email: "zero@example.com"}})
			err := kit.ImportUsers(t.Context(), []authkit.StoredUser{
				{User: authkit.User{ID: ids[0], Email: "one@example.com"}},
				{User: authkit.User{ID: ids[1], Email: "two@example.com"}},
			})
			row, ok := errors.AsType[*authkit.ImportError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 1, row.Row)
			all, listErr := users.ListUsers(t.Context(), authkit.UserQuery{Limit: 10})
			require.NoError(t, listErr)
			require.Len(t, all, 1, "the first row was stored")
			require.NotErrorIs(t, err, authkit.ErrUnavailable, "the store is fine")
		})
	}
}

// An account with an ID that no token can carry could never log in.
func TestImportUsersTakesNoIDThatCannotLogIn(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{"256 bytes": strings.Repeat("1", 256), "not UTF-8": "\xff"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit := newKit(t)
			row := authkit.StoredUser{User: authkit.User{ID: id, Email: "ada@example.com"}, PasswordHash: bcryptOfAdmin}
			if kit.ImportUsers(t.Context(), []authkit.StoredUser{row}) == nil {
				_, err := kit.Login(t.Context(), "ada@example.com", "admin123")
				require.NoError(t, err, "imported, but cannot log in")
			}
		})
	}
}

// namedData is a UserData of a name, for [TestNewFaults].
type namedData string

func (d namedData) Name() string                                   { return string(d) }
func (namedData) Wipe(context.Context, string, authkit.Wipe) error { return nil }
func (namedData) Export(context.Context, string) (any, error)      { return nil, nil }

// Every fault of a Config is told, with its field and its mend.
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

// LO-11.
func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("d", 63)
	for in, want := range map[string]string{
		"ada@example.com":                       "ada@example.com",
		"Ada.Lovelace@Example.COM":              "ada.lovelace@example.com",
		"ADA+Tag@EXAMPLE.COM":                   "ada+tag@example.com",
		"!#$%&'*+-/=?^_`{|}~@example.com":       "!#$%&'*+-/=?^_`{|}~@example.com",
		"1@2.co":                                "1@2.co",
		"a@b.c":                                 "a@b.c",
		"a@B-C.D":                               "a@b-c.d",
		"AZaz09@AZaz09.ZZ":                      "azaz09@azaz09.zz",
		"ada@xn--bcher-kva.example":             "ada@xn--bcher-kva.example",
		"ada@sub.sub.example.com":               "ada@sub.sub.example.com",
		"ada@123.456.com":                       "ada@123.456.com",
		"ada@example.c0":                        "ada@example.c0",
		"taro..y@docomo.ne.jp":                  "taro..y@docomo.ne.jp", // issued by carriers, and delivered
		"Hanako.@ezweb.ne.jp":                   "hanako.@ezweb.ne.jp",
		"a...b..@ezweb.ne.jp":                   "a...b..@ezweb.ne.jp",
		strings.Repeat("l", 64) + "@ex.com":     strings.Repeat("l", 64) + "@ex.com",
		"ada@" + label + ".com":                 "ada@" + label + ".com",
		"a@" + strings.Repeat("d.", 125) + "dd": "a@" + strings.Repeat("d.", 125) + "dd", // 254 bytes
	} {
		got, err := authkit.NormalizeEmail(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
		again, err := authkit.NormalizeEmail(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for name, in := range map[string]string{
		"empty":                    "",
		"no at":                    "ada.example.com",
		"at alone":                 "@",
		"no local part":            "@example.com",
		"no domain":                "ada@",
		"two ats":                  "ada@b@example.com",
		"two ats in a row":         "ada@@example.com",
		"leading dot":              ".ada@example.com",
		"dots alone":               "..@example.com",
		"space in front":           " ada@example.com",
		"space behind":             "ada@example.com ",
		"space inside":             "a da@example.com",
		"tab":                      "ada@example.com\t",
		"line end":                 "ada@example.com\n",
		"header injection":         "ada@example.com\r\nBcc: all@example.com",
		"NUL":                      "ada\x00@example.com",
		"DEL":                      "ada\x7f@example.com",
		"display name":             "Ada <ada@example.com>",
		"quoted local part":        `"ada"@example.com`,
		"escaped":                  `a\da@example.com`,
		"comment":                  "ada(x)@example.com",
		"group":                    "g:ada@example.com;",
		"list":                     "ada@example.com,bob@example.com",
		"IPv4":                     "ada@127.0.0.1",
		"IPv4 literal":             "ada@[127.0.0.1]",
		"IPv6 literal":             "ada@[IPv6:::1]",
		"no dot":                   "ada@localhost",
		"numeric top level":        "ada@example.123",
		"root dot":                 "ada@example.com.",
		"domain with a leading .":  "ada@.example.com",
		"domain with two dots":     "ada@example..com",
		"leading hyphen":           "ada@-example.com",
		"trailing hyphen":          "ada@example-.com",
		"underscore":               "ada@ex_ample.com",
		"port":                     "ada@example.com:25",
		"label of 64":              "ada@" + label + "d.com",
		"local part of 65":         strings.Repeat("l", 65) + "@ex.com",
		"255 bytes":                "a@" + strings.Repeat("d.", 125) + "ddd",
		"a megabyte":               "a@" + strings.Repeat("d.", 1<<19) + "com",
		"Kelvin sign":              "\u212aada@example.com",
		"dotless i":                "ad\u0131@example.com",
		"long s":                   "ada@example\u017f.com",
		"capital I with a dot":     "\u0130da@example.com",
		"full-width at":            "ada\uff20example.com",
		"international domain":     "ada@bücher.example",
		"international local part": "äda@example.com",
		"not UTF-8":                "ada\xff@example.com",
		"byte order mark":          "\ufeffada@example.com",
		"zero-width joiner":        "ada\u200d@example.com",
		"right-to-left override":   "ada\u202e@example.com",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := authkit.NormalizeEmail(in)
			require.Empty(t, got)
			require.Equal(t, authkit.ErrInvalidEmail, err)
		})
	}
}

// FuzzNormalizeEmail looks for an address with two forms. LO-11, RE-02.
func FuzzNormalizeEmail(f *testing.F) {
	for _, seed := range []string{
		"ada@example.com", "ADA@Example.COM", " ada@example.com", "ada@example.com\n", "a@b@c.de", "\u212aim@example.com", "k\u0131m@example.com",
		"\u0130@example.com", "ada@bücher.example", "\"a b\"@example.com", "ada@[127.0.0.1]", "ada@1.2", "!#$%&'*+-/=?^_`{|}~@b.c", "a@b.c\x00", "\xff@b.c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := authkit.NormalizeEmail(in)
		if err != nil {
			if err != authkit.ErrInvalidEmail || got != "" {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		again, err := authkit.NormalizeEmail(got)
		if err != nil || again != got {
			t.Fatalf("not idempotent: %q, then %q, %v", got, again, err)
		}
		upper, err := authkit.NormalizeEmail(strings.ToUpper(in))
		if err != nil || upper != got {
			t.Fatalf("depends on case: %q and %q, %v", got, upper, err)
		}
		if len(got) != len(in) || len(got) > 254 || !strings.EqualFold(got, in) {
			t.Fatalf("%q became %q", in, got)
		}
		if strings.Count(got, "@") != 1 || strings.TrimSpace(got) != got || got != strings.ToLower(got) {
			t.Fatalf("not in the one form: %q", got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == utf8.RuneError }); i >= 0 {
			t.Fatalf("holds %q: %q", got[i], got)
		}
		parsed := got
		if local, domain, _ := strings.Cut(got, "@"); strings.Contains(local, "..") || strings.HasSuffix(local, ".") { // a mailer quotes it
			parsed = `"` + local + `"@` + domain
		}
		if address, err := mail.ParseAddress(parsed); err != nil || address.Address != got || address.Name != "" {
			t.Fatalf("not an address to net/mail: %q: %v, %v", got, address, err)
		}
	})
}

// FR-10: the tokens of an account from the future would count as those of another one.
func TestImportUsersRefusesTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t)
		row := func(name string, in time.Duration) []authkit.StoredUser {
			return []authkit.StoredUser{{User: authkit.User{Email: name + "@example.com", CreatedAt: time.Now().Add(in)}, PasswordHash: bcryptHash(t, password, 4)}}
		}
		var invalid *authkit.ValidationError
		require.ErrorAs(t, kit.ImportUsers(t.Context(), row("late", 31*time.Second)), &invalid)
		require.Equal(t, []authkit.FieldError{{Field: "created_at", Message: "must not be in the future"}}, invalid.Fields)
		require.NoError(t, kit.ImportUsers(t.Context(), row("soon", time.Second)))
		token, err := kit.Login(t.Context(), "soon@example.com", password)
		require.NoError(t, err)
		_, _, err = kit.IdentifyToken(t.Context(), token.AccessToken)
		require.NoError(t, err)
	})
}

// An address outside ASCII is refused with the form in which it is accepted.
func TestInternationalDomainMessage(t *testing.T) {
	t.Parallel()
	kit := newKit(t)
	u := addUser(t, kit, "ann@xn--bcher-kva.example", password)
	for address, want := range map[string]string{
		"bob@bücher.example": "xn--",
		"ann@localhost":      "must be an e-mail address",
	} {
		_, created := kit.CreateUser(t.Context(), authkit.User{Email: address}, password)
		_, changed := kit.SetEmail(t.Context(), u.ID, address)
		for _, err := range []error{created, changed, kit.CheckUser(t.Context(), authkit.User{Email: address}, password)} {
			invalid, ok := errors.AsType[*authkit.ValidationError](err)
			require.True(t, ok, address)
			require.Contains(t, invalid.Fields[0].Message, want)
		}
	}
}
