// Package gate bounds how many expensive operations run at once, and how many
// callers may wait for their turn.
package gate

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// ErrFull is returned by [Gate.Enter] if the queue is full.
var ErrFull = errors.New("gate: too many callers are waiting")

// A Gate admits a fixed number of callers at a time. It is safe for concurrent
// use.
type Gate struct {
	inside   chan struct{} // one element per caller inside
	admitted chan struct{} // one element per caller inside or waiting
	entered  atomic.Uint64
	waited   atomic.Int64 // nanoseconds
}

// New returns a Gate that admits running callers and lets waiting callers wait.
func New(running, waiting int) *Gate {
	return &Gate{
		inside:   make(chan struct{}, running),
		admitted: make(chan struct{}, running+waiting),
	}
}

// Size returns how many callers may be inside.
func (g *Gate) Size() int { return cap(g.inside) }

// Stats are the counts of a Gate.
type Stats struct {
	Inside, Waiting int           // current number of callers
	Entered         uint64        // number of callers admitted since New
	Waited          time.Duration // total wait of the admitted callers
}

// Stats returns the counts of the gate.
func (g *Gate) Stats() Stats {
	s := Stats{Inside: len(g.inside), Entered: g.entered.Load(), Waited: time.Duration(g.waited.Load())}
	s.Waiting = max(0, len(g.admitted)-s.Inside)
	return s
}

// Enter waits for a place. It returns the function that releases the place,
// which must be called exactly once. The errors are:
//   - ErrFull, at once, if the queue is full,
//   - the error of ctx, if ctx is done first.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case g.admitted <- struct{}{}:
	default:
		return nil, ErrFull
	}
	select {
	case g.inside <- struct{}{}:
		g.entered.Add(1)
		return g.leave, nil
	default:
	}
	began := time.Now()
	select {
	case g.inside <- struct{}{}:
		g.entered.Add(1)
		g.waited.Add(int64(time.Since(began)))
		return g.leave, nil
	case <-ctx.Done():
		<-g.admitted
		return nil, ctx.Err()
	}
}

func (g *Gate) leave() {
	<-g.inside
	<-g.admitted
}
