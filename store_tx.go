package authkit

import (
	"cmp"
	"context"
	"errors"
)

// eventsKey is the context key of the events that wait for the commit of a transaction of
// a Kit.
type eventsKey struct{ kit *Kit }

// waitingEvents are the events of a transaction that has not been committed, and the
// functions of [AfterCommit].
type waitingEvents struct {
	events []Event
	after  []func()
}

// commitKey is the context key of the innermost transaction that a Kit began.
type commitKey struct{}

// AfterCommit calls f when the transaction of ctx is committed, if a Kit or a [MemoryStore] began
// it, and reports whether there is one. Without a transaction it returns false and does not
// call f. If the transaction is rolled back, f is not called. A feature that keeps data in
// memory makes its changes in f, so that they are part of the transaction. In f, do not call
// a store of this package.
func AfterCommit(ctx context.Context, f func()) bool {
	if tx, _ := ctx.Value(anyMemoryTxKey{}).(*memoryTx); tx != nil {
		tx.after = append(tx.after, f)
		return true
	}
	if waiting, _ := ctx.Value(commitKey{}).(*waitingEvents); waiting != nil {
		waiting.after = append(waiting.after, f)
		return true
	}
	return false
}

// emit delivers an event. Within a transaction that the Kit began, an event of a change
// waits for the commit, since the change may be rolled back.
func (k *Kit) emit(ctx context.Context, e Event) {
	waiting, _ := ctx.Value(eventsKey{k}).(*waitingEvents)
	if waiting == nil || e.Reason != "" || e.Err != nil {
		k.onEvent(ctx, e)
		return
	}
	if e.ActorID == "" {
		e.ActorID = actorOf(ctx, e.UserID)
	}
	waiting.events = append(waiting.events, e)
}

// InTx calls f in a transaction of the account store. Use it to change accounts
// and your own data together or not at all. Methods of the Kit and of stores
// join the transaction if they are called with the context that f receives.
// Events are delivered after the commit.
//
// The store may call f again after a deadlock, so f must have no effect except
// on stores. Hash passwords before the transaction; see [Kit.PreparePassword].
//
// If the store is not a [Transactor], InTx calls f without a transaction. If
// ctx carries a transaction of your program, f joins it, and the events are
// delivered before your program commits.
//
// The errors are that of f, unchanged, and ErrUnavailable if the transaction failed.
func (k *Kit) InTx(ctx context.Context, f func(ctx context.Context) error) error {
	var own error
	err := k.inTx(ctx, func(ctx context.Context) error {
		own = f(ctx)
		return own
	})
	if err == nil || own != nil {
		return err
	}
	return k.storeFailed(ctx, err)
}

// shared reports whether accounts and sessions are one store with transactions.
func (k *Kit) shared() bool { return k.tx != nil && k.sharedSessions }

// inTx calls f in a transaction of the account store, if the store has transactions. It
// delivers the events of f after the commit. If ctx carries a transaction of your program,
// f joins it and the events are delivered before your program commits.
func (k *Kit) inTx(ctx context.Context, f func(context.Context) error) error {
	return k.inLongTx(ctx, 1, f)
}

// inTxAfter is inTx for a change of an account and the changes that follow. If the store
// refuses the first, nothing has changed, and a transaction of the caller stays usable.
func (k *Kit) inTxAfter(ctx context.Context, change, rest func(context.Context) error) error {
	var refused error
	err := k.inTx(ctx, func(ctx context.Context) error {
		err := change(ctx)
		refused = nil
		if errors.Is(err, ErrConflict) || errors.Is(err, ErrLastAdmin) || errors.Is(err, ErrUserNotFound) {
			refused = err
			return nil // an error would end the transaction of the caller
		}
		if err != nil {
			return err
		}
		return rest(ctx)
	})
	return cmp.Or(err, refused)
}

// inLongTx is inTx with the time that a number of calls of the store may take.
func (k *Kit) inLongTx(ctx context.Context, calls int, f func(context.Context) error) error {
	switch {
	case k.tx == nil:
		return f(ctx)
	case ctx.Value(eventsKey{k}) != nil:
		return k.tx.InTx(ctx, f) // the outer call delivers the events
	}
	var waiting *waitingEvents
	err := forCalls(k.tx, calls).InTx(ctx, func(ctx context.Context) error {
		waiting = new(waitingEvents) // a store may call this function again
		ctx = context.WithValue(ctx, commitKey{}, waiting)
		return f(context.WithValue(ctx, eventsKey{k}, waiting))
	})
	if err != nil {
		return err
	}
	for _, f := range waiting.after {
		f()
	}
	for _, e := range waiting.events {
		k.onEvent(ctx, e)
	}
	return nil
}
