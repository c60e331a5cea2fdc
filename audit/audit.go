// Package audit keeps a security log that cannot be changed unseen: who logged in, who did
// not and why, who was denied, which account was changed by whom.
//
//	store, err := trail.Open("/var/lib/service/audit.jsonl")
//	auditLog, err := audit.New(store, audit.Options{Key: key})
//	go auditLog.Run(ctx)
//	kit, err := authkit.New(authkit.Config{OnEvent: auditLog.OnEvent, ...})
//
// Each [Entry] has a sequence number and a MAC, which covers the entry and the MAC of the one
// before it. Package trail finds entries that were altered, dropped, swapped or added. Whoever can
// write the store, but does not have the key, cannot make a chain.
//
// A log writes to a [Store]: a file (package trail), a table (package sqlstore), or a
// [MemoryStore]. Several instances can write one table, in one chain: where another one was
// first, an append is made again behind it.
//
// # Logins do not wait
//
// OnEvent puts an entry into a queue in memory and returns; [Log.Run] writes it. A store that
// hangs or fails delays no login. When the queue is full, events are lost, and counted: in
// [Stats], and by an entry of [KindLost] in the log itself. What anyone can cause in any
// number, such as refused tokens, gets half of the queue. Where no login may go unrecorded,
// [Log.FailClosed] refuses requests while the queue is nearly full; OnEvent is called when
// things have happened, and cannot refuse them.
//
// A program that is killed loses its queue, which is what happened in the last 20 milliseconds
// while the store keeps up. It shows by an entry of KindStarted with no KindStopped before it.
//
// # What can be proved
//
// To verify a log by itself shows that what is there was written by this log, in this order, with
// nothing left out before the last entry. That entries were cut off at the end, or all of it
// replaced by an older copy, shows only against a [Head] that was kept where whoever did it
// cannot write, such as a machine that is sent [Options].Mirror. Whoever has the key, a
// program that was taken over among them, can write a log that never was; but not one that
// agrees with a head from before.
//
// # Erasing personal data
//
// What says who somebody is, and from where they came, is in the chain by a salted hash. When
// it is erased along with its salt, by [Log.Erase], the chain stays whole, and trying all
// addresses finds nobody. Whoever can write the store can erase, too; the log counts what it
// erased itself, so that it shows in the report.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	defaultQueue = 8192
	maxQueue     = 1 << 20
	maxAppend    = 500              // entries in a call to a store
	storeTimeout = 5 * time.Second  // of an append, with what it takes to make it
	drainTimeout = 10 * time.Second // of what is left when Run ends
	maxBackoff   = 5 * time.Second
	gather       = 20 * time.Millisecond // between writes, so that one fsync does for many entries
)

// Options configure a [Log].
type Options struct {
	// Key is what the chain is made with: 32 random bytes or more, used for nothing else,
	// and kept where whoever can write the store cannot read it. It must be set. A new key
	// needs a new, empty store.
	Key []byte

	// Queue is how many entries may wait to be written; zero means 8,192, of at most a
	// kilobyte each. 16 are the fewest.
	Queue int

	// Mirror, if not nil, is told of every entry that was written, at level Warn if its
	// outcome is Failure, at Info otherwise: its kind, and as "entry" its JSON, which is a
	// line of package trail. Erasing does not reach it.
	Mirror *slog.Logger

	// Logger is told when the store fails, and when it is back; nil means slog.Default().
	Logger *slog.Logger
}

// Format writes nothing of the options, which hold a key.
func (Options) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("audit.Options{[redacted]}")) }

// Stats are how a log is doing.
type Stats struct {
	Written uint64 // entries, since New
	Waiting int    // entries in the queue
	Lost    uint64 // events, since New
	Err     error  // of the store, if the last write failed
}

// A Log writes the security log. It is safe for concurrent use.
type Log struct {
	store  Store
	limit  int
	mirror *slog.Logger
	logger *slog.Logger
	wake   chan struct{} // has an element when something waits

	mu      sync.Mutex // held for moments only
	waiting []Entry
	lost    uint64 // since the last KindLost
	stats   Stats  // but for Waiting

	writing chan struct{} // a mutex that can be waited for as long as a context; it guards:
	chain   *Chain
	head    Head
	ready   bool    // head was read
	taken   []Entry // what was waiting; its memory is used again
	batch   []Entry // the end of taken that is not known to be written
	linked  int     // so many of batch are in the chain
}

