package account_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
)

// RG-09: a registration holds nothing: no account, no password, not the
// address.
func TestSignUp(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.Roles = []string{"member"} }}})
	require.NoError(t, a.Register(t.Context(), "Ann@Example.com"))
	m := a.mail(t)
	require.Equal(t, "ann@example.com", m.To)
	require.Contains(t, m.Text, base+"/signup?token=")
	n, err := a.kit.CountUsers(t.Context(), authkit.UserQuery{})
	require.NoError(t, err)
	require.Zero(t, n)

	_, err = a.SignUp(t.Context(), token(t, m), account.NewAccount{Password: "short", FullName: "a\nb"})
	var invalid *authkit.ValidationError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Fields, 2)
	u, err := a.SignUp(t.Context(), token(t, m), account.NewAccount{Password: password, FullName: "Ann"})
	require.NoError(t, err)
	stored, err := a.kit.UserByEmail(t.Context(), "ann@example.com")
	require.NoError(t, err)
	require.Equal(t, stored, u)
	require.Equal(t, []string{"member"}, u.Roles)
	require.Equal(t, "Ann", u.FullName)
	require.False(t, u.EmailVerifiedAt.IsZero())
	sessions, err := a.kit.Sessions(t.Context(), u.ID)
	require.NoError(t, err)
	require.Empty(t, sessions, "a confirmation does not log in (RG-16)")
	_, err = a.kit.Login(t.Context(), "ann@example.com", password)
	require.NoError(t, err)

	_, err = a.SignUp(t.Context(), token(t, m), account.NewAccount{Password: password})
	require.ErrorIs(t, err, authkit.ErrInvalidTicket, "a link is used once")
}

// A second registration voids the first one, and an address that is taken
// meanwhile stays taken.
func TestSignUpVoid(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	require.NoError(t, a.Register(t.Context(), "ann@example.com"))
	first := token(t, a.mail(t))
	require.NoError(t, a.Register(t.Context(), "ann@example.com"))
	second := token(t, a.mail(t))
	_, err := a.SignUp(t.Context(), first, account.NewAccount{Password: password})
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	u := a.add(t, "ann@example.com")
	_, err = a.SignUp(t.Context(), second, account.NewAccount{Password: newPassword})
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	_, err = a.kit.Login(t.Context(), u.Email, password)
	require.NoError(t, err)
	for _, bad := range []string{"", ".", "a.b", first + "x", second[1:], strings.Repeat("a", 300), "\x00.\x00"} {
		_, err = a.SignUp(t.Context(), bad, account.NewAccount{Password: password})
		require.ErrorIs(t, err, authkit.ErrInvalidTicket, bad)
	}
}

// Links end: a day after a registration, an hour after a request for a reset.
func TestLinksExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		a.add(t, "ann@example.com")
		require.NoError(t, a.Register(t.Context(), "bob@example.com"))
		signUp := token(t, a.mail(t))
		reset := a.resetToken(t, "ann@example.com")
		time.Sleep(time.Hour)
		require.ErrorIs(t, a.ResetPassword(t.Context(), reset, newPassword), authkit.ErrInvalidTicket)
		_, err := a.SignUp(t.Context(), signUp, account.NewAccount{Password: "short"})
		require.NotErrorIs(t, err, authkit.ErrInvalidTicket)
		time.Sleep(23 * time.Hour)
		_, err = a.SignUp(t.Context(), signUp, account.NewAccount{Password: password})
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	})
}

type settings struct {
	City   string `json:"city"`
	Age    int    `json:"age"`
	Agreed bool   `json:"agreed"`
}

var errRefused = errors.New("refused")

