package authkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/internal/race"
)

const loginPassword = "correct horse"

// storeUser puts an account into a kit's store as it is.
func storeUser(t testing.TB, users authkit.UserStore, u authkit.StoredUser) authkit.StoredUser {
	t.Helper()
	if u.ID == "" {
		u.ID = authkit.NewUserID()
	}
	require.NoError(t, users.CreateUser(context.Background(), u))
	u.Version = 1 // as the store has it
	return u
}

func storedHash(t testing.TB, users authkit.UserStore, id string) authkit.PasswordHash {
	t.Helper()
	u, err := users.UserByID(context.Background(), id)
	require.NoError(t, err)
	return u.PasswordHash
}

// A workHasher counts the hashes that its Hasher computes.
type workHasher struct {
	authkit.Hasher

	mu       sync.Mutex
	hashed   int
	verified []authkit.PasswordHash // on which work was done
}

func (h *workHasher) Hash(password string) (authkit.PasswordHash, error) {
	hash, err := h.Hasher.Hash(password)
	if err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.hashed++
	}
	return hash, err
}

func (h *workHasher) Verify(password string, hash authkit.PasswordHash) error {
	err := h.Hasher.Verify(password, hash)
	if !errors.Is(err, authkit.ErrUnknownScheme) && !errors.Is(err, authkit.ErrMalformedHash) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.verified = append(h.verified, hash)
	}
	return err
}

// take returns what was done since the last call.
func (h *workHasher) take() (hashed int, verified []authkit.PasswordHash) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hashed, verified = h.hashed, h.verified
	h.hashed, h.verified = 0, nil
	return hashed, verified
}

func TestLogin(t *testing.T) {
	t.Parallel()
	var events recorder
	users := authkit.NewMemoryStore()
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users = users })
	ada := addUser(t, kit, "ada@example.com", loginPassword, "admin", "user")
	events.reset()

	token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
	require.NoError(t, err)
	require.Equal(t, ada, token.User)
	require.Equal(t, "bearer", token.TokenType)
	require.Equal(t, 1800, token.ExpiresIn)

	claims := tokenClaims(t, token)
	require.Equal(t, ada.ID, claims.Subject)
	require.Empty(t, claims.UserID)
	require.Equal(t, []string{"admin", "user"}, claims.Roles)
	require.Len(t, claims.ID, 22)
	require.Equal(t, 30*time.Minute, claims.ExpiresAt.Sub(claims.IssuedAt))
	require.True(t, claims.NotBefore.IsZero())

	require.Equal(t, []authkit.EventKind{authkit.EventLoginSuccess}, events.kinds())
	e := events.last()
	require.Equal(t, authkit.Event{Kind: authkit.EventLoginSuccess, UserID: ada.ID}, e)

	again, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
	require.NoError(t, err)
	require.NotEqual(t, claims.ID, tokenClaims(t, again).ID)
}

// tokenClaims verifies a token of a kit of [newKit].
func tokenClaims(t testing.TB, token authkit.Token) authkit.Claims {
	t.Helper()
	verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{
		Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}},
	})
	require.NoError(t, err)
	claims, err := verifier.Verify(token.AccessToken)
	require.NoError(t, err)
	return claims
}

// LO-03.
func TestTokenJSON(t *testing.T) {
	t.Parallel()
	token := authkit.Token{AccessToken: "a.b.c", TokenType: "bearer", ExpiresIn: 1800, User: authkit.User{ID: "id", Email: "ada@example.com"}}
	text, err := json.Marshal(token)
	require.NoError(t, err)
	require.Equal(t, `{"access_token":"a.b.c","token_type":"bearer","expires_in":1800}`, string(text))

	var back authkit.Token
	require.NoError(t, json.Unmarshal(text, &back))
	token.User = authkit.User{}
	require.Equal(t, token, back)
}

