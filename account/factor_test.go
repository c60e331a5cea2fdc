package account_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/account"
	"github.com/authkit-go/authkit/throttle"
)

// newNoticeApp returns an app whose Kit passes its events to the flows.
func newNoticeApp(t testing.TB, opts ...options) *app {
	t.Helper()
	var a *app
	wire := options{kit: []func(*authkit.Config){func(c *authkit.Config) {
		c.OnEvent = append(c.OnEvent, func(ctx context.Context, e authkit.Event) {
			if a != nil {
				a.OnEvent(ctx, e)
			}
		})
	}}}
	a = newApp(t, append([]options{wire}, opts...)...)
	return a
}

// MF-07, MF-08, MF-20: users get a mail about each change of their factors, by
// whoever made it.
func TestFactorNotices(t *testing.T) {
	t.Parallel()
	a := newNoticeApp(t)
	u := a.add(t, "ann@example.com")
	for _, kind := range []authkit.EventKind{authkit.EventFactorAdded, authkit.EventFactorRemoved, authkit.EventRecoveryRenewed} {
		require.NoError(t, a.kit.ChangeFactor(t.Context(), authkit.Event{Kind: kind, UserID: u.ID, Method: "otp"}, func(context.Context) error { return nil }))
		m := a.mail(t)
		require.Equal(t, u.Email, m.To)
		subject := map[authkit.EventKind]string{
			authkit.EventFactorAdded: "A second factor for Example was set up", authkit.EventFactorRemoved: "A second factor for Example was removed",
			authkit.EventRecoveryRenewed: "New recovery codes for Example",
		}[kind]
		require.Equal(t, subject, m.Subject)
		require.Equal(t, kind != authkit.EventRecoveryRenewed, strings.Contains(m.Text, "an authenticator app"), m.Text)
	}
	failed := errors.New("failed")
	require.Equal(t, failed, a.kit.ChangeFactor(t.Context(), authkit.Event{Kind: authkit.EventFactorAdded, UserID: u.ID}, func(context.Context) error { return failed }))
	a.none(t)
	require.NoError(t, a.kit.ResetFactors(t.Context(), u.ID))
	require.Contains(t, a.mail(t).Text, "by an administrator")

	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the client has left
	a.OnEvent(ctx, authkit.Event{Kind: authkit.EventFactorDisabled, UserID: u.ID, Method: "sms"})
	require.Contains(t, a.mail(t).Text, "too many wrong codes: sms.")
	a.OnEvent(ctx, authkit.Event{Kind: authkit.EventRecoveryUsed, UserID: u.ID, Method: authkit.MethodRecovery})
	require.Contains(t, a.mail(t).Text, "was used to log in")
}

// A user is told once a day that someone has the password and guesses codes.
func TestNoticeOfGuesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits, err := throttle.New(throttle.Config{InsecureNoAddressLimits: true})
		require.NoError(t, err)
		f := &factors{enrolled: map[string]bool{}}
		a := newNoticeApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) {
			c.Throttle, c.SecondFactors = limits, []authkit.SecondFactor{f}
		}}})
		u := a.add(t, "ann@example.com")
		f.enrolled[u.ID] = true
		// guess logs in and sends wrong codes until the throttle refuses one.
		guess := func() {
			for range 10 {
				_, err := a.kit.Login(t.Context(), u.Email, password)
				var pending *authkit.ChallengeError
				require.ErrorAs(t, err, &pending)
				for range 5 {
					_, err = a.kit.AnswerChallenge(t.Context(), pending.Token, "otp", "000000")
					if _, throttled := errors.AsType[*authkit.ThrottledError](err); throttled {
						return
					}
					require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
				}
			}
			require.Fail(t, "no code was refused")
		}
		guess()
		m := a.mail(t)
		require.Equal(t, u.Email, m.To)
		require.Contains(t, m.Text, "several wrong codes")
		time.Sleep(2 * time.Hour)
		guess()
		a.none(t)
		time.Sleep(24 * time.Hour)
		guess()
		require.Contains(t, a.mail(t).Text, "several wrong codes")
	})
}