// RG-14: a client sets the fields of the program's type, under their exact
// names, and nothing else. The hook can refuse, and then there is no account.
func TestSignUpFields(t *testing.T) {
	t.Parallel()
	var stored []settings
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
		c.SignUp = account.OnSignUp(func(ctx context.Context, u authkit.User, s settings) error {
			switch s.City {
			case "nowhere":
				return &authkit.ValidationError{Fields: []authkit.FieldError{{Field: "city", Message: "is not known"}}}
			case "error":
				return errRefused
			}
			stored = append(stored, s)
			return nil
		})
	}}})
	require.NoError(t, a.Register(t.Context(), "ann@example.com"))
	link := token(t, a.mail(t))
	for fields, field := range map[string]string{
		`{"roles":["admin"]}`: "roles", `{"id":"x"}`: "id", `{"is_admin":true}`: "is_admin", `{"City":"Oslo"}`: "City",
		`{"hashed_password":"x"}`: "hashed_password", `{"email":"x@example.com"}`: "email",
		`{"city":"Oslo","city":"Rome"}`: "fields", `[]`: "fields", `{}{}`: "fields", `{`: "fields", `null`: "fields", `{1:2}`: "fields",
		`{"city":1}`: "city", `{"age":"x"}`: "age", `{"city":"nowhere"}`: "city",
	} {
		_, err := a.SignUp(t.Context(), link, account.NewAccount{Password: password, Fields: json.RawMessage(fields)})
		var invalid *authkit.ValidationError
		require.ErrorAs(t, err, &invalid, fields)
		require.Equal(t, field, invalid.Fields[0].Field, fields)
	}
	_, err := a.SignUp(t.Context(), link, account.NewAccount{Password: password, Fields: json.RawMessage(`{"city":"error"}`)})
	require.Equal(t, errRefused, err)
	n, err := a.kit.CountUsers(t.Context(), authkit.UserQuery{})
	require.NoError(t, err)
	require.Zero(t, n)
	require.NotContains(t, a.kinds(), authkit.EventUserCreated)
	require.Empty(t, stored)
	u, err := a.SignUp(t.Context(), link, account.NewAccount{Password: password, Fields: json.RawMessage(`{"city":"Oslo","age":7,"agreed":true}`)})
	require.NoError(t, err)
	require.Empty(t, u.Roles)
	require.Equal(t, []settings{{"Oslo", 7, true}}, stored)

	plain := newApp(t)
	require.NoError(t, plain.Register(t.Context(), "ann@example.com"))
	link = token(t, plain.mail(t))
	_, err = plain.SignUp(t.Context(), link, account.NewAccount{Password: password, Fields: json.RawMessage(`{"city":"Oslo"}`)})
	require.ErrorContains(t, err, "city")
	for _, make := range []func(){
		func() { account.OnSignUp(func(context.Context, authkit.User, string) error { return nil }) },
		func() { account.OnSignUp[struct{}](nil) },
	} {
		require.PanicsWithValue(t, "account: OnSignUp: use a function with a struct for the fields", make)
	}
	require.Panics(t, func() {
		account.OnSignUp(func(context.Context, authkit.User, struct {
			Token string `json:"token"`
		}) error {
			return nil
		})
	})
}

// RG-02, RG-08: a reset is used once, ends the sessions, logs no one in and is
// told to the user.
func TestReset(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add(t, "ann@example.com")
	before := a.as(t, u.Email, password)
	link := a.resetToken(t, "ANN@example.com")
	require.ErrorContains(t, a.ResetPassword(t.Context(), link, "short"), "password")
	require.NoError(t, a.ResetPassword(t.Context(), link, newPassword))
	m := a.mail(t)
	require.Equal(t, u.Email, m.To)
	require.Contains(t, m.Subject, "was changed")
	sessions, err := a.kit.Sessions(t.Context(), u.ID)
	require.NoError(t, err)
	require.Empty(t, sessions)
	p, ok := authkit.PrincipalFrom(before)
	require.True(t, ok)
	require.NotEmpty(t, p.SessionID)
	_, err = a.kit.Login(t.Context(), u.Email, password)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	_, err = a.kit.Login(t.Context(), u.Email, newPassword)
	require.NoError(t, err)
	require.ErrorIs(t, a.ResetPassword(t.Context(), link, password), authkit.ErrInvalidTicket)
	a.none(t)
}

// RG-04, RG-17: what voids a link.
func TestResetVoid(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, a *app, u authkit.User) error{
		"a newer link": func(t *testing.T, a *app, u authkit.User) error { a.resetToken(t, u.Email); return nil },
		"a password": func(t *testing.T, a *app, u authkit.User) error {
			return a.kit.SetPassword(t.Context(), u.ID, "other horse")
		},
		"an address": func(t *testing.T, a *app, u authkit.User) error {
			_, err := a.kit.SetEmail(t.Context(), u.ID, "ann@example.org")
			return err
		},
		"a login": func(t *testing.T, a *app, u authkit.User) error {
			_, err := a.kit.Login(t.Context(), u.Email, password)
			return err
		},
		"disabled": func(t *testing.T, a *app, u authkit.User) error { return a.kit.DisableUser(t.Context(), u.ID) },
		"locked": func(t *testing.T, a *app, u authkit.User) error {
			_, err := a.kit.LockUser(t.Context(), u.ID, time.Now().Add(time.Hour))
			return err
		},
		"deleted": func(t *testing.T, a *app, u authkit.User) error { return a.kit.DeleteUser(t.Context(), u.ID) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			u := a.add(t, "ann@example.com")
			link := a.resetToken(t, u.Email)
			require.NoError(t, change(t, a, u))
			require.ErrorIs(t, a.ResetPassword(t.Context(), link, newPassword), authkit.ErrInvalidTicket)
			_, err := a.kit.Login(t.Context(), u.Email, newPassword)
			require.Error(t, err)
			a.none(t)
		})
	}
}