// Everything that a caller can get wrong is answered alike, and costs one hash. HA-04
// to HA-07, HA-10, LO-04, LO-11.
func TestLoginFailuresAreAlike(t *testing.T) {
	t.Parallel()
	const cost = 5
	var (
		events recorder
		users  = authkit.NewMemoryStore()
		hasher = &workHasher{Hasher: authkit.Schemes(authkit.Bcrypt{Cost: cost, InsecureLowCost: true}, authkit.PBKDF2SHA256{}, authkit.Argon2id{})}
	)
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users, c.Passwords.Hasher = users, hasher })
	hashed, verified := hasher.take()
	require.Equal(t, 1, hashed, "New computes one hash")
	require.Empty(t, verified)

	hash := bcryptHash(t, loginPassword, cost)
	ids := map[string]string{"": ""}
	for _, u := range []authkit.StoredUser{
		{User: authkit.User{Email: "ada@example.com"}, PasswordHash: hash},
		{User: authkit.User{Email: "legacy@example.com"}, PasswordHash: pbkdf2OfAdmin},
		{User: authkit.User{Email: "off@example.com", Disabled: true}, PasswordHash: hash},
		{User: authkit.User{Email: "none@example.com"}},
		{User: authkit.User{Email: "none-off@example.com", Disabled: true}},
		{User: authkit.User{Email: "broken@example.com"}, PasswordHash: "$2a$05$broken"},
		{User: authkit.User{Email: "broken-off@example.com", Disabled: true}, PasswordHash: "$2a$05$broken"},
		{User: authkit.User{Email: "foreign@example.com"}, PasswordHash: "$6$salt$sum"},
		{User: authkit.User{Email: "locked@example.com"}, PasswordHash: "!"},
		{User: authkit.User{Email: "costly@example.com"}, PasswordHash: "$2a$31$abcdefghijklmnopqrstuur/uCBNBvVl4m8sbz1ePRFisPkMaJiTS"},
		{User: authkit.User{Email: "plain@example.com"}, PasswordHash: loginPassword},
	} {
		ids[u.Email] = storeUser(t, users, u).ID
	}

	reference := answerTo(authkit.ErrInvalidCredentials)
	for _, c := range []struct {
		name, email, password string
		account               string // whose ID the event carries
		reason                authkit.Reason
	}{
		{"unknown user", "nobody@example.com", loginPassword, "", authkit.ReasonUnknownUser},
		{"not an e-mail", "ada", loginPassword, "", authkit.ReasonUnknownUser},
		{"empty e-mail", "", loginPassword, "", authkit.ReasonUnknownUser},
		{"e-mail of a megabyte", strings.Repeat("a", 1<<20) + "@example.com", loginPassword, "", authkit.ReasonUnknownUser},
		{"e-mail with a NUL", "ada@example.com\x00", loginPassword, "", authkit.ReasonUnknownUser},
		{"e-mail that is not UTF-8", "ada\xff@example.com", loginPassword, "", authkit.ReasonUnknownUser},
		{"unknown user, 73 bytes", "nobody@example.com", strings.Repeat("k", 73), "", authkit.ReasonUnknownUser},
		{"unknown user, 2,000 bytes", "nobody@example.com", strings.Repeat("k", 2000), "", authkit.ReasonUnknownUser},
		{"unknown user, NUL", "nobody@example.com", "a\x00b", "", authkit.ReasonUnknownUser},
		{"unknown user, no password", "nobody@example.com", "", "", authkit.ReasonUnknownUser},
		{"wrong password", "ada@example.com", "wrong horse", "ada@example.com", authkit.ReasonWrongPassword},
		{"password in other case", "ada@example.com", "Correct horse", "ada@example.com", authkit.ReasonWrongPassword},
		{"password and a space", "ada@example.com", loginPassword + " ", "ada@example.com", authkit.ReasonWrongPassword},
		{"no password", "ada@example.com", "", "ada@example.com", authkit.ReasonWrongPassword},
		{"73 bytes", "ada@example.com", strings.Repeat("k", 73), "ada@example.com", authkit.ReasonWrongPassword},
		{"2,000 bytes", "ada@example.com", strings.Repeat("k", 2000), "ada@example.com", authkit.ReasonWrongPassword},
		{"a megabyte", "ada@example.com", strings.Repeat("k", 1<<20), "ada@example.com", authkit.ReasonWrongPassword},
		{"NUL", "ada@example.com", loginPassword + "\x00", "ada@example.com", authkit.ReasonWrongPassword},
		{"bcrypt's repeated key", "ada@example.com", loginPassword + "\x00" + loginPassword, "ada@example.com", authkit.ReasonWrongPassword},
		{"not UTF-8", "ada@example.com", loginPassword + "\xff", "ada@example.com", authkit.ReasonWrongPassword},
		{"wrong password, legacy hash", "legacy@example.com", "wrong horse", "legacy@example.com", authkit.ReasonWrongPassword},
		{"2,000 bytes, legacy hash", "legacy@example.com", strings.Repeat("k", 2000), "legacy@example.com", authkit.ReasonWrongPassword},
		{"disabled, wrong password", "off@example.com", "wrong horse", "off@example.com", authkit.ReasonWrongPassword},
		{"disabled, 73 bytes", "off@example.com", strings.Repeat("k", 73), "off@example.com", authkit.ReasonWrongPassword},
		{"account without a password", "none@example.com", loginPassword, "none@example.com", authkit.ReasonNoPassword},
		{"account without a password, given none", "none@example.com", "", "none@example.com", authkit.ReasonNoPassword},
		{"account without a password, disabled", "none-off@example.com", loginPassword, "none-off@example.com", authkit.ReasonNoPassword},
		{"broken hash", "broken@example.com", loginPassword, "broken@example.com", authkit.ReasonUnreadableHash},
		{"broken hash, 2,000 bytes", "broken@example.com", strings.Repeat("k", 2000), "broken@example.com", authkit.ReasonUnreadableHash},
		{"broken hash, disabled", "broken-off@example.com", loginPassword, "broken-off@example.com", authkit.ReasonUnreadableHash},
		{"hash of an unknown scheme", "foreign@example.com", loginPassword, "foreign@example.com", authkit.ReasonUnreadableHash},
		{"locked hash", "locked@example.com", "!", "locked@example.com", authkit.ReasonUnreadableHash},
		{"hash that costs a day", "costly@example.com", loginPassword, "costly@example.com", authkit.ReasonUnreadableHash},
		{"password in the clear", "plain@example.com", loginPassword, "plain@example.com", authkit.ReasonUnreadableHash},
	} {
		t.Run(c.name, func(t *testing.T) { // one at a time, for the counts
			events.reset()
			hasher.take()
			token, err := kit.Login(t.Context(), c.email, c.password)
			require.Zero(t, token)
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			require.NotErrorIs(t, err, authkit.ErrUserDisabled)
			require.NotErrorIs(t, err, authkit.ErrUserNotFound)
			require.Equal(t, reference, answerTo(err))

			hashed, verified := hasher.take()
			require.Zero(t, hashed)
			require.Len(t, verified, 1)
			if c.account != "legacy@example.com" {
				got, err := bcrypt.Cost([]byte(verified[0]))
				require.NoError(t, err)
				require.Equal(t, cost, got)
			}

			require.Equal(t, []authkit.EventKind{authkit.EventLoginFailure}, events.kinds())
			e := events.last()
			require.Equal(t, c.reason, e.Reason)
			require.Equal(t, ids[c.account], e.UserID)
			require.Equal(t, c.reason == authkit.ReasonUnreadableHash, e.Err != nil, "an error tells of what broke")
			for _, text := range []string{fmt.Sprintf("%+v", e), fmt.Sprint(e.Err), err.Error()} {
				require.NotContains(t, text, "example.com")
				require.NotContains(t, text, "horse")
				require.NotContains(t, text, "$2a$")
			}
		})
	}
	t.Run("disabled, right password", func(t *testing.T) {
		events.reset()
		hasher.take()
		token, err := kit.Login(t.Context(), "off@example.com", loginPassword)
		require.Zero(t, token)
		require.ErrorIs(t, err, authkit.ErrUserDisabled)
		require.NotErrorIs(t, err, authkit.ErrInvalidCredentials)
		hashed, verified := hasher.take()
		require.Zero(t, hashed)
		require.Len(t, verified, 1)
		e := events.last()
		require.Equal(t, authkit.Event{Kind: authkit.EventLoginFailure, UserID: ids["off@example.com"], Reason: authkit.ReasonDisabled}, e)
	})
	t.Run("right password", func(t *testing.T) {
		hasher.take()
		_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
		require.NoError(t, err)
		hashed, verified := hasher.take()
		require.Zero(t, hashed)
		require.Len(t, verified, 1)
	})
}

