package account

import (
	"cmp"
	"context"
	"errors"

	"github.com/authkit-go/authkit"
)

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
// or a recovery code was used or renewed. Add it to authkit.Config.OnEvent. Since
// the Kit comes first, wrap it in a function:
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
	name := notices[e.Kind]
	if a == nil || name == "" || e.Reason != "" || e.Err != nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // the change is made, whether or not its client waits
	u, err := a.kit.User(ctx, e.UserID)
	if errors.Is(err, authkit.ErrUserNotFound) {
		return
	}
	if err != nil {
		_ = a.failed(ctx, err)
		return
	}
	language := languageOf(ctx)
	labels := a.texts.languages[a.texts.pick(language)].Labels
	d := mailData{Email: u.Email, Name: u.FullName, Factor: cmp.Or(labels["factor_"+e.Method], e.Method)}
	if err := a.putMail(ctx, name, d, language, noticeLife); err == nil { // else it is an event already
		a.nudge()
	}
}