// RG-17: no mail with a link goes to a locked or disabled account.
func TestLockedAndDisabled(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	locked, disabled := a.add(t, "locked@example.com"), a.add(t, "disabled@example.com")
	_, err := a.kit.LockUser(t.Context(), locked.ID, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.NoError(t, a.kit.DisableUser(t.Context(), disabled.ID))
	for _, u := range []authkit.User{locked, disabled} {
		require.NoError(t, a.RequestReset(t.Context(), u.Email))
		require.NoError(t, a.StartReset(t.Context(), u.ID))
		_, err = a.RequestCode(t.Context(), u.Email)
		require.NoError(t, err)
		a.none(t)
		require.NoError(t, a.Register(t.Context(), u.Email))
		require.NotRegexp(t, tokenIn, a.mail(t).Text)
	}
	require.ErrorIs(t, a.StartReset(t.Context(), "nobody"), authkit.ErrUserNotFound)
}

// RG-15: the first proof of a mailbox removes everything that an earlier holder
// of the account could log in with, by whichever way the mailbox is proved.
func TestProofRemovesCredentials(t *testing.T) {
	t.Parallel()
	prove := map[string]func(t *testing.T, a *app, email string){
		"a reset": func(t *testing.T, a *app, email string) {
			require.NoError(t, a.ResetPassword(t.Context(), a.resetToken(t, email), newPassword))
		},
		"a registration": func(t *testing.T, a *app, email string) {
			require.NoError(t, a.Register(t.Context(), email))
			require.NoError(t, a.ResetPassword(t.Context(), token(t, a.mail(t)), newPassword))
		},
		"a reset by an administrator": func(t *testing.T, a *app, email string) {
			u, err := a.kit.UserByEmail(t.Context(), email)
			require.NoError(t, err)
			require.NoError(t, a.StartReset(t.Context(), u.ID))
			require.NoError(t, a.ResetPassword(t.Context(), token(t, a.mail(t)), newPassword))
		},
		"a code": func(t *testing.T, a *app, email string) {
			handle, err := a.RequestCode(t.Context(), email)
			require.NoError(t, err)
			login, err := a.LoginWithCode(t.Context(), handle, codeIn.FindString(a.mail(t).Text))
			require.NoError(t, err)
			require.False(t, login.User.EmailVerifiedAt.IsZero())
		},
	}
	for name, do := range prove {
		for _, verified := range []bool{false, true} {
			if verified && name == "a registration" {
				continue // a verified address gets no link
			}
			t.Run(fmt.Sprint(name, verified), func(t *testing.T) {
				t.Parallel()
				factor := &factors{enrolled: map[string]bool{}}
				a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.UserData = []authkit.UserData{factor} }}})
				u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
				require.NoError(t, err)
				factor.enrolled[u.ID] = true
				if verified {
					_, err = a.kit.VerifyEmail(t.Context(), u.ID, u.Email)
					require.NoError(t, err)
				}
				stranger, err := a.kit.Login(t.Context(), u.Email, password)
				require.NoError(t, err)
				do(t, a, u.Email)
				require.Equal(t, verified, factor.enrolled[u.ID], "factors of a proved account stay")
				if !verified {
					_, err = a.kit.Refresh(t.Context(), stranger.RefreshToken)
					require.Error(t, err)
					_, err = a.kit.Login(t.Context(), u.Email, password)
					require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
				}
				got, err := a.kit.User(t.Context(), u.ID)
				require.NoError(t, err)
				require.False(t, got.EmailVerifiedAt.IsZero())
			})
		}
	}
}

// factors are the second factors of users, as a feature keeps them.
type factors struct{ enrolled map[string]bool }

func (f *factors) Name() string { return "factors" }

func (f *factors) Wipe(_ context.Context, userID string, _ authkit.Wipe) error {
	delete(f.enrolled, userID)
	return nil
}

