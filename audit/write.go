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

// Flush writes the events that OnEvent was called with until now, whether Run runs or not.
// The error is that of the store or the context. The entries that were not written then wait
// on.
func (l *Log) Flush(ctx context.Context) error { return l.flush(ctx, true) }

// flush writes the queue. It also writes the events that are being counted if all is true, or
// if their time is over.
func (l *Log) flush(ctx context.Context, all bool) error {
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var err error
	for range 2 { // what was left of the time before, and what waits
		if err == nil && (len(l.batch) > 0 || l.take(all)) {
			err = l.write(ctx)
			l.note(ctx, err)
		}
	}
	return err
}

// take makes what waits the batch.
func (l *Log) take(all bool) bool {
	clear(l.taken)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endTallies(now())
	if all {
		l.pushTallies()
	}
	l.queue++
	l.batch, l.waiting, l.linked = l.waiting, l.taken[:0], 0
	if l.lost > 0 {
		l.batch = append(l.batch, Entry{Time: now(), Kind: KindLost, Outcome: Failure, Count: l.lost})
		l.lost = 0
	}
	l.taken, l.unsure = l.batch, len(l.batch)
	return len(l.batch) > 0
}

// note keeps what the store last said, and tells the logger when that changes.
func (l *Log) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return // it was told to stop
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

// write writes the batch. What of it was not written stays there.
func (l *Log) write(ctx context.Context) error {
	for conflicts := 0; len(l.batch) > 0; {
		err := l.append(ctx)
		if errors.Is(err, ErrConflict) && conflicts < 100 { // one of the others got on
			conflicts++
		} else if err != nil {
			return fmt.Errorf("audit: store: %w", err)
		}
	}
	return nil
}

// append tries to write the front of the batch.
func (l *Log) append(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if !l.ready {
		if err := l.readHead(ctx); err != nil {
			return err
		}
		l.ready = true
	}
	if l.linked == 0 {
		l.linked = min(len(l.batch), maxAppend)
		l.chain.Link(l.head, l.batch[:l.linked])
	}
	err := l.store.AppendAudit(ctx, l.batch[:l.linked])
	if err == nil {
		l.written(l.linked)
		return nil
	}
	if !errors.Is(err, ErrConflict) {
		return err
	}
	// Either a call that seemed to fail has written them, or another instance was first.
	there, err2 := l.store.AuditEntries(ctx, Query{After: l.head.Seq, Limit: l.linked})
	if err2 != nil {
		return err2
	}
	ours := 0
	for ours < min(len(there), l.linked) && there[ours].Seq == l.batch[ours].Seq && bytes.Equal(there[ours].MAC, l.batch[ours].MAC) {
		ours++
	}
	l.written(ours)
	return cmp.Or(l.readHead(ctx), err)
}

// readHead finds where the store ends. If entries are gone from the end that this log knows
// of, it goes on behind them, so that there is a gap.
func (l *Log) readHead(ctx context.Context) error {
	last, err := l.store.AuditEntries(ctx, Query{Newest: true, Limit: 1})
	if err == nil && len(last) > 0 && last[0].Seq > l.head.Seq {
		l.head, l.linked = last[0].Head(), 0
	}
	return err
}

// written takes entries off the front of the batch.
func (l *Log) written(n int) {
	for i := range l.batch[:n] {
		e := &l.batch[i]
		l.head = e.Head()
		if l.mirror != nil {
			level := slog.LevelInfo
			if e.Outcome == Failure {
				level = slog.LevelWarn
			}
			text, _ := json.Marshal(e) // a store has taken it
			l.mirror.LogAttrs(context.Background(), level, string(e.Kind), slog.String("entry", string(text)))
		}
	}
	l.batch, l.linked = l.batch[n:], l.linked-n
	l.mu.Lock()
	l.stats.Written += uint64(n)
	l.unsure -= n
	l.mu.Unlock()
}
