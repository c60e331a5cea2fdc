package authkit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// newFactorKit returns a Kit with sessions and one account, which has the factors enrolled.
func newFactorKit(t testing.TB, factors []*fakeFactor, change ...func(*authkit.Config)) (*authkit.Kit, *authkit.MemoryStore, authkit.User) {
	t.Helper()
	kit, store, user := newSessionKit(t, append(change, func(c *authkit.Config) {
		for _, f := range factors {
			c.SecondFactors = append(c.SecondFactors, f)
		}
	})...)
	for _, f := range factors {
		f.users = append(f.users, user.ID)
	}
	return kit, store, user
}

// One of several factors is enough, and a factor that the user has not enrolled is none.
func TestChallengeMethods(t *testing.T) {
	t.Parallel()
	otp, hwk, sms := &fakeFactor{method: "otp", right: "1"}, &fakeFactor{method: "hwk", right: "2"}, &fakeFactor{method: "sms", right: "3"}
	kit, _, user := newFactorKit(t, []*fakeFactor{otp, hwk}, func(c *authkit.Config) { c.SecondFactors = []authkit.SecondFactor{sms} })
	pending := challenge(t, kit)
	require.Equal(t, []string{"otp", "hwk"}, pending.Methods)
	_, err := kit.AnswerChallenge(t.Context(), pending.Token, "sms", "3")
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Zero(t, sms.asked)
	token, err := kit.AnswerChallenge(t.Context(), pending.Token, "hwk", "2")
	require.NoError(t, err)
	require.Equal(t, []string{"pwd", "hwk", "mfa"}, tokenClaims(t, token).Methods)

	for _, c := range []struct{ used, missing []string }{
		{[]string{"email"}, []string{"otp", "hwk"}},
		{[]string{"otp"}, []string{"hwk"}},
		{[]string{"hwk", "otp"}, nil},
		{[]string{"hwk", "mfa"}, nil},
	} {
		prove, _ := proves(authkit.Proof{UserID: user.ID, Methods: c.used}, nil)
		token, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
		if c.missing == nil {
			require.NoError(t, err)
			require.Equal(t, c.used, tokenClaims(t, token).Methods)
			continue
		}
		var pending *authkit.ChallengeError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, c.missing, pending.Methods)
	}
}

// MF-13: a password that is right counts as a failure until the factor has been answered. Then the
// attempt that began the login is settled, whatever its action was.
func TestChallengeAndThrottle(t *testing.T) {
	t.Parallel()
	for _, action := range []string{authkit.ActionLogin, "passkey"} {
		throttled := new(fakeThrottle)
		factor := &fakeFactor{method: "otp", right: "1"}
		kit, _, user := newFactorKit(t, []*fakeFactor{factor}, throttled.listen)
		prove, _ := proves(proof(user), nil)
		_, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: action, Account: email}, prove)
		var pending *authkit.ChallengeError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, []string{"begin", "failed"}, throttled.calls)

		_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "2")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.Equal(t, []string{"begin", "succeeded", "begin", "failed"}, throttled.calls[2:])
		require.Equal(t, authkit.Attempt{Action: authkit.ActionCode}, throttled.attempts[2], "the address, for the token")
		throttled.calls, throttled.attempts = nil, nil
		factor.err = errors.New("no connection")
		_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		require.Equal(t, []string{"begin", "succeeded", "begin", "undecided"}, throttled.calls)
		factor.err = nil
		client := authkit.ClientInfo{Address: "192.0.2.7"}
		_, err = kit.AnswerChallenge(authkit.WithClient(t.Context(), client), pending.Token, "otp", "1")
		require.NoError(t, err)
		require.Equal(t, []string{"begin", "succeeded", "begin", "succeeded", "succeeded"}, throttled.calls[4:])
		require.Equal(t, authkit.Attempt{Action: authkit.ActionCode, Account: email, Client: client}, throttled.attempts[7])
		require.Equal(t, authkit.Attempt{Action: action, Account: email, Client: client}, throttled.attempts[8], "the address of the answer")

		_, err = kit.AnswerChallenge(t.Context(), "no.token", "otp", "1")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		require.Equal(t, authkit.Attempt{Action: authkit.ActionCode}, throttled.attempts[9])
		require.Equal(t, []string{"begin", "failed"}, throttled.calls[9:])
	}
}