func (f *factors) Export(context.Context, string) (any, error) { return nil, nil }

func (f *factors) Method() string { return "otp" }

func (f *factors) Enrolled(_ context.Context, userID string) (bool, error) {
	return f.enrolled[userID], nil
}

func (f *factors) Verify(_ context.Context, _, response string) error {
	if response != "123456" {
		return authkit.ErrInvalidCode
	}
	return nil
}

// RG-16, RG-21: a code logs in by the path of every login, for the request that
// asked for it.
func TestCode(t *testing.T) {
	t.Parallel()
	f := &factors{enrolled: map[string]bool{}}
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.SecondFactors = []authkit.SecondFactor{f} }}})
	u := a.add(t, "ann@example.com")
	a.add(t, "bob@example.com")
	handle, err := a.RequestCode(t.Context(), "Ann@example.com")
	require.NoError(t, err)
	code := codeIn.FindString(a.mail(t).Text)
	others, err := a.RequestCode(t.Context(), "bob@example.com")
	require.NoError(t, err)
	bobs := codeIn.FindString(a.mail(t).Text)
	if code != bobs { // as they are but once in a million
		_, err = a.LoginWithCode(t.Context(), others, code)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket, "a code that was sprayed at another login")
	}
	login, err := a.LoginWithCode(t.Context(), handle, code)
	require.NoError(t, err)
	require.Equal(t, u.ID, login.User.ID)
	_, p, err := a.kit.IdentifyToken(t.Context(), login.AccessToken)
	require.NoError(t, err)
	require.Equal(t, []string{"email"}, p.Methods)
	_, err = a.LoginWithCode(t.Context(), handle, code)
	require.ErrorIs(t, err, authkit.ErrInvalidTicket, "used once")

	f.enrolled[u.ID] = true
	handle, err = a.RequestCode(t.Context(), u.Email)
	require.NoError(t, err)
	_, err = a.LoginWithCode(t.Context(), handle, codeIn.FindString(a.mail(t).Text))
	var challenge *authkit.ChallengeError
	require.ErrorAs(t, err, &challenge)
	login, err = a.kit.AnswerChallenge(t.Context(), challenge.Token, "otp", "123456")
	require.NoError(t, err)
	require.Equal(t, u.ID, login.User.ID)

	off := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.CodeLogin = false }}})
	_, err = off.RequestCode(t.Context(), u.Email)
	require.ErrorContains(t, err, "CodeLogin")
	_, err = off.LoginWithCode(t.Context(), "", "")
	require.ErrorContains(t, err, "CodeLogin")
}

// RG-12: five attempts and ten minutes.
func TestCodeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := a.add(t, "ann@example.com")
		handle, err := a.RequestCode(t.Context(), u.Email)
		require.NoError(t, err)
		code := codeIn.FindString(a.mail(t).Text)
		wrong := map[bool]string{true: "000001", false: "000000"}[code == "000000"]
		for range 5 {
			_, err = a.LoginWithCode(t.Context(), handle, wrong)
			require.ErrorIs(t, err, authkit.ErrInvalidTicket)
		}
		_, err = a.LoginWithCode(t.Context(), handle, code)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
		handle, err = a.RequestCode(t.Context(), u.Email)
		require.NoError(t, err)
		code = codeIn.FindString(a.mail(t).Text)
		time.Sleep(10 * time.Minute)
		_, err = a.LoginWithCode(t.Context(), handle, code)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
		_, err = a.RequestCode(t.Context(), u.Email)
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		a.none(t) // a code that waited too long
	})
}