// answerTo is the whole response to an error.
func answerTo(err error) string {
	w := httptest.NewRecorder()
	authkit.ProblemFor(err).ServeHTTP(w, nil)
	return fmt.Sprint(w.Code, w.Header(), w.Body)
}

// The texts of the errors are alike too, for the host that shows them to a client.
func TestLoginErrorTextIsNeutral(t *testing.T) {
	t.Parallel()
	users := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users = users })
	storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "ada@example.com"}, PasswordHash: bcryptOfAdmin})
	storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "none@example.com"}})
	_, unknown := kit.Login(t.Context(), "nobody@example.com", "wrong")
	_, wrong := kit.Login(t.Context(), "ada@example.com", "wrong")
	_, none := kit.Login(t.Context(), "none@example.com", "wrong")
	require.EqualError(t, wrong, unknown.Error())
	require.EqualError(t, none, unknown.Error())
}

// The hash that unknown users are compared with is made by each Kit, is one that can be
// verified, and belongs to no password that can be guessed. HA-10.
func TestLoginDummy(t *testing.T) {
	t.Parallel()
	dummy := func() authkit.PasswordHash {
		hasher := &workHasher{Hasher: quickHasher()}
		kit := newKit(t, func(c *authkit.Config) { c.Passwords.Hasher = hasher })
		_, err := kit.Login(t.Context(), "nobody@example.com", "")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		_, verified := hasher.take()
		require.Len(t, verified, 1)
		return verified[0]
	}
	one, two := dummy(), dummy()
	require.NotEqual(t, string(one), string(two))
	for _, guess := range []string{"", loginPassword, "a filler for a password that cannot be right"} {
		require.ErrorIs(t, quickHasher().Verify(guess, one), authkit.ErrPasswordMismatch)
	}
}

// A store that breaks its contract and returns an empty account gives nobody in.
func TestLoginOfAnEmptyAccount(t *testing.T) {
	t.Parallel()
	users := newHookStore()
	users.byEmail = func(context.Context, string) (authkit.StoredUser, error) { return authkit.StoredUser{}, nil }
	kit := newKit(t, users.listen)
	for _, password := range []string{"", loginPassword} {
		_, err := kit.Login(t.Context(), "ada@example.com", password)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	}

	// Neither does an account without an address.
	store := authkit.NewMemoryStore()
	kit = newKit(t, func(c *authkit.Config) { c.Users = store })
	storeUser(t, store, authkit.StoredUser{PasswordHash: bcryptHash(t, loginPassword, 4)})
	for _, email := range []string{"", "no address"} {
		_, err := kit.Login(t.Context(), email, loginPassword)
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	}
}

// LO-11: letters that look alike, or are folded by Unicode, are not taken for each
// other; ASCII case is.
func TestLoginNames(t *testing.T) {
	t.Parallel()
	var events recorder
	kit := newKit(t, events.listen)
	ada := addUser(t, kit, "Kim.Smith@Example.COM", loginPassword)
	require.Equal(t, "kim.smith@example.com", ada.Email)
	for _, name := range []string{"kim.smith@example.com", "KIM.SMITH@EXAMPLE.COM", "Kim.Smith@eXample.com"} {
		token, err := kit.Login(t.Context(), name, loginPassword)
		require.NoError(t, err, name)
		require.Equal(t, ada.ID, token.User.ID)
	}
	for name, address := range map[string]string{
		"Kelvin sign":           "\u212aim.smith@example.com",
		"dotless i":             "k\u0131m.smith@example.com",
		"I with a dot":          "K\u0130M.SMITH@EXAMPLE.COM",
		"long s":                "kim.\u017fmith@example.com",
		"full-width k":          "\uff4bim.smith@example.com",
		"full-width at":         "kim.smith\uff20example.com",
		"ideographic full stop": "kim.smith@example\u3002com",
		"Cyrillic e":            "kim.smith@\u0435xample.com",
		"long s in the domain":  "kim.smith@example.com\u017f",
		"soft hyphen":           "kim\u00ad.smith@example.com",
		"zero-width space":      "kim.smith@example.com\u200b",
		"combining dot":         "ki\u0307m.smith@example.com",
		"space in front":        " kim.smith@example.com",
		"space behind":          "kim.smith@example.com ",
		"tab":                   "\tkim.smith@example.com",
		"line end":              "kim.smith@example.com\n",
		"no-break space":        "\u00a0kim.smith@example.com",
		"root dot":              "kim.smith@example.com.",
		"display name":          "Kim <kim.smith@example.com>",
		"angle brackets":        "<kim.smith@example.com>",
		"quoted":                `"kim.smith"@example.com`,
		"comment":               "kim.smith(x)@example.com",
		"list":                  "kim.smith@example.com,kim.smith@example.com",
		"mailto":                "mailto:kim.smith@example.com",
		"percent":               "kim.smith%40example.com",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := kit.Login(t.Context(), address, loginPassword)
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		})
	}
}

