// Package audit keeps a tamper-evident security log: logins, failures with
// their reasons, denied requests, and changes to accounts with their actors.
//
//	store, err := trail.Open("/var/lib/service/audit.jsonl")
//	auditLog, err := audit.New(store, audit.Options{Key: key})
//	go auditLog.Run(ctx)
//	kit, err := authkit.New(authkit.Config{
//		OnEvent: []func(context.Context, authkit.Event){auditLog.OnEvent},
//		...
//	})
//
// Each [Entry] has a sequence number and a MAC that covers the entry and the
// MAC of the one before it. Package trail finds entries that were altered,
// dropped, swapped or added. An attacker who can write the store but does not
// have the key cannot make a valid chain.
//
// A log writes to a [Store]: a file (package trail), a table (package
// auditsql), or a [MemoryStore]. Several instances can write one chain in one
// table. If another instance has appended entries first, the log continues
// after those.
//
// # Logins do not wait
//
// [Log.OnEvent] adds an entry to a queue in memory and returns. [Log.Run]
// writes the queue. A store that blocks or fails delays no login. If the queue
// is full, the log drops events and counts them, in [Stats] and in an entry of
// [KindLost].
//
// No client can fill the queue. Equal events of one actor and route within a
// second are one entry with a Count. Events that a client can cause cheaply,
// such as denied requests and refused tokens, use at most half of the queue. So
// do events of kinds that package authkit does not define.
//
// If every login must be recorded, use [Log.FailClosed], which refuses requests
// while the queue is nearly full. OnEvent cannot refuse a request, because its
// events have already happened.
//
// A program that is killed loses its queue: the events of the last 20
// milliseconds, while the store keeps up, and the counts of the last second.
// The log then has an entry of [KindStarted] without a [KindStopped] before it.
//
// # What a chain proves
//
// A valid chain proves that this log wrote the entries, in this order, with
// none missing before the last one. It does not prove that entries were not cut
// off at the end, or that the log is not an older copy. To detect that, keep a
// [Head] where the attacker cannot write, such as on a machine that receives
// [Options].Mirror. An attacker with the key, such as one who has taken over
// the program, can write a false log, but not one that agrees with an earlier
// head.
//
// # Erasing personal data
//
// The chain covers only salted hashes of the data that identifies a user or a
// client. After [Log.Erase] has removed the data and its salt, the chain is
// still valid, and no search through all addresses recovers the data. An
// attacker who can write the store can erase entries too. To detect this, the
// log counts the parts that it has erased itself, and a verification reports a
// difference.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/authkit-go/authkit"
)

const (
	defaultQueue  = 8192
	maxQueue      = 1 << 20
	maxAppend     = 500              // entries per call to a store
	storeTimeout  = 5 * time.Second  // for one append, including the preparation
	drainTimeout  = 10 * time.Second // for the remaining entries when Run ends
	maxBackoff    = 5 * time.Second
	flushInterval = 20 * time.Millisecond // the pause between writes, so that one fsync covers many entries
)

// Options configure a [Log].
type Options struct {
	// Key authenticates the chain: 32 random bytes or more, which nothing else
	// uses. It is required. An attacker who can write the store must not be
	// able to read it. A new key needs a new, empty store.
	Key []byte

	// Queue is the maximum number of entries that wait to be written, each of
	// at most a kilobyte. If zero, it is 8,192. The minimum is 16.
	Queue int

	// Mirror, if not nil, logs every entry that was written. The message is its
	// kind, and the attribute "entry" is its JSON, a line of package trail. The
	// level is Warn if the outcome is Failure, and Info otherwise. Erasing does
	// not change it.
	Mirror *slog.Logger

	// Logger logs failures of the store and its recovery. If nil, it is
	// slog.Default().
	Logger *slog.Logger
}

// Format implements fmt.Formatter. It prints a fixed text for every verb, so
// that logging the options does not reveal the key.
func (Options) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("audit.Options{[redacted]}")) }

// Stats are the counts of a log.
type Stats struct {
	Written uint64 // entries, since New
	Waiting int    // entries in the queue
	Lost    uint64 // events, since New
	Err     error  // the error of the store, if the last write failed
}