// RG-10: the password is asked again, the new address confirms, the old one is
// told and can undo the change for seven days.
func TestChangeEmail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		u := a.add(t, "ann@example.com")
		a.add(t, "bob@example.com")
		require.ErrorIs(t, a.ChangeEmail(t.Context(), u.ID, "wrong horse", "new@example.com"), authkit.ErrInvalidCredentials)
		require.ErrorContains(t, a.ChangeEmail(t.Context(), u.ID, password, "no address"), "email")
		require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, "Ann@Example.com"), "the same")
		a.none(t)
		require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, "bob@example.com"))
		taken := a.mail(t)
		require.Equal(t, "bob@example.com", taken.To)
		require.NotRegexp(t, tokenIn, taken.Text)

		require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, "New@Example.com"))
		m := a.mail(t)
		require.Equal(t, "new@example.com", m.To)
		mine, other := a.as(t, u.Email, password), a.as(t, u.Email, password)
		require.NoError(t, a.ConfirmEmail(mine, u.ID, token(t, m)))
		told := a.mail(t)
		require.Equal(t, "ann@example.com", told.To)
		require.Contains(t, told.Text, base+"/undo?token=")
		got, err := a.kit.User(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, "new@example.com", got.Email)
		require.False(t, got.EmailVerifiedAt.IsZero())
		p, _ := authkit.PrincipalFrom(mine)
		q, _ := authkit.PrincipalFrom(other)
		sessions, err := a.kit.Sessions(t.Context(), u.ID)
		require.NoError(t, err)
		require.Len(t, sessions, 1)
		require.Equal(t, p.SessionID, sessions[0].ID)
		require.NotEqual(t, q.SessionID, sessions[0].ID)

		require.ErrorIs(t, a.ConfirmEmail(mine, u.ID, token(t, m)), authkit.ErrInvalidTicket, "used")
		require.ErrorContains(t, a.ChangeEmail(mine, u.ID, password, "third@example.com"), "7 days", "an attacker must not hop on")

		time.Sleep(7*24*time.Hour - time.Second)
		require.ErrorContains(t, a.UndoEmail(t.Context(), token(t, told), "short"), "password")
		require.NoError(t, a.UndoEmail(t.Context(), token(t, told), newPassword))
		require.Equal(t, "new@example.com", a.mail(t).To)
		got, err = a.kit.User(t.Context(), u.ID)
		require.NoError(t, err)
		require.Equal(t, "ann@example.com", got.Email)
		_, err = a.kit.Login(t.Context(), "ann@example.com", newPassword)
		require.NoError(t, err)
		require.ErrorIs(t, a.UndoEmail(t.Context(), token(t, told), newPassword), authkit.ErrInvalidTicket)
		require.NoError(t, a.ChangeEmail(t.Context(), u.ID, newPassword, "new@example.com"), "after an undo, the owner can")
		require.NoError(t, a.ConfirmEmail(t.Context(), u.ID, token(t, a.mail(t))))
		undo := token(t, a.mail(t))
		time.Sleep(7 * 24 * time.Hour)
		require.ErrorIs(t, a.UndoEmail(t.Context(), undo, newPassword), authkit.ErrInvalidTicket)
		require.NoError(t, a.ChangeEmail(t.Context(), u.ID, newPassword, "fourth@example.com"))
		a.mail(t)
	})
}

// A change of address is for a login of the user: no other user, no link in the
// wrong hands.
func TestChangeEmailRefuses(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	ann, bob := a.add(t, "ann@example.com"), a.add(t, "bob@example.com")
	asAnn, asBob := a.as(t, ann.Email, password), a.as(t, bob.Email, password)
	require.ErrorIs(t, a.ChangeEmail(asBob, ann.ID, password, "new@example.com"), authkit.ErrForbidden)
	require.ErrorIs(t, a.Delete(asBob, ann.ID, password), authkit.ErrForbidden)
	_, err := a.Export(asBob, ann.ID)
	require.ErrorIs(t, err, authkit.ErrForbidden)
	require.NoError(t, a.ChangeEmail(asAnn, ann.ID, password, "new@example.com"))
	link := token(t, a.mail(t))
	require.ErrorIs(t, a.ConfirmEmail(asBob, ann.ID, link), authkit.ErrForbidden)
	require.ErrorIs(t, a.ConfirmEmail(asBob, bob.ID, link), authkit.ErrInvalidTicket, "a person who is tricked into opening the link")
	require.ErrorIs(t, a.UndoEmail(t.Context(), link, newPassword), authkit.ErrInvalidTicket, "another kind")
	require.ErrorIs(t, a.ResetPassword(t.Context(), link, newPassword), authkit.ErrInvalidTicket, "another kind")
	require.NoError(t, a.kit.SetPassword(t.Context(), ann.ID, newPassword))
	require.ErrorIs(t, a.ConfirmEmail(t.Context(), ann.ID, link), authkit.ErrInvalidTicket, "the password has changed")

	require.NoError(t, a.ChangeEmail(t.Context(), ann.ID, newPassword, "new@example.com"))
	link = token(t, a.mail(t))
	a.add(t, "new@example.com")
	require.ErrorIs(t, a.ConfirmEmail(t.Context(), ann.ID, link), authkit.ErrInvalidTicket, "taken meanwhile")
	require.NoError(t, a.ChangeEmail(t.Context(), ann.ID, newPassword, "other@example.com"), "which was no change")
	a.mail(t)

	// What was asked before the password changed is forgotten.
	require.NoError(t, a.ChangeEmail(t.Context(), ann.ID, newPassword, "thief@example.com"))
	require.NoError(t, a.kit.SetPassword(t.Context(), ann.ID, password))
	a.none(t)

	// An address that was never verified may be that of a stranger, who gets no
	// link to undo.
	eve, err := a.kit.CreateUser(t.Context(), authkit.User{Email: "typo@example.com"}, password)
	require.NoError(t, err)
	require.NoError(t, a.ChangeEmail(t.Context(), eve.ID, password, "eve@example.com"))
	require.NoError(t, a.ConfirmEmail(t.Context(), eve.ID, token(t, a.mail(t))))
	a.none(t)
}