// HA-09: a login on a legacy scheme or at a lower cost replaces the hash.
func TestLoginRehash(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		hash authkit.PasswordHash
		due  bool
	}{
		{"PBKDF2 of passlib", passlibHash(loginPassword, "saltsalt", 1000), true},
		{"PBKDF2 of Django", djangoHash(loginPassword, "saltsalt", 1000), true},
		{"PBKDF2 of more rounds", passlibHash(loginPassword, "saltsalt", 20_000), true},
		{"argon2id", argon2Hash(loginPassword, "saltsalt", 1, 8, 1, 32), true},
		{"bcrypt of a lower cost", bcryptHash(t, loginPassword, 4), true},
		{"bcrypt of the cost", bcryptHash(t, loginPassword, 5), false},
		{"bcrypt of the cost, another ident", "$2y" + bcryptHash(t, loginPassword, 5)[3:], false},
		{"bcrypt of a higher cost", bcryptHash(t, loginPassword, 6), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var (
				events recorder
				users  = authkit.NewMemoryStore()
				hasher = authkit.Schemes(authkit.Bcrypt{Cost: 5, InsecureLowCost: true}, authkit.PBKDF2SHA256{}, authkit.Argon2id{})
			)
			kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users, c.Passwords.Hasher = users, hasher })
			before := storeUser(t, users, authkit.StoredUser{
				User:         authkit.User{Email: "ada@example.com", FullName: "Ada", Roles: []string{"admin"}, CreatedAt: time.Unix(1, 0).UTC(), UpdatedAt: time.Unix(2, 0).UTC()},
				PasswordHash: c.hash,
			})
			_, err := kit.Login(t.Context(), "ada@example.com", "wrong horse")
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			require.Equal(t, c.hash, storedHash(t, users, before.ID), "a failed login replaces nothing")
			events.reset()

			token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
			require.NoError(t, err)
			require.Equal(t, before.ID, token.User.ID)
			after, err := users.UserByID(t.Context(), before.ID)
			require.NoError(t, err)
			if !c.due {
				require.Equal(t, before, after)
				require.Equal(t, []authkit.EventKind{authkit.EventLoginSuccess}, events.kinds())
				return
			}
			require.Equal(t, []authkit.EventKind{authkit.EventPasswordRehash, authkit.EventLoginSuccess}, events.kinds())
			e := events.all()[0]
			require.Equal(t, authkit.Event{Kind: authkit.EventPasswordRehash, UserID: before.ID}, e)
			require.Regexp(t, `^\$2a\$05\$`, string(after.PasswordHash))
			require.NoError(t, hasher.Verify(loginPassword, after.PasswordHash))
			require.WithinDuration(t, time.Now(), after.UpdatedAt, time.Minute)
			before.PasswordHash, before.UpdatedAt, before.Version = after.PasswordHash, after.UpdatedAt, before.Version+1
			require.Equal(t, before, after, "nothing else has changed")

			_, err = kit.Login(t.Context(), "ada@example.com", loginPassword)
			require.NoError(t, err)
			require.Equal(t, after.PasswordHash, storedHash(t, users, before.ID), "once is enough")
		})
	}
}

// HA-09: the swap is a compare-and-swap, so a password that is changed between the
// verification and the swap stays, and whoever logs in with the old one is not let in.
func TestLoginRehashKeepsAPasswordChangedMeanwhile(t *testing.T) {
	t.Parallel()
	var events recorder
	users := newHookStore()
	kit := newKit(t, events.listen, users.listen)
	legacy := passlibHash(loginPassword, "saltsalt", 1000)
	changed := bcryptHash(t, "new password", 4)
	ada := storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "ada@example.com"}, PasswordHash: legacy})
	users.update = func(ctx context.Context, id string, change authkit.UserUpdate, at time.Time) (authkit.User, error) {
		require.NotNil(t, change.PasswordHash)
		require.EqualValues(t, 1, change.IfVersion)
		_, err := users.UserStore.UpdateUser(ctx, id, authkit.UserUpdate{PasswordHash: &changed, IfVersion: change.IfVersion}, at)
		require.NoError(t, err)
		return users.UserStore.UpdateUser(ctx, id, change, at)
	}
	_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Equal(t, changed, storedHash(t, users, ada.ID))
	require.Equal(t, []authkit.EventKind{authkit.EventLoginFailure}, events.kinds(), "nothing was replaced")
	require.Equal(t, authkit.ReasonWrongPassword, events.last().Reason)
}

// A brokenHasher fails where it is told to.
type brokenHasher struct {
	authkit.Hasher
	hash, needs error
	broken      bool
}

func (h *brokenHasher) Hash(password string) (authkit.PasswordHash, error) {
	if h.broken && h.hash != nil {
		return "", h.hash
	}
	return h.Hasher.Hash(password)
}

func (h *brokenHasher) NeedsRehash(hash authkit.PasswordHash) (bool, error) {
	if h.broken && h.needs != nil {
		return true, h.needs
	}
	return h.Hasher.NeedsRehash(hash)
}

// HA-09: a login does not fail for a rehash that does.
func TestLoginRehashFails(t *testing.T) {
	t.Parallel()
	cause := errors.New("the disk is full")
	long := strings.Repeat("k", 73)
	for _, c := range []struct {
		name, password string
		hasher         *brokenHasher
		swap           error
		want           error // of the event
	}{
		{"the store fails", loginPassword, &brokenHasher{}, cause, cause},
		{"the account is gone", loginPassword, &brokenHasher{}, authkit.ErrUserNotFound, authkit.ErrUserNotFound},
		{"the hasher fails", loginPassword, &brokenHasher{hash: cause}, nil, cause},
		{"the hasher cannot tell", loginPassword, &brokenHasher{needs: cause}, nil, nil},
		{"73 bytes, which bcrypt does not take", long, &brokenHasher{}, nil, nil}, // it stays, at every login
		{"1,024 bytes", strings.Repeat("k", 1024), &brokenHasher{}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			users := newHookStore()
			c.hasher.Hasher = quickHasher()
			kit := newKit(t, events.listen, users.listen, func(cfg *authkit.Config) { cfg.Passwords.Hasher = c.hasher })
			c.hasher.broken = true
			if c.swap != nil {
				users.update = func(context.Context, string, authkit.UserUpdate, time.Time) (authkit.User, error) {
					return authkit.User{}, c.swap
				}
			}
			legacy := passlibHash(c.password, "saltsalt", 1000)
			ada := storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "ada@example.com"}, PasswordHash: legacy})
			for range 2 {
				events.reset()
				token, err := kit.Login(t.Context(), "ada@example.com", c.password)
				require.NoError(t, err)
				require.NotEmpty(t, token.AccessToken)
				require.Equal(t, legacy, storedHash(t, users, ada.ID))
				if c.want == nil {
					require.Equal(t, []authkit.EventKind{authkit.EventLoginSuccess}, events.kinds())
					continue
				}
				require.Equal(t, []authkit.EventKind{authkit.EventPasswordRehash, authkit.EventLoginSuccess}, events.kinds())
				e := events.all()[0]
				require.ErrorIs(t, e.Err, c.want)
				require.Equal(t, ada.ID, e.UserID)
				require.Equal(t, c.swap == cause, errors.Is(e.Err, authkit.ErrUnavailable))
			}
		})
	}
}

