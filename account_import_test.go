package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/stretchr/testify/require"
)

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

// The error has the first ten invalid rows. A store that fails, or a client that
// leaves, ends the check of the rows at once.
func TestImportUsersStopsChecking(t *testing.T) {
	t.Parallel()
	users := newHookStore()
	kit := newKit(t, users.listen)
	rows := make([]authkit.StoredUser, 12)
	err := kit.ImportUsers(t.Context(), rows)
	require.Len(t, err.(interface{ Unwrap() []error }).Unwrap(), 10)

	for i := range rows {
		rows[i].ID, rows[i].Email = fmt.Sprint("u", i), fmt.Sprint("u", i, "@example.com")
	}
	for _, leaves := range []bool{false, true} {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		asked := 0
		users.byEmail = func(context.Context, string) (authkit.StoredUser, error) {
			if asked++; leaves {
				leave()
			}
			return authkit.StoredUser{}, errCrash
		}
		err = kit.ImportUsers(ctx, rows)
		require.Equal(t, leaves, errors.Is(err, context.Canceled))
		require.Equal(t, !leaves, errors.Is(err, authkit.ErrUnavailable))
		require.Equal(t, 1, asked)
	}
}

// An import that cannot be committed is an error of no row. Of an ID and an
// address that are both taken, the address is named.
func TestImportUsersInATransaction(t *testing.T) {
	t.Parallel()
	broken := newKit(t, func(c *authkit.Config) { c.Users = brokenTx{authkit.NewMemoryStore()} })
	err := broken.ImportUsers(t.Context(), []authkit.StoredUser{{User: authkit.User{Email: email}}})
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	_, ofRow := errors.AsType[*authkit.ImportError](err)
	require.False(t, ofRow)

	kit := newKit(t)
	u := addUser(t, kit, email, password)
	err = kit.ImportUsers(t.Context(), []authkit.StoredUser{{User: authkit.User{ID: u.ID, Email: email}}})
	require.ErrorIs(t, err, authkit.ErrEmailTaken)
}

// A UserBatchStore gets batches of 500 rows. A batch that fails is taken apart, so
// that the error is that of a row.
func TestImportUsersInBatches(t *testing.T) {
	t.Parallel()
	store := &batchStore{MemoryStore: authkit.NewMemoryStore()}
	var events recorder
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users = store })
	rows := make([]authkit.StoredUser, 501)
	for i := range rows {
		rows[i].Email = fmt.Sprint("u", i, "@example.com")
	}
	require.NoError(t, kit.ImportUsers(t.Context(), rows))
	require.Equal(t, []int{500, 1}, store.batches)
	require.Len(t, events.all(), 501)
	n, err := kit.CountUsers(t.Context(), authkit.UserQuery{})
	require.NoError(t, err)
	require.Equal(t, 501, n)

	err = kit.ImportUsers(t.Context(), []authkit.StoredUser{{User: authkit.User{Email: "new@example.com"}}, rows[7]})
	row, ok := errors.AsType[*authkit.ImportError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 1, row.Row)
	require.ErrorIs(t, err, authkit.ErrEmailTaken)
	_, err = kit.UserByEmail(t.Context(), "new@example.com")
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
}

// Without batches, each row may take the time of a call of the store.
func TestImportUsersSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t, func(c *authkit.Config) {
			c.Users, c.StoreTimeout = slowStore{authkit.NewMemoryStore()}, 1500*time.Millisecond
		})
		rows := make([]authkit.StoredUser, 1100)
		for i := range rows {
			rows[i].Email = fmt.Sprint("u", i, "@example.com")
		}
		require.NoError(t, kit.ImportUsers(t.Context(), rows))
	})
}

// A batchStore stores all rows of a batch or none.
type batchStore struct {
	*authkit.MemoryStore
	batches []int
}

func (s *batchStore) CreateUsers(ctx context.Context, rows []authkit.StoredUser) error {
	s.batches = append(s.batches, len(rows))
	for _, row := range rows {
		if _, err := s.UserByEmail(ctx, row.Email); err == nil {
			return authkit.ErrEmailTaken
		}
	}
	for _, row := range rows {
		if err := s.CreateUser(ctx, row); err != nil {
			return err
		}
	}
	return nil
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

// If the store has transactions, one bad row stores nothing, and is named.
func TestImportUsersIsOneChange(t *testing.T) {
	t.Parallel()
	var events recorder
	kit := newKit(t, events.listen)
	old := addUser(t, kit, "old@example.com", password)
	events.reset()
	for name, tc := range map[string]struct {
		bad  authkit.User
		want string
	}{
		"address": {authkit.User{Email: "OLD@example.com"}, "account 2: authkit: e-mail taken"},
		"ID":      {authkit.User{ID: old.ID, Email: "new@example.com"}, "account 2: authkit: invalid input: id: is taken"},
	} {
		err := kit.ImportUsers(t.Context(), []authkit.StoredUser{
			{User: authkit.User{Email: "one@example.com"}}, {User: authkit.User{ID: "two", Email: "two@example.com"}}, {User: tc.bad}, {User: authkit.User{Email: "four@example.com"}},
		})
		require.ErrorContains(t, err, tc.want, name)
		require.NotErrorIs(t, err, authkit.ErrUnavailable)
		n, err := kit.CountUsers(t.Context(), authkit.UserQuery{})
		require.NoError(t, err)
		require.Equal(t, 1, n, name)
		require.Empty(t, events.all(), name)
	}
}

// Config.StoreTimeout is that of each row, so that a long import is not cut short.
func TestLongImport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kit := newKit(t, func(c *authkit.Config) { c.Users, c.StoreTimeout = slowStore{authkit.NewMemoryStore()}, 2*time.Second })
		rows := make([]authkit.StoredUser, 20)
		for i := range rows {
			rows[i].Email = manyRoles(i + 1)[i] + "@example.com"
		}
		require.NoError(t, kit.ImportUsers(t.Context(), rows))
	})
}