// RG-17: an undo is for the account as the change left it, and not for one that
// is locked or disabled.
func TestUndoRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(a *app, u authkit.User) error
		want   error
	}{
		"nothing":    {func(*app, authkit.User) error { return nil }, nil},
		"a password": {func(a *app, u authkit.User) error { return a.kit.SetPassword(t.Context(), u.ID, "thief's horse") }, nil},
		"disabled":   {func(a *app, u authkit.User) error { return a.kit.DisableUser(t.Context(), u.ID) }, authkit.ErrInvalidTicket},
		"locked": {func(a *app, u authkit.User) error {
			_, err := a.kit.LockUser(t.Context(), u.ID, time.Now().Add(time.Hour))
			return err
		}, authkit.ErrInvalidTicket},
		"deleted": {func(a *app, u authkit.User) error { return a.kit.DeleteUser(t.Context(), u.ID) }, authkit.ErrInvalidTicket},
		"moved on": {func(a *app, u authkit.User) error {
			_, err := a.kit.SetEmail(t.Context(), u.ID, "third@example.com")
			return err
		}, authkit.ErrInvalidTicket},
		"moved back": {func(a *app, u authkit.User) error { _, err := a.kit.SetEmail(t.Context(), u.ID, u.Email); return err }, authkit.ErrInvalidTicket},
		"taken again": {func(a *app, u authkit.User) error {
			_, err := a.kit.CreateUser(t.Context(), authkit.User{Email: u.Email}, password)
			return err
		}, authkit.ErrInvalidTicket},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			u := a.add(t, "ann@example.com")
			require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, "new@example.com"))
			require.NoError(t, a.ConfirmEmail(t.Context(), u.ID, token(t, a.mail(t))))
			link := token(t, a.mail(t))
			require.NoError(t, tc.change(a, u))
			require.ErrorIs(t, a.UndoEmail(t.Context(), link, newPassword), tc.want)
			if tc.want == nil {
				require.NoError(t, a.kit.VerifyPassword(t.Context(), u.ID, newPassword))
			}
		})
	}
}

// RG-10, RG-15: an undo removes what a thief has made since the change: the
// password, sessions, second factors and pending links. The address that loses
// the account is told, since the old mailbox may be the one that was stolen.
func TestUndoRemovesCredentials(t *testing.T) {
	t.Parallel()
	factor := &factors{enrolled: map[string]bool{}}
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.UserData = []authkit.UserData{factor} }}})
	u := a.add(t, "ann@example.com")
	require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, "new@example.com"))
	require.NoError(t, a.ConfirmEmail(t.Context(), u.ID, token(t, a.mail(t))))
	undo := token(t, a.mail(t))
	factor.enrolled[u.ID] = true
	stolen, err := a.kit.Login(t.Context(), "new@example.com", password)
	require.NoError(t, err)
	reset := a.resetToken(t, "new@example.com")
	handle, err := a.RequestCode(t.Context(), "new@example.com")
	require.NoError(t, err)
	code := codeIn.FindString(a.mail(t).Text)
	require.NoError(t, a.UndoEmail(t.Context(), undo, newPassword))
	told := a.mail(t)
	require.Equal(t, "new@example.com", told.To)
	require.Contains(t, told.Text, "undone")
	require.NotRegexp(t, tokenIn, told.Text)
	require.Empty(t, factor.enrolled)
	_, err = a.kit.Refresh(t.Context(), stolen.RefreshToken)
	require.ErrorIs(t, err, authkit.ErrInvalidRefreshToken)
	require.ErrorIs(t, a.kit.VerifyPassword(t.Context(), u.ID, password), authkit.ErrInvalidCredentials)
	require.ErrorIs(t, a.ResetPassword(t.Context(), reset, password), authkit.ErrInvalidTicket)
	_, err = a.LoginWithCode(t.Context(), handle, code)
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
}