func TestLoginOfADisabledAccountIsNotRehashed(t *testing.T) {
	t.Parallel()
	var events recorder
	users := authkit.NewMemoryStore()
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users = users })
	legacy := passlibHash(loginPassword, "saltsalt", 1000)
	ada := storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "ada@example.com", Disabled: true}, PasswordHash: legacy})
	_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
	require.ErrorIs(t, err, authkit.ErrUserDisabled)
	require.Equal(t, legacy, storedHash(t, users, ada.ID))
	require.Equal(t, []authkit.EventKind{authkit.EventLoginFailure}, events.kinds())
}

// HA-09, RE-01: of many logins at once, all succeed and one replaces the hash.
func TestLoginConcurrently(t *testing.T) {
	t.Parallel()
	const logins = 32
	var events recorder
	users := authkit.NewMemoryStore()
	kit := newKit(t, events.listen, func(c *authkit.Config) { c.Users, c.Passwords.MaxConcurrentHashes = users, logins })
	ada := storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "ada@example.com"}, PasswordHash: passlibHash(loginPassword, "saltsalt", 1000)})
	errs := make(chan error, logins)
	for range logins {
		go func() {
			_, err := kit.Login(context.Background(), "ada@example.com", loginPassword)
			errs <- err
		}()
	}
	for range logins {
		require.NoError(t, <-errs)
	}
	rehashes, successes := 0, 0
	for _, kind := range events.kinds() {
		switch kind {
		case authkit.EventPasswordRehash:
			rehashes++
		case authkit.EventLoginSuccess:
			successes++
		}
	}
	require.Equal(t, 1, rehashes)
	require.Equal(t, logins, successes)
	require.NoError(t, quickBcrypt.Verify(loginPassword, storedHash(t, users, ada.ID)))
}

// A slowHasher blocks in Verify, and in Hash once it is told to, until it is let go.
type slowHasher struct {
	authkit.Hasher
	slow chan struct{} // closed: no longer

	mu           sync.Mutex
	slowToo      bool // Hash
	inside, most int
}

func newSlowHasher() *slowHasher {
	return &slowHasher{Hasher: quickHasher(), slow: make(chan struct{})}
}

func (h *slowHasher) Verify(password string, hash authkit.PasswordHash) error {
	h.wait()
	return h.Hasher.Verify(password, hash)
}

func (h *slowHasher) Hash(password string) (authkit.PasswordHash, error) {
	if h.slowToo {
		h.wait()
	}
	return h.Hasher.Hash(password)
}

func (h *slowHasher) wait() {
	h.mu.Lock()
	h.inside++
	h.most = max(h.most, h.inside)
	h.mu.Unlock()
	<-h.slow
	h.mu.Lock()
	h.inside--
	h.mu.Unlock()
}

// waiters is how many callers may wait for each hash that runs.
const waiters = 16

// HA-12: one hash runs, sixteen callers wait, and the next is refused at once; then
// everything is as before. Were that one to wait, the bubble would deadlock.
func TestLoginOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		hasher := newSlowHasher()
		kit := newKit(t, events.listen, func(c *authkit.Config) { c.Passwords.Hasher, c.Passwords.MaxConcurrentHashes = hasher, 1 })
		ada := addUser(t, kit, "ada@example.com", loginPassword)
		events.reset()

		errs := make(chan error, 1+waiters)
		for range 1 + waiters {
			go func() {
				_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
				errs <- err
			}()
		}
		synctest.Wait()
		require.Equal(t, 1, hasher.inside)
		require.Empty(t, errs)
		began := time.Now()

		for _, email := range []string{"ada@example.com", "nobody@example.com", "not an e-mail"} {
			token, err := kit.Login(t.Context(), email, loginPassword)
			require.Zero(t, token)
			require.ErrorIs(t, err, authkit.ErrOverloaded)
			require.NotErrorIs(t, err, authkit.ErrInvalidCredentials)
			e := events.last()
			require.Equal(t, authkit.EventLoginFailure, e.Kind)
			require.Equal(t, authkit.ReasonOverloaded, e.Reason)
			require.NoError(t, e.Err)
			p := authkit.ProblemFor(err)
			require.Equal(t, 503, p.Status)
			require.Positive(t, p.RetryAfter)
		}
		_, err := kit.HashPassword(t.Context(), loginPassword)
		require.ErrorIs(t, err, authkit.ErrOverloaded)
		_, err = kit.CreateUser(t.Context(), authkit.User{Email: "bob@example.com"}, loginPassword)
		require.ErrorIs(t, err, authkit.ErrOverloaded)
		require.Zero(t, time.Since(began))

		close(hasher.slow)
		for range 1 + waiters {
			require.NoError(t, <-errs)
		}
		require.Equal(t, 1, hasher.most)
		token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
		require.NoError(t, err)
		require.Equal(t, ada.ID, token.User.ID)
		require.Equal(t, "bob@example.com", addUser(t, kit, "bob@example.com", loginPassword).Email)
	})
}

// HA-12: whoever waits does so no longer than the request lasts, and leaves the place
// to somebody else.
func TestLoginWaitsAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events recorder
		hasher := newSlowHasher()
		kit := newKit(t, events.listen, func(c *authkit.Config) { c.Passwords.Hasher, c.Passwords.MaxConcurrentHashes = hasher, 1 })
		ada := addUser(t, kit, "ada@example.com", loginPassword)
		events.reset()
		first := make(chan error)
		go func() {
			_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
			first <- err
		}()
		synctest.Wait()

		for range 100 { // more than may wait, had they not left
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			began := time.Now()
			_, err := kit.Login(ctx, "ada@example.com", loginPassword)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, authkit.ErrInvalidCredentials)
			require.NotErrorIs(t, err, authkit.ErrUnavailable)
			require.Equal(t, 3*time.Second, time.Since(began))
			e := events.last()
			require.Equal(t, authkit.EventLoginFailure, e.Kind)
			require.Equal(t, ada.ID, e.UserID)
			require.Equal(t, authkit.ReasonTimeout, e.Reason)
			require.ErrorIs(t, e.Err, context.DeadlineExceeded)
			require.Equal(t, 503, authkit.ProblemFor(err).Status)

			_, err = kit.HashPassword(ctx, loginPassword)
			require.Error(t, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		second := make(chan error)
		go func() {
			_, err := kit.HashPassword(ctx, loginPassword)
			second <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-second, context.Canceled)

		close(hasher.slow)
		require.NoError(t, <-first)
		_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
		require.NoError(t, err)
	})
}

