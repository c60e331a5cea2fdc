package authkit

import "context"

// eventsKey is the context key of the events that wait for the commit of a transaction of
// a Kit.
type eventsKey struct{ kit *Kit }

// waitingEvents are the events of a transaction that has not been committed.
type waitingEvents struct{ events []Event }

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

// shared reports whether accounts and sessions are one store with transactions.
func (k *Kit) shared() bool { return k.tx != nil && k.sharedSessions }

// inTx calls f in a transaction of the account store, if the store has transactions. It
// delivers the events of f after the commit. If ctx carries a transaction of your program,
// f joins it and the events are delivered before your program commits.
func (k *Kit) inTx(ctx context.Context, f func(context.Context) error) error {
	return k.inLongTx(ctx, 1, f)
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
		return f(context.WithValue(ctx, eventsKey{k}, waiting))
	})
	if err != nil {
		return err
	}
	for _, e := range waiting.events {
		k.onEvent(ctx, e)
	}
	return nil
}