// RG-15: a change of address that an earlier holder began comes to nothing when
// the owner has proved the mailbox, wherever the change is at that time. If the
// holder is first, the holder leaves the address, and its owner is free to sign
// up.
func TestProofEndsChanges(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"asked", "mailed", "confirmed"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			u, err := a.kit.CreateUser(t.Context(), authkit.User{Email: "ann@example.com"}, password)
			require.NoError(t, err)
			reset := a.resetToken(t, u.Email)
			require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, "thief@example.org"))
			link := ""
			if order != "asked" {
				link = token(t, a.mail(t))
			}
			if order == "confirmed" {
				require.NoError(t, a.ConfirmEmail(t.Context(), u.ID, link))
				a.none(t)
				require.ErrorIs(t, a.ResetPassword(t.Context(), reset, newPassword), authkit.ErrInvalidTicket)
				require.NoError(t, a.Register(t.Context(), "ann@example.com"))
				fresh, err := a.SignUp(t.Context(), token(t, a.mail(t)), account.NewAccount{Password: newPassword})
				require.NoError(t, err)
				require.NotEqual(t, u.ID, fresh.ID)
				return
			}
			require.NoError(t, a.ResetPassword(t.Context(), reset, newPassword))
			a.none(t)
			if link != "" {
				require.ErrorIs(t, a.ConfirmEmail(t.Context(), u.ID, link), authkit.ErrInvalidTicket)
			}
			got, err := a.kit.User(t.Context(), u.ID)
			require.NoError(t, err)
			require.Equal(t, "ann@example.com", got.Email)
		})
	}
}

// RG-19: an administrator invites, and never sees a password.
func TestInvite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t)
		admin := a.add(t, "admin@example.com", "admin")
		ctx := a.as(t, admin.Email, password)
		u, err := a.Invite(ctx, authkit.User{Email: "ann@example.com", FullName: "Ann", Roles: []string{"editor"}})
		require.NoError(t, err)
		require.True(t, u.EmailVerifiedAt.IsZero())
		_, err = a.Invite(ctx, authkit.User{Email: "ann@example.com"})
		require.ErrorIs(t, err, authkit.ErrEmailTaken)
		m := a.mail(t)
		require.Equal(t, "ann@example.com", m.To)
		time.Sleep(7*24*time.Hour - time.Second)
		require.NoError(t, a.ResetPassword(t.Context(), token(t, m), password))
		a.none(t)
		_, err = a.kit.Login(t.Context(), u.Email, password)
		require.NoError(t, err)

		_, err = a.Invite(a.as(t, u.Email, password), authkit.User{Email: "bob@example.com", Roles: []string{"admin"}})
		require.ErrorIs(t, err, authkit.ErrForbidden, "nobody grants what they do not hold")
		a.none(t)
		bob, err := a.Invite(ctx, authkit.User{Email: "bob@example.com"})
		require.NoError(t, err)
		m = a.mail(t)
		time.Sleep(7 * 24 * time.Hour)
		require.ErrorIs(t, a.ResetPassword(t.Context(), token(t, m), password), authkit.ErrInvalidTicket)
		require.NoError(t, a.StartReset(t.Context(), bob.ID))
		require.NoError(t, a.ResetPassword(t.Context(), token(t, a.mail(t)), password))
	})
}

func TestDeleteAndExport(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add(t, "ann@example.com")
	data, err := a.Export(a.as(t, u.Email, password), u.ID)
	require.NoError(t, err)
	require.Contains(t, data, "account")
	require.ErrorIs(t, a.Delete(t.Context(), u.ID, "wrong horse"), authkit.ErrInvalidCredentials)
	require.NoError(t, a.Delete(a.as(t, u.Email, password), u.ID, password))
	require.Equal(t, u.Email, a.mail(t).To)
	_, err = a.kit.User(t.Context(), u.ID)
	require.ErrorIs(t, err, authkit.ErrUserNotFound)
	admin := a.add(t, "admin@example.com", "admin")
	require.ErrorIs(t, a.Delete(t.Context(), admin.ID, password), authkit.ErrLastAdmin)
	a.none(t)
}