// MF-13, LO-06: a new password entry refills nothing. The failures are counted for the account,
// over all of its pending logins.
func TestChallengesShareOneBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits, err := throttle.New(throttle.Config{InsecureNoAddressLimits: true})
		require.NoError(t, err)
		factor := &fakeFactor{method: "otp", right: "1"}
		kit, _, _ := newFactorKit(t, []*fakeFactor{factor}, func(c *authkit.Config) { c.Throttle = limits })
		for range 50 {
			_, err := kit.Login(t.Context(), email, password)
			pending, challenged := errors.AsType[*authkit.ChallengeError](err)
			if !challenged {
				var throttled *authkit.ThrottledError
				require.ErrorAs(t, err, &throttled)
				continue
			}
			for range 2 {
				_, err := kit.AnswerChallenge(t.Context(), pending.Token, "otp", "2")
				require.Error(t, err)
			}
		}
		require.NotZero(t, factor.asked)
		require.LessOrEqual(t, factor.asked, 5)

		time.Sleep(time.Hour)
		_, err = kit.AnswerChallenge(t.Context(), challenge(t, kit).Token, "otp", "1")
		require.NoError(t, err)
		_, err = kit.AnswerChallenge(t.Context(), challenge(t, kit).Token, "otp", "1")
		require.NoError(t, err, "a success clears both counters")
	})
}

// MF-22: an attempt that is throttled ends the pending login.
func TestThrottledChallengeEnds(t *testing.T) {
	t.Parallel()
	var events recorder
	throttled := new(fakeThrottle)
	factor := &fakeFactor{method: "otp", right: "1"}
	kit, _, _ := newFactorKit(t, []*fakeFactor{factor}, throttled.listen, events.listen)
	pending := challenge(t, kit)
	require.Equal(t, authkit.EventLoginChallenge, events.last().Kind, "AU-01: a right password alone is no login")
	throttled.code = &authkit.ThrottledError{RetryAfter: time.Minute, Account: true}
	_, err := kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
	var limited *authkit.ThrottledError
	require.ErrorAs(t, err, &limited)
	require.Zero(t, factor.asked)
	require.Equal(t, authkit.EventLoginThrottled, events.last().Kind)
	require.NotContains(t, events.kinds(), authkit.EventStoreFailure)
	throttled.code = nil
	_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Equal(t, authkit.ReasonMalformed, events.last().Reason)
	_, err = kit.AnswerChallenge(t.Context(), challenge(t, kit).Token, "otp", "1")
	require.NoError(t, err)
}

// A faultyTickets fails the calls that a test names.
type faultyTickets struct {
	*authkit.MemoryStore
	fail string
	body []byte // instead of the real one
	gone bool   // for ConsumeTicket
}

func (s *faultyTickets) failing(call string) error {
	if s.fail == call {
		return errCrash
	}
	return nil
}

func (s *faultyTickets) PutTicket(ctx context.Context, t authkit.Ticket) error {
	return errors.Join(s.failing("put"), s.MemoryStore.PutTicket(ctx, t))
}

func (s *faultyTickets) AttemptTicket(ctx context.Context, kind, id string, at time.Time) (authkit.Ticket, error) {
	if err := s.failing("attempt"); err != nil {
		return authkit.Ticket{}, err
	}
	t, err := s.MemoryStore.AttemptTicket(ctx, kind, id, at)
	if s.body != nil {
		t.Body = s.body
	}
	return t, err
}

func (s *faultyTickets) ConsumeTicket(ctx context.Context, kind, id string, at time.Time) error {
	if err := s.failing("consume"); err != nil {
		return err
	}
	if s.gone {
		return authkit.ErrTicketNotFound
	}
	return s.MemoryStore.ConsumeTicket(ctx, kind, id, at)
}

