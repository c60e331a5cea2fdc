package apikey

import (
	"context"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	flushInterval = time.Minute
	cleanInterval = 10 * time.Minute

	// maxUses is the most keys whose use waits to be written. The uses of
	// further keys are not recorded until the next flush.
	maxUses = 100_000

	// keepExpired is how long an expired key stays in the list of its owner.
	keepExpired = 30 * 24 * time.Hour
)

// uses are the last uses of keys that have not been written.
type uses struct {
	mu sync.Mutex
	at map[string]time.Time
}

func newUses() *uses { return &uses{at: map[string]time.Time{}} }

// note records a use. A use that the store would not write costs nothing.
func (u *uses) note(k *Key, at time.Time) {
	if at.Sub(k.LastUsedAt) < minTouch {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, waits := u.at[k.ID]; waits || len(u.at) < maxUses {
		u.at[k.ID] = at
	}
}

// take returns the uses, and forgets them.
func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.at
	u.at = make(map[string]time.Time)
	return taken
}

// putBack keeps uses that could not be written, for the next flush.
func (u *uses) putBack(at map[string]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, t := range at {
		if _, newer := u.at[id]; !newer && len(u.at) < maxUses {
			u.at[id] = t
		}
	}
}

// flush writes the uses that wait. After an error it keeps the rest.
func (u *uses) flush(ctx context.Context, s Store) error {
	taken := u.take()
	for id, at := range taken {
		if err := s.TouchKey(ctx, id, at); err != nil {
			u.putBack(taken)
			return err
		}
		delete(taken, id)
	}
	return nil
}

// Run writes when keys were last used, once a minute, and deletes keys that
// expired 30 days ago, every ten minutes. When ctx is done, it writes the
// rest and returns the error of ctx. An error of the store is an event, and
// the next round tries again. It fails no request. Several instances may run it
// on one store.
func (k *Keys) Run(ctx context.Context) error {
	flush, clean := time.NewTicker(flushInterval), time.NewTicker(cleanInterval)
	defer flush.Stop()
	defer clean.Stop()
	k.clean(ctx)
	for {
		select {
		case <-flush.C:
			k.report(ctx, k.auth.used.flush(ctx, k.auth.store))
		case <-clean.C:
			k.clean(ctx)
		case <-ctx.Done():
			const last = 5 * time.Second
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), last)
			defer cancel()
			k.report(ending, k.auth.used.flush(ending, k.auth.store))
			return ctx.Err()
		}
	}
}

// clean deletes keys that expired long ago.
func (k *Keys) clean(ctx context.Context) {
	const batch = 1000
	for {
		n, err := k.auth.store.DeleteExpiredKeys(ctx, now().Add(-keepExpired), batch)
		k.report(ctx, err)
		if n == 0 || err != nil {
			return
		}
	}
}

// report emits the event of an error of the store.
func (k *Keys) report(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		k.kit.Emit(ctx, authkit.Event{Kind: authkit.EventStoreFailure, Reason: authkit.ReasonStore, Err: err})
	}
}