// HA-12: everything that hashes takes its place: a login, a new account, HashPassword.
func TestHashingSharesThePlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hasher := newSlowHasher()
		kit := newKit(t, func(c *authkit.Config) { c.Passwords.Hasher, c.Passwords.MaxConcurrentHashes = hasher, 2 })
		hasher.slowToo = true
		errs := make(chan error)
		for i := range 5 {
			go func() {
				_, err := kit.HashPassword(t.Context(), loginPassword)
				errs <- err
			}()
			go func() {
				_, err := kit.CreateUser(t.Context(), authkit.User{Email: fmt.Sprintf("user%d@example.com", i)}, loginPassword)
				errs <- err
			}()
			go func() {
				_, err := kit.Login(t.Context(), "nobody@example.com", loginPassword)
				if errors.Is(err, authkit.ErrInvalidCredentials) {
					err = nil
				}
				errs <- err
			}()
		}
		synctest.Wait()
		require.Equal(t, 2, hasher.inside)
		close(hasher.slow)
		for range 15 {
			require.NoError(t, <-errs)
		}
		require.Equal(t, 2, hasher.most)
	})
}

// hashesByDefault is how many hashes run at the same time if a program sets no number.
func hashesByDefault() int { return max(1, min(runtime.GOMAXPROCS(0)-1, runtime.NumCPU())) }

// HA-12: by default fewer hashes run than the scheduler has processors, on as many cores as
// that allows. Not parallel: it changes GOMAXPROCS.
func TestMaxConcurrentHashesByGOMAXPROCS(t *testing.T) {
	t.Cleanup(runtime.SetDefaultGOMAXPROCS)
	cores := runtime.NumCPU()
	for _, c := range []struct{ procs, want int }{
		{1, 1},
		{cores, max(1, cores-1)},
		{cores + 1, cores},
		{cores + 8, cores},
	} {
		runtime.GOMAXPROCS(c.procs)
		require.Equal(t, c.want, newKit(t).Settings().Passwords.MaxConcurrentHashes, "GOMAXPROCS=%d", c.procs)
	}
}

// HA-12
func TestMaxConcurrentHashes(t *testing.T) {
	t.Parallel()
	many := 1024
	if race.Enabled {
		many = 64
	}
	for _, c := range []struct{ set, want int }{
		{0, hashesByDefault()},
		{1, 1},
		{3, 3},
		{many, many},
	} {
		t.Run(fmt.Sprint(c.set), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hasher := newSlowHasher()
				kit := newKit(t, func(cfg *authkit.Config) { cfg.Passwords.Hasher, cfg.Passwords.MaxConcurrentHashes = hasher, c.set })
				errs := make(chan error)
				for range (1 + waiters) * c.want {
					go func() {
						_, err := kit.Login(t.Context(), "nobody@example.com", loginPassword)
						errs <- err
					}()
				}
				synctest.Wait()
				require.Equal(t, c.want, hasher.inside)
				_, err := kit.Login(t.Context(), "nobody@example.com", loginPassword)
				require.ErrorIs(t, err, authkit.ErrOverloaded)
				hasher.Hasher = cheapHasher{}
				close(hasher.slow)
				for range (1 + waiters) * c.want {
					require.ErrorIs(t, <-errs, authkit.ErrInvalidCredentials)
				}
				require.Equal(t, c.want, hasher.most)
			})
		})
	}
}

// A cheapHasher knows no password.
type cheapHasher struct{}

func (cheapHasher) Hash(string) (authkit.PasswordHash, error)      { return "cheap", nil }
func (cheapHasher) Verify(string, authkit.PasswordHash) error      { return authkit.ErrPasswordMismatch }
func (cheapHasher) NeedsRehash(authkit.PasswordHash) (bool, error) { return false, nil }

// A panickingHasher is a host's, with a bug.
type panickingHasher struct{ cheapHasher }

func (panickingHasher) Verify(string, authkit.PasswordHash) error { panic("a bug of the host's") }

// A Hasher that panics, under a server that recovers, does not use up the places.
func TestLoginSurvivesAPanic(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) { c.Passwords.Hasher, c.Passwords.MaxConcurrentHashes = panickingHasher{}, 1 })
	for range 20 {
		require.Panics(t, func() { _, _ = kit.Login(context.Background(), "ada@example.com", loginPassword) })
	}
	_, err := kit.HashPassword(t.Context(), loginPassword)
	require.NoError(t, err)
}

// RE-05: a store that fails is never a wrong password.
func TestLoginStoreFails(t *testing.T) {
	t.Parallel()
	var events recorder
	users := newHookStore()
	hasher := &workHasher{Hasher: quickHasher()}
	kit := newKit(t, events.listen, users.listen, func(c *authkit.Config) { c.Passwords.Hasher = hasher })
	addUser(t, kit, "ada@example.com", loginPassword)
	cause := errors.New("dial tcp 10.0.0.1:5432: connection refused")
	healthy := users.byEmail
	for _, broken := range []func(context.Context, string) (authkit.StoredUser, error){
		func(context.Context, string) (authkit.StoredUser, error) { return authkit.StoredUser{}, cause },
		func(ctx context.Context, email string) (authkit.StoredUser, error) { // an account, and an error
			u, _ := healthy(ctx, email)
			return u, cause
		},
	} {
		users.byEmail = broken
		hasher.take()
		events.reset()
		token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
		require.Zero(t, token)
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		require.ErrorIs(t, err, cause)
		require.NotErrorIs(t, err, authkit.ErrInvalidCredentials)
		_, verified := hasher.take()
		require.Empty(t, verified)
		require.Equal(t, []authkit.EventKind{authkit.EventLoginFailure}, events.kinds())
		e := events.last()
		require.Equal(t, authkit.ReasonStore, e.Reason)
		require.ErrorIs(t, e.Err, cause)
		require.Contains(t, answerTo(err), "503")
		require.NotContains(t, answerTo(err), "tcp")
	}
	users.byEmail = healthy
	_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
	require.NoError(t, err)
}