// RG-14: the fields are those that encoding/json sets: exported ones, under
// their names, and those of embedded structs.
func TestSignUpFieldNames(t *testing.T) {
	t.Parallel()
	type Inner struct {
		Street string `json:"street"`
	}
	type Tagged struct{ Zip string }
	type fields struct {
		Inner
		Tagged `json:"tagged"`
		Plain  string
		Skip   string `json:"-"`
		Deep   struct{ A string }
		hidden string
	}
	var got fields
	a := newApp(t, options{accounts: []func(*account.Config){func(c *account.Config) {
		c.SignUp = account.OnSignUp(func(_ context.Context, _ authkit.User, f fields) error { got = f; return nil })
	}}})
	require.NoError(t, a.Register(t.Context(), "ann@example.com"))
	link := token(t, a.mail(t))
	signUp := func(text string) error {
		_, err := a.SignUp(t.Context(), link, account.NewAccount{Password: password, Fields: json.RawMessage(text)})
		return err
	}
	for text, field := range map[string]string{
		`{"hidden":"x"}`: "hidden", `{"Skip":"x"}`: "Skip", `{"-":"x"}`: "-", `{"Inner":{}}`: "Inner", `{"Deep":{"B":"x"}}`: "fields",
		`{"` + strings.Repeat("x", 70) + `":1}`: strings.Repeat("x", 64),
	} {
		var invalid *authkit.ValidationError
		require.ErrorAs(t, signUp(text), &invalid, text)
		require.Equal(t, field, invalid.Fields[0].Field, text)
	}
	require.NoError(t, signUp(`{"street":"a","tagged":{"Zip":"b"},"Plain":"c","Deep":{"A":"d"}}`))
	require.Equal(t, fields{Inner{"a"}, Tagged{"b"}, "c", "", struct{ A string }{"d"}, ""}, got)
}

// RG-01: no mail is made up for an address without an account, or for a user who
// is deleted meanwhile.
func TestNoMailForNobody(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	require.NoError(t, a.RequestReset(t.Context(), "nobody@example.com"))
	_, err := a.RequestCode(t.Context(), "nobody@example.com")
	require.NoError(t, err)
	u := a.add(t, "ann@example.com")
	require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, "new@example.com"))
	require.NoError(t, a.kit.DeleteUser(t.Context(), u.ID))
	a.none(t)
	next, err := a.jobs.ClaimJob(t.Context(), time.Now().Add(time.Hour), time.Now().Add(2*time.Hour))
	require.Error(t, err, "%v", next)
}

// Without sessions, a reset works too.
func TestResetWithoutSessions(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) { c.Sessions = authkit.SessionConfig{} }}})
	a.add(t, "ann@example.com")
	require.NoError(t, a.ResetPassword(t.Context(), a.resetToken(t, "ann@example.com"), newPassword))
}

// A login with a code changes an account only if it proves the mailbox.
func TestCodeOfAVerifiedUser(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	u := a.add(t, "ann@example.com")
	before, err := a.kit.User(t.Context(), u.ID)
	require.NoError(t, err)
	handle, err := a.RequestCode(t.Context(), u.Email)
	require.NoError(t, err)
	_, err = a.LoginWithCode(t.Context(), handle, codeIn.FindString(a.mail(t).Text))
	require.NoError(t, err)
	after, err := a.kit.User(t.Context(), u.ID)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.NoError(t, a.kit.VerifyPassword(t.Context(), u.ID, password))
}

// RG-10: the link of a change is good for an hour. The link of an undo sets the
// password of the account with its old address.
func TestEmailLinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		checked := ""
		a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) {
			c.Passwords.Check = func(_ context.Context, _ string, u authkit.User) error { checked = u.Email; return nil }
		}}})
		u := a.add(t, "ann@example.com")
		change := func(email string) string {
			require.NoError(t, a.ChangeEmail(t.Context(), u.ID, password, email))
			return token(t, a.mail(t))
		}
		link := change("late@example.com")
		time.Sleep(time.Hour)
		require.ErrorIs(t, a.ConfirmEmail(t.Context(), u.ID, link), authkit.ErrInvalidTicket)
		link = change("new@example.com")
		time.Sleep(time.Hour - time.Second)
		require.NoError(t, a.ConfirmEmail(t.Context(), u.ID, link))
		undo := token(t, a.mail(t))
		require.NoError(t, a.UndoEmail(t.Context(), undo, newPassword))
		require.Equal(t, u.Email, checked, "the password is checked for the address that it will belong to")
	})
}