// Other events, and those of changes that failed, cause no mail.
func TestOtherEventsAreNoNotices(t *testing.T) {
	t.Parallel()
	a := newNoticeApp(t)
	u := a.add(t, "ann@example.com")
	for _, e := range []authkit.Event{
		{}, {Kind: authkit.EventLoginThrottled, Reason: authkit.ReasonThrottled}, {Kind: authkit.EventPasswordChange, UserID: u.ID}, {Kind: authkit.EventLoginSuccess, UserID: u.ID},
		{Kind: authkit.EventFactorAdded, UserID: u.ID, Reason: authkit.ReasonWrongCode},
		{Kind: authkit.EventFactorAdded, UserID: u.ID, Err: errors.New("x")},
		{Kind: authkit.EventFactorAdded, UserID: "nobody"}, {Kind: authkit.EventFactorAdded},
	} {
		a.OnEvent(t.Context(), e)
		a.none(t)
	}
	require.NotContains(t, a.kinds(), authkit.EventStoreFailure)
	(*account.Accounts)(nil).OnEvent(t.Context(), authkit.Event{Kind: authkit.EventFactorAdded, UserID: u.ID})
}

// A notice that cannot be stored is an event, and the change stays.
func TestNoticeStoreFails(t *testing.T) {
	t.Parallel()
	a := newNoticeApp(t, options{accounts: []func(*account.Config){func(c *account.Config) { c.Store = noJobs{account.NewMemoryStore()} }}})
	u := a.add(t, "ann@example.com")
	e := authkit.Event{Kind: authkit.EventFactorAdded, UserID: u.ID, Method: "otp"}
	require.NoError(t, a.kit.ChangeFactor(t.Context(), e, func(context.Context) error { return nil }))
	require.Contains(t, a.kinds(), authkit.EventStoreFailure)
}

// A noJobs is a Store that stores no job.
type noJobs struct{ *account.MemoryStore }

func (noJobs) PutJob(context.Context, account.Job) error { return errors.New("no connection") }

// A setupFactors is a factor that users set up.
type setupFactors struct{ factors }

func (*setupFactors) BeginEnrollment(context.Context, authkit.User) (any, error) { return nil, nil }
func (*setupFactors) ConfirmEnrollment(context.Context, authkit.User, string) (any, error) {
	return nil, nil
}
func (*setupFactors) Unenroll(context.Context, string) error { return nil }

// MF-06: a login with a code of a user who must set up a factor goes on at the
// login page.
func TestCodeLoginThatEnrolls(t *testing.T) {
	t.Parallel()
	a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) {
		c.Sessions.Cookies = &authkit.SessionCookieConfig{LoginPath: "/login"}
		c.SecondFactors = []authkit.SecondFactor{&setupFactors{factors{enrolled: map[string]bool{}}}}
		c.RequireFactors.Everyone = true
	}}})
	u := a.add(t, "ann@example.com")
	h := a.server()
	w := call(h, "POST", "/account/code", "email="+u.Email)
	require.Equal(t, 202, w.Code)
	handle := handleIn.FindStringSubmatch(w.Body.String())[2]
	w = call(h, "POST", "/account/code/login", "handle="+handle+"&code="+codeIn.FindString(a.mail(t).Text))
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Result().Cookies())
	page := w.Body.String()
	for _, part := range []string{`action="/login"`, `name="mfa_token"`, `name="mfa_method" value="otp"`, `name="mfa_enroll" value="1"`, "needs a second factor"} {
		require.Contains(t, strings.ReplaceAll(page, ` type="hidden"`, ""), part)
	}
	require.NotContains(t, page, "mfa_response")
}

// A secondFactor is another one than factors.
type secondFactor struct{ factors }

func (*secondFactor) Name() string   { return "keys" }
func (*secondFactor) Method() string { return "hwk" }

// The form of a login with one of two factors asks for the method. Without a login
// page, the challenge is an error.
func TestCodeLoginWithFactors(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/login", ""} {
		enrolled := map[string]bool{}
		a := newApp(t, options{kit: []func(*authkit.Config){func(c *authkit.Config) {
			if path != "" {
				c.Sessions.Cookies = &authkit.SessionCookieConfig{LoginPath: path}
			}
			c.SecondFactors = []authkit.SecondFactor{&factors{enrolled}, &secondFactor{factors{enrolled}}}
		}}})
		u := a.add(t, "ann@example.com")
		enrolled[u.ID] = true
		handle, err := a.RequestCode(t.Context(), u.Email)
		require.NoError(t, err)
		w := call(a.server(), "POST", "/account/code/login", "handle="+handle+"&code="+codeIn.FindString(a.mail(t).Text))
		if path == "" {
			require.Equal(t, 400, w.Code)
			require.NotContains(t, w.Body.String(), "mfa_")
			continue
		}
		require.Equal(t, 200, w.Code)
		for _, name := range []string{"mfa_method", "mfa_response"} {
			require.Regexp(t, `<input[^>]* name="`+name+`"[^>]* required`, w.Body.String())
		}
	}
}