// A request that ended is not a store that failed, which would be logged as an error:
// any client could write as many as it likes.
func TestLoginOfAClientThatLeft(t *testing.T) {
	t.Parallel()
	ours := func(ctx context.Context) error { return ctx.Err() }
	drivers := func(context.Context) error { return errors.New("pq: canceling statement due to user request") }
	for name, cause := range map[string]func(context.Context) error{"the store says so": ours, "the store says it in its own words": drivers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			users := newHookStore()
			kit := newKit(t, events.listen, users.listen)
			ctx, cancel := context.WithCancel(t.Context())
			users.byEmail = func(context.Context, string) (authkit.StoredUser, error) {
				cancel()
				return authkit.StoredUser{}, cause(ctx)
			}
			_, err := kit.Login(ctx, "ada@example.com", loginPassword)
			require.NotErrorIs(t, err, authkit.ErrInvalidCredentials)
			require.NotErrorIs(t, err, authkit.ErrUnavailable)
			require.Equal(t, authkit.ReasonCanceled, events.last().Reason)
			require.ErrorIs(t, err, context.Canceled)
		})
	}
}

// A store that gives up on its own, though the request goes on, has failed. RE-05.
func TestLoginStoreGivesUp(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			var events recorder
			users := newHookStore()
			users.byEmail = func(context.Context, string) (authkit.StoredUser, error) {
				return authkit.StoredUser{}, fmt.Errorf("the pool is closing: %w", cause)
			}
			kit := newKit(t, events.listen, users.listen)
			_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
			require.ErrorIs(t, err, authkit.ErrUnavailable)
			require.Equal(t, authkit.ReasonStore, events.last().Reason)
		})
	}
}

// A hash that cannot be read is logged with the reason why. HA-03.
func TestLoginEventTellsTheCause(t *testing.T) {
	t.Parallel()
	outage := errors.New("the key service does not answer")
	for _, c := range []struct {
		name   string
		hash   authkit.PasswordHash
		hasher authkit.Hasher
		want   error
	}{
		{"broken", "$2a$04$broken", quickHasher(), authkit.ErrMalformedHash},
		{"foreign", "$6$salt$sum", quickHasher(), authkit.ErrUnknownScheme},
		{"a hasher of the host's fails", "any", failingHasher{err: outage}, outage},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			users := authkit.NewMemoryStore()
			kit := newKit(t, events.listen, func(cfg *authkit.Config) { cfg.Users, cfg.Passwords.Hasher = users, c.hasher })
			storeUser(t, users, authkit.StoredUser{User: authkit.User{Email: "ada@example.com"}, PasswordHash: c.hash})
			_, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			e := events.last()
			require.Equal(t, authkit.ReasonUnreadableHash, e.Reason)
			require.ErrorIs(t, e.Err, c.want)
		})
	}
}

// A failingHasher cannot verify.
type failingHasher struct {
	cheapHasher
	err error
}

func (h failingHasher) Verify(string, authkit.PasswordHash) error { return h.err }

func TestLoginExtraClaims(t *testing.T) {
	t.Parallel()
	type contextKey struct{}
	var none *struct{ Team string }
	cause := errors.New("the team is unknown")
	for _, c := range []struct {
		name  string
		extra any
		err   error
		want  string // JSON members in the payload
		fails string
	}{
		{"nothing", nil, nil, `{}`, ""},
		{"a map", map[string]any{"team": "acme", "n": 1}, nil, `{"team":"acme","n":1}`, ""},
		{"an empty map", map[string]any{}, nil, `{}`, ""},
		{"a struct", struct {
			Team string `json:"team"`
		}{"acme"}, nil, `{"team":"acme"}`, ""},
		{"an error", map[string]any{"team": "acme"}, cause, "", "authkit: Config.ExtraClaims: the team is unknown"},
		{"a name of the library's", map[string]any{"sub": "root"}, nil, "", "reserved name"},
		{"the roles", map[string]any{"roles": []string{"admin"}}, nil, "", "reserved name"},
		{"the user ID", map[string]any{"uid": "root"}, nil, "", "reserved name"},
		{"a list", []int{1}, nil, "", "not a JSON object"},
		{"a text", "team", nil, "", "not a JSON object"},
		{"a nil pointer", none, nil, `{}`, ""},
		{"a nil map", map[string]any(nil), nil, `{}`, ""},
		{"a channel", make(chan int), nil, "", "encoding the extra claims"},
		{"too much", map[string]any{"x": strings.Repeat("x", 8192)}, nil, "", "over the 8192"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var events recorder
			var asked []string
			kit := newKit(t, events.listen, func(cfg *authkit.Config) {
				cfg.ExtraClaims = func(ctx context.Context, u authkit.User) (any, error) {
					asked = append(asked, fmt.Sprint(ctx.Value(contextKey{}), " ", u.ID))
					return c.extra, c.err
				}
			})
			ada := addUser(t, kit, "ada@example.com", loginPassword, "user")
			off, err := kit.CreateUser(t.Context(), authkit.User{Email: "off@example.com", Disabled: true}, loginPassword)
			require.NoError(t, err)
			for _, name := range []string{"ada@example.com", "nobody@example.com", off.Email} {
				_, err := kit.Login(t.Context(), name, "wrong horse")
				require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
			}
			_, err = kit.Login(t.Context(), off.Email, loginPassword)
			require.ErrorIs(t, err, authkit.ErrUserDisabled)
			require.Empty(t, asked, "only a login that succeeds has claims")
			events.reset()

			ctx := context.WithValue(t.Context(), contextKey{}, "request")
			token, err := kit.Login(ctx, "ada@example.com", loginPassword)
			require.Equal(t, []string{"request " + ada.ID}, asked)
			if c.fails != "" {
				require.Zero(t, token)
				require.ErrorContains(t, err, c.fails)
				require.NotErrorIs(t, err, authkit.ErrInvalidCredentials)
				require.Contains(t, answerTo(err), "500")
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
				}
				e := events.last()
				require.Equal(t, authkit.Event{Kind: authkit.EventLoginFailure, UserID: ada.ID, Reason: authkit.ReasonInternal, Err: err}, e)
				return
			}
			require.NoError(t, err)
			claims := tokenClaims(t, token)
			require.Equal(t, ada.ID, claims.Subject)
			require.Equal(t, []string{"user"}, claims.Roles)
			payload := map[string]any{}
			require.NoError(t, claims.Decode(&payload))
			for _, name := range []string{"sub", "iat", "exp", "jti", "roles", "auth_time", "amr"} {
				require.Contains(t, payload, name)
				delete(payload, name)
			}
			text, err := json.Marshal(payload)
			require.NoError(t, err)
			require.JSONEq(t, c.want, string(text))
		})
	}
}