// A login with a second factor fails closed.
func TestChallengeStoreFails(t *testing.T) {
	t.Parallel()
	var events recorder
	tickets := &faultyTickets{MemoryStore: authkit.NewMemoryStore()}
	throttled := new(fakeThrottle)
	factor := &fakeFactor{method: "otp", right: "1"}
	users := newHookStore()
	kit := newKit(t, users.listen, events.listen, throttled.listen, withFactors(factor), func(c *authkit.Config) {
		c.Tickets, c.Sessions.Store = tickets, authkit.NewMemoryStore()
	})
	factor.users = []string{addUser(t, kit, email, password).ID}
	unavailable := func(token authkit.Token, err error) {
		t.Helper()
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		require.Zero(t, token)
		require.Equal(t, authkit.ReasonStore, events.last().Reason)
	}
	login := func() (authkit.Token, error) { return kit.Login(t.Context(), email, password) }
	factor.enrolled = errCrash
	unavailable(login())
	factor.enrolled = nil
	tickets.fail = "put"
	unavailable(login())
	tickets.fail = ""
	pending := challenge(t, kit)
	answer := func() (authkit.Token, error) { return kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1") }
	for _, call := range []string{"attempt", "consume"} {
		tickets.fail = call
		unavailable(answer())
	}
	tickets.fail = ""
	users.byID = func(context.Context, string) (authkit.StoredUser, error) { return authkit.StoredUser{}, errCrash }
	unavailable(answer())
	users.byID = users.UserStore.UserByID

	tickets.body = []byte("{")
	_, err := answer()
	require.Error(t, err)
	require.Equal(t, 500, authkit.ProblemFor(err).Status)
	tickets.body = nil

	// A pending login that is gone is no failure of the store, and if the ticket cannot be ended,
	// the refusal stays.
	events.reset()
	throttled.code = &authkit.ThrottledError{RetryAfter: time.Minute}
	tickets.gone = true
	var early *authkit.ThrottledError
	_, err = answer()
	require.ErrorAs(t, err, &early)
	require.NotContains(t, events.kinds(), authkit.EventStoreFailure)
	tickets.gone = false
	tickets.fail, throttled.code = "consume", &authkit.ThrottledError{RetryAfter: time.Minute}
	_, err = answer()
	var limited *authkit.ThrottledError
	require.ErrorAs(t, err, &limited)
	require.Contains(t, events.kinds(), authkit.EventStoreFailure)
}

// A challenge holds a token, which no log may hold.
func TestChallengeErrorIsRedacted(t *testing.T) {
	t.Parallel()
	c := &authkit.ChallengeError{Token: "secret-token", Methods: []string{"otp"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		require.NotContains(t, fmt.Sprintf(verb, c), "secret", verb)
		require.NotContains(t, fmt.Sprintf(verb, fmt.Errorf("login: %w", c)), "secret", verb)
	}
	require.Equal(t, "authkit: second factor required", c.Error())
	p := authkit.ProblemFor(fmt.Errorf("login: %w", c))
	require.Equal(t, 400, p.Status)
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"about:blank","title":"Bad Request","status":400,"detail":"A second factor is required","error":"mfa_required",
		"error_description":"A second factor is required","mfa_token":"secret-token","mfa_methods":["otp"]}`, string(text))
}

func TestSecondFactorFaults(t *testing.T) {
	t.Parallel()
	factor := func(method string) authkit.SecondFactor { return &fakeFactor{method: method} }
	for name, factors := range map[string][]authkit.SecondFactor{
		"nil":       {nil},
		"twice":     {factor("otp"), factor("otp")},
		"pwd":       {factor("pwd")},
		"mfa":       {factor("mfa")},
		"malformed": {factor("One Time")},
		"empty":     {factor("")},
	} {
		_, err := authkit.New(authkit.Config{Secret: []byte(testSecret), SecondFactors: factors})
		require.ErrorContains(t, err, "authkit: Config.SecondFactors: the ", name)
	}
	_, err := authkit.New(authkit.Config{Secret: []byte(testSecret), Users: newHookStore(), SecondFactors: []authkit.SecondFactor{factor("otp")}})
	require.ErrorContains(t, err, "set Tickets")
	_, err = authkit.New(authkit.Config{Secret: []byte(testSecret), Tickets: new(authkit.MemoryStore)})
	require.ErrorContains(t, err, "Config.Tickets")
}

// The form of grant_type=mfa, at both handlers; see also the package internal/foreign.
func TestMFAGrant(t *testing.T) {
	t.Parallel()
	factor := &fakeFactor{method: "otp", right: "1"}
	kit, _, _ := newFactorKit(t, []*fakeFactor{factor})
	answer := func(response string) string {
		return form("grant_type", "mfa", "mfa_token", challenge(t, kit).Token, "mfa_method", "otp", "mfa_response", response)
	}
	asToken(t, post(kit.TokenHandler(), "/", formType, answer("1")))
	p := problem(t, post(kit.TokenHandler(), "/", formType, answer("2")), 401, "The response is wrong, or the login has expired")
	require.Equal(t, "invalid_grant", p.Code)
	require.Equal(t, p.Detail, p.Description)
	p = problem(t, post(kit.TokenHandler(), "/", formType, "grant_type=mfa&mfa_token=x"), 422, "")
	require.Len(t, p.Errors, 2)
	factor.err = errCrash
	p = problem(t, post(kit.TokenHandler(), "/", formType, answer("1")), 503, "Temporarily unavailable")
	require.Equal(t, "temporarily_unavailable", p.Code)
	factor.err = nil

	b := &browser{h: kit.RefreshCookieHandler()}
	require.Empty(t, asToken(t, b.do("POST", answer("1"), "same-origin")).RefreshToken)
	require.NotEmpty(t, b.cookie)
	require.Equal(t, 401, b.do("POST", answer("2"), "same-origin").Code)
	require.Equal(t, 403, b.do("POST", answer("1"), "cross-site").Code)

	plain, _, _ := newSessionKit(t)
	require.Equal(t, "unsupported_grant_type", problem(t, post(plain.TokenHandler(), "/", formType, answer("1")), 400, "").Code)
	require.Equal(t, 401, post(plain.RefreshCookieHandler(), "/", formType, answer("1")).Code)
}

// An enrollingFactor is enrolled between two steps of a login.
type enrollingFactor struct {
	fakeFactor
	meanwhile func()
}

func (f *enrollingFactor) Enrolled(ctx context.Context, userID string) (bool, error) {
	enrolled, err := f.fakeFactor.Enrolled(ctx, userID)
	if f.meanwhile != nil {
		f.meanwhile()
		f.meanwhile = nil
	}
	return enrolled, err
}

// MF-06: no login without the factor outlives its enrolment.
func TestEnrolmentDuringALogin(t *testing.T) {
	t.Parallel()
	factor := &enrollingFactor{fakeFactor: fakeFactor{method: "otp", right: "1"}}
	kit, _, user := newSessionKit(t, withFactors(factor))
	mine := begin(t, kit)
	enrol := func() {
		factor.users = []string{user.ID}
		require.NoError(t, kit.LogoutOthers(t.Context(), user.ID, sessionID(t, mine)))
	}
	factor.meanwhile = enrol
	challenge(t, kit)
	factor.users, factor.meanwhile = nil, enrol
	prove, _ := proves(proof(user), nil)
	_, err := kit.LoginWith(t.Context(), authkit.Attempt{Action: authkit.ActionLogin}, prove)
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	sessions, err := kit.Sessions(t.Context(), user.ID)
	require.NoError(t, err)
	require.Len(t, sessions, 1)
}

// The token of a pending login redeems no ticket of a feature, whatever the feature calls it.
func TestChallengeIsNoTicketOfOthers(t *testing.T) {
	t.Parallel()
	kit, _, user := newFactorKit(t, []*fakeFactor{{method: "otp", right: "1"}})
	pending := challenge(t, kit)
	for _, kind := range []string{"", "login", "mfa", "otp", "pending", "code", "email_code"} {
		_, err := authkit.RedeemTicket(t.Context(), kit.Tickets(), kind, pending.Token)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket, kind)
	}
	ticket, token := authkit.NewTicket("login", user.ID, time.Minute)
	require.NoError(t, kit.Tickets().PutTicket(t.Context(), ticket))
	_, err := kit.AnswerChallenge(t.Context(), token, "otp", "1")
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	_, err = kit.AnswerChallenge(t.Context(), pending.Token, "otp", "1")
	require.NoError(t, err, "a ticket of a feature does not end it")
}

// MF-05: a pending login is good for five minutes, and for the client that began it.
func TestChallengeIsOfOneClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		factor := &fakeFactor{method: "otp", right: "1"}
		kit, _, _ := newFactorKit(t, []*fakeFactor{factor})
		firefox := authkit.WithClient(t.Context(), authkit.ClientInfo{Device: "Firefox"})
		chrome := authkit.WithClient(t.Context(), authkit.ClientInfo{Device: "Chrome"})
		_, err := kit.Login(firefox, email, password)
		var pending *authkit.ChallengeError
		require.ErrorAs(t, err, &pending)
		require.Equal(t, 5*time.Minute, time.Until(pending.ExpiresAt).Round(time.Second))
		for _, ctx := range []context.Context{chrome, t.Context()} {
			_, err = kit.AnswerChallenge(ctx, pending.Token, "otp", "1")
			require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
		}
		require.Zero(t, factor.asked)
		time.Sleep(5*time.Minute - time.Second)
		_, err = kit.AnswerChallenge(firefox, pending.Token, "otp", "1")
		require.NoError(t, err)

		_, err = kit.Login(firefox, email, password)
		require.ErrorAs(t, err, &pending)
		time.Sleep(5 * time.Minute)
		_, err = kit.AnswerChallenge(firefox, pending.Token, "otp", "1")
		require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	})
}

// MF-05: a pending login cannot be completed with a factor that the service no longer has.
func TestChallengeOfAFactorThatLeft(t *testing.T) {
	t.Parallel()
	hwk := &fakeFactor{method: "hwk", right: "1"}
	var store *authkit.MemoryStore
	before, _, _ := newFactorKit(t, []*fakeFactor{hwk}, func(c *authkit.Config) {
		store = authkit.NewMemoryStore()
		c.Users, c.Sessions.Store, c.Tickets = store, store, store
	})
	after := newKit(t, withFactors(&fakeFactor{method: "otp"}), func(c *authkit.Config) {
		c.Users, c.Sessions.Store, c.Tickets = store, store, store
	})
	pending := challenge(t, before)
	_, err := after.AnswerChallenge(t.Context(), pending.Token, "hwk", "1")
	require.ErrorIs(t, err, authkit.ErrInvalidCredentials)
	require.Zero(t, hwk.asked)
}