// A Log writes the security log. It is safe for concurrent use.
type Log struct {
	store  Store
	limit  int
	mirror *slog.Logger
	logger *slog.Logger
	wake   chan struct{} // has an element if entries wait

	mu       sync.Mutex // held for moments only
	waiting  []Entry
	queue    uint64 // how often flush has taken waiting
	lost     uint64 // since the last KindLost
	stats    Stats  // all fields except Waiting
	unsure   int    // entries in batch
	seed     maphash.Seed
	tallies  map[uint64]*tally
	tallied  []*tally // the values of tallies, by their ends
	counting int      // tallies that have counted events without an entry

	writing chan struct{} // a mutex with a context; it guards the fields below
	chain   *Chain
	head    Head
	ready   bool    // whether head was read
	spare   []Entry // the memory of an earlier batch, for reuse
	batch   []Entry // entries that are not known to be written
	chained int     // the number of entries in batch that are in the chain
}

// New returns a Log that continues at the end of the store, or an error that
// joins all problems of the arguments. It does not use the store; [Log.Run]
// does.
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
		seed: maphash.MakeSeed(), tallies: make(map[uint64]*tally),
	}, nil
}

// OnEvent adds an event to the log. It returns at once. Use it as one of
// [authkit.Config].OnEvent.
//
// The actor is [authkit.Event].ActorID. If the event names none, it is the
// principal of ctx or the user who logged in. The client is that of
// [authkit.ClientFrom].
func (l *Log) OnEvent(ctx context.Context, e authkit.Event) {
	limit := l.limit
	if usesHalfQueue(e) {
		limit /= 2
	}
	l.addEvent(newEntry(ctx, e), limit)
}

// add adds an entry about the log itself to the queue, even if it is full.
func (l *Log) add(e Entry) {
	l.mu.Lock()
	l.waiting = append(l.waiting, e)
	l.mu.Unlock()
	l.wakeUp()
}

// wakeUp makes Run read the queue.
func (l *Log) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// FailClosed is middleware that answers 503 while the queue is three quarters
// full. The queue fills if the store fails or is too slow, or if [Log.Run] does
// not run. Use it around handlers whose events must be recorded, such as the
// token endpoint.
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

// Stats returns the counts of the log.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = len(l.waiting)
	return s
}

// unwritten returns how many entries are not known to be written.
func (l *Log) unwritten() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) + l.unsure
}

// Run writes the queue until ctx is done, and then the rest of it, for at most
// 10 seconds. It returns the error of ctx. If entries were left unwritten, a
// second error with their number is joined to it. If the store fails, Run tries
// again, at growing intervals of up to 5 seconds. Call it once.
func (l *Log) Run(ctx context.Context) error {
	done := make(chan error, 1)
	l.add(Entry{Time: now(), Kind: KindStarted, Outcome: Success})
	go func() { done <- l.run(ctx) }()
	<-ctx.Done()
	select {
	case err := <-done:
		return err
	case <-time.After(drainTimeout + time.Second): // the store ignores its context
		return errors.Join(ctx.Err(), fmt.Errorf("audit: the store hangs, and %d entries were left unwritten: %w", l.unwritten(), context.DeadlineExceeded))
	}
}

// run is Run without the time-out for a store that ignores its context.
func (l *Log) run(ctx context.Context) error {
	var backoff time.Duration
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.tallying():
			l.wakeUp()
		case <-l.wake:
			if l.flush(ctx, false) == nil {
				backoff = 0
				pause(ctx, flushInterval)
				continue
			}
			backoff = min(max(2*backoff, 50*time.Millisecond), maxBackoff)
			pause(ctx, backoff)
			l.wakeUp()
		}
	}
	l.add(Entry{Time: now(), Kind: KindStopped, Outcome: Success})
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for {
		err := l.Flush(last)
		if err == nil {
			return ctx.Err()
		}
		if last.Err() != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("audit: %d entries were left unwritten: %w", l.unwritten(), cmp.Or(l.Stats().Err, err)))
		}
		pause(last, 100*time.Millisecond)
	}
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Erase removes the personal data of a user from all entries that were written
// until now; see [Entry.Erase]. It adds an entry of [KindErased] with the
// actor, which does not name the user. After an error, call it again.
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
	l.add(e)
	return l.Flush(ctx)
}