func TestLoginEmailSubject(t *testing.T) {
	t.Parallel()
	kit := newKit(t, func(c *authkit.Config) { c.EmailSubject = true })
	ada := addUser(t, kit, "Ada@example.com", loginPassword)
	token, err := kit.Login(t.Context(), "ADA@example.com", loginPassword)
	require.NoError(t, err)
	claims := tokenClaims(t, token)
	require.Equal(t, "ada@example.com", claims.Subject)
	require.Equal(t, ada.ID, claims.UserID)
	_, err = kit.SetEmail(t.Context(), ada.ID, "lovelace@example.com")
	require.NoError(t, err)
	_, _, err = kit.IdentifyToken(t.Context(), token.AccessToken)
	require.ErrorIs(t, err, authkit.ErrInvalidToken)
}

// LO-03: expires_in is the life of the token.
func TestLoginLifetime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set  time.Duration
		want int
	}{{0, 1800}, {time.Second, 1}, {5 * time.Minute, 300}, {time.Hour, 3600}} {
		t.Run(c.set.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				kit := newKit(t, func(cfg *authkit.Config) { cfg.Tokens.Lifetime, cfg.Tokens.Leeway = c.set, -1 })
				addUser(t, kit, "ada@example.com", loginPassword)
				began := time.Now()
				token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
				require.NoError(t, err)
				require.Equal(t, c.want, token.ExpiresIn)
				claims := tokenClaims(t, token)
				require.Equal(t, began.Unix(), claims.IssuedAt.Unix())

				verifier, err := authkit.NewTokenVerifier(authkit.TokenConfig{Keys: []authkit.Key{{Algorithm: authkit.HS256, Secret: []byte(testSecret)}}, Leeway: -1})
				require.NoError(t, err)
				time.Sleep(time.Duration(c.want)*time.Second - time.Nanosecond)
				_, err = verifier.Verify(token.AccessToken)
				require.NoError(t, err)
				time.Sleep(time.Nanosecond)
				_, err = verifier.Verify(token.AccessToken)
				require.ErrorIs(t, err, authkit.ErrTokenExpired)
			})
		})
	}
}

// Keys, issuer and audience reach the tokens of a login.
func TestLoginTokenConfig(t *testing.T) {
	t.Parallel()
	cfg := authkit.TokenConfig{
		Keys:     []authkit.Key{{ID: "2026", Algorithm: authkit.HS512, Secret: bytes.Repeat([]byte(testSecret), 2)}},
		Issuer:   "https://id.example.com",
		Audience: "api",
	}
	kit := newKit(t, func(c *authkit.Config) { c.Secret, c.Tokens = nil, cfg })
	ada := addUser(t, kit, "ada@example.com", loginPassword)
	token, err := kit.Login(t.Context(), "ada@example.com", loginPassword)
	require.NoError(t, err)
	verifier, err := authkit.NewTokenVerifier(cfg)
	require.NoError(t, err)
	claims, err := verifier.Verify(token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, ada.ID, claims.Subject)
	require.Equal(t, "https://id.example.com", claims.Issuer)
	require.Equal(t, []string{"api"}, claims.Audience)
}

// A token that cannot be made leaves no session behind, and a refresh then takes nothing from
// the client.
func TestTokenTooLargeForASession(t *testing.T) {
	t.Parallel()
	size := 1
	kit, _, user := newSessionKit(t, func(c *authkit.Config) {
		c.ExtraClaims = func(context.Context, authkit.User) (any, error) {
			return map[string]any{"x": strings.Repeat("x", size)}, nil
		}
	})
	token := begin(t, kit)
	size = 8192
	none, err := kit.Login(t.Context(), email, password)
	require.ErrorContains(t, err, "over the 8192")
	require.Zero(t, none)
	none, err = kit.Refresh(t.Context(), token.RefreshToken)
	require.ErrorContains(t, err, "over the 8192")
	require.Zero(t, none)
	list, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.Len(t, list, 1)
	size = 1
	renew(t, kit, token)
}

// RF-09: a cut-off that is far ahead, of a machine whose clock is wrong, lets nobody in.
func TestLoginBeforeTheCutOff(t *testing.T) {
	t.Parallel()
	kit, store, user := newSessionKit(t)
	_, err := store.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{TokensValidAfter: new(time.Now().Add(time.Hour))}, time.Now())
	require.NoError(t, err)
	token, err := kit.Login(t.Context(), email, password)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.ErrorContains(t, err, "are the clocks right?")
	require.Zero(t, token)
}

// RF-09: a login waits for the end of the second of a cut-off, no longer, and at
// most five seconds.
func TestLoginWaitsForTheCutOff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ahead, wait time.Duration
		err         error
	}{
		{-time.Second, 0, nil},
		{0, 0, nil},
		{time.Microsecond, time.Second, nil},
		{time.Second, time.Second, nil},
		{1500 * time.Millisecond, 2 * time.Second, nil},
		{5 * time.Second, 5 * time.Second, nil},
		{5*time.Second + time.Microsecond, 0, authkit.ErrUnavailable},
	} {
		t.Run(c.ahead.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // the clock starts with a whole second
				kit, store, user := newSessionKit(t)
				_, err := store.UpdateUser(t.Context(), user.ID, authkit.UserUpdate{TokensValidAfter: new(time.Now().Add(c.ahead))}, time.Now())
				require.NoError(t, err)
				began := time.Now()
				_, err = kit.Login(t.Context(), email, password)
				require.ErrorIs(t, err, c.err)
				require.Equal(t, c.wait, time.Since(began))
			})
		})
	}
}
