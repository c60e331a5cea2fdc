package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Flush writes the events that OnEvent has received so far, even if Run does
// not run. The error is that of the store or the context. After an error, the
// unwritten entries stay in the queue.
func (l *Log) Flush(ctx context.Context) error { return l.flush(ctx, true) }

// flush writes the queue. If all is true, it also writes the events that are
// still being counted. Otherwise it does so if their time is over.
func (l *Log) flush(ctx context.Context, all bool) error {
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var err error
	for range 2 { // first the rest of an earlier batch, then the queue
		if err == nil && (len(l.batch) > 0 || l.take(all)) {
			err = l.write(ctx)
			l.setStatus(ctx, err)
		}
	}
	return err
}

// take moves the queue to the batch. It reports whether there are entries.
func (l *Log) take(all bool) bool {
	clear(l.spare)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endTallies(now())
	if all {
		l.pushTallies()
	}
	l.queue++
	l.batch, l.waiting, l.chained = l.waiting, l.spare[:0], 0
	if l.lost > 0 {
		l.batch = append(l.batch, Entry{Time: now(), Kind: KindLost, Outcome: Failure, Count: l.lost})
		l.lost = 0
	}
	l.spare, l.unsure = l.batch, len(l.batch)
	return len(l.batch) > 0
}

// setStatus stores the result of a write, and logs if the store starts or stops
// failing.
func (l *Log) setStatus(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return // the caller has stopped the log
	}
	l.mu.Lock()
	before, lost := l.stats.Err, l.stats.Lost
	l.stats.Err = err
	l.mu.Unlock()
	logger := cmp.Or(l.logger, slog.Default())
	switch {
	case before == nil && err != nil:
		logger.Error("audit: the store failed; entries wait", "error", err)
	case before != nil && err == nil:
		logger.Warn("audit: the store is back", "lost", lost)
	}
}

// write writes the batch. After an error, the unwritten entries stay in it.
func (l *Log) write(ctx context.Context) error {
	for conflicts := 0; len(l.batch) > 0; {
		err := l.append(ctx)
		if errors.Is(err, ErrConflict) && conflicts < 100 { // another instance was first
			conflicts++
		} else if err != nil {
			return fmt.Errorf("audit: store: %w", err)
		}
	}
	return nil
}

// append tries to write the entries at the front of the batch.
func (l *Log) append(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if !l.ready {
		if err := l.readHead(ctx); err != nil {
			return err
		}
		l.ready = true
	}
	if l.chained == 0 {
		l.chained = min(len(l.batch), maxAppend)
		l.chain.Link(l.head, l.batch[:l.chained])
	}
	err := l.store.AppendAudit(ctx, l.batch[:l.chained])
	if err == nil {
		l.acknowledge(l.chained)
		return nil
	}
	if !errors.Is(err, ErrConflict) {
		return err
	}
	// Either an earlier call that returned an error has written them, or
	// another instance was first.
	there, err2 := l.store.AuditEntries(ctx, Query{After: l.head.Seq, Limit: l.chained})
	if err2 != nil {
		return err2
	}
	ours := 0
	for ours < min(len(there), l.chained) && bytes.Equal(there[ours].MAC, l.batch[ours].MAC) {
		ours++
	}
	l.acknowledge(ours)
	return cmp.Or(l.readHead(ctx), err)
}

// readHead reads the end of the store. If the store has lost entries at its
// end, the log continues with the next number, which leaves a gap.
func (l *Log) readHead(ctx context.Context) error {
	last, err := l.store.AuditEntries(ctx, Query{Newest: true, Limit: 1})
	if len(last) > 0 && last[0].Seq > l.head.Seq {
		l.head, l.chained = last[0].Head(), 0
	}
	return err
}

// acknowledge removes n written entries from the front of the batch.
func (l *Log) acknowledge(n int) {
	for i := range l.batch[:n] {
		e := &l.batch[i]
		l.head = e.Head()
		if l.mirror != nil {
			level := slog.LevelInfo
			if e.Outcome == Failure {
				level = slog.LevelWarn
			}
			text, _ := json.Marshal(e) // cannot fail: the store has accepted it
			l.mirror.LogAttrs(context.Background(), level, string(e.Kind), slog.String("entry", string(text)))
		}
	}
	l.batch, l.chained = l.batch[n:], l.chained-n
	l.mu.Lock()
	l.stats.Written += uint64(n)
	l.unsure -= n
	l.mu.Unlock()
}
