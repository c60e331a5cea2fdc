package account

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/authkit-go/authkit"
)

const warnPause = 24 * time.Hour // between two warnings of a user

// notices are the mails about changes of second factors.
var notices = map[authkit.EventKind]string{
	authkit.EventFactorAdded:     "factor_added",
	authkit.EventFactorRemoved:   "factor_removed",
	authkit.EventFactorReset:     "factors_reset",
	authkit.EventFactorDisabled:  "factor_disabled",
	authkit.EventRecoveryUsed:    "recovery_used",
	authkit.EventRecoveryRenewed: "recovery_renewed",
}

// OnEvent mails users about changes of their second factors: one was added,
// removed, reset by an administrator or disabled after too many wrong responses,
// or a recovery code was used or renewed. At most once a day, it also mails a user
// whose password was right and whose codes were wrong until the throttle refused
// them. Add it to authkit.Config.OnEvent. Since the Kit comes first, wrap it in a
// function:
//
//	var accounts *account.Accounts
//	kit, err := authkit.New(authkit.Config{
//		OnEvent: []func(context.Context, authkit.Event){
//			func(ctx context.Context, e authkit.Event) { accounts.OnEvent(ctx, e) },
//		},
//	})
//	...
//	accounts, err = account.New(kit, account.Config{...})
//
// It ignores all other events, and does nothing if a is nil. The mail goes to the
// address that the account has at the time of the event. It is stored in the
// outbox after the change, so that it is lost if the program ends between the
// two. An error of a store is an event.
func (a *Accounts) OnEvent(ctx context.Context, e authkit.Event) {
	if a == nil || e.UserID == "" {
		return
	}
	ctx = context.WithoutCancel(ctx) // the change is made, whether or not its client waits
	name := notices[e.Kind]
	switch {
	case e.Kind == authkit.EventLoginThrottled: // with a user: it refused a code, after the password
		a.warn(ctx, e)
	case name != "" && e.Reason == "" && e.Err == nil:
		if err := a.notice(ctx, name, e); err == nil { // else it is an event already
			a.nudge()
		}
	}
}

// notice stores the mail about an event.
func (a *Accounts) notice(ctx context.Context, name string, e authkit.Event) error {
	u, err := a.kit.User(ctx, e.UserID)
	if errors.Is(err, authkit.ErrUserNotFound) {
		return nil
	}
	if err != nil {
		return a.failed(ctx, err)
	}
	language := languageOf(ctx)
	labels := a.texts.languages[a.texts.pick(language)].Labels
	d := mailData{Email: u.Email, Name: u.FullName, Factor: cmp.Or(labels["factor_"+e.Method], e.Method)}
	return a.putMail(ctx, name, d, language, noticeLife)
}

// warn stores the mail about wrong codes after a right password, unless the user
// got one within a day.
func (a *Accounts) warn(ctx context.Context, e authkit.Event) {
	key := a.mac("guesses", e.UserID)
	_ = a.inTx(ctx, func(ctx context.Context) error { // an error is an event already
		times, version, err := a.store.Times(ctx, key)
		if err != nil {
			return a.failed(ctx, err)
		}
		if len(times) > 0 && now().Before(times[0].Add(warnPause)) {
			return nil
		}
		err = a.store.SetTimes(ctx, key, []time.Time{now()}, version, now().Add(warnPause))
		if errors.Is(err, ErrConflict) { // another instance warns
			return nil
		}
		if err != nil {
			return a.failed(ctx, err)
		}
		return a.notice(ctx, "factor_guessed", e)
	})
}

// askFactor renders the form of a pending login. It leads to the login page.
func (a *Accounts) askFactor(w http.ResponseWriter, r *http.Request, c *authkit.ChallengeError) {
	tag := a.texts.pick(r.Header.Get("Accept-Language"))
	l := a.texts.languages[tag]
	text := l.Pages["factor"]
	if c.Enroll {
		text = l.Pages["enroll"]
	}
	d := pageData{Language: tag, Title: text.Title, Text: text.Intro, Submit: text.Submit, Action: a.loginPath,
		Hidden: []pageField{{Name: "mfa_token", Value: c.Token}}}
	method := pageField{Name: "mfa_method", Value: c.Methods[0], Label: l.Labels["mfa_method"], Type: "text", Autocomplete: "off", Required: true}
	if len(c.Methods) == 1 {
		d.Hidden = append(d.Hidden, method)
	} else {
		d.Fields = append(d.Fields, method)
	}
	if c.Enroll { // the login page shows what is needed for a response
		d.Hidden = append(d.Hidden, pageField{Name: "mfa_enroll", Value: "1"})
		a.render(w, http.StatusOK, d)
		return
	}
	d.Fields = append(d.Fields, pageField{Name: "mfa_response", Label: l.Labels["mfa_response"], Type: "text", Autocomplete: "one-time-code", Required: true})
	a.render(w, http.StatusOK, d)
}