// New returns a Log that goes on where the store ends, or an error that joins every fault of
// the arguments. It neither reads nor writes: that is for [Log.Run].
func New(store Store, opts Options) (*Log, error) {
	var errs []error
	if store == nil {
		errs = append(errs, errors.New("audit: the store is nil; use a file, a table, or NewMemoryStore"))
	}
	if len(opts.Key) < 32 {
		errs = append(errs, fmt.Errorf("audit: Options.Key: %d bytes; use 32 random ones, or more", len(opts.Key)))
	}
	opts.Queue = cmp.Or(opts.Queue, defaultQueue)
	if opts.Queue < 16 || opts.Queue > maxQueue {
		errs = append(errs, fmt.Errorf("audit: Options.Queue: %d; use 16 to %d, or 0 for %d", opts.Queue, maxQueue, defaultQueue))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Log{
		store: store, limit: opts.Queue, mirror: opts.Mirror, logger: opts.Logger,
		wake: make(chan struct{}, 1), writing: make(chan struct{}, 1), chain: NewChain(opts.Key),
	}, nil
}

// OnEvent is for [authkit.Config].OnEvent. It returns at once. Where several want to hear of
// events, it is one of those that a function of the host's calls.
//
// The actor is whoever the request authenticated, or the user who logged in; the client is
// that of [authkit.WithClient], which handlers and guards see to.
func (l *Log) OnEvent(ctx context.Context, e authkit.Event) {
	limit := l.limit
	if floods(e) {
		limit /= 2
	}
	l.add(newEntry(ctx, e), limit)
}

// add puts an entry into the queue, if it has fewer than limit.
func (l *Log) add(e Entry, limit int) {
	l.mu.Lock()
	if len(l.waiting) < limit {
		l.waiting = append(l.waiting, e)
	} else {
		l.lost++
		l.stats.Lost++
	}
	l.mu.Unlock()
	l.wakeUp()
}

// wakeUp lets Run look at the queue.
func (l *Log) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// FailClosed is middleware that answers 503 while the queue is three quarters full: because
// the store fails, or is too slow, or nobody runs [Log.Run]. It belongs around what must not
// happen unrecorded, such as the token endpoint.
func (l *Log) FailClosed(next http.Handler) http.Handler {
	refused := authkit.ProblemFor(authkit.ErrUnavailable)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.Stats().Waiting >= l.limit*3/4 {
			refused.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Stats returns how the log is doing.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = len(l.waiting)
	return s
}

// Run writes what OnEvent is told, until ctx is done, and then what is left, for 10 seconds
// at most. It returns the context's error, joined with why something was left unwritten.
// While the store fails it tries again, every 5 seconds in the end. Run it once.
func (l *Log) Run(ctx context.Context) error {
	done := make(chan error, 1)
	l.add(Entry{Time: now(), Kind: KindStarted, Outcome: Success}, 2*maxQueue)
	go func() { done <- l.run(ctx) }()
	<-ctx.Done()
	select {
	case err := <-done:
		return err
	case <-time.After(drainTimeout + time.Second): // a store that does not listen to its context is left to itself
		return errors.Join(ctx.Err(), fmt.Errorf("audit: the store hangs, with entries unwritten: %w", context.DeadlineExceeded))
	}
}

// run is what Run does, for as long as the store may take.
func (l *Log) run(ctx context.Context) error {
	var backoff time.Duration
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.wake:
			if l.Flush(ctx) == nil {
				backoff = 0
				pause(ctx, gather)
				continue
			}
			backoff = min(max(2*backoff, 50*time.Millisecond), maxBackoff)
			pause(ctx, backoff)
			l.wakeUp()
		}
	}
	l.add(Entry{Time: now(), Kind: KindStopped, Outcome: Success}, 2*maxQueue)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for {
		err := l.Flush(last)
		if err == nil {
			return ctx.Err()
		}
		if last.Err() != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("audit: entries were left unwritten: %w", cmp.Or(l.Stats().Err, err)))
		}
		pause(last, 100*time.Millisecond)
	}
}

// pause waits for a time, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Erase removes the personal data of a user from all entries that were written until now; see
// [Entry.Erase]. That it did, and who asked for it, is an entry itself, which does not name
// the user. After an error call it again.
func (l *Log) Erase(ctx context.Context, userID string) error {
	if err := l.Flush(ctx); err != nil {
		return err
	}
	parts, err := l.store.EraseAudit(ctx, userID)
	if parts == 0 || err != nil {
		return err
	}
	e := newEntry(ctx, authkit.Event{Kind: KindErased})
	e.Count = uint64(parts)
	l.add(e, 2*maxQueue)
	return l.Flush(ctx)
}
