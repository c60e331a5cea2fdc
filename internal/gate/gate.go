// Package gate bounds how many pieces of expensive work run at once, and how many
// callers may wait for their turn.
package gate

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// ErrFull is returned by [Gate.Enter] when as many callers wait as may.
var ErrFull = errors.New("gate: too many callers are waiting")

// A Gate lets a fixed number of callers in at a time. It is safe for concurrent
// use.
type Gate struct {
	inside  chan struct{} // holds a value per caller inside
	present chan struct{} // holds a value per caller inside or waiting
	entered atomic.Uint64
	waited  atomic.Int64 // nanoseconds
}

// New returns a Gate for running callers inside and waiting behind them.
func New(running, waiting int) *Gate {
	return &Gate{
		inside:  make(chan struct{}, running),
		present: make(chan struct{}, running+waiting),
	}
}

// Size returns how many callers may be inside.
func (g *Gate) Size() int { return cap(g.inside) }

// Stats are how a gate is doing.
type Stats struct {
	Inside, Waiting int           // callers, now
	Entered         uint64        // callers, since New
	Waited          time.Duration // by those who entered, in all
}

// Stats returns how the gate is doing.
func (g *Gate) Stats() Stats {
	s := Stats{Inside: len(g.inside), Entered: g.entered.Load(), Waited: time.Duration(g.waited.Load())}
	s.Waiting = max(0, len(g.present)-s.Inside)
	return s
}

// Enter waits for a place and returns the function that gives it back, which must
// be called exactly once. It fails with ErrFull at once when the queue is full,
// and with the context's error when ctx ends first.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case g.present <- struct{}{}:
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
		<-g.present
		return nil, ctx.Err()
	}
}

func (g *Gate) leave() {
	<-g.inside
	<-g.present
}
